// Whether somebody is there, in words.

import type { Person } from '../engine/presence';
import { when } from './format';
import { t } from './strings';

/** Empty where nothing is known. */
export function presenceText(person: Person | undefined): string {
  if (!person) return '';
  const state = person.away ? t('isAway') : person.open ? t('isOnline') : '';
  const text = state || (person.seen ? t('lastSeen', { when: when(person.seen, Date.now()) }) : '');
  return [text, person.open ? person.note : ''].filter(Boolean).join(' · ');
}
