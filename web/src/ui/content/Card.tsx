// The card of somebody.

import { useSignal } from '@preact/signals';
import type { Session } from '../../engine/session';
import { userTyped } from '../../wire/address';
import { readCard } from '../../wire/card';
import { Avatar } from '../Avatar';
import { t } from '../strings';

export function CardContent({ session, text }: { session: Session; text: string }) {
  const saved = useSignal<boolean | undefined>(undefined);
  const card = readCard(text);
  if (!card) return <p class="text quiet">{t('unknownContent', { type: 'text/vcard' })}</p>;
  const address = card.addresses[0] ?? card.phones[0];
  const user = address === undefined ? undefined : userTyped(address, session.domain);
  const known = user !== undefined && session.contacts.list.value.some((contact) => contact.user === user);
  const save = async () => {
    if (!user) return;
    const { name, organization, emails } = card;
    const contact = { user, name: name || user, organization, email: emails[0] ?? '', note: '' };
    saved.value = await session.contacts.save(contact).catch(() => false);
  };
  return (
    <div class="card">
      <div class="head">
        <Avatar user={user ?? card.name} name={card.name || '?'} />
        <div>
          <strong dir="auto">{card.name}</strong>
          {card.organization && <p class="quiet" dir="auto">{card.organization}</p>}
        </div>
      </div>
      <ul>
        {[...card.phones, ...card.addresses.map((one) => one.replace(/^sips?:/i, '')), ...card.emails].map((one) => <li key={one}>{one}</li>)}
      </ul>
      {user && user !== session.account.user && (
        <div class="acts">
          <a class="button" href={`#/${encodeURIComponent(user)}`}>{t('writeTo', { name: card.name || user })}</a>
          {known || saved.value ? <span class="quiet">{t('saved')}</span> : <button onClick={() => void save()}>{t('saveContact')}</button>}
        </div>
      )}
      {saved.value === false && <p class="fault" role="alert">{t('notSaved')}</p>}
    </div>
  );
}
