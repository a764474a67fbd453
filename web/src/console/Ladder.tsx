// A ladder diagram: a line for each party, an arrow for each step. For the eye; a table beside it says the same.

import { after, ladder, short, words } from './ladder';
import { t } from './strings';
import type { Hop } from './types';

/** How parties are called. */
export function partyName(name: string): string {
  if (name === 'server') return t('server');
  return name === 'sender' ? t('sender') : name;
}

export function Ladder({ hops }: { hops: Hop[] }) {
  const { parties, rungs, width, height } = ladder(hops);
  const start = hops[0]?.at_ms ?? 0;
  const label = t('ladderOf', { count: hops.length, parties: parties.map(({ name }) => partyName(name)).join(', ') });
  return (
    <div class="ladder" role="group" aria-label={t('ladder')} tabIndex={0}>
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" aria-label={label}>
        <defs>
          {['calm', 'bad'].map((tone) => (
            <marker id={`arrow-${tone}`} viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
              <path d="M0 0L10 5L0 10z" class={tone} />
            </marker>
          ))}
        </defs>
        {parties.map(({ name, x }) => (
          <g key={name}>
            <title>{partyName(name)}</title>
            <text x={x} y={16} class="party">{short(partyName(name).split(' ')[0]!, 24)}</text>
            <text x={x} y={32} class="by">{short(name.split(' ').slice(1).join(' '), 26)}</text>
            <path d={`M${x} 40V${height - 4}`} class="life" />
          </g>
        ))}
        {rungs.map(({ hop, y, from, to, isNote }) => {
          const tone = hop.failed ? 'bad' : 'calm';
          const middle = (from + to) / 2;
          return (
            <g class={`rung ${tone}`}>
              <title>{[words(hop), hop.protocol, hop.flow].filter(Boolean).join(' · ')}</title>
              <text x={4} y={y + 4} class="time">{after(hop.at_ms - start)}</text>
              {isNote ? <circle cx={from} cy={y} r={5} /> : <path d={`M${from} ${y}H${to}`} marker-end={`url(#arrow-${tone})`} class={hop.status === undefined ? '' : 'answer'} />}
              <text x={isNote ? from + 12 : middle} y={isNote ? y + 4 : y - 6} class={isNote ? 'note' : 'label'}>{short(words(hop), 34)}</text>
              {!isNote && <text x={middle} y={y + 14} class="by">{hop.protocol}</text>}
            </g>
          );
        })}
      </svg>
    </div>
  );
}
