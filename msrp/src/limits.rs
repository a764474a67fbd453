//! Bounds on what is taken from the wire, and what may deviate from the grammar.

/// Limits of one frame, all in bytes but for [`Limits::headers`] (RFC 4975 §14.5). There is none on the body of a
/// SEND, for it is passed on in slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// First line with its CRLF; above it the stream cannot go on.
    pub start_line: usize,
    /// One header line with its CRLF.
    pub header: usize,
    /// Header lines.
    pub headers: usize,
    /// First line and header lines together; never more than 4 GiB.
    pub head: usize,
    /// Body of anything but a SEND (RFC 4975 §7.1 has 10,240 as the largest).
    pub other_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { start_line: 512, header: 8192, headers: 64, head: 65_536, other_body: 10_240 }
    }
}

/// Deviations that are taken as if they were right. All off by default: each is refused with 400 then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leniency {
    /// From-Path before To-Path, or either after another header.
    pub paths_anywhere: bool,
    /// Headers after Content-Type.
    pub content_type_anywhere: bool,
    /// Content-Type but no empty line: no body, as in the first SEND of clients that use one template for all.
    pub content_type_without_body: bool,
    /// An empty line but no Content-Type: no body if the end-line follows, else a body of unknown type.
    pub blank_line_without_content_type: bool,
    /// Empty lines between frames, the keep-alive of SIP stacks.
    pub blank_lines_between_frames: bool,
    /// No space after the colon.
    pub no_space_after_colon: bool,
    /// Transaction ids of 1 to 64 characters, `_` among them (the grammar has 4 to 32).
    pub any_transaction_id: bool,
    /// Message-IDs of any visible characters, up to 255 (`<...@host>` of mail, UUIDs in braces).
    pub any_message_id: bool,
    /// SEND without a body and without a Message-ID.
    pub keep_alive_without_message_id: bool,
    /// A URI that ends after the session-id: `tcp` is meant.
    pub uri_without_transport: bool,
    /// `Byte-Range: 0-…`: 1 is meant.
    pub range_from_zero: bool,
    /// `Byte-Range: 1-25`: the total is unknown.
    pub range_without_total: bool,
    /// `Status: 200 OK`: namespace 000 is meant.
    pub status_without_namespace: bool,
}

impl Leniency {
    /// Everything allowed.
    pub const ALL: Leniency = Leniency {
        paths_anywhere: true,
        content_type_anywhere: true,
        content_type_without_body: true,
        blank_line_without_content_type: true,
        blank_lines_between_frames: true,
        no_space_after_colon: true,
        any_transaction_id: true,
        any_message_id: true,
        keep_alive_without_message_id: true,
        uri_without_transport: true,
        range_from_zero: true,
        range_without_total: true,
        status_without_namespace: true,
    };
}
