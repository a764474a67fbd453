// Voice and video calls, one at a time. Media goes from browser to browser, or by a relay; the server passes the descriptions on.

import { signal, type Signal } from '@preact/signals';
import { type Invitation, Inviter, type Session as SipSession, SessionState, UserAgent, Web } from 'sip.js';
import type { IncomingResponse } from 'sip.js/lib/core';
import { nameAddr, uriOf, userOf } from '../wire/address';

export type CallState = 'calling' | 'ringing' | 'incoming' | 'active' | 'ended';
/** How it ended, for those who look at it and for the log. */
export type CallEnd = 'done' | 'busy' | 'declined' | 'unanswered' | 'unknown' | 'failed' | 'microphone' | 'missed';

export interface Call {
  peer: string;
  name: string;
  /** Ours, or theirs. */
  mine: boolean;
  video: boolean;
  state: CallState;
  /** When it became active, in milliseconds. */
  since?: number;
  end?: CallEnd;
  muted: boolean;
  camera: boolean;
  /** Put on hold, by us and by them. */
  held: boolean;
  heldByThem: boolean;
  /** Digits that were sent. */
  digits: string;
  local?: MediaStream;
  remote?: MediaStream;
}

/** A call that is over, for the conversation. */
export interface CallRecord {
  peer: string;
  mine: boolean;
  video: boolean;
  end: CallEnd;
  /** Seconds of talk. */
  seconds: number;
}

/** Milliseconds that the end of a call is shown. */
const SHOWN = 2500;
/** What telephones have keys for. */
export const KEYS = '123456789*0#';
/** Milliseconds of a digit. */
const DIGIT = 160;
/** At the beginning of a call. */
const FRESH = { muted: false, held: false, heldByThem: false, digits: '' };

export class Calls {
  readonly current: Signal<Call | undefined> = signal(undefined);
  onOver: (record: CallRecord) => void = () => undefined;
  private session: SipSession | undefined;
  private clearing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly agent: UserAgent,
    private readonly domain: string,
    /** What has to be there before a connection is described. */
    private readonly ready: () => Promise<void>,
  ) {}

  call(peer: string, video: boolean): void {
    const target = UserAgent.makeURI(uriOf(peer));
    if (this.session || !target) return;
    const inviter = new Inviter(this.agent, target, {
      sessionDescriptionHandlerOptions: { constraints: { audio: true, video } },
    });
    this.begin(inviter, { peer, name: '', mine: true, video, state: 'calling', camera: video, ...FRESH });
    const refused = (response: IncomingResponse) => this.over(inviter, endOf(response.message.statusCode ?? 500));
    const rings = (response: IncomingResponse) => {
      if ((response.message.statusCode ?? 0) > 100 && this.session === inviter) this.show({ state: 'ringing' });
    };
    void this.ready()
      .then(() => (this.session === inviter ? inviter.invite({ requestDelegate: { onProgress: rings, onReject: refused } }) : undefined))
      .catch((error: unknown) => this.over(inviter, isRefusal(error) ? 'microphone' : 'failed'));
  }

  /** Somebody calls. */
  take(invitation: Invitation): void {
    const { request } = invitation;
    const peer = userOf(request.from.uri.toString(), this.domain) ?? nameAddr(request.from.uri.toString()).uri;
    if (this.session) return void invitation.reject({ statusCode: 486 }).catch(() => undefined);
    const video = /^m=video [1-9]/m.test(request.body);
    const name = request.from.displayName ?? '';
    this.begin(invitation, { peer, name, mine: false, video, state: 'incoming', camera: video, ...FRESH });
  }

  answer(video: boolean): void {
    const session = this.session as Invitation | undefined;
    if (!session || this.current.value?.state !== 'incoming') return;
    this.show({ camera: video });
    const options = { sessionDescriptionHandlerOptions: { constraints: { audio: true, video } } };
    void this.ready()
      .then(() => (this.session === session ? session.accept(options) : undefined))
      .catch((error: unknown) => this.over(session, isRefusal(error) ? 'microphone' : 'failed'));
  }

  /** Ends the call, whatever state it is in. */
  hangUp(): void {
    const [session, call] = [this.session, this.current.value];
    if (!session || !call) return;
    const quiet = () => undefined;
    if (call.state === 'active') void session.bye().catch(quiet);
    else if (call.mine) void (session as Inviter).cancel().catch(quiet);
    else void (session as Invitation).reject({ statusCode: 603 }).catch(quiet);
    this.over(session, call.state === 'active' ? 'done' : 'declined');
  }

  mute(muted: boolean): void {
    this.show({ muted });
    this.giveWhatIsWanted();
  }

  setCamera(camera: boolean): void {
    this.show({ camera });
    this.giveWhatIsWanted();
  }

  /** Puts the call on hold, or goes on with it: both sides hear nothing between. */
  async hold(held: boolean): Promise<void> {
    const session = this.session;
    if (!session || this.current.value?.state !== 'active' || this.current.value.held === held) return;
    session.sessionDescriptionHandlerOptionsReInvite = { hold: held } as Web.SessionDescriptionHandlerOptions;
    const agreed = () => {
      if (this.session !== session) return;
      this.show({ held });
      this.giveWhatIsWanted();
    };
    // One that crosses theirs is refused (RFC 3261 §14.1), and the button still there.
    await session.invite({ requestDelegate: { onAccept: agreed } }).catch(() => undefined);
  }

  /** Presses a key of the telephone (RFC 4733). */
  press(key: string): void {
    const call = this.current.value;
    if (call?.state !== 'active' || !KEYS.includes(key)) return;
    const media = this.session?.sessionDescriptionHandler as Web.SessionDescriptionHandler | undefined;
    const sender = media?.peerConnection?.getSenders().find(({ dtmf }) => dtmf)?.dtmf;
    if (!sender?.canInsertDTMF) return;
    // What is still to be sent stays before it.
    sender.insertDTMF(sender.toneBuffer + key, DIGIT);
    this.show({ digits: call.digits + key });
  }

  /** Sound and pictures of ours that go out. */
  private giveWhatIsWanted(): void {
    const call = this.current.value;
    call?.local?.getAudioTracks().forEach((track) => (track.enabled = !call.muted && !call.held));
    call?.local?.getVideoTracks().forEach((track) => (track.enabled = call.camera && !call.held));
  }

  private begin(session: SipSession, call: Call): void {
    clearTimeout(this.clearing);
    this.session = session;
    this.current.value = call;
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) this.established(session);
      // A call that was given up or ended by the other side, and not by us before. Why it was refused is told right after.
      if (state === SessionState.Terminated) setTimeout(() => this.over(session, undefined));
    });
  }

  private established(session: SipSession): void {
    if (this.session !== session) return;
    const media = session.sessionDescriptionHandler as Web.SessionDescriptionHandler;
    this.show({ state: 'active', since: Date.now(), local: media.localMediaStream, remote: media.remoteMediaStream });
    session.delegate = {
      ...session.delegate,
      onInvite: (request) => {
        const quiet = /^a=(?:sendonly|inactive)\r?$/m.test(request.body);
        if (request.body && this.session === session) this.show({ heldByThem: quiet });
      },
    };
    const lost = media.peerConnection;
    lost?.addEventListener('connectionstatechange', () => {
      if (lost.connectionState === 'failed' && this.session === session) this.hangUp();
    });
  }

  private over(session: SipSession, end: CallEnd | undefined): void {
    const call = this.current.value;
    if (this.session !== session || !call) return;
    this.session = undefined;
    const ended = end ?? (call.state === 'active' ? 'done' : call.mine ? 'failed' : 'missed');
    const seconds = call.since === undefined ? 0 : Math.round((Date.now() - call.since) / 1000);
    call.local?.getTracks().forEach((track) => track.stop());
    const { local: _local, remote: _remote, ...rest } = call;
    this.current.value = { ...rest, state: 'ended', end: ended };
    this.clearing = setTimeout(() => (this.current.value = undefined), SHOWN);
    this.onOver({ peer: call.peer, mine: call.mine, video: call.video, end: ended, seconds });
  }

  private show(change: Partial<Call>): void {
    if (this.current.value) this.current.value = { ...this.current.value, ...change };
  }
}

function endOf(status: number): CallEnd {
  if (status === 486 || status === 600) return 'busy';
  if (status === 603 || status === 607) return 'declined';
  if (status === 480 || status === 408 || status === 487) return 'unanswered';
  return status === 404 || status === 604 ? 'unknown' : 'failed';
}

/** The user or the machine gives no microphone or camera. */
function isRefusal(error: unknown): boolean {
  return error instanceof DOMException && ['NotAllowedError', 'NotFoundError', 'NotReadableError'].includes(error.name);
}
