// Who is registered.

import { useState } from 'preact/hooks';
import { usePages } from '../data';
import { until } from '../format';
import { Empty, Load, Mark, More, Page, Table } from '../parts';
import { go, href } from '../route';
import { t } from '../strings';
import type { Binding, Registered } from '../types';

/** The key right before a name, so that a list `after` it begins with the name. */
export function before(name: string): string {
  const last = name.charCodeAt(name.length - 1);
  return name === '' || last === 0 ? '' : name.slice(0, -1) + String.fromCharCode(last - 1) + '\u007f';
}

export function UsersPage({ from }: { from: string }) {
  const users = usePages<Registered>(from === '' ? '/api/registrations' : `/api/registrations?after=${encodeURIComponent(before(from))}`);
  const [name, setName] = useState(from);
  const rows = (users.items ?? []).flatMap(({ aor, bindings }) => bindings.map((binding) => ({ aor, binding })));
  return (
    <Page title={t('users')} acts={<button type="button" onClick={() => void users.reload()}>{t('reload')}</button>}>
      <form class="row" onSubmit={(event) => {
        event.preventDefault();
        go('users', name.trim());
      }}>
        <label for="from">{t('filterUsers')}</label>
        <input id="from" value={name} onInput={(event) => setName(event.currentTarget.value)} spellcheck={false} autocapitalize="off" />
        <button type="submit">{t('findButton')}</button>
      </form>
      <Load of={users} has={users.items !== undefined}>
        {rows.length === 0 ? <Empty title={t('nobody')} hint={t('nobodyHint')} /> : (
          <Table label={t('users')} rows={rows} id={({ aor, binding }) => `${aor} ${binding.device}`} columns={[
            { name: t('user'), cell: ({ aor }) => <a href={href('user', aor)}>{aor}</a>, heads: true },
            { name: t('state'), cell: ({ binding }) => <Reach binding={binding} /> },
            { name: t('flow'), cell: ({ binding }) => <code>{binding.flow ?? t('none')}</code> },
            { name: t('client'), cell: ({ binding }) => binding.user_agent ?? t('none') },
            { name: t('pushState'), cell: ({ binding }) => binding.push ?? t('noPushOf') },
            { name: t('registrationEnds'), cell: ({ binding }) => until(binding.expires) },
          ]} />
        )}
        <More more={users.more} />
      </Load>
    </Page>
  );
}

/** Whether a device can be reached now. */
export function Reach({ binding }: { binding: Binding }) {
  if (binding.reachable) return <Mark tone="good">{t('reachable')}</Mark>;
  return binding.push ? <Mark tone="calm">{t('asleep')}</Mark> : <Mark tone="warn">{t('unreachable')}</Mark>;
}
