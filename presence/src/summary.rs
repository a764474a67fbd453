//! How many messages wait for a user (RFC 3842): what mail boxes publish, and the sum of it.

use std::fmt::Write as _;

use crate::publish::State;
use crate::xml::{Limits, XmlError};

/// Classes of messages (RFC 3458), as a summary line names them.
const CLASSES: [&str; 6] =
    ["Voice-Message", "Fax-Message", "Pager-Message", "Multimedia-Message", "Text-Message", "None"];

/// Messages of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub new: u32,
    pub old: u32,
    /// Of these; `None` where it is not told.
    pub urgent: Option<(u32, u32)>,
}

impl Count {
    fn add(&mut self, other: Count) {
        let urgent = |a: (u32, u32), b: (u32, u32)| (a.0.saturating_add(b.0), a.1.saturating_add(b.1));
        self.new = self.new.saturating_add(other.new);
        self.old = self.old.saturating_add(other.old);
        self.urgent = match (self.urgent, other.urgent) {
            (Some(a), Some(b)) => Some(urgent(a, b)),
            (a, b) => a.or(b),
        };
    }
}

/// What one mail box says of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    waiting: bool,
    account: Option<Box<str>>,
    counts: [Option<Count>; CLASSES.len()],
}

impl State for Summary {
    const MEDIA_TYPE: &'static str = "application/simple-message-summary";

    /// Headers of single messages, behind an empty line, are passed over (§3.5).
    fn read(body: &[u8], limits: &Limits) -> Result<Summary, XmlError> {
        if body.len() > limits.bytes {
            return Err(XmlError::TooLong { len: body.len(), max: limits.bytes });
        }
        let text = str::from_utf8(body).map_err(|_| XmlError::Encoding)?;
        let mut summary = Summary::default();
        let mut status = None;
        for line in text.lines().take_while(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').ok_or(XmlError::Malformed)?;
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("Messages-Waiting") {
                status = match &*value.to_ascii_lowercase() {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => return Err(XmlError::Invalid("Messages-Waiting")),
                };
            } else if name.eq_ignore_ascii_case("Message-Account") {
                let sound = !value.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>'));
                summary.account = Some(value.into()).filter(|_| sound);
            } else if let Some(at) = CLASSES.iter().position(|class| class.eq_ignore_ascii_case(name)) {
                summary.counts[at] = Some(count(value).ok_or(XmlError::Invalid("summary line"))?);
            }
        }
        summary.waiting = status.ok_or(XmlError::Missing("Messages-Waiting"))?;
        Ok(summary)
    }
}

impl Summary {
    /// Messages that wait here, `new` of them.
    pub fn of_texts(new: u32) -> Summary {
        let mut summary = Summary { waiting: new > 0, ..Summary::default() };
        summary.counts[4] = Some(Count { new, ..Count::default() });
        summary
    }
}

/// One document of what several say. An account is named where only one mail box is, or else `user`, a URI.
pub fn document<'a>(all: impl IntoIterator<Item = &'a Summary>, user: &str) -> String {
    let (mut waiting, mut accounts, mut counts) = (false, Vec::new(), [None::<Count>; CLASSES.len()]);
    for summary in all {
        waiting |= summary.waiting;
        accounts.extend(summary.account.as_deref());
        for (sum, count) in counts.iter_mut().zip(summary.counts) {
            if let Some(count) = count {
                sum.get_or_insert_default().add(count);
            }
        }
    }
    let account = if let [one] = accounts[..] { one } else { user };
    let mut out = format!("Messages-Waiting: {}\r\n", if waiting { "yes" } else { "no" });
    let _ = write!(out, "Message-Account: {account}\r\n");
    for (class, count) in CLASSES.iter().zip(counts) {
        let Some(Count { new, old, urgent }) = count else { continue };
        let _ = write!(out, "{class}: {new}/{old}");
        if let Some((new, old)) = urgent {
            let _ = write!(out, " ({new}/{old})");
        }
        out.push_str("\r\n");
    }
    out
}

/// `2/8 (0/2)`. A larger number counts as the largest (§3.5).
fn count(value: &str) -> Option<Count> {
    let pair = |text: &str| {
        let number = |text: &str| {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (new, old) = text.split_once('/')?;
        Some((number(new)?, number(old)?))
    };
    let (all, urgent) = match value.split_once('(') {
        Some((all, urgent)) => (all, Some(pair(urgent.trim().strip_suffix(')')?)?)),
        None => (value, None),
    };
    let (new, old) = pair(all)?;
    Some(Count { new, old, urgent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Summary, XmlError> {
        Summary::read(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn the_example_of_the_document_comes_back() {
        let text =
            "Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n";
        let more = "\r\nTo: <alice@atlanta.example.com>\r\nSubject: carpool tomorrow?\r\n";
        let summary = read(&format!("{text}{more}")).unwrap();
        assert_eq!(document([&summary], "sip:alice@h"), text);
    }

    #[test]
    fn several_are_one() {
        let voice = read("messages-waiting:no\nvoice-message : 0/3\nFax-Message: 4294967295/1 (1/0)\n").unwrap();
        let other = read("Messages-Waiting: yes\nFax-Message: 99999999999/1\nX-Else: 1\n").unwrap();
        let (texts, none) = (Summary::of_texts(2), Summary::of_texts(0));
        assert_eq!(
            document([&voice, &other, &texts], "sip:u@h"),
            "Messages-Waiting: yes\r\nMessage-Account: sip:u@h\r\nVoice-Message: 0/3\r\n\
             Fax-Message: 4294967295/2 (1/0)\r\nText-Message: 2/0\r\n"
        );
        assert!(document([&voice, &none], "sip:u@h").starts_with("Messages-Waiting: no\r\n"));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "Voice-Message: 1/0\r\n",
            "Messages-Waiting: maybe\r\n",
            "Messages-Waiting\r\n",
            "Messages-Waiting: yes\r\nVoice-Message: 1\r\n",
            "Messages-Waiting: yes\r\nVoice-Message: 1/-1\r\n",
            "Messages-Waiting: yes\r\nVoice-Message: 1/0 (0/0\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = format!("Messages-Waiting: yes\r\n{}", " ".repeat(70_000));
        assert!(matches!(read(&long), Err(XmlError::TooLong { .. })));
    }
}
