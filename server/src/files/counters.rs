//! What happened to files.

use chappe_api::files::Reason;

use crate::metrics::{By, Counter, Gauge, label, metrics};

label! {
    /// Why an upload was refused.
    pub enum Refused as "reason" {
        Size = "size", Quota = "quota", Type = "type", Form = "form", Length = "length", Slow = "slow",
        Harmful = "harmful", Busy = "busy", Failed = "failed",
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Refused {
        match reason {
            Reason::Size => Refused::Size,
            Reason::Quota => Refused::Quota,
            Reason::Type => Refused::Type,
            Reason::Form => Refused::Form,
            Reason::Length => Refused::Length,
            Reason::Slow => Refused::Slow,
            Reason::Harmful => Refused::Harmful,
            Reason::Busy => Refused::Busy,
            Reason::Failed => Refused::Failed,
        }
    }
}

metrics! {
    /// Counts since the start.
    pub struct FileCounters {
        /// Files that were uploaded.
        "chappe_files_uploads_total" uploads: Counter,
        /// Uploads that were gone on with after a cut.
        "chappe_files_resumed_total" resumed: Counter,
        /// Bytes of files that came in.
        "chappe_files_received_bytes_total" received: Counter,
        /// Files, or parts of them, that were asked for.
        "chappe_files_downloads_total" downloads: Counter,
        /// Bytes of files that were asked for.
        "chappe_files_sent_bytes_total" sent: Counter,
        /// Uploads that were refused, by the reason.
        "chappe_files_refused_total" refused: By<Refused, Counter>,
        /// Files whose time was over.
        "chappe_files_expired_total" expired: Counter,
        /// Contents without a file that were swept away.
        "chappe_files_orphans_total" orphans: Counter,
        /// Uploads that were never completed.
        "chappe_files_given_up_total" dropped: Counter,
        /// Uploads under way, or cut and not given up.
        "chappe_files_incoming" incoming: Gauge,
    }
}
