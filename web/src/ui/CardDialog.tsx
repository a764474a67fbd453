// Chooses whose card to send.

import type { Session } from '../engine/session';
import { uriOf } from '../wire/address';
import type { Card } from '../wire/card';
import { Avatar } from './Avatar';
import { Dialog } from './Dialog';
import { t } from './strings';

interface Props {
  session: Session;
  onClose: () => void;
  onSend: (card: Card) => void;
}

export function CardDialog({ session, onClose, onSend }: Props) {
  const { account, contacts } = session;
  const own = { user: account.user, name: session.nameOf(account.user), email: '', organization: '' };
  return (
    <Dialog title={t('chooseCard')} onClose={onClose}>
      <ul class="people">
        {[own, ...contacts.list.value].map((contact) => (
          <li key={contact.user}>
            <button onClick={() => onSend(cardOf(contact))}>
              <Avatar user={contact.user} name={contact.name} />
              <span class="name">{contact.name}</span>
              <span class="quiet">{contact.user === account.user ? t('myCard') : contact.user}</span>
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function cardOf({ user, name, email, organization }: { user: string; name: string; email: string; organization: string }): Card {
  const local = user.slice(0, user.lastIndexOf('@'));
  const isNumber = /^\+\d+$/.test(local);
  return { name, organization, emails: email ? [email] : [], phones: isNumber ? [local] : [], addresses: isNumber ? [] : [uriOf(user)] };
}
