//! Digest, AKA and bearer-token authentication, without I/O.
//!
//! Everything works on values that the caller took out of SIP, MSRP or HTTP headers, so that the three share one
//! implementation. The clock and randomness come in as arguments.
//!
//! [`Gate`] is the whole decision for digest (RFC 7616, RFC 8760): challenge, nonce, response and nonce count.
//! [`aka`] replaces passwords by SIM vectors (RFC 3310, RFC 4169), [`bearer`] and [`token`] by tokens (RFC 8898).

mod algorithm;
mod base64url;
mod challenge;
mod counts;
mod credentials;
mod digest;
mod gate;
mod ha1;
mod hex;
mod milenage;
mod nonce;
mod syntax;
mod username;

pub mod aka;
pub mod bearer;
pub mod token;

pub use algorithm::{Algorithm, Qop};
pub use challenge::Challenge;
pub use counts::{CountPolicy, NonceCounts, Repeated, Uncounted, Use};
pub use credentials::{Credentials, MAX_CREDENTIALS_LEN, MAX_PARAMETERS, ParseError, scheme};
pub use digest::{Failure, authentication_info, verify};
pub use gate::{Gate, GateConfig, Refusal, Request, Verdict};
pub use ha1::{Ha1Forms, Ha1Set};
pub use milenage::{Milenage, operator_constant};
pub use nonce::{Nonce, NonceCheck, NonceId, Nonces};
pub use username::{Form, Username};
