//! `Date` (RFC 3261 §20.17): RFC 1123 dates, always in GMT.

use std::fmt;

use crate::error::ParseError;
use crate::name::HeaderName;
use crate::text::{decimal, trim};

/// A point in time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The end of the year 9999.
const LAST: u64 = 253_402_300_799;

impl Date {
    /// `seconds` since the Unix epoch; later than the year 9999 counts as its end.
    pub fn from_unix(seconds: u64) -> Date {
        Date(seconds.min(LAST))
    }

    /// Seconds since the Unix epoch.
    pub fn unix(self) -> u64 {
        self.0
    }

    /// Reads `Sat, 13 Nov 2010 23:29:00 GMT`. The day of the week is not checked against the date.
    pub fn parse(value: &[u8]) -> Result<Date, ParseError> {
        read(trim(value)).map(Date).ok_or(ParseError::Malformed {
            header: HeaderName::Date,
            expected: "a date like Sat, 13 Nov 2010 23:29:00 GMT",
        })
    }
}

fn read(value: &[u8]) -> Option<u64> {
    let (day, rest) = value.split_at_checked(3)?;
    if !DAYS.iter().any(|d| d.as_bytes().eq_ignore_ascii_case(day)) {
        return None;
    }
    let mut parts = rest.strip_prefix(b",")?.split(|b| *b == b' ').filter(|p| !p.is_empty());
    let day = decimal(parts.next().filter(|d| d.len() <= 2)?)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(month))? as u64 + 1;
    let year = decimal(parts.next().filter(|y| y.len() == 4)?)?;
    let mut clock = parts.next()?.split(|b| *b == b':').map(|p| if p.len() == 2 { decimal(p) } else { None });
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = parts.next()?;
    let fine = year >= 1970 && day >= 1 && day <= days_in(year, month) && hour < 24 && minute < 60 && second <= 60;
    if !fine || !zone.eq_ignore_ascii_case(b"GMT") || clock.next().is_some() || parts.next().is_some() {
        return None;
    }
    Some(days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the date, counted in years that begin in March, so that leap days come last.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let day_name = DAYS[(days % 7) as usize];
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        // On the stack and without `fmt`, for every 200 to a REGISTER has one.
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        text[..3].copy_from_slice(day_name.as_bytes());
        text[8..11].copy_from_slice(MONTHS[month as usize - 1].as_bytes());
        let numbers = [
            (5, day),
            (12, year / 100),
            (14, year % 100),
            (17, second / 3600),
            (20, second / 60 % 60),
            (23, second % 60),
        ];
        for (at, number) in numbers {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_both_ways() {
        for (text, unix) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sat, 13 Nov 2010 23:29:00 GMT", 1_289_690_940),
            ("Tue, 29 Feb 2000 12:00:01 GMT", 951_825_601),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Sun, 31 Dec 2023 23:59:59 GMT", 1_704_067_199),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LAST),
        ] {
            assert_eq!(Date::parse(text.as_bytes()).map(Date::unix), Ok(unix), "{text}");
            assert_eq!(Date::from_unix(unix).to_string(), text);
        }
    }

    #[test]
    fn other_dates_are_refused() {
        for text in [
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Thu, 31 Feb 2000 00:00:00 GMT",
            "Thu, 01 Jan 1970 24:00:00 GMT",
            "01 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 70 00:00:00 GMT",
            "",
        ] {
            assert!(Date::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
