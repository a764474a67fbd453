//! What a sender may ask to be told, and what it may be told (RFC 5438 §7.1.1.3, §11.1).

use std::fmt;

/// A kind of notification. One of each kind may be sent for a message and a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    Delivery,
    Display,
    Processing,
    /// OMA CPM: the message went on as SMS or MMS.
    Interworking,
}

impl Disposition {
    /// The element of the notification.
    pub const fn element(self) -> &'static str {
        match self {
            Self::Delivery => "delivery-notification",
            Self::Display => "display-notification",
            Self::Processing => "processing-notification",
            Self::Interworking => "interworking-notification",
        }
    }

    pub(crate) fn from_element(name: &str) -> Option<Self> {
        [Self::Delivery, Self::Display, Self::Processing, Self::Interworking]
            .into_iter()
            .find(|one| one.element() == name)
    }
}

/// What happened. Which statuses go with which disposition is [`Status::fits`]'s to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Delivered,
    Failed,
    Displayed,
    Processed,
    Stored,
    Forbidden,
    Error,
    LegacySms,
    LegacyMms,
}

impl Status {
    pub(crate) const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Failed,
        Self::Displayed,
        Self::Processed,
        Self::Stored,
        Self::Forbidden,
        Self::Error,
        Self::LegacySms,
        Self::LegacyMms,
    ];

    /// The element of the notification.
    pub const fn element(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Displayed => "displayed",
            Self::Processed => "processed",
            Self::Stored => "stored",
            Self::Forbidden => "forbidden",
            Self::Error => "error",
            Self::LegacySms => "legacy-sms",
            Self::LegacyMms => "legacy-mms",
        }
    }

    pub(crate) fn from_element(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.element() == name)
    }

    /// Whether the schema lets this status stand in a notification of that kind (RFC 5438 §11.1.9).
    pub const fn fits(self, disposition: Disposition) -> bool {
        match self {
            Self::Delivered | Self::Failed => matches!(disposition, Disposition::Delivery),
            Self::Displayed => matches!(disposition, Disposition::Display),
            Self::Processed | Self::Stored => matches!(disposition, Disposition::Processing),
            Self::LegacySms | Self::LegacyMms => matches!(disposition, Disposition::Interworking),
            Self::Forbidden => !matches!(disposition, Disposition::Interworking),
            Self::Error => true,
        }
    }
}

/// The notifications that a sender asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dispositions {
    pub positive_delivery: bool,
    pub negative_delivery: bool,
    pub processing: bool,
    pub display: bool,
    pub interworking: bool,
}

impl Dispositions {
    /// Adds what a `Disposition-Notification` value lists. Unknown words are ignored, as are parameters; case, quotes,
    /// an underscore for the hyphen and a semicolon for the comma are forgiven.
    pub fn add(&mut self, value: &str) {
        for word in value.split([',', ';']) {
            let word = word.trim_matches([' ', '\t', '"', '\r', '\n']).replace('_', "-");
            for (slot, name) in self.slots() {
                if word.eq_ignore_ascii_case(name) {
                    *slot = true;
                }
            }
        }
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the sender wants to hear of this.
    pub const fn wants(&self, disposition: Disposition, status: Status) -> bool {
        match disposition {
            // Only `delivered` is good news; forbidden and error tell of a failure.
            Disposition::Delivery if matches!(status, Status::Delivered) => self.positive_delivery,
            Disposition::Delivery => self.negative_delivery,
            Disposition::Display => self.display,
            Disposition::Processing => self.processing,
            Disposition::Interworking => self.interworking,
        }
    }

    fn slots(&mut self) -> [(&mut bool, &'static str); 5] {
        [
            (&mut self.positive_delivery, "positive-delivery"),
            (&mut self.negative_delivery, "negative-delivery"),
            (&mut self.processing, "processing"),
            (&mut self.display, "display"),
            (&mut self.interworking, "interworking"),
        ]
    }
}

/// The header value; empty if nothing is asked for.
impl fmt::Display for Dispositions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let names = copy.slots().into_iter().filter_map(|(slot, name)| slot.then_some(name));
        for (index, name) in names.enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, expected) in [
            ("positive-delivery, display", "positive-delivery, display"),
            ("display,negative-delivery", "negative-delivery, display"),
            ("positive-delivery;x=1, processing", "positive-delivery, processing"),
            ("positive-delivery; display", "positive-delivery, display"),
            ("Positive_Delivery , \"DISPLAY\"", "positive-delivery, display"),
            ("interworking, whatever", "interworking"),
            ("", ""),
            (" , ", ""),
        ] {
            let mut seen = Dispositions::default();
            seen.add(value);
            assert_eq!(seen.to_string(), expected, "{value}");
            assert_eq!(seen.is_empty(), expected.is_empty());
        }
    }

    #[test]
    fn good_and_bad_news_are_asked_for_apart() {
        let mut wanted = Dispositions::default();
        wanted.add("negative-delivery");
        assert!(!wanted.wants(Disposition::Delivery, Status::Delivered));
        assert!(wanted.wants(Disposition::Delivery, Status::Failed));
        assert!(!wanted.wants(Disposition::Display, Status::Displayed));
    }
}
