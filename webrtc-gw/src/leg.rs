//! One side of a call: how its packets come in and go out.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chappe_sdp::Fingerprint;

use crate::dtls::{Crypto, Dtls};
use crate::srtp::{Sdes, Srtp};

/// A browser is gone when no valid check has come for so long (RFC 7675 §5.1).
pub const CONSENT: Duration = Duration::from_secs(30);

/// What an ICE agent is known by (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub password: String,
}

impl Credentials {
    /// From the caller's randomness: 8 and 24 characters.
    pub(crate) fn new(random: &mut dyn FnMut(&mut [u8])) -> Credentials {
        Credentials { ufrag: word(random, 8), password: word(random, 24) }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// So many ice-chars.
fn word(random: &mut dyn FnMut(&mut [u8]), length: usize) -> String {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; length];
    random(&mut bytes);
    bytes.iter().map(|byte| char::from(CHARS[usize::from(byte & 63)])).collect()
}

/// A browser: an ICE-lite agent of ours (RFC 8445 §2.5), DTLS-SRTP, and all sections on one port.
pub struct Browser {
    pub(crate) ours: Credentials,
    /// Before the last restart of ICE (RFC 8445 §9); its checks are still answered.
    pub(crate) before: Option<Credentials>,
    pub(crate) their_ufrag: Option<String>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Whether we begin the handshake, once that is agreed upon.
    pub(crate) active: Option<bool>,
    pub(crate) dtls: Option<Dtls>,
    pub(crate) srtp: Option<Srtp>,
    /// Where packets go: the path that the browser has chosen, or the first one that worked.
    pub(crate) peer: Option<SocketAddr>,
    chosen: bool,
    /// When checks have to have come.
    pub(crate) deadline: Option<Instant>,
}

impl Browser {
    pub(crate) fn new(random: &mut dyn FnMut(&mut [u8])) -> Browser {
        Browser {
            ours: Credentials::new(random),
            before: None,
            their_ufrag: None,
            fingerprints: Vec::new(),
            active: None,
            dtls: None,
            srtp: None,
            peer: None,
            chosen: false,
            deadline: None,
        }
    }

    /// The credentials that a check was made for.
    pub(crate) fn credentials(&self, ufrag: &str) -> Option<&Credentials> {
        [Some(&self.ours), self.before.as_ref()].into_iter().flatten().find(|known| known.ufrag == ufrag)
    }

    /// A valid check has come from there.
    pub(crate) fn checked(&mut self, from: SocketAddr, use_candidate: bool, now: Instant) {
        self.deadline = Some(now + CONSENT);
        if use_candidate || !self.chosen {
            self.peer = Some(from);
            self.chosen |= use_candidate;
        }
    }

    /// Takes what the description of the peer says; another ufrag is a restart of ICE, another certificate one of DTLS.
    pub(crate) fn described(
        &mut self,
        ufrag: Option<String>,
        fingerprints: Vec<Fingerprint>,
        random: &mut dyn FnMut(&mut [u8]),
    ) {
        if ufrag.is_some() && self.their_ufrag.is_some() && ufrag != self.their_ufrag {
            self.before = Some(std::mem::replace(&mut self.ours, Credentials::new(random)));
            self.chosen = false;
        }
        self.their_ufrag = ufrag.or(self.their_ufrag.take());
        if self.fingerprints != fingerprints {
            self.fingerprints = fingerprints;
            (self.dtls, self.srtp) = (None, None);
        }
    }

    /// Begins to listen for the handshake, or begins it.
    pub(crate) fn start(&mut self, active: bool, crypto: &Crypto, now: Instant) -> bool {
        self.deadline = self.deadline.or(Some(now + CONSENT));
        if self.dtls.is_none() || self.active != Some(active) {
            self.active = Some(active);
            self.srtp = None;
            self.dtls = Dtls::new(crypto, active, self.fingerprints.clone(), now).ok();
        }
        self.dtls.is_some()
    }
}

/// A phone: a pair of ports for each section.
pub struct Phone {
    /// Where its signalling comes from, which tells its packets from those of strangers where it is behind a NAT.
    pub(crate) seen: Option<IpAddr>,
    /// Whether its packets are to be protected (RFC 4568).
    pub(crate) secure: bool,
    pub(crate) sections: Vec<PhoneSection>,
}

/// The two paths of a section.
#[derive(Default)]
pub(crate) struct PhoneSection {
    /// Where RTP and RTCP go. What its description says, until a packet has come from elsewhere.
    pub(crate) rtp: Option<SocketAddr>,
    pub(crate) rtcp: Option<SocketAddr>,
    /// What the description said.
    described: Option<(SocketAddr, SocketAddr)>,
    latched: [bool; 2],
    pub(crate) ours: Option<Sdes>,
    theirs: Option<Sdes>,
    pub(crate) srtp: Option<Srtp>,
}

impl PhoneSection {
    /// The address in a description; the same one again does not undo what was learnt.
    pub(crate) fn described(&mut self, addresses: Option<(SocketAddr, SocketAddr)>) {
        let addresses = addresses.filter(|(rtp, _)| !rtp.ip().is_unspecified());
        if self.described != addresses || addresses.is_none() {
            (self.described, self.latched) = (addresses, [false; 2]);
            (self.rtp, self.rtcp) = addresses.map_or((None, None), |(rtp, rtcp)| (Some(rtp), Some(rtcp)));
        }
    }

    /// Keys that have changed; the same ones go on where they were (RFC 3711 §3.3.1).
    pub(crate) fn keyed(&mut self, ours: Sdes, theirs: Sdes, crypto: &Crypto) {
        if self.ours.as_ref() != Some(&ours) || self.theirs.as_ref() != Some(&theirs) || self.srtp.is_none() {
            self.srtp = Srtp::new(theirs.suite, &theirs.key, &ours.key, crypto).ok();
            (self.ours, self.theirs) = (Some(ours), Some(theirs));
        }
    }

    /// Whether a packet from there can be the phone's: its address of the description, or that of its signalling.
    pub(crate) fn admits(&self, from: SocketAddr, seen: Option<IpAddr>) -> bool {
        let ip = from.ip().to_canonical();
        // All addresses of the loopback are one machine, whichever the system chooses for a packet.
        let same = |known: IpAddr| known.to_canonical() == ip || known.is_loopback() && ip.is_loopback();
        self.described.is_some_and(|(rtp, rtcp)| same(rtp.ip()) || same(rtcp.ip())) || seen.is_some_and(same)
    }

    /// A good packet has come from there; the first source stays until the next description.
    pub(crate) fn latch(&mut self, from: SocketAddr, is_rtcp: bool) {
        let latched = &mut self.latched[usize::from(is_rtcp)];
        // On hold it has no address, and gets nothing.
        if !*latched && self.described.is_some() {
            *latched = true;
            *(if is_rtcp { &mut self.rtcp } else { &mut self.rtp }) = Some(from);
        }
    }
}

/// Either.
pub enum Leg {
    Browser(Box<Browser>),
    Phone(Phone),
}

impl Leg {
    #[must_use]
    pub fn is_browser(&self) -> bool {
        matches!(self, Leg::Browser(_))
    }
}
