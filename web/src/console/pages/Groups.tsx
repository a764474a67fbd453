// Group chats: all of them, and one with its members and what became of its messages.

import { segment } from '../api';
import { useData, usePages } from '../data';
import { at, count } from '../format';
import { Card, Empty, Facts, Load, Mark, More, Page, Table } from '../parts';
import { href } from '../route';
import { t } from '../strings';
import type { Group } from '../types';

export function GroupsPage() {
  const groups = usePages<Group>('/api/groups');
  return (
    <Page title={t('groups')} acts={<button type="button" onClick={() => void groups.reload()}>{t('reload')}</button>}>
      <Load of={groups} has={groups.items !== undefined}>
        {groups.items?.length === 0 ? <Empty title={t('noGroups')} hint={t('noGroupsHint')} /> : (
          <Table label={t('groups')} rows={groups.items ?? []} id={({ id }) => id} columns={[
            { name: t('subject'), cell: ({ id, subject }) => <a href={href('group', id)}>{subject || t('noSubject')}</a>, heads: true },
            { name: t('focus'), cell: ({ focus }) => <code>{focus}</code> },
            { name: t('made'), cell: ({ created_ms }) => at(created_ms) },
            { name: t('entries'), cell: ({ last }) => count(last), numeric: true },
            { name: t('inUse'), cell: ({ live, closed_ms }) => (closed_ms !== undefined ? t('ended') : live ? t('yes') : t('no')) },
          ]} />
        )}
        <More more={groups.more} />
      </Load>
    </Page>
  );
}

export function GroupPage({ id }: { id: string }) {
  const group = useData<Group>(`/api/groups/${segment(id)}`, 5000);
  return (
    <Page title={group.value?.subject || t('noSubject')} about={id}>
      <Load of={group} has={group.value !== undefined}>{group.value && <Seen group={group.value} />}</Load>
    </Page>
  );
}

function Seen({ group }: { group: Group }) {
  const messages = [...(group.messages ?? [])].reverse();
  return (
    <div class="cards">
      <Card title={t('state')} wide>
        <Facts facts={[
          [t('focus'), <code>{group.focus}</code>],
          [t('contributionId'), <code>{group.contribution_id}</code>],
          [t('made'), at(group.created_ms)],
          [t('entries'), count(group.last)],
          [t('inUse'), group.closed_ms !== undefined ? t('ended') : group.live ? t('yes') : t('no')],
        ]} />
      </Card>
      <Card title={t('roster')} wide>
        <Table label={t('roster')} rows={group.members ?? []} id={({ user }) => user} columns={[
          { name: t('member'), cell: ({ user }) => <a href={href('user', user.replace(/^sip:/, ''))}>{user}</a>, heads: true },
          { name: t('name'), cell: ({ name }) => name ?? t('none') },
          { name: t('role'), cell: ({ role }) => role },
          { name: t('state'), cell: ({ state }) => state },
          {
            name: t('behind'),
            cell: ({ devices }) =>
              devices.length === 0 ? t('none') : devices.map(({ device, upto }) => (
                <div><code>{device}</code> {upto >= group.last ? <Mark tone="good">0</Mark> : <Mark tone="warn">{count(group.last - upto)}</Mark>}</div>
              )),
          },
        ]} />
      </Card>
      <Card title={t('groupMessages')} wide>
        {messages.length === 0 ? <p class="quiet">{t('noGroupMessages')}</p> : (
          <Table label={t('groupMessages')} rows={messages} id={({ number }) => String(number)} columns={[
            { name: t('number'), cell: ({ number }) => number, numeric: true },
            { name: t('messageId'), cell: ({ message_id }) => <a href={href('message', message_id)}><code>{message_id}</code></a>, heads: true },
            { name: t('from'), cell: ({ from }) => from },
            { name: t('time'), cell: ({ at_ms }) => at(at_ms) },
            {
              name: t('delivered'),
              cell: ({ of, delivered }) => <Mark tone={delivered === of ? 'good' : 'calm'}>{t('deliveredOf', { of, delivered })}</Mark>,
            },
            { name: t('seen'), cell: ({ displayed }) => count(displayed), numeric: true },
          ]} />
        )}
      </Card>
    </div>
  );
}
