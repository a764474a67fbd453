//! Offer and answer (RFC 3264) between a browser's dialect (RFC 8829) and a phone's: each side is described to the other
//! in the other's own words, with addresses and keys of ours.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use chappe_sdp::{
    Codec, Description, Direction, Fingerprint, Leniency, Media, ParseError, RtpSecurity, Setup, rtp_addresses,
};

use crate::bridge::{Bridge, PayloadMap, Section, Side};
use crate::dtls::Crypto;
use crate::leg::{Browser, Leg, Phone, PhoneSection};
use crate::srtp::{Key, Sdes, Suite};
use crate::transcode::{Sound, Transcoder};

/// Sections of a description that are bridged, at most.
pub const SECTIONS: usize = 8;

/// Fills a buffer with randomness that nobody can foresee.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// How a side talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// ICE, DTLS-SRTP, all on one port.
    Browser,
    /// RTP in the clear.
    Plain,
    /// RTP with keys in the description (RFC 4568).
    Sdes,
}

impl Dialect {
    /// That of a description; `None` where it has no RTP section that is open.
    #[must_use]
    pub fn of(sdp: &[u8]) -> Option<Dialect> {
        let description = Description::parse(sdp).ok()?;
        let of = |media: &Media<'_>| (!media.is_refused()).then(|| RtpSecurity::of(media)).flatten();
        Some(match description.media().iter().find_map(of)? {
            RtpSecurity::Dtls => Dialect::Browser,
            RtpSecurity::Sdes => Dialect::Sdes,
            RtpSecurity::None => Dialect::Plain,
        })
    }

    #[must_use]
    pub fn is_browser(self) -> bool {
        self == Dialect::Browser
    }
}

/// Why a description cannot be bridged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    #[error("no section that could be bridged")]
    Nothing,
    #[error("more than {SECTIONS} sections")]
    TooMany,
    #[error("an answer to nothing")]
    NoOffer,
    #[error("the answer has other sections than the offer")]
    Mismatch,
    #[error("no key that could be used")]
    NoKey,
}

impl Refusal {
    /// The answer to the request that had the description.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Unreadable(_) | Refusal::NoOffer | Refusal::Mismatch => 400,
            Refusal::Nothing | Refusal::TooMany | Refusal::NoKey => 488,
        }
    }
}

/// How many sections of a description are bridged or could be: one pair of ports each.
#[must_use]
pub fn sections(sdp: &[u8]) -> usize {
    Description::parse(sdp).map_or(0, |description| description.media().len().min(SECTIONS))
}

/// Our addresses as the sides see them.
#[derive(Debug, Clone)]
pub struct Locals {
    /// The port of all browsers.
    pub shared: SocketAddr,
    /// What phones are told, without the port.
    pub phone: IpAddr,
    /// The even port of each section of a phone; RTCP is one above.
    pub ports: Vec<u16>,
}

/// A section that was offered.
struct Offered {
    /// What the offerer knows, in its own numbers.
    codecs: Vec<Codec>,
    /// What we have added for the answerer.
    added: Vec<Codec>,
    kind: String,
    protocol: String,
    mid: Option<String>,
    bundled: bool,
    open: bool,
    bridged: bool,
    formats: String,
    setup: Option<Setup>,
}

struct Offer {
    from: Side,
    sections: Vec<Offered>,
}

/// The descriptions and the media of one call.
pub struct Call {
    bridge: Bridge,
    dialects: [Dialect; 2],
    offer: Option<Offer>,
    /// What a browser calls its sections, which stays for the length of the session (RFC 8829 §5.2.2).
    mids: Vec<Option<String>>,
    random: Random,
}

impl Call {
    /// A call between two dialects. `seen` is where the signalling of each side comes from; `random` fills secrets.
    #[must_use]
    pub fn new(crypto: Crypto, dialects: [Dialect; 2], seen: [Option<IpAddr>; 2], mut random: Random) -> Call {
        let mut leg = |side: usize| match dialects[side] {
            Dialect::Browser => Leg::Browser(Box::new(Browser::new(&mut *random))),
            dialect => Leg::Phone(Phone { seen: seen[side], secure: dialect == Dialect::Sdes, sections: Vec::new() }),
        };
        let legs = [leg(0), leg(1)];
        Call { bridge: Bridge::new(crypto, legs), dialects, offer: None, mids: Vec::new(), random }
    }

    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    pub fn bridge_mut(&mut self) -> &mut Bridge {
        &mut self.bridge
    }

    #[must_use]
    pub fn dialects(&self) -> [Dialect; 2] {
        self.dialects
    }

    /// Whether an offer of that side waits for its answer.
    #[must_use]
    pub fn waits_for_answer_to(&self, side: Side) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.from == side)
    }

    /// The offer of one side in the words of the other. `locals` has a port for each section.
    ///
    /// # Errors
    /// What is no description, and one without a section for us.
    pub fn offer(&mut self, from: Side, sdp: &[u8], locals: &Locals) -> Result<Vec<u8>, Refusal> {
        let description = Description::parse(sdp)?;
        if description.media().len() > SECTIONS {
            return Err(Refusal::TooMany);
        }
        let own = self.dialects[from.index()];
        let mut offered = Vec::new();
        for media in description.media() {
            let security = RtpSecurity::of(media);
            offered.push(Offered {
                codecs: Codec::all(media),
                added: Vec::new(),
                kind: media.kind().to_owned(),
                protocol: media.protocol().to_owned(),
                mid: media.attribute("mid").map(text),
                bundled: false,
                open: !media.is_refused(),
                bridged: security.is_some() && ["audio", "video"].contains(&media.kind()),
                formats: media.formats().collect::<Vec<_>>().join(" "),
                setup: description.attribute_for(media, "setup").and_then(setup),
            });
        }
        if !offered.iter().any(|section| section.open && section.bridged) {
            return Err(Refusal::Nothing);
        }
        let bundle: Vec<String> = description
            .attributes("group")
            .map(text)
            .filter_map(|group| group.strip_prefix("BUNDLE ").map(str::to_owned))
            .collect();
        let bundle: Vec<&str> = bundle.iter().flat_map(|group| group.split_ascii_whitespace()).collect();
        for section in &mut offered {
            section.bundled = section.mid.as_deref().is_some_and(|mid| bundle.contains(&mid));
        }
        self.take_peer(from, &description, &offered, own)?;

        let to = from.other();
        let dialect = self.dialects[to.index()];
        let mut out = String::with_capacity(2048);
        head(&mut out, &description, dialect, locals);
        if dialect.is_browser() {
            let mids: Vec<String> = (0..offered.len()).filter(|i| offered[*i].serves()).map(|i| self.mid(i)).collect();
            let _ = write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "));
        }
        for (index, (media, section)) in description.media().iter().zip(&mut offered).enumerate() {
            if !section.bridged && !section.is_data() {
                pass(&mut out, media);
                continue;
            }
            if !section.serves() {
                refuse(&mut out, &section.kind, protocol(dialect), &section.formats);
                continue;
            }
            let mut codecs = kept(&section.codecs);
            if section.kind == "audio" {
                section.added = additions(&codecs, dialect);
                codecs.extend(section.added.iter().cloned());
            }
            let payloads: Vec<(u8, &Codec)> = codecs.iter().map(|codec| (codec.payload, codec)).collect();
            let mid = self.mid(index);
            let direction = direction(&description, media);
            self.section(
                &mut out,
                to,
                index,
                &section.kind,
                &payloads,
                media,
                direction,
                Some(&mid),
                Setup::ActPass,
                locals,
            );
        }
        self.offer = Some(Offer { from, sections: offered });
        Ok(out.into_bytes())
    }

    /// The answer of one side in the words of the other, who has made the offer. The same answer may come again.
    ///
    /// # Errors
    /// What is no answer to the latest offer.
    pub fn answer(&mut self, from: Side, sdp: &[u8], locals: &Locals, now: Instant) -> Result<Vec<u8>, Refusal> {
        let description = Description::parse(sdp)?;
        let to = from.other();
        let offer = self.offer.take().filter(|offer| offer.from == to).ok_or(Refusal::NoOffer)?;
        let answered = self.answer_to(&offer, from, &description, locals, now);
        self.offer = Some(offer);
        answered
    }

    fn answer_to(
        &mut self,
        offer: &Offer,
        from: Side,
        description: &Description<'_>,
        locals: &Locals,
        now: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let to = from.other();
        if description.media().len() != offer.sections.len() {
            return Err(Refusal::Mismatch);
        }
        self.take_peer(from, description, &offer.sections, self.dialects[from.index()])?;
        // Who begins a handshake: with the answerer as the answer says, with the offerer as we say.
        let answered = description.media().iter().find_map(|media| description.attribute_for(media, "setup"));
        let asked = offer.sections.iter().find_map(|section| section.setup);
        let our_setup = if asked == Some(Setup::Passive) { Setup::Active } else { Setup::Passive };
        self.start(from, answered.and_then(setup) == Some(Setup::Passive), now);
        self.start(to, our_setup == Setup::Active, now);

        let dialect = self.dialects[to.index()];
        let mut out = String::with_capacity(2048);
        head(&mut out, description, dialect, locals);
        let open = |index: usize| offer.sections[index].serves() && !description.media()[index].is_refused();
        if dialect.is_browser() {
            let bundled = (0..offer.sections.len()).filter(|i| open(*i) && offer.sections[*i].bundled);
            let mids: Vec<&str> = bundled.filter_map(|i| offer.sections[i].mid.as_deref()).collect();
            if !mids.is_empty() {
                let _ = write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "));
            }
        }
        self.bridge.sections.resize_with(offer.sections.len(), Section::default);
        for (index, (media, section)) in description.media().iter().zip(&offer.sections).enumerate() {
            if !section.bridged && !section.is_data() {
                pass(&mut out, media);
                continue;
            }
            let agreed = open(index).then(|| agree(section, media)).flatten();
            let Some(agreed) = agreed else {
                self.bridge.sections[index].open = false;
                refuse(&mut out, &section.kind, &section.protocol, &section.formats);
                continue;
            };
            let Agreed { payloads, transcoded } = agreed;
            self.open_section(index, &section.kind, from, &payloads, transcoded);
            let listed: Vec<(u8, &Codec)> = payloads.iter().map(|pair| (pair.offered, &pair.codec)).collect();
            let direction = direction(description, media);
            let mid = section.mid.as_deref();
            self.section(&mut out, to, index, &section.kind, &listed, media, direction, mid, our_setup, locals);
        }
        Ok(out.into_bytes())
    }

    fn start(&mut self, side: Side, active: bool, now: Instant) {
        if let Leg::Browser(browser) = &mut self.bridge.legs[side.index()] {
            browser.start(active, &self.bridge.crypto, now);
        }
    }

    /// What the description says of the way to its author.
    fn take_peer(
        &mut self,
        side: Side,
        description: &Description<'_>,
        offered: &[Offered],
        dialect: Dialect,
    ) -> Result<(), Refusal> {
        let random = &mut *self.random;
        let served = || {
            let all = description.media().iter().zip(offered).enumerate();
            all.filter(|(_, (media, section))| section.serves() && !media.is_refused())
        };
        match &mut self.bridge.legs[side.index()] {
            Leg::Browser(browser) => {
                let Some((_, (media, _))) = served().next() else { return Ok(()) };
                let ufrag = description.attribute_for(media, "ice-ufrag").map(text);
                let own = media.attributes("fingerprint").map(text).collect::<Vec<_>>();
                let all = if own.is_empty() { description.attributes("fingerprint").map(text).collect() } else { own };
                let read = |value: &String| Fingerprint::parse(value, Leniency::DEPLOYED);
                let fingerprints: Vec<Fingerprint> = all.iter().filter_map(read).collect();
                if fingerprints.is_empty() {
                    return Err(Refusal::NoKey);
                }
                browser.described(ufrag, fingerprints, random);
                self.mids.resize_with(self.mids.len().max(offered.len()), || None);
                for (index, (media, _)) in served() {
                    if let Some(mid) = media.attribute("mid") {
                        self.mids[index] = Some(text(mid));
                    }
                }
            }
            Leg::Phone(phone) => {
                phone.sections.resize_with(offered.len().max(phone.sections.len()), PhoneSection::default);
                for (index, (media, _)) in served() {
                    let section = &mut phone.sections[index];
                    section.described(rtp_addresses(description, media));
                    if dialect != Dialect::Sdes {
                        continue;
                    }
                    let lines: Vec<Sdes> =
                        media.attributes("crypto").filter_map(|value| Sdes::parse(&text(value))).collect();
                    // An answer names the line it has taken by its tag (RFC 4568 §5.1.2).
                    let known = section.ours.clone();
                    let fits =
                        |line: &&Sdes| known.as_ref().is_some_and(|k| k.tag == line.tag && k.suite == line.suite);
                    let theirs = lines.iter().find(fits).or(lines.first()).ok_or(Refusal::NoKey)?.clone();
                    let ours = match known {
                        Some(ours) if ours.suite == theirs.suite => Sdes { tag: theirs.tag, ..ours },
                        _ => key(theirs.tag, theirs.suite, random),
                    };
                    section.keyed(ours, theirs, &self.bridge.crypto);
                }
            }
        }
        Ok(())
    }

    fn open_section(
        &mut self,
        index: usize,
        kind: &str,
        from: Side,
        payloads: &[Pair],
        transcoded: Option<(Pair, Pair)>,
    ) {
        let section = &mut self.bridge.sections[index];
        (section.video, section.open) = (kind == "video", true);
        let (answerer, offerer) = (from.index(), from.other().index());
        let main = payloads.iter().find(|pair| !pair.codec.is_auxiliary()).or(payloads.first());
        let (ours, theirs) = transcoded.as_ref().map_or((main, main), |(ours, theirs)| (Some(ours), Some(theirs)));
        for (side, pair) in [(offerer, ours), (answerer, theirs)] {
            section.codecs[side] = pair.map_or_else(String::new, |pair| pair.codec.name.to_string());
        }
        let mut maps = [PayloadMap::default(), PayloadMap::default()];
        for pair in payloads.iter().filter(|_| transcoded.is_none()) {
            maps[answerer].0[usize::from(pair.answered & 127)] = pair.offered;
            maps[offerer].0[usize::from(pair.offered & 127)] = pair.answered;
        }
        let Some((ours, theirs)) = transcoded else {
            section.transcoders = [None, None];
            section.payloads = maps;
            return;
        };
        let sounds = (Sound::named(&ours.codec.name), Sound::named(&theirs.codec.name));
        maps[answerer].0[usize::from(theirs.answered & 127)] = ours.offered;
        maps[offerer].0[usize::from(ours.offered & 127)] = theirs.answered;
        let same = section.payloads[answerer].0 == maps[answerer].0 && section.transcoders[answerer].is_some();
        if let ((Some(offered), Some(answered)), false) = (sounds, same) {
            section.transcoders[answerer] = Transcoder::new(answered, offered, ours.offered);
            section.transcoders[offerer] = Transcoder::new(offered, answered, theirs.answered);
        }
        section.payloads = maps;
    }

    /// An open section for `to`.
    #[expect(clippy::too_many_arguments, reason = "all that a section is made of")]
    fn section(
        &mut self,
        out: &mut String,
        to: Side,
        index: usize,
        kind: &str,
        payloads: &[(u8, &Codec)],
        source: &Media<'_>,
        direction: Direction,
        mid: Option<&str>,
        setup: Setup,
        locals: &Locals,
    ) {
        let dialect = self.dialects[to.index()];
        let address = if dialect.is_browser() { locals.shared.ip() } else { locals.phone };
        let own = locals.ports.get(index).copied().unwrap_or_default();
        let port = if dialect.is_browser() { locals.shared.port() } else { own };
        let formats: Vec<String> = payloads.iter().map(|(payload, _)| payload.to_string()).collect();
        let _ =
            write!(out, "m={kind} {port} {} {}\r\nc=IN {}\r\n", protocol(dialect), formats.join(" "), host(address));
        match &self.bridge.legs[to.index()] {
            Leg::Browser(browser) => {
                let ours = &browser.ours;
                let _ = write!(out, "a=rtcp:{port} IN {}\r\na=rtcp-mux\r\n", host(address));
                let _ = write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ours.ufrag, ours.password);
                let fingerprint = self.bridge.crypto.fingerprint();
                let _ = write!(out, "a=fingerprint:{fingerprint}\r\na=setup:{}\r\n", setup.name());
                let _ =
                    write!(out, "a=candidate:1 1 udp 2130706431 {address} {port} typ host\r\na=end-of-candidates\r\n");
                if let Some(mid) = mid {
                    let _ = write!(out, "a=mid:{mid}\r\na=msid:chappe {kind}{index}\r\n");
                }
            }
            Leg::Phone(phone) => {
                let _ = write!(out, "a=rtcp:{}\r\n", port.saturating_add(1));
                if phone.secure {
                    let known = phone.sections.get(index).and_then(|section| section.ours.clone());
                    let line = known.unwrap_or_else(|| key(1, Suite::Aes128Sha1_80, &mut *self.random));
                    let _ = write!(out, "a=crypto:{line}\r\n");
                    self.keep_key(to, index, line);
                }
            }
        }
        for (payload, codec) in payloads {
            let numbered = Codec { payload: *payload, ..(*codec).clone() };
            let _ = write!(out, "a=rtpmap:{}\r\n", numbered.rtpmap());
            if let Some(fmtp) = &codec.fmtp {
                let _ = write!(out, "a=fmtp:{payload} {fmtp}\r\n");
            }
        }
        feedback(out, source, payloads);
        for name in ["ptime", "maxptime", "framerate"] {
            if let Some(value) = source.attribute(name) {
                let _ = write!(out, "a={name}:{}\r\n", text(value));
            }
        }
        let _ = write!(out, "a={}\r\n", direction.name());
    }

    /// The mid of a section that we offer to a browser.
    fn mid(&self, index: usize) -> String {
        self.mids.get(index).cloned().flatten().unwrap_or_else(|| index.to_string())
    }

    fn keep_key(&mut self, side: Side, index: usize, line: Sdes) {
        if let Leg::Phone(phone) = &mut self.bridge.legs[side.index()] {
            phone.sections.resize_with(phone.sections.len().max(index + 1), PhoneSection::default);
            phone.sections[index].ours.get_or_insert(line);
        }
    }
}

impl Offered {
    fn serves(&self) -> bool {
        self.open && self.bridged
    }

    /// A data channel, which ends at the browser.
    fn is_data(&self) -> bool {
        self.protocol.to_ascii_uppercase().contains("SCTP")
    }
}

/// The same codec in the numbers of both sides.
#[derive(Clone)]
struct Pair {
    offered: u8,
    answered: u8,
    /// As the answerer describes it; of a transcoded pair as its side knows it.
    codec: Codec,
}

struct Agreed {
    payloads: Vec<Pair>,
    /// The codec of the offerer, and that of the answerer, where they share none.
    transcoded: Option<(Pair, Pair)>,
}

/// What an answer says of an offered section; `None` where nothing is left.
fn agree(section: &Offered, media: &Media<'_>) -> Option<Agreed> {
    let answered = Codec::all(media);
    let mut payloads: Vec<Pair> = Vec::new();
    for codec in &answered {
        // Most answers keep the numbers.
        let same = |offered: &&Codec| offered.same_as(codec);
        let all = || section.codecs.iter().filter(same);
        let offered = all().find(|offered| offered.payload == codec.payload).or_else(|| all().next());
        if let Some(offered) = offered
            && !payloads.iter().any(|pair| pair.offered == offered.payload)
        {
            payloads.push(Pair { offered: offered.payload, answered: codec.payload, codec: codec.clone() });
        }
    }
    if payloads.iter().any(|pair| !pair.codec.is_auxiliary()) {
        return Some(Agreed { payloads, transcoded: None });
    }
    let theirs = answered.iter().find(|codec| section.added.iter().any(|added| added.same_as(codec)))?;
    let ours = section.codecs.iter().find(|codec| Sound::named(&codec.name).is_some())?;
    let ours = Pair { offered: ours.payload, answered: theirs.payload, codec: ours.clone() };
    let theirs = Pair { codec: theirs.clone(), ..ours.clone() };
    Some(Agreed { payloads: vec![ours.clone()], transcoded: Some((ours, theirs)) })
}

/// The codecs that can cross: repair and retransmission are between a browser and us, who do neither.
fn kept(codecs: &[Codec]) -> Vec<Codec> {
    let repairs = ["rtx", "red", "ulpfec", "flexfec-03"];
    codecs.iter().filter(|codec| !repairs.iter().any(|name| codec.is(name))).cloned().collect()
}

/// Codecs that we add to an offer, since we can turn one that it has into them. Not those beside which it has another
/// one that everybody knows: whoever answers with one codec might take ours.
fn additions(codecs: &[Codec], to: Dialect) -> Vec<Codec> {
    let has = |name: &str| codecs.iter().any(|codec| codec.is(name));
    let (law, opus) = (has("PCMU") || has("PCMA"), has("opus"));
    if opus && !law && !to.is_browser() {
        return [0, 8].into_iter().filter_map(Codec::fixed).collect();
    }
    if law && !opus && to.is_browser() {
        // At the end, where a browser that knows G.711 does not take it.
        let free = (96..128).rev().find(|number| codecs.iter().all(|codec| codec.payload != *number));
        let opus = |payload| Codec { payload, name: "opus".into(), clock: 48_000, channels: 2, fmtp: None };
        return free.map(opus).into_iter().collect();
    }
    Vec::new()
}

fn key(tag: u32, suite: Suite, random: &mut dyn FnMut(&mut [u8])) -> Sdes {
    let mut key = vec![0; suite.key_len()];
    random(&mut key);
    Sdes { tag, suite, key: Key(key) }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim().to_owned()
}

fn setup(value: &[u8]) -> Option<Setup> {
    Setup::parse(&text(value), Leniency::DEPLOYED)
}

fn protocol(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Browser => "UDP/TLS/RTP/SAVPF",
        Dialect::Plain => "RTP/AVP",
        Dialect::Sdes => "RTP/SAVP",
    }
}

fn host(ip: IpAddr) -> String {
    format!("{} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" })
}

/// Hold as it was before directions (RFC 2543) is one too; with ICE that address says nothing (RFC 8839 §4.3.1).
fn direction(description: &Description<'_>, media: &Media<'_>) -> Direction {
    let direction = description.direction_for(media);
    if RtpSecurity::of(media) == Some(RtpSecurity::Dtls) {
        return direction;
    }
    let nowhere = description.connection_for(media).is_some_and(|c| matches!(&*c.address, "0.0.0.0" | "::"));
    if nowhere { Direction { receive: false, ..direction } } else { direction }
}

/// The lines of the session: its origin, name and time as they came, our address, no attributes but ours.
fn head(out: &mut String, description: &Description<'_>, to: Dialect, locals: &Locals) {
    let address = if to.is_browser() { locals.shared.ip() } else { locals.phone };
    let _ = write!(out, "v=0\r\n");
    match description.origin() {
        Some(origin) => {
            let address = host(address);
            let _ = write!(out, "o={} {} {} IN {address}\r\n", origin.username, origin.session_id, origin.version);
        }
        None => {
            let _ = write!(out, "o=- 1 1 IN {}\r\n", host(address));
        }
    }
    let _ = write!(out, "s=-\r\nc=IN {}\r\nt=0 0\r\n", host(address));
    if to.is_browser() {
        out.push_str("a=ice-lite\r\n");
    }
}

fn refuse(out: &mut String, kind: &str, protocol: &str, formats: &str) {
    let _ = write!(out, "m={kind} 0 {protocol} {formats}\r\n");
}

/// A section that is none of ours, as it came.
fn pass(out: &mut String, media: &Media<'_>) {
    for line in media.lines() {
        out.push_str(String::from_utf8_lossy(line.raw()).trim_end());
        out.push_str("\r\n");
    }
}

/// Feedback that crosses: requests for packets and pictures. What needs header extensions does not.
fn feedback(out: &mut String, source: &Media<'_>, payloads: &[(u8, &Codec)]) {
    for value in source.attributes("rtcp-fb").map(text) {
        let Some((number, kind)) = value.split_once(' ') else { continue };
        if !["nack", "nack pli", "ccm fir"].contains(&kind.trim()) {
            continue;
        }
        let number = match number.parse::<u8>() {
            // In the numbers of the one who described it.
            Ok(known) => payloads.iter().find(|(_, codec)| codec.payload == known).map(|(to, _)| to.to_string()),
            Err(_) => (number == "*").then(|| number.to_owned()),
        };
        if let Some(number) = number {
            let _ = write!(out, "a=rtcp-fb:{number} {}\r\n", kind.trim());
        }
    }
}

#[cfg(test)]
mod tests;
