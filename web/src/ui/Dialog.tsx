import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Close } from './icons';
import { t } from './strings';

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before another key can be pressed: it is for the dialog.
  useLayoutEffect(() => {
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>('input[type=text]')?.focus();
  }, []);
  const outside = (event: MouseEvent) => {
    if (event.target === dialog.current) props.onClose();
  };
  return (
    <dialog ref={dialog} class={props.wide ? 'wide' : ''} aria-labelledby="dialog-title" onClose={props.onClose} onClick={outside}>
      <div class="dialog">
        <header>
          <h2 id="dialog-title">{props.title}</h2>
          <button class="plain" type="button" onClick={props.onClose} aria-label={t('close')}>
            <Close />
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
