//! What a message has to do with an earlier one, told in headers of its envelope.
//!
//! The headers are kept as they came; this is what the server understands of them.

use std::borrow::Cow;

use chappe_imdn::{Cpim, Envelope};

use crate::id::is_id;

/// Replies and reactions as Linphone writes them.
const LINPHONE: &str = "tag:linphone.org,2020:params:groupchat";
const REPLY: &str = "Replying-To-Message-ID";
const REPLY_SENDER: &str = "Replying-To-Sender";
/// A reaction only together with this Content-Disposition.
const REACTION: &str = "In-Reply-To";
const REACTION_DISPOSITION: &str = "Reaction";
/// (u) Nobody has published names for edits and recalls that could be checked; these are our own.
const OWN: &str = "https://github.com/chappe-im/chappe/relation";
const EDIT: &str = "Edits-Message-ID";
const RECALL: &str = "Recalls-Message-ID";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    Reply,
    /// A sign at a message; without content it takes the earlier sign back.
    Reaction,
    /// Instead of the earlier content.
    Edit,
    /// The earlier message is to be forgotten.
    Recall,
}

/// The earlier message, and what this one is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub kind: RelationKind,
    pub message_id: Box<str>,
    /// Who wrote the earlier message, where a reply says so.
    pub sender: Option<Box<str>>,
}

impl RelationKind {
    /// A message is changed and recalled by nobody but who wrote it.
    pub fn is_for_author(self) -> bool {
        matches!(self, RelationKind::Edit | RelationKind::Recall)
    }
}

impl Relation {
    /// The message that is changed or recalled, which only its author may do.
    pub fn revised(&self) -> Option<&str> {
        self.kind.is_for_author().then_some(&*self.message_id)
    }

    /// Of several, the one that changes most counts.
    pub fn of(envelope: &Cpim<'_>) -> Option<Relation> {
        let value = |namespace, name| envelope.value(namespace, name).filter(|value| is_id(value.as_bytes()));
        let is_reaction = || {
            let disposition = envelope.content_header("Content-Disposition").unwrap_or_default();
            let kind = disposition.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case(REACTION_DISPOSITION)
        };
        let found = |kind, id: Cow<'_, str>| Some(Relation { kind, message_id: (*id).into(), sender: None });
        if let Some(id) = value(OWN, RECALL) {
            return found(RelationKind::Recall, id);
        }
        if let Some(id) = value(OWN, EDIT) {
            return found(RelationKind::Edit, id);
        }
        if let Some(id) = value(LINPHONE, REACTION).filter(|_| is_reaction()) {
            return found(RelationKind::Reaction, id);
        }
        let id = value(LINPHONE, REPLY)?;
        let sender = value(LINPHONE, REPLY_SENDER).map(|sender| (*sender).into());
        Some(Relation { kind: RelationKind::Reply, message_id: (*id).into(), sender })
    }

    /// Adds the headers to an envelope in the making. A reaction wants [`Relation::content_header`] besides.
    pub fn write(&self, envelope: Envelope) -> Envelope {
        match self.kind {
            RelationKind::Reply => {
                let envelope = envelope.namespace("linphone", LINPHONE);
                let envelope = envelope.header(&format!("linphone.{REPLY}"), &self.message_id);
                match &self.sender {
                    Some(sender) => envelope.header(&format!("linphone.{REPLY_SENDER}"), sender),
                    None => envelope,
                }
            }
            RelationKind::Reaction => {
                envelope.namespace("linphone", LINPHONE).header(&format!("linphone.{REACTION}"), &self.message_id)
            }
            RelationKind::Edit | RelationKind::Recall => {
                let name = if self.kind == RelationKind::Edit { EDIT } else { RECALL };
                envelope.namespace("chappe", OWN).header(&format!("chappe.{name}"), &self.message_id)
            }
        }
    }

    /// The header of the content that belongs to it.
    pub fn content_header(&self) -> Option<(&'static str, &'static str)> {
        (self.kind == RelationKind::Reaction).then_some(("Content-Disposition", REACTION_DISPOSITION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [RelationKind; 4] =
        [RelationKind::Reply, RelationKind::Reaction, RelationKind::Edit, RelationKind::Recall];

    #[test]
    fn written_and_read() {
        for kind in KINDS {
            let sender = (kind == RelationKind::Reply).then(|| "sip:bob@example.com".into());
            let relation = Relation { kind, message_id: "M1".into(), sender };
            let envelope = relation.write(Envelope::new("sip:a@b", "sip:b@b"));
            let more: Vec<_> = relation.content_header().into_iter().collect();
            let bytes = envelope.content("text/plain", &more, b"x");
            assert_eq!(Relation::of(&Cpim::parse(&bytes).unwrap()), Some(relation), "{kind:?}");
        }
    }

    #[test]
    fn what_is_none() {
        let reply = "l.Replying-To-Message-ID: M1\r\n";
        for (name, headers, content, expected) in [
            ("a reply", reply, "", Some(RelationKind::Reply)),
            (
                "a reaction",
                "l.In-Reply-To: M1\r\n",
                "Content-Disposition: reaction; x=y\r\n",
                Some(RelationKind::Reaction),
            ),
            ("no disposition", "l.In-Reply-To: M1\r\n", "", None),
            ("no namespace", "Replying-To-Message-ID: M1\r\n", "", None),
            ("no id", "l.Replying-To-Message-ID: two words\r\n", "", None),
            (
                "an edit that is a reply",
                "c.Edits-Message-ID: M1\r\nl.Replying-To-Message-ID: M0\r\n",
                "",
                Some(RelationKind::Edit),
            ),
        ] {
            let text = format!(
                "NS: l <{LINPHONE}>\r\nNS: c <{OWN}>\r\n{headers}\r\nContent-Type: text/plain\r\n{content}\r\n"
            );
            let seen = Relation::of(&Cpim::parse(text.as_bytes()).unwrap());
            assert_eq!(seen.map(|seen| seen.kind), expected, "{name}");
        }
    }

    #[test]
    fn only_the_author_changes_a_message() {
        let of = |kind| Relation { kind, message_id: "M1".into(), sender: None };
        let revised = KINDS.map(|kind| of(kind).revised().map(ToOwned::to_owned));
        assert_eq!(revised, [None, None, Some("M1".into()), Some("M1".into())]);
    }
}
