//! The session timer (RFC 4028): how long a session lasts without a refresh, and who refreshes it.

use std::time::{Duration, Instant};

use crate::header::{Refresher, SessionExpires};
use crate::message::Message;
use crate::name::HeaderName;

/// Shortest interval that anybody may ask for, in seconds (§4).
pub(super) const FLOOR: u32 = 90;
/// Longest before the end at which the session is given up (§10).
const MARGIN: u32 = 32;
/// Longest interval that is reckoned with: a week.
const LONGEST: u32 = 604_800;

/// What an INVITE or UPDATE and its 2xx have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) seconds: u32,
    pub(super) refresher: Refresher,
}

/// The interval is below `min` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSmall {
    pub(super) min: u32,
}

fn session_expires(message: &Message) -> Option<SessionExpires> {
    message.header(HeaderName::SessionExpires).and_then(|value| SessionExpires::parse(value).ok())
}

/// The Min-SE of a message, in seconds.
pub(super) fn min_se(message: &Message) -> Option<u32> {
    let value = message.header(HeaderName::MinSe)?;
    let digits = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Agreed {
    /// What the 2xx to a request of the peer says (§9); `None`: no timer. `wanted` as in [`super::Policy`].
    pub(super) fn as_uas(request: &Message, wanted: u32, min: u32) -> Result<Option<Agreed>, TooSmall> {
        let supports =
            request.has_token(HeaderName::Supported, "timer") || request.has_token(HeaderName::Require, "timer");
        let least = min_se(request).unwrap_or(FLOOR).clamp(FLOOR, LONGEST);
        let seconds = match session_expires(request) {
            Some(asked) if supports && asked.seconds < min => return Err(TooSmall { min }),
            // A proxy wants it, and the client knows nothing of it.
            Some(asked) if asked.seconds < FLOOR => return Ok(None),
            Some(asked) if wanted == 0 => asked.seconds.min(LONGEST),
            Some(asked) => asked.seconds.min(wanted.max(least).max(min)),
            None if supports && wanted > 0 => wanted.max(least).max(min),
            None => return Ok(None),
        };
        // Table 2: only a client that knows the timer can refresh.
        let asked = session_expires(request).and_then(|asked| asked.refresher);
        let refresher = if supports { asked.unwrap_or(Refresher::Uac) } else { Refresher::Uas };
        Ok(Some(Agreed { seconds, refresher }))
    }

    /// What the 2xx to our request says (§7.2).
    pub(super) fn as_uac(response: &Message) -> Option<Agreed> {
        let said = session_expires(response)?;
        let refresher = said.refresher.unwrap_or(Refresher::Uac);
        Some(Agreed { seconds: said.seconds.clamp(FLOOR, LONGEST), refresher })
    }

    /// The value of Session-Expires.
    pub(super) fn value(&self) -> String {
        let refresher = match self.refresher {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        };
        format!("{};refresher={refresher}", self.seconds)
    }
}

/// The timer of one session that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionTimer {
    pub(super) seconds: u32,
    /// When we refresh; `None`: the peer does.
    pub(super) refresh: Option<Instant>,
    /// When the session is given up, shortly before it lapses (§10).
    pub(super) gives_up: Instant,
}

impl SessionTimer {
    /// Starts with a 2xx; `uac`: to our request.
    pub(super) fn start(now: Instant, agreed: Agreed, uac: bool) -> SessionTimer {
        let Agreed { seconds, refresher } = agreed;
        let ours = (refresher == Refresher::Uac) == uac;
        let after = |seconds: u32| now + Duration::from_secs(seconds.into());
        SessionTimer {
            seconds,
            refresh: ours.then(|| after(seconds / 2)),
            gives_up: after(seconds - MARGIN.min(seconds / 3)),
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.refresh.map_or(self.gives_up, |at| at.min(self.gives_up))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::transaction::reread;
    use crate::transaction::testing::epoch;

    fn message(headers: &str) -> Message {
        let text = format!("INVITE sip:b@h SIP/2.0\nCSeq: 1 INVITE\n{headers}\n\n").replace('\n', "\r\n");
        reread(&Bytes::from(text)).unwrap()
    }

    #[test]
    fn what_a_uas_grants() {
        for (name, headers, wanted, min, expected) in [
            ("nothing asked", "", 1800, 90, Ok(None)),
            ("supported, not asked", "Supported: timer", 1800, 90, Ok(Some("1800;refresher=uac"))),
            ("supported, not wanted", "Supported: timer", 0, 90, Ok(None)),
            ("asked", "Supported: timer\nSession-Expires: 600", 1800, 90, Ok(Some("600;refresher=uac"))),
            ("cut", "k: timer\nx: 9000;refresher=uas", 1800, 90, Ok(Some("1800;refresher=uas"))),
            ("cut, not below Min-SE", "k: timer\nx: 9000\nMin-SE: 3600", 1800, 90, Ok(Some("3600;refresher=uac"))),
            ("raised to Min-SE", "k: timer\nMin-SE: 2400;x=y", 1800, 90, Ok(Some("2400;refresher=uac"))),
            ("too small", "k: timer\nx: 60", 1800, 90, Err(90)),
            ("too small for us", "k: timer\nx: 200", 1800, 300, Err(300)),
            ("cut, not below our own", "k: timer\nx: 9000", 1800, 3600, Ok(Some("3600;refresher=uac"))),
            ("a proxy asks, small for us", "x: 200", 1800, 300, Ok(Some("200;refresher=uas"))),
            ("a proxy asks for nonsense", "x: 1", 1800, 90, Ok(None)),
            ("whatever is asked", "k: timer\nx: 4294967295", 0, 90, Ok(Some("604800;refresher=uac"))),
        ] {
            let got = Agreed::as_uas(&message(headers), wanted, min);
            let got = got.map(|agreed| agreed.map(|a| a.value())).map_err(|e| e.min);
            assert_eq!(got.as_ref().map(|a| a.as_deref()), expected.as_ref().map(|a| *a), "{name}");
        }
    }

    #[test]
    fn a_session_is_refreshed_at_half_time_and_given_up_before_it_lapses() {
        let t0 = epoch();
        let seconds = |at: Instant| (at - t0).as_secs();
        for (headers, refresh, gives_up) in [
            ("Session-Expires: 1800;refresher=uac", Some(900), 1768),
            ("Session-Expires: 1800;refresher=uas", None, 1768),
            ("Session-Expires: 90", Some(45), 60),
            ("Session-Expires: 0;refresher=uac", Some(45), 60),
        ] {
            let timer = SessionTimer::start(t0, Agreed::as_uac(&message(headers)).unwrap(), true);
            assert_eq!((timer.refresh.map(seconds), seconds(timer.gives_up)), (refresh, gives_up), "{headers}");
        }
    }
}
