//! What RTP sections say (RFC 8866 §6.6, RFC 3551, RFC 8839): codecs, ICE, and where packets go.

use std::net::{IpAddr, SocketAddr};

use crate::description::Description;
use crate::media::Media;
use crate::text;

/// How the packets of a section are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtpSecurity {
    /// `RTP/AVP`, `RTP/AVPF`.
    None,
    /// `RTP/SAVP`, `RTP/SAVPF`: keys in `a=crypto` (RFC 4568).
    Sdes,
    /// `UDP/TLS/RTP/SAVP`, `UDP/TLS/RTP/SAVPF` (RFC 5764).
    Dtls,
}

impl RtpSecurity {
    /// That of an RTP section; `None` for other media.
    #[must_use]
    pub fn of(media: &Media<'_>) -> Option<Self> {
        let protocol = media.protocol();
        let is = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(protocol));
        if is(["RTP/AVP", "RTP/AVPF"]) {
            Some(Self::None)
        } else if is(["RTP/SAVP", "RTP/SAVPF"]) {
            // Some browsers' gateways leave the transport out.
            Some(if media.has("crypto") || !media.has("fingerprint") { Self::Sdes } else { Self::Dtls })
        } else if is(["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]) {
            Some(Self::Dtls)
        } else {
            None
        }
    }
}

/// A payload type and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// 0 to 127.
    pub payload: u8,
    pub name: String,
    /// In Hz.
    pub clock: u32,
    /// 1 where the section names none.
    pub channels: u8,
    /// Format parameters, without the payload type.
    pub fmtp: Option<String>,
}

impl Codec {
    /// The codecs of an RTP section in its order of preference. Static payload types need no `a=rtpmap`; formats that are
    /// no payload type, or have no meaning, are left out.
    #[must_use]
    pub fn all(media: &Media<'_>) -> Vec<Codec> {
        let mut found: Vec<Codec> = Vec::new();
        for payload in media.formats().filter_map(text::number::<u8>).filter(|payload| *payload < 128) {
            if found.iter().any(|codec| codec.payload == payload) {
                continue;
            }
            let mapped = values(media, "rtpmap", payload).next().and_then(|value| Codec::read(payload, value));
            let Some(mut codec) = mapped.or_else(|| Codec::fixed(payload)) else { continue };
            codec.fmtp = values(media, "fmtp", payload).next().map(str::to_owned);
            found.push(codec);
        }
        found
    }

    fn read(payload: u8, value: &str) -> Option<Codec> {
        let mut parts = value.split('/');
        let (name, clock) = (parts.next()?, text::number(parts.next()?)?);
        let channels = parts.next().map_or(Some(1), text::number)?;
        text::is_token(name).then(|| Codec { payload, name: name.to_owned(), clock, channels, fmtp: None })
    }

    /// A static payload type (RFC 3551 §6) that is in use.
    #[must_use]
    pub fn fixed(payload: u8) -> Option<Codec> {
        let (name, clock) = match payload {
            0 => ("PCMU", 8000),
            3 => ("GSM", 8000),
            4 => ("G723", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            13 => ("CN", 8000),
            18 => ("G729", 8000),
            26 => ("JPEG", 90_000),
            31 => ("H261", 90_000),
            34 => ("H263", 90_000),
            _ => return None,
        };
        Some(Codec { payload, name: name.to_owned(), clock, channels: 1, fmtp: None })
    }

    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether it goes along with another codec, and carries no sound or picture of its own.
    #[must_use]
    pub fn is_auxiliary(&self) -> bool {
        ["telephone-event", "CN", "rtx", "red", "ulpfec", "flexfec-03"].iter().any(|name| self.is(name))
    }

    /// Whether packets of one can be sent as those of the other. Of H.264 profile and packetization mode count
    /// (RFC 6184 §8.2.2), of VP9 the profile.
    #[must_use]
    pub fn same_as(&self, other: &Codec) -> bool {
        let parameter = |codec: &Codec, name: &str, unset: &str| {
            let value = codec.parameter(name).unwrap_or(unset).to_ascii_lowercase();
            // The constraint flags and the level may differ.
            if name == "profile-level-id" { value.get(..2).unwrap_or_default().to_owned() } else { value }
        };
        let equal = |name: &str, unset: &str| parameter(self, name, unset) == parameter(other, name, unset);
        let close = match () {
            () if self.is("H264") => equal("packetization-mode", "0") && equal("profile-level-id", "42"),
            () if self.is("VP9") => equal("profile-id", "0"),
            () => true,
        };
        self.is(&other.name) && self.clock == other.clock && self.channels == other.channels && close
    }

    /// A parameter of `fmtp`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let all = self.fmtp.as_deref()?.split(';');
        all.filter_map(|pair| pair.trim().split_once('='))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|p| p.1)
    }

    /// The value of its `a=rtpmap`.
    #[must_use]
    pub fn rtpmap(&self) -> String {
        let Codec { payload, name, clock, channels, .. } = self;
        match channels {
            1 => format!("{payload} {name}/{clock}"),
            _ => format!("{payload} {name}/{clock}/{channels}"),
        }
    }
}

/// The values of attributes that begin with a payload type, without it.
fn values<'m>(media: &'m Media<'_>, name: &str, payload: u8) -> impl Iterator<Item = &'m str> {
    media.attributes(name).filter_map(move |value| {
        let (number, rest) = std::str::from_utf8(value).ok()?.trim().split_once([' ', '\t'])?;
        (text::number(number) == Some(payload)).then(|| rest.trim())
    })
}

/// Where the packets of a section go: RTP, and RTCP by `a=rtcp` (RFC 3605), on the same port with `a=rtcp-mux`, else one
/// above. Hosts that are names, and port 0, are nowhere.
#[must_use]
pub fn rtp_addresses(description: &Description<'_>, media: &Media<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let ip: IpAddr = description.connection_for(media)?.address.split('/').next()?.parse().ok()?;
    if media.port() == 0 {
        return None;
    }
    let rtp = SocketAddr::new(ip, media.port());
    if media.has("rtcp-mux") {
        return Some((rtp, rtp));
    }
    let mut words = media.attribute("rtcp").and_then(|v| std::str::from_utf8(v).ok()).unwrap_or_default().split(' ');
    let port = words.next().and_then(text::number).filter(|port| *port != 0);
    let ip = words.nth(2).and_then(|word| word.parse().ok()).unwrap_or(ip);
    Some((rtp, SocketAddr::new(ip, port.unwrap_or(media.port().saturating_add(1)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 111 0 18 77 101 111 x\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
        m=video 5000 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP6 2001:db8::1\r\na=rtcp:5011 IN IP4 192.0.2.9\r\n\
        a=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f; packetization-mode=1\r\na=rtpmap:97 rtx/90000\r\n\
        m=message 9 TCP/MSRP *\r\n";

    #[test]
    fn codecs_in_order() {
        let offer = Description::parse(OFFER.as_bytes()).unwrap();
        let codecs = Codec::all(&offer.media()[0]);
        let maps: Vec<_> = codecs.iter().map(Codec::rtpmap).collect();
        assert_eq!(maps, ["111 opus/48000/2", "0 PCMU/8000", "18 G729/8000", "101 telephone-event/8000"]);
        assert_eq!(codecs[0].parameter("useinbandfec"), Some("1"));
        assert!(codecs[3].is_auxiliary() && !codecs[1].is_auxiliary());
    }

    #[test]
    fn security_by_protocol() {
        let offer = Description::parse(OFFER.as_bytes()).unwrap();
        let found: Vec<_> = offer.media().iter().map(RtpSecurity::of).collect();
        assert_eq!(found, [Some(RtpSecurity::None), Some(RtpSecurity::Dtls), None]);
    }

    #[test]
    fn where_packets_go() {
        let offer = Description::parse(OFFER.as_bytes()).unwrap();
        let at =
            |index: usize| rtp_addresses(&offer, &offer.media()[index]).map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(at(0), Some(("192.0.2.1:4000".into(), "192.0.2.1:4001".into())));
        assert_eq!(at(1), Some(("[2001:db8::1]:5000".into(), "192.0.2.9:5011".into())));
    }

    #[test]
    fn profiles_of_h264() {
        let h264 = |fmtp: &str| Codec { name: "h264".into(), fmtp: Some(fmtp.into()), ..Codec::fixed(34).unwrap() };
        let one = h264("profile-level-id=42e01f;packetization-mode=1");
        for (fmtp, same) in [
            ("packetization-mode=1;profile-level-id=42001F", true),
            ("packetization-mode=0;profile-level-id=42e01f", false),
            ("packetization-mode=1;profile-level-id=640c1f", false),
            ("packetization-mode=1", true),
            ("", false),
        ] {
            assert_eq!(one.same_as(&h264(fmtp)), same, "{fmtp}");
        }
    }
}
