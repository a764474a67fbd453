// The open conversation.

import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { UPLOAD, type Message } from '../engine/model';
import type { Session } from '../engine/session';
import { isFocus, uriOf } from '../wire/address';
import { CARD_TYPE, writeCard } from '../wire/card';
import { newId } from '../wire/cpim';
import { PLACE_TYPE, writePlace } from '../wire/place';
import { Bubble } from './Bubble';
import { CardDialog } from './CardDialog';
import { Composer } from './Composer';
import { ConversationHeader } from './ConversationHeader';
import { thumbnailOf } from './thumbnail';
import { dayName, isSameDay } from './format';
import { GroupInfoDialog } from './GroupInfo';
import type { Acts } from './MessageMenu';
import { PersonInfoDialog } from './PersonInfo';
import { PlaceDialog } from './PlaceDialog';
import { t } from './strings';

/** Pixels from the end within which new messages keep the end in view. */
const NEAR = 80;

export function ConversationView({ session, peer, onBack }: { session: Session; peer: string; onBack: () => void }) {
  const { chat } = session;
  const about = useSignal<{ kind: 'reply' | 'edit'; message: Message } | undefined>(undefined);
  const dialog = useSignal<'info' | 'place' | 'card' | undefined>(undefined);
  const drags = useSignal(false);
  const inGroup = isFocus(peer);
  const conversation = chat.conversations.value.find((one) => one.peer === peer);
  const close = () => (dialog.value = undefined);

  const authorOf = (message: Message) => {
    if (message.mine) return t('you');
    return session.nameOf(message.from ?? peer, inGroup ? message.fromName : conversation?.name);
  };
  const acts: Acts = {
    reply: (message) => (about.value = { kind: 'reply', message }),
    edit: (message) => (about.value = { kind: 'edit', message }),
    recall: (message) => void chat.recall(message),
    react: (message, sign) => void chat.react(message, sign),
    retry: (message) => void (message.contentType === UPLOAD ? session.uploads.retry(message) : chat.retry(message)),
  };
  const send = (text: string) => {
    const of = about.value;
    about.value = undefined;
    if (of?.kind === 'edit') void chat.edit(of.message, text);
    else void chat.say(peer, text, of?.message.id);
  };
  const sendFiles = async (files: File[]) => {
    for (const file of files) {
      const { name, size } = file;
      const type = file.type || 'application/octet-stream';
      await session.uploads.add(peer, file, { name, size, type }, await thumbnailOf(file));
    }
  };
  const sendVoice = (blob: Blob, seconds: number) => {
    const ending = blob.type.includes('mp4') ? 'm4a' : blob.type.includes('ogg') ? 'ogg' : 'webm';
    const record = { name: `voice.${ending}`, size: blob.size, type: blob.type, voice: true, seconds: Math.max(1, Math.round(seconds)) };
    void session.uploads.add(peer, blob, record);
  };
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
  const blocked = session.contacts.blocked.value.has(peer);
  const left = conversation?.group?.left;

  return (
    <main class={drags.value ? 'conversation dragged' : 'conversation'}
      onDragOver={(event) => { if (hasFiles(event)) { event.preventDefault(); drags.value = true; } }}
      onDragLeave={(event) => { if (!(event.currentTarget as Element).contains(event.relatedTarget as Node)) drags.value = false; }}
      onDrop={(event) => {
        drags.value = false;
        if (!hasFiles(event)) return;
        event.preventDefault();
        if (!left && !blocked) void sendFiles([...(event.dataTransfer?.files ?? [])]);
      }}>
      <ConversationHeader session={session} peer={peer} onBack={onBack} onInfo={() => (dialog.value = 'info')} />
      <Log session={session} peer={peer} acts={acts} authorOf={authorOf} />
      {session.state.value !== 'online' && (
        <p class="notice" role="status">
          {t(session.state.value === 'connecting' ? 'connecting' : session.state.value === 'refused' ? 'refused' : 'offline')}
        </p>
      )}
      {left ? (
        <p class="notice closed">{t('youLeft')}</p>
      ) : blocked ? (
        <p class="notice closed">
          {t('blockedNow', { name: session.nameOf(peer) })}
          <button onClick={() => void session.contacts.block(peer, false)}>{t('unblock')}</button>
        </p>
      ) : (
        <Composer key={peer} about={about.value && { ...about.value, name: authorOf(about.value.message) }}
          onLeave={() => (about.value = undefined)} onSend={send} onTyping={(typed) => chat.types(peer, typed)}
          onFiles={(files) => void sendFiles(files)} onVoice={sendVoice} onPlace={() => (dialog.value = 'place')}
          onCard={() => (dialog.value = 'card')} />
      )}
      {drags.value && <p class="drop" aria-hidden="true">{t('dropHere')}</p>}
      {dialog.value === 'place' && (
        <PlaceDialog onClose={close} onSend={(place) => {
          close();
          void chat.put(peer, PLACE_TYPE, writePlace(place, newId(), uriOf(session.account.user), new Date()));
        }} />
      )}
      {dialog.value === 'card' && (
        <CardDialog session={session} onClose={close} onSend={(card) => {
          close();
          void chat.put(peer, `${CARD_TYPE};charset=UTF-8`, writeCard(card));
        }} />
      )}
      {dialog.value === 'info' && inGroup && <GroupInfoDialog session={session} focus={peer} onClose={close} onGone={onBack} />}
      {dialog.value === 'info' && !inGroup && <PersonInfoDialog session={session} user={peer} onClose={close} onGone={onBack} />}
    </main>
  );
}

interface LogProps {
  session: Session;
  peer: string;
  acts: Acts;
  authorOf: (message: Message) => string;
}

function Log({ session, peer, acts, authorOf }: LogProps) {
  const { chat } = session;
  const known = chat.conversations.value.find((one) => one.peer === peer);
  const title = (known && session.titleOf(known)) || session.nameOf(peer);
  const log = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  const messages = chat.messages.value;
  const typing = chat.typing.value.has(peer);
  const toEnd = () => {
    if (atEnd.current && log.current) log.current.scrollTop = log.current.scrollHeight;
  };
  useLayoutEffect(() => {
    // What one has written oneself is always looked at.
    if (messages[messages.length - 1]?.progress === 'waiting') atEnd.current = true;
    toEnd();
  }, [messages, typing]);
  useEffect(() => {
    // Pictures and maps have their size only when they are there.
    const grows = new ResizeObserver(toEnd);
    if (list.current) grows.observe(list.current);
    return () => grows.disconnect();
  }, []);
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
    <div class="log" ref={log} onScroll={scrolled} tabIndex={0} role="log" aria-label={title}>
      {chat.more.value && <button class="earlier" onClick={() => void older()}>{t('earlier')}</button>}
      <ol ref={list}>
        {messages.map((message, at) => {
          const before = messages[at - 1];
          const newDay = !before || !isSameDay(before.at, message.at);
          const answered = message.replyTo === undefined ? undefined : byId.get(message.replyTo);
          const isFirst = newDay || before.mine !== message.mine || before.from !== message.from;
          return [
            newDay && <li class="day" key={`day ${message.id}`}>{dayName(message.at, Date.now())}</li>,
            <Bubble key={`${message.mine} ${message.id}`} session={session} message={message} author={authorOf(message)} acts={acts}
              isFirst={isFirst} inGroup={isFocus(peer)} answered={answered} answeredAuthor={answered ? authorOf(answered) : ''} />,
          ];
        })}
      </ol>
    </div>
  );
}
