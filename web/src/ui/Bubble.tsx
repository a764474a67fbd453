// One message.

import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { CallRecord } from '../engine/calls';
import { CALL, type Message } from '../engine/model';
import { mediaType } from '../wire/headers';
import { endText } from './CallView';
import { duration, pieces, timeOfDay } from './format';
import { Alert, Check, Checks, Clock, Phone, Smile, Video } from './icons';
import { t } from './strings';

const SIGNS = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

export interface Acts {
  reply(message: Message): void;
  edit(message: Message): void;
  recall(message: Message): void;
  react(message: Message, sign: string): void;
  retry(message: Message): void;
}

interface Props {
  message: Message;
  /** Whose it is, in words. */
  author: string;
  /** What it answers, where that is known here. */
  answered: Message | undefined;
  answeredAuthor: string;
  acts: Acts;
}

export function Bubble({ message, author, answered, answeredAuthor, acts }: Props) {
  if (message.contentType === CALL) return <CallLine message={message} />;
  const signs = Object.values(message.reactions ?? {});
  return (
    <li class={message.mine ? 'bubble mine' : 'bubble'} id={`m-${message.id}`}>
      <article aria-label={author}>
        {answered && (
          <a class="quote" href={`#m-${answered.id}`} onClick={(event) => jump(event, answered.id)}>
            <strong>{answeredAuthor}</strong>
            <span>{answered.recalled ? t('recalled') : answered.text.slice(0, 160)}</span>
          </a>
        )}
        <Text message={message} />
        <footer>
          {message.edited && !message.recalled && <span>{t('edited')}</span>}
          <time dateTime={new Date(message.at).toISOString()}>{timeOfDay(message.at)}</time>
          {message.mine && <Mark message={message} />}
        </footer>
        {message.progress === 'failed' && (
          <button class="retry" onClick={() => acts.retry(message)}>{t('tryAgain')}</button>
        )}
        {signs.length > 0 && (
          <p class="signs"><span class="hidden">{t('reactions')}: </span>{signs.join(' ')}</p>
        )}
      </article>
      {!message.recalled && <Menu message={message} acts={acts} />}
    </li>
  );
}

function CallLine({ message }: { message: Message }) {
  const record = JSON.parse(message.text) as CallRecord;
  const talked = record.seconds > 0 ? t('talked', { time: duration(record.seconds) }) : endText(record.end);
  return (
    <li class={record.end === 'missed' ? 'event missed' : 'event'}>
      {record.video ? <Video /> : <Phone />}
      <span>{record.mine && record.seconds === 0 ? `${t('outgoingCall')}: ${talked}` : talked}</span>
      <time dateTime={new Date(message.at).toISOString()}>{timeOfDay(message.at)}</time>
    </li>
  );
}

function jump(event: MouseEvent, id: string): void {
  event.preventDefault();
  const target = document.getElementById(`m-${id}`);
  target?.scrollIntoView({ block: 'center' });
  target?.classList.add('found');
  setTimeout(() => target?.classList.remove('found'), 1500);
}

function Text({ message }: { message: Message }) {
  if (message.recalled) return <p class="text quiet">{t('recalled')}</p>;
  if (!mediaType(message.contentType).startsWith('text/')) {
    return <p class="text quiet">{t('unknownContent', { type: mediaType(message.contentType) })}</p>;
  }
  // A few signs alone are shown large.
  const large = /^(\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f){1,8}$/u.test(message.text.trim());
  return (
    <p class={large ? 'text large' : 'text'} dir="auto">
      {pieces(message.text).map((piece) =>
        piece.href ? <a href={piece.href} target="_blank" rel="noopener noreferrer">{piece.text}</a> : piece.text,
      )}
    </p>
  );
}

function Mark({ message }: { message: Message }) {
  const progress = message.progress ?? 'sent';
  const text = progress === 'failed' && message.status ? t('failedWith', { status: message.status }) : t(progress);
  return (
    <span class={`mark ${progress}`} title={text} data-progress={progress}>
      {progress === 'waiting' && <Clock />}
      {progress === 'sent' && <Check />}
      {(progress === 'delivered' || progress === 'displayed') && <Checks />}
      {progress === 'failed' && <Alert />}
      <span class="hidden">{text}</span>
    </span>
  );
}

function Menu({ message, acts }: { message: Message; acts: Acts }) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const isText = mediaType(message.contentType).startsWith('text/');
  useEffect(() => {
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
              <button role="menuitem" key={sign} aria-label={t('react', { sign })}
                onClick={act(() => acts.react(message, sign))}>
                {sign}
              </button>
            ))}
          </div>
          <button role="menuitem" onClick={act(() => acts.reply(message))}>{t('reply')}</button>
          {isText && (
            <button role="menuitem" onClick={act(() => void navigator.clipboard?.writeText(message.text))}>
              {t('copy')}
            </button>
          )}
          {message.mine && isText && (
            <button role="menuitem" onClick={act(() => acts.edit(message))}>{t('edit')}</button>
          )}
          {message.mine && (
            <button role="menuitem" onClick={act(() => acts.recall(message))}>{t('recall')}</button>
          )}
        </div>
      )}
    </div>
  );
}
