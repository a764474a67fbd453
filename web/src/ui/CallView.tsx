// The call that is under way, above everything else.

import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { type Call, type CallEnd, type Calls, KEYS } from '../engine/calls';
import type { Session } from '../engine/session';
import { Avatar } from './Avatar';
import { duration } from './format';
import { HangUp, Keys, Mic, Pause, Phone, Play, Video } from './icons';
import { type Key, t } from './strings';

const ENDS: Record<CallEnd, Key> = {
  done: 'endDone', busy: 'endBusy', declined: 'endDeclined', unanswered: 'endUnanswered', unknown: 'endUnknown',
  failed: 'endFailed', microphone: 'endMicrophone', missed: 'endMissed',
};

export function endText(end: CallEnd): string {
  return t(ENDS[end]);
}

export function CallView({ session, call }: { session: Session; call: Call }) {
  const { calls } = session;
  const name = session.nameOf(call.peer, call.name);
  const first = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    first.current?.querySelector<HTMLButtonElement>('button')?.focus();
  }, [call.state]);
  useRing(call.state === 'incoming');
  const keypad = useSignal(false);
  const showsVideo = call.state === 'active' && call.video;
  return (
    <section class={showsVideo ? 'call wide' : 'call'} role="dialog" aria-label={t(call.video ? 'videoCall' : 'call')}>
      {call.remote && <Media stream={call.remote} video={call.video} muted={false} label={name} />}
      {showsVideo && call.local && call.camera && <Media stream={call.local} video muted label={t('you')} />}
      {!showsVideo && <Avatar user={call.peer} name={name} />}
      <div class="who" role="status">
        <h2>{name}</h2>
        <p><Said call={call} name={name} /></p>
      </div>
      {call.state === 'active' && keypad.value && <Keypad calls={calls} digits={call.digits} />}
      <div class="acts" ref={first}>
        {call.state === 'incoming' && (
          <button class="primary" onClick={() => calls.answer(false)}><Phone />{t('answer')}</button>
        )}
        {call.state === 'incoming' && call.video && (
          <button class="primary" onClick={() => calls.answer(true)}><Video />{t('answerVideo')}</button>
        )}
        {call.state === 'active' && (
          <button aria-pressed={call.muted} onClick={() => calls.mute(!call.muted)}><Mic />{t('mute')}</button>
        )}
        {call.state === 'active' && (
          <button aria-pressed={call.held} onClick={() => void calls.hold(!call.held)}>
            {call.held ? <Play /> : <Pause />}{t('hold')}
          </button>
        )}
        {call.state === 'active' && (
          <button aria-pressed={keypad.value} aria-expanded={keypad.value} onClick={() => (keypad.value = !keypad.value)}>
            <Keys />{t('keypad')}
          </button>
        )}
        {showsVideo && (
          <button aria-pressed={call.camera} onClick={() => calls.setCamera(!call.camera)}><Video />{t('camera')}</button>
        )}
        {call.state !== 'ended' && (
          <button class="hangup" onClick={() => calls.hangUp()}>
            <HangUp />{t(call.state === 'incoming' ? 'decline' : 'hangUp')}
          </button>
        )}
      </div>
    </section>
  );
}

function Said({ call, name }: { call: Call; name: string }) {
  switch (call.state) {
    case 'calling': return <>{t('calling')}</>;
    case 'ringing': return <>{t('ringing')}</>;
    case 'incoming': return <>{t(call.video ? 'incomingVideo' : 'incomingCall', { name })}</>;
    case 'active': return call.held ? <>{t('held')}</> : call.heldByThem ? <>{t('heldByThem', { name })}</> : <Clock since={call.since ?? Date.now()} />;
    case 'ended': return <>{endText(call.end ?? 'done')}</>;
  }
}

/** The keys of a telephone, which those of the keyboard press too. */
function Keypad({ calls, digits }: { calls: Calls; digits: string }) {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) calls.press(event.key);
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [calls]);
  return (
    <div class="keypad" role="group" aria-label={t('keypad')}>
      <output aria-live="polite" aria-label={t('digits')}>{digits.slice(-16)}</output>
      {[...KEYS].map((key) => <button key={key} onClick={() => calls.press(key)}>{key}</button>)}
    </div>
  );
}

function Clock({ since }: { since: number }) {
  const now = useSignal(Date.now());
  useEffect(() => {
    const timer = setInterval(() => (now.value = Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  return <span aria-hidden="true">{duration(Math.max(0, Math.floor((now.value - since) / 1000)))}</span>;
}

function Media({ stream, video, muted, label }: { stream: MediaStream; video: boolean; muted: boolean; label: string }) {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (element.current) element.current.srcObject = stream;
  }, [stream]);
  // A call without pictures is heard by the same element.
  return (
    <video ref={element} class={video ? (muted ? 'own' : 'theirs') : 'hidden'} autoplay playsInline muted={muted}
      aria-label={label} />
  );
}

/** A tone twice every three seconds, made here so that nothing is fetched. */
function useRing(on: boolean): void {
  useEffect(() => {
    if (!on || typeof AudioContext === 'undefined') return;
    const audio = new AudioContext();
    const ring = () => {
      for (const [from, pitch] of [[0, 660], [0.25, 880]] as const) {
        const [tone, volume] = [audio.createOscillator(), audio.createGain()];
        volume.gain.value = 0.08;
        tone.frequency.value = pitch;
        tone.connect(volume).connect(audio.destination);
        tone.start(audio.currentTime + from);
        tone.stop(audio.currentTime + from + 0.2);
      }
    };
    ring();
    const timer = setInterval(ring, 3000);
    return () => {
      clearInterval(timer);
      void audio.close();
    };
  }, [on]);
}
