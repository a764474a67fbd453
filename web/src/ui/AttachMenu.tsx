// What can be sent beside text.

import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Clip, Person, Picture, Pin } from './icons';
import { t } from './strings';

export function AttachMenu(props: { onFiles: (files: File[]) => void; onPlace: () => void; onCard: () => void }) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  // Before another key can be pressed: it is for the menu.
  useLayoutEffect(() => {
    if (!open.value) return;
    root.current?.querySelector<HTMLButtonElement>('[role=menuitem]')?.focus();
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
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      items[(at + step + items.length) % items.length]?.focus();
    } else if (event.key === 'Escape') {
      open.value = false;
      root.current?.querySelector<HTMLButtonElement>('.plain')?.focus();
    }
  };
  const act = (what: () => void) => () => {
    open.value = false;
    what();
  };
  const chosen = (event: Event & { currentTarget: HTMLInputElement }) => {
    props.onFiles([...(event.currentTarget.files ?? [])]);
    event.currentTarget.value = '';
  };
  return (
    <div class="menu up" ref={root} onKeyDown={keys}>
      <input ref={picker} type="file" multiple hidden onChange={chosen} aria-label={t('attachFile')} />
      <button class="plain" type="button" aria-haspopup="menu" aria-expanded={open.value} aria-label={t('attach')} title={t('attach')}
        onClick={() => (open.value = !open.value)}>
        <Clip />
      </button>
      {open.value && (
        <div role="menu" aria-label={t('attach')}>
          <button role="menuitem" type="button" onClick={act(() => picker.current?.click())}><Picture /> {t('attachFile')}</button>
          <button role="menuitem" type="button" onClick={act(props.onPlace)}><Pin /> {t('attachPlace')}</button>
          <button role="menuitem" type="button" onClick={act(props.onCard)}><Person /> {t('attachCard')}</button>
        </div>
      )}
    </div>
  );
}
