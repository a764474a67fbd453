//! Bounds on what is taken from the wire.

/// Limits of one message. Exceeding one is answered with the code that [`crate::ParseError::status`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Whole message in bytes, body included.
    pub message: usize,
    /// Start line and headers in bytes.
    pub head: usize,
    /// Header lines.
    pub headers: usize,
    /// Request-URI in bytes (414 above).
    pub uri: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 65_535, head: 32_768, headers: 256, uri: 4_096 }
    }
}
