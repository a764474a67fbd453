// Somebody in the address book: new, or changed.

import { useSignal } from '@preact/signals';
import type { Session } from '../engine/session';
import { userTyped } from '../wire/address';
import { Dialog } from './Dialog';
import { type Key, t } from './strings';

/** `user`: who it is; without one, the form asks. */
export function ContactForm({ session, user, onClose }: { session: Session; user?: string; onClose: () => void }) {
  const { contacts } = session;
  const fault = useSignal<Key | undefined>(undefined);
  const busy = useSignal(false);
  const known = contacts.list.value.find((one) => one.user === user);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? '').trim();
    const who = user ?? userTyped(text('address'), session.domain);
    if (!who) {
      fault.value = 'badPeer';
      return;
    }
    const contact = {
      user: who, name: text('name') || session.nameOf(who), email: text('email'), organization: text('organization'), note: text('note'),
      ...(known ? { uri: known.uri } : {}),
    };
    busy.value = true;
    const saved = await contacts.save(contact).catch(() => false);
    busy.value = false;
    if (saved) onClose();
    else fault.value = 'notSaved';
  };
  const remove = async () => {
    if (!known) return;
    if (await contacts.remove(known).catch(() => false)) onClose();
    else fault.value = 'notSaved';
  };
  const name = known?.name ?? (user ? session.nameOf(user) : '');
  return (
    <Dialog title={t(known ? 'editContact' : 'addContact')} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)} aria-busy={busy.value}>
        {user ? <p class="quiet">{user}</p> : (
          <label>{t('newChatHint')}<input type="text" name="address" required autocapitalize="off" spellcheck={false} /></label>
        )}
        <label>{t('contactName')}<input type="text" name="name" maxLength={100} defaultValue={name} required={user !== undefined} /></label>
        <label>{t('email')}<input type="email" name="email" maxLength={200} defaultValue={known?.email ?? ''} /></label>
        <label>{t('organization')}<input type="text" name="organization" maxLength={200} defaultValue={known?.organization ?? ''} /></label>
        <label>{t('noteText')}<input type="text" name="note" maxLength={500} defaultValue={known?.note ?? ''} /></label>
        <p class="fault" role="alert">{fault.value ? t(fault.value) : ''}</p>
        <div class="buttons">
          {known && <button type="button" class="danger" onClick={() => void remove()}>{t('removeContact')}</button>}
          <button class="primary" type="submit" disabled={busy.value}>{t('save')}</button>
        </div>
      </form>
    </Dialog>
  );
}
