// MSRP sessions: what goes through them, and their end.

import { useState } from 'preact/hooks';
import { segment, send } from '../api';
import { usePages } from '../data';
import { bytes, span } from '../format';
import { Ask, Empty, Load, More, Page, Table, say } from '../parts';
import { href } from '../route';
import { t } from '../strings';
import type { MsrpSession } from '../types';

export function MsrpPage() {
  const sessions = usePages<MsrpSession>('/api/msrp', 100, 5000);
  const [asked, ask] = useState<MsrpSession>();
  const kill = async ({ id }: MsrpSession) => {
    await send('DELETE', `/api/msrp/${segment(String(id))}`);
    say(t('killed', { id }));
    await sessions.reload();
  };
  return (
    <Page title={t('msrp')} acts={<button type="button" onClick={() => void sessions.reload()}>{t('reload')}</button>}>
      <Load of={sessions} has={sessions.items !== undefined}>
        {sessions.items?.length === 0 ? <Empty title={t('noSessions')} /> : (
          <Table label={t('msrp')} rows={sessions.items ?? []} id={({ id }) => String(id)} columns={[
            { name: t('session'), cell: ({ id }) => id, heads: true },
            { name: t('user'), cell: ({ user }) => (user.includes('@') ? <a href={href('user', user)}>{user}</a> : user) },
            { name: t('kind'), cell: ({ kind }) => kind },
            { name: t('sent'), cell: ({ sent_bytes }) => bytes(sent_bytes), numeric: true },
            { name: t('received'), cell: ({ received_bytes }) => bytes(received_bytes), numeric: true },
            { name: t('queued'), cell: ({ queued_bytes }) => bytes(queued_bytes), numeric: true },
            { name: t('age'), cell: ({ age_s }) => span(age_s) },
            { name: t('idle'), cell: ({ idle_s }) => span(idle_s) },
            { name: t('flow'), cell: ({ flow, peer }) => <code>{[flow, peer].filter(Boolean).join(' ↔ ') || t('none')}</code> },
            {
              name: t('acts'),
              cell: (session) => (
                <button type="button" class="small danger" aria-label={t('killSession', { id: session.id })} onClick={() => ask(session)}>
                  {t('kill')}
                </button>
              ),
            },
          ]} />
        )}
        <More more={sessions.more} />
      </Load>
      {asked && (
        <Ask title={t('killSession', { id: asked.id })} text={t('killSure')} act={t('kill')} danger onAct={() => kill(asked)}
          onClose={() => ask(undefined)} />
      )}
    </Page>
  );
}
