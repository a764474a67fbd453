import { useSignal } from '@preact/signals';
import { shortName, userTyped } from '../wire/address';
import type { Conversation } from '../engine/model';
import type { Session } from '../engine/session';
import { Avatar } from './Avatar';
import { Dialog } from './Dialog';
import { when } from './format';
import { More, Plus } from './icons';
import { Settings } from './Settings';
import { t } from './strings';

interface Props {
  session: Session;
  onOpen: (peer: string) => void;
  onEnd: () => void;
}

export function ConversationList({ session, onOpen, onEnd }: Props) {
  const dialog = useSignal<'new' | 'settings' | undefined>(undefined);
  const { chat, account } = session;
  const me = account.displayName || account.user;
  const close = () => (dialog.value = undefined);
  return (
    <nav class="list" aria-label={t('conversations')}>
      <header>
        <Avatar user={account.user} name={me} />
        <div class="who">
          <h1>{me}</h1>
          <p class={`state ${session.state.value}`}>{stateText(session)}</p>
        </div>
        <button class="plain" onClick={() => (dialog.value = 'new')} aria-label={t('newChat')} title={t('newChat')}>
          <Plus />
        </button>
        <button class="plain" onClick={() => (dialog.value = 'settings')} aria-label={t('menu')} title={t('menu')}>
          <More />
        </button>
      </header>
      {chat.conversations.value.length === 0 ? (
        <div class="empty">
          <p>{t('noConversations')}</p>
          <button class="primary" onClick={() => (dialog.value = 'new')}>{t('newChat')}</button>
        </div>
      ) : (
        <ul>
          {chat.conversations.value.map((conversation) => (
            <Row key={conversation.peer} conversation={conversation} session={session} />
          ))}
        </ul>
      )}
      {dialog.value === 'new' && <NewChat session={session} onClose={close} onOpen={onOpen} />}
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

function Row({ conversation, session }: { conversation: Conversation; session: Session }) {
  const { chat } = session;
  const name = peerName(conversation, session);
  const isOpen = chat.open.value === conversation.peer;
  const isTyping = chat.typing.value.has(conversation.peer);
  return (
    <li>
      <a href={`#/${encodeURIComponent(conversation.peer)}`} aria-current={isOpen ? 'page' : undefined}>
        <Avatar user={conversation.peer} name={name} />
        <span class="name">{name}</span>
        {conversation.preview !== '' && <time>{when(conversation.order, Date.now())}</time>}
        <span class={isTyping ? 'preview typing' : 'preview'}>{isTyping ? t('typing') : conversation.preview}</span>
        {conversation.unread > 0 && (
          <span class="badge">
            <span aria-hidden="true">{conversation.unread}</span>
            <span class="hidden">{t('unread', { count: conversation.unread })}</span>
          </span>
        )}
      </a>
    </li>
  );
}

export function peerName(conversation: Conversation | undefined, session: Session): string {
  return conversation?.name || shortName(conversation?.peer ?? '', session.domain);
}

function NewChat({ session, onClose, onOpen }: { session: Session; onClose: () => void; onOpen: (peer: string) => void }) {
  const fault = useSignal(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get('peer') ?? '');
    const peer = userTyped(text, session.domain);
    if (!peer) {
      fault.value = true;
      return;
    }
    void session.chat.begin(peer).then(() => {
      onClose();
      onOpen(peer);
    });
  };
  return (
    <Dialog title={t('newChat')} onClose={onClose}>
      <form onSubmit={submit}>
        <label>
          {t('newChatHint')}
          <input name="peer" type="text" autocapitalize="off" spellcheck={false} required />
        </label>
        <p class="fault" role="alert">{fault.value ? t('badPeer') : ''}</p>
        <div class="buttons">
          <button type="button" onClick={onClose}>{t('cancel')}</button>
          <button class="primary" type="submit">{t('start')}</button>
        </div>
      </form>
    </Dialog>
  );
}
