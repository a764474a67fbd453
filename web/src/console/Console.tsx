// The frame of the console: who is signed in, the ways to the pages, the search, and the page itself.

import { useState } from 'preact/hooks';
import { type Theme, setTheme, theme } from '../ui/theme';
import { Fault, get, segment, signIn, signOut, token } from './api';
import { asFault } from './data';
import { AccountsPage } from './pages/Accounts';
import { ConformancePage } from './pages/Conformance';
import { FilesPage } from './pages/Files';
import { GroupPage, GroupsPage } from './pages/Groups';
import { MessagePage } from './pages/Message';
import { MsrpPage } from './pages/Msrp';
import { OverviewPage } from './pages/Overview';
import { QueuePage } from './pages/Queue';
import { TracePage } from './pages/Trace';
import { UserPage } from './pages/User';
import { UsersPage } from './pages/Users';
import { Empty, Page, said } from './parts';
import { go, href, type Route, route } from './route';
import { type Key, t } from './strings';

const PAGES: [string, Key][] = [
  ['', 'overview'], ['users', 'users'], ['queue', 'queue'], ['message', 'message'], ['trace', 'trace'], ['groups', 'groups'],
  ['files', 'files'], ['msrp', 'msrp'], ['accounts', 'accounts'], ['conformance', 'conformance'],
];
/** Which entry of the list a page belongs to. */
const UNDER: Record<string, string> = { user: 'users', group: 'groups', find: '' };

export function Console() {
  return token.value ? <Signed /> : <SignIn />;
}

function SignIn() {
  const [value, setValue] = useState('');
  const [fault, setFault] = useState('');
  const enter = async (event: Event) => {
    event.preventDefault();
    setFault('');
    const answer = await fetch('/api/status', { headers: { Authorization: `Bearer ${value.trim()}` } }).catch(() => undefined);
    if (answer === undefined) setFault(t('noAnswer'));
    else if (answer.status === 401) setFault(t('badToken'));
    else signIn(value.trim());
  };
  return (
    <main class="signin">
      <form onSubmit={(event) => void enter(event)}>
        <h1>{t('title')}</h1>
        <p class="quiet" id="hint">{t('signInHint')}</p>
        <label for="token">{t('token')}</label>
        <input id="token" type="password" autocomplete="off" required aria-describedby="hint" value={value}
          onInput={(event) => setValue(event.currentTarget.value)} />
        <p class="fault" role="alert">{fault}</p>
        <button class="primary" type="submit">{t('signIn')}</button>
      </form>
    </main>
  );
}

function Signed() {
  const { page } = route.value;
  const current = UNDER[page] ?? page;
  return (
    <div class="frame">
      <a class="skip" href="#content" onClick={(event) => {
        event.preventDefault();
        document.getElementById('content')?.focus();
      }}>{t('skip')}</a>
      <header class="top">
        <a class="brand" href={href('')}>Chappe <span class="quiet">{t('console')}</span></a>
        <Search />
        <div class="own">
          <label class="hidden" for="theme">{t('theme')}</label>
          <select id="theme" value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
            <option value="auto">{t('themeAuto')}</option>
            <option value="light">{t('themeLight')}</option>
            <option value="dark">{t('themeDark')}</option>
          </select>
          <button type="button" onClick={signOut}>{t('signOut')}</button>
        </div>
      </header>
      <nav aria-label={t('pages')}>
        <ul>
          {PAGES.map(([name, key]) => (
            <li><a href={href(name)} {...(name === current ? { 'aria-current': 'page' as const } : {})}>{t(key)}</a></li>
          ))}
        </ul>
      </nav>
      <main id="content" tabIndex={-1}><Content route={route.value} /></main>
      <p class="said" role="status">{said.value}</p>
    </div>
  );
}

function Content({ route: { page, of } }: { route: Route }) {
  switch (page) {
    case '': return <OverviewPage />;
    case 'users': return <UsersPage from={of} />;
    case 'user': return <UserPage key={of} aor={of} />;
    case 'queue': return <QueuePage />;
    case 'message': return <MessagePage key={of} id={of} />;
    case 'trace': return <TracePage key={of} user={of} />;
    case 'groups': return <GroupsPage />;
    case 'group': return <GroupPage key={of} id={of} />;
    case 'files': return <FilesPage key={of} owner={of} />;
    case 'msrp': return <MsrpPage />;
    case 'accounts': return <AccountsPage />;
    case 'conformance': return <ConformancePage />;
    default: return <Page title={t('find')}><Empty title={t('nothingFound', { what: of || page })} hint={t('nothingFoundHint')} /></Page>;
  }
}

/** What a search leads to: a user, a message, or the page that says that there is none. */
export async function find(what: string): Promise<[string, string]> {
  const text = what.trim().replace(/^(sip|im|tel):/, '');
  // What is refused as no address, or unknown, may be the id of a message.
  const isMissing = (error: unknown) => error instanceof Fault && [404, 422].includes(error.status);
  try {
    return ['user', (await get<{ aor: string }>(`/api/accounts/${segment(text)}`)).aor];
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    await get(`/api/explain/${segment(what.trim())}`);
    return ['message', what.trim()];
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return ['find', what.trim()];
}

function Search() {
  const [what, setWhat] = useState('');
  const [fault, setFault] = useState('');
  const search = async (event: Event) => {
    event.preventDefault();
    if (what.trim() === '') return;
    try {
      setFault('');
      go(...(await find(what)));
      setWhat('');
    } catch (error) {
      setFault(t('fault', { why: asFault(error).message }));
    }
  };
  return (
    <form class="search" role="search" onSubmit={(event) => void search(event)}>
      <label class="hidden" for="find">{t('find')}</label>
      <input id="find" type="search" placeholder={t('findHint')} value={what} spellcheck={false} autocapitalize="off"
        onInput={(event) => setWhat(event.currentTarget.value)} />
      <button type="submit">{t('findButton')}</button>
      {fault && <p class="fault" role="alert">{fault}</p>}
    </form>
  );
}
