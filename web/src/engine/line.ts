// Requests other than MESSAGE over the phone's connection: REFER, PUBLISH, OPTIONS, SUBSCRIBE, and sessions that are over as soon
// as they are agreed upon, by which groups are made and left.

import { type Notification, Subscriber, SubscriptionState, UserAgent } from 'sip.js';
import type { Body, IncomingResponse, OutgoingRequestMessage } from 'sip.js/lib/core';
import type { Phone } from './phone';

/** The final response. 503 where there is no connection. */
export interface Answer {
  status: number;
  header(name: string): string | undefined;
  /** All values. */
  headers(name: string): string[];
}

export interface Content {
  type: string;
  text: string;
}

/** Something that is followed. */
export interface Watch {
  /** Asks for all of it again. */
  refresh(): void;
  stop(): void;
}

const NOBODY: Answer = { status: 503, header: () => undefined, headers: () => [] };

export class Line {
  constructor(private readonly phone: Phone) {}

  /** The header that says where we are. */
  get contact(): string {
    return `Contact: ${this.phone.agent.contact.toString()}`;
  }

  request(method: string, to: string, headers: string[], content?: Content): Promise<Answer> {
    const message = this.message(method, to, headers, content);
    if (!message) return Promise.resolve(NOBODY);
    return new Promise((resolve) => {
      const tell = (response: IncomingResponse) => resolve(answer(response));
      this.phone.agent.userAgentCore.request(message, { onAccept: tell, onReject: tell });
    });
  }

  /** Begins a session and ends it at once, with these headers in the BYE. */
  touch(to: string, headers: string[], content: Content, bye: string[] = []): Promise<Answer> {
    const message = this.message('INVITE', to, [this.contact, ...headers], content);
    if (!message) return Promise.resolve(NOBODY);
    return new Promise((resolve) => {
      this.phone.agent.userAgentCore.invite(message, {
        onAccept: (response) => {
          response.ack();
          const over = () => resolve(answer(response));
          response.session.bye({ onAccept: over, onReject: over }, { extraHeaders: bye });
        },
        onReject: (response) => resolve(answer(response)),
      });
    });
  }

  /** Follows an event package. `onEnd`: it is over, and not because we said so. */
  watch(
    to: string,
    event: string,
    accept: string,
    onNews: (contentType: string, body: string) => void,
    onEnd: () => void,
    more: { headers?: string[]; content?: Content } = {},
  ): Watch | undefined {
    const target = UserAgent.makeURI(to);
    if (!target || !this.phone.isOnline) return undefined;
    const { headers = [], content } = more;
    let stopped = false;
    const subscriber = new Subscriber(this.phone.agent, target, event, {
      expires: 3600,
      extraHeaders: [`Accept: ${accept}`, ...headers],
      ...(content ? { body: content.text, contentType: content.type } : {}),
      delegate: {
        onNotify: (notification: Notification) => {
          void notification.accept().catch(() => undefined);
          const { request } = notification;
          const type = request.getHeader('content-type');
          if (!stopped && type && request.body) onNews(type, request.body);
        },
      },
    });
    subscriber.stateChange.addListener((state) => {
      if (state === SubscriptionState.Terminated && !stopped) {
        stopped = true;
        onEnd();
      }
    });
    void subscriber.subscribe().catch(() => undefined);
    return {
      refresh: () => {
        if (subscriber.state === SubscriptionState.Subscribed) void subscriber.subscribe().catch(() => undefined);
      },
      stop: () => {
        stopped = true;
        if (subscriber.state === SubscriptionState.Subscribed && this.phone.isOnline) void subscriber.unsubscribe().catch(() => undefined);
        void subscriber.dispose().catch(() => undefined);
      },
    };
  }

  private message(method: string, to: string, headers: string[], content?: Content): OutgoingRequestMessage | undefined {
    const target = UserAgent.makeURI(to);
    if (!target || !this.phone.isOnline) return undefined;
    const { agent } = this.phone;
    const body: Body | undefined = content && {
      contentDisposition: method === 'INVITE' ? 'session' : 'render',
      contentType: content.type,
      content: content.text,
    };
    const from = agent.configuration.uri;
    return agent.userAgentCore.makeOutgoingRequestMessage(method, target, from, target, {}, headers, body);
  }
}

function answer(response: IncomingResponse): Answer {
  const { message } = response;
  return {
    status: message.statusCode ?? 500,
    header: (name) => message.getHeader(name),
    headers: (name) => message.getHeaders(name),
  };
}
