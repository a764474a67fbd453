// What is known of messages and conversations, and what news do to it. Nothing here has a clock or does I/O.

import { isCardType } from '../wire/card';
import { FILE_TYPE } from '../wire/file';
import { mediaType } from '../wire/headers';
import { PLACE_TYPE } from '../wire/place';
import type { Change, Member } from '../wire/roster';

/** How far a message of ours got. Later states include the earlier ones. */
export type Progress = 'waiting' | 'sent' | 'delivered' | 'displayed' | 'failed';
/** How far it got with one member of a group. */
export type Reached = 'delivered' | 'displayed';

export interface Message {
  /** The other user of the conversation, or the focus of a group. */
  peer: string;
  /** IMDN Message-ID. */
  id: string;
  mine: boolean;
  /** Rises along the conversation: when it came or was written here, in milliseconds, made unique. */
  order: number;
  /** When its sender wrote it, in milliseconds. */
  at: number;
  contentType: string;
  text: string;
  /** Of ours. */
  progress?: Progress;
  /** Of ours in a group: how far with whom. */
  reached?: Record<string, Reached>;
  /** Why it failed, as a SIP or HTTP status. */
  status?: number;
  /** Of others': whether our user has seen it, and whether the sender wants to hear of that. */
  seen?: boolean;
  wantsDisplay?: boolean;
  /** In a group: who wrote it, and as what. */
  from?: string;
  fromName?: string;
  /** Message-ID of what it answers. */
  replyTo?: string;
  /** Sign by user. */
  reactions?: Record<string, string>;
  edited?: boolean;
  recalled?: boolean;
}

/** The content type of a line about a call, which is kept here and sent to nobody; its text is a CallRecord. */
export const CALL = 'application/x-chappe-call+json';
/** Of a file that is still on its way to the server; its text is an UploadRecord. */
export const UPLOAD = 'application/x-chappe-upload+json';
/** Of a line about a group; its text is a GroupNote. */
export const GROUP = 'application/x-chappe-group+json';

/** What happened in a group, and who did it, where that is known. */
export interface GroupNote {
  by: string;
  change: Change;
}

/** What a message shows. */
export type Kind = 'text' | 'photo' | 'video' | 'voice' | 'audio' | 'file' | 'place' | 'card' | 'call' | 'group' | 'other';

export interface GroupInfo {
  subject: string;
  icon: string;
  members: Member[];
  /** Contribution-ID, by which the factory knows it. */
  contribution: string;
  /** We are not in it any more. */
  left?: boolean;
}

export interface Conversation {
  peer: string;
  /** As the peer calls itself. */
  name: string;
  unread: number;
  /** `order` of the newest message. */
  order: number;
  /** Of the newest message: its text, or the name of its file. */
  preview: string;
  /** Of the newest message. */
  kind?: Kind;
  /** Of the newest message, in a group: its author's name; empty for ours. */
  author?: string;
  /** The peer has sent an envelope: it knows more than plain text. */
  rich?: boolean;
  group?: GroupInfo;
}

const RANK: Record<Progress, number> = { waiting: 0, failed: 1, sent: 2, delivered: 3, displayed: 4 };

/** Receipts come late, twice and in any order: a message never goes back. */
export function advance(message: Message, progress: Progress, status?: number): Message {
  const now = message.progress ?? 'waiting';
  if (RANK[progress] <= RANK[now]) return message;
  const { status: _old, ...rest } = message;
  return { ...rest, progress, ...(progress === 'failed' && status !== undefined ? { status } : {}) };
}

/** A receipt of a member of a group. The message has got as far as it got with all `others`. */
export function reach(message: Message, who: string, state: Reached, others: readonly string[]): Message {
  const known = message.reached?.[who];
  if (known === 'displayed' || known === state) return message;
  const reached = { ...message.reached, [who]: state };
  const all = others.length > 0 ? others : Object.keys(reached);
  const next = { ...message, reached };
  if (all.every((user) => reached[user] === 'displayed')) return advance(next, 'displayed');
  return all.every((user) => reached[user] !== undefined) ? advance(next, 'delivered') : advance(next, 'sent');
}

/** To be tried once more. */
export function again(message: Message): Message {
  if (message.progress !== 'failed') return message;
  const { status: _old, ...rest } = message;
  return { ...rest, progress: 'waiting' };
}

/** `who` puts a sign at a message; an empty one takes the earlier back. */
export function react(message: Message, who: string, sign: string): Message {
  const { [who]: _old, ...others } = message.reactions ?? {};
  const reactions = sign ? { ...others, [who]: sign } : others;
  return { ...message, reactions };
}

export function edit(message: Message, text: string): Message {
  return message.recalled ? message : { ...message, text, edited: true };
}

export function recall(message: Message): Message {
  return { ...message, contentType: 'text/plain', text: '', recalled: true, reactions: {} };
}

/** What a message of this type shows. Of files it is told by the name of their type within. */
export function kindOf(contentType: string, text: string): Kind {
  const type = mediaType(contentType);
  if (type === CALL) return 'call';
  if (type === GROUP) return 'group';
  if (type === PLACE_TYPE) return 'place';
  if (isCardType(type)) return 'card';
  if (type === UPLOAD) {
    const { type: of, voice } = JSON.parse(text) as { type: string; voice?: boolean };
    return voice ? 'voice' : kindOfFile(of);
  }
  if (type === FILE_TYPE) {
    if (/file-disposition\s*=\s*["']render/.test(text)) return 'voice';
    const types = [...text.matchAll(/<(?:\w+:)?content-type>\s*([^<]+?)\s*</g)].map(([, found]) => found!);
    return kindOfFile(types.pop() ?? '');
  }
  return type.startsWith('text/') ? 'text' : 'other';
}

export function kindOfFile(type: string): Kind {
  if (/^image\/(jpeg|png|gif|webp|avif|bmp)$/i.test(mediaType(type))) return 'photo';
  if (/^video\//i.test(type)) return 'video';
  return /^audio\//i.test(type) ? 'audio' : 'file';
}

/** The name in the document of a file, or of an upload. */
function fileName(message: Message): string {
  if (mediaType(message.contentType) === UPLOAD) return (JSON.parse(message.text) as { name: string }).name;
  return /<(?:\w+:)?file-name>\s*([^<]*?)\s*</.exec(message.text)?.[1] ?? '';
}

/** What a line of the list says of a message. */
export function previewOf(message: Message, kind: Kind): string {
  if (kind === 'text') return message.text.slice(0, 120);
  return kind === 'file' ? fileName(message).slice(0, 120) : '';
}

/** The conversation with a message more, or with one of it changed. */
export function withMessage(conversation: Conversation | undefined, message: Message, name: string): Conversation {
  const before = conversation ?? { peer: message.peer, name: '', unread: 0, order: 0, preview: '' };
  const next = { ...before, name: name || before.name, order: Math.max(before.order, message.order) };
  if (message.order < before.order) return next;
  const kind = kindOf(message.contentType, message.text);
  if (kind === 'call' || kind === 'group') return next;
  return { ...next, kind, preview: previewOf(message, kind), author: message.mine ? '' : (message.fromName ?? message.from ?? '') };
}

/** The next place in the order: never before what is there. */
export function nextOrder(last: number, now: number): number {
  return Math.max(last + 1, now);
}
