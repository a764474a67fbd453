//! Media between browsers and phones: ICE, DTLS-SRTP (RFC 5764), SDES (RFC 4568), plain RTP, transcoding.
//!
//! [`Call`] is the pure core: descriptions in one dialect become those of the other, packets of one leg those of the other,
//! with time and randomness from outside. [`io`] has the sockets and tasks that carry one.

pub mod bridge;
pub mod dtls;
pub mod g711;
pub mod io;
pub mod leg;
pub mod negotiate;
pub mod rtp;
pub mod srtp;
pub mod stun;
pub mod transcode;
pub mod turn;

pub use bridge::{Bridge, Counters, Ended, Path, Side, Transmit};
pub use dtls::{Crypto, Dtls};
pub use leg::Leg;
pub use negotiate::{Call, Dialect, Locals, Random, Refusal};
