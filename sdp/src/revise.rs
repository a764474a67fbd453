//! Later offers and answers of a session (RFC 3264 §8).

use crate::description::Description;
use crate::line::Line;
use crate::media::Media;

/// Why a description cannot follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReviseError {
    /// Sections end by port 0; they are never taken away.
    #[error("{now} sections where there were {before}")]
    Fewer { before: usize, now: usize },
    #[error("another session in o=")]
    OtherSession,
    #[error("no o= line")]
    NoOrigin,
}

/// Gives `next` the `o=` line that it must have after `previous`, which we sent before: the same if nothing else
/// differs, else that of the next version.
///
/// # Errors
/// What the caller has to mend.
pub fn revise(previous: &Description<'_>, mut next: Description<'static>) -> Result<Description<'static>, ReviseError> {
    let (before, now) = (previous.media().len(), next.media().len());
    if now < before {
        return Err(ReviseError::Fewer { before, now });
    }
    let origin = previous.origin().ok_or(ReviseError::NoOrigin)?;
    next.set_origin(&if same_but_origin(previous, &next) { origin } else { origin.next_version() });
    Ok(next)
}

/// What a later description of a peer says compared to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: a refresh. It is answered all the same.
    None,
    Changed,
}

/// Compares a description with the one that the same peer sent before. A peer that changes it under the same version is
/// taken at its word.
///
/// # Errors
/// A description that must not follow the other.
pub fn change(previous: &Description<'_>, next: &Description<'_>) -> Result<Change, ReviseError> {
    let (before, now) = (previous.media().len(), next.media().len());
    if now < before {
        return Err(ReviseError::Fewer { before, now });
    }
    match (previous.origin(), next.origin()) {
        (Some(before), Some(now)) if !before.same_session(&now) => Err(ReviseError::OtherSession),
        _ if same_but_origin(previous, next) => Ok(Change::None),
        _ => Ok(Change::Changed),
    }
}

/// The place for a new section: one that is over may be used again, else it goes to the end (RFC 3264 §8.1).
#[must_use]
pub fn free_section(description: &Description<'_>) -> usize {
    let media = description.media();
    media.iter().position(Media::is_refused).unwrap_or(media.len())
}

fn same_but_origin(a: &Description<'_>, b: &Description<'_>) -> bool {
    fn lines<'d>(description: &'d Description<'_>) -> impl Iterator<Item = (Option<char>, &'d [u8])> {
        let media = description.media().iter().flat_map(Media::lines);
        let all = description.lines().iter().chain(media);
        all.filter(|line| line.kind() != Some('o') && !line.is_blank())
            .map(|line: &Line<'_>| (line.kind(), line.value()))
    }
    lines(a).eq(lines(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    fn read(text: &str) -> Description<'static> {
        Description::parse_within(text.as_bytes(), &Rules::default()).unwrap().into_owned()
    }

    const FIRST: &str = "v=0\r\no=a 5 7 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=message 1 TCP/MSRP *\r\na=x\r\n";

    #[test]
    fn ours() {
        for (name, next, expected) in [
            ("the same", FIRST.replace("o=a 5 7", "o=- 9 9"), Ok("a 5 7 IN IP4 h")),
            ("an attribute more", FIRST.replace("a=x", "a=x\r\na=y"), Ok("a 5 8 IN IP4 h")),
            ("ended", FIRST.replace("message 1", "message 0"), Ok("a 5 8 IN IP4 h")),
            ("a section more", format!("{FIRST}m=message 1 TCP/MSRP *\r\n"), Ok("a 5 8 IN IP4 h")),
            (
                "a section less",
                FIRST.split("m=").next().unwrap().to_owned(),
                Err(ReviseError::Fewer { before: 1, now: 0 }),
            ),
        ] {
            let revised = revise(&read(FIRST), read(&next)).map(|next| next.origin().unwrap().to_string());
            assert_eq!(revised.as_deref().map_err(|error| *error), expected, "{name}");
        }
        let none = read("v=0\r\ns=-\r\n");
        assert_eq!(revise(&none, none.clone()), Err(ReviseError::NoOrigin));
        let odd = read("v=0\r\no=a 5 x IN IP4 h\r\n");
        assert_eq!(revise(&odd, read("v=0\r\ns=-\r\n")).unwrap().origin().unwrap().version, "1");
    }

    #[test]
    fn a_peers() {
        for (name, next, expected) in [
            ("a refresh", FIRST.to_owned(), Ok(Change::None)),
            ("a refresh with a new version", FIRST.replace("5 7", "5 8"), Ok(Change::None)),
            ("other line ends", FIRST.replace("\r\n", "\n"), Ok(Change::None)),
            ("a change", FIRST.replace("5 7", "5 8").replace("a=x", "a=z"), Ok(Change::Changed)),
            ("a change under the old version", FIRST.replace("a=x", "a=z"), Ok(Change::Changed)),
            ("another session", FIRST.replace("o=a 5", "o=a 6"), Err(ReviseError::OtherSession)),
            (
                "a section less",
                FIRST.split("m=").next().unwrap().to_owned(),
                Err(ReviseError::Fewer { before: 1, now: 0 }),
            ),
        ] {
            assert_eq!(change(&read(FIRST), &read(&next)), expected, "{name}");
        }
    }

    #[test]
    fn places_for_new_sections() {
        for (sections, expected) in [("", 0), ("m=a 1 x *\r\n", 1), ("m=a 1 x *\r\nm=b 0 x *\r\nm=c 1 x *\r\n", 1)] {
            assert_eq!(free_section(&read(&format!("v=0\r\n{sections}"))), expected);
        }
    }
}
