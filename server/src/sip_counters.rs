//! What the SIP side counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chappe_sip::{Method, Transport};

use crate::metrics::{self, Class, Metrics, Shed, Verdict};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident => $metric:literal,)*) => {
        /// Events since the start.
        pub struct SipCounters {
            metrics: Arc<Metrics>,
            $($name: AtomicU64,)*
        }

        impl SipCounters {
            $($(#[doc = $doc])* pub fn $name(&self) {
                self.$name.fetch_add(1, Ordering::Relaxed);
            })*

            pub fn new(metrics: Arc<Metrics>) -> SipCounters {
                SipCounters { metrics, $($name: AtomicU64::new(0),)* }
            }

            /// Name, meaning and value of each simple counter.
            pub fn simple(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$(($metric, concat!($($doc,)*), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Requests of tools that name themselves as scanners, not answered.
    scanner => "chappe_sip_scanner_requests_total",
    /// Responses that match no transaction, dropped.
    stray => "chappe_sip_stray_responses_total",
    /// Bans begun.
    banned => "chappe_sip_bans_total",
    /// Messages that could not be sent.
    send_failed => "chappe_sip_send_failures_total",
    /// Requests not sent because `sip.next_hops` forbids the address.
    forbidden_hop => "chappe_sip_forbidden_next_hops_total",
    /// Requests refused because nobody vouches for their sender.
    relay_denied => "chappe_sip_relay_denied_total",
    /// Requests to users who have blocked their sender, answered as if the user were away. Messages are not among them.
    unwanted => "chappe_sip_unwanted_requests_total",
    /// Calls that the server itself has taken up.
    call_received => "chappe_sip_calls_received_total",
    /// Calls that the server itself has begun.
    call_made => "chappe_sip_calls_made_total",
    /// Calls of the server itself that were not begun: too many, or nothing that it can take.
    call_refused => "chappe_sip_calls_refused_total",
    /// Registrations that put something new on disk.
    registered => "chappe_sip_registrations_total",
    /// Registrations that only renewed a binding.
    refreshed => "chappe_sip_registration_refreshes_total",
    /// Bindings removed at the wish of their device.
    unregistered => "chappe_sip_unregistrations_total",
}

impl SipCounters {
    pub fn request(&self, method: Method, transport: Transport) {
        self.metrics
            .requests
            .with(metrics::Method::named(method.as_str().as_bytes()))
            .with(transport.into())
            .increment();
    }

    /// A response sent by us or passed on.
    pub fn response(&self, status: u16) {
        self.metrics.responses_sent.with(Class::of(status)).increment();
    }

    pub fn response_received(&self, status: u16) {
        self.metrics.responses_received.with(Class::of(status)).increment();
    }

    /// Bytes that are no message, or break the grammar.
    pub fn malformed(&self, transport: Transport) {
        self.metrics.malformed.with(transport.into()).increment();
    }

    pub fn shed(&self, why: Shed) {
        self.metrics.shed.with(why).increment();
    }

    pub fn authentication(&self, verdict: Verdict) {
        self.metrics.authentications.with(verdict).increment();
    }

    pub fn receipt(&self) {
        self.metrics.receipts.increment();
    }

    pub fn store_failed(&self) {
        self.metrics.store_errors.increment();
    }

    pub fn stored_in(&self, time: std::time::Duration) {
        self.metrics.store_write.observe(time);
    }
}
