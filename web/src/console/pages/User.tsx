// One user: devices, what waits and why, what came and went, how its devices are woken.

import { useState } from 'preact/hooks';
import { segment, send } from '../api';
import { asFault, useData, usePages } from '../data';
import { at, clock, date, since, until } from '../format';
import { Ask, Card, Empty, Facts, Load, Mark, More, Page, Table, say } from '../parts';
import { href } from '../route';
import { type Key, t } from '../strings';
import type { Account, Binding, PushOf, PushTested, RecentMessage, Registered } from '../types';
import { Reach } from './Users';
import { WaitingTable } from './Queue';

/** How often what is seen is fetched again, in milliseconds. */
const EVERY = 5000;

export function UserPage({ aor }: { aor: string }) {
  const account = useData<Account>(`/api/accounts/${segment(aor)}`);
  const acts = (
    <>
      <a class="button" href={href('trace', aor)}>{t('liveTrace')}</a>
      <a class="button" href={href('files', aor)}>{t('filesOf')}</a>
    </>
  );
  return (
    <Page title={aor} about={account.value?.display_name} acts={acts}>
      <Load of={account} has={account.value !== undefined}>
        {account.value && (
          <div class="cards">
            <Devices aor={aor} />
            <Waits aor={aor} />
            <Recent aor={aor} />
            <PushLog aor={aor} />
            <About account={account.value} />
          </div>
        )}
      </Load>
    </Page>
  );
}

function About({ account }: { account: Account }) {
  return (
    <Card title={t('accounts')}>
      <Facts facts={[
        [t('numbers'), account.tel.join(', ') || t('none')],
        [t('made'), date(account.created * 1000)],
        [t('state'), account.disabled ? <Mark tone="bad">{t('disabled')}</Mark> : <Mark tone="good">{t('active')}</Mark>],
      ]} />
    </Card>
  );
}

/** A contact without the token of its push service, with which others could push. */
export function withoutToken(contact: string): string {
  return contact.replace(/(pn-prid=)[^;>]*/i, '$1…');
}

function Devices({ aor }: { aor: string }) {
  const found = useData<Registered>(`/api/registrations/${segment(aor)}`, EVERY);
  const [asked, ask] = useState<Binding>();
  const bindings = found.value?.bindings ?? [];
  const remove = async (binding: Binding) => {
    await send('DELETE', `/api/registrations/${segment(aor)}/${segment(binding.device)}`);
    say(t('signedOut', { device: binding.device }));
    await found.reload();
  };
  return (
    <Card title={t('devices')} wide>
      <Load of={found} has={found.value !== undefined}>
        {bindings.length === 0 ? <p><Mark tone="warn">{t('notRegistered')}</Mark></p> : (
          <Table label={t('devices')} rows={bindings} id={({ device, reg_id }) => `${device} ${reg_id}`} columns={[
            { name: t('device'), cell: ({ device }) => <code>{device}</code>, heads: true },
            { name: t('state'), cell: (binding) => <Reach binding={binding} /> },
            { name: t('flow'), cell: ({ flow, path }) => <code>{[flow ?? t('none'), ...path].join(' ← ')}</code> },
            { name: t('contact'), cell: ({ contact }) => <code>{withoutToken(contact)}</code> },
            { name: t('client'), cell: ({ user_agent }) => user_agent ?? t('none') },
            { name: t('pushState'), cell: ({ push }) => push ?? t('noPushOf') },
            { name: t('registrationEnds'), cell: ({ expires }) => until(expires) },
            {
              name: t('acts'),
              cell: (binding) => (
                <button type="button" class="small danger" aria-label={t('signOutDeviceOf', { device: binding.device })}
                  onClick={() => ask(binding)}>{t('signOutDevice')}</button>
              ),
            },
          ]} />
        )}
      </Load>
      {asked && (
        <Ask title={t('signOutDeviceOf', { device: asked.device })} text={t('signOutSure')} act={t('signOutDevice')} danger
          onAct={() => remove(asked)} onClose={() => ask(undefined)} />
      )}
    </Card>
  );
}

function Waits({ aor }: { aor: string }) {
  return (
    <Card title={t('waitingFor')} wide>
      <WaitingTable aor={aor} empty={<p><Mark tone="good">{t('nothingWaits')}</Mark></p>} />
    </Card>
  );
}

function Recent({ aor }: { aor: string }) {
  const recent = usePages<RecentMessage>(`/api/messages/${segment(aor)}`, 50, EVERY);
  return (
    <Card title={t('recent')} about={t('recentHint')} wide>
      <Load of={recent} has={recent.items !== undefined}>
        {recent.items?.length === 0 ? <Empty title={t('noRecent')} /> : (
          <Table label={t('recent')} rows={recent.items ?? []} id={(message) => `${message.call_id} ${message.to}`} columns={[
            {
              name: t('messageId'),
              cell: ({ message_id, call_id }) => <a href={href('message', message_id ?? call_id)}><code>{message_id ?? call_id}</code></a>,
              heads: true,
            },
            { name: t('from'), cell: ({ from }) => from || t('none') },
            { name: t('to'), cell: ({ to }) => to },
            { name: t('state'), cell: ({ event, status }) => <Ended event={event} status={status} /> },
            { name: t('time'), cell: ({ at_ms }) => <span title={at(at_ms)}>{clock(at_ms)} ({since(at_ms)})</span> },
          ]} />
        )}
        <More more={recent.more} />
      </Load>
    </Card>
  );
}

/** How far a message has got. */
export function Ended({ event, status }: { event: string; status?: number | undefined }) {
  const tones = { delivered: 'good', stored: 'calm', expired: 'bad', refused: 'bad' } as const;
  const name = event in tones ? t(event as Key) : event;
  return <Mark tone={tones[event as keyof typeof tones] ?? 'calm'}>{name}{status ? ` (${status})` : ''}</Mark>;
}

function PushLog({ aor }: { aor: string }) {
  const push = useData<PushOf>(`/api/push/${segment(aor)}`, EVERY);
  const [outcome, setOutcome] = useState<string[]>([]);
  const test = async () => {
    try {
      const tested = (await (await send('POST', `/api/push/${segment(aor)}`)).json()) as PushTested[];
      setOutcome(tested.length === 0 ? [t('pushTestNone')] : tested.map((one) => t('pushTested', { ...one })));
      await push.reload();
    } catch (error) {
      setOutcome([t('fault', { why: asFault(error).message })]);
    }
  };
  const rows = (push.value?.devices ?? []).flatMap(({ device, provider, decisions }) =>
    decisions.map((decision, index) => ({ device, provider, decision, index })),
  );
  return (
    <Card title={t('pushLog')} wide>
      <Load of={push} has={push.value !== undefined}>
        {rows.length === 0 ? <p class="quiet">{t('noPushLog')}</p> : (
          <Table label={t('pushLog')} rows={rows.reverse()} id={({ device, index }) => `${device} ${index}`} columns={[
            { name: t('time'), cell: ({ decision }) => at(decision.at * 1000), heads: true },
            { name: t('device'), cell: ({ device }) => <code>{device}</code> },
            { name: t('service'), cell: ({ provider }) => provider },
            { name: t('kind'), cell: ({ decision }) => decision.class },
            { name: t('what'), cell: ({ decision }) => decision.what },
          ]} />
        )}
      </Load>
      <p class="more"><button type="button" onClick={() => void test()}>{t('pushTest')}</button></p>
      <div role="status">{outcome.map((line) => <p>{line}</p>)}</div>
    </Card>
  );
}

