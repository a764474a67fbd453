//! vCards (RFC 6350, RFC 2426, and vCard 2.1) as lines: whatever is not asked for stays as it came.

use std::fmt::Write as _;

use chappe_xcap::canonical_xui;

/// Octets of a folded line (RFC 6350 §3.2).
const FOLD: usize = 75;

/// Why something is no vCard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("not one vCard from BEGIN:VCARD to END:VCARD")]
    Frame,
    #[error("a line has no name, or no colon")]
    Line,
    #[error("the version is none of 2.1, 3.0 and 4.0")]
    Version,
    #[error("neither FN nor N nor ORG names anybody")]
    Nameless,
}

/// A content line, unfolded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    text: String,
    /// Octets of group, name and parameters.
    head: usize,
}

impl Line {
    fn parse(text: &str) -> Result<Line, CardError> {
        let mut quoted = false;
        let head = text.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            *c == ':' && !quoted
        });
        // A quote that never ends hides the colon.
        let head = head.map(|(at, _)| at).or_else(|| text.find(':')).ok_or(CardError::Line)?;
        let line = Line { text: text.to_owned(), head };
        let named = !line.name().is_empty() && line.name().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        named.then_some(line).ok_or(CardError::Line)
    }

    /// A line without group and parameters; `value` is text, and is escaped.
    pub fn text(name: &str, value: &str) -> Line {
        Line { text: format!("{name}:{}", escape(value)), head: name.len() }
    }

    /// A line whose value stands as it is; line ends in it are dropped.
    fn raw(head: &str, value: &str) -> Line {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        Line { text: format!("{head}:{value}"), head: head.len() }
    }

    /// Without its group.
    pub fn name(&self) -> &str {
        let name = self.text[..self.head].split(';').next().unwrap_or_default();
        name.rsplit_once('.').map_or(name, |(_, name)| name)
    }

    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// As it stands there.
    pub fn value(&self) -> &str {
        &self.text[self.head + 1..]
    }

    /// The value as text.
    pub fn decoded(&self) -> String {
        unescape(self.value())
    }

    /// The values of a parameter, without quotes; a bare word of vCard 2.1 counts as a TYPE.
    pub fn param(&self, name: &str) -> Vec<&str> {
        let params = self.text[..self.head].split(';').skip(1);
        let values = params.filter_map(|param| match param.split_once('=') {
            Some((key, value)) => key.eq_ignore_ascii_case(name).then_some(value),
            None => name.eq_ignore_ascii_case("TYPE").then_some(param),
        });
        values.flat_map(|value| value.split(',')).map(|value| value.trim_matches('"')).collect()
    }
}

/// A vCard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What is between BEGIN and END.
    lines: Vec<Line>,
}

impl Card {
    /// Reads one vCard, folded or not, with any line ends.
    pub fn parse(text: &str) -> Result<Card, CardError> {
        let mut unfolded: Vec<String> = Vec::new();
        for line in text.trim_start_matches('\u{feff}').split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
                (Some(more), Some(last)) => last.push_str(more),
                // Quoted-printable goes on behind a soft line break.
                (None, Some(last)) if is_soft_broken(last) => {
                    last.pop();
                    last.push_str(line);
                }
                _ => unfolded.push(line.to_owned()),
            }
        }
        let mut lines = unfolded.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty());
        let frame = |line: Option<&str>, wanted: &str| line.is_some_and(|line| line.eq_ignore_ascii_case(wanted));
        if !frame(lines.next(), "BEGIN:VCARD") {
            return Err(CardError::Frame);
        }
        let mut rest: Vec<&str> = lines.collect();
        if !frame(rest.pop(), "END:VCARD") {
            return Err(CardError::Frame);
        }
        let lines = rest.into_iter().map(Line::parse).collect::<Result<Vec<_>, _>>()?;
        if lines.iter().any(|line| line.is("BEGIN") || line.is("END")) {
            return Err(CardError::Frame);
        }
        let card = Card { lines };
        match card.first("VERSION").map(|line| line.value().trim()) {
            Some("2.1" | "3.0" | "4.0") => {}
            _ => return Err(CardError::Version),
        }
        if card.display_name().is_empty() { Err(CardError::Nameless) } else { Ok(card) }
    }

    /// A vCard of an address and a name.
    pub fn of(uid: &str, display_name: &str, uri: &str) -> Card {
        let version = Line::raw("VERSION", "4.0");
        let mut card = Card { lines: vec![version, Line::raw("UID", uid), Line::text("FN", display_name)] };
        card.add_uri(uri);
        card
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn first(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.is(name))
    }

    pub fn uid(&self) -> Option<String> {
        self.first("UID").map(Line::decoded).filter(|uid| !uid.is_empty())
    }

    /// FN, or what stands for it.
    pub fn display_name(&self) -> String {
        let fn_ = self
            .lines
            .iter()
            .filter(|line| line.is("FN"))
            .map(|line| line.decoded())
            .find(|name| !name.trim().is_empty());
        let structured = || {
            let name = self.first("N")?;
            let mut parts = split(name.value(), ';').map(|part| unescape(part).trim().to_owned());
            let (family, given) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            Some(format!("{given} {family}").trim().to_owned()).filter(|name| !name.is_empty())
        };
        let company = || self.first("ORG").map(|line| unescape(split(line.value(), ';').next().unwrap_or_default()));
        fn_.or_else(structured).or_else(company).unwrap_or_default().trim().to_owned()
    }

    /// Addresses that somebody can be reached at here: `tel:` of TEL, `sip:` of IMPP, the preferred first.
    pub fn uris(&self) -> Vec<String> {
        let mut found: Vec<(u32, String)> = Vec::new();
        for line in &self.lines {
            let uri = if line.is("TEL") { telephone(line.value()) } else { messaging(line) };
            let Some(uri) = uri else { continue };
            let preferred = line.param("TYPE").iter().any(|t| t.eq_ignore_ascii_case("pref"));
            let rank = line.param("PREF").first().and_then(|rank| rank.parse().ok());
            let rank = rank.unwrap_or(if preferred { 1 } else { 101 });
            if !found.iter().any(|(_, other)| *other == uri) {
                found.push((rank, uri));
            }
        }
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, uri)| uri).collect()
    }

    /// Adds an address.
    pub fn add_uri(&mut self, uri: &str) {
        let canonical = canonical_xui(uri);
        if self.uris().iter().any(|own| canonical_xui(own) == canonical) {
            return;
        }
        let line = if canonical.starts_with('+') || uri.starts_with("tel:") {
            let is_4 = self.first("VERSION").is_some_and(|version| version.value().trim() == "4.0");
            if is_4 { Line::raw("TEL;VALUE=uri", uri) } else { Line::raw("TEL", &canonical) }
        } else if ["sip:", "sips:"].iter().any(|scheme| uri.starts_with(scheme)) {
            Line::raw("IMPP", uri)
        } else {
            return;
        };
        self.lines.push(line);
    }

    /// Names the contact; what N says of parts stays.
    pub fn set_display_name(&mut self, name: &str) {
        self.set("FN", name);
    }

    /// Makes a text property what is said, once.
    pub fn set(&mut self, name: &str, value: &str) {
        let at = self.lines.iter().position(|line| line.is(name)).unwrap_or(self.lines.len());
        self.lines.retain(|line| !line.is(name));
        self.lines.insert(at.min(self.lines.len()), Line::text(name, value));
    }

    /// Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !line.is(name));
        self.lines.len() < before
    }

    /// One line each, as it is kept.
    pub(crate) fn unfolded(&self) -> String {
        let lines: String = self.lines.iter().map(|line| format!("{}\n", line.text)).collect();
        format!("BEGIN:VCARD\n{lines}END:VCARD\n")
    }

    /// As it goes over the wire: folded, with CRLF. With `only`, no other properties but VERSION (RFC 6352 §10.4).
    pub fn to_text(&self, only: Option<&[String]>) -> String {
        let mut out = String::from("BEGIN:VCARD\r\n");
        for line in &self.lines {
            let wanted = |only: &[String]| line.is("VERSION") || only.iter().any(|name| line.is(name));
            if only.is_none_or(wanted) {
                fold(&mut out, &line.text);
            }
        }
        out.push_str("END:VCARD\r\n");
        out
    }
}

fn is_soft_broken(line: &str) -> bool {
    line.ends_with('=') && line.to_ascii_uppercase().contains("QUOTED-PRINTABLE")
}

fn fold(out: &mut String, line: &str) {
    let mut used = 0;
    for c in line.chars() {
        if used + c.len_utf8() > FOLD {
            out.push_str("\r\n ");
            used = 1;
        }
        out.push(c);
        used += c.len_utf8();
    }
    out.push_str("\r\n");
}

/// A number as a URI: with its plus, or as it was dialled.
fn telephone(value: &str) -> Option<String> {
    let value = value.trim();
    let number = value.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("tel:")).map_or(value, |_| &value[4..]);
    let number = number.split(';').next().unwrap_or_default();
    let digits: String = number.chars().filter(|c| c.is_ascii_digit() || matches!(c, '*' | '#')).collect();
    let plus = if number.trim_start().starts_with('+') { "+" } else { "" };
    (!digits.is_empty()).then(|| format!("tel:{plus}{digits}"))
}

fn messaging(line: &Line) -> Option<String> {
    if !line.is("IMPP") && !line.is("X-SIP") {
        return None;
    }
    let value = line.value().trim();
    let (scheme, rest) = value.split_once(':').unwrap_or(("sip", value));
    match &*scheme.to_ascii_lowercase() {
        "sip" | "sips" if rest.contains('@') => Some(format!("{}:{}", scheme.to_ascii_lowercase(), rest)),
        "tel" => telephone(value),
        _ => None,
    }
}

/// Text as a value (RFC 6350 §3.4).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ',' | ';' => {
                let _ = write!(out, "\\{c}");
            }
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// The parts of a value between separators that are not escaped.
fn split(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    value.split(move |c| {
        let found = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        found
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOB: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob-1\r\nN:Builder;Bob;;;\r\nFN:Bob\\, the Builder\r\n\
        item1.TEL;type=CELL;type=pref:+1 (555) 010-0002\r\nTEL;TYPE=work:0555 123\r\nIMPP;X-SERVICE-TYPE=SIP:sip:bob@example.com\r\n\
        IMPP:xmpp:bob@example.com\r\nX-ODD;X=\"a:b\":c\r\nNOTE:one\\ntwo\r\nEND:VCARD\r\n";

    #[test]
    fn what_a_card_says() {
        let card = Card::parse(BOB).unwrap();
        assert_eq!(card.display_name(), "Bob, the Builder");
        assert_eq!(card.uris(), ["tel:+15550100002", "tel:0555123", "sip:bob@example.com"]);
        assert_eq!(card.first("x-odd").unwrap().value(), "c");
        assert_eq!(card.first("NOTE").unwrap().decoded(), "one\ntwo");
        assert_eq!(card.to_text(None), BOB, "what is not touched stays");
        let some = card.to_text(Some(&["FN".to_owned()]));
        assert_eq!(some, "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\\, the Builder\r\nEND:VCARD\r\n");
    }

    #[test]
    fn cards_as_old_phones_write_them() {
        let text = "BEGIN:VCARD\nVERSION:2.1\nN:Doe;Jane\nTEL;CELL;PREF:+15550100003\nNOTE;ENCODING=QUOTED-PRINTABLE:a=\nb\nEND:VCARD\n";
        let card = Card::parse(text).unwrap();
        assert_eq!((&*card.display_name(), card.uris()), ("Jane Doe", vec!["tel:+15550100003".to_owned()]));
        assert_eq!(card.first("NOTE").unwrap().value(), "ab");
        assert_eq!(card.first("TEL").unwrap().param("type"), ["CELL", "PREF"]);
    }

    #[test]
    fn what_is_no_card() {
        for (text, error) in [
            ("", CardError::Frame),
            ("BEGIN:VCARD\nVERSION:4.0\nFN:a\n", CardError::Frame),
            ("BEGIN:VCARD\nVERSION:4.0\nFN:a\nEND:VCARD\nBEGIN:VCARD\nVERSION:4.0\nFN:b\nEND:VCARD", CardError::Frame),
            ("BEGIN:VCARD\nVERSION:4.0\nFN a\nEND:VCARD", CardError::Line),
            ("BEGIN:VCARD\nVERSION:5.0\nFN:a\nEND:VCARD", CardError::Version),
            ("BEGIN:VCARD\nFN:a\nEND:VCARD", CardError::Version),
            ("BEGIN:VCARD\nVERSION:4.0\nNOTE:a\nEND:VCARD", CardError::Nameless),
        ] {
            assert_eq!(Card::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn changes_touch_what_they_name() {
        let mut card = Card::parse(BOB).unwrap();
        card.set_display_name("Robert; Bob");
        card.add_uri("tel:+1-555-010-0002");
        card.add_uri("sip:new@example.com");
        assert!(card.remove("note") && !card.remove("note"));
        let expected = BOB
            .replace("FN:Bob\\, the Builder", "FN:Robert\\; Bob")
            .replace("NOTE:one\\ntwo\r\n", "IMPP:sip:new@example.com\r\n");
        assert_eq!(card.to_text(None), expected);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = Card::parse(&text);
            let _ = Card::parse(&format!("BEGIN:VCARD\nVERSION:4.0\nFN:{text}\nTEL:{text}\nEND:VCARD"));
        }

        #[test]
        fn folds_come_apart_again(name in "[^\\p{Cc}]{1,200}") {
            prop_assume!(!name.trim().is_empty());
            let card = Card::of("u", &name, "tel:+1");
            let text = card.to_text(None);
            prop_assert!(text.split("\r\n").all(|line| line.len() <= FOLD));
            prop_assert_eq!(Card::parse(&text).unwrap().display_name(), name.trim());
        }
    }
}
