// What is known of somebody, and what can be done about it.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Abilities } from '../engine/presence';
import type { Session } from '../engine/session';
import { Avatar } from './Avatar';
import { ContactForm } from './ContactForm';
import { Dialog } from './Dialog';
import { names } from './format';
import { presenceText } from './presence';
import { type Key, t } from './strings';

interface Props {
  session: Session;
  user: string;
  onClose: () => void;
  /** The conversation is not there any more. */
  onGone: () => void;
}

export function PersonInfoDialog({ session, user, onClose, onGone }: Props) {
  const { contacts, presence, chat } = session;
  const view = useSignal<'info' | 'edit' | 'block' | 'forget'>('info');
  const abilities = useSignal<Abilities | undefined>(undefined);
  const fault = useSignal<Key | undefined>(undefined);
  const contact = contacts.list.value.find((one) => one.user === user);
  const name = session.nameOf(user);
  const blocked = contacts.blocked.value.has(user);
  useEffect(() => {
    if (session.state.value === 'online') void presence.abilities(user).then((found) => (abilities.value = found));
  }, [user]);
  const block = async (blocks: boolean) => {
    const done = await contacts.block(user, blocks).catch(() => false);
    fault.value = done ? undefined : 'notSaved';
    if (done) view.value = 'info';
  };
  const back = () => (view.value = 'info');
  if (view.value === 'edit') return <ContactForm session={session} user={user} onClose={onClose} />;
  if (view.value === 'block' || view.value === 'forget') {
    const forgets = view.value === 'forget';
    return (
      <Dialog title={t(forgets ? 'deleteChat' : 'block')} onClose={onClose}>
        <p>{forgets ? t('deleteChatWarning') : t('blockWarning', { name })}</p>
        <p class="fault" role="alert">{fault.value ? t(fault.value) : ''}</p>
        <div class="buttons">
          <button onClick={back}>{t('cancel')}</button>
          <button class="danger" onClick={() => (forgets ? (void chat.forget(user), onClose(), onGone()) : void block(true))}>
            {t(forgets ? 'deleteChat' : 'block')}
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={name} onClose={onClose}>
      <div class="profile">
        <Avatar user={user} name={name} there={presence.people.value.get(user)?.open ?? false} />
        <div>
          <p class="address">{user}</p>
          <p class="quiet">{presenceText(presence.people.value.get(user))}</p>
        </div>
      </div>
      {contact && [contact.organization, contact.email, contact.note].filter(Boolean).map((line) => <p key={line}>{line}</p>)}
      {abilities.value && <p class="quiet">{t('canDo', { list: abilityText(abilities.value) })}</p>}
      <p class="fault" role="alert">{fault.value ? t(fault.value) : ''}</p>
      <div class="choices">
        <button onClick={() => (view.value = 'edit')}>{t(contact ? 'editContact' : 'addContact')}</button>
        <button onClick={() => (blocked ? void block(false) : (view.value = 'block'))}>{t(blocked ? 'unblock' : 'block')}</button>
        <button class="danger" onClick={() => (view.value = 'forget')}>{t('deleteChat')}</button>
      </div>
    </Dialog>
  );
}

function abilityText({ voice, video, files, places }: Abilities): string {
  const all: [boolean, Key][] = [[voice, 'canVoice'], [video, 'canVideo'], [files, 'canFiles'], [places, 'canPlaces']];
  const can = all.filter(([does]) => does).map(([, key]) => t(key));
  return can.length > 0 ? names(can) : t('canNothing');
}
