// What can be done with a message.

import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { type Message, UPLOAD, kindOf } from '../engine/model';
import { mediaType } from '../wire/headers';
import { Smile } from './icons';
import { t } from './strings';

const SIGNS = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

export interface Acts {
  reply(message: Message): void;
  edit(message: Message): void;
  recall(message: Message): void;
  react(message: Message, sign: string): void;
  retry(message: Message): void;
}

/** `onInfo`: who has it can be looked at. */
export function MessageMenu({ message, acts, onInfo }: { message: Message; acts: Acts; onInfo: (() => void) | undefined }) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const isText = kindOf(message.contentType, message.text) === 'text';
  // Before another key can be pressed: it is for the menu.
  useLayoutEffect(() => {
    if (!open.value) return;
    const first = root.current?.querySelector<HTMLButtonElement>('[role=menuitem]');
    first?.focus();
    const leave = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) open.value = false;
    };
    addEventListener('pointerdown', leave);
    return () => removeEventListener('pointerdown', leave);
  }, [open.value]);
  const keys = (event: KeyboardEvent) => {
    if (!open.value) return;
    const items = [...(root.current?.querySelectorAll<HTMLButtonElement>('[role=menuitem]') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      items[(at + step + items.length) % items.length]?.focus();
    } else if (event.key === 'Escape') {
      open.value = false;
      root.current?.querySelector<HTMLButtonElement>('.opener')?.focus();
    }
  };
  const act = (what: () => void) => () => {
    open.value = false;
    what();
  };
  // What is not on the server yet is nothing to the others.
  if (mediaType(message.contentType) === UPLOAD) return null;
  return (
    <div class="menu" ref={root} onKeyDown={keys}>
      <button class="plain opener" aria-haspopup="menu" aria-expanded={open.value} aria-label={t('actions')}
        onClick={() => (open.value = !open.value)}>
        <Smile />
      </button>
      {open.value && (
        <div role="menu" aria-label={t('actions')}>
          <div class="row" role="none">
            {SIGNS.map((sign) => (
              <button role="menuitem" key={sign} aria-label={t('react', { sign })} onClick={act(() => acts.react(message, sign))}>
                {sign}
              </button>
            ))}
          </div>
          <button role="menuitem" onClick={act(() => acts.reply(message))}>{t('reply')}</button>
          {isText && (
            <button role="menuitem" onClick={act(() => void navigator.clipboard?.writeText(message.text))}>{t('copy')}</button>
          )}
          {onInfo && <button role="menuitem" onClick={act(onInfo)}>{t('messageInfo')}</button>}
          {message.mine && isText && <button role="menuitem" onClick={act(() => acts.edit(message))}>{t('edit')}</button>}
          {message.mine && <button role="menuitem" onClick={act(() => acts.recall(message))}>{t('recall')}</button>}
        </div>
      )}
    </div>
  );
}
