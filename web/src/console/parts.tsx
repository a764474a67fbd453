// What pages are put together from.

import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Fault } from './api';
import { asFault } from './data';
import { at } from './format';
import { t } from './strings';

/** What was done, said to everybody: seen, and read out. */
export const said = signal('');

export function say(text: string): void {
  said.value = '';
  // Said anew even where it is the same.
  queueMicrotask(() => (said.value = text));
}

/** The page that one comes to keeps the focus where it is; those after it are told by their headings. */
let isFirst = true;

export function Page(props: { title: string; about?: string | undefined; acts?: ComponentChildren; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    document.title = `${props.title} – ${t('title')}`;
    if (!isFirst) heading.current?.focus();
    isFirst = false;
  }, [props.title]);
  return (
    <>
      <header class="head">
        <div>
          <h1 ref={heading} tabIndex={-1}>{props.title}</h1>
          {props.about && <p class="quiet">{props.about}</p>}
        </div>
        {props.acts && <div class="acts">{props.acts}</div>}
      </header>
      {props.children}
    </>
  );
}

export function Card(props: { title: string; about?: string; wide?: boolean; children: ComponentChildren }) {
  return (
    <section class={props.wide ? 'card wide' : 'card'} aria-label={props.title}>
      <h2>{props.title}</h2>
      {props.about && <p class="quiet">{props.about}</p>}
      {props.children}
    </section>
  );
}

export function Empty(props: { title: string; hint?: string }) {
  return (
    <div class="empty">
      <p>{props.title}</p>
      {props.hint && <p class="quiet">{props.hint}</p>}
    </div>
  );
}

/** The faults of what was fetched, or that it is being fetched. `true` where there is something to show. */
export function Load(props: { of: { fault?: Fault; at: number; reload: () => Promise<void> }; has: boolean; children: ComponentChildren }) {
  const { fault, at: fetched } = props.of;
  if (!props.has && !fault) return <p class="quiet" role="status">{t('loading')}</p>;
  return (
    <>
      {fault && (
        <p class="notice bad" role="alert">
          {props.has && fault.status === 0 ? t('stale', { at: at(fetched) }) : fault.status === 0 ? t('noAnswer') : t('fault', { why: fault.message })}{' '}
          <button type="button" class="small" onClick={() => void props.of.reload()}>{t('reload')}</button>
        </p>
      )}
      {props.has && props.children}
    </>
  );
}

export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  /** Numbers stand to the right. */
  numeric?: boolean;
  /** The cell that names its row. */
  heads?: boolean;
}

/** A table; on a narrow screen each row is a card. */
export function Table<T>(props: { label: string; columns: Column<T>[]; rows: T[]; id: (row: T) => string }) {
  return (
    <table class="list" aria-label={props.label}>
      <thead>
        <tr>{props.columns.map(({ name, numeric }) => <th scope="col" class={numeric ? 'num' : ''}>{name}</th>)}</tr>
      </thead>
      <tbody>
        {props.rows.map((row) => (
          <tr key={props.id(row)}>
            {props.columns.map(({ name, cell, numeric, heads }) =>
              heads
                ? <th scope="row" data-name={name}><span>{cell(row)}</span></th>
                : <td data-name={name} class={numeric ? 'num' : ''}><span>{cell(row)}</span></td>,
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function More(props: { more?: (() => Promise<void>) | undefined }) {
  return props.more ? <p class="more"><button type="button" onClick={() => void props.more!()}>{t('more')}</button></p> : null;
}

export type Tone = 'good' | 'bad' | 'warn' | 'calm';

/** A word with a mark before it, so that colour is not all that tells. */
export function Mark(props: { tone: Tone; children: ComponentChildren }) {
  const sign = { good: '✓', bad: '✕', warn: '!', calm: '·' }[props.tone];
  return <span class={`mark ${props.tone}`}><span aria-hidden="true">{sign}</span> {props.children}</span>;
}

export function Facts(props: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {props.facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

/** A dialog that asks before something is done; what goes wrong is said in it. */
export function Ask(props: {
  title: string;
  text?: string;
  act: string;
  danger?: boolean;
  onAct: () => Promise<void>;
  onClose: () => void;
  children?: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [fault, setFault] = useState('');
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const act = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await props.onAct();
      props.onClose();
    } catch (error) {
      setFault(t('fault', { why: asFault(error).message || t('noAnswer') }));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="ask-title" onClose={props.onClose}>
      <form onSubmit={(event) => void act(event)}>
        <h2 id="ask-title">{props.title}</h2>
        {props.text && <p>{props.text}</p>}
        {props.children}
        <p class="fault" role="alert">{fault}</p>
        <div class="buttons">
          <button type="button" onClick={props.onClose}>{t('cancel')}</button>
          <button type="submit" class={props.danger ? 'danger' : 'primary'} disabled={busy}>{props.act}</button>
        </div>
      </form>
    </dialog>
  );
}

/** Has the browser keep a file. */
export function download(name: string, type: string, content: BlobPart[]): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(content, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
