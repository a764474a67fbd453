import { useSignal } from '@preact/signals';
import type { Session } from '../engine/session';
import { Dialog } from './Dialog';
import { type Key, t } from './strings';
import { type Theme, setTheme, theme } from './theme';

const THEMES: [Theme, Key][] = [['auto', 'themeAuto'], ['light', 'themeLight'], ['dark', 'themeDark']];

export function Settings({ session, onClose, onEnd }: { session: Session; onClose: () => void; onEnd: () => void }) {
  const { contacts, presence } = session;
  const busy = useSignal(false);
  const allowed = useSignal(typeof Notification !== 'undefined' && Notification.permission === 'granted');
  const signOut = async () => {
    busy.value = true;
    await session.end(true);
    onEnd();
  };
  const ask = async () => {
    allowed.value = (await Notification.requestPermission()) === 'granted';
    if (allowed.value) await session.allowPush();
  };
  return (
    <Dialog title={session.account.displayName || session.account.user} onClose={onClose}>
      <p class="quiet">{session.account.user}</p>
      <label>
        {t('myNote')}
        <input type="text" name="note" maxLength={100} defaultValue={presence.note.value}
          onChange={(event) => void presence.setNote(event.currentTarget.value.trim())} />
      </label>
      <fieldset>
        <legend>{t('theme')}</legend>
        {THEMES.map(([value, key]) => (
          <label class="check" key={value}>
            <input type="radio" name="theme" checked={theme.value === value} onChange={() => setTheme(value)} />
            {t(key)}
          </label>
        ))}
      </fieldset>
      {typeof Notification !== 'undefined' && (
        <label class="check">
          <input type="checkbox" checked={allowed.value} disabled={allowed.value} onChange={() => void ask()} />
          {t('notifications')}
        </label>
      )}
      {session.pushes.value && <p class="quiet">{t('pushesOn')}</p>}
      {contacts.blocked.value.size > 0 && (
        <>
          <h3>{t('blockedList')}</h3>
          <ul class="people">
            {[...contacts.blocked.value].map((user) => (
              <li key={user}>
                <span class="row"><span class="name">{session.nameOf(user)}</span><span class="quiet">{user}</span></span>
                <button onClick={() => void contacts.block(user, false)}>{t('unblock')}</button>
              </li>
            ))}
          </ul>
        </>
      )}
      <hr />
      <p class="quiet">{t('signOutWarning')}</p>
      <button class="danger" disabled={busy.value} onClick={() => void signOut()}>{t('signOut')}</button>
    </Dialog>
  );
}
