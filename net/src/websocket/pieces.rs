//! WebSocket frames of a client, unmasked where they lie and handed over without collecting (RFC 6455 §5).
//!
//! Text is taken as bytes, like binary: a message is never seen as a whole here, and its user reads no text from it.

use std::ops::Range;

use smallvec::SmallVec;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame;

/// The longest header of a masked frame.
const HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL: u64 = 125;
/// Payloads up to this size are moved to those before them, so that a stream of small fragments is few pieces.
const SMALL: usize = 1024;

/// Consecutive bytes of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they are in what was read; empty for the end of a message alone.
    pub(crate) at: Range<usize>,
    /// The message ends here.
    pub(crate) last: bool,
}

pub(crate) type PieceList = SmallVec<[Piece; 4]>;

/// Where in a frame we are.
#[derive(Default)]
pub(crate) struct Pieces {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    have: u8,
    /// Of the current frame, once its header is complete.
    body: Option<Body>,
    /// A data frame without FIN was the last one.
    in_message: bool,
    /// The beginning of a control frame's payload.
    control: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Body {
    opcode: OpCode,
    fin: bool,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    left: u64,
}

/// What a control frame wants done.
pub(crate) enum Order {
    Pong,
    /// The peer's close, with our answer to it in the output.
    Closed,
}

impl Pieces {
    /// Takes `input`, notes where in it payload lies, and adds what is due to the peer to `output`. An error is the
    /// status for our close frame (RFC 6455 §7.4.1); the pieces before it hold.
    pub(crate) fn feed(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        pieces: &mut PieceList,
        mut order: impl FnMut(Order),
    ) -> Result<(), u16> {
        let mut at = 0;
        loop {
            let mut body = match self.body {
                Some(body) => body,
                None => match self.header(&input[at..])? {
                    (used, Some(body)) => {
                        at += used;
                        body
                    }
                    (_, None) => return Ok(()),
                },
            };
            let length = (input.len() - at).min(usize::try_from(body.left).unwrap_or(usize::MAX));
            let payload = at..at + length;
            unmask(&mut input[payload.clone()], body.mask);
            body.mask.rotate_left(length % 4);
            body.left -= length as u64;
            at += length;
            let done = body.left == 0;
            match body.opcode {
                OpCode::Control(control) => {
                    self.control.extend_from_slice(&input[payload]);
                    if done && self.control(control, output, &mut order)? {
                        return Ok(());
                    }
                }
                OpCode::Data(_) => {
                    let last = done && body.fin;
                    if last || length > 0 {
                        note(pieces, input, payload, last);
                    }
                }
            }
            self.body = (!done).then_some(body);
            if !done {
                return Ok(());
            }
        }
    }

    /// Completes the header. Returns how much of `input` is its, and the frame if that was all.
    fn header(&mut self, input: &[u8]) -> Result<(usize, Option<Body>), u16> {
        let mut used = 0;
        loop {
            let have = usize::from(self.have);
            let need = header_length(&self.header[..have]);
            if have == need {
                break;
            }
            let more = (need - have).min(input.len() - used);
            if more == 0 {
                return Ok((used, None));
            }
            self.header[have..have + more].copy_from_slice(&input[used..used + more]);
            self.have += more as u8;
            used += more;
            if self.have >= 2 {
                self.check()?;
            }
        }
        let [first, second, ..] = self.header;
        let end = usize::from(std::mem::take(&mut self.have)) - 4;
        let long = self.header[2..end].iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        let left = if end == 2 { u64::from(second & 0x7f) } else { long };
        if left > i64::MAX as u64 {
            return Err(PROTOCOL);
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.header[end..end + 4]);
        let (opcode, fin) = (OpCode::from(first & 0x0f), first & 0x80 != 0);
        if matches!(opcode, OpCode::Data(_)) {
            self.in_message = !fin;
        }
        Ok((used, Some(Body { opcode, fin, mask, left })))
    }

    /// Looks at the first two bytes.
    fn check(&self) -> Result<(), u16> {
        let [first, second, ..] = self.header;
        let (fin, reserved, masked) = (first & 0x80 != 0, first & 0x70, second & 0x80 != 0);
        let allowed = match OpCode::from(first & 0x0f) {
            OpCode::Data(Data::Continue) => self.in_message,
            OpCode::Data(Data::Text | Data::Binary) => !self.in_message,
            OpCode::Control(Control::Close | Control::Ping | Control::Pong) => {
                fin && u64::from(second & 0x7f) <= CONTROL
            }
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => false,
        };
        if allowed && reserved == 0 && masked { Ok(()) } else { Err(PROTOCOL) }
    }

    /// Does what a complete control frame asks for. Returns whether it was a close.
    fn control(&mut self, control: Control, output: &mut Vec<u8>, order: &mut impl FnMut(Order)) -> Result<bool, u16> {
        let payload = std::mem::take(&mut self.control);
        match control {
            Control::Ping => output.extend_from_slice(&frame(OpCode::Control(Control::Pong), &payload)),
            Control::Pong => order(Order::Pong),
            Control::Close => {
                let status = match payload[..] {
                    [] => &[][..],
                    [high, low, ref reason @ ..] => {
                        let status = u16::from_be_bytes([high, low]);
                        // RFC 6455 §7.4.2; 1004 to 1006 and 1015 are never sent.
                        if !matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                            return Err(PROTOCOL);
                        }
                        std::str::from_utf8(reason).map_err(|_| 1007u16)?;
                        &payload[..2]
                    }
                    [_] => return Err(PROTOCOL),
                };
                output.extend_from_slice(&frame(OpCode::Control(Control::Close), status));
                order(Order::Closed);
                return Ok(true);
            }
            Control::Reserved(_) => return Err(PROTOCOL),
        }
        Ok(false)
    }
}

const PROTOCOL: u16 = 1002;

/// Length of the header that begins with `begun`, as far as that is known yet.
fn header_length(begun: &[u8]) -> usize {
    match begun.get(1).map(|second| second & 0x7f) {
        None => 2,
        Some(126) => 8,
        Some(127) => HEADER,
        Some(_) => 6,
    }
}

fn note(pieces: &mut PieceList, input: &mut [u8], payload: Range<usize>, last: bool) {
    if let Some(before) = pieces.last_mut()
        && !before.last
        && payload.len() <= SMALL
    {
        let end = before.at.end;
        before.at.end += payload.len();
        before.last = last;
        input.copy_within(payload, end);
    } else {
        pieces.push(Piece { at: payload, last });
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | length as u8),
            length @ 126..65536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// What comes of `input` in slices of `size`: payload with `|` where messages end, what is sent, and the end.
    fn fed(input: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Result<bool, u16>) {
        let (mut data, mut output, mut closed) = (Vec::new(), Vec::new(), false);
        let mut pieces = Pieces::default();
        for slice in input.chunks(size) {
            let (mut slice, mut list) = (slice.to_vec(), PieceList::new());
            let fed = pieces.feed(&mut slice, &mut output, &mut list, |order| closed |= matches!(order, Order::Closed));
            for piece in list {
                data.extend_from_slice(&slice[piece.at]);
                data.extend_from_slice(if piece.last { b"|" } else { b"" });
            }
            if let Err(status) = fed {
                return (data, output, Err(status));
            }
            if closed {
                break;
            }
        }
        (data, output, Ok(closed))
    }

    #[test]
    fn frames() {
        let text = |payload: &str| client_frame(0x81, payload.as_bytes());
        let long = vec![b'z'; 70_000];
        let (pong, close) = (b"\x8a\x02hi".to_vec(), b"\x88\x02\x03\xe8".to_vec());
        let unmasked = vec![0x81, 1, b'x'];
        for (name, input, data, output, end) in [
            ("text", vec![text("one"), text("two")], b"one|two|".to_vec(), vec![], Ok(false)),
            ("text is bytes", vec![client_frame(0x81, b"\xff")], b"\xff|".to_vec(), vec![], Ok(false)),
            ("empty", vec![client_frame(0x82, b"")], b"|".to_vec(), vec![], Ok(false)),
            ("long", vec![client_frame(0x82, &long)], [&long[..], b"|"].concat(), vec![], Ok(false)),
            (
                "fragments, a ping between",
                vec![
                    client_frame(0x02, b"a"),
                    client_frame(0x89, b"hi"),
                    client_frame(0x00, b"b"),
                    client_frame(0x00, b""),
                    client_frame(0x80, &[b'c'; 3000]),
                ],
                [b"ab", &[b'c'; 3000][..], b"|"].concat(),
                pong.clone(),
                Ok(false),
            ),
            (
                "a fragment's empty end",
                vec![client_frame(0x01, b"a"), client_frame(0x80, b"")],
                b"a|".to_vec(),
                vec![],
                Ok(false),
            ),
            (
                "close",
                vec![text("x"), client_frame(0x88, b"\x03\xe8bye"), text("late")],
                b"x|".to_vec(),
                close,
                Ok(true),
            ),
            ("close without status", vec![client_frame(0x88, b"")], vec![], b"\x88\0".to_vec(), Ok(true)),
            ("close with half a status", vec![client_frame(0x88, b"\x03")], vec![], vec![], Err(1002)),
            ("close with a status that is none", vec![client_frame(0x88, b"\x03\xed")], vec![], vec![], Err(1002)),
            (
                "close with a reason that is no text",
                vec![client_frame(0x88, b"\x03\xe8\xff")],
                vec![],
                vec![],
                Err(1007),
            ),
            ("not masked", vec![text("x"), unmasked], b"x|".to_vec(), vec![], Err(1002)),
            ("reserved bit", vec![client_frame(0xc1, b"x")], vec![], vec![], Err(1002)),
            ("reserved opcode", vec![client_frame(0x83, b"x")], vec![], vec![], Err(1002)),
            ("reserved control opcode", vec![client_frame(0x8b, b"x")], vec![], vec![], Err(1002)),
            ("continues nothing", vec![client_frame(0x80, b"x")], vec![], vec![], Err(1002)),
            ("a message within one", vec![client_frame(0x01, b"a"), text("b")], b"a".to_vec(), vec![], Err(1002)),
            ("long ping", vec![client_frame(0x89, &[0; 126])], vec![], vec![], Err(1002)),
            ("ping in fragments", vec![client_frame(0x09, b"x")], vec![], vec![], Err(1002)),
            (
                "length with the highest bit",
                vec![vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]],
                vec![],
                vec![],
                Err(1002),
            ),
        ] {
            for size in [1, 2, 3, 7, 1000, 65536] {
                assert!(
                    fed(&input.concat(), size) == (data.clone(), output.clone(), end),
                    "{name}, in slices of {size}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn slices_do_not_matter(
            frames in vec((prop_oneof![Just(0x02), Just(0x00), Just(0x80), Just(0x89), any::<u8>()], vec(any::<u8>(), 0..300)), 0..8),
            junk in vec(any::<u8>(), 0..40),
            size in 1usize..400,
        ) {
            let mut input: Vec<u8> = frames.iter().flat_map(|(first, payload)| client_frame(*first, payload)).collect();
            input.extend(junk);
            prop_assert_eq!(fed(&input, size), fed(&input, usize::MAX));
        }
    }

    #[test]
    fn small_fragments_are_one_piece() {
        let mut input = client_frame(0x02, b"a");
        for byte in b"bcdefg" {
            input.extend(client_frame(0, &[*byte]));
        }
        input.extend(client_frame(0, &[b'x'; SMALL + 1]));
        let mut list = PieceList::new();
        Pieces::default().feed(&mut input, &mut Vec::new(), &mut list, |_| {}).unwrap();
        let lengths: Vec<_> = list.iter().map(|piece| (piece.at.len(), piece.last)).collect();
        assert_eq!(lengths, [(7, false), (SMALL + 1, false)]);
        assert_eq!(&input[list[0].at.clone()], b"abcdefg");
    }

    #[test]
    fn a_frame_of_any_length_needs_no_memory() {
        let mut pieces = Pieces::default();
        let header = [&[0x82, 0x80 | 127][..], &(1u64 << 40).to_be_bytes(), &MASK].concat();
        let mut list = PieceList::new();
        pieces.feed(&mut header.clone(), &mut Vec::new(), &mut list, |_| {}).unwrap();
        assert!(list.is_empty());
        let mut slice = vec![0; 65536];
        for _ in 0..160 {
            pieces.feed(&mut slice, &mut Vec::new(), &mut list, |_| {}).unwrap();
            assert_eq!(list.pop(), Some(Piece { at: 0..65536, last: false }));
        }
        assert_eq!((pieces.control.capacity(), list.spilled()), (0, false));
    }
}
