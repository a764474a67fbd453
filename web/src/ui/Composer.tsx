// Where messages are written, and what else is sent.

import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Message } from '../engine/model';
import { AttachMenu } from './AttachMenu';
import { Close, Mic, Send } from './icons';
import { Recorder } from './Recorder';
import { summary } from './summary';
import { t } from './strings';

interface Props {
  /** What is answered or changed. */
  about: { kind: 'reply' | 'edit'; message: Message; name: string } | undefined;
  onLeave: () => void;
  onSend: (text: string) => void;
  onTyping: (typed: boolean) => void;
  onFiles: (files: File[]) => void;
  onVoice: (recording: Blob, seconds: number) => void;
  onPlace: () => void;
  onCard: () => void;
}

export function Composer({ about, onLeave, onSend, onTyping, onFiles, onVoice, onPlace, onCard }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  const text = useSignal('');
  const records = useSignal(false);
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
  const paste = (event: ClipboardEvent) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    onFiles(files);
  };
  if (records.value) {
    return <Recorder onDone={(recording, seconds) => { records.value = false; onVoice(recording, seconds); }} onLeave={() => (records.value = false)} />;
  }
  const canRecord = text.value === '' && !about && typeof MediaRecorder !== 'undefined' && navigator.mediaDevices !== undefined;
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      {about && (
        <div class="about">
          <div>
            <strong>{about.kind === 'edit' ? t('editing') : t('replyTo', { name: about.name })}</strong>
            <span>{summary(about.message)}</span>
          </div>
          <button class="plain" type="button" onClick={() => { text.value = ''; onLeave(); }} aria-label={t('cancel')}><Close /></button>
        </div>
      )}
      <AttachMenu onFiles={onFiles} onPlace={onPlace} onCard={onCard} />
      <textarea ref={field} rows={1} dir="auto" value={text.value} aria-label={t('message')} placeholder={t('message')}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          onTyping(text.value !== '');
        }}
        onKeyDown={keys} onPaste={paste} />
      {canRecord ? (
        <button class="plain" type="button" onClick={() => (records.value = true)} aria-label={t('record')} title={t('record')}><Mic /></button>
      ) : (
        <button class="primary round" type="submit" disabled={text.value.trim() === ''} aria-label={about?.kind === 'edit' ? t('save') : t('send')}>
          <Send />
        </button>
      )}
    </form>
  );
}
