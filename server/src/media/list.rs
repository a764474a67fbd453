//! The calls that are carried, as an operator sees them.

use std::time::SystemTime;

use chappe_api::{MediaCall, MediaDialect, MediaSide};
use chappe_webrtc_gw::io::CallReport;
use chappe_webrtc_gw::{Dialect, Side};

use super::Media;

impl Media {
    /// Calls in the order of their numbers, `limit` of those behind `after`.
    #[must_use]
    pub fn list(&self, after: u64, limit: usize) -> Vec<MediaCall> {
        let reports = self.gateway.list().into_iter().filter(|report| report.id > after);
        reports.take(limit).map(row).collect()
    }
}

fn row(report: CallReport) -> MediaCall {
    let age = SystemTime::now().duration_since(report.since).unwrap_or_default();
    MediaCall {
        id: report.id,
        call_id: report.label.call_id.to_string(),
        age_s: age.as_secs(),
        transcoded: report.transcoded,
        caller: side(&report, Side::Caller, &report.label.caller),
        callee: side(&report, Side::Callee, &report.label.callee),
    }
}

fn side(report: &CallReport, side: Side, user: &str) -> MediaSide {
    let at = usize::from(side == Side::Callee);
    let counters = report.counters[at];
    MediaSide {
        user: user.to_owned(),
        dialect: match report.dialects[at] {
            Dialect::Browser => MediaDialect::Browser,
            Dialect::Plain => MediaDialect::Rtp,
            Dialect::Sdes => MediaDialect::Sdes,
        },
        ready: report.ready[at],
        codecs: report.sections.iter().map(|section| section.codecs[at].clone()).collect(),
        received_packets: counters.packets_in,
        received_bytes: counters.bytes_in,
        lost_packets: counters.lost,
        sent_packets: counters.packets_out,
        sent_bytes: counters.bytes_out,
        bad_packets: counters.bad,
        dropped_packets: counters.dropped,
        frames: counters.frames_in,
    }
}
