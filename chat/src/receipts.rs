//! What became of a message at one of its recipients, and what of it is news (RFC 5438 §7, §8).
//!
//! Every device of a recipient may tell of the same message, twice and in any order. The sender hears each thing once, and
//! in an order that makes sense: that a message was displayed never before that it arrived.

use chappe_imdn::{Disposition, Dispositions, Notification, Status};
use smallvec::SmallVec;

/// What a receipt tells. Each is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Report {
    /// It waits in a store on the way.
    Stored = 0,
    Delivered = 1,
    Displayed = 2,
    /// It will not arrive.
    Failed = 3,
    /// It was processed on the way, or that failed.
    Processed = 4,
    /// It went on as SMS or MMS, or that failed.
    Interworked = 5,
    /// That it was displayed will not be told.
    NotDisplayed = 6,
}

impl Report {
    pub fn of(notification: &Notification) -> Report {
        match (notification.disposition, notification.status) {
            (Disposition::Delivery, Status::Delivered) => Report::Delivered,
            (Disposition::Delivery, _) => Report::Failed,
            (Disposition::Display, Status::Displayed) => Report::Displayed,
            (Disposition::Display, _) => Report::NotDisplayed,
            (Disposition::Processing, Status::Stored) => Report::Stored,
            (Disposition::Processing, _) => Report::Processed,
            (Disposition::Interworking, _) => Report::Interworked,
        }
    }

    /// Whether a sender that asked for this wants to hear it.
    pub fn is_wanted(self, wants: &Dispositions) -> bool {
        match self {
            Report::Delivered => wants.positive_delivery,
            Report::Failed => wants.negative_delivery,
            Report::Displayed | Report::NotDisplayed => wants.display,
            Report::Stored | Report::Processed => wants.processing,
            Report::Interworked => wants.interworking,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What is known of a message at one recipient. The default is: sent.
///
/// ```text
/// sent ──▶ stored ──▶ delivered ──▶ displayed
///   └────────┴──▶ failed ──▶ delivered (by another device, after all)
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Progress(u8);

/// What a report changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    pub next: Progress,
    /// For the sender, in this order. One that is not the report itself is ours to make.
    pub to_sender: SmallVec<[Report; 2]>,
    /// The recipient's other devices are to know that it was displayed.
    pub to_own_devices: bool,
}

/// What a recipient has decided about senders hearing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Nobody hears what was displayed.
    pub hides_displayed: bool,
    /// The sender is blocked: it hears what it would hear of somebody who is away.
    pub blocks_sender: bool,
}

impl Progress {
    /// As it is kept.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From what was kept; bits that mean nothing are dropped.
    pub fn from_bits(bits: u8) -> Progress {
        Progress(bits & 0x7f)
    }

    pub fn has(self, report: Report) -> bool {
        self.0 & report.bit() != 0
    }

    /// With what was told already.
    #[must_use]
    pub fn with(self, report: Report) -> Progress {
        Progress(self.0 | report.bit())
    }

    /// Whether no receipt can be news any more.
    pub fn is_final(self) -> bool {
        self.has(Report::Displayed)
    }

    /// Takes a report. `wants` is what the sender asked for.
    pub fn apply(self, report: Report, wants: &Dispositions, privacy: Privacy) -> Effect {
        let mut effect = Effect { next: self, ..Effect::default() };
        if !self.is_news(report) {
            return effect;
        }
        if report == Report::Displayed && !self.has(Report::Delivered) {
            effect.add(Report::Delivered, wants, privacy);
        }
        effect.add(report, wants, privacy);
        effect.to_own_devices = report == Report::Displayed;
        effect
    }

    /// Whether it says more than what is known.
    fn is_news(self, report: Report) -> bool {
        let arrived = self.has(Report::Delivered);
        !self.has(report)
            && match report {
                Report::Delivered | Report::Displayed => true,
                // One device has it, so the message has not failed, and does not wait.
                Report::Failed | Report::Stored => !arrived && !self.has(Report::Failed),
                Report::Processed | Report::Interworked => !arrived,
                Report::NotDisplayed => !self.has(Report::Displayed),
            }
    }
}

impl Effect {
    fn add(&mut self, report: Report, wants: &Dispositions, privacy: Privacy) {
        self.next.0 |= report.bit();
        let is_of_display = matches!(report, Report::Displayed | Report::NotDisplayed);
        // A store is on the way, it says nothing of the recipient.
        let is_hidden =
            (privacy.blocks_sender && report != Report::Stored) || (privacy.hides_displayed && is_of_display);
        if report.is_wanted(wants) && !is_hidden {
            self.to_sender.push(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Report::{Delivered, Displayed, Failed, Interworked, NotDisplayed, Processed, Stored};
    use super::*;

    const REPORTS: [Report; 7] = [Stored, Delivered, Displayed, Failed, Processed, Interworked, NotDisplayed];
    const ALL: Dispositions = Dispositions {
        positive_delivery: true,
        negative_delivery: true,
        processing: true,
        display: true,
        interworking: true,
    };

    /// What a sender hears of these reports, and how often the recipient's own devices do.
    fn heard(reports: &[Report], wants: &Dispositions, privacy: Privacy) -> (Vec<Report>, usize) {
        let (mut progress, mut told, mut own) = (Progress::default(), Vec::new(), 0);
        for report in reports {
            let effect = progress.apply(*report, wants, privacy);
            progress = Progress::from_bits(effect.next.bits());
            told.extend(effect.to_sender);
            own += usize::from(effect.to_own_devices);
        }
        (told, own)
    }

    #[test]
    fn what_a_sender_hears() {
        let wants = |text: &str| {
            let mut wants = Dispositions::default();
            wants.add(text);
            wants
        };
        for (name, reports, asked, expected) in [
            ("in order", &[Stored, Delivered, Displayed][..], ALL, &[Stored, Delivered, Displayed][..]),
            ("two devices", &[Delivered, Delivered, Displayed, Delivered, Displayed], ALL, &[Delivered, Displayed]),
            ("displayed comes first", &[Displayed, Delivered], ALL, &[Delivered, Displayed]),
            ("late bad news", &[Delivered, Failed, Stored, Processed, Interworked], ALL, &[Delivered]),
            ("it arrived after all", &[Failed, Failed, Stored, Delivered, Failed], ALL, &[Failed, Delivered]),
            ("as a short message", &[Interworked, Interworked, Failed], ALL, &[Interworked, Failed]),
            ("no word of display", &[Delivered, NotDisplayed, NotDisplayed], ALL, &[Delivered, NotDisplayed]),
            ("but of one device", &[NotDisplayed, Displayed, NotDisplayed], ALL, &[NotDisplayed, Delivered, Displayed]),
            ("only display is asked for", &[Displayed, Delivered], wants("display"), &[Displayed]),
            ("only delivery is", &[Displayed, Delivered], wants("positive-delivery"), &[Delivered]),
            ("only failure is", &[Delivered, Displayed], wants("negative-delivery"), &[]),
            ("nothing is", &[Stored, Failed, Delivered, Displayed], wants(""), &[]),
        ] {
            assert_eq!(heard(reports, &asked, Privacy::default()).0, expected, "{name}");
        }
    }

    #[test]
    fn what_a_recipient_keeps_to_itself() {
        let hides = Privacy { hides_displayed: true, blocks_sender: false };
        let blocks = Privacy { blocks_sender: true, hides_displayed: false };
        let reports = [Stored, Displayed, NotDisplayed, Displayed];
        assert_eq!(heard(&reports, &ALL, hides), (vec![Stored, Delivered], 1), "its other devices know");
        assert_eq!(heard(&reports, &ALL, blocks), (vec![Stored], 1));
        // What was kept back is not told when the recipient thinks better of it.
        let shown = Progress::default().apply(Displayed, &ALL, hides).next;
        assert_eq!(shown.apply(Displayed, &ALL, Privacy::default()), Effect { next: shown, ..Effect::default() });
        assert!(shown.is_final());
    }

    /// Whatever comes in whatever order: nothing is told twice, display never before delivery, and what is known does not
    /// depend on the order of good news.
    #[test]
    fn any_four_reports() {
        let n = REPORTS.len();
        for code in 0..n.pow(4) {
            let reports: Vec<Report> = (0..4u32).map(|at| REPORTS[code / n.pow(at) % n]).collect();
            let (told, own) = heard(&reports, &ALL, Privacy::default());
            for (at, report) in told.iter().enumerate() {
                assert!(!told[..at].contains(report), "{reports:?} told {told:?}");
            }
            let place = |report| told.iter().position(|told| *told == report);
            assert_eq!(place(Displayed).is_some(), reports.contains(&Displayed), "{reports:?} told {told:?}");
            assert!(
                place(Displayed).is_none_or(|at| place(Delivered).is_some_and(|before| before < at)),
                "{reports:?}"
            );
            assert_eq!(own, usize::from(reports.contains(&Displayed)));
            let doubled: Vec<Report> = reports.iter().flat_map(|report| [*report, *report]).collect();
            assert_eq!(heard(&doubled, &ALL, Privacy::default()).0, told, "{reports:?}");
        }
    }

    #[test]
    fn notifications_are_reports() {
        for (disposition, status, expected) in [
            (Disposition::Delivery, Status::Delivered, Delivered),
            (Disposition::Delivery, Status::Failed, Failed),
            (Disposition::Delivery, Status::Forbidden, Failed),
            (Disposition::Display, Status::Displayed, Displayed),
            (Disposition::Display, Status::Error, NotDisplayed),
            (Disposition::Processing, Status::Stored, Stored),
            (Disposition::Processing, Status::Processed, Processed),
            (Disposition::Interworking, Status::LegacySms, Interworked),
        ] {
            let notification =
                chappe_imdn::Receipt { disposition, status, ..chappe_imdn::Receipt::delivered("", "", "", "") };
            assert_eq!(Report::of(&notification.notification()), expected, "{disposition:?} {status:?}");
        }
    }
}
