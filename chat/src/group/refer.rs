//! REFER to a focus: who is to come and who is to go (RFC 3515, RFC 4579 §5.5, RFC 5368; GSMA RCC.07 §3.4.4.1.4).

use chappe_sip::header::{ContentType, NameAddr};
use chappe_sip::multipart::{self, MultipartError};
use chappe_sip::{Aor, HeaderName, Message, Uri};

use super::Role;
use super::change::{Change, Invitee};
use super::list::{self, Entry, LIST_TYPE, ListError, Wish};

/// Header that [`HeaderName`] does not know (RFC 4488).
const REFER_SUB: &str = "Refer-Sub";

/// What a REFER asks a focus for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// At least one; additions come before removals.
    pub changes: Vec<Change>,
    /// No implicit subscription is wanted (RFC 4488, RFC 7614).
    pub silent: bool,
}

/// Why it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferError {
    #[error("not one Refer-To")]
    ReferTo,
    #[error("Refer-To is no address of a user")]
    Address,
    #[error("a method that a focus does not send for others")]
    Method,
    #[error("no part with the list that Refer-To names")]
    NoList,
    #[error(transparent)]
    Body(#[from] MultipartError),
    #[error(transparent)]
    List(#[from] ListError),
}

impl ReferError {
    pub fn status(self) -> u16 {
        match self {
            ReferError::Method => 501,
            ReferError::List(error) => error.status(),
            ReferError::ReferTo | ReferError::Address | ReferError::NoList | ReferError::Body(_) => 400,
        }
    }

    /// As [`super::Refused::warning`].
    pub fn warning(self) -> Option<(u16, &'static str)> {
        match self {
            ReferError::List(error) => error.warning(),
            _ => None,
        }
    }
}

impl Referral {
    /// Reads a REFER. `user` says whose address a URI is; a list may have `max` entries.
    ///
    /// # Errors
    /// What a focus does not take.
    pub fn read(message: &Message, max: usize, user: impl Fn(&Uri<'_>) -> Option<Aor>) -> Result<Referral, ReferError> {
        let mut values = message.headers(HeaderName::ReferTo);
        let value = values.next().ok_or(ReferError::ReferTo)?;
        if values.next().is_some() {
            return Err(ReferError::ReferTo);
        }
        let address = NameAddr::parse(value).map_err(|_| ReferError::ReferTo)?;
        let changes = match address.uri.get(..4) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"cid:") => {
                by_wish(list::read(named_part(message, &address.uri[4..])?, max, user)?)
            }
            _ => vec![one(&address, user)?],
        };
        let says_false = |value: &[u8]| {
            let value = value.split(|c| *c == b';').next().unwrap_or_default();
            value.trim_ascii().eq_ignore_ascii_case(b"false")
        };
        let silent = message.other_header(REFER_SUB).is_some_and(says_false)
            || message.has_token(HeaderName::Require, "norefersub")
            || message.has_token(HeaderName::Require, "nosub");
        Ok(Referral { changes, silent })
    }
}

fn one(address: &NameAddr<'_>, user: impl Fn(&Uri<'_>) -> Option<Aor>) -> Result<Change, ReferError> {
    let text = std::str::from_utf8(address.uri).map_err(|_| ReferError::Address)?;
    let parameter = |name: &str| address.param(name).and_then(|value| std::str::from_utf8(value).ok());
    let bare = text.split('?').next().unwrap_or_default();
    let whose = Uri::parse(bare.as_bytes()).map_err(|_| ReferError::Address)?;
    let user = user(&whose).ok_or(ReferError::Address)?;
    // As linphone appoints: (u) the name of the parameter.
    let admin = whose.param("admin").or(parameter("admin"));
    if let Some(admin) = admin {
        let role = if matches!(admin, "1" | "true") { Role::Admin } else { Role::Member };
        return Ok(Change::Role { user, role });
    }
    let (_, wish) = list::target(text).ok_or(ReferError::Method)?;
    let wish = match (wish, parameter("method")) {
        (Wish::Invite, Some(method)) => list::wish(Some(method)).ok_or(ReferError::Method)?,
        (wish, _) => wish,
    };
    Ok(match wish {
        Wish::Invite => Change::Add(vec![Invitee { display_name: name(address.display), ..Invitee::new(user) }]),
        Wish::Bye => Change::Remove { users: vec![user], ban: false },
    })
}

/// A display name without its quotes.
fn name(display: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(display).ok()?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or_else(
        || text.to_owned(),
        |quoted| {
            let mut out = String::with_capacity(quoted.len());
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                out.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            out
        },
    );
    Some(text).filter(|text| !text.is_empty()).map(Into::into)
}

fn by_wish(entries: Vec<Entry>) -> Vec<Change> {
    let (come, go): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.wish == Wish::Invite);
    let mut changes = Vec::new();
    if !come.is_empty() {
        changes.push(Change::Add(come.into_iter().map(|entry| entry.invitee).collect()));
    }
    if !go.is_empty() {
        let users = go.into_iter().map(|entry| entry.invitee.user).collect();
        changes.push(Change::Remove { users, ban: false });
    }
    changes
}

/// The part of this Content-ID (RFC 2392). A body that is a list and says of no id is meant.
fn named_part<'a>(message: &'a Message, id: &[u8]) -> Result<&'a [u8], ReferError> {
    let content_type = message.header(HeaderName::ContentType).unwrap_or_default();
    let content_type = ContentType::parse(content_type).map_err(|_| ReferError::NoList)?;
    let id = percent_decoded(id);
    let is_it = |value: &[u8]| {
        let value = value.trim_ascii();
        value.strip_prefix(b"<").and_then(|value| value.strip_suffix(b">")).unwrap_or(value) == id
    };
    if content_type.is(LIST_TYPE) {
        let fits = message.other_header("Content-ID").is_none_or(is_it);
        return if fits { Ok(message.body()) } else { Err(ReferError::NoList) };
    }
    if !content_type.is_multipart() {
        return Err(ReferError::NoList);
    }
    let parts = multipart::parts(&content_type, message.body())?;
    let part = parts
        .iter()
        .find(|part| part.content_type().is(LIST_TYPE) && part.header("Content-ID").is_some_and(is_it))
        .ok_or(ReferError::NoList)?;
    Ok(part.body)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((c, tail)) = rest.split_first() {
        rest = tail;
        match tail {
            [high, low, tail @ ..] if *c == b'%' => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    rest = tail;
                }
                _ => out.push(*c),
            },
            _ => out.push(*c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_sip::Limits;

    fn refer(headers: &str, body: &str) -> Message {
        let text = format!(
            "REFER sip:g1@x SIP/2.0\r\nVia: SIP/2.0/TCP s;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:g1@x>;tag=2\r\nCall-ID: c\r\nCSeq: 2 REFER\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.into_bytes().into(), &Limits::default()).unwrap()
    }

    fn read(headers: &str, body: &str) -> Result<Referral, ReferError> {
        Referral::read(&refer(headers, body), 3, Aor::of)
    }

    fn aor(name: &str) -> Aor {
        Aor::from_canonical(name)
    }

    fn add(name: &str) -> Change {
        Change::Add(vec![Invitee::new(aor(name))])
    }

    fn remove(name: &str) -> Change {
        Change::Remove { users: vec![aor(name)], ban: false }
    }

    #[test]
    fn one_by_its_address() {
        let named = Change::Add(vec![Invitee { display_name: Some("D \"x\"".into()), ..Invitee::new(aor("d@x")) }]);
        for (value, expected) in [
            ("<tel:+15550100004>", Ok(add("+15550100004"))),
            ("sip:d@x", Ok(add("d@x"))),
            ("\"D \\\"x\\\"\" <sip:d@x;method=INVITE>", Ok(named)),
            ("<tel:+15550100003;method=BYE>", Ok(remove("+15550100003"))),
            ("<sip:+1@x;user=phone;method=BYE>", Ok(remove("+1@x"))),
            ("<sip:d@x?method=BYE>", Ok(remove("d@x"))),
            ("<tel:+1?Method=BYE&x=y>", Ok(remove("+1"))),
            ("<sip:d@x>;method=BYE", Ok(remove("d@x"))),
            ("<sip:d@x>;admin=1", Ok(Change::Role { user: aor("d@x"), role: Role::Admin })),
            ("<sip:d@x;admin=0>", Ok(Change::Role { user: aor("d@x"), role: Role::Member })),
            ("<sip:d@x;method=MESSAGE>", Err(ReferError::Method)),
            ("<sip:d@x>;method=MESSAGE", Err(ReferError::Method)),
            ("<http://x>", Err(ReferError::Address)),
            ("<cid:x>", Err(ReferError::NoList)),
            ("<", Err(ReferError::ReferTo)),
        ] {
            let seen = read(&format!("Refer-To: {value}\r\n"), "");
            let expected = expected.map(|change| Referral { changes: vec![change], silent: false });
            assert_eq!(seen, expected, "{value}");
        }
        assert_eq!(read("", ""), Err(ReferError::ReferTo));
        assert_eq!(read("Refer-To: <sip:a@x>\r\nRefer-To: <sip:b@x>\r\n", ""), Err(ReferError::ReferTo));
        assert_eq!((ReferError::Method.status(), ReferError::ReferTo.status()), (501, 400));
    }

    #[test]
    fn whether_a_subscription_follows() {
        for (headers, expected) in [
            ("", false),
            ("Refer-Sub: true\r\n", false),
            ("Refer-Sub: false\r\n", true),
            ("Refer-Sub: False;x=y\r\n", true),
            ("Require: multiple-refer, norefersub\r\n", true),
            ("Require: nosub\r\n", true),
        ] {
            assert_eq!(read(&format!("Refer-To: <sip:d@x>\r\n{headers}"), "").unwrap().silent, expected, "{headers}");
        }
    }

    #[test]
    fn several_by_a_list() {
        let list = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
            <entry uri=\"sip:b@x?method=BYE\"/><entry uri=\"sip:c@x\"/></list></resource-lists>";
        let alone = "Refer-To: <cid:l1%40x>\r\nRefer-Sub: false\r\nContent-Type: application/resource-lists+xml\r\n";
        let come = Change::Add(vec![Invitee { copy: super::super::Copy::Bcc, ..Invitee::new(aor("c@x")) }]);
        let expected = Ok(Referral { changes: vec![come, remove("b@x")], silent: true });
        assert_eq!(read(alone, list), expected);
        assert_eq!(read(&format!("{alone}Content-ID: <l1@x>\r\n"), list), expected);
        assert_eq!(read(&format!("{alone}Content-ID: <l2@x>\r\n"), list), Err(ReferError::NoList));
        let parts = format!(
            "--b\r\nContent-Type: text/plain\r\nContent-ID: <l1@x>\r\n\r\nx\r\n\
             --b\r\nContent-Type: application/resource-lists+xml\r\nContent-ID: <l1@x>\r\n\r\n{list}\r\n--b--\r\n"
        );
        let multipart = "Refer-To: <cid:l1@x>\r\nRefer-Sub: false\r\nContent-Type: multipart/mixed;boundary=b\r\n";
        assert_eq!(read(multipart, &parts), expected);
        assert_eq!(read(&multipart.replace("l1", "l3"), &parts), Err(ReferError::NoList));
        assert_eq!(read(alone, "<x/>").map_err(ReferError::status), Err(400));
    }
}
