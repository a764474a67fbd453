// What the admin API answers; `/api/openapi.json` has the whole of it.

export interface Readiness {
  ready: boolean;
  reasons: string[];
}

export interface MessageCounts {
  accepted: number;
  delivered: number;
  stored: number;
  expired: number;
  refused: number;
}

export interface Status {
  version: string;
  node: string;
  pid: number;
  started: number;
  uptime_s: number;
  domains: string[];
  data_dir: string;
  store: string;
  listeners: { service: string; url: string }[];
  readiness: Readiness;
  counts: {
    accounts: number;
    registered: number;
    bindings: number;
    connections: number;
    transactions: number;
    banned: number;
    msrp_sessions: number;
    publications: number;
    subscriptions: number;
    messages: MessageCounts;
  };
}

export interface Certificate {
  names: string[];
  issuer: string;
  expires: number;
  self_signed: boolean;
}

export interface System {
  certificates: Certificate[];
  store_bytes?: number;
  files_bytes?: number;
  push: { provider: string; rested: boolean }[];
}

export interface Binding {
  contact: string;
  device: string;
  instance_id?: string;
  reg_id?: number;
  flow?: string;
  path: string[];
  q: number;
  expires: number;
  user_agent?: string;
  reachable: boolean;
  push?: string;
}

export interface Registered {
  aor: string;
  bindings: Binding[];
}

/** Why messages wait. */
export type Reason = 'not-registered' | 'asleep' | 'being-woken' | 'device-away' | 'not-taken' | 'in-delivery';

export interface Queue {
  aor: string;
  messages: number;
  bytes: number;
  oldest_ms?: number;
  reason?: Reason;
}

export interface Waiting {
  id: number;
  message_id?: string;
  call_id: string;
  from: string;
  device?: string;
  bytes: number;
  accepted_ms: number;
  expires: number;
  reason?: Reason;
}

export interface RecentMessage {
  message_id?: string;
  call_id: string;
  from: string;
  to: string;
  at_ms: number;
  /** What happened last: the name of an event. */
  event: string;
  status?: number;
}

export interface FateEvent {
  at_ms: number;
  event: string;
  recipient: string;
  device?: string;
  status?: number;
  message_id?: string;
  call_id: string;
}

export interface Hop {
  at_ms: number;
  from: string;
  to: string;
  protocol: 'sip' | 'msrp' | 'http' | 'push' | 'store';
  what: string;
  status?: number;
  flow?: string;
  failed: boolean;
}

export interface Explanation {
  id: string;
  events: FateEvent[];
  from?: string;
  hops: Hop[];
  waiting: { recipient: string; device?: string; reason: Reason; expires: number }[];
}

export interface TraceEvent {
  at_ms: number;
  direction: 'in' | 'out';
  peer: string;
  start: string;
  call_id: string;
  cseq: string;
  bytes: number;
  text: string;
  /** A record of a capture file, in base64. */
  packet: string;
}

export interface GroupDevice {
  device: string;
  upto: number;
}

export interface Group {
  id: string;
  focus: string;
  contribution_id: string;
  subject?: string;
  open: boolean;
  created_ms: number;
  closed_ms?: number;
  revision: number;
  last: number;
  live: boolean;
  members?: { user: string; name?: string; role: string; state: string; changed_ms: number; devices: GroupDevice[] }[];
  messages?: {
    number: number;
    message_id: string;
    from: string;
    at_ms: number;
    of: number;
    delivered: number;
    displayed: number;
  }[];
}

export interface MsrpSession {
  id: number;
  kind: 'relay' | 'endpoint';
  user: string;
  flow: string;
  peer?: string;
  sent_bytes: number;
  received_bytes: number;
  queued_bytes: number;
  age_s: number;
  idle_s: number;
  expires_s: number;
}

export interface StoredFile {
  id: string;
  owner: string;
  name: string;
  content_type: string;
  bytes: number;
  created: number;
  expires: number;
}

export interface PushOf {
  aor: string;
  devices: { device: string; provider: string; decisions: { at: number; class: string; what: string }[] }[];
}

export interface PushTested {
  device: string;
  provider: string;
  outcome: string;
  why: string;
}

export interface Account {
  aor: string;
  tel: string[];
  display_name?: string;
  created: number;
  disabled: boolean;
  blocked?: string[];
  hides_displayed?: boolean;
}
