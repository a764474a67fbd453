import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Account } from '../engine/phone';
import { Session, ownServer, rememberAccount } from '../engine/session';
import { Tower } from './icons';
import { type Key, t } from './strings';

export function SignIn({ onSession }: { onSession: (session: Session) => void }) {
  const fault = useSignal<Key | undefined>(undefined);
  const busy = useSignal(false);
  const first = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => first.current?.focus(), []);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? '');
    const user = text('address').trim().replace(/^sips?:/i, '');
    if (!/^[^\s@<>"]+@[^\s@<>"]+$/.test(user)) {
      fault.value = 'badAddress';
      return;
    }
    const at = user.lastIndexOf('@');
    const account: Account = {
      user: user.slice(0, at) + user.slice(at).toLowerCase(),
      displayName: text('name').trim(),
      password: text('password'),
      server: ownServer(),
      instance: crypto.randomUUID?.() ?? randomUuid(),
    };
    busy.value = true;
    fault.value = undefined;
    const session = await Session.begin(account);
    const state = await session.settled();
    busy.value = false;
    if (state === 'online') {
      rememberAccount(account, form.get('stay') !== null);
      return onSession(session);
    }
    await session.end(false);
    fault.value = state === 'refused' ? 'wrongPassword' : 'noServer';
  };

  return (
    <main class="signin">
      <form onSubmit={(event) => void submit(event)} aria-busy={busy.value}>
        <div class="brand">
          <Tower />
          <h1>{t('appName')}</h1>
        </div>
        <label>
          {t('address')}
          <input ref={first} name="address" type="text" inputMode="email" autocomplete="username" autocapitalize="off"
            spellcheck={false} placeholder={t('addressHint')} required />
        </label>
        <label>
          {t('password')}
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <label>
          {t('displayName')}
          <input name="name" type="text" autocomplete="name" maxLength={60} />
        </label>
        <label class="check">
          <input name="stay" type="checkbox" checked />
          {t('staySignedIn')}
        </label>
        <p class="fault" role="alert">{fault.value ? t(fault.value) : ''}</p>
        <button class="primary" type="submit" disabled={busy.value}>
          {busy.value ? t('signingIn') : t('signIn')}
        </button>
      </form>
    </main>
  );
}

/** Where the page is not a secure context, `randomUUID` is missing. */
function randomUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
