// The Prometheus text of `/metrics`, and what happens in a second.

/** Sums of all samples of a family, by its name, and by its name with its first label: `requests{method="INVITE"}`. */
export type Sums = Map<string, number>;

export function sums(text: string): Sums {
  const found: Sums = new Map();
  for (const line of text.split('\n')) {
    const [, name, label, number] = /^([A-Za-z_:][\w:]*)(?:\{(\w+="[^"]*").*\})? (\S+)/.exec(line) ?? [];
    const value = Number(number);
    if (name === undefined || !Number.isFinite(value)) continue;
    for (const key of label === undefined ? [name] : [name, `${name}{${label}}`]) found.set(key, (found.get(key) ?? 0) + value);
  }
  return found;
}

export interface Reading {
  at: number;
  value: number;
}

/** Increase for each second between readings of a counter; one that fell was counted anew by a new process. */
export function rates(readings: Reading[]): number[] {
  return readings.slice(1).map((now, index) => {
    const before = readings[index]!;
    const seconds = (now.at - before.at) / 1000;
    const more = now.value >= before.value ? now.value - before.value : now.value;
    return seconds > 0 ? more / seconds : 0;
  });
}

/** The points of a line for `values` in a box, the newest at its right edge. */
export function points(values: number[], width: number, height: number, slots: number): string {
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(slots - 1, 1);
  const from = width - step * (values.length - 1);
  return values
    .map((value, index) => `${(from + step * index).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`)
    .join(' ');
}
