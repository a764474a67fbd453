// Light, dark, or as the system has it.

import { signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'chappe.theme';

export const theme = signal<Theme>((localStorage.getItem(KEY) as Theme | null) ?? 'auto');

export function setTheme(value: Theme): void {
  theme.value = value;
  localStorage.setItem(KEY, value);
  apply();
}

export function apply(): void {
  if (theme.value === 'auto') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme.value;
}
