// The SIP side: registered over WebSocket (RFC 7118) for as long as there is a network, and MESSAGE both ways.

import { type Invitation, Messager, Registerer, RegistererState, UserAgent, UserAgentState, type Message as SipMessage } from 'sip.js';
import type { IncomingResponse } from 'sip.js/lib/core';
import { readEnvelope } from '../wire/cpim';

export interface Account {
  /** `name@domain` */
  user: string;
  displayName: string;
  password: string;
  /** `wss://host/ws` */
  server: string;
  /** UUID of this browser. */
  instance: string;
}

export type PhoneState = 'connecting' | 'online' | 'offline' | 'refused';

export interface Incoming {
  /** URI of the sender, as the server says. */
  from: string;
  name: string;
  contentType: string;
  body: string;
}

export interface PhoneEvents {
  state(state: PhoneState): void;
  /** A message; it is confirmed once this is done, and refused if it fails, so that it comes again. */
  message(message: Incoming): Promise<void>;
  call(invitation: Invitation): void;
  /** What the 200 to a REGISTER says that the server can do. */
  capabilities(featureCaps: string[]): void;
}

/** Standalone messages of CPM, of any size, and what changes in groups; files by HTTP and places; calls. */
export const TAGS = [
  '+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg"',
  '+g.3gpp.iari-ref="urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp,urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.geopush"',
  '+g.gsma.rcs.cpm.pager-large',
  '+g.chappe.group-news',
  'audio',
  'video',
];
/** Seconds. */
const EXPIRES = 600;
/** Seconds between signs of life, below what proxies and NATs give a silent connection. */
const KEEP_ALIVE = 25;
/** Milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A connection that does not answer within this many milliseconds is dead. */
const PATIENCE = 10_000;

export class Phone {
  readonly agent: UserAgent;
  private readonly registerer: Registerer;
  private state: PhoneState = 'offline';
  private running = false;
  /** An attempt to be online is under way. */
  private busy = false;
  private pause = FIRST_PAUSE;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly account: Account,
    private readonly events: PhoneEvents,
    media: RTCConfiguration,
  ) {
    const uri = UserAgent.makeURI(`sip:${account.user}`);
    if (!uri) throw new Error(`not an address: ${account.user}`);
    this.agent = new UserAgent({
      uri,
      displayName: account.displayName,
      authorizationUsername: account.user.slice(0, account.user.lastIndexOf('@')),
      authorizationPassword: account.password,
      transportOptions: { server: account.server, keepAliveInterval: KEEP_ALIVE, connectionTimeout: PATIENCE / 1000 },
      instanceId: account.instance,
      userAgentString: 'Chappe-Web/0.1',
      sipExtensionExtraSupported: ['path', 'gruu'],
      logLevel: 'error',
      // No server of somebody else is told who calls whom.
      sessionDescriptionHandlerFactoryOptions: {
        iceGatheringTimeout: 1000,
        peerConnectionConfiguration: media,
      },
      // Losses are ours to mend.
      reconnectionAttempts: 0,
      gracefulShutdown: false,
      delegate: {
        onDisconnect: () => this.lost(),
        onInvite: (invitation) => this.events.call(invitation),
        onMessage: (message) => void this.take(message),
      },
    });
    this.tellAbilities();
    this.setPush(undefined);
    this.registerer = new Registerer(this.agent, {
      expires: EXPIRES,
      refreshFrequency: 75,
      regId: 1,
      extraContactHeaderParams: TAGS,
    });
    this.registerer.stateChange.addListener((state) => {
      if (state === RegistererState.Registered) this.arrived();
    });
  }

  /** The address of Web Push by which the server may wake us (RFC 8599); without one it is asked whether it can. */
  setPush(address: string | undefined): void {
    const { uri } = this.agent.contact;
    uri.setParam('pn-provider', address === undefined ? null : 'webpush');
    if (address === undefined) uri.deleteParam('pn-prid');
    else uri.setParam('pn-prid', encodeURIComponent(address));
    if (this.state === 'online') void this.register();
  }

  start(): void {
    this.running = true;
    addEventListener('online', this.wake);
    addEventListener('offline', this.sleep);
    document.addEventListener('visibilitychange', this.wake);
    void this.connect();
  }

  /** Signs off. */
  async stop(): Promise<void> {
    this.running = false;
    clearTimeout(this.timer);
    removeEventListener('online', this.wake);
    removeEventListener('offline', this.sleep);
    document.removeEventListener('visibilitychange', this.wake);
    if (this.state === 'online') {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, 2000);
        this.registerer
          .unregister({ requestDelegate: { onAccept: () => resolve(), onReject: () => resolve() } })
          .catch(() => resolve());
      });
    }
    await this.agent.stop().catch(() => undefined);
    this.tell('offline');
  }

  /**
   * Sends a MESSAGE, and gives the status of its final response; 503 where there is no connection. A text in an envelope goes
   * without one to a device that takes nothing but text (RFC 3428 §7: 415 says what it takes).
   */
  send(to: string, contentType: string, body: string): Promise<number> {
    const target = UserAgent.makeURI(to);
    if (!target) return Promise.resolve(404);
    if (this.state !== 'online') return Promise.resolve(503);
    return new Promise((resolve) => {
      const messager = new Messager(this.agent, target, body, contentType);
      const tell = ({ message }: IncomingResponse) => {
        const status = message.statusCode ?? 500;
        const text = status === 415 ? plainText(contentType, body, message.getHeader('accept') ?? '') : undefined;
        resolve(text === undefined ? status : this.send(to, 'text/plain;charset=UTF-8', text));
      };
      messager.message({ requestDelegate: { onAccept: tell, onReject: tell } }).catch(() => resolve(503));
    });
  }

  /** Who asks what we can do (OPTIONS) is told; SIP.js would answer without a word of it. */
  private tellAbilities(): void {
    const core = this.agent.userAgentCore;
    const reply = core.replyStateless.bind(core);
    core.replyStateless = (message, options) => {
      if (message.method !== 'OPTIONS' || options.statusCode !== 200) return reply(message, options);
      const contact = `Contact: ${[this.agent.contact.toString(), ...TAGS].join(';')}`;
      return reply(message, { ...options, extraHeaders: [...(options.extraHeaders ?? []), contact] });
    };
  }

  /** Something has changed: the network came, or the page was looked at again after who knows how long. */
  private readonly wake = (): void => {
    if (!this.running || document.visibilityState === 'hidden') return;
    this.pause = FIRST_PAUSE;
    if (this.state === 'online') {
      // Whether the connection still lives shows when something is sent over it.
      void this.register();
    } else if (this.state !== 'refused') {
      clearTimeout(this.timer);
      void this.connect();
    }
  };

  private readonly sleep = (): void => {
    if (this.running && this.state !== 'refused') void this.agent.transport.disconnect().catch(() => this.lost());
  };

  private async connect(): Promise<void> {
    if (this.busy || !this.running) return;
    this.busy = true;
    this.tell('connecting');
    try {
      if (!this.agent.transport.isConnected()) {
        await (this.agent.state === UserAgentState.Started ? this.agent.reconnect() : this.agent.start());
      }
      this.busy = false;
      await this.register();
    } catch {
      this.busy = false;
      this.later();
    }
  }

  private async register(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    const status = await new Promise<number>((resolve) => {
      setTimeout(() => resolve(408), PATIENCE);
      const tell = ({ message }: IncomingResponse) => {
        if ((message.statusCode ?? 500) < 300) this.events.capabilities(message.getHeaders('feature-caps'));
        resolve(message.statusCode ?? 500);
      };
      this.registerer
        .register({ requestDelegate: { onAccept: tell, onReject: tell } })
        .catch(() => resolve(503));
    });
    this.busy = false;
    if (!this.running) return;
    if (status < 300) return this.arrived();
    if ([401, 403, 404, 407].includes(status)) return this.tell('refused');
    // The connection may be up and dead.
    await this.agent.transport.disconnect().catch(() => undefined);
    this.later();
  }

  private arrived(): void {
    this.pause = FIRST_PAUSE;
    this.tell('online');
  }

  private lost(): void {
    if (this.running && this.state !== 'refused' && !this.busy) this.later();
  }

  private later(): void {
    if (!this.running) return;
    this.tell('offline');
    clearTimeout(this.timer);
    // Not all at once after a restart of the server.
    this.timer = setTimeout(() => void this.connect(), this.pause * (0.5 + Math.random() / 2));
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  get isOnline(): boolean {
    return this.state === 'online';
  }

  private tell(state: PhoneState): void {
    if (state === this.state) return;
    this.state = state;
    this.events.state(state);
  }

  private async take(message: SipMessage): Promise<void> {
    const { request } = message;
    const asserted = request.getHeader('p-asserted-identity');
    try {
      await this.events.message({
        from: asserted ?? request.from.uri.toString(),
        name: request.from.displayName ?? '',
        contentType: request.getHeader('content-type') ?? 'text/plain',
        body: request.body,
      });
      await message.accept();
    } catch (error) {
      console.error('a message could not be kept', error);
      await message.reject({ statusCode: 480 }).catch(() => undefined);
    }
  }
}

/** The text in an envelope, for who accepts texts and no envelopes; undefined where it is none. */
export function plainText(contentType: string, body: string, accept: string): string | undefined {
  const accepts = accept.toLowerCase().split(',').map((one) => one.split(';')[0]?.trim());
  if (!/^message\/cpim\b/i.test(contentType) || accepts.includes('message/cpim')) return undefined;
  if (!accepts.some((one) => one === 'text/plain' || one === 'text/*' || one === '*/*')) return undefined;
  const envelope = readEnvelope(body);
  // A reaction or a recall is nothing to read.
  if (!envelope || !/^text\/plain\b/i.test(envelope.contentType) || (envelope.relation && envelope.relation.kind !== 'reply')) return undefined;
  return envelope.body;
}
