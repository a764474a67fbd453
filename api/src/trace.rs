//! `/api/trace/{user}`: what happens about one user, as server-sent events.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use crate::NodeError;
use crate::management::Shared;

pub(crate) async fn follow(State(node): Shared, Path(user): Path<String>) -> Result<impl IntoResponse, NodeError> {
    let lines = node.trace(&user)?;
    let events = stream::unfold(lines, |mut lines| async move {
        let event = match lines.recv().await {
            Ok(line) => Event::default().data(&*line),
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").data(format!("{missed} lines missed")),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(event), lines))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
