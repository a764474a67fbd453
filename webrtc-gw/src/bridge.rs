//! The packets of a call between a browser and a phone: taken off one leg, put on the other, counted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use ahash::AHashMap;
use bytes::BytesMut;

use crate::dtls::Crypto;
use crate::leg::Leg;
use crate::rtp::{self, Header, Kind};
use crate::stun;
use crate::transcode::Transcoder;

/// Synchronisation sources of which the section is remembered.
const SOURCES: usize = 64;
/// No such payload type.
const NONE: u8 = 0xff;

/// Who of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Caller,
    Callee,
}

impl Side {
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self == Side::Callee)
    }
}

/// A port of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// That of all browsers.
    Shared,
    /// Those of a section of a phone.
    Rtp(usize),
    Rtcp(usize),
}

/// A datagram to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    pub side: Side,
    pub path: Path,
    pub to: SocketAddr,
    pub bytes: BytesMut,
}

/// Why a bridge has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No valid check for [`crate::leg::CONSENT`].
    Consent,
}

/// What one side has sent and was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub rtcp_in: u64,
    pub rtcp_out: u64,
    /// Pictures that came in whole or in part: packets of video with the marker.
    pub frames_in: u64,
    /// Requests for a picture that came in (PLI, FIR).
    pub picture_requests: u64,
    /// Not RTP, not from this side, not made with the key, a copy.
    pub bad: u64,
    /// Good packets that could not be passed on: no such codec agreed upon, the other side not ready.
    pub dropped: u64,
    /// Packets that never came, by their sequence numbers; late ones are taken off again.
    pub lost: u64,
}

/// A synchronisation source that has been heard.
struct Source {
    section: usize,
    side: Side,
    /// The sequence number that came first, and the highest one, with the turns of the 16 bits before it (RFC 3550 §A.1).
    first: u64,
    highest: u64,
    received: u64,
}

impl Source {
    fn new(section: usize, side: Side, header: &Header) -> Source {
        // Room for packets that were overtaken by the first.
        let first = (1 << 16) + u64::from(header.sequence);
        Source { section, side, first, highest: first, received: 0 }
    }

    fn count(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        if ahead > 0 {
            self.highest += ahead as u64;
        } else {
            self.first = self.first.min(self.highest.saturating_sub(u64::from(ahead.unsigned_abs())));
        }
        self.received += 1;
    }

    /// §A.3.
    fn lost(&self) -> u64 {
        (self.highest - self.first + 1).saturating_sub(self.received)
    }
}

/// A section as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionReport {
    pub video: bool,
    /// What each side speaks, as descriptions call it.
    pub codecs: [String; 2],
}

/// A section that is open.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) video: bool,
    pub(crate) open: bool,
    /// What each side speaks.
    pub(crate) codecs: [String; 2],
    /// The payload type that goes out for one that comes in, from each side.
    pub(crate) payloads: [PayloadMap; 2],
    pub(crate) transcoders: [Option<Transcoder>; 2],
}

/// By payload type.
pub(crate) struct PayloadMap(pub(crate) [u8; 128]);

impl Default for PayloadMap {
    fn default() -> Self {
        PayloadMap([NONE; 128])
    }
}

/// The state of the media of one call.
pub struct Bridge {
    pub(crate) crypto: Crypto,
    pub(crate) legs: [Leg; 2],
    pub(crate) sections: Vec<Section>,
    sources: AHashMap<u32, Source>,
    outbox: VecDeque<Transmit>,
    reached: Vec<(Side, SocketAddr)>,
    counters: [Counters; 2],
    ended: Option<Ended>,
}

impl Bridge {
    pub(crate) fn new(crypto: Crypto, legs: [Leg; 2]) -> Bridge {
        Bridge {
            crypto,
            legs,
            sections: Vec::new(),
            sources: AHashMap::new(),
            outbox: VecDeque::new(),
            reached: Vec::new(),
            counters: Default::default(),
            ended: None,
        }
    }

    /// Takes a datagram that came to a port of ours.
    pub fn handle_packet(&mut self, side: Side, path: Path, from: SocketAddr, datagram: &[u8], now: Instant) {
        let kind = Kind::of(datagram);
        let handled = match (&self.legs[side.index()], path, kind) {
            (Leg::Browser(_), Path::Shared, Some(Kind::Stun)) => self.check(side, from, datagram, now),
            (Leg::Browser(_), Path::Shared, Some(Kind::Dtls)) => self.handshake(side, datagram, now),
            (Leg::Browser(_), Path::Shared, Some(kind)) => self.take_from_browser(side, datagram, kind == Kind::Rtcp),
            (Leg::Phone(_), Path::Rtp(index) | Path::Rtcp(index), Some(kind @ (Kind::Rtp | Kind::Rtcp))) => {
                self.take_from_phone(side, index, from, datagram, kind == Kind::Rtcp)
            }
            _ => None,
        };
        if handled.is_none() {
            self.counters[side.index()].bad += 1;
        }
    }

    /// A check of the browser's (RFC 8445 §7.3), which is also its consent to be sent to (RFC 7675).
    fn check(&mut self, side: Side, from: SocketAddr, datagram: &[u8], now: Instant) -> Option<()> {
        let Leg::Browser(browser) = &mut self.legs[side.index()] else { return None };
        let request = stun::Request::parse(datagram).ok()?;
        let ours = browser.credentials(request.local_ufrag()?)?;
        if !request.is_signed_with(ours.password.as_bytes()) {
            return None;
        }
        let answer = request.success(from, Some(ours.password.as_bytes()));
        browser.checked(from, request.use_candidate, now);
        self.reached.push((side, from));
        self.outbox.push_back(Transmit { side, path: Path::Shared, to: from, bytes: BytesMut::from(&answer[..]) });
        self.send_handshake(side);
        Some(())
    }

    fn handshake(&mut self, side: Side, datagram: &[u8], now: Instant) -> Option<()> {
        let Leg::Browser(browser) = &mut self.legs[side.index()] else { return None };
        // Before the description is here nobody can be checked; the browser repeats it.
        let dtls = browser.dtls.as_mut()?;
        let handled = dtls.handle(datagram, &self.crypto, now);
        if let Ok(Some(srtp)) = handled {
            browser.srtp = Some(srtp);
            self.send_handshake(side);
            return Some(());
        }
        self.send_handshake(side);
        handled.ok().map(|_| ())
    }

    fn send_handshake(&mut self, side: Side) {
        let Leg::Browser(browser) = &mut self.legs[side.index()] else { return };
        let (Some(to), Some(dtls)) = (browser.peer, browser.dtls.as_mut()) else { return };
        while let Some(bytes) = dtls.poll_transmit() {
            self.outbox.push_back(Transmit { side, path: Path::Shared, to, bytes });
        }
    }

    fn take_from_browser(&mut self, side: Side, datagram: &[u8], is_rtcp: bool) -> Option<()> {
        let Leg::Browser(browser) = &mut self.legs[side.index()] else { return None };
        let packet = browser.srtp.as_mut()?.unprotect(datagram, is_rtcp).ok()?;
        let section = match is_rtcp {
            true => self.section_of_report(&packet),
            false => self.section_of(side, &packet)?,
        };
        self.pass(side, section, packet, is_rtcp)
    }

    fn take_from_phone(
        &mut self,
        side: Side,
        index: usize,
        from: SocketAddr,
        datagram: &[u8],
        is_rtcp: bool,
    ) -> Option<()> {
        let Leg::Phone(phone) = &mut self.legs[side.index()] else { return None };
        let (seen, secure) = (phone.seen, phone.secure);
        let section = phone.sections.get_mut(index)?;
        if !section.admits(from, seen) {
            return None;
        }
        let packet = match &mut section.srtp {
            Some(srtp) => srtp.unprotect(datagram, is_rtcp).ok()?,
            None if secure => return None,
            None => BytesMut::from(datagram),
        };
        section.latch(from, is_rtcp);
        if let Some(source) = (!is_rtcp).then(|| Header::parse(&packet)).flatten() {
            self.remember(side, &source, index);
        }
        self.pass(side, index, packet, is_rtcp)
    }

    /// By its payload type, which is another in each section of a bundle.
    fn section_of(&mut self, side: Side, packet: &[u8]) -> Option<usize> {
        let header = Header::parse(packet)?;
        if let Some(source) = self.sources.get(&header.ssrc) {
            return Some(source.section);
        }
        let payload = usize::from(header.payload_type);
        let has = |section: &Section| section.open && section.payloads[side.index()].0[payload] != NONE;
        // What nobody agreed upon belongs somewhere, to be counted there.
        let index = self.sections.iter().position(has).unwrap_or_default();
        self.remember(side, &header, index);
        Some(index)
    }

    fn section_of_report(&self, packet: &[u8]) -> usize {
        rtp::rtcp_sources(packet)
            .find_map(|source| self.sources.get(&source).map(|source| source.section))
            .unwrap_or_default()
    }

    fn remember(&mut self, side: Side, header: &Header, section: usize) {
        if let Some(source) = self.sources.get_mut(&header.ssrc) {
            source.section = section;
        } else if self.sources.len() < SOURCES {
            self.sources.insert(header.ssrc, Source::new(section, side, header));
        }
    }

    /// A packet in the clear from one side, on to the other.
    fn pass(&mut self, side: Side, index: usize, mut packet: BytesMut, is_rtcp: bool) -> Option<()> {
        let counters = &mut self.counters[side.index()];
        counters.bytes_in += packet.len() as u64;
        let section = self.sections.get_mut(index);
        if is_rtcp {
            rtp::rtcp_packets(&packet).next()?;
            counters.rtcp_in += 1;
            counters.picture_requests += u64::from(rtp::asks_for_picture(&packet));
            if let Some(transcoder) = section.and_then(|section| section.transcoders[side.index()].as_ref()) {
                rescale_report(&mut packet, transcoder);
            }
            self.send(side, index, &packet, true);
            return Some(());
        }
        let header = Header::parse(&packet)?;
        counters.packets_in += 1;
        if let Some(source) = self.sources.get_mut(&header.ssrc) {
            source.count(header.sequence);
        }
        let Some(section) = section.filter(|section| section.open) else {
            counters.dropped += 1;
            return Some(());
        };
        counters.frames_in += u64::from(section.video && header.marker);
        let payload = section.payloads[side.index()].0[usize::from(header.payload_type)];
        if payload == NONE {
            counters.dropped += 1;
            return Some(());
        }
        match &mut section.transcoders[side.index()] {
            // A payload type beside the sound of a section that is transcoded has no sound to decode.
            Some(transcoder) if payload == transcoder.payload_type() => {
                let body = packet.get(header.payload..packet.len() - header.padding)?;
                let packets = transcoder.handle(&header, body)?;
                for packet in packets {
                    self.send(side, index, &packet, false);
                }
            }
            Some(_) => counters.dropped += 1,
            None => {
                packet[1] = packet[1] & 0x80 | payload;
                self.send(side, index, &packet, false);
            }
        }
        Some(())
    }

    fn send(&mut self, from: Side, index: usize, packet: &[u8], is_rtcp: bool) {
        let side = from.other();
        let ready = match &mut self.legs[side.index()] {
            Leg::Browser(browser) => match (&mut browser.srtp, browser.peer) {
                (Some(srtp), Some(to)) => srtp.protect(packet, is_rtcp).ok().map(|bytes| (Path::Shared, to, bytes)),
                _ => None,
            },
            Leg::Phone(phone) => {
                let secure = phone.secure;
                phone.sections.get_mut(index).and_then(|section| {
                    let (path, to) = match is_rtcp {
                        true => (Path::Rtcp(index), section.rtcp?),
                        false => (Path::Rtp(index), section.rtp?),
                    };
                    let bytes = match &mut section.srtp {
                        Some(srtp) => srtp.protect(packet, is_rtcp).ok()?,
                        None if secure => return None,
                        None => BytesMut::from(packet),
                    };
                    Some((path, to, bytes))
                })
            }
        };
        let Some((path, to, bytes)) = ready else {
            self.counters[from.index()].dropped += 1;
            return;
        };
        let counters = &mut self.counters[side.index()];
        if is_rtcp {
            counters.rtcp_out += 1;
        } else {
            counters.packets_out += 1;
        }
        counters.bytes_out += bytes.len() as u64;
        self.outbox.push_back(Transmit { side, path, to, bytes });
    }

    /// The next datagram to send; call until `None`.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// Addresses that have shown that they belong to a browser; packets from there are its own.
    pub fn take_reached(&mut self) -> Vec<(Side, SocketAddr)> {
        std::mem::take(&mut self.reached)
    }

    /// When [`Bridge::handle_timeout`] is next wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let browsers = self.legs.iter().filter_map(|leg| match leg {
            Leg::Browser(browser) => Some(browser),
            Leg::Phone(_) => None,
        });
        browsers
            .flat_map(|browser| [browser.deadline, browser.dtls.as_ref().and_then(crate::Dtls::poll_timeout)])
            .flatten()
            .min()
    }

    /// Does what is due: handshakes are repeated, and a browser that gave no sign of consent ends the bridge.
    pub fn handle_timeout(&mut self, now: Instant) {
        for side in [Side::Caller, Side::Callee] {
            let Leg::Browser(browser) = &mut self.legs[side.index()] else { continue };
            if browser.deadline.is_some_and(|at| at <= now) {
                browser.deadline = None;
                self.ended = Some(Ended::Consent);
            }
            if let Some(dtls) = &mut browser.dtls {
                let _ = dtls.handle_timeout(now);
            }
            self.send_handshake(side);
        }
    }

    /// Tells browsers that it is over.
    pub fn close(&mut self, now: Instant) {
        for side in [Side::Caller, Side::Callee] {
            if let Leg::Browser(browser) = &mut self.legs[side.index()]
                && let Some(dtls) = &mut browser.dtls
            {
                dtls.close(now);
            }
            self.send_handshake(side);
        }
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    #[must_use]
    pub fn counters(&self, side: Side) -> Counters {
        let lost = self.sources.values().filter(|source| source.side == side).map(Source::lost).sum();
        Counters { lost, ..self.counters[side.index()] }
    }

    /// The sections that are open.
    #[must_use]
    pub fn sections(&self) -> Vec<SectionReport> {
        let open = self.sections.iter().filter(|section| section.open);
        open.map(|section| SectionReport { video: section.video, codecs: section.codecs.clone() }).collect()
    }

    /// Whether a browser on that side can be sent to: its handshake is complete. A phone always.
    #[must_use]
    pub fn is_ready(&self, side: Side) -> bool {
        match &self.legs[side.index()] {
            Leg::Browser(browser) => browser.srtp.is_some(),
            Leg::Phone(_) => true,
        }
    }

    #[must_use]
    pub fn leg(&self, side: Side) -> &Leg {
        &self.legs[side.index()]
    }

    /// Whether a section is transcoded.
    #[must_use]
    pub fn is_transcoded(&self) -> bool {
        self.sections.iter().any(|section| section.open && section.transcoders.iter().any(Option::is_some))
    }

    /// The ufrags by which checks for a browser of this bridge are known.
    pub fn ufrags(&self) -> impl Iterator<Item = (Side, &str)> {
        [Side::Caller, Side::Callee]
            .into_iter()
            .flat_map(|side| match &self.legs[side.index()] {
                Leg::Browser(browser) => {
                    [Some(&browser.ours), browser.before.as_ref()].map(|known| known.map(|known| (side, &*known.ufrag)))
                }
                Leg::Phone(_) => [None, None],
            })
            .flatten()
    }
}

/// The RTP timestamps of sender reports, on the clock of what goes out.
fn rescale_report(packet: &mut BytesMut, transcoder: &Transcoder) {
    let mut at = 0;
    let places: Vec<usize> = rtp::rtcp_packets(packet)
        .filter_map(|(kind, part)| {
            let here = at;
            at += part.len();
            (kind == 200 && part.len() >= 28).then_some(here + 16)
        })
        .collect();
    for place in places {
        if let Some(word) = packet.get_mut(place..place + 4) {
            let came = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
            word.copy_from_slice(&transcoder.timestamp(came).to_be_bytes());
        }
    }
}
