// What became of one message: in words, as a ladder, as a table, as text.

import { useState } from 'preact/hooks';
import { segment } from '../api';
import { useData } from '../data';
import { at, clock, until } from '../format';
import { Ladder, partyName } from '../Ladder';
import { after, words } from '../ladder';
import { Card, Empty, Load, Mark, Page, Table, type Tone, say } from '../parts';
import { go, href } from '../route';
import { reasonText, t } from '../strings';
import type { Explanation } from '../types';
import { Ended } from './User';

export function MessagePage({ id }: { id: string }) {
  return (
    <Page title={t('message')} about={id || t('messageHint')}>
      {id === '' ? <Which /> : <Explained id={id} />}
    </Page>
  );
}

function Which() {
  const [id, setId] = useState('');
  return (
    <form class="row" onSubmit={(event) => {
      event.preventDefault();
      if (id.trim() !== '') go('message', id.trim());
    }}>
      <label for="message-id">{t('messageId')}</label>
      <input id="message-id" value={id} spellcheck={false} autocapitalize="off" onInput={(event) => setId(event.currentTarget.value)} />
      <button type="submit" class="primary">{t('explain')}</button>
    </form>
  );
}

function Explained({ id }: { id: string }) {
  const found = useData<Explanation>(`/api/explain/${segment(id)}`, 3000);
  if (found.fault?.status === 404) return <Empty title={t('unknownMessage')} hint={t('nothingFoundHint')} />;
  return <Load of={found} has={found.value !== undefined}>{found.value && <Seen found={found.value} />}</Load>;
}

/** What is to be said of a message: of each recipient, and whether that is good. */
export function verdicts({ events, waiting }: Explanation): [Tone, string][] {
  const said: [Tone, string][] = waiting.map(({ recipient, device, reason }) => [
    reason === 'in-delivery' ? 'calm' : 'warn',
    device === undefined
      ? t('stillWaits', { recipient, reason: reasonText(reason) })
      : t('stillWaitsFor', { recipient, device, reason: reasonText(reason) }),
  ]);
  const recipients = [...new Set(events.map(({ recipient }) => recipient))];
  for (const recipient of recipients) {
    const own = events.filter((event) => event.recipient === recipient);
    const has = (name: string) => own.find(({ event }) => event === name);
    if (has('delivered')) said.unshift(['good', t('isDelivered', { recipient })]);
    else if (has('refused')) said.unshift(['bad', t('isRefused', { recipient, status: has('refused')!.status ?? '–' })]);
    else if (has('expired')) said.unshift(['bad', t('isExpired', { recipient })]);
    else if (!waiting.some((one) => one.recipient === recipient)) said.push(['calm', t('isRelayed', { recipient })]);
  }
  return said;
}

/** The whole as text, for a ticket. */
export function asText(found: Explanation): string {
  const start = found.hops[0]?.at_ms ?? 0;
  const hops = found.hops.map((hop) =>
    [clock(hop.at_ms), after(hop.at_ms - start), `${partyName(hop.from)} -> ${partyName(hop.to)}`, hop.protocol, words(hop), hop.flow ?? '']
      .join('  ').trimEnd(),
  );
  const events = found.events.map(({ at_ms, event, recipient, device, status }) =>
    [new Date(at_ms).toISOString(), event, recipient, device ?? '', status ?? ''].join('  ').trimEnd(),
  );
  return [found.id, ...verdicts(found).map(([, text]) => text), '', ...hops, '', ...events, ''].join('\n');
}

function Seen({ found }: { found: Explanation }) {
  const copy = async () => {
    await navigator.clipboard.writeText(asText(found));
    say(t('copied'));
  };
  const start = found.hops[0]?.at_ms ?? 0;
  const users = [...new Set([found.from, ...found.events.map(({ recipient }) => recipient)])];
  return (
    <div class="cards">
      <Card title={t('whatBecame')} wide>
        <ul class="plain verdicts">{verdicts(found).map(([tone, text]) => <li><Mark tone={tone}>{text}</Mark></li>)}</ul>
        <p class="acts">
          {users.filter((user): user is string => user !== undefined && /^[^:]+@/.test(user)).map((user) => <a class="button" href={href('user', user)}>{user}</a>)}
          {'clipboard' in navigator && <button type="button" onClick={() => void copy()}>{t('copy')}</button>}
        </p>
      </Card>
      <Card title={t('ladder')} wide>
        {found.hops.length === 0 ? <p class="quiet">{t('noHops')}</p> : <Ladder hops={found.hops} />}
      </Card>
      {found.hops.length > 0 && (
        <Card title={t('steps')} wide>
          <Table label={t('steps')} rows={found.hops.map((hop, index) => ({ hop, index }))} id={({ index }) => String(index)} columns={[
            { name: t('time'), cell: ({ hop }) => <span title={at(hop.at_ms)}>{clock(hop.at_ms)}</span>, heads: true },
            { name: t('after'), cell: ({ hop }) => after(hop.at_ms - start), numeric: true },
            { name: t('from'), cell: ({ hop }) => partyName(hop.from) },
            { name: t('to'), cell: ({ hop }) => partyName(hop.to) },
            { name: t('protocol'), cell: ({ hop }) => hop.protocol },
            { name: t('what'), cell: ({ hop }) => (hop.failed ? <Mark tone="bad">{words(hop)}</Mark> : words(hop)) },
            { name: t('flow'), cell: ({ hop }) => <code>{hop.flow ?? t('none')}</code> },
          ]} />
        </Card>
      )}
      <Card title={t('records')} wide>
        <Table label={t('records')} rows={found.events.map((event, index) => ({ ...event, index }))} id={({ index }) => String(index)} columns={[
          { name: t('time'), cell: ({ at_ms }) => <span title={clock(at_ms)}>{at(at_ms)}</span>, heads: true },
          { name: t('event'), cell: ({ event, status }) => <Ended event={event} status={status} /> },
          { name: t('to'), cell: ({ recipient }) => recipient },
          { name: t('device'), cell: ({ device }) => <code>{device ?? t('none')}</code> },
        ]} />
        {found.waiting.length > 0 && <p class="quiet">{t('expires')} {until(Math.min(...found.waiting.map(({ expires }) => expires)))}</p>}
      </Card>
    </div>
  );
}
