// What is known of messages and conversations, and what news do to it. Nothing here has a clock or does I/O.

/** How far a message of ours got. Later states include the earlier ones. */
export type Progress = 'waiting' | 'sent' | 'delivered' | 'displayed' | 'failed';

export interface Message {
  /** The other user of the conversation. */
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
  /** Why it failed, as a SIP status. */
  status?: number;
  /** Of others': whether our user has seen it, and whether the sender wants to hear of that. */
  seen?: boolean;
  wantsDisplay?: boolean;
  /** Message-ID of what it answers. */
  replyTo?: string;
  /** Sign by user. */
  reactions?: Record<string, string>;
  edited?: boolean;
  recalled?: boolean;
}

/** The content type of a line about a call, which is kept here and sent to nobody; its text is a CallRecord. */
export const CALL = 'application/x-chappe-call+json';

export interface Conversation {
  peer: string;
  /** As the peer calls itself. */
  name: string;
  unread: number;
  /** `order` of the newest message. */
  order: number;
  /** Of the newest message. */
  preview: string;
  /** The peer has sent an envelope: it knows more than plain text. */
  rich?: boolean;
}

const RANK: Record<Progress, number> = { waiting: 0, failed: 1, sent: 2, delivered: 3, displayed: 4 };

/** Receipts come late, twice and in any order: a message never goes back. */
export function advance(message: Message, progress: Progress, status?: number): Message {
  const now = message.progress ?? 'waiting';
  if (RANK[progress] <= RANK[now]) return message;
  const { status: _old, ...rest } = message;
  return { ...rest, progress, ...(progress === 'failed' && status !== undefined ? { status } : {}) };
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
  return { ...message, text: '', recalled: true, reactions: {} };
}

/** The conversation with a message more, or with one of it changed. */
export function withMessage(conversation: Conversation | undefined, message: Message, name: string): Conversation {
  const before = conversation ?? { peer: message.peer, name: '', unread: 0, order: 0, preview: '' };
  const isNewest = message.order >= before.order;
  return {
    ...before,
    name: name || before.name,
    order: Math.max(before.order, message.order),
    preview: isNewest && message.contentType !== CALL ? message.text.slice(0, 120) : before.preview,
  };
}

/** The next place in the order: never before what is there. */
export function nextOrder(last: number, now: number): number {
  return Math.max(last + 1, now);
}
