// MSRP over WebSocket: frames (RFC 4975 §9), a connection to a relay (RFC 7977, RFC 4976), sessions on it.

export { Connection, type Address, type ConnectionOptions, type LogIn } from './connection';
export { FrameError, type Flag, type Frame, parse, write } from './frame';
export { MsrpError, type Incoming, type SendOptions, Session, type SessionOptions } from './session';
export { parseUri, sameUri, type MsrpUri } from './uri';
export { acceptsOf, describe, pathOf } from './description';
