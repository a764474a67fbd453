// Uploaded files: whose they are, how much each user keeps, and until when.

import { useState } from 'preact/hooks';
import { segment, send } from '../api';
import { usePages } from '../data';
import { at, bytes, count, until } from '../format';
import { Ask, Card, Empty, Load, More, Page, Table, say } from '../parts';
import { href } from '../route';
import { t } from '../strings';
import type { StoredFile } from '../types';

export interface Usage {
  owner: string;
  files: number;
  bytes: number;
}

/** What each user keeps, the most first. */
export function usage(files: StoredFile[]): Usage[] {
  const found = new Map<string, Usage>();
  for (const file of files) {
    const entry = found.get(file.owner) ?? { owner: file.owner, files: 0, bytes: 0 };
    found.set(file.owner, { owner: file.owner, files: entry.files + 1, bytes: entry.bytes + file.bytes });
  }
  return [...found.values()].sort((a, b) => b.bytes - a.bytes);
}

export function FilesPage({ owner }: { owner: string }) {
  const files = usePages<StoredFile>(owner === '' ? '/api/files' : `/api/files?owner=${segment(owner)}`, 1000);
  const [asked, ask] = useState<StoredFile>();
  const remove = async ({ id }: StoredFile) => {
    await send('DELETE', `/api/files/${segment(id)}`);
    say(t('removed'));
    await files.reload();
  };
  if (files.fault?.status === 501) return <Page title={t('files')}><Empty title={t('filesOff')} /></Page>;
  const acts = owner === '' ? undefined : <a class="button" href={href('files')}>{t('allFiles')}</a>;
  return (
    <Page title={t('files')} about={owner} acts={acts}>
      <Load of={files} has={files.items !== undefined}>
        {files.items?.length === 0 ? <Empty title={t('noFiles')} /> : (
          <div class="cards">
            <Card title={files.more ? t('usagePartly') : t('usage')} wide>
              <Table label={t('usage')} rows={usage(files.items ?? [])} id={({ owner }) => owner} columns={[
                { name: t('owner'), cell: ({ owner }) => <a href={href('user', owner)}>{owner}</a>, heads: true },
                { name: t('fileCount'), cell: ({ files }) => count(files), numeric: true },
                { name: t('size'), cell: (one) => bytes(one.bytes), numeric: true },
              ]} />
            </Card>
            <Card title={t('files')} wide>
              <Table label={t('files')} rows={files.items ?? []} id={({ id }) => id} columns={[
                { name: t('name'), cell: ({ name }) => name, heads: true },
                { name: t('owner'), cell: ({ owner }) => <a href={href('user', owner)}>{owner}</a> },
                { name: t('type'), cell: ({ content_type }) => content_type },
                { name: t('size'), cell: (file) => bytes(file.bytes), numeric: true },
                { name: t('made'), cell: ({ created }) => at(created * 1000) },
                { name: t('expires'), cell: ({ expires }) => <span title={at(expires * 1000)}>{until(expires)}</span> },
                {
                  name: t('acts'),
                  cell: (file) => (
                    <button type="button" class="small danger" aria-label={t('removeFile', { name: file.name })} onClick={() => ask(file)}>
                      {t('remove')}
                    </button>
                  ),
                },
              ]} />
            </Card>
          </div>
        )}
        <More more={files.more} />
      </Load>
      {asked && (
        <Ask title={t('removeFile', { name: asked.name })} text={t('removeFileSure')} act={t('remove')} danger onAct={() => remove(asked)}
          onClose={() => ask(undefined)} />
      )}
    </Page>
  );
}
