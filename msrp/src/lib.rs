//! MSRP without I/O: frames, URIs, byte ranges, reports and the order in which chunks go out (RFC 4975, 4976, 7977).
//!
//! Bytes and time come in, bytes and deadlines go out; sockets, clocks and randomness belong to the caller. A body is
//! never collected on its way through: the parser yields it in slices.

pub mod auth;
mod chunk;
mod coverage;
mod digits;
pub mod endpoint;
mod error;
mod head;
mod ids;
mod limits;
pub mod outgoing;
mod parser;
mod range;
pub mod reassembly;
pub mod relay;
pub mod reports;
mod scan;
pub mod transactions;
pub mod uri;
pub mod write;

pub use chunk::{ChunkHead, NewChunk};
pub use coverage::Coverage;
pub use error::{Cause, ParseError, Reply};
pub use head::{FailureReport, Flag, Head, Line, Method, Start, Status};
pub use ids::{TransactionId, TransactionIds};
pub use limits::{Leniency, Limits};
pub use outgoing::{Note, Outgoing, OutgoingConfig, Output, StreamKey, Unsent};
pub use parser::{Event, Parser};
pub use range::ByteRange;
pub use reassembly::{Assembled, Progress, Reassembler, ReassemblyLimits, Refusal};
pub use reports::{Delivery, DeliveryState, ReceivedReport, SuccessReports};
pub use scan::Scan;
pub use transactions::{Outcome, Transactions};
pub use uri::{OwnedUri, Uri};
