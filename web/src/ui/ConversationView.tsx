import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Message } from '../engine/model';
import type { Session } from '../engine/session';
import { Avatar } from './Avatar';
import { type Acts, Bubble } from './Bubble';
import { Composer } from './Composer';
import { peerName } from './ConversationList';
import { Dialog } from './Dialog';
import { dayName, isSameDay } from './format';
import { Back, More, Phone, Video } from './icons';
import { t } from './strings';

/** Pixels from the end within which new messages keep the end in view. */
const NEAR = 80;

export function ConversationView({ session, peer, onBack }: { session: Session; peer: string; onBack: () => void }) {
  const { chat } = session;
  const about = useSignal<{ kind: 'reply' | 'edit'; message: Message } | undefined>(undefined);
  const deleting = useSignal(false);
  const log = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const messages = chat.messages.value;
  const name = peerName(chat.conversations.value.find((one) => one.peer === peer), session);
  const isTyping = chat.typing.value.has(peer);
  const canCall = session.state.value === 'online' && session.calls.current.value === undefined;

  useLayoutEffect(() => {
    if (atEnd.current && log.current) log.current.scrollTop = log.current.scrollHeight;
  }, [messages, isTyping]);
  useEffect(() => {
    const look = () => {
      if (document.visibilityState === 'visible' && document.hasFocus()) void chat.seen(peer);
    };
    look();
    addEventListener('focus', look);
    document.addEventListener('visibilitychange', look);
    return () => {
      removeEventListener('focus', look);
      document.removeEventListener('visibilitychange', look);
    };
  }, [peer, messages]);

  const acts: Acts = {
    reply: (message) => (about.value = { kind: 'reply', message }),
    edit: (message) => (about.value = { kind: 'edit', message }),
    recall: (message) => void chat.recall(message),
    react: (message, sign) => void chat.react(message, sign),
    retry: (message) => void chat.retry(message),
  };
  const authorOf = (message: Message) => (message.mine ? t('you') : name);
  const send = (text: string) => {
    const of = about.value;
    about.value = undefined;
    atEnd.current = true;
    if (of?.kind === 'edit') void chat.edit(of.message, text);
    else void chat.say(peer, text, of?.message.id);
  };
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = log.current!;
    atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };
  const older = async () => {
    const before = log.current!.scrollHeight;
    await chat.older();
    requestAnimationFrame(() => log.current!.scrollBy(0, log.current!.scrollHeight - before));
  };
  const byId = new Map(messages.map((message) => [message.id, message]));

  return (
    <main class="conversation">
      <header>
        <button class="plain back" onClick={onBack} aria-label={t('back')}><Back /></button>
        <Avatar user={peer} name={name} />
        <div class="who">
          <h2>{name}</h2>
          <p class={isTyping ? 'typing' : ''} aria-live="polite">{isTyping ? t('typing') : peer}</p>
        </div>
        <button class="plain" onClick={() => session.calls.call(peer, false)} disabled={!canCall} aria-label={t('call')} title={t('call')}>
          <Phone />
        </button>
        <button class="plain" onClick={() => session.calls.call(peer, true)} disabled={!canCall} aria-label={t('videoCall')}
          title={t('videoCall')}>
          <Video />
        </button>
        <button class="plain" onClick={() => (deleting.value = true)} aria-label={t('deleteChat')} title={t('deleteChat')}>
          <More />
        </button>
      </header>
      <div class="log" ref={log} onScroll={scrolled} tabIndex={0} role="log" aria-label={name}>
        {chat.more.value && <button class="earlier" onClick={() => void older()}>{t('earlier')}</button>}
        <ol>
          {messages.map((message, at) => {
            const before = messages[at - 1];
            const answered = message.replyTo === undefined ? undefined : byId.get(message.replyTo);
            return [
              (!before || !isSameDay(before.at, message.at)) && (
                <li class="day" key={`day ${message.id}`}>{dayName(message.at, Date.now())}</li>
              ),
              <Bubble key={`${message.mine} ${message.id}`} message={message} author={authorOf(message)} acts={acts}
                answered={answered} answeredAuthor={answered ? authorOf(answered) : ''} />,
            ];
          })}
        </ol>
      </div>
      {session.state.value !== 'online' && (
        <p class="notice" role="status">
          {t(session.state.value === 'connecting' ? 'connecting' : session.state.value === 'refused' ? 'refused' : 'offline')}
        </p>
      )}
      <Composer key={peer} about={about.value && { ...about.value, name: authorOf(about.value.message) }}
        onLeave={() => (about.value = undefined)} onSend={send} onTyping={(typed) => chat.types(peer, typed)} />
      {deleting.value && (
        <Dialog title={t('deleteChat')} onClose={() => (deleting.value = false)}>
          <p>{t('deleteChatWarning')}</p>
          <div class="buttons">
            <button onClick={() => (deleting.value = false)}>{t('cancel')}</button>
            <button class="danger" onClick={() => { void chat.forget(peer); onBack(); }}>{t('deleteChat')}</button>
          </div>
        </Dialog>
      )}
    </main>
  );
}
