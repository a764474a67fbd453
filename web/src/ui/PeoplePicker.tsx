// Chooses several people: from the contacts and those one has talked to, or by their addresses.

import { useSignal } from '@preact/signals';
import type { Session } from '../engine/session';
import { isFocus, userTyped } from '../wire/address';
import { Avatar } from './Avatar';
import { Close } from './icons';
import { t } from './strings';

interface Props {
  session: Session;
  chosen: readonly string[];
  /** Who cannot be chosen. */
  without: readonly string[];
  onChange: (users: string[]) => void;
}

export function PeoplePicker({ session, chosen, without, onChange }: Props) {
  const typed = useSignal('');
  const fault = useSignal(false);
  const add = () => {
    const user = userTyped(typed.value, session.domain);
    fault.value = !user;
    if (!user) return;
    typed.value = '';
    if (!chosen.includes(user) && !without.includes(user)) onChange([...chosen, user]);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || typed.value.trim() === '') return;
    event.preventDefault();
    add();
  };
  const toggle = (user: string) => onChange(chosen.includes(user) ? chosen.filter((one) => one !== user) : [...chosen, user]);
  const talked = session.chat.conversations.value.map(({ peer }) => peer).filter((peer) => !isFocus(peer));
  const known = [...new Set([...session.contacts.list.value.map(({ user }) => user), ...talked])];
  const wanted = typed.value.trim().toLowerCase();
  const offered = known.filter((user) => !without.includes(user) && `${session.nameOf(user)} ${user}`.toLowerCase().includes(wanted));
  return (
    <div class="picker">
      <div class="inline">
        <label>
          {t('addMember')}
          <input type="text" value={typed.value} onInput={(event) => (typed.value = event.currentTarget.value)} onKeyDown={keys}
            autocapitalize="off" spellcheck={false} />
        </label>
        <button type="button" onClick={add} disabled={typed.value.trim() === ''}>{t('add')}</button>
      </div>
      <p class="fault" role="alert">{fault.value ? t('badPeer') : ''}</p>
      {chosen.length > 0 && (
        <ul class="chips">
          {chosen.map((user) => (
            <li key={user}>
              {session.nameOf(user)}
              <button type="button" aria-label={t('removeChip', { name: session.nameOf(user) })} onClick={() => toggle(user)}><Close /></button>
            </li>
          ))}
        </ul>
      )}
      <ul class="people">
        {offered.map((user) => (
          <li key={user}>
            <label class="row">
              <input type="checkbox" checked={chosen.includes(user)} onChange={() => toggle(user)} />
              <Avatar user={user} name={session.nameOf(user)} />
              <span class="name">{session.nameOf(user)}</span>
              <span class="quiet">{user}</span>
            </label>
          </li>
        ))}
      </ul>
    </div>
  );
}
