// A group: its members, its name and picture, and the way out.

import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Outcome } from '../engine/groups';
import type { Session } from '../engine/session';
import type { Member } from '../wire/roster';
import { Avatar } from './Avatar';
import { Dialog } from './Dialog';
import { Close } from './icons';
import { PeoplePicker } from './PeoplePicker';
import { t } from './strings';

interface Props {
  session: Session;
  focus: string;
  onClose: () => void;
  /** The conversation is not there any more. */
  onGone: () => void;
}

export function GroupInfoDialog({ session, focus, onClose, onGone }: Props) {
  const { chat, groups, account } = session;
  const view = useSignal<'info' | 'add' | 'leave' | 'forget'>('info');
  const fault = useSignal('');
  const chosen = useSignal<string[]>([]);
  const picture = useRef<HTMLInputElement>(null);
  const conversation = chat.conversations.value.find((one) => one.peer === focus);
  const group = conversation?.group;
  if (!conversation || !group) return null;
  const own = group.members.find(({ user }) => user === account.user);
  const canRemove = own !== undefined && own.role !== 'member';
  const act = async (what: Promise<Outcome>): Promise<boolean> => {
    const done = await what;
    fault.value = done.ok ? '' : done.status === 403 ? t('notAllowed') : done.status === 503 ? t('offlineNow') : t('notDone', { status: done.status });
    return done.ok;
  };
  const rename = (event: SubmitEvent) => {
    event.preventDefault();
    const subject = String(new FormData(event.currentTarget as HTMLFormElement).get('subject') ?? '').trim();
    if (subject !== group.subject) void act(groups.rename(focus, subject));
  };
  const add = async () => {
    if (await act(groups.add(focus, chosen.value))) [view.value, chosen.value] = ['info', []];
  };
  const leave = async () => {
    if (await act(groups.leave(focus))) onClose();
  };
  const setPicture = async (file: File | undefined) => {
    if (!file) return;
    const url = await session.uploads.place(file).catch(() => undefined);
    if (url) await act(groups.setIcon(focus, url));
    else fault.value = t('notSaved');
  };
  const note = <p class="fault" role="alert">{fault.value}</p>;
  if (view.value === 'add') {
    return (
      <Dialog title={t('addMembers')} onClose={onClose}>
        <PeoplePicker session={session} chosen={chosen.value} without={group.members.map(({ user }) => user)} onChange={(users) => (chosen.value = users)} />
        {note}
        <div class="buttons">
          <button onClick={() => (view.value = 'info')}>{t('cancel')}</button>
          <button class="primary" disabled={chosen.value.length === 0} onClick={() => void add()}>{t('addMembers')}</button>
        </div>
      </Dialog>
    );
  }
  if (view.value !== 'info') {
    const leaves = view.value === 'leave';
    return (
      <Dialog title={t(leaves ? 'leaveGroup' : 'deleteChat')} onClose={onClose}>
        <p>{t(leaves ? 'leaveGroupWarning' : 'deleteChatWarning')}</p>
        {note}
        <div class="buttons">
          <button onClick={() => (view.value = 'info')}>{t('cancel')}</button>
          <button class="danger" onClick={() => (leaves ? void leave() : (void chat.forget(focus), onClose(), onGone()))}>
            {t(leaves ? 'leaveGroup' : 'deleteChat')}
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={session.titleOf(conversation) || t('groupName')} onClose={onClose}>
      <div class="profile">
        <Avatar user={focus} name={session.titleOf(conversation)} icon={group.icon} />
        {!group.left && canRemove && (
          <>
            <input ref={picture} type="file" accept="image/*" hidden aria-label={t('groupPicture')}
              onChange={(event) => void setPicture(event.currentTarget.files?.[0])} />
            <button onClick={() => picture.current?.click()}>{t('changePicture')}</button>
          </>
        )}
      </div>
      {!group.left && canRemove && (
        <form class="inline" onSubmit={rename}>
          <label>{t('groupSubject')}<input type="text" name="subject" maxLength={100} defaultValue={group.subject} /></label>
          <button type="submit">{t('rename')}</button>
        </form>
      )}
      <h3>{t('memberCount', { count: group.members.length })}</h3>
      <ul class="people">
        {group.members.map((member) => (
          <li key={member.user}>
            <MemberRow session={session} member={member} />
            {canRemove && member.user !== account.user && !group.left && (
              <button class="plain" aria-label={t('removeMember', { name: session.nameOf(member.user, member.name) })}
                onClick={() => void act(groups.remove(focus, member.user))}>
                <Close />
              </button>
            )}
          </li>
        ))}
      </ul>
      {note}
      <div class="choices">
        {!group.left && <button onClick={() => (view.value = 'add')}>{t('addMembers')}</button>}
        {group.left ? (
          <button class="danger" onClick={() => (view.value = 'forget')}>{t('deleteChat')}</button>
        ) : (
          <button class="danger" onClick={() => (view.value = 'leave')}>{t('leaveGroup')}</button>
        )}
      </div>
    </Dialog>
  );
}

function MemberRow({ session, member }: { session: Session; member: Member }) {
  const name = member.user === session.account.user ? t('you') : session.nameOf(member.user, member.name);
  const role = member.role === 'owner' ? t('owner') : member.role === 'admin' ? t('admin') : '';
  return (
    <div class="row" data-user={member.user}>
      <Avatar user={member.user} name={name} there={member.there} />
      <span class="name">{name}</span>
      <span class="quiet">{role || member.user}</span>
    </div>
  );
}
