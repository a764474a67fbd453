// The last report of the conformance suite that the server was told of.

import { useData } from '../data';
import { at, count } from '../format';
import { type Case, readReport } from '../junit';
import { Card, Empty, Load, Mark, Page, Table } from '../parts';
import { t } from '../strings';

interface Report {
  written: number;
  junit: string;
}

export function ConformancePage() {
  const found = useData<Report>('/api/conformance');
  const { value } = found;
  if (found.fault?.status === 404) {
    return <Page title={t('conformance')}><Empty title={t('noReport')} hint={t('noReportHint')} /></Page>;
  }
  return (
    <Page title={t('conformance')} about={value && t('reportOf', { at: at(value.written * 1000) })}>
      <Load of={found} has={value !== undefined}>{value && <Seen text={value.junit} />}</Load>
    </Page>
  );
}

function Seen({ text }: { text: string }) {
  const report = readReport(text);
  if (!report) return <Empty title={t('badReport')} />;
  const failed = report.cases.filter(({ outcome }) => outcome === 'failed');
  return (
    <div class="cards">
      <Card title={t('failed')} wide>
        {failed.length === 0 ? <p><Mark tone="good">{t('allPassed')}</Mark></p> : <Cases cases={failed} label={t('failed')} />}
      </Card>
      <Card title={t('suite')} wide>
        <Table label={t('suite')} rows={report.suites} id={({ name }) => name} columns={[
          { name: t('suite'), cell: ({ name }) => name, heads: true },
          { name: t('passed'), cell: ({ passed }) => count(passed), numeric: true },
          { name: t('failed'), cell: ({ failed }) => (failed > 0 ? <Mark tone="bad">{count(failed)}</Mark> : count(0)), numeric: true },
          { name: t('skipped'), cell: ({ skipped }) => count(skipped), numeric: true },
        ]} />
      </Card>
    </div>
  );
}

function Cases({ cases, label }: { cases: Case[]; label: string }) {
  return (
    <Table label={label} rows={cases} id={({ suite, name }) => `${suite} ${name}`} columns={[
      { name: t('suite'), cell: ({ suite }) => suite },
      { name: t('case'), cell: ({ name }) => name, heads: true },
      { name: t('why'), cell: ({ why }) => <pre>{why}</pre> },
    ]} />
  );
}
