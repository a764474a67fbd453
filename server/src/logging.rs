//! Logs: lines of text or of JSON on standard error, without what is private.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, Redact};

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`log.level` is no filter: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("logs were begun already")]
    Begun,
}

/// Begins to log as `config` says.
pub fn begin(config: &Log) -> Result<(), LogError> {
    redact(config.redact);
    let filter = EnvFilter::builder().parse(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_timer(SystemTime).finish().try_init(),
        LogFormat::Text => {
            // Under systemd the journal has the time already.
            let time = std::env::var_os("JOURNAL_STREAM").is_none();
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_timer(Time(time));
            builder.finish().try_init()
        }
    };
    begun.map_err(|_| LogError::Begun)
}

struct Time(bool);

impl FormatTime for Time {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
        if self.0 { SystemTime.format_time(w) } else { Ok(()) }
    }
}

static REDACT: AtomicU8 = AtomicU8::new(Redact::Hash as u8);

/// Sets how [`Redacted`] shows what it holds, for the whole process.
pub fn redact(redact: Redact) {
    REDACT.store(redact as u8, Ordering::Relaxed);
}

/// A number, user or address on its way into a log. As `#3f9a1c` it can be followed through one run of the server and
/// means nothing outside of it.
#[derive(Clone, Copy)]
pub struct Redacted<T>(pub T);

/// Six hexadecimal digits that stand for a text through one run of the server.
pub fn mark(text: &str) -> String {
    // Keyed afresh for each run: phone numbers are few enough to be found from a plain hash.
    static KEY: OnceLock<RandomState> = OnceLock::new();
    format!("{:06x}", KEY.get_or_init(RandomState::new).hash_one(text) & 0xff_ffff)
}

impl<T: fmt::Display> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match REDACT.load(Ordering::Relaxed) {
            off if off == Redact::Off as u8 => self.0.fmt(f),
            hash if hash == Redact::Hash as u8 => {
                write!(f, "#{}", mark(&self.0.to_string()))
            }
            _ => f.write_str("…"),
        }
    }
}

impl<T: fmt::Display> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_redacted_keeps_a_mark_and_nothing_else() {
        // One test for all modes: the switch is the process's.
        let (alice, bob) = (Redacted("alice@example.com").to_string(), Redacted("bob@example.com").to_string());
        assert_eq!((alice.len(), &alice[..1]), (7, "#"));
        assert_eq!(alice, format!("{:?}", Redacted("alice@example.com")));
        assert_ne!(alice, bob);
        redact(Redact::Hide);
        assert_eq!(Redacted("alice@example.com").to_string(), "…");
        redact(Redact::Off);
        assert_eq!(Redacted("alice@example.com").to_string(), "alice@example.com");
        redact(Redact::Hash);
    }
}
