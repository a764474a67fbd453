//! Attributes of a file that is offered or asked for (RFC 5547).

mod name;
mod selector;

pub use name::safe_name;
pub use selector::{FileHash, FileSelector};

use crate::direction::Direction;
use crate::media::Media;
use crate::rules::Rules;
use crate::text;

/// What is wrong with the file attributes of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    #[error("malformed a={0}")]
    Malformed(&'static str),
    /// Whoever sends names type, size or hash; whoever asks names anything at all (RFC 5547 §8.2).
    #[error("the selector names too little")]
    Selector,
    #[error("no a=file-transfer-id")]
    NoId,
    #[error("neither sendonly nor recvonly")]
    Direction,
    /// An answer repeats the identifier of the offer (RFC 5547 §8.1).
    #[error("another a=file-transfer-id than the offer's")]
    Id,
    /// An answer repeats the range of the offer (RFC 5547 §8.3).
    #[error("another a=file-range than the offer's")]
    Range,
    /// Whoever is asked for a file knows what a file is (RFC 5547 §4).
    #[error("asked for a file, the answer has none")]
    NotAFile,
    /// The identifier of a transfer that has another file (RFC 5547 §8.1).
    #[error("another file under a known a=file-transfer-id")]
    OtherFile,
}

/// The bytes of a file that are sent, counted from 1 (RFC 5547 §6). Byte-Range in MSRP begins at 1 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRange {
    pub start: u64,
    /// Inclusive; none where the size is not known.
    pub stop: Option<u64>,
}

impl FileRange {
    fn parse(value: &str) -> Option<Self> {
        let (start, stop) = value.split_once('-')?;
        let start = text::number(start).filter(|&start| start > 0)?;
        let stop = match stop {
            "*" => None,
            stop => Some(text::number(stop).filter(|&stop| stop >= start)?),
        };
        Some(Self { start, stop })
    }

    fn value(self) -> String {
        match self.stop {
            Some(stop) => format!("{}-{stop}", self.start),
            None => format!("{}-*", self.start),
        }
    }
}

/// Dates of a file, each an RFC 5322 date-time with a numeric zone, such as [`date_time`] makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDates {
    pub creation: Option<String>,
    pub modification: Option<String>,
    pub read: Option<String>,
}

impl FileDates {
    fn parse(mut value: &str) -> Option<Self> {
        let mut dates = Self::default();
        loop {
            value = value.trim_ascii_start();
            let Some((name, rest)) = value.split_once(":\"") else {
                return (value.is_empty() && dates != Self::default()).then_some(dates);
            };
            let (date, rest) = rest.split_once('"')?;
            let place = match name {
                "creation" => &mut dates.creation,
                "modification" => &mut dates.modification,
                "read" => &mut dates.read,
                _ => return None,
            };
            // §6: not more than one of each.
            if place.replace(date.to_owned()).is_some() {
                return None;
            }
            value = rest;
        }
    }

    fn value(&self) -> Option<String> {
        let dates = [("creation", &self.creation), ("modification", &self.modification), ("read", &self.read)];
        let dates = dates.into_iter().filter_map(|(name, date)| Some(format!("{name}:\"{}\"", date.as_ref()?)));
        let value = dates.collect::<Vec<_>>().join(" ");
        (!value.is_empty()).then_some(value)
    }
}

/// A file as an offer or an answer describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDescription {
    pub selector: FileSelector,
    /// Random, around 32 characters, new for each transfer, also for one that goes on where another broke off.
    pub transfer_id: Option<String>,
    /// `render`, which is the default, or `attachment`; some write `attach`.
    pub disposition: Option<String>,
    pub dates: FileDates,
    /// `cid:` and the Content-ID of the body part with the icon.
    pub icon: Option<String>,
    /// None for the whole file.
    pub range: Option<FileRange>,
}

impl FileDescription {
    /// None where the section has no `a=file-selector`.
    pub(crate) fn read(media: &Media<'_>, rules: &Rules) -> Result<Option<Self>, FileError> {
        let Some(selector) = media.attribute("file-selector") else { return Ok(None) };
        let value = |name: &'static str| {
            let Some(value) = media.attribute(name) else { return Ok(None) };
            let value = text::trimmed(value, rules.leniency.spaces).filter(|value| !value.is_empty());
            value.map(|value| Some((value, name))).ok_or(FileError::Malformed(name))
        };
        let token = |name| match value(name)? {
            Some((value, name)) if !text::is_token(value) => Err(FileError::Malformed(name)),
            found => Ok(found.map(|(value, _)| value.to_owned())),
        };
        let selector = FileSelector::parse(selector, rules).ok_or(FileError::Malformed("file-selector"))?;
        // Dates, icon and disposition are advice; one that nobody understands is no reason to refuse a file.
        let dates = value("file-date").ok().flatten().and_then(|(value, _)| FileDates::parse(value));
        let range = match value("file-range")? {
            Some((value, name)) => Some(FileRange::parse(value).ok_or(FileError::Malformed(name))?),
            None => None,
        };
        Ok(Some(Self {
            selector,
            transfer_id: token("file-transfer-id")?,
            disposition: token("file-disposition").ok().flatten(),
            dates: dates.unwrap_or_default(),
            icon: value("file-icon").ok().flatten().map(|(value, _)| value.to_owned()),
            range,
        }))
    }

    /// Checks what an offer must have (RFC 5547 §8.2).
    pub(crate) fn check_offer(&self, pushes: bool, needs_id: bool) -> Result<(), FileError> {
        let FileSelector { name, size, media_type, hashes } = &self.selector;
        let content = size.is_some() || media_type.is_some() || !hashes.is_empty();
        if !(content || (name.is_some() && !pushes)) {
            return Err(FileError::Selector);
        }
        if needs_id && self.transfer_id.is_none() {
            return Err(FileError::NoId);
        }
        Ok(())
    }

    /// The attributes, in the order of the RFC's example.
    pub(crate) fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = vec![("file-selector", self.selector.to_string())];
        attributes.extend(self.transfer_id.clone().map(|id| ("file-transfer-id", id)));
        attributes.extend(self.disposition.clone().map(|disposition| ("file-disposition", disposition)));
        attributes.extend(self.dates.value().map(|dates| ("file-date", dates)));
        attributes.extend(self.icon.clone().map(|icon| ("file-icon", icon)));
        attributes.extend(self.range.map(|range| ("file-range", range.value())));
        attributes
    }

    /// What a later offer of `self` means for a transfer that `before` described (RFC 5547 §8.1, Figure 3).
    ///
    /// # Errors
    /// Another file under the same identifier: the section is refused.
    pub fn change_since(&self, before: &Self) -> Result<FileChange, FileError> {
        if self.transfer_id != before.transfer_id {
            return Ok(FileChange::NewTransfer);
        }
        if self.selector.contradicts(&before.selector) {
            return Err(FileError::OtherFile);
        }
        Ok(FileChange::SameTransfer)
    }
}

/// What a repeated description of a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// The one before ends, if it has not yet, and this begins.
    NewTransfer,
    /// Nothing begins and nobody is asked, whether the transfer is going on or over.
    SameTransfer,
}

/// Whether an offer with that direction sends its file (`true`) or asks for it.
pub(crate) fn pushes(direction: Direction, lenient: bool) -> Result<bool, FileError> {
    match direction {
        Direction::SEND_ONLY => Ok(true),
        Direction::RECEIVE_ONLY => Ok(false),
        _ if lenient => Ok(true),
        _ => Err(FileError::Direction),
    }
}

/// Seconds since the epoch as `a=file-date` has them, in UTC.
#[must_use]
pub fn date_time(epoch_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = epoch_seconds / 86_400;
    let seconds = epoch_seconds % 86_400;
    // Years of 400 repeat; counted from 1 March of year 0, the leap day is the last of its year.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{}, {day_of_month:02} {} {year:04} {:02}:{:02}:{:02} +0000",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Leniency;

    fn read(attributes: &str, rules: &Rules) -> Result<Option<FileDescription>, FileError> {
        let text =
            format!("v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 1 TCP/MSRP *\r\n{attributes}");
        let description = crate::Description::parse(text.as_bytes()).unwrap();
        FileDescription::read(&description.media()[0], rules)
    }

    const FIGURE_2: &str = "a=file-selector:name:\"My cool picture.jpg\" type:image/jpeg size:32349 \
        hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E\r\n\
        a=file-transfer-id:vBnG916bdberum2fFEABR1FR3ExZMUrd\r\n\
        a=file-disposition:attachment\r\n\
        a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\"\r\n\
        a=file-icon:cid:id2@alicepc.example.com\r\n\
        a=file-range:1-32349\r\n";

    #[test]
    fn figure_2_of_the_rfc() {
        let file = read(FIGURE_2, &Rules::strict()).unwrap().unwrap();
        assert_eq!(file.selector.name.as_deref(), Some("My cool picture.jpg"));
        assert_eq!(file.selector.size, Some(32349));
        assert_eq!(file.disposition.as_deref(), Some("attachment"));
        assert_eq!(file.dates.creation.as_deref(), Some("Mon, 15 May 2006 15:01:31 +0300"));
        assert_eq!(file.icon.as_deref(), Some("cid:id2@alicepc.example.com"));
        assert_eq!(file.range, Some(FileRange { start: 1, stop: Some(32349) }));
        let written: String = file.attributes().iter().map(|(name, value)| format!("a={name}:{value}\r\n")).collect();
        assert_eq!(written, FIGURE_2);
    }

    #[test]
    fn values_that_are_refused() {
        for (name, attributes, error) in [
            ("no selector", "a=file-transfer-id:x\r\n", None),
            ("bad selector", "a=file-selector:size:x\r\n", Some("file-selector")),
            ("no identifier", "a=file-selector:size:1\r\na=file-transfer-id:\r\n", Some("file-transfer-id")),
            (
                "identifier of two words",
                "a=file-selector:size:1\r\na=file-transfer-id:a b\r\n",
                Some("file-transfer-id"),
            ),
            ("range from 0", "a=file-selector:size:1\r\na=file-range:0-1\r\n", Some("file-range")),
            ("range that is empty", "a=file-selector:size:1\r\na=file-range:2-1\r\n", Some("file-range")),
            ("range without an end", "a=file-selector:size:1\r\na=file-range:2-\r\n", Some("file-range")),
            ("open range", "a=file-selector:size:1\r\na=file-range:2-*\r\n", None),
            ("a date nobody reads", "a=file-selector:size:1\r\na=file-date:yesterday\r\n", None),
        ] {
            let refused = read(attributes, &Rules::default()).err();
            assert_eq!(refused, error.map(FileError::Malformed), "{name}");
        }
    }

    #[test]
    fn dates() {
        for (value, good) in [
            ("creation:\"a\" modification:\"b\" read:\"c\"", true),
            ("read:\"c\"", true),
            ("read:\"c\" read:\"d\"", false),
            ("born:\"c\"", false),
            ("read:\"c", false),
            ("read:c", false),
            ("", false),
        ] {
            let dates = FileDates::parse(value);
            assert_eq!(dates.is_some(), good, "{value}");
            assert!(dates.is_none_or(|dates| dates.value().as_deref() == Some(value)), "{value}");
        }
        for (epoch, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_147_694_491, "Mon, 15 May 2006 12:01:31 +0000"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 +0000"),
        ] {
            assert_eq!(date_time(epoch), expected);
        }
    }

    #[test]
    fn offers_name_enough() {
        for (selector, pushes, pulls) in [
            ("name:\"a\"", false, true),
            ("size:1", true, true),
            ("type:a/b", true, true),
            ("hash:sha-1:00", true, true),
            ("", false, false),
        ] {
            let selector = FileSelector::parse(selector.as_bytes(), &Rules::strict()).unwrap();
            let file = FileDescription { selector, transfer_id: Some("x".to_owned()), ..Default::default() };
            assert_eq!((file.check_offer(true, true).is_ok(), file.check_offer(false, true).is_ok()), (pushes, pulls));
            let file = FileDescription { transfer_id: None, ..file };
            assert!(file.check_offer(true, true).is_err());
        }
    }

    #[test]
    fn figure_3_of_the_rfc() {
        let file = |id: &str, selector: &str| FileDescription {
            selector: FileSelector::parse(selector.as_bytes(), &Rules::strict()).unwrap(),
            transfer_id: Some(id.to_owned()),
            ..Default::default()
        };
        let before = file("a", "name:\"x\" size:1");
        for (name, now, expected) in [
            ("other identifier, other file", file("b", "size:2"), Ok(FileChange::NewTransfer)),
            ("other identifier, same file", file("b", "name:\"x\" size:1"), Ok(FileChange::NewTransfer)),
            ("same identifier, same file", file("a", "name:\"x\" size:1"), Ok(FileChange::SameTransfer)),
            ("same, with a hash", file("a", "name:\"x\" size:1 hash:sha-1:00"), Ok(FileChange::SameTransfer)),
            ("same identifier, other file", file("a", "name:\"x\" size:2"), Err(FileError::OtherFile)),
        ] {
            assert_eq!(now.change_since(&before), expected, "{name}");
        }
    }

    #[test]
    fn who_sends() {
        let lenient = Leniency::DEPLOYED.file_direction;
        for (direction, strict, tolerant) in [
            (Direction::SEND_ONLY, Ok(true), Ok(true)),
            (Direction::RECEIVE_ONLY, Ok(false), Ok(false)),
            (Direction::SEND_RECEIVE, Err(FileError::Direction), Ok(true)),
        ] {
            assert_eq!(pushes(direction, false), strict, "{}", direction.name());
            assert_eq!(pushes(direction, lenient), tolerant, "{}", direction.name());
        }
    }
}
