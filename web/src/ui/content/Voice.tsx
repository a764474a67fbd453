// Sounds that are played in place.

import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { duration } from '../format';
import { Pause, Play } from '../icons';
import { t } from '../strings';

export function Voice({ source, seconds, name }: { source: string; seconds: number | undefined; name: string }) {
  const audio = useRef<HTMLAudioElement>(null);
  const plays = useSignal(false);
  const at = useSignal(0);
  const length = useSignal(seconds ?? 0);
  const toggle = () => {
    const player = audio.current;
    if (!player) return;
    if (plays.value) player.pause();
    else void player.play().catch(() => (plays.value = false));
  };
  const measure = () => {
    // What a recorder wrote knows its length only when it has been played.
    const measured = audio.current?.duration ?? NaN;
    if (Number.isFinite(measured)) length.value = measured;
  };
  return (
    <div class="voice">
      <audio ref={audio} src={source} preload="metadata" onPlay={() => (plays.value = true)} onPause={() => (plays.value = false)}
        onLoadedMetadata={measure} onDurationChange={measure} onTimeUpdate={() => (at.value = audio.current?.currentTime ?? 0)}
        onEnded={() => { plays.value = false; at.value = 0; }} />
      <button class="primary round" onClick={toggle} aria-label={`${t(plays.value ? 'pause' : 'play')}: ${name}`}>
        {plays.value ? <Pause /> : <Play />}
      </button>
      <input type="range" min={0} max={Math.max(1, length.value)} step={0.1} value={at.value} aria-label={t('position')}
        onInput={(event) => { if (audio.current) audio.current.currentTime = Number(event.currentTarget.value); }} />
      <span class="time">{duration(Math.round(plays.value || at.value > 0 ? at.value : length.value))}</span>
    </div>
  );
}
