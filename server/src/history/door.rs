//! Conversations in JSON.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chappe_api::contacts::{RestMethod, RestReply};
use chappe_api::history::{History, HistoryCall};
use chappe_chat::{Envelope, RelationKind};
use chappe_store::{Conversation, ConversationId, Cursor, Entry, ReceiptStatus, Step, StoreError, Way};
use chappe_xcap::percent_decode;
use serde_json::{Value, json};

use super::Content;
use crate::core::Core;
use crate::xcap::owner_of;

/// Messages or conversations in one answer: what is given where nothing is asked for, and the most.
const PAGE: usize = 50;
const MOST: usize = 200;
const GONE: &str = "SVC0001";
const INVALID: &str = "SVC0002";

/// The histories of a node, for HTTP.
pub struct HistoryDoor(pub Arc<Core>);

/// What the query of a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    limit: usize,
    before: Option<u64>,
    after: Option<u64>,
}

impl Query {
    /// `Err` names the part that is wrong.
    fn read(text: &str) -> Result<Query, &'static str> {
        let mut query = Query { limit: PAGE, ..Query::default() };
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || value.parse::<u64>();
            match name {
                "limit" => query.limit = number().map_err(|_| "limit")?.clamp(1, MOST as u64) as usize,
                "before" => query.before = Some(number().map_err(|_| "before")?),
                "after" => query.after = Some(number().map_err(|_| "after")?),
                _ => {}
            }
        }
        if query.before.is_some() && query.after.is_some() { Err("before and after") } else { Ok(query) }
    }

    fn cursor(&self) -> Cursor {
        match (self.before, self.after) {
            (Some(id), _) => Cursor::Before(id),
            (None, Some(id)) => Cursor::After(id),
            (None, None) => Cursor::Newest,
        }
    }
}

#[async_trait]
impl History for HistoryDoor {
    async fn rest(&self, call: HistoryCall) -> RestReply {
        self.serve(&call).await.unwrap_or_else(|error| {
            self.0.counters.store_failed();
            tracing::error!(%error, "a history could not be read");
            RestReply::Refused(503, GONE, "store".into())
        })
    }
}

impl HistoryDoor {
    async fn serve(&self, call: &HistoryCall) -> Result<RestReply, StoreError> {
        let invalid = |part: &str| Ok(RestReply::Refused(400, INVALID, part.into()));
        let missing = || Ok(RestReply::Refused(404, GONE, "no such resource".into()));
        let segments = call.path.split('/').filter(|segment| !segment.is_empty());
        let Ok(decoded) = segments.map(percent_decode).collect::<Result<Vec<String>, _>>() else {
            return invalid("path");
        };
        let aor = &*call.user.aor;
        let Some((user, rest)) = decoded.split_first() else { return missing() };
        if owner_of(&self.0, user).as_deref() != Some(aor) {
            return Ok(RestReply::Refused(403, "POL0002", user.clone()));
        }
        let query = match Query::read(&call.query) {
            Ok(query) => query,
            Err(part) => return invalid(part),
        };
        let rest: Vec<&str> = rest.iter().map(|segment| &**segment).collect();
        let id = |text: &str| text.parse::<ConversationId>();
        match (call.method, &rest[..]) {
            (RestMethod::Get, ["conversations"]) => self.list(aor, &query).await,
            (RestMethod::Get, ["conversations", name, "messages"]) => match id(name) {
                Ok(id) => self.page(aor, id, &query).await,
                Err(_) => missing(),
            },
            (RestMethod::Delete, ["conversations", name]) => match id(name) {
                Ok(id) if self.0.stores.conversations.erase(aor, id).await? => Ok(RestReply::Done(204)),
                _ => missing(),
            },
            (_, ["conversations"] | ["conversations", _, "messages"]) => Ok(RestReply::NotAllowed("GET, HEAD")),
            (_, ["conversations", _]) => Ok(RestReply::NotAllowed("DELETE")),
            _ => missing(),
        }
    }

    async fn list(&self, aor: &str, query: &Query) -> Result<RestReply, StoreError> {
        let all = self.0.stores.conversations.list(aor, query.before, query.limit).await?;
        let more = all.len() == query.limit;
        let next = all.last().filter(|_| more).map(|one| one.last.id.to_string());
        let list: Vec<Value> = all.iter().map(conversation).collect();
        Ok(RestReply::Shown(200, json!({ "conversations": list, "before": next })))
    }

    async fn page(&self, aor: &str, id: ConversationId, query: &Query) -> Result<RestReply, StoreError> {
        let page = self.0.stores.conversations.page(aor, id, query.cursor(), query.limit).await?;
        let ways: Vec<Way> = page.entries.iter().map(way).collect();
        let states = self.0.stores.receipt_states.status(&ways).await?;
        let states = states.into_iter().chain(std::iter::repeat(ReceiptStatus::default()));
        let list: Vec<Value> = page.entries.iter().zip(states).map(|(entry, state)| message(entry, &state)).collect();
        let next = page.entries.last().filter(|_| page.more).map(|entry| entry.id.to_string());
        let way = if query.after.is_some() { "after" } else { "before" };
        Ok(RestReply::Shown(200, json!({ "messages": list, way: next })))
    }
}

/// The way of an entry to who it was for.
fn way(entry: &Entry) -> Way {
    let recipient = Content::read(&entry.content).map_or("", |content| content.recipient);
    Way {
        message_id: entry.message_id.clone().unwrap_or_default(),
        sender: entry.author.clone(),
        recipient: recipient.into(),
    }
}

fn conversation(one: &Conversation) -> Value {
    let members: Vec<String> = one.members.iter().map(|member| uri(member)).collect();
    json!({ "id": one.id.to_string(), "members": members, "last": message(&one.last, &ReceiptStatus::default()) })
}

/// Who is of elsewhere has a URI.
fn uri(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { chappe_sip::Aor::from_canonical(name).to_uri() }
}

fn message(entry: &Entry, state: &ReceiptStatus) -> Value {
    let mut shown = json!({
        "id": entry.id.to_string(),
        "messageId": entry.message_id,
        "from": uri(&entry.author),
        "dateTime": chappe_imdn::date_time(entry.at_ms),
    });
    let Some(content) = Content::read(&entry.content) else { return shown };
    shown["to"] = uri(content.recipient).into();
    if let Some(step) = state.step() {
        shown["status"] = match step {
            Step::Displayed => "displayed",
            Step::Delivered => "delivered",
            Step::Failed => "failed",
        }
        .into();
    }
    let body = Bytes::copy_from_slice(content.body);
    let Ok(envelope) = Envelope::stored(content.headers, body, entry.message_id.as_deref()) else { return shown };
    shown["contentType"] = envelope.content_type.to_string().into();
    if let Some(bytes) = envelope.content() {
        // What is text is shown as that, whatever its type; all else in Base64.
        match std::str::from_utf8(&bytes) {
            Ok(text) => shown["text"] = text.into(),
            Err(_) => shown["content"] = STANDARD.encode(&bytes).into(),
        }
    }
    if let Some(relation) = &envelope.relation {
        let kind = match relation.kind {
            RelationKind::Reply => "reply",
            RelationKind::Reaction => "reaction",
            RelationKind::Edit => "edit",
            RelationKind::Recall => "recall",
        };
        shown["relation"] = json!({ "kind": kind, "messageId": relation.message_id });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        for (text, expected) in [
            ("", Ok(Query { limit: PAGE, before: None, after: None })),
            ("limit=2&before=7", Ok(Query { limit: 2, before: Some(7), after: None })),
            ("after=0&limit=100000&x=y&z", Ok(Query { limit: MOST, before: None, after: Some(0) })),
            ("limit=0", Ok(Query { limit: 1, before: None, after: None })),
            ("limit=many", Err("limit")),
            ("before=-1", Err("before")),
            ("before=1&after=2", Err("before and after")),
        ] {
            assert_eq!(Query::read(text), expected, "{text}");
        }
    }
}
