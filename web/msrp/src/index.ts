// MSRP over WebSocket: frames (RFC 4975 §9), a connection to a relay (RFC 7977, RFC 4976), sessions on it.

export { Connection, type Address, type ConnectionOptions, type LogIn } from './connection.js';
export { FrameError, type Flag, type Frame, parse, write } from './frame.js';
export { MsrpError, type Incoming, type SendOptions, Session, type SessionOptions } from './session.js';
export { parseUri, sameUri, type MsrpUri } from './uri.js';
export { acceptsOf, describe, pathOf } from './description.js';
