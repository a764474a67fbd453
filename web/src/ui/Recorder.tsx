// Records a voice message, and stands where the field for text is.

import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { duration } from './format';
import { Close, Send } from './icons';
import { t } from './strings';

/** Seconds (GSMA RCC.07: MaxTimeAudioMessage). */
const LONGEST = 600;
/** The best that the browser can write and others can play. */
const TYPES = ['audio/mp4', 'audio/webm;codecs=opus', 'audio/ogg;codecs=opus'];

export function Recorder({ onDone, onLeave }: { onDone: (recording: Blob, seconds: number) => void; onLeave: () => void }) {
  const since = useSignal<number | undefined>(undefined);
  const seconds = useSignal(0);
  const fault = useSignal(false);
  const recorder = useRef<MediaRecorder | undefined>(undefined);
  const pieces = useRef<Blob[]>([]);
  useEffect(() => {
    let gone = false;
    let stream: MediaStream | undefined;
    const begin = async () => {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      if (gone) return stream.getTracks().forEach((track) => track.stop());
      const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
      const made = new MediaRecorder(stream, mimeType ? { mimeType } : {});
      made.ondataavailable = ({ data }) => pieces.current.push(data);
      made.start();
      recorder.current = made;
      since.value = Date.now();
    };
    begin().catch(() => (fault.value = true));
    const clock = setInterval(() => {
      if (since.value === undefined) return;
      seconds.value = Math.floor((Date.now() - since.value) / 1000);
      if (seconds.value >= LONGEST) finish();
    }, 200);
    return () => {
      gone = true;
      clearInterval(clock);
      if (recorder.current?.state === 'recording') recorder.current.stop();
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  const finish = () => {
    const [made, begun] = [recorder.current, since.value];
    if (!made || begun === undefined || made.state !== 'recording') return;
    const length = (Date.now() - begun) / 1000;
    made.onstop = () => onDone(new Blob(pieces.current, { type: made.mimeType.split(';')[0]! }), length);
    made.stop();
  };
  return (
    <div class="composer recorder" onKeyDown={(event) => event.key === 'Escape' && onLeave()}>
      <button class="plain" onClick={onLeave} aria-label={t('cancel')}><Close /></button>
      {fault.value ? (
        <p class="fault" role="alert">{t('noMicrophone')}</p>
      ) : (
        <p role="timer"><span class="dot" aria-hidden="true" /> {t('recording', { time: duration(seconds.value) })}</p>
      )}
      <button class="primary round" disabled={since.value === undefined} onClick={finish} aria-label={t('sendRecording')}><Send /></button>
    </div>
  );
}
