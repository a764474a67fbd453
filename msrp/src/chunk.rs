//! The headers of a SEND on its way out, from which the heads of all its frames are made (RFC 4975 §7.1.1).

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::head::{FailureReport, Head, Name};
use crate::ids::TransactionId;
use crate::range::ByteRange;
use crate::write::{next_hops, push_clean};

/// What a chunk of one's own message says.
#[derive(Clone, Copy)]
pub struct NewChunk<'a> {
    /// The whole way, next hop first.
    pub to: &'a str,
    /// Our URI.
    pub from: &'a str,
    /// 4 to 32 characters, unique and not to be foreseen (§7.1.1).
    pub message_id: &'a str,
    pub success_report: bool,
    pub failure_report: FailureReport,
    /// Position of its first byte in the message, from 1, and the size of the message if known.
    pub start: u64,
    pub total: Option<u64>,
    /// Further headers, MIME headers last.
    pub headers: &'a [(&'a str, &'a str)],
    /// None for a SEND without body, which has no range either.
    pub content_type: Option<&'a str>,
}

/// Headers of a chunk but for its transaction id and range. Cloning shares them.
#[derive(Clone)]
pub struct ChunkHead {
    /// Paths and Message-ID, then the rest with Content-Type last.
    lines: Bytes,
    /// Where the rest begins: Byte-Range goes there.
    rest: usize,
    to: Range<u32>,
    from: Range<u32>,
    message_id: Range<u32>,
    range: Option<ByteRange>,
    success: bool,
    failure: FailureReport,
    has_body: bool,
}

impl ChunkHead {
    /// A chunk of one's own.
    pub fn new(chunk: &NewChunk<'_>) -> ChunkHead {
        let mut lines = Lines::default();
        lines.paths(chunk.to, &[chunk.from], Some(chunk.message_id), 512);
        if chunk.success_report {
            lines.push("Success-Report", &["yes"]);
        }
        if chunk.failure_report != FailureReport::Yes {
            lines.push("Failure-Report", &[chunk.failure_report.as_str()]);
        }
        for (name, value) in chunk.headers {
            lines.push(name, &[value]);
        }
        if let Some(content_type) = chunk.content_type {
            lines.push("Content-Type", &[content_type]);
        }
        let range = ByteRange { start: chunk.start.max(1), end: None, total: chunk.total };
        let has_body = chunk.content_type.is_some();
        lines.head(has_body.then_some(range), chunk.success_report, chunk.failure_report, has_body)
    }

    /// What a relay sends on of a SEND: the paths shifted, all other headers as they came (RFC 4976 §6.4.1). `None` if
    /// no next hop is left.
    pub fn forward(head: &Head) -> Option<ChunkHead> {
        let (own, rest) = next_hops(head.raw_to_path())?;
        Some(ChunkHead::again(head, rest, &[own, " ", head.raw_from_path()]))
    }

    /// The headers of a SEND with other paths, for one who stands between two sessions.
    pub fn with_paths(head: &Head, to: &str, from: &str) -> ChunkHead {
        ChunkHead::again(head, to, &[from])
    }

    fn again(head: &Head, to: &str, from: &[&str]) -> ChunkHead {
        let mut lines = Lines::default();
        lines.paths(to, from, head.message_id(), head.bytes().len());
        let mut last: Option<&[u8]> = None;
        for (name, raw) in head.named_lines() {
            match name {
                Name::ToPath | Name::FromPath | Name::MessageId | Name::ByteRange => {}
                Name::ContentType => last = Some(raw),
                _ => lines.text.extend_from_slice(raw),
            }
        }
        lines.text.extend_from_slice(last.unwrap_or_default());
        let range = head.byte_range().or(head.has_body().then_some(ByteRange::OPEN));
        lines.head(range, head.success_report(), head.failure_report(), head.has_body())
    }

    /// Value of To-Path.
    pub fn to_path(&self) -> &str {
        self.text(&self.to)
    }

    /// Value of From-Path.
    pub fn from_path(&self) -> &str {
        self.text(&self.from)
    }

    /// Empty if there is none.
    pub fn message_id(&self) -> &str {
        self.text(&self.message_id)
    }

    /// To-Path and From-Path of a REPORT of ours about it: back to where it came from (RFC 4976 §6.4.1). `None` for a
    /// chunk that came from nowhere else.
    pub fn report_paths(&self) -> Option<(&str, &str)> {
        let (own, back) = self.from_path().split_once(' ')?;
        Some((back, own))
    }

    pub fn success_report(&self) -> bool {
        self.success
    }

    pub fn failure_report(&self) -> FailureReport {
        self.failure
    }

    /// As it came, or was given.
    pub fn range(&self) -> Option<ByteRange> {
        self.range
    }

    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// Bytes that its lines take.
    pub(crate) fn size(&self) -> usize {
        self.lines.len()
    }

    /// Appends the head of a frame.
    pub(crate) fn write(&self, out: &mut Vec<u8>, id: TransactionId, range: Option<ByteRange>) {
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(&self.lines[..self.rest]);
        if let Some(range) = range {
            out.extend_from_slice(b"Byte-Range: ");
            range.write(out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.lines[self.rest..]);
        if self.has_body {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn text(&self, range: &Range<u32>) -> &str {
        let bytes = self.lines.get(range.start as usize..range.end as usize).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for ChunkHead {
    // The paths are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkHead")
            .field("message_id", &self.message_id())
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    rest: usize,
    to: Range<u32>,
    from: Range<u32>,
    message_id: Range<u32>,
}

impl Lines {
    fn paths(&mut self, to: &str, from: &[&str], message_id: Option<&str>, more: usize) {
        self.text.reserve_exact(to.len() + more);
        self.to = self.push("To-Path", &[to]);
        self.from = self.push("From-Path", from);
        if let Some(id) = message_id {
            self.message_id = self.push("Message-ID", &[id]);
        }
        self.rest = self.text.len();
    }

    fn push(&mut self, name: &str, value: &[&str]) -> Range<u32> {
        push_clean(&mut self.text, name);
        self.text.extend_from_slice(b": ");
        let from = self.text.len() as u32;
        value.iter().for_each(|part| push_clean(&mut self.text, part));
        let range = from..self.text.len() as u32;
        self.text.extend_from_slice(b"\r\n");
        range
    }

    fn head(self, range: Option<ByteRange>, success: bool, failure: FailureReport, has_body: bool) -> ChunkHead {
        let Lines { text, rest, to, from, message_id } = self;
        ChunkHead { lines: text.into(), rest, to, from, message_id, range, success, failure, has_body }
    }
}
