//! The receipt itself, `message/imdn+xml` (RFC 5438 §11).

use std::ops::Range;

use crate::disposition::{Disposition, Status};
use crate::xml::{Shape, Step, XmlError, element};

/// Longest document that is read, in bytes.
pub const MAX_NOTIFICATION_LEN: usize = 16 * 1024;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";
const CPM_NAMESPACE: &str = "urn:oma:xml:cpm:imdn-extensions:1.0";
const SHAPE: Shape = Shape { root: "imdn", namespaces: &[NAMESPACE, CPM_NAMESPACE], max: MAX_NOTIFICATION_LEN };

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The id of the message, not of the receipt.
    pub message_id: String,
    /// The message's own `DateTime`, as text; empty if a sloppy client left it out.
    pub date_time: String,
    pub recipient: Option<String>,
    pub original_recipient: Option<String>,
    pub subject: Option<String>,
    pub disposition: Disposition,
    /// Goes with `disposition` ([`Status::fits`]).
    pub status: Status,
}

impl Notification {
    /// Parses a document. The order of the elements, foreign elements and a missing namespace do not matter.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let mut reading = Reading::default();
        SHAPE.walk(bytes, |step| {
            match step {
                Step::Open { name, ours, .. } => reading.open(name, ours),
                Step::Text { text, .. } => reading.text(text),
                Step::Close { .. } => reading.close(),
            }
            Ok(())
        })?;
        reading.finish()
    }

    /// The document.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"");
        out.push_str(NAMESPACE);
        let interworking = self.disposition == Disposition::Interworking;
        if interworking {
            out.push_str("\" xmlns:cpm=\"");
            out.push_str(CPM_NAMESPACE);
        }
        out.push_str("\">\r\n");
        element(&mut out, "message-id", &self.message_id);
        element(&mut out, "datetime", &self.date_time);
        // The schema has the two addresses as a pair, and the subject only behind them.
        if let Some(recipient) = self.recipient.as_ref().or(self.original_recipient.as_ref()) {
            element(&mut out, "recipient-uri", recipient);
            element(&mut out, "original-recipient-uri", self.original_recipient.as_ref().unwrap_or(recipient));
            if let Some(subject) = &self.subject {
                element(&mut out, "subject", subject);
            }
        }
        let prefix = if interworking { "cpm:" } else { "" };
        let (name, status) = (self.disposition.element(), self.status.element());
        out.push_str(&format!(
            "  <{prefix}{name}><{prefix}status><{prefix}{status}/></{prefix}status></{prefix}{name}>\r\n</imdn>\r\n"
        ));
        out
    }

    /// A document without the addresses of its recipient, for senders that may not see who is on a list (RFC 5438 §8,
    /// §14.2). The subject goes with them, for the schema has it only behind them; every other byte stays.
    pub fn without_recipient(document: &[u8]) -> Result<Vec<u8>, XmlError> {
        Self::parse(document)?;
        let mut cuts: Vec<Range<usize>> = Vec::new();
        let mut begun = None;
        SHAPE.walk(document, |step| {
            match step {
                Step::Open { name, ours: true, depth: 1, start } => {
                    let named = matches!(name, "recipient-uri" | "original-recipient-uri" | "subject");
                    begun = named.then_some(start);
                }
                Step::Close { depth: 1, end } => cuts.extend(begun.take().map(|start| start..end)),
                _ => {}
            }
            Ok(())
        })?;
        let mut out = Vec::with_capacity(document.len());
        let mut at = 0;
        for cut in cuts {
            out.extend_from_slice(&document[at..cut.start]);
            at = cut.end;
        }
        out.extend_from_slice(&document[at..]);
        Ok(out)
    }
}

/// Where we are in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Field(Field),
    Notification(Disposition),
    /// Within `<status>`.
    Status(Disposition),
    /// Within an element that tells us nothing.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    MessageId,
    DateTime,
    Recipient,
    OriginalRecipient,
    Subject,
}

#[derive(Default)]
struct Reading {
    /// Below the root.
    path: Vec<Place>,
    /// Indexed by `Field`; the first of each counts.
    fields: [Option<String>; 5],
    text: String,
    outcome: Option<(Disposition, Status)>,
}

impl Reading {
    fn open(&mut self, name: &str, ours: bool) {
        let place = match self.path.last() {
            None if ours => match (field(name), Disposition::from_element(name)) {
                (Some(field), _) => Place::Field(field),
                (_, Some(disposition)) => Place::Notification(disposition),
                _ => Place::Other,
            },
            Some(Place::Notification(disposition)) if ours && name == "status" => Place::Status(*disposition),
            Some(Place::Status(disposition)) if ours => {
                if let (Some(status), None) = (Status::from_element(name), self.outcome) {
                    self.outcome = Some((*disposition, status));
                }
                Place::Other
            }
            _ => Place::Other,
        };
        self.text.clear();
        self.path.push(place);
    }

    fn close(&mut self) {
        if let Some(Place::Field(field)) = self.path.pop() {
            let slot = &mut self.fields[field as usize];
            if slot.is_none() {
                *slot = Some(self.text.trim().to_owned());
            }
        }
        self.text.clear();
    }

    fn text(&mut self, text: &str) {
        if let Some(Place::Field(_)) = self.path.last() {
            self.text.push_str(text);
        }
    }

    fn finish(mut self) -> Result<Notification, XmlError> {
        let mut take = |field: Field| self.fields[field as usize].take().filter(|text| !text.is_empty());
        let message_id = take(Field::MessageId).ok_or(XmlError::Missing("message-id"))?;
        let (disposition, status) = self.outcome.ok_or(XmlError::Missing("status"))?;
        if !status.fits(disposition) {
            return Err(XmlError::Status);
        }
        Ok(Notification {
            message_id,
            date_time: take(Field::DateTime).unwrap_or_default(),
            recipient: take(Field::Recipient),
            original_recipient: take(Field::OriginalRecipient),
            subject: take(Field::Subject),
            disposition,
            status,
        })
    }
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "message-id" => Field::MessageId,
        "datetime" => Field::DateTime,
        "recipient-uri" => Field::Recipient,
        "original-recipient-uri" => Field::OriginalRecipient,
        "subject" => Field::Subject,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
