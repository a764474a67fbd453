//! File transfer over HTTP as RCS does it (GSMA RCC.07), without I/O.
//!
//! [`Multipart`] reads a form as it arrives and holds no more of it than a head; [`FileDocument`] is what an upload is
//! answered with and what a chat message carries; [`range`] has the rules of parts (RFC 9110 §14), for both ways.
//! [`Policy`] says what may be uploaded, and [`name`] makes names of files harmless.

mod document;
pub mod media;
pub mod multipart;
pub mod name;
mod policy;
pub mod range;
mod resume;

pub use document::{DocumentError, FILE_TYPE, FileDocument, FileInfo, MAX_DOCUMENT, until};
pub use multipart::{Multipart, MultipartError};
pub use policy::{Policy, Refusal};
pub use resume::resume_document;
