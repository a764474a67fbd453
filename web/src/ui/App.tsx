import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Session, rememberedAccount } from '../engine/session';
import { CallView } from './CallView';
import { ConversationList } from './ConversationList';
import { ConversationView } from './ConversationView';
import { Tower } from './icons';
import { SignIn } from './SignIn';
import { summary } from './summary';
import { t } from './strings';

/** The conversation that the address bar names. */
function named(): string | undefined {
  const peer = /^#\/(.+)$/.exec(location.hash)?.[1];
  try {
    return peer === undefined ? undefined : decodeURIComponent(peer);
  } catch {
    return undefined;
  }
}

export function App() {
  const session = useSignal<Session | undefined>(undefined);
  const starting = useSignal(rememberedAccount() !== undefined);
  useEffect(() => {
    const account = rememberedAccount();
    if (!account) return;
    void Session.begin(account)
      .then((begun) => (session.value = begun))
      .catch((error: unknown) => console.error('the messages of this browser cannot be read', error))
      .finally(() => (starting.value = false));
  }, []);
  if (starting.value) return <p class="hidden">{t('connecting')}</p>;
  if (!session.value) return <SignIn onSession={(begun) => (session.value = begun)} />;
  return <Shell session={session.value} onEnd={() => { location.hash = ''; session.value = undefined; }} />;
}

function Shell({ session, onEnd }: { session: Session; onEnd: () => void }) {
  const { chat } = session;
  const show = (peer: string | undefined) => {
    if (peer === undefined) chat.closeConversation();
    else void chat.begin(peer).then(() => chat.openConversation(peer));
  };
  useEffect(() => {
    const follow = () => show(named());
    follow();
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, [session]);
  const unread = chat.conversations.value.reduce((sum, conversation) => sum + conversation.unread, 0);
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) ${t('appName')}` : t('appName');
  }, [unread]);
  useEffect(() => {
    chat.onNews = (message) => {
      if (document.hasFocus() || typeof Notification === 'undefined' || Notification.permission !== 'granted') return;
      const title = t('newMessage', { name: session.nameOf(message.from ?? message.peer, message.fromName) });
      const shown = new Notification(title, { body: summary(message), tag: message.peer });
      shown.onclick = () => {
        window.focus();
        location.hash = `/${encodeURIComponent(message.peer)}`;
      };
    };
  }, [session]);
  const open = chat.open.value;
  return (
    <div class={open === undefined ? 'shell' : 'shell open'}>
      <ConversationList session={session} onEnd={onEnd} onOpen={(peer) => (location.hash = `/${encodeURIComponent(peer)}`)} />
      {open === undefined ? (
        <main class="choose"><Tower /><p>{t('choose')}</p></main>
      ) : (
        <ConversationView key={open} session={session} peer={open} onBack={() => (location.hash = '')} />
      )}
      {session.calls.current.value && <CallView session={session} call={session.calls.current.value} />}
    </div>
  );
}
