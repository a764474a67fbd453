//! Frames out of a stream (RFC 4975 §7.3, §9), however it is cut. Bodies are passed on in slices; only what may be
//! the beginning of an end-line is held back.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::error::{Cause, ParseError, Reply};
use crate::head::{Draft, Flag, Head, Kind, Method};
use crate::limits::{Leniency, Limits};

static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n-------"));

/// CRLF and dashes.
const FIXED: usize = 9;
/// With the longest id that leniency lets in, the flag and CRLF.
const LONGEST: usize = FIXED + 64 + 3;
/// An unfinished head's buffer is given back above this size.
const KEEP: usize = 1024;

/// What comes next in the stream.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would cost an allocation for each frame")]
pub enum Event<'a> {
    /// A frame begins.
    Head(Head),
    /// Some of its body, at least a byte.
    Body(&'a [u8]),
    /// The frame ends. Every head is followed by an end, unless an error comes between or the stream stops.
    End(Flag),
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between frames or within a head.
    Head,
    /// After an empty line where there should be none: is there a body?
    Peek(u64),
    /// Within a body that may have so many more bytes.
    Body(u64),
    /// A body's end-line has been taken, and is to be reported.
    Ending(Flag),
    /// Passing over the rest of a refused frame.
    Skip,
    /// Passing over the rest of a head that is too long.
    SkipHead(LongHead),
    /// The body is too long, and this is to be reported.
    Overflow,
    /// Not in step with the stream any more.
    Dead(Cause),
}

/// How much longer such a head may be, and how much of two CRLFs, which end it, was the last to come.
#[derive(Debug, Clone, Copy)]
struct LongHead {
    left: usize,
    crlf: usize,
}

/// What to tell the caller; without a borrow, so that the parser can go on if there is nothing.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment on the stack")]
enum Step {
    Again,
    Wait,
    Head(Head),
    /// Bytes that had been held back.
    Held(usize, usize),
    /// The first bytes of the input.
    Body(usize),
    End(Flag),
}

/// Reads the frames of one connection.
pub struct Parser {
    limits: Limits,
    leniency: Leniency,
    state: State,
    draft: Draft,
    /// A head that came in parts: everything so far, and where its unfinished line begins.
    kept: Vec<u8>,
    line: usize,
    end: EndLine,
    /// Head of the frame in [`State::Peek`].
    waiting: Option<Box<Head>>,
    /// The way back for a body that may turn out too long.
    reply: Option<Box<Reply>>,
}

impl Parser {
    /// A parser that holds peers to the grammar.
    pub fn new(limits: Limits) -> Parser {
        Parser::with_leniency(limits, Leniency::default())
    }

    /// A parser that allows deviations.
    pub fn with_leniency(limits: Limits, leniency: Leniency) -> Parser {
        Parser {
            limits: Limits { head: limits.head.min(u32::MAX as usize / 2), ..limits },
            leniency,
            state: State::Head,
            draft: Draft::default(),
            kept: Vec::new(),
            line: 0,
            end: EndLine::default(),
            waiting: None,
            reply: None,
        }
    }

    /// The next event; `input` is advanced past what was used. Call until `None`, even when `input` is empty: then all
    /// of it has been used and more is wanted. After an error that is not fatal go on likewise.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Event<'s>>, ParseError> {
        loop {
            let step = match self.state {
                State::Head => self.head(input)?,
                State::Peek(left) => self.peek(input, left),
                State::Body(left) => self.body(input, left)?,
                State::Ending(flag) => {
                    self.state = State::Head;
                    Step::End(flag)
                }
                State::Skip => self.skip(input),
                State::SkipHead(head) => self.skip_head(input, head)?,
                State::Overflow => return Err(self.overflow()),
                State::Dead(cause) => return Err(ParseError::fatal(cause)),
            };
            match step {
                Step::Again => {}
                Step::Wait => return Ok(None),
                Step::Head(head) => return Ok(Some(Event::Head(head))),
                Step::Held(from, to) => return Ok(Some(Event::Body(&self.end.text[from..to]))),
                Step::Body(len) => {
                    let data = *input;
                    *input = &data[len + self.end.taken..];
                    return Ok(Some(Event::Body(&data[..len])));
                }
                Step::End(flag) => return Ok(Some(Event::End(flag))),
            }
        }
    }

    /// Between frames, with nothing held: where a connection may end, and a WebSocket message has to (RFC 7977 §5.3).
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && !self.draft.begun() && self.kept.is_empty()
    }

    fn head(&mut self, input: &mut &[u8]) -> Result<Step, ParseError> {
        if !self.kept.is_empty() {
            return self.kept_head(input);
        }
        let data = *input;
        let mut at = 0;
        while let Some(lf) = memchr::memchr(b'\n', &data[at..]) {
            let line = &data[at..at + lf + 1];
            if at == 0 && line == b"\r\n" && self.leniency.blank_lines_between_frames {
                *input = &data[2..];
                return Ok(Step::Again);
            }
            let (kind, crlf) = (self.line(line, at)?, line.ends_with(b"\r\n"));
            at += line.len();
            let Some(kind) = kind else {
                *input = &data[at..];
                return Err(self.too_long(&data[..at], at - line.len(), if crlf { 2 } else { 0 }));
            };
            if !matches!(kind, Kind::Inside) {
                *input = &data[at..];
                let head = &data[..at - line.len()];
                return self.finish(head, kind);
            }
        }
        if data.is_empty() {
            return Ok(Step::Wait);
        }
        *input = &[];
        self.kept.extend_from_slice(data);
        self.line = at;
        self.unfinished()
    }

    /// The head began in an earlier input.
    fn kept_head(&mut self, input: &mut &[u8]) -> Result<Step, ParseError> {
        while !input.is_empty() {
            let data = *input;
            let Some(lf) = memchr::memchr(b'\n', data) else {
                self.kept.extend_from_slice(data);
                *input = &[];
                return self.unfinished();
            };
            *input = &data[lf + 1..];
            self.kept.extend_from_slice(&data[..lf + 1]);
            let kept = std::mem::take(&mut self.kept);
            let line = &kept[self.line..];
            if self.line == 0 && line == b"\r\n" && self.leniency.blank_lines_between_frames {
                self.reuse(kept);
                return Ok(Step::Again);
            }
            let Some(kind) = self.line(line, self.line)? else {
                let crlf = if line.ends_with(b"\r\n") { 2 } else { 0 };
                let error = self.too_long(&kept, self.line, crlf);
                self.reuse(kept);
                return Err(error);
            };
            if !matches!(kind, Kind::Inside) {
                let step = self.finish(&kept[..self.line], kind);
                self.reuse(kept);
                return step;
            }
            self.line = kept.len();
            self.kept = kept;
        }
        Ok(Step::Wait)
    }

    /// Takes a whole line that begins at `at`; `None` if it goes beyond a limit.
    fn line(&mut self, line: &[u8], at: usize) -> Result<Option<Kind>, ParseError> {
        if !self.draft.begun() {
            if line.len() > self.limits.start_line && line.starts_with(b"MSRP ") {
                return Err(self.die(Cause::TooLarge { what: "start line", max: self.limits.start_line }));
            }
            return match self.draft.start_line(line, &self.leniency) {
                Ok(id) => {
                    self.end.begin(id);
                    Ok(Some(Kind::Inside))
                }
                Err(cause) => Err(self.die(cause)),
            };
        }
        if line.len() > self.room(at) {
            return Ok(None);
        }
        Ok(Some(self.draft.line(line, at, self.end.unflagged(), &self.limits, &self.leniency)))
    }

    /// How long a line that begins at `at` may be.
    fn room(&self, at: usize) -> usize {
        self.limits.header.min(self.limits.head.saturating_sub(at))
    }

    /// A line without end: may it still have one?
    fn unfinished(&mut self) -> Result<Step, ParseError> {
        let line = &self.kept[self.line..];
        if !self.draft.begun() {
            let blank = self.leniency.blank_lines_between_frames && line == b"\r";
            if !blank && !b"MSRP ".starts_with(&line[..line.len().min(5)]) {
                return Err(self.die(Cause::NotMsrp));
            }
            if line.len() >= self.limits.start_line {
                return Err(self.die(Cause::TooLarge { what: "start line", max: self.limits.start_line }));
            }
        } else if !line.is_empty() && line.len() >= self.room(self.line) {
            // The CRLF at the end of this line may be the one before the end-line.
            let crlf = usize::from(line.ends_with(b"\r"));
            let kept = std::mem::take(&mut self.kept);
            let error = self.too_long(&kept, self.line, crlf);
            self.reuse(kept);
            return Err(error);
        }
        Ok(Step::Wait)
    }

    /// The line that begins at `line` is beyond a limit; `bytes` is all that has come of the head, `crlf` of its bytes the
    /// beginning of what may stand before the end-line.
    fn too_long(&mut self, bytes: &[u8], line: usize, crlf: usize) -> ParseError {
        self.end.reset(crlf);
        self.line = 0;
        let most = 2 * self.limits.head;
        self.state = State::SkipHead(LongHead { left: most.saturating_sub(bytes.len()), crlf });
        let cause = Cause::TooLarge { what: "head or one of its lines", max: self.limits.header };
        let mut draft = std::mem::take(&mut self.draft);
        draft.fail(cause);
        // A Failure-Report that was to come is not known of, so the answer is by what has come.
        let reply = draft.finish(&bytes[..line], false, self.leniency).err().and_then(|(_, reply)| reply);
        ParseError { cause, fatal: false, reply }
    }

    /// The head is complete, its lines are `bytes`.
    fn finish(&mut self, bytes: &[u8], kind: Kind) -> Result<Step, ParseError> {
        self.line = 0;
        let draft = std::mem::take(&mut self.draft);
        let blank = matches!(kind, Kind::Blank);
        let peek = blank && draft.untyped() && self.leniency.blank_line_without_content_type;
        self.state = match kind {
            Kind::End(flag) => State::Ending(flag),
            _ => State::Skip,
        };
        // The empty line makes the next one the first of the body: an end-line there needs no CRLF of its own.
        self.end.reset(2);
        let head = match draft.finish(bytes, blank, self.leniency) {
            Ok(head) => head,
            Err((cause, reply)) => {
                if !blank {
                    self.state = State::Head;
                }
                return Err(ParseError { cause, fatal: false, reply });
            }
        };
        if blank {
            let send = head.method() == Some(Method::Send);
            let left = if send { u64::MAX } else { self.limits.other_body as u64 };
            self.reply = (!send && head.wants_response(400)).then(|| Box::new(head.reply()));
            if peek {
                self.waiting = Some(Box::new(head));
                self.state = State::Peek(left);
                return Ok(Step::Again);
            }
            self.state = State::Body(left);
        }
        Ok(Step::Head(head))
    }

    fn peek(&mut self, input: &mut &[u8], left: u64) -> Step {
        let Some(head) = self.waiting.take() else { return Step::Again };
        match self.end.go_on(input) {
            Match::Wait => {
                self.waiting = Some(head);
                return Step::Wait;
            }
            Match::Found(flag) => {
                self.state = State::Ending(flag);
                return Step::Head(head.without_body());
            }
            Match::Broken { from, to } => {
                self.state = State::Body(left);
                self.end.late = (from, to);
            }
        }
        Step::Head(*head)
    }

    fn body(&mut self, input: &mut &[u8], left: u64) -> Result<Step, ParseError> {
        let (mut from, mut to) = std::mem::take(&mut self.end.late);
        if from == to && self.end.matched > 0 {
            match self.end.go_on(input) {
                Match::Wait => return Ok(Step::Wait),
                Match::Found(flag) => {
                    self.state = State::Head;
                    return Ok(Step::End(flag));
                }
                Match::Broken { from: f, to: t } => (from, to) = (f, t),
            }
        }
        if from < to {
            let held = (to - from) as u64;
            if held > left {
                self.state = State::Overflow;
                return if left == 0 { Err(self.overflow()) } else { Ok(Step::Held(from, from + left as usize)) };
            }
            self.state = State::Body(left - held);
            return Ok(Step::Held(from, to));
        }
        if input.is_empty() {
            return Ok(Step::Wait);
        }
        let (len, found) = self.end.search(input);
        if len as u64 > left {
            // What was found comes again, after the bytes that are still allowed.
            self.end.reset(0);
            if left == 0 {
                return Err(self.overflow());
            }
            self.state = State::Body(0);
            return Ok(Step::Body(left as usize));
        }
        self.state = match found {
            Some(flag) => State::Ending(flag),
            None => State::Body(left - len as u64),
        };
        if len > 0 {
            return Ok(Step::Body(len));
        }
        *input = &input[self.end.taken..];
        Ok(Step::Again)
    }

    fn skip(&mut self, input: &mut &[u8]) -> Step {
        if self.end.matched > 0 {
            match self.end.go_on(input) {
                Match::Wait => return Step::Wait,
                Match::Found(_) => {
                    self.state = State::Head;
                    return Step::Again;
                }
                Match::Broken { .. } => {}
            }
        }
        if input.is_empty() {
            return Step::Wait;
        }
        let (len, found) = self.end.search(input);
        *input = &input[len + self.end.taken..];
        if found.is_some() {
            self.state = State::Head;
        }
        Step::Again
    }

    /// The end-line may come, or the empty line and a body; and if neither does within bounds, the peer is not to be
    /// listened to any more.
    fn skip_head(&mut self, input: &mut &[u8], head: LongHead) -> Result<Step, ParseError> {
        if head.left == 0 {
            return Err(self.die(Cause::TooLarge { what: "head", max: self.limits.head }));
        }
        if input.is_empty() {
            return Ok(Step::Wait);
        }
        let most = input.len().min(head.left);
        let mut crlf = head.crlf;
        let blank = input[..most].iter().position(|byte| {
            crlf = match byte {
                b'\r' if crlf == 2 => 3,
                b'\r' => 1,
                b'\n' if crlf % 2 == 1 => crlf + 1,
                _ => 0,
            };
            crlf == 4
        });
        let region = blank.map_or(most, |at| at + 1);
        let mut part = &input[..region];
        self.state = State::Skip;
        while matches!(self.state, State::Skip) && !part.is_empty() {
            self.skip(&mut part);
        }
        *input = &input[region - part.len()..];
        if matches!(self.state, State::Skip) {
            if blank.is_some() {
                // What follows is a body, of any length; an end-line there needs no CRLF of its own.
                self.end.reset(2);
            } else {
                self.state = State::SkipHead(LongHead { left: head.left - region, crlf });
            }
        }
        Ok(Step::Again)
    }

    fn overflow(&mut self) -> ParseError {
        self.state = State::Skip;
        let cause = Cause::TooLarge { what: "body", max: self.limits.other_body };
        ParseError { cause, fatal: false, reply: self.reply.take() }
    }

    fn die(&mut self, cause: Cause) -> ParseError {
        self.state = State::Dead(cause);
        self.kept = Vec::new();
        ParseError::fatal(cause)
    }

    fn reuse(&mut self, mut kept: Vec<u8>) {
        if kept.capacity() <= KEEP {
            kept.clear();
            self.kept = kept;
        }
    }
}

enum Match {
    /// All input fits so far.
    Wait,
    Found(Flag),
    /// This part of the text was no end-line after all.
    Broken {
        from: usize,
        to: usize,
    },
}

/// The end-line that is looked for, and how much of it has been seen.
struct EndLine {
    /// CRLF, dashes, id, and the flag and CRLF once they are seen.
    text: [u8; LONGEST],
    /// Without the flag and CRLF.
    len: usize,
    /// How many bytes of it ended the last input.
    matched: usize,
    /// How many of these are not part of the body: the CRLF before it.
    unreal: usize,
    /// Bytes after the body that [`EndLine::search`] used.
    taken: usize,
    /// Part of the text that is to come out before anything else.
    late: (usize, usize),
}

impl Default for EndLine {
    fn default() -> Self {
        let mut text = [0; LONGEST];
        text[..FIXED].copy_from_slice(b"\r\n-------");
        EndLine { text, len: FIXED, matched: 0, unreal: 0, taken: 0, late: (0, 0) }
    }
}

impl EndLine {
    fn begin(&mut self, id: &[u8]) {
        self.len = FIXED + id.len();
        self.text[FIXED..self.len].copy_from_slice(id);
        self.reset(0);
    }

    fn unflagged(&self) -> &[u8] {
        &self.text[2..self.len]
    }

    fn reset(&mut self, unreal: usize) {
        (self.matched, self.unreal, self.taken, self.late) = (unreal, unreal, 0, (0, 0));
    }

    /// Whether `byte` may stand at `at`; the flag is noted.
    fn fits(&mut self, at: usize, byte: u8) -> bool {
        let fits = match at.checked_sub(self.len) {
            None => self.text[at] == byte,
            Some(0) => Flag::of(byte).is_some(),
            Some(1) => byte == b'\r',
            Some(_) => byte == b'\n',
        };
        if fits && at >= self.len {
            self.text[at] = byte;
        }
        fits
    }

    /// Goes on with an end-line that began in an earlier input.
    fn go_on(&mut self, input: &mut &[u8]) -> Match {
        while let Some((byte, rest)) = input.split_first() {
            if !self.fits(self.matched, *byte) {
                let broken = Match::Broken { from: self.unreal, to: self.matched };
                self.reset(0);
                return broken;
            }
            *input = rest;
            self.matched += 1;
            if self.matched == self.len + 3 {
                self.reset(0);
                // It fitted, so it is one.
                return Match::Found(Flag::of(self.text[self.len]).unwrap_or(Flag::End));
            }
        }
        Match::Wait
    }

    /// Looks for the end-line: how many bytes of `data` are body for sure, and the flag if it is whole. What follows
    /// the body and was used is in [`EndLine::taken`], what was only the beginning of an end-line in `matched`.
    fn search(&mut self, data: &[u8]) -> (usize, Option<Flag>) {
        let mut from = 0;
        while let Some(at) = END.find(&data[from..]) {
            let at = from + at;
            let rest = &data[at + FIXED..];
            let id = &self.text[FIXED..self.len];
            if let Some(tail) = rest.strip_prefix(id) {
                match tail {
                    [flag, b'\r', b'\n', ..] => {
                        if let Some(flag) = Flag::of(*flag) {
                            (self.matched, self.taken) = (0, self.len + 3);
                            return (at, Some(flag));
                        }
                    }
                    _ if tail.len() < 3 && self.hold(&data[at..]) => return (at, None),
                    _ => {}
                }
            } else if id.starts_with(rest) && self.hold(&data[at..]) {
                return (at, None);
            }
            from = at + FIXED;
        }
        // The beginning of what was searched for may be at the end.
        let from = from.max(data.len().saturating_sub(FIXED - 1));
        let mut at = from;
        while let Some(cr) = memchr::memchr(b'\r', &data[at..]) {
            if self.hold(&data[at + cr..]) {
                return (at + cr, None);
            }
            at += cr + 1;
        }
        (self.matched, self.taken) = (0, 0);
        (data.len(), None)
    }

    /// Holds `tail` back if an end-line may begin with it.
    fn hold(&mut self, tail: &[u8]) -> bool {
        let fits = tail.iter().enumerate().all(|(at, byte)| self.fits(at, *byte));
        if fits {
            (self.matched, self.unreal, self.taken) = (tail.len(), 0, tail.len());
        }
        fits
    }
}
