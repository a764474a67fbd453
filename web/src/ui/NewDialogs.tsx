// New conversations: with one, or a group.

import { useSignal } from '@preact/signals';
import type { Session } from '../engine/session';
import { userTyped } from '../wire/address';
import { Dialog } from './Dialog';
import { People } from './icons';
import { PeoplePicker } from './PeoplePicker';
import { t } from './strings';

interface Props {
  session: Session;
  onClose: () => void;
  onOpen: (peer: string) => void;
}

export function NewChat({ session, onClose, onOpen, onGroup }: Props & { onGroup: () => void }) {
  const fault = useSignal(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get('peer') ?? '');
    const named = session.contacts.list.value.find(({ name }) => name.toLowerCase() === text.trim().toLowerCase());
    const peer = named?.user ?? userTyped(text, session.domain);
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
          <input name="peer" type="text" list="known-people" autocapitalize="off" spellcheck={false} required />
        </label>
        <datalist id="known-people">
          {session.contacts.list.value.map(({ user, name }) => <option key={user} value={user}>{name}</option>)}
        </datalist>
        <p class="fault" role="alert">{fault.value ? t('badPeer') : ''}</p>
        <div class="buttons">
          <button type="button" onClick={onGroup}><People /> {t('newGroup')}</button>
          <button class="primary" type="submit">{t('start')}</button>
        </div>
      </form>
    </Dialog>
  );
}

export function NewGroup({ session, onClose, onOpen }: Props) {
  const chosen = useSignal<string[]>([]);
  const fault = useSignal('');
  const busy = useSignal(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const subject = String(new FormData(event.currentTarget as HTMLFormElement).get('subject') ?? '').trim();
    if (chosen.value.length === 0) {
      fault.value = t('needMembers');
      return;
    }
    busy.value = true;
    const made = await session.groups.create(subject, chosen.value);
    busy.value = false;
    if (typeof made === 'number') {
      fault.value = made === 503 ? t('offlineNow') : t('groupFailed', { status: made });
      return;
    }
    onClose();
    onOpen(made);
  };
  return (
    <Dialog title={t('newGroup')} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)} aria-busy={busy.value}>
        <label>{t('groupSubject')}<input type="text" name="subject" maxLength={100} /></label>
        <PeoplePicker session={session} chosen={chosen.value} without={[session.account.user]} onChange={(users) => (chosen.value = users)} />
        <p class="fault" role="alert">{fault.value}</p>
        <div class="buttons">
          <button type="button" onClick={onClose}>{t('cancel')}</button>
          <button class="primary" type="submit" disabled={busy.value}>{t('createGroup')}</button>
        </div>
      </form>
    </Dialog>
  );
}
