// With whom one talks, whether they are there, and what can be done.

import type { Session } from '../engine/session';
import { isFocus } from '../wire/address';
import { Avatar } from './Avatar';
import { names } from './format';
import { Back, Info, Phone, Video } from './icons';
import { presenceText } from './presence';
import { t } from './strings';

interface Props {
  session: Session;
  peer: string;
  onBack: () => void;
  onInfo: () => void;
}

export function ConversationHeader({ session, peer, onBack, onInfo }: Props) {
  const conversation = session.chat.conversations.value.find((one) => one.peer === peer);
  const title = conversation ? session.titleOf(conversation) || t('groupName') : session.nameOf(peer);
  const typing = typingText(session, peer);
  const canCall = session.state.value === 'online' && session.calls.current.value === undefined;
  const call = (video: boolean) => () => session.calls.call(peer, video);
  return (
    <header>
      <button class="plain back" onClick={onBack} aria-label={t('back')}><Back /></button>
      <Avatar user={peer} name={title} icon={conversation?.group?.icon ?? ''} there={session.presence.people.value.get(peer)?.open ?? false} />
      <div class="who">
        <h2>{title}</h2>
        <p class={typing ? 'typing' : ''} aria-live="polite">{typing || subtitle(session, peer)}</p>
      </div>
      {!isFocus(peer) && (
        <>
          <button class="plain" onClick={call(false)} disabled={!canCall} aria-label={t('call')} title={t('call')}><Phone /></button>
          <button class="plain" onClick={call(true)} disabled={!canCall} aria-label={t('videoCall')} title={t('videoCall')}><Video /></button>
        </>
      )}
      <button class="plain" onClick={onInfo} aria-label={t('info')} title={t('info')}><Info /></button>
    </header>
  );
}

/** Who types in a conversation; empty where nobody does. */
export function typingText(session: Session, peer: string): string {
  const typists = session.chat.typing.value.get(peer) ?? [];
  if (typists.length === 0) return '';
  if (!isFocus(peer)) return t('typing');
  if (typists.length > 1) return t('typingSome', { count: typists.length });
  const [user] = typists;
  const member = session.chat.ledger.conversation(peer)?.group?.members.find((one) => one.user === user);
  return t('typingName', { name: session.nameOf(user!, member?.name) });
}

function subtitle(session: Session, peer: string): string {
  const group = session.chat.conversations.value.find((one) => one.peer === peer)?.group;
  if (group) {
    const all = group.members.map(({ user, name }) => (user === session.account.user ? t('you') : session.nameOf(user, name)));
    return all.length > 5 ? t('memberCount', { count: all.length }) : names(all);
  }
  return presenceText(session.presence.people.value.get(peer)) || peer;
}
