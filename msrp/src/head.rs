//! The head of a frame: start line and headers, as they came and as what they mean (RFC 4975 §7, §9).

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::digits;
use crate::error::{Cause, Reply};
use crate::limits::{Leniency, Limits};
use crate::range::ByteRange;
use crate::uri::Uri;

/// How a chunk ends (RFC 4975 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `$`: the message ends here.
    End,
    /// `+`: more of it comes in another chunk.
    More,
    /// `#`: the sender gave the message up.
    Abort,
}

impl Flag {
    pub(crate) fn of(byte: u8) -> Option<Flag> {
        match byte {
            b'$' => Some(Flag::End),
            b'+' => Some(Flag::More),
            b'#' => Some(Flag::Abort),
            _ => None,
        }
    }

    /// The flag as it is written.
    pub fn byte(self) -> u8 {
        match self {
            Flag::End => b'$',
            Flag::More => b'+',
            Flag::Abort => b'#',
        }
    }
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Send,
    Report,
    /// RFC 4976.
    Auth,
    /// RFC 7701.
    Nickname,
    /// One of the future; [`Head::word`] has its name.
    Other,
}

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Request(Method),
    Response { code: u16 },
}

/// `Failure-Report` (RFC 4975 §7.1.1): which failures the sender wants to hear of. `Yes` where the header is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum FailureReport {
    /// A response to every chunk within 30 s.
    #[default]
    Yes,
    /// Nothing.
    No,
    /// Failures only; silence is success.
    Partial,
}

impl FailureReport {
    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReport::Yes => "yes",
            FailureReport::No => "no",
            FailureReport::Partial => "partial",
        }
    }
}

/// `Status` of a REPORT (RFC 4975 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 0 for the codes of MSRP responses; what another means is not known here.
    pub namespace: u16,
    pub code: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    ToPath,
    FromPath,
    MessageId,
    SuccessReport,
    FailureReport,
    ByteRange,
    Status,
    ContentType,
    Other,
}

const KNOWN: [(&str, Name); 8] = [
    ("To-Path", Name::ToPath),
    ("From-Path", Name::FromPath),
    ("Message-ID", Name::MessageId),
    ("Success-Report", Name::SuccessReport),
    ("Failure-Report", Name::FailureReport),
    ("Byte-Range", Name::ByteRange),
    ("Status", Name::Status),
    ("Content-Type", Name::ContentType),
];

impl Name {
    fn of(name: &[u8]) -> Name {
        let same = |known: &&(&str, Name)| known.0.len() == name.len() && known.0.as_bytes().eq_ignore_ascii_case(name);
        KNOWN.iter().find(same).map_or(Name::Other, |known| known.1)
    }

    fn text(self) -> &'static str {
        KNOWN.get(self as usize).map_or("a header", |known| known.0)
    }
}

/// A part of the head.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.from as usize..self.to as usize).unwrap_or_default()
    }

    fn text<'a>(&self, bytes: &'a [u8]) -> &'a str {
        // What gets here was found to be UTF-8.
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the line begins; it ends two bytes after the value and trailing blanks.
    start: u32,
    end: u32,
    value: Span,
    name_len: u16,
    name: Name,
}

type Entries = SmallVec<[Entry; 8]>;

/// A header line.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// As written; names are compared without regard to case.
    pub name: &'a str,
    /// Without blanks around it.
    pub value: &'a str,
    /// The whole line with its CRLF.
    pub raw: &'a [u8],
}

/// Start line and headers of one frame. One buffer holds them, and cloning shares it.
#[derive(Clone)]
pub struct Head {
    bytes: Bytes,
    start: Start,
    id: Span,
    word: Span,
    entries: Entries,
    at: [u8; KNOWN.len()],
    range: Option<ByteRange>,
    status: Option<Status>,
    success: bool,
    failure: FailureReport,
    has_body: bool,
    leniency: Leniency,
}

impl Head {
    pub fn start(&self) -> Start {
        self.start
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request(method) => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The code of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { code } => Some(code),
            Start::Request(_) => None,
        }
    }

    /// Name of the method, or comment of a response.
    pub fn word(&self) -> &str {
        self.word.text(&self.bytes)
    }

    pub fn transaction_id(&self) -> &str {
        self.id.text(&self.bytes)
    }

    /// Next hop first.
    pub fn to_path(&self) -> impl Iterator<Item = Uri<'_>> {
        uris(self.raw_to_path(), self.leniency)
    }

    /// Previous hop first.
    pub fn from_path(&self) -> impl Iterator<Item = Uri<'_>> {
        uris(self.raw_from_path(), self.leniency)
    }

    /// Value of To-Path.
    pub fn raw_to_path(&self) -> &str {
        self.known(Name::ToPath).unwrap_or_default()
    }

    /// Value of From-Path.
    pub fn raw_from_path(&self) -> &str {
        self.known(Name::FromPath).unwrap_or_default()
    }

    /// Present in every SEND (but see [`Leniency::keep_alive_without_message_id`]) and REPORT.
    pub fn message_id(&self) -> Option<&str> {
        self.known(Name::MessageId)
    }

    /// Whether the sender wants to know that the bytes arrived at the far end.
    pub fn success_report(&self) -> bool {
        self.success
    }

    pub fn failure_report(&self) -> FailureReport {
        self.failure
    }

    pub fn byte_range(&self) -> Option<ByteRange> {
        self.range
    }

    /// `Status` of a REPORT: always present in one.
    pub fn status_header(&self) -> Option<Status> {
        self.status
    }

    pub fn content_type(&self) -> Option<&str> {
        self.known(Name::ContentType)
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// All header lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.entries.iter().map(|entry| {
            let name = Span { from: entry.start, to: entry.start + u32::from(entry.name_len) };
            let raw = Span { from: entry.start, to: entry.end };
            Line { name: name.text(&self.bytes), value: entry.value.text(&self.bytes), raw: raw.of(&self.bytes) }
        })
    }

    /// A body follows, if an empty one. A SEND without is no message: it opens a session or keeps it alive.
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    pub(crate) fn without_body(mut self) -> Head {
        self.has_body = false;
        self
    }

    /// Start line and headers as they came, with the last CRLF but without the empty line.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether a response with this code is due (RFC 4975 §7.2, §7.1.2): never to a REPORT or a response; to a SEND
    /// by its Failure-Report.
    pub fn wants_response(&self, code: u16) -> bool {
        match self.start {
            Start::Response { .. } | Start::Request(Method::Report) => false,
            Start::Request(Method::Send) => match self.failure {
                FailureReport::Yes => true,
                FailureReport::Partial => code != 200,
                FailureReport::No => false,
            },
            Start::Request(_) => true,
        }
    }

    /// What a response to this request needs of it. For a response there is nothing sensible in it.
    pub fn reply(&self) -> Reply {
        let (to, from) = self.way_back();
        Reply { transaction_id: self.transaction_id().into(), to: to.into(), from: from.into() }
    }

    /// To-Path and From-Path of a response.
    pub(crate) fn way_back(&self) -> (&str, &str) {
        let to = match self.start {
            Start::Request(Method::Send) => first(self.raw_from_path()),
            _ => self.raw_from_path(),
        };
        (to, first(self.raw_to_path()))
    }

    /// All lines but the paths.
    pub(crate) fn others(&self) -> impl Iterator<Item = &[u8]> {
        let others = self.entries.iter().filter(|entry| !matches!(entry.name, Name::ToPath | Name::FromPath));
        others.map(|entry| self.line(entry))
    }

    pub(crate) fn named_lines(&self) -> impl Iterator<Item = (Name, &[u8])> {
        self.entries.iter().map(|entry| (entry.name, self.line(entry)))
    }

    fn line(&self, entry: &Entry) -> &[u8] {
        Span { from: entry.start, to: entry.end }.of(&self.bytes)
    }

    fn known(&self, name: Name) -> Option<&str> {
        let at = self.at[name as usize].checked_sub(1)?;
        self.entries.get(usize::from(at)).map(|entry| entry.value.text(&self.bytes))
    }
}

impl fmt::Debug for Head {
    // Paths hold session ids, which are secrets, and other headers may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: SmallVec<[&str; 8]> = self.lines().map(|line| line.name).collect();
        f.debug_struct("Head")
            .field("start", &self.start)
            .field("transaction_id", &self.transaction_id())
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// The first URI of a path.
pub(crate) fn first(path: &str) -> &str {
    path.split(' ').next().unwrap_or_default()
}

fn uris(path: &str, leniency: Leniency) -> impl Iterator<Item = Uri<'_>> {
    let parts = path.split(' ').filter(|part| !part.is_empty());
    parts.filter_map(move |part| Uri::parse_with(part.as_bytes(), &leniency).ok())
}

/// What a line is to the head.
pub(crate) enum Kind {
    /// The head goes on.
    Inside,
    /// An empty line: a body follows.
    Blank,
    /// The end-line: there was no body.
    End(Flag),
}

/// A head of which the last line has not come.
#[derive(Default)]
pub(crate) struct Draft {
    start: Option<Start>,
    id: Span,
    word: Span,
    entries: Entries,
    at: [u8; KNOWN.len()],
    range: Option<ByteRange>,
    status: Option<Status>,
    success: bool,
    failure: FailureReport,
    /// What was wrong first; the rest is still read, for the answer depends on it.
    wrong: Option<Cause>,
}

impl Draft {
    /// The start line has been read.
    pub(crate) fn begun(&self) -> bool {
        self.start.is_some()
    }

    pub(crate) fn fail(&mut self, cause: Cause) {
        self.wrong.get_or_insert(cause);
    }

    /// Reads the first line; an error means that not even the transaction id is known. The id is given back.
    pub(crate) fn start_line<'a>(&mut self, line: &'a [u8], leniency: &Leniency) -> Result<&'a [u8], Cause> {
        let rest = line.strip_prefix(b"MSRP ").ok_or(Cause::NotMsrp)?;
        let rest = without_crlf(rest).ok_or(Cause::StartLine("CRLF"))?;
        let space = memchr::memchr(b' ', rest).ok_or(Cause::StartLine("a method or status code"))?;
        let (id, rest) = (&rest[..space], &rest[space + 1..]);
        if !(is_ident(id) || leniency.any_transaction_id && is_loose_ident(id)) {
            return Err(Cause::StartLine("a transaction id"));
        }
        self.id = Span { from: 5, to: 5 + id.len() as u32 };
        let after = self.id.to + 1;
        let (word, comment) = match memchr::memchr(b' ', rest) {
            Some(space) => (&rest[..space], Some(&rest[space + 1..])),
            None => (rest, None),
        };
        let method = match word {
            b"SEND" => Some(Method::Send),
            b"REPORT" => Some(Method::Report),
            b"AUTH" => Some(Method::Auth),
            b"NICKNAME" => Some(Method::Nickname),
            word if !word.is_empty() && word.iter().all(u8::is_ascii_uppercase) => Some(Method::Other),
            _ => None,
        };
        if let Some(method) = method {
            self.start = Some(Start::Request(method));
            self.word = Span { from: after, to: after + word.len() as u32 };
            if comment.is_some_and(|comment| !comment.is_empty()) {
                self.fail(Cause::StartLine("CRLF after the method"));
            }
            return Ok(id);
        }
        match digits::three(word) {
            Some(code) => {
                self.start = Some(Start::Response { code });
                let from = after + 4;
                let comment = comment.filter(|text| is_text(text)).unwrap_or_default();
                self.word = Span { from, to: from + comment.len() as u32 };
            }
            None => {
                self.start = Some(Start::Request(Method::Other));
                self.fail(Cause::StartLine("a method or status code"));
            }
        }
        Ok(id)
    }

    /// Reads a further line, which begins at `at` and has its LF at the end. `end` is the end-line without its flag.
    pub(crate) fn line(&mut self, line: &[u8], at: usize, end: &[u8], limits: &Limits, leniency: &Leniency) -> Kind {
        let Some(text) = without_crlf(line) else {
            self.fail(Cause::HeaderLine);
            return Kind::Inside;
        };
        if text.is_empty() {
            return Kind::Blank;
        }
        if text[0] == b'-' {
            if let Some([flag]) = text.strip_prefix(end)
                && let Some(flag) = Flag::of(*flag)
            {
                return Kind::End(flag);
            }
            self.fail(Cause::HeaderLine);
            return Kind::Inside;
        }
        if self.entries.len() >= limits.headers.min(254) {
            self.fail(Cause::TooLarge { what: "number of headers", max: limits.headers });
            return Kind::Inside;
        }
        if let Err(cause) = self.header(text, at, leniency) {
            self.fail(cause);
        }
        Kind::Inside
    }

    fn header(&mut self, text: &[u8], at: usize, leniency: &Leniency) -> Result<(), Cause> {
        let colon = memchr::memchr(b':', text).ok_or(Cause::HeaderLine)?;
        let (name_text, rest) = (&text[..colon], &text[colon + 1..]);
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let name = Name::of(name_text);
        let named = name != Name::Other || is_name(name_text);
        if !named || blanks == 0 && !leniency.no_space_after_colon {
            return Err(Cause::HeaderLine);
        }
        let value = trim_end(&rest[blanks..]);
        // The values of the others have grammars that let no control characters in.
        if matches!(name, Name::Other | Name::ContentType | Name::Status) && !is_text(value) {
            return Err(Cause::HeaderLine);
        }
        let index = self.entries.len();
        let known = name != Name::Other;
        if known && self.at[name as usize] != 0 {
            return Err(Cause::Repeated(name.text()));
        }
        if !leniency.paths_anywhere && index < 2 && name as usize != index {
            // The path is still read if it comes later: it is wanted for the answer.
            self.fail(Cause::Order(if index == 0 { "To-Path" } else { "From-Path" }));
        }
        if self.at[Name::ContentType as usize] != 0 && !leniency.content_type_anywhere {
            self.fail(Cause::Order("Content-Type"));
        }
        self.meaning(name, value, leniency)?;
        let from = (at + colon + 1 + blanks) as u32;
        self.entries.push(Entry {
            start: at as u32,
            end: (at + text.len() + 2) as u32,
            value: Span { from, to: from + value.len() as u32 },
            name_len: name_text.len() as u16,
            name,
        });
        if known {
            self.at[name as usize] = index as u8 + 1;
        }
        Ok(())
    }

    fn meaning(&mut self, name: Name, value: &[u8], leniency: &Leniency) -> Result<(), Cause> {
        let malformed = Cause::Malformed(name.text());
        match name {
            Name::ToPath | Name::FromPath => {
                let (mut rest, mut any) = (value, false);
                while !rest.is_empty() {
                    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
                    if end > 0 && Uri::parse_with(&rest[..end], leniency).is_err() {
                        return Err(malformed);
                    }
                    any |= end > 0;
                    rest = rest.get(end + 1..).unwrap_or_default();
                }
                if !any {
                    return Err(malformed);
                }
            }
            Name::MessageId => {
                let loose = leniency.any_message_id && (1..=255).contains(&value.len());
                if !(is_ident(value) || loose && value.iter().all(u8::is_ascii_graphic)) {
                    return Err(malformed);
                }
            }
            Name::SuccessReport => {
                self.success = value.eq_ignore_ascii_case(b"yes");
                if !self.success && !value.eq_ignore_ascii_case(b"no") {
                    return Err(malformed);
                }
            }
            Name::FailureReport => {
                let all = [FailureReport::Yes, FailureReport::No, FailureReport::Partial];
                let same = |report: &FailureReport| report.as_str().as_bytes().eq_ignore_ascii_case(value);
                self.failure = all.into_iter().find(same).ok_or(malformed)?;
            }
            Name::ByteRange => self.range = Some(ByteRange::parse_with(value, leniency).ok_or(malformed)?),
            Name::Status => self.status = Some(status(value, leniency).ok_or(malformed)?),
            Name::ContentType => {
                // Type and subtype are checked where types matter.
                if value.is_empty() {
                    return Err(malformed);
                }
            }
            Name::Other => {}
        }
        Ok(())
    }

    /// The head, whose lines are `bytes`; or what is wrong with it, and the way back if there is one.
    pub(crate) fn finish(
        self,
        bytes: &[u8],
        has_body: bool,
        leniency: Leniency,
    ) -> Result<Head, (Cause, Option<Box<Reply>>)> {
        let wrong = self.wrong.or_else(|| self.missing(has_body, &leniency));
        let head = Head {
            bytes: Bytes::copy_from_slice(bytes),
            start: self.start.unwrap_or(Start::Request(Method::Other)),
            id: self.id,
            word: self.word,
            entries: self.entries,
            at: self.at,
            range: self.range,
            status: self.status,
            success: self.success,
            failure: self.failure,
            has_body,
            leniency,
        };
        let Some(cause) = wrong else { return Ok(head) };
        let reachable = head.known(Name::ToPath).is_some() && head.known(Name::FromPath).is_some();
        Err((cause, (reachable && head.wants_response(400)).then(|| Box::new(head.reply()))))
    }

    fn missing(&self, has_body: bool, leniency: &Leniency) -> Option<Cause> {
        let absent = |name: Name| self.at[name as usize] == 0;
        for path in [Name::ToPath, Name::FromPath] {
            if absent(path) {
                return Some(Cause::Missing(path.text()));
            }
        }
        match self.start {
            Some(Start::Request(Method::Send)) => {
                let excused = !has_body && leniency.keep_alive_without_message_id;
                if absent(Name::MessageId) && !excused {
                    return Some(Cause::Missing("Message-ID"));
                }
            }
            Some(Start::Request(Method::Report)) => {
                for name in [Name::MessageId, Name::Status] {
                    if absent(name) {
                        return Some(Cause::Missing(name.text()));
                    }
                }
            }
            _ => {}
        }
        if has_body && absent(Name::ContentType) && !leniency.blank_line_without_content_type {
            return Some(Cause::Missing("Content-Type"));
        }
        if !has_body && !absent(Name::ContentType) && !leniency.content_type_without_body {
            return Some(Cause::Missing("an empty line before the body"));
        }
        None
    }

    /// An empty line came, but no Content-Type before it.
    pub(crate) fn untyped(&self) -> bool {
        self.at[Name::ContentType as usize] == 0
    }
}

fn status(value: &[u8], leniency: &Leniency) -> Option<Status> {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let first = digits::three(words.next()?)?;
    match words.next().and_then(digits::three) {
        Some(code) => Some(Status { namespace: first, code }),
        None if leniency.status_without_namespace => Some(Status { namespace: 0, code: first }),
        None => None,
    }
}

/// UTF-8 without control characters but TAB: a lone CR or NUL would mean something else to the next hop.
fn is_text(text: &[u8]) -> bool {
    // Without an early end this is done many bytes at a time.
    let control = |byte: &u8| (*byte < b' ') & (*byte != b'\t') | (*byte == 0x7f);
    !text.iter().fold(false, |any, byte| any | control(byte)) && std::str::from_utf8(text).is_ok()
}

fn without_crlf(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\r\n")
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_name(text: &[u8]) -> bool {
    let token = || text.iter().all(|byte| CLASSES[*byte as usize] & TOKEN != 0);
    text.len() <= 255 && text.first().is_some_and(u8::is_ascii_alphabetic) && token()
}

const TOKEN: u8 = 1;
const IDENT: u8 = 2;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'+' | b'%' => TOKEN | IDENT,
            b'=' => IDENT,
            b'"' | b'(' | b')' | b',' | b'/' | b':' | b';' | b'<' | b'>' | b'?' | b'@' | b'[' | b'\\' | b']' => 0,
            _ => TOKEN,
        };
        byte += 1;
    }
    table
};

/// `ident` of RFC 4975 §9: transaction ids and Message-IDs.
pub(crate) fn is_ident(text: &[u8]) -> bool {
    (4..=32).contains(&text.len())
        && text[0].is_ascii_alphanumeric()
        && text.iter().all(|byte| CLASSES[*byte as usize] & IDENT != 0)
}

fn is_loose_ident(text: &[u8]) -> bool {
    // A dash in front could not be told from those of the end-line.
    (1..=64).contains(&text.len())
        && text[0] != b'-'
        && text.iter().all(|byte| CLASSES[*byte as usize] & IDENT != 0 || *byte == b'_')
}
