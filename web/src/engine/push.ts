// Web Push (RFC 8030), by which the server wakes the service worker when no page is open. What it sends has no content.

function registration(): Promise<ServiceWorkerRegistration> | undefined {
  return navigator.serviceWorker && 'PushManager' in globalThis ? navigator.serviceWorker.ready : undefined;
}

/** The address at which this browser is woken, where it is already. */
export async function pushAddress(): Promise<string | undefined> {
  const subscription = await (await registration())?.pushManager.getSubscription();
  return subscription?.endpoint;
}

/**
 * Asks the browser's push service for an address. `key`: of the server (RFC 8292).
 *
 * @throws where the user or the browser does not want it, or the service cannot be reached
 */
export async function subscribePush(key: string): Promise<string | undefined> {
  const pushes = (await registration())?.pushManager;
  const subscription = await pushes?.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  return subscription?.endpoint;
}

export async function unsubscribePush(): Promise<void> {
  await (await (await registration())?.pushManager.getSubscription())?.unsubscribe();
}

/** The key of the server, among the Feature-Caps of a 200 to REGISTER; `undefined` where it knows no Web Push. */
export function pushKey(featureCaps: readonly string[]): string | undefined {
  const web = featureCaps.find((value) => /\+sip\.pns="webpush"/i.test(value));
  return /\+sip\.vapid="([\w-]+)"/i.exec(web ?? '')?.[1];
}
