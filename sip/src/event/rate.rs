//! Rate control of notifications (RFC 6446): what the subscriber asks for in Event, and what we say we keep to.

use std::fmt;

use crate::message::Message;
use crate::name::HeaderName;
use crate::text;

/// Seconds are the finest grain here: a faster rate than one a second limits nothing.
const LONGEST: f64 = 86_400.0;

/// The rates of a subscription, as seconds between notifications; 0 where none was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// `max-rate` (§4): not more often.
    max: u32,
    /// `min-rate` (§5): not more rarely.
    min: u32,
    /// `adaptive-min-rate` (§6): the same on average; kept to as `min-rate` is, which is never rarer.
    adaptive: u32,
}

impl Rate {
    /// Reads the parameters of Event; one that is malformed or zero was not asked for.
    pub fn of(request: &Message) -> Rate {
        let value = request.header(HeaderName::Event).unwrap_or_default();
        let params = value.iter().position(|b| *b == b';').map_or(&[][..], |at| &value[at..]);
        let seconds = |name, round: fn(f64) -> f64| {
            let text = text::param(params, name).and_then(|v| str::from_utf8(v).ok())?;
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() <= 16;
            let rate: f64 = text.parse().ok().filter(|_| plain)?;
            (rate > 0.0).then(|| round((1.0 / rate).clamp(1.0, LONGEST)) as u32)
        };
        Rate {
            max: seconds("max-rate", f64::ceil).unwrap_or(0),
            min: seconds("min-rate", f64::floor).unwrap_or(0),
            adaptive: seconds("adaptive-min-rate", f64::floor).unwrap_or(0),
        }
    }

    /// Least seconds between two notifications: the package's own, or more where the subscriber wants fewer.
    pub fn interval(self, package: u32) -> u32 {
        self.max.max(package)
    }

    /// Most seconds between two notifications; never less than the interval.
    pub fn at_least_every(self, package: u32) -> Option<u32> {
        let wanted = [self.min, self.adaptive].into_iter().filter(|s| *s > 0).min()?;
        Some(wanted.max(self.interval(package)).max(1))
    }
}

/// The parameters for Subscription-State (§4.3, §5.3, §6.3), each with its semicolon.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, seconds) in [("max-rate", self.max), ("min-rate", self.min), ("adaptive-min-rate", self.adaptive)] {
            if seconds > 0 {
                write!(f, ";{name}={:.10}", 1.0 / f64::from(seconds))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::reread;
    use bytes::Bytes;

    #[test]
    fn rates_of_an_event() {
        for (event, interval, every) in [
            ("presence", 5, None),
            ("presence;max-rate=0.1", 10, None),
            ("presence;max-rate=50", 5, None),
            ("presence;max-rate=0.3;min-rate=0.01", 5, Some(100)),
            ("presence;max-rate=0.01;min-rate=0.1", 100, Some(100)),
            ("presence;min-rate=99.9", 5, Some(5)),
            ("presence;adaptive-min-rate=0.05;min-rate=0.02", 5, Some(20)),
            ("presence;max-rate=0.0000000001", 86_400, None),
            ("presence;max-rate=0;min-rate=-1", 5, None),
            ("presence;max-rate=1e-3;min-rate=inf", 5, None),
        ] {
            let head = "SUBSCRIBE sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n";
            let text = format!("{head}To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nEvent: {event}\r\n\r\n");
            let rate = Rate::of(&reread(&Bytes::from(text)).unwrap());
            assert_eq!((rate.interval(5), rate.at_least_every(5)), (interval, every), "{event}");
        }
    }
}
