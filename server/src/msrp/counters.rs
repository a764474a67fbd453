//! What the relay counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Exposition, Kind};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident => $metric:literal,)*) => {
        /// Events since the start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Count,)*
        }

        impl Counters {
            pub(super) fn write(&self, out: &mut Exposition) {
                $(out.family($metric, Kind::Counter, concat!($($doc,)*)).sample(&[], self.$name.get());)*
            }
        }
    };
}

/// Only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn one(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// SEND chunks taken to be passed on.
    chunks => "chappe_msrp_chunks_total",
    /// Message bytes taken to be passed on.
    bytes => "chappe_msrp_body_bytes_total",
    /// SEND chunks written to their next hop, more than came where chunks were cut.
    chunks_sent => "chappe_msrp_chunks_sent_total",
    /// Requests other than SEND and AUTH that were passed on.
    requests => "chappe_msrp_other_requests_total",
    /// Responses that were passed on.
    responses => "chappe_msrp_responses_total",
    /// Requests refused, of all causes.
    refused => "chappe_msrp_refused_total",
    /// Frames that broke the grammar.
    malformed => "chappe_msrp_malformed_total",
    /// REPORTs of failure that the relay made.
    reports => "chappe_msrp_failure_reports_total",
    /// Chunks without a response of the next hop in 30 s.
    timeouts => "chappe_msrp_timeouts_total",
    /// Sessions opened by AUTH.
    sessions => "chappe_msrp_sessions_total",
    /// AUTH answered with a challenge.
    challenges => "chappe_msrp_challenges_total",
    /// AUTH with wrong credentials.
    auth_failures => "chappe_msrp_auth_failures_total",
    /// Times that a source was not read because its stream was full.
    pauses => "chappe_msrp_pauses_total",
    /// Sessions opened that end at the server.
    ends => "chappe_msrp_endpoint_sessions_total",
    /// Messages received whole by the server itself.
    end_messages_received => "chappe_msrp_endpoint_received_total",
    /// Message bytes received by the server itself.
    end_bytes => "chappe_msrp_endpoint_body_bytes_total",
    /// Messages that the server was to send itself.
    end_messages_sent => "chappe_msrp_endpoint_sent_total",
    /// Messages of the server that its peers have taken.
    end_messages_confirmed => "chappe_msrp_endpoint_confirmed_total",
    /// Messages of the server that its peers did not want.
    end_messages_refused => "chappe_msrp_endpoint_refused_total",
    /// Messages of the server of which nobody knows whether they arrived.
    end_messages_lost => "chappe_msrp_endpoint_lost_total",
    /// Messages to the server that were never completed.
    end_messages_expired => "chappe_msrp_endpoint_expired_total",
    /// Connections opened to next hops.
    dialled => "chappe_msrp_dialled_total",
    /// Connections to next hops that could not be opened.
    dial_failures => "chappe_msrp_dial_failures_total",
}
