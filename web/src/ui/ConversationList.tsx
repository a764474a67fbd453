// The left side: conversations and contacts.

import { useSignal } from '@preact/signals';
import type { Contact } from '../engine/contacts';
import type { Conversation } from '../engine/model';
import type { Session } from '../engine/session';
import { Avatar } from './Avatar';
import { ContactForm } from './ContactForm';
import { typingText } from './ConversationHeader';
import { when } from './format';
import { More, Plus } from './icons';
import { NewChat, NewGroup } from './NewDialogs';
import { presenceText } from './presence';
import { Settings } from './Settings';
import { lineOf } from './summary';
import { t } from './strings';

interface Props {
  session: Session;
  onOpen: (peer: string) => void;
  onEnd: () => void;
}

export function ConversationList({ session, onOpen, onEnd }: Props) {
  const dialog = useSignal<'chat' | 'group' | 'contact' | 'settings' | undefined>(undefined);
  const tab = useSignal<'chats' | 'contacts'>('chats');
  const wanted = useSignal('');
  const { chat, account } = session;
  const me = account.displayName || account.user;
  const close = () => (dialog.value = undefined);
  const adds = tab.value === 'chats' ? 'newChat' : 'addContact';
  const isFull = chat.conversations.value.length > 0 || session.contacts.list.value.length > 0;
  return (
    <nav class="list" aria-label={t('conversations')}>
      <header>
        <Avatar user={account.user} name={me} />
        <div class="who">
          <h1>{me}</h1>
          <p class={`state ${session.state.value}`}>{stateText(session)}</p>
        </div>
        <button class="plain" onClick={() => (dialog.value = tab.value === 'chats' ? 'chat' : 'contact')} aria-label={t(adds)} title={t(adds)}><Plus /></button>
        <button class="plain" onClick={() => (dialog.value = 'settings')} aria-label={t('menu')} title={t('menu')}><More /></button>
      </header>
      <div class="tabs">
        {(['chats', 'contacts'] as const).map((one) => (
          <button key={one} aria-pressed={tab.value === one} onClick={() => (tab.value = one)}>{t(one)}</button>
        ))}
      </div>
      {isFull && (
        <input class="search" type="search" value={wanted.value} placeholder={t('search')} aria-label={t('search')}
          onInput={(event) => (wanted.value = event.currentTarget.value)} />
      )}
      {tab.value === 'chats' ? (
        <Chats session={session} wanted={wanted.value} onNew={() => (dialog.value = 'chat')} />
      ) : (
        <People session={session} wanted={wanted.value} onNew={() => (dialog.value = 'contact')} />
      )}
      {dialog.value === 'chat' && <NewChat session={session} onClose={close} onOpen={onOpen} onGroup={() => (dialog.value = 'group')} />}
      {dialog.value === 'group' && <NewGroup session={session} onClose={close} onOpen={onOpen} />}
      {dialog.value === 'contact' && <ContactForm session={session} onClose={close} />}
      {dialog.value === 'settings' && <Settings session={session} onClose={close} onEnd={onEnd} />}
    </nav>
  );
}

function stateText(session: Session): string {
  switch (session.state.value) {
    case 'online': return session.account.user;
    case 'refused': return t('refused');
    default: return t('connecting');
  }
}

/** Whether one of the texts has what is searched for. */
function matches(wanted: string, ...texts: string[]): boolean {
  return texts.some((text) => text.toLowerCase().includes(wanted.trim().toLowerCase()));
}

function Chats({ session, wanted, onNew }: { session: Session; wanted: string; onNew: () => void }) {
  const all = session.chat.conversations.value;
  const found = all.filter((one) => matches(wanted, session.titleOf(one), one.peer, one.preview));
  if (all.length === 0) {
    return (
      <div class="empty">
        <p>{t('noConversations')}</p>
        <button class="primary" onClick={onNew}>{t('newChat')}</button>
      </div>
    );
  }
  if (found.length === 0) return <p class="empty">{t('nothingFound')}</p>;
  return <ul>{found.map((conversation) => <Row key={conversation.peer} conversation={conversation} session={session} />)}</ul>;
}

function Row({ conversation, session }: { conversation: Conversation; session: Session }) {
  const { peer, unread, group } = conversation;
  const title = session.titleOf(conversation) || t('groupName');
  const typing = typingText(session, peer);
  const line = lineOf(conversation);
  const isOpen = session.chat.open.value === peer;
  return (
    <li>
      <a href={`#/${encodeURIComponent(peer)}`} aria-current={isOpen ? 'page' : undefined}>
        <Avatar user={peer} name={title} icon={group?.icon ?? ''} there={session.presence.people.value.get(peer)?.open ?? false} />
        <span class="name">{title}</span>
        {line !== '' && <time>{when(conversation.order, Date.now())}</time>}
        <span class={typing ? 'preview typing' : 'preview'}>{typing || line}</span>
        {unread > 0 && (
          <span class="badge">
            <span aria-hidden="true">{unread}</span>
            <span class="hidden">{t('unread', { count: unread })}</span>
          </span>
        )}
      </a>
    </li>
  );
}

function People({ session, wanted, onNew }: { session: Session; wanted: string; onNew: () => void }) {
  const all = session.contacts.list.value;
  const found = all.filter((one) => matches(wanted, one.name, one.user, one.organization));
  if (all.length === 0) {
    return (
      <div class="empty">
        <p>{t('noContacts')}</p>
        <button class="primary" onClick={onNew}>{t('addContact')}</button>
      </div>
    );
  }
  if (found.length === 0) return <p class="empty">{t('nothingFound')}</p>;
  return <ul>{found.map((contact) => <PersonRow key={contact.user} contact={contact} session={session} />)}</ul>;
}

function PersonRow({ contact, session }: { contact: Contact; session: Session }) {
  const person = session.presence.people.value.get(contact.user);
  const blocked = session.contacts.blocked.value.has(contact.user);
  return (
    <li>
      <a href={`#/${encodeURIComponent(contact.user)}`} aria-current={session.chat.open.value === contact.user ? 'page' : undefined}>
        <Avatar user={contact.user} name={contact.name} there={person?.open ?? false} />
        <span class="name">{contact.name}</span>
        <span class="preview">{blocked ? t('blockedList') : presenceText(person) || contact.user}</span>
      </a>
    </li>
  );
}
