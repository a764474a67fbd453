//! The MSRP side of a device: it connects, and sends each message in one chunk.

use std::collections::HashMap;
use std::time::Instant;

use super::{Fate, Handset, Side};
use crate::Server;
use crate::msrp::{Event, Frame, Frames, Link};

const READ: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Media {
    pub(super) link: Link,
    frames: Frames,
    current: Frame,
    /// To-Path.
    path: String,
    /// The peer has answered the SEND that binds the session.
    pub(super) open: bool,
    hello: String,
    /// Transactions that are unanswered, and their places in the outbox.
    pub(super) flying: Vec<(String, usize)>,
    /// Messages that are not whole, by their ids.
    partial: HashMap<String, Vec<u8>>,
}

impl Handset {
    /// Connects the session of a call.
    pub(super) fn connect(&mut self, server: &Server, at: usize, path: &str) {
        let hello = self.id();
        // The server may have died since.
        let Some(link) = Link::to(server.msrp("tcp")) else { return self.media_lost(at) };
        self.calls[at].media = Some(Media {
            link,
            frames: Frames::default(),
            current: Frame::default(),
            path: path.to_owned(),
            open: false,
            hello: hello.clone(),
            flying: Vec::new(),
            partial: HashMap::new(),
        });
        let own = &self.calls[at].own;
        let frame = format!(
            "MSRP {hello} SEND\r\nTo-Path: {path}\r\nFrom-Path: {own}\r\nMessage-ID: {hello}\r\n-------{hello}$\r\n"
        );
        self.put_media(at, &frame);
    }

    /// Sends what waits at `out` of the outbox in the session of a call.
    pub(super) fn say(&mut self, at: usize, out: usize) {
        let (body, tid) = (self.envelope(out, true), self.id());
        let own = self.calls[at].own.clone();
        let Some(media) = &mut self.calls[at].media else { return };
        media.flying.push((tid.clone(), out));
        self.outbox[out].fate = Fate::Flies;
        let frame = format!(
            "MSRP {tid} SEND\r\nTo-Path: {}\r\nFrom-Path: {own}\r\nMessage-ID: {tid}\r\nByte-Range: 1-*/{}\r\n\
             Content-Type: message/cpim\r\n\r\n{body}\r\n-------{tid}$\r\n",
            media.path,
            body.len()
        );
        self.put_media(at, &frame);
    }

    fn put_media(&mut self, at: usize, frame: &str) {
        let limit = self.goes(Side::MsrpOut, frame.as_bytes());
        let Some(media) = self.calls.get_mut(at).and_then(|call| call.media.as_mut()) else { return };
        media.link.put(&frame.as_bytes()[..limit.unwrap_or(frame.len())]);
        media.link.step(&mut media.frames.input, 0, Instant::now());
        if limit.is_some() {
            self.spring(Side::MsrpOut, Some(at));
        }
    }

    pub(super) fn read_media(&mut self) {
        // Calls may go while they are read; what was not read is read in the next turn.
        for at in (0..self.calls.len()).rev() {
            self.read_media_of(at);
            let ended = |call: &super::Call| call.media.as_ref().is_some_and(|media| media.link.ended);
            if self.calls.get(at).is_some_and(ended) {
                self.media_lost(at);
            }
        }
    }

    /// Reads the session of a call, if it has one.
    pub(super) fn read_media_of(&mut self, at: usize) {
        let Some(media) = self.calls.get_mut(at).and_then(|call| call.media.as_mut()) else { return };
        let own = media.hello.clone();
        media.link.step(&mut media.frames.input, READ, Instant::now());
        // The call at this place may be gone, or be another.
        while let Some(media) = self.calls.get_mut(at).and_then(|call| call.media.as_mut()).filter(|m| m.hello == own) {
            match media.frames.event() {
                None => return,
                Some(Event::Head(frame)) => media.current = frame,
                Some(Event::Body(data)) => media.current.body.extend(data),
                Some(Event::End(flag)) => {
                    let mut frame = std::mem::take(&mut media.current);
                    frame.flag = flag;
                    if self.comes(Side::MsrpIn) {
                        return self.spring(Side::MsrpIn, Some(at));
                    }
                    self.take_frame(at, frame);
                }
            }
        }
    }

    fn take_frame(&mut self, at: usize, frame: Frame) {
        let Some(media) = self.calls[at].media.as_mut() else { return };
        match frame.method.as_str() {
            "" if frame.id == media.hello => {
                if frame.status != 200 {
                    // The call ended while we connected.
                    return self.media_lost(at);
                }
                media.open = true;
            }
            "" => {
                let Some(found) = media.flying.iter().position(|(tid, _)| *tid == frame.id) else { return };
                let (_, out) = media.flying.remove(found);
                match frame.status {
                    200 => self.outbox[out].fate = Fate::Taken,
                    408 | 481 | 506 => {
                        self.outbox[out].fate = Fate::Waits;
                        self.media_lost(at);
                    }
                    status => self.fault(format!("SEND of {} got {status}", self.outbox[out].id)),
                }
            }
            "SEND" => self.take_send(at, &frame),
            _ => {}
        }
    }

    fn take_send(&mut self, at: usize, frame: &Frame) {
        let Some(media) = self.calls[at].media.as_mut() else { return };
        let content_type = frame.header("Content-Type").to_owned();
        if !content_type.is_empty() {
            let id = frame.header("Message-ID");
            let body = media.partial.entry(id.to_owned()).or_default();
            body.extend_from_slice(&frame.body);
            if frame.flag != b'+' {
                let body = media.partial.remove(id).unwrap_or_default();
                if frame.flag == b'$' {
                    // Kept before it is confirmed.
                    self.content(&content_type, &String::from_utf8_lossy(&body));
                }
            }
        }
        if frame.header("Failure-Report").is_empty() || frame.header("Failure-Report") == "yes" {
            let (id, to, own) = (&frame.id, frame.header("From-Path"), &self.calls[at].own);
            let answer = format!("MSRP {id} 200 OK\r\nTo-Path: {to}\r\nFrom-Path: {own}\r\n-------{id}$\r\n");
            self.put_media(at, &answer);
        }
    }
}
