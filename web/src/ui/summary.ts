// A message in a few words, for the list, quotes and notifications.

import { type Conversation, type Kind, type Message, kindOf, previewOf } from '../engine/model';
import { type Key, t } from './strings';

const NAMES: Partial<Record<Kind, [sign: string, Key]>> = {
  photo: ['📷', 'photo'], video: ['🎬', 'video'], voice: ['🎤', 'voice'], audio: ['🎵', 'audio'],
  file: ['📄', 'file'], place: ['📍', 'place'], card: ['👤', 'card'],
};

function words(kind: Kind, preview: string): string {
  const name = NAMES[kind];
  return name ? `${name[0]} ${preview || t(name[1])}` : preview;
}

export function summary(message: Message): string {
  const kind = kindOf(message.contentType, message.text);
  return words(kind, previewOf(message, kind)).slice(0, 160);
}

/** What a row of the list says of the newest message. */
export function lineOf(conversation: Conversation): string {
  const said = words(conversation.kind ?? 'text', conversation.preview);
  return conversation.group && conversation.author && said ? `${conversation.author}: ${said}` : said;
}
