// The admin API of the server that this page came from. The token stays in this tab.

import { signal } from '@preact/signals';

const KEY = 'chappe.admin';

/** The bearer token; empty: nobody is signed in. */
export const token = signal(sessionStorage.getItem(KEY) ?? '');

/** Takes the token that `chappe console` puts behind `#token=`, which no server and no log sees. */
export function takeToken(): void {
  const found = /^#token=([^&]+)/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, '', `${location.pathname}#/`);
  signIn(decodeURIComponent(found[1]!));
}

export function signIn(value: string): void {
  sessionStorage.setItem(KEY, value);
  token.value = value;
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
  token.value = '';
}

/** The server refused, or could not be reached (`status` 0). */
export class Fault extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** `a/b?c` as one segment of a path. */
export const segment = encodeURIComponent;

export async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Authorization: `Bearer ${token.value}` };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    const request: RequestInit = { method, headers, cache: 'no-store' };
    if (body !== undefined) request.body = JSON.stringify(body);
    if (signal) request.signal = signal;
    response = await fetch(path, request);
  } catch (error) {
    throw new Fault(0, String(error));
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
  if (response.status === 401) signOut();
  throw new Fault(response.status, problem?.detail ?? `${response.status} ${response.statusText}`);
}

export async function get<T>(path: string): Promise<T> {
  return (await (await send('GET', path)).json()) as T;
}

export async function getText(path: string): Promise<string> {
  return (await send('GET', path)).text();
}

export interface List<T> {
  items: T[];
  next?: string;
}

/** One event of a stream: its name and its data. */
export interface StreamEvent {
  name: string;
  data: string;
}

/** Hands over each server-sent event until the server ends the stream or `signal` does. `open`: from now on they come. */
export async function follow(path: string, signal: AbortSignal, open: () => void, take: (event: StreamEvent) => void): Promise<void> {
  const response = await send('GET', path, undefined, signal);
  open();
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser(take);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.push(value);
    }
  } catch (error) {
    if (!signal.aborted) throw new Fault(0, String(error));
  }
}

/** Cuts a text/event-stream into events. */
export class EventParser {
  private rest = '';
  private name = 'message';
  private data: string[] = [];

  constructor(private readonly take: (event: StreamEvent) => void) {}

  push(text: string): void {
    this.rest += text;
    const lines = this.rest.split(/\r?\n/);
    this.rest = lines.pop()!;
    for (const line of lines) this.line(line);
  }

  private line(line: string): void {
    if (line === '') {
      if (this.data.length > 0) this.take({ name: this.name, data: this.data.join('\n') });
      this.name = 'message';
      this.data = [];
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line)!;
    if (field === 'event') this.name = value!;
    if (field === 'data') this.data.push(value!);
  }
}
