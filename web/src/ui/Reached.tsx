// Whom a message of ours has reached in a group.

import type { Message } from '../engine/model';
import type { Session } from '../engine/session';
import { Dialog } from './Dialog';
import { names } from './format';
import { t } from './strings';

export function Reached({ message, session, onClose }: { message: Message; session: Session; onClose: () => void }) {
  const members = session.chat.ledger.conversation(message.peer)?.group?.members ?? [];
  const others = members.filter(({ user }) => user !== session.account.user);
  const of = (state: 'displayed' | 'delivered' | undefined) =>
    others.filter(({ user }) => message.reached?.[user] === state).map(({ user, name }) => session.nameOf(user, name));
  const lines = [['readBy', of('displayed')], ['deliveredTo', of('delivered')], ['notYet', of(undefined)]] as const;
  return (
    <Dialog title={t('messageInfo')} onClose={onClose}>
      {lines.filter(([, who]) => who.length > 0).map(([key, who]) => <p key={key}>{t(key, { names: names(who) })}</p>)}
    </Dialog>
  );
}
