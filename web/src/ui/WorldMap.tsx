// A map of the world without tiles of anybody: coasts, a graticule, and a pin.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { t } from './strings';

/** Units of the drawing for a degree. */
const SCALE = 4;

interface Props {
  /** Where the pin is, in degrees. */
  at: { latitude: number; longitude: number } | undefined;
  /** How many degrees are shown from west to east. */
  span: number;
  /** Height by width. */
  ratio?: number;
  onChoose?: (latitude: number, longitude: number) => void;
}

export function WorldMap({ at, span, ratio = 0.6, onChoose }: Props) {
  const land = useSignal('');
  useEffect(() => {
    // Only where a map is shown.
    void import('./land').then(({ LAND }) => (land.value = LAND));
  }, []);
  const [width, height] = [span * SCALE, Math.min(180, span * ratio) * SCALE];
  const [x, y] = [(at?.longitude ?? 0) * SCALE, -(at?.latitude ?? 0) * SCALE];
  // Not beyond the poles; around the world there is no end.
  const left = span >= 360 ? -180 * SCALE : x - width / 2;
  const top = Math.max(-90 * SCALE, Math.min(90 * SCALE - height, span >= 360 ? -height / 2 : y - height / 2));
  const step = (span > 120 ? 30 : span > 40 ? 10 : 5) * SCALE;
  const lines = (from: number, length: number) => {
    const first = Math.ceil(from / step) * step;
    return Array.from({ length: Math.floor((from + length - first) / step) + 1 }, (_, number) => first + number * step);
  };
  const click = (event: MouseEvent) => {
    if (!onChoose) return;
    const box = (event.currentTarget as SVGSVGElement).getBoundingClientRect();
    const longitude = (left + ((event.clientX - box.left) / box.width) * width) / SCALE;
    const latitude = -(top + ((event.clientY - box.top) / box.height) * height) / SCALE;
    onChoose(Math.max(-90, Math.min(90, latitude)), ((((longitude + 180) % 360) + 360) % 360) - 180);
  };
  return (
    <svg class={onChoose ? 'map choosing' : 'map'} viewBox={`${left} ${top} ${width} ${height}`} role="img" aria-label={t('map')} onClick={click}>
      <rect x={left} y={top} width={width} height={height} class="sea" />
      {[-360, 0, 360].map((turn) => <path key={turn} class="land" d={land.value} transform={`translate(${turn * SCALE})`} />)}
      <g class="graticule">
        {lines(left, width).map((line) => <line key={`x${line}`} x1={line} x2={line} y1={top} y2={top + height} />)}
        {lines(top, height).map((line) => <line key={`y${line}`} y1={line} y2={line} x1={left} x2={left + width} />)}
      </g>
      {at && (
        <g class="pin" transform={`translate(${x} ${y}) scale(${width / 300})`}>
          <circle r="16" class="halo" />
          <path d="M0 0c-3-6-10-11-10-18a10 10 0 0 1 20 0c0 7-7 12-10 18z" />
          <circle cy="-18" r="3.5" class="hole" />
        </g>
      )}
    </svg>
  );
}
