// Is it well?

import { useEffect, useState } from 'preact/hooks';
import { getText } from '../api';
import { useData } from '../data';
import { at, bytes, count, date, span, until } from '../format';
import { type Reading, type Sums, points, rates, sums } from '../metrics';
import { Card, Facts, Load, Mark, Page, Table } from '../parts';
import { href } from '../route';
import { type Key, t } from '../strings';
import type { MessageCounts, Status, System } from '../types';

/** Between readings, in milliseconds; so many are kept. */
const EVERY = 2000;
const KEPT = 61;

/** A rate, and the counters of which it is the sum. */
const RATES: [Key, string[]][] = [
  ['rateMessages', ['chappe_messages_accepted_total']],
  ['rateRegistrations', ['chappe_sip_registrations_total', 'chappe_sip_registration_refreshes_total']],
  ['rateCalls', ['chappe_sip_requests_total{method="INVITE"}']],
  ['rateMsrp', ['chappe_msrp_body_bytes_total', 'chappe_msrp_endpoint_body_bytes_total']],
];

export function OverviewPage() {
  const status = useData<Status>('/api/status', EVERY);
  const system = useData<System>('/api/system', 60_000);
  return (
    <Page title={t('overview')}>
      <Load of={status} has={status.value !== undefined}>
        {status.value && <Seen status={status.value} system={system.value} />}
      </Load>
    </Page>
  );
}

function Seen({ status, system }: { status: Status; system: System | undefined }) {
  const { counts, readiness } = status;
  return (
    <div class="cards">
      <section class={`card wide health ${readiness.ready ? 'good' : 'bad'}`} aria-label={t('state')}>
        <h2>{readiness.ready ? <Mark tone="good">{t('ready')}</Mark> : <Mark tone="bad">{t('notReady')}</Mark>}</h2>
        {readiness.ready ? <p class="quiet">{t('readyHint')}</p> : <ul class="plain">{readiness.reasons.map((reason) => <li>{reason}</li>)}</ul>}
        <Facts facts={[
          [t('version'), status.version],
          [t('uptime'), <span title={at(status.started * 1000)}>{span(status.uptime_s)}</span>],
          [t('domains'), status.domains.join(', ')],
        ]} />
      </section>
      <Ledger counts={counts.messages} />
      <Rates />
      <Card title={t('now')}>
        <Facts facts={[
          [t('registeredUsers'), <a href={href('users')}>{count(counts.registered)}</a>],
          [t('bindings'), count(counts.bindings)],
          [t('accountsCount'), <a href={href('accounts')}>{count(counts.accounts)}</a>],
          [t('connections'), count(counts.connections)],
          [t('transactions'), count(counts.transactions)],
          [t('subscriptions'), count(counts.subscriptions)],
          [t('msrp'), <a href={href('msrp')}>{count(counts.msrp_sessions)}</a>],
          [t('banned'), counts.banned > 0 ? <Mark tone="warn">{count(counts.banned)}</Mark> : count(0)],
        ]} />
      </Card>
      <Card title={t('listeners')}>
        <Table label={t('listeners')} rows={status.listeners} id={({ url, service }) => service + url} columns={[
          { name: t('service'), cell: ({ service }) => service },
          { name: t('address'), cell: ({ url }) => <code>{url}</code>, heads: true },
        ]} />
      </Card>
      {system && <Certificates system={system} />}
      {system && <Push system={system} />}
      <Card title={t('store')}>
        <Facts facts={[
          [t('store'), <code>{status.store}</code>],
          ...(system?.store_bytes === undefined ? [] : [[t('storeSize'), bytes(system.store_bytes)] as [string, string]]),
          ...(system?.files_bytes === undefined ? [] : [[t('filesSize'), <a href={href('files')}>{bytes(system.files_bytes)}</a>] as [string, preact.JSX.Element]]),
        ]} />
      </Card>
    </div>
  );
}

/** How many messages are accepted and nowhere; negative: more have ended than were accepted. */
export function imbalance({ accepted, delivered, stored, expired, refused }: MessageCounts): number {
  return accepted - delivered - stored - expired - refused;
}

/** Counters are read one after the other while messages come: only what two readings agree on is an imbalance. */
export function steady(before: number, now: number): number {
  return before === now ? now : 0;
}

function Ledger({ counts }: { counts: MessageCounts }) {
  const [[before, last], setReadings] = useState<[number, number]>([0, 0]);
  useEffect(() => setReadings(([, old]) => [old, imbalance(counts)]), [counts]);
  const off = steady(before, last);
  const term = (key: 'accepted' | 'delivered' | 'stored' | 'expired' | 'refused', link?: string) => (
    <span class="term" data-term={key}>
      <strong>{link ? <a href={link}>{count(counts[key])}</a> : count(counts[key])}</strong> {t(key)}
    </span>
  );
  return (
    <Card title={t('ledger')} about={t('ledgerHint')} wide>
      <p class="ledger">
        {term('accepted')} <span>=</span> {term('delivered')} <span>+</span> {term('stored', href('queue'))} <span>+</span>{' '}
        {term('expired')} <span>+</span> {term('refused')}
      </p>
      <p class="balance">{off === 0 ? <Mark tone="good">{t('balanced')}</Mark> : <Mark tone="bad">{t('imbalance', { count: off })}</Mark>}</p>
    </Card>
  );
}

function Rates() {
  const [readings, setReadings] = useState<{ at: number; sums: Sums }[]>([]);
  useEffect(() => {
    const read = async () => {
      try {
        const read = sums(await getText('/api/metrics'));
        setReadings((old) => [...old, { at: Date.now(), sums: read }].slice(-KEPT));
      } catch {
        // The page says by itself that the server does not answer.
      }
    };
    void read();
    const timer = setInterval(() => void read(), EVERY);
    return () => clearInterval(timer);
  }, []);
  return (
    <Card title={t('rates')} about={t('ratesHint')} wide>
      <div class="rates">
        {RATES.map(([key, names]) => {
          const of = readings.map(({ at, sums }): Reading => ({ at, value: names.reduce((sum, name) => sum + (sums.get(name) ?? 0), 0) }));
          return <Spark key={key} name={t(key)} values={rates(of)} shown={key === 'rateMsrp' ? bytes : count} />;
        })}
      </div>
    </Card>
  );
}

function Spark({ name, values, shown }: { name: string; values: number[]; shown: (value: number) => string }) {
  const last = values.at(-1);
  return (
    <figure class="spark">
      <figcaption>
        {name} <strong>{last === undefined ? t('none') : t('perSecond', { count: shown(last) })}</strong>
      </figcaption>
      <svg viewBox="-1 -2 242 44" preserveAspectRatio="none" aria-hidden="true">
        <path d="M0 40H240" class="ground" />
        {values.length > 1 && <polyline points={points(values, 240, 40, KEPT - 1)} />}
      </svg>
    </figure>
  );
}

/** Days before its end at which a certificate is worth a mark. */
const SOON = 21;

function Certificates({ system }: { system: System }) {
  const left = (expires: number) => (expires - Date.now() / 1000) / 86400;
  const tone = (expires: number) => (left(expires) < 0 ? 'bad' : left(expires) < SOON ? 'warn' : 'good');
  return (
    <Card title={t('certificates')}>
      {system.certificates.length === 0 && <p class="quiet">{t('noCertificates')}</p>}
      {system.certificates.map((one) => (
        <Facts facts={[
          [t('certificate'), <strong>{one.names.join(', ')}</strong>],
          [t('expires'), <Mark tone={tone(one.expires)}>{date(one.expires * 1000)} ({until(one.expires)})</Mark>],
          [t('issuer'), one.self_signed ? <Mark tone="warn">{t('selfSigned')}</Mark> : one.issuer],
        ]} />
      ))}
    </Card>
  );
}

function Push({ system }: { system: System }) {
  return (
    <Card title={t('pushServices')}>
      {system.push.length === 0 && <p class="quiet">{t('noPush')}</p>}
      <ul class="plain">
        {system.push.map(({ provider, rested }) => (
          <li><code>{provider}</code> {rested ? <Mark tone="bad">{t('pushRested')}</Mark> : <Mark tone="good">{t('pushWorks')}</Mark>}</li>
        ))}
      </ul>
    </Card>
  );
}
