// What happens about one user, as it happens.

import { useEffect, useRef, useState } from 'preact/hooks';
import { follow, segment } from '../api';
import { asFault } from '../data';
import { clock } from '../format';
import { Page, download } from '../parts';
import { capture, fromBase64 } from '../pcap';
import { go } from '../route';
import { t } from '../strings';
import type { TraceEvent } from '../types';

/** Messages that are kept; the oldest go. */
const KEPT = 5000;

export function TracePage({ user }: { user: string }) {
  return (
    <Page title={t('trace')} about={t('traceHint')}>
      {user === '' ? <Whom /> : <Trace user={user} />}
    </Page>
  );
}

function Whom() {
  const [user, setUser] = useState('');
  return (
    <form class="row" onSubmit={(event) => {
      event.preventDefault();
      if (user.trim().length > 1) go('trace', user.trim());
    }}>
      <label for="whom">{t('traceWhom')}</label>
      <input id="whom" value={user} required minLength={2} spellcheck={false} autocapitalize="off"
        onInput={(event) => setUser(event.currentTarget.value)} />
      <button type="submit" class="primary">{t('traceStart')}</button>
    </form>
  );
}

/** Whether all words of a filter are in a message, whatever their case. */
export function matches({ text, peer, start }: TraceEvent, filter: string): boolean {
  const whole = `${start}\n${peer}\n${text}`.toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => whole.includes(word));
}

function Trace({ user }: { user: string }) {
  const [events, setEvents] = useState<TraceEvent[]>([]);
  const [isClear, setClear] = useState(false);
  const [isPaused, setPaused] = useState(false);
  const [held, setHeld] = useState<TraceEvent[]>([]);
  const [filter, setFilter] = useState('');
  const [note, setNote] = useState('');
  // The stream of which it is known that it flows.
  const [open, setOpen] = useState('');
  const stream = `/api/trace/${segment(user)}?format=json&clear=${isClear}`;
  const paused = useRef(false);
  paused.current = isPaused;
  useEffect(() => {
    const end = new AbortController();
    setNote('');
    const take = (event: { name: string; data: string }) => {
      if (event.name === 'missed') return setNote(t('missed', { what: event.data }));
      const one = JSON.parse(event.data) as TraceEvent;
      (paused.current ? setHeld : setEvents)((old) => [...old, one].slice(-KEPT));
    };
    follow(stream, end.signal, () => setOpen(stream), take).then(
      () => end.signal.aborted || setNote(t('traceEnded', { why: t('noAnswer') })),
      (error) => end.signal.aborted || setNote(t('traceEnded', { why: asFault(error).message })),
    );
    return () => end.abort();
  }, [stream]);
  const goOn = () => {
    setEvents((old) => [...old, ...held].slice(-KEPT));
    setHeld([]);
    setPaused(false);
  };
  const shown = filter.trim() === '' ? events : events.filter((event) => matches(event, filter.trim()));
  const save = () => {
    const file = capture(shown.map(({ at_ms, packet }) => ({ at_ms, packet: fromBase64(packet) })));
    download('chappe-trace.pcap', 'application/vnd.tcpdump.pcap', [file as BlobPart]);
  };
  return (
    <>
      <div class="row">
        <label for="filter">{t('filter')}</label>
        <input id="filter" type="search" value={filter} placeholder={t('filterHint')} spellcheck={false}
          onInput={(event) => setFilter(event.currentTarget.value)} />
        <button type="button" aria-pressed={isPaused} onClick={isPaused ? goOn : () => setPaused(true)}>{isPaused ? t('goOn') : t('pause')}</button>
        <button type="button" onClick={() => setEvents([])}>{t('clear')}</button>
        <button type="button" title={t('pcapHint')} disabled={shown.length === 0} onClick={save}>{t('pcap')}</button>
        <label class="check">
          <input type="checkbox" checked={isClear} onChange={(event) => setClear(event.currentTarget.checked)} />
          {t('traceClear')}
        </label>
      </div>
      <p class="quiet" role="status">
        {[user, t('shown', { shown: shown.length, count: events.length }), isPaused && t('tracePaused', { count: held.length }), note].filter(Boolean).join(' · ')}
      </p>
      {events.length === 0 && <p class="empty">{open === stream ? t('traceRuns', { user }) : t('loading')}</p>}
      {events.length > 0 && shown.length === 0 && <p class="empty">{t('noMatch')}</p>}
      <ol class="trace" aria-label={t('trace')}>
        {shown.map((event) => <Line event={event} />)}
      </ol>
    </>
  );
}

function Line({ event }: { event: TraceEvent }) {
  const isIn = event.direction === 'in';
  return (
    <li>
      <details>
        <summary>
          <time>{clock(event.at_ms)}</time>
          <span class={`way ${event.direction}`} aria-label={isIn ? t('inbound') : t('outbound')}>{isIn ? '→' : '←'}</span>
          <span class="start">{event.start}</span>
          <span class="quiet">{event.cseq}</span>
          <span class="quiet peer">{event.peer}</span>
        </summary>
        <pre>{event.text}</pre>
      </details>
    </li>
  );
}
