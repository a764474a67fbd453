//! `/api/trace/{user}`: what happens about one user, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::NodeError;
use crate::error::problem;
use crate::management::Shared;

/// One message about a user, as it is told to tools. Bodies and credentials are left out in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMessage {
    pub at_ms: u64,
    /// `in` or `out`.
    pub direction: String,
    /// `tcp:192.0.2.7:51111`
    pub peer: String,
    /// Request line or status line.
    pub start: String,
    pub call_id: String,
    pub cseq: String,
    /// On the wire.
    pub bytes: usize,
    /// The head; without a body.
    pub text: String,
    /// A record for a capture file of link type 252 (Wireshark upper PDU), in base64, with the text of this message.
    pub packet: String,
}

pub type TracePacket = Arc<TraceMessage>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    format: Format,
    /// Users and numbers as they are, in JSON.
    #[serde(default)]
    clear: bool,
}

pub(crate) async fn follow(
    State(node): Shared,
    Path(user): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, NodeError> {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return Ok(problem(StatusCode::BAD_REQUEST, &error.body_text())),
    };
    Ok(match wanted.format {
        Format::Text => answer(events(node.trace(&user)?, |line| Event::default().data(&**line))),
        Format::Json => answer(events(node.packets(&user, wanted.clear)?, |packet| {
            Event::default().data(serde_json::to_string(&**packet).unwrap_or_default())
        })),
    })
}

fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

fn events<T: Clone + Send + 'static>(
    lines: Receiver<T>,
    event: impl Fn(&T) -> Event + Clone + Send + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    stream::unfold((lines, event), |(mut lines, event)| async move {
        let one = match lines.recv().await {
            Ok(line) => event(&line),
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").data(format!("{missed} lines missed")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(one), (lines, event)))
    })
}
