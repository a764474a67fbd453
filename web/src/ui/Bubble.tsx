// One message, or a line about what happened.

import { useSignal } from '@preact/signals';
import type { CallRecord } from '../engine/calls';
import { CALL, GROUP, type GroupNote, type Message, kindOf } from '../engine/model';
import type { Session } from '../engine/session';
import { mediaType } from '../wire/headers';
import { Avatar } from './Avatar';
import { endText } from './CallView';
import { CardContent } from './content/Card';
import { FileContent } from './content/File';
import { PlaceContent } from './content/Place';
import { duration, hueOf, pieces, timeOfDay } from './format';
import { Alert, Check, Checks, Clock, People, Phone, Video } from './icons';
import { type Acts, MessageMenu } from './MessageMenu';
import { Reached } from './Reached';
import { summary } from './summary';
import { t } from './strings';

interface Props {
  session: Session;
  message: Message;
  /** Whose it is, in words. */
  author: string;
  /** It is said whose it is, and shown: the first of several in a group. */
  isFirst: boolean;
  inGroup: boolean;
  /** What it answers, where that is known here. */
  answered: Message | undefined;
  answeredAuthor: string;
  acts: Acts;
}

export function Bubble(props: Props) {
  const { session, message, author, isFirst, inGroup, answered, answeredAuthor, acts } = props;
  const looks = useSignal(false);
  if (message.contentType === CALL) return <CallLine message={message} />;
  if (message.contentType === GROUP) return <GroupLine message={message} session={session} />;
  const signs = Object.values(message.reactions ?? {});
  const theirs = inGroup && !message.mine;
  return (
    <li class={`bubble${message.mine ? ' mine' : ''}${isFirst ? ' first' : ''}`} id={`m-${message.id}`}>
      {theirs && <span class="whose">{isFirst && <Avatar user={message.from ?? ''} name={author} />}</span>}
      <article aria-label={author}>
        {theirs && isFirst && <strong class="author" style={{ '--hue': hueOf(message.from ?? '') }}>{author}</strong>}
        {answered && (
          <a class="quote" href={`#m-${answered.id}`} onClick={(event) => jump(event, answered.id)}>
            <strong>{answeredAuthor}</strong>
            <span>{answered.recalled ? t('recalled') : summary(answered)}</span>
          </a>
        )}
        <Content message={message} session={session} />
        <footer>
          {message.edited && !message.recalled && <span>{t('edited')}</span>}
          <time dateTime={new Date(message.at).toISOString()}>{timeOfDay(message.at)}</time>
          {message.mine && <Mark message={message} />}
        </footer>
        {message.progress === 'failed' && <button class="retry" onClick={() => acts.retry(message)}>{t('tryAgain')}</button>}
        {signs.length > 0 && <p class="signs"><span class="hidden">{t('reactions')}: </span>{counted(signs)}</p>}
      </article>
      {!message.recalled && <MessageMenu message={message} acts={acts} onInfo={inGroup && message.mine ? () => (looks.value = true) : undefined} />}
      {looks.value && <Reached message={message} session={session} onClose={() => (looks.value = false)} />}
    </li>
  );
}

/** `👍 2 ❤️` */
function counted(signs: string[]): string {
  const counts = new Map<string, number>();
  for (const sign of signs) counts.set(sign, (counts.get(sign) ?? 0) + 1);
  return [...counts].map(([sign, count]) => (count > 1 ? `${sign} ${count}` : sign)).join(' ');
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

function GroupLine({ message, session }: { message: Message; session: Session }) {
  return (
    <li class="event">
      <People />
      <span>{groupText(JSON.parse(message.text) as GroupNote, session)}</span>
      <time dateTime={new Date(message.at).toISOString()}>{timeOfDay(message.at)}</time>
    </li>
  );
}

function groupText({ by, change }: GroupNote, session: Session): string {
  const name = (user: string) => (user === session.account.user ? t('you') : session.nameOf(user));
  const whose = by ? name(by) : '';
  switch (change.kind) {
    case 'created': return t('gCreated', { by: whose });
    case 'over': return t('gOver');
    case 'joined': return t('gJoined', { by: whose, who: change.users.map(name).join(', ') });
    case 'left': return t('gLeft', { who: change.users.map(name).join(', ') });
    case 'removed': return t('gRemoved', { by: whose, who: change.users.map(name).join(', ') });
    case 'subject': return change.subject ? t('gSubject', { by: whose, subject: change.subject }) : t('gNoSubject', { by: whose });
    case 'icon': return t('gIcon', { by: whose });
  }
}

function jump(event: MouseEvent, id: string): void {
  event.preventDefault();
  const target = document.getElementById(`m-${id}`);
  target?.scrollIntoView({ block: 'center' });
  target?.classList.add('found');
  setTimeout(() => target?.classList.remove('found'), 1500);
}

function Content({ message, session }: { message: Message; session: Session }) {
  if (message.recalled) return <p class="text quiet">{t('recalled')}</p>;
  switch (kindOf(message.contentType, message.text)) {
    case 'text': return <Text text={message.text} />;
    case 'place': return <PlaceContent xml={message.text} />;
    case 'card': return <CardContent session={session} text={message.text} />;
    case 'other': return <p class="text quiet">{t('unknownContent', { type: mediaType(message.contentType) })}</p>;
    default: return <FileContent message={message} session={session} />;
  }
}

function Text({ text }: { text: string }) {
  // A few signs alone are shown large.
  const large = /^(\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f){1,8}$/u.test(text.trim());
  return (
    <p class={large ? 'text large' : 'text'} dir="auto">
      {pieces(text).map((piece) =>
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
