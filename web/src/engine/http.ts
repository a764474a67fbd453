// HTTP to the server that the page came from, with the account's credentials where they are asked for.

import { type Challenge, authorize, readChallenges } from '../wire/digest';
import type { Account } from './phone';

/** How a body is sent, and how far it has got. */
export interface Sending {
  method: 'POST' | 'PUT';
  path: string;
  headers: Record<string, string>;
  body: Blob | FormData;
  /** Bytes that have gone out. */
  onProgress: (sent: number) => void;
  signal: AbortSignal;
}

export class Http {
  private challenge: Challenge | undefined;
  private count = 0;

  constructor(private readonly account: Pick<Account, 'user' | 'password'>) {}

  /**
   * Sends a request, once more with credentials where it is challenged. `path`: as it is to be sent, encoded.
   *
   * @throws TypeError without a network
   */
  async request(method: string, path: string, init: { headers?: Record<string, string>; body?: string; signal?: AbortSignal } = {}): Promise<Response> {
    for (let again = 0; ; again += 1) {
      const authorization = await this.authorization(method, path);
      const headers = { ...init.headers, ...(authorization ? { Authorization: authorization } : {}) };
      // Without the browser's own credentials, which would ask with a window.
      const response = await fetch(path, { ...init, method, headers, credentials: 'omit', cache: 'no-store' });
      if (response.status !== 401 || again > 0) return response;
      this.challenge = readChallenges(response.headers.get('www-authenticate') ?? '')[0];
      this.count = 0;
      if (!this.challenge) return response;
    }
  }

  /** Sends a large body and tells how far it is. A fresh challenge is to be had before. Status 0: the network was lost. */
  async send({ method, path, headers, body, onProgress, signal }: Sending): Promise<{ status: number; text: string; retryAfter: number }> {
    const authorization = await this.authorization(method, path);
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open(method, path);
      Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
      if (authorization) request.setRequestHeader('Authorization', authorization);
      request.upload.onprogress = (event) => onProgress(event.loaded);
      const over = () => {
        const retryAfter = Number(request.getResponseHeader('retry-after') ?? '') || 0;
        resolve({ status: request.status, text: request.status === 0 ? '' : request.responseText, retryAfter });
      };
      request.onload = request.onerror = request.onabort = over;
      signal.addEventListener('abort', () => request.abort());
      if (signal.aborted) return over();
      request.send(body);
    });
  }

  private async authorization(method: string, uri: string): Promise<string | undefined> {
    if (!this.challenge) return undefined;
    this.count += 1;
    const { user, password } = this.account;
    const cnonce = Math.random().toString(36).slice(2);
    const name = user.slice(0, user.lastIndexOf('@'));
    return authorize(this.challenge, { user: name, password }, { method, uri, count: this.count, cnonce });
  }
}
