// Where messages are written.

import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import type { Message } from '../engine/model';
import { Close, Send } from './icons';
import { t } from './strings';

interface Props {
  /** What is answered or changed. */
  about: { kind: 'reply' | 'edit'; message: Message; name: string } | undefined;
  onLeave: () => void;
  onSend: (text: string) => void;
  onTyping: (typed: boolean) => void;
}

export function Composer({ about, onLeave, onSend, onTyping }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  const text = useSignal('');
  // Before anything more can be typed.
  useLayoutEffect(() => {
    if (about?.kind === 'edit') text.value = about.message.text;
    field.current?.focus();
    // Not when the view is drawn anew meanwhile: what was typed would be gone.
  }, [about?.kind, about?.message.id]);
  useEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
  }, [text.value]);
  const send = () => {
    const written = text.value.trim();
    if (written === '') return;
    text.value = '';
    onSend(written);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === 'Escape' && about) {
      text.value = '';
      onLeave();
    }
  };
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      {about && (
        <div class="about">
          <div>
            <strong>{about.kind === 'edit' ? t('editing') : t('replyTo', { name: about.name })}</strong>
            <span>{about.message.text.slice(0, 160)}</span>
          </div>
          <button class="plain" type="button" onClick={() => { text.value = ''; onLeave(); }} aria-label={t('cancel')}>
            <Close />
          </button>
        </div>
      )}
      <textarea ref={field} rows={1} dir="auto" value={text.value} aria-label={t('message')} placeholder={t('message')}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          onTyping(text.value !== '');
        }}
        onKeyDown={keys} />
      <button class="primary round" type="submit" disabled={text.value.trim() === ''}
        aria-label={about?.kind === 'edit' ? t('save') : t('send')}>
        <Send />
      </button>
    </form>
  );
}
