//! Bodies of bounded length.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::problem;

/// How much of a body that is too long is read and thrown away, in multiples of what it may have: a client that is still
/// sending when the connection ends never sees the answer.
const LINGER: usize = 4;

/// The whole body, or the answer that refuses it: 413 above `max` octets.
// The answer is made once and sent at once.
#[allow(clippy::result_large_err)]
pub(crate) async fn read(body: Body, max: usize) -> Result<Bytes, Response> {
    let mut stream = body.into_data_stream();
    let (mut taken, mut length) = (Vec::new(), 0);
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else { return Err(problem(StatusCode::BAD_REQUEST, "the body did not come whole")) };
        length += piece.len();
        if length <= max {
            taken.extend_from_slice(&piece);
        } else if length > max.saturating_mul(LINGER) {
            break;
        }
    }
    if length > max {
        return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &format!("a body may have {max} bytes")));
    }
    Ok(taken.into())
}
