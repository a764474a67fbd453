//! What becomes of each frame that comes in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chappe_msrp::relay::{self, Refused, Side};
use chappe_msrp::write::{self, Frame};
use chappe_msrp::{ChunkHead, Event, Flag, Head, Method, Outcome, Scan, Start, StreamKey, Uri};
use smallvec::SmallVec;

use super::connection::{Connection, Current, Inbound, Passing, Source, Touched, Waiting, touch};
use super::refusal::{COMMENT, Refusals};
use super::relay::Relay;
use super::session::Session;

/// Sessions of ours that one frame may pass on its way.
const PASSES: usize = 4;

const GONE: &str = "Next Hop Is Gone";

/// Parts of a body of this size are not copied; a read has 64 kB at most.
const SHARED: usize = 32 * 1024;

/// Copies from this size on are in blocks of few sizes: the allocator has pages of their own for each of them, and for
/// each thread.
const ROUNDED: usize = 4 * 1024;

/// Where a request goes.
pub(super) struct Route {
    pub to: Arc<Connection>,
    pub key: StreamKey,
    /// URIs of ours that it passes.
    pub shifts: usize,
    pub sessions: SmallVec<[(Arc<Session>, Side); 2]>,
}

/// A part of a body, and the read that it is of, unless the parser had held it back.
struct Slice<'a> {
    slice: &'a [u8],
    read: &'a Bytes,
}

impl Slice<'_> {
    /// To be kept. What is small is copied, for it would hold all of the read.
    fn keep(&self) -> Bytes {
        let (whole, part) = (self.read.as_ptr_range(), self.slice.as_ptr_range());
        if self.slice.len() >= SHARED && whole.start <= part.start && part.end <= whole.end {
            self.read.slice_ref(self.slice)
        } else if self.slice.len() < ROUNDED {
            Bytes::copy_from_slice(self.slice)
        } else {
            let mut kept = Vec::with_capacity(self.slice.len().next_power_of_two());
            kept.extend_from_slice(self.slice);
            kept.into()
        }
    }
}

/// What to do with a request.
enum Way {
    On(Route),
    /// A bodiless SEND to the relay itself: the client asks whether we are there.
    Here,
}

impl Relay {
    /// Takes what was read of a connection.
    pub(super) fn take(self: &Arc<Self>, from: &Arc<Connection>, inbound: &mut Inbound, bytes: &Bytes) {
        let Inbound { parser, current, touched, ending } = inbound;
        let mut input = &bytes[..];
        while !*ending {
            match parser.next(&mut input) {
                Ok(Some(Event::Head(head))) => *current = self.head(from, head, touched, ending),
                Ok(Some(Event::Body(slice))) => self.body(from, current, Slice { slice, read: bytes }, touched),
                Ok(Some(Event::End(flag))) => {
                    let ended = std::mem::replace(current, Current::None);
                    self.end(from, ended, flag, touched, ending);
                }
                Ok(None) => break,
                Err(error) => {
                    self.counters.malformed.one();
                    // The frame that was under way, if it was one, has no proper end.
                    self.abandon(std::mem::replace(current, Current::None), touched);
                    if let Some(reply) = &error.reply {
                        let mut answer = Vec::with_capacity(256);
                        reply.write(&mut answer, 400, "Bad Request");
                        self.control(from, answer, touched);
                    }
                    *ending |= error.is_fatal() || self.failed(from);
                }
            }
        }
    }

    fn head(self: &Arc<Self>, from: &Arc<Connection>, head: Head, touched: &mut Touched, ending: &mut bool) -> Current {
        from.used.store(self.now(), Ordering::Relaxed);
        if head.method() == Some(Method::Send)
            && let Some(end) = self.end_for(&head)
        {
            return self.begin_own(from, end, head, touched, ending);
        }
        match head.start() {
            Start::Request(Method::Send) => match self.route(from, &head) {
                Ok(Way::On(route)) => self.begin(from, head, route, touched),
                Ok(Way::Here) => {
                    self.respond(from, &head, 200, "OK", touched);
                    Current::Unwanted
                }
                Err(refused) => {
                    *ending |= self.refuse(from, &head, refused, touched);
                    Current::Unwanted
                }
            },
            _ if head.has_body() => Current::Whole { head: Box::new(head), body: Vec::new() },
            _ => {
                *ending |= self.whole(from, &head, &[], Flag::End, touched);
                Current::None
            }
        }
    }

    fn begin(&self, from: &Arc<Connection>, head: Head, route: Route, touched: &mut Touched) -> Current {
        let Some(chunk) = relay::chunk_head(&head, route.shifts) else {
            self.respond(from, &head, Refused::NoNextHop.code(), Refused::NoNextHop.comment(), touched);
            return Current::Unwanted;
        };
        let Route { to, key, shifts, sessions } = route;
        {
            let mut out = to.way_out.lock();
            if out.gone {
                drop(out);
                self.respond(from, &head, 408, GONE, touched);
                return Current::Unwanted;
            }
            let source = out.streams.entry(key).or_insert_with(|| Source {
                connection: Arc::clone(from),
                shifts,
                holds: false,
                withheld: Vec::new(),
                refusals: Refusals::default(),
            });
            if let Some(code) = source.refusals.code_of_new(&head) {
                drop(out);
                self.respond(from, &head, code, COMMENT, touched);
                return Current::Unwanted;
            }
            // A stream of a connection that is gone has neither holds nor withheld 200s.
            if !Arc::ptr_eq(&source.connection, from) {
                source.connection = Arc::clone(from);
                source.holds = false;
            }
            source.shifts = shifts;
            out.outgoing.begin(key, chunk);
        }
        let now = self.now();
        sessions.iter().for_each(|(session, _)| session.used.store(now, Ordering::Relaxed));
        self.counters.chunks.one();
        touch(touched, &to);
        Current::Chunk(Box::new(Passing { head, to, key, sessions }))
    }

    fn body(self: &Arc<Self>, from: &Arc<Connection>, current: &mut Current, body: Slice<'_>, touched: &mut Touched) {
        let slice = body.slice;
        match current {
            Current::Chunk(passing) => {
                let mut out = passing.to.way_out.lock();
                if out.gone {
                    drop(out);
                    self.respond(from, &passing.head, 408, GONE, touched);
                    *current = Current::Unwanted;
                    return;
                }
                if passing.sessions.iter().any(|(session, _)| session.has_ended()) {
                    drop(out);
                    self.respond(from, &passing.head, 481, "No Such Session", touched);
                    self.abandon(std::mem::replace(current, Current::Unwanted), touched);
                    return;
                }
                if let Some(code) = out.refused(passing) {
                    drop(out);
                    self.respond(from, &passing.head, code, COMMENT, touched);
                    *current = Current::Unwanted;
                    return;
                }
                let full = out.outgoing.body(passing.key, body.keep());
                if full
                    && let Some(source) = out.streams.get_mut(&passing.key)
                    && !source.holds
                {
                    source.holds = true;
                    from.holds.fetch_add(1, Ordering::AcqRel);
                    self.counters.pauses.one();
                }
                drop(out);
                self.counters.bytes.add(slice.len() as u64);
                let now = self.now();
                for (session, side) in &passing.sessions {
                    session.used.store(now, Ordering::Relaxed);
                    if !session.transferred(*side, slice.len(), self.settings.rate > 0) {
                        self.throttle(session, from);
                    }
                }
                touch(touched, &passing.to);
            }
            Current::Own(_) => {
                if let Current::Own(taking) = std::mem::replace(current, Current::None) {
                    *current = self.body_own(from, taking, slice, touched);
                }
            }
            // The parser keeps it short.
            Current::Whole { body: whole, .. } => whole.extend_from_slice(slice),
            Current::None | Current::Unwanted => {}
        }
    }

    fn end(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        ended: Current,
        flag: Flag,
        touched: &mut Touched,
        ending: &mut bool,
    ) {
        match ended {
            Current::Chunk(passing) => {
                let mut out = passing.to.way_out.lock();
                let refused =
                    if out.gone { Some((408, GONE)) } else { out.refused(&passing).map(|code| (code, COMMENT)) };
                if let Some((code, comment)) = refused {
                    drop(out);
                    self.respond(from, &passing.head, code, comment, touched);
                    return;
                }
                let Passing { ref head, ref to, key, .. } = *passing;
                let mut ok = relay::acknowledges(head).then(|| response(head, 200, "OK"));
                out.outgoing.end(key, flag);
                if out.outgoing.queued(key) > self.settings.outgoing.low
                    && let Some(source) = out.streams.get_mut(&key)
                    && let Some(ok) = ok.take()
                {
                    source.withheld.push(ok.into());
                    out.withheld += 1;
                }
                drop(out);
                touch(touched, to);
                if let Some(ok) = ok {
                    self.control(from, ok, touched);
                }
                from.succeeded();
            }
            Current::Own(taking) => self.end_own(from, taking, flag, touched),
            Current::Whole { head, body } => *ending |= self.whole(from, &head, &body, flag, touched),
            Current::None | Current::Unwanted => {}
        }
    }

    /// The source of a frame will not end it.
    pub(super) fn abandon(&self, current: Current, touched: &mut Touched) {
        if let Current::Chunk(passing) = current {
            passing.to.way_out.lock().outgoing.drop_stream(passing.key);
            touch(touched, &passing.to);
        }
    }

    /// A frame other than SEND. Says whether the connection has to go.
    fn whole(
        self: &Arc<Self>,
        from: &Arc<Connection>,
        head: &Head,
        body: &[u8],
        flag: Flag,
        touched: &mut Touched,
    ) -> bool {
        match head.start() {
            Start::Response { code } => {
                self.response(from, head, code, body, flag, touched);
                false
            }
            Start::Request(Method::Auth) if relay::split(head.raw_to_path()).1.is_empty() => {
                let to_us = head.to_path().next().is_some_and(|uri| self.local.names(&uri, from));
                if to_us { self.auth(from, head, touched) } else { self.refuse(from, head, Refused::NotUs, touched) }
            }
            Start::Request(Method::Other) if self.settings.block_unknown => {
                self.refuse(from, head, Refused::Method, touched)
            }
            Start::Request(_) => match self.end_for(head) {
                Some(end) => self.request_own(from, &end, head, touched),
                None => match self.route(from, head) {
                    Ok(Way::On(route)) => {
                        self.request(from, head, body, flag, &route, touched);
                        false
                    }
                    Ok(Way::Here) => false,
                    Err(refused) => self.refuse(from, head, refused, touched),
                },
            },
        }
    }

    /// Passes a request other than SEND on.
    fn request(
        &self,
        from: &Arc<Connection>,
        head: &Head,
        body: &[u8],
        flag: Flag,
        route: &Route,
        touched: &mut Touched,
    ) {
        let mut out = route.to.way_out.lock();
        let id = loop {
            let id = out.ids.next();
            if Scan::new(id).feed(body).is_none() {
                break id;
            }
        };
        let frame = if out.gone { None } else { relay::forward(head, route.shifts, id.as_str(), body, flag) };
        let Some(frame) = frame else {
            drop(out);
            self.respond(from, head, 408, GONE, touched);
            return;
        };
        out.outgoing.control(frame.into());
        let mut given_up = None;
        if head.method() != Some(Method::Report) {
            let with_credentials = head.method() == Some(Method::Auth) && head.header("Authorization").is_some();
            let waiting = Waiting::Request {
                source: Arc::clone(from),
                shifts: route.shifts,
                reply: head.reply(),
                with_credentials,
            };
            given_up = out.open.begin(id, waiting, self.instant());
        }
        drop(out);
        self.counters.requests.one();
        touch(touched, &route.to);
        if let Some((_, waiting)) = given_up {
            self.unanswered(waiting, touched);
        }
        from.succeeded();
    }

    /// A response: of the next hop of a SEND, or one that is passed on (RFC 4976 §6.4.3).
    fn response(&self, from: &Arc<Connection>, head: &Head, code: u16, body: &[u8], flag: Flag, touched: &mut Touched) {
        match self.answered(from, head) {
            Some((to, Waiting::Chunk { source, shifts, key, head, range, more })) => {
                if let Some(code) = Outcome::Response(code).failure(head.failure_report()) {
                    self.report(&source, shifts, &head, range, code, touched);
                    if more {
                        self.stop_message(&to, key, &head, code, touched);
                    }
                }
            }
            // Success is told when the chunk has ended.
            Some((_, Waiting::Own { early: true, .. })) if code == 200 => {}
            Some((_, Waiting::Own { end, number, .. })) => {
                end.outcome(number, Outcome::Response(code), touched);
                end.dispatch(touched);
            }
            Some((_, Waiting::Request { source, shifts, reply, with_credentials })) => {
                let Some(frame) = relay::forward(head, shifts, &reply.transaction_id, body, flag) else { return };
                self.counters.responses.one();
                self.control(&source, frame, touched);
                // Guessing passwords of a relay behind us (§6.3).
                let stale = head.header("WWW-Authenticate").is_some_and(|value| value.contains("stale=true"));
                if with_credentials && code == 401 && !stale && self.failed(&source) {
                    self.flush(&mut Touched::from_iter([Arc::clone(&source)]));
                    self.close(&source);
                }
            }
            None => {}
        }
    }

    /// What waits for a response, and where that was asked: on this connection, or on the one that we dialled, if the hop
    /// answers by a connection of its own.
    fn answered(&self, from: &Arc<Connection>, head: &Head) -> Option<(Arc<Connection>, Waiting)> {
        let id = head.transaction_id();
        let waiting = from.way_out.lock().answered(id);
        if let Some(waiting) = waiting {
            return Some((Arc::clone(from), waiting));
        }
        let uri = head.to_path().next()?;
        let peer = match self.sessions.find(&uri) {
            Some(session) => session.peer(),
            None => self.ends.find(&uri)?.connection(),
        };
        let dialled = peer.filter(|peer| from.is_beside(peer))?;
        let waiting = dialled.way_out.lock().answered(id)?;
        Some((dialled, waiting))
    }

    /// Who a request is for (RFC 4976 §6.4). A URI of ours behind a URI of ours is passed at once.
    fn route(self: &Arc<Self>, from: &Arc<Connection>, head: &Head) -> Result<Way, Refused> {
        let now = self.now();
        let mut rest = head.raw_to_path();
        let mut sessions = SmallVec::<[(Arc<Session>, Side); 2]>::new();
        loop {
            let (first, after) = relay::split(rest);
            let uri = Uri::parse_with(first.as_bytes(), &self.settings.leniency).map_err(|_| Refused::NoNextHop)?;
            let behind = !sessions.is_empty();
            let session = self.sessions.find(&uri);
            let named = session.as_ref().map(|session| session.named(from, behind, now));
            let ours = self.local.names(&uri, from);
            let secure = from.secure || behind;
            let side = match relay::admit(&uri, ours, named.as_ref(), secure, self.settings.matching) {
                // Behind us there is whoever the client names.
                Err(Refused::NotUs) if behind => return self.out(from, &uri, sessions).map(Way::On),
                // Sessions that end here are reached like any other host, by a connection to ourselves.
                Err(Refused::Unknown) if behind && after.is_empty() && self.ends.find(&uri).is_some() => {
                    return self.out(from, &uri, sessions).map(Way::On);
                }
                side => side?,
            };
            let Some(session) = session else { return Err(Refused::Unknown) };
            let only = after.is_empty();
            let keep_alive = only && side == Side::Owner && head.method() == Some(Method::Send) && !head.has_body();
            if keep_alive {
                return Ok(Way::Here);
            }
            if only {
                return Err(Refused::NoNextHop);
            }
            // From outside a URI leads to its client and nobody else's (§6.4): not on through one more of ours.
            let next = relay::split(after).0;
            if side == Side::Peer && next != &*session.client && self.knows(next) {
                return Err(Refused::Unknown);
            }
            // A client may stand on both sides of one connection.
            let side = if relay::split(after).0 == &*session.client { Side::Peer } else { side };
            sessions.push((Arc::clone(&session), side));
            if side == Side::Peer {
                return self.home(from, session, sessions).map(Way::On);
            }
            if sessions.len() >= PASSES {
                return Err(Refused::Loop);
            }
            rest = after;
        }
    }

    /// Whether a URI is one that was handed out.
    fn knows(&self, uri: &str) -> bool {
        Uri::parse_with(uri.as_bytes(), &self.settings.leniency).is_ok_and(|uri| self.sessions.find(&uri).is_some())
    }

    /// To the client that owns the session.
    fn home(
        &self,
        from: &Arc<Connection>,
        session: Arc<Session>,
        sessions: SmallVec<[(Arc<Session>, Side); 2]>,
    ) -> Result<Route, Refused> {
        let to = Arc::clone(&session.owner);
        let key = if !Arc::ptr_eq(from, &to) || sessions.len() > 1 {
            session.bind(from, &self.numbers).ok_or(Refused::Bound)?
        } else {
            session.key(Side::Peer)
        };
        for (passed, _) in sessions.iter().take(sessions.len() - 1) {
            passed.bind(&to, &self.numbers);
        }
        Ok(Route { to, key, shifts: sessions.len(), sessions })
    }

    /// Out into the world: by the connection that the far side has, or one that is opened to `hop`.
    fn out(
        self: &Arc<Self>,
        _from: &Arc<Connection>,
        hop: &Uri<'_>,
        sessions: SmallVec<[(Arc<Session>, Side); 2]>,
    ) -> Result<Route, Refused> {
        let Some((session, _)) = sessions.last() else { return Err(Refused::NoNextHop) };
        let session = Arc::clone(session);
        let to = match session.peer() {
            Some(peer) => peer,
            None => {
                let to = self.dial(hop)?;
                session.bind(&to, &self.numbers);
                to
            }
        };
        Ok(Route { to, key: session.key(Side::Owner), shifts: sessions.len(), sessions })
    }

    /// Puts a whole frame on the way out of a connection.
    pub(super) fn control(&self, to: &Arc<Connection>, frame: Vec<u8>, touched: &mut Touched) {
        let mut out = to.way_out.lock();
        if !out.gone {
            out.outgoing.control(frame.into());
            drop(out);
            touch(touched, to);
        }
    }

    /// Answers a request, where an answer is due.
    pub(super) fn respond(&self, from: &Arc<Connection>, head: &Head, code: u16, comment: &str, touched: &mut Touched) {
        if head.wants_response(code) {
            self.control(from, response(head, code, comment), touched);
        }
    }

    pub(super) fn refuse(&self, from: &Arc<Connection>, head: &Head, refused: Refused, touched: &mut Touched) -> bool {
        self.counters.refused.one();
        tracing::debug!(%refused, "MSRP request refused");
        self.respond(from, head, refused.code(), refused.comment(), touched);
        self.failed(from) || refused.ends_connection()
    }

    /// Counts a failed request; `true` when there were too many (RFC 4976 §6.1, §6.3).
    pub(super) fn failed(&self, connection: &Connection) -> bool {
        let failures = connection.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= self.settings.failures && !connection.outbound && !connection.proven.load(Ordering::Relaxed)
            || failures >= self.settings.failures.saturating_mul(20)
    }

    /// Tells the origin of a chunk what became of it, by the connection that it came on.
    pub(super) fn report(
        &self,
        source: &Arc<Connection>,
        shifts: usize,
        head: &ChunkHead,
        range: chappe_msrp::ByteRange,
        code: u16,
        touched: &mut Touched,
    ) {
        let (mut own, mut back) = relay::split(head.from_path());
        for _ in 1..shifts {
            (own, back) = relay::split(back);
        }
        if back.is_empty() || head.message_id().is_empty() {
            return;
        }
        let mut out = source.way_out.lock();
        if out.gone {
            return;
        }
        let id = out.ids.next();
        let mut frame = Vec::with_capacity(512);
        let comment = if code == 408 { "Timeout" } else { "" };
        let report =
            write::Report { to: back, from: own, message_id: head.message_id(), range: Some(range), code, comment };
        write::report(&mut frame, id.as_str(), &report);
        out.outgoing.control(frame.into());
        drop(out);
        self.counters.reports.one();
        touch(touched, source);
    }
}

/// A response, written without a copy of what it needs of the request.
pub(super) fn response(head: &Head, code: u16, comment: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(384);
    let first = |path| relay::split(path).0;
    let to = match head.method() {
        Some(Method::Send) => first(head.raw_from_path()),
        _ => head.raw_from_path(),
    };
    Frame::response(&mut frame, head.transaction_id(), code, comment, to, first(head.raw_to_path())).end(Flag::End);
    frame
}
