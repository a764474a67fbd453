// Who has messages waiting, and why.

import type { ComponentChildren } from 'preact';
import { segment } from '../api';
import { usePages } from '../data';
import { at, bytes, count, since, until } from '../format';
import { Empty, Load, More, Page, Table } from '../parts';
import { href } from '../route';
import { reasonText, t } from '../strings';
import type { Queue, Waiting } from '../types';

export function QueuePage() {
  const queues = usePages<Queue>('/api/queue', 100, 5000);
  return (
    <Page title={t('queue')} acts={<button type="button" onClick={() => void queues.reload()}>{t('reload')}</button>}>
      <Load of={queues} has={queues.items !== undefined}>
        {queues.items?.length === 0 ? <Empty title={t('noQueue')} hint={t('noQueueHint')} /> : (
          <Table label={t('queue')} rows={queues.items ?? []} id={({ aor }) => aor} columns={[
            { name: t('user'), cell: ({ aor }) => <a href={href('user', aor)}>{aor}</a>, heads: true },
            { name: t('messages'), cell: ({ messages }) => count(messages), numeric: true },
            { name: t('size'), cell: (queue) => bytes(queue.bytes), numeric: true },
            { name: t('oldest'), cell: ({ oldest_ms }) => (oldest_ms === undefined ? t('none') : <span title={at(oldest_ms)}>{since(oldest_ms)}</span>) },
            { name: t('why'), cell: ({ reason }) => (reason ? reasonText(reason) : t('none')) },
          ]} />
        )}
        <More more={queues.more} />
      </Load>
    </Page>
  );
}

/** What waits for one user. */
export function WaitingTable({ aor, empty }: { aor: string; empty: ComponentChildren }) {
  const waiting = usePages<Waiting>(`/api/queue/${segment(aor)}`, 100, 5000);
  return (
    <Load of={waiting} has={waiting.items !== undefined}>
      {waiting.items?.length === 0 ? empty : (
        <Table label={t('waitingFor')} rows={waiting.items ?? []} id={({ id }) => String(id)} columns={[
          {
            name: t('messageId'),
            cell: ({ message_id, call_id }) => <a href={href('message', message_id ?? call_id)}><code>{message_id ?? call_id}</code></a>,
            heads: true,
          },
          { name: t('from'), cell: ({ from }) => from },
          { name: t('device'), cell: ({ device }) => device ?? t('any') },
          { name: t('why'), cell: ({ reason }) => (reason ? reasonText(reason) : t('none')) },
          { name: t('acceptedAt'), cell: ({ accepted_ms }) => <span title={at(accepted_ms)}>{since(accepted_ms)}</span> },
          { name: t('expires'), cell: ({ expires }) => until(expires) },
          { name: t('size'), cell: (message) => bytes(message.bytes), numeric: true },
        ]} />
      )}
      <More more={waiting.more} />
    </Load>
  );
}
