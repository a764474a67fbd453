// A report of `chappe conformance run --junit`.

export type Outcome = 'passed' | 'failed' | 'skipped';

export interface Case {
  suite: string;
  name: string;
  outcome: Outcome;
  why: string;
}

export interface Report {
  cases: Case[];
  suites: { name: string; passed: number; failed: number; skipped: number }[];
}

/** `undefined` where the text is no report. */
export function readReport(text: string): Report | undefined {
  const document = new DOMParser().parseFromString(text, 'text/xml');
  const suites = [...document.getElementsByTagName('testsuite')];
  if (suites.length === 0) return undefined;
  const cases = suites.flatMap((suite) =>
    [...suite.getElementsByTagName('testcase')].map((one): Case => {
      const wrong = [...one.children].find(({ tagName }) => ['failure', 'error'].includes(tagName));
      const skipped = [...one.children].find(({ tagName }) => tagName === 'skipped');
      const said = wrong ?? skipped;
      return {
        suite: suite.getAttribute('name') ?? '',
        name: one.getAttribute('name') ?? '',
        outcome: wrong ? 'failed' : skipped ? 'skipped' : 'passed',
        why: [said?.getAttribute('message'), said?.textContent?.trim()].filter(Boolean).join('\n'),
      };
    }),
  );
  const names = [...new Set(cases.map(({ suite }) => suite))];
  const of = (name: string, outcome: Outcome) => cases.filter((one) => one.suite === name && one.outcome === outcome).length;
  return {
    cases,
    suites: names.map((name) => ({ name, passed: of(name, 'passed'), failed: of(name, 'failed'), skipped: of(name, 'skipped') })),
  };
}
