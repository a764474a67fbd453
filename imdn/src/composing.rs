//! Signs that somebody types, `application/im-iscomposing+xml` (RFC 3994).

mod composer;
mod pace;
mod watcher;

use std::time::Duration;

pub use composer::{Composer, ComposerConfig};
pub use pace::Pace;
pub use watcher::Watcher;

use crate::cpim::Cpim;
use crate::media::{CPIM_TYPE, is_composing, is_type};
use crate::xml::{Shape, Step, XmlError, element};

/// Longest document that is read, in bytes.
pub const MAX_COMPOSING_LEN: usize = 4 * 1024;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:im-iscomposing";
/// As the RFC spells it in places, and some clients with it.
const OTHER_NAMESPACE: &str = "urn:ietf:params:xml:ns:im-composing";
const SHAPE: Shape = Shape { root: "isComposing", namespaces: &[NAMESPACE, OTHER_NAMESPACE], max: MAX_COMPOSING_LEN };

/// Whether somebody types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ComposingState {
    #[default]
    Idle,
    Active,
}

impl ComposingState {
    /// The word in `<state>`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
        }
    }
}

/// A status message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composing {
    pub state: ComposingState,
    /// When the user last typed, as text.
    pub last_active: Option<String>,
    /// What is being composed: a media type, or the first half of one.
    pub content_type: Option<String>,
    /// In how many seconds the next sign is to be expected; never 0.
    pub refresh: Option<u32>,
}

impl Composing {
    /// Somebody types. `refresh` as for [`Composing::refresh`], in whole seconds.
    pub fn active(refresh: Option<Duration>) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let refresh = refresh.map(seconds).filter(|seconds| *seconds > 0);
        Self { state: ComposingState::Active, refresh, ..Self::default() }
    }

    /// Somebody stopped typing.
    pub fn idle() -> Self {
        Self::default()
    }

    /// Parses a document. A state that is missing or unknown is idle (RFC 3994 §3.5); foreign elements, the order and a
    /// missing namespace do not matter, and a refresh that is no number above 0 is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let mut fields: [Option<String>; FIELDS.len()] = Default::default();
        let (mut current, mut text) = (None, String::new());
        SHAPE.walk(bytes, |step| {
            match step {
                Step::Open { name, ours, depth: 1, .. } => {
                    current = FIELDS.iter().position(|field| ours && *field == name);
                    text.clear();
                }
                Step::Text { text: more, depth: 1 } => text.push_str(more),
                Step::Close { depth: 1, .. } => {
                    // The first of each counts.
                    if let Some(slot) = current.take().map(|at| &mut fields[at]).filter(|slot| slot.is_none()) {
                        *slot = Some(text.trim().to_owned());
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        let [state, last_active, content_type, refresh] = fields.map(|field| field.filter(|text| !text.is_empty()));
        let active = state.is_some_and(|state| state.eq_ignore_ascii_case(ComposingState::Active.as_str()));
        Ok(Self {
            state: if active { ComposingState::Active } else { ComposingState::Idle },
            last_active,
            content_type,
            refresh: refresh.and_then(|text| number(&text)),
        })
    }

    /// Reads the sign in a body, bare or in an envelope; `None` for a body that is none.
    pub fn of(content_type: &str, body: &[u8]) -> Option<Result<Self, XmlError>> {
        if is_composing(content_type) {
            return Some(Self::parse(body));
        }
        let envelope = is_type(content_type, CPIM_TYPE).then(|| Cpim::parse(body).ok())??;
        envelope.content_type().filter(|inner| is_composing(inner))?;
        Some(envelope.decoded_body().map_or(Err(XmlError::Encoding), |body| Self::parse(&body)))
    }

    /// The document.
    pub fn to_xml(&self) -> String {
        let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"{NAMESPACE}\">\r\n");
        element(&mut out, FIELDS[0], self.state.as_str());
        let refresh = self.refresh.map(|seconds| seconds.to_string());
        for (name, text) in FIELDS[1..].iter().zip([&self.last_active, &self.content_type, &refresh]) {
            if let Some(text) = text {
                element(&mut out, name, text);
            }
        }
        out.push_str("</isComposing>\r\n");
        out
    }
}

/// In the order of the schema (RFC 3994 §6.1).
const FIELDS: [&str; 4] = ["state", "lastactive", "contenttype", "refresh"];

/// A number above 0; one beyond all measure is the largest.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX)).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests;
