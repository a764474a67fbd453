//! MSRP sessions of a focus.

use std::sync::Arc;

use chappe_chat::Service;
use chappe_sdp::Agreement;

use super::side::Side;
use crate::core::Core;
use crate::msrp::endpoint::{End, Endpoint};
use crate::service::agent::Body;
use crate::service::chat::offer::{self, Offered};

/// An end of ours with its offer.
pub(super) fn offered(
    core: &Core,
    endpoint: &Endpoint,
    secure: bool,
    side: &Arc<Side>,
) -> Result<(Arc<End>, Offered), u16> {
    let end = offer::open(core, endpoint, secure, None, &side.key.0, side.clone()).map_err(|_| 503u16)?;
    match offer::offer(core, endpoint, &end, Service::Group) {
        Some(offered) => Ok((end, offered)),
        None => {
            end.close();
            Err(500)
        }
    }
}

/// An end of ours that answers the offer of a device.
pub(super) fn answered(
    core: &Core,
    endpoint: &Endpoint,
    sdp: &[u8],
    side: &Arc<Side>,
) -> Result<(Arc<End>, Agreement, Body), u16> {
    let secure = offer::is_secure(sdp);
    let end = offer::open(core, endpoint, secure, None, &side.key.0, side.clone()).map_err(|_| 503u16)?;
    match offer::answer(core, endpoint, &end, sdp, Service::Group) {
        Ok((agreement, sdp)) => {
            Ok((end, agreement, Body { content_type: "application/sdp".into(), bytes: sdp.into() }))
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "a session of a group cannot be agreed upon");
            end.close();
            Err(refusal.status())
        }
    }
}
