// Keeps the client itself at hand, so that it opens without a network or a server. Messages are not its business.
const CACHE = 'client';

/** The page, and what it names. */
async function fetchAll() {
  const page = await fetch('/', { cache: 'no-cache' });
  if (!page.ok) return;
  const cache = await caches.open(CACHE);
  const text = await page.clone().text();
  const named = [...text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path);
  await cache.addAll(named);
  await cache.put('/', page);
  for (const request of await cache.keys()) {
    const { pathname } = new URL(request.url);
    if (pathname !== '/' && !named.includes(pathname)) await cache.delete(request);
  }
}

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(fetchAll());
});
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== 'GET' || origin !== location.origin) return;
  if (pathname === '/') {
    // The newest that there is; it brings new assets along.
    const newest = fetch(event.request).then((response) => {
      if (response.ok) event.waitUntil(fetchAll());
      return response;
    });
    event.respondWith(newest.catch(async () => (await caches.match('/')) ?? Response.error()));
  } else if (/^\/(assets\/|icon\.svg$|chappe\.webmanifest$)/.test(pathname)) {
    event.respondWith(caches.match(pathname).then((kept) => kept ?? fetch(event.request)));
  }
});

// The server has something for a user who has no page open. What it is, the page says when it is opened.
const WORDS = { en: 'New messages', de: 'Neue Nachrichten' };

addEventListener('push', (event) => {
  const body = WORDS[navigator.language.slice(0, 2)] ?? WORDS.en;
  event.waitUntil(registration.showNotification('Chappe', { body, icon: '/icon.svg', tag: 'push' }));
});

addEventListener('notificationclick', (event) => {
  event.notification.close();
  const open = async () => {
    const [page] = await clients.matchAll({ type: 'window', includeUncontrolled: true });
    return page ? page.focus() : clients.openWindow('/');
  };
  event.waitUntil(open());
});
