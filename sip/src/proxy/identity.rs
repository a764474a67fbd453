//! Asserted identity at the edge of the trust domain (RFC 3325, RFC 5876, RFC 7315 §5.7).

use smallvec::SmallVec;

use super::forward::Change;
use super::validate::Reject;
use crate::header::NameAddr;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text;
use crate::uri::{Scheme, Uri};

/// Who sent a message, who gets it, and what is ours to say of the sender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parties<'a> {
    /// The peer it came from belongs to the trust domain: by configuration, never by what it says.
    pub from_trusted: bool,
    /// So does the next hop. A user's device does not, save by configuration.
    pub to_trusted: bool,
    /// URIs that the authenticated sender may use, the default first: sip and tel. Empty for one who is not
    /// authenticated.
    pub identities: &'a [&'a str],
    /// Answer 403 to a preferred identity that is not the sender's, instead of taking the default (§6).
    pub strict: bool,
    /// Take asserted identities out towards strangers also where no Privacy header asks for it (§7).
    pub withhold: bool,
}

/// Headers that only the trust domain may set.
const FROM_TRUSTED_ONLY: [HeaderName; 6] = [
    HeaderName::PAssertedService,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PServedUser,
    HeaderName::PVisitedNetworkId,
    HeaderName::PCalledPartyId,
];

/// Headers that do not leave the trust domain.
const TO_TRUSTED_ONLY: [HeaderName; 6] = [
    HeaderName::PAccessNetworkInfo,
    HeaderName::PAssertedService,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PServedUser,
    HeaderName::PVisitedNetworkId,
];

/// What a Privacy header asks for (RFC 3323 §4.2, RFC 3325 §9.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privacy {
    pub id: bool,
    pub none: bool,
    pub header: bool,
    pub session: bool,
    pub user: bool,
    pub history: bool,
    pub critical: bool,
}

impl Privacy {
    pub fn of(message: &Message) -> Privacy {
        let mut privacy = Privacy::default();
        for value in message.headers(HeaderName::Privacy) {
            // The values stand between semicolons; a comma is seen too.
            for token in value.split(|b| matches!(b, b';' | b',')).map(text::trim) {
                let is = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
                privacy.id |= is("id");
                privacy.none |= is("none");
                privacy.header |= is("header");
                privacy.session |= is("session");
                privacy.user |= is("user");
                privacy.history |= is("history");
                privacy.critical |= is("critical");
            }
        }
        privacy
    }
}

/// The changes that identity headers need on the way from one party to the other; for requests and responses.
pub fn identity<'m>(message: &'m Message, parties: &Parties<'_>) -> Result<SmallVec<[Change<'m>; 2]>, Reject> {
    let mut changes: SmallVec<[Change<'m>; 2]> = SmallVec::new();
    let has = |name| message.header(name).is_some();

    let privacy = if parties.to_trusted { Privacy::default() } else { Privacy::of(message) };
    let asked = has(HeaderName::Privacy);
    // §7: `none` forbids to take it out, `id` demands it; else it is policy.
    let hide = !parties.to_trusted && !privacy.none && (privacy.id || (parties.withhold && !asked));

    let believed = parties.from_trusted && !hide;
    if has(HeaderName::PAssertedIdentity) && !believed {
        changes.push(Change::Remove(HeaderName::PAssertedIdentity));
    }
    if !parties.from_trusted {
        let asserted = assert(message, parties)?;
        if !hide && !asserted.is_empty() {
            changes.push(Change::Append(HeaderName::PAssertedIdentity, asserted.into()));
        }
    }
    // §6: a user's hint ends at the first proxy; one from a trusted proxy stays inside.
    if has(HeaderName::PPreferredIdentity) && !(parties.from_trusted && parties.to_trusted) {
        changes.push(Change::Remove(HeaderName::PPreferredIdentity));
    }
    for name in FROM_TRUSTED_ONLY {
        let barred = !parties.from_trusted || (!parties.to_trusted && TO_TRUSTED_ONLY.contains(&name));
        if barred && has(name) {
            changes.push(Change::Remove(name));
        }
    }
    if !parties.to_trusted && has(HeaderName::PAccessNetworkInfo) {
        changes.push(Change::Remove(HeaderName::PAccessNetworkInfo));
    }
    if !(parties.from_trusted && parties.to_trusted) {
        remove_3gpp(message, &mut changes);
    }
    Ok(changes)
}

/// `X-3GPP-…` headers, which HTTP and SIP elements of a 3GPP network believe.
fn remove_3gpp<'m>(message: &'m Message, changes: &mut SmallVec<[Change<'m>; 2]>) {
    for (name, _) in message.all_headers() {
        let is_one = name.len() > 7 && name[..7].eq_ignore_ascii_case(b"x-3gpp-");
        if let Some(name) = std::str::from_utf8(name).ok().filter(|_| is_one) {
            let seen = |c: &Change<'_>| matches!(c, Change::RemoveText(n) if n.eq_ignore_ascii_case(name));
            if !changes.iter().any(seen) {
                changes.push(Change::RemoveText(name));
            }
        }
    }
}

/// The identities to assert for the authenticated sender: at most one sip or sips and one tel URI (§5, §9.1).
fn assert(message: &Message, parties: &Parties<'_>) -> Result<String, Reject> {
    let kind = |uri: &str| Uri::parse(uri.as_bytes()).ok().map(|u| u.scheme == Scheme::Tel);
    let mut chosen: [Option<&str>; 2] = [None, None];
    let mut first = None;
    for hint in message.values(HeaderName::PPreferredIdentity) {
        let uri = NameAddr::parse(hint).ok().and_then(|addr| addr.parse_uri().ok());
        let same =
            |own: &&&str| uri.as_ref().is_some_and(|uri| Uri::parse(own.as_bytes()).is_ok_and(|own| own.equals(uri)));
        match parties.identities.iter().find(same) {
            Some(own) => {
                let slot = usize::from(kind(own) == Some(true));
                chosen[slot].get_or_insert(own);
                first.get_or_insert(slot);
            }
            None if parties.strict && !parties.identities.is_empty() => {
                return Err(Reject::new(403).because("Not an identity of this user"));
            }
            None => {}
        }
    }
    for own in parties.identities {
        let Some(is_tel) = kind(own) else { continue };
        let slot = usize::from(is_tel);
        chosen[slot].get_or_insert(own);
        first.get_or_insert(slot);
    }
    // The preferred kind stands first, for many devices show only that.
    let first = first.unwrap_or(0);
    let mut out = String::new();
    for uri in [chosen[first], chosen[1 - first]].into_iter().flatten() {
        for part in [if out.is_empty() { "<" } else { ", <" }, uri, ">"] {
            out.push_str(part);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::validate::tests::request;

    const OWN: &[&str] = &["sip:bob@example.com", "tel:+15550100", "sip:robert@example.com"];

    fn show(extra: &str, parties: Parties<'_>) -> String {
        let request = request("INVITE", "sip:a@example.com", extra);
        match identity(&request, &parties) {
            Err(reject) => reject.status.to_string(),
            Ok(changes) => {
                let text: Vec<String> = changes
                    .iter()
                    .map(|change| match change {
                        Change::Remove(name) => format!("-{name}"),
                        Change::RemoveText(name) => format!("-{name}"),
                        Change::Append(_, value) => format!("+{value}"),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                text.join(" ")
            }
        }
    }

    #[test]
    fn who_may_assert_what() {
        let user = Parties { identities: OWN, ..Parties::default() };
        let inside = Parties { from_trusted: true, to_trusted: true, ..Parties::default() };
        let leaving = Parties { to_trusted: false, ..inside };
        let entering = Parties { from_trusted: false, ..inside };
        let pai = "P-Asserted-Identity: <sip:boss@example.com>, <tel:+1>\r\n";
        let with = |extra: &str| pai.to_owned() + extra;
        for (name, extra, parties, expected) in [
            ("authenticated", "", user, "+<sip:bob@example.com>, <tel:+15550100>"),
            ("forged", pai, user, "-P-Asserted-Identity +<sip:bob@example.com>, <tel:+15550100>"),
            ("stranger", pai, entering, "-P-Asserted-Identity"),
            ("stranger without", "", entering, ""),
            ("inside", &with("Privacy: id\r\n"), inside, ""),
            ("leaving", pai, leaving, ""),
            ("leaving, private", &with("Privacy: header;id\r\n"), leaving, "-P-Asserted-Identity"),
            ("leaving, none", &with("Privacy: none\r\n"), Parties { withhold: true, ..leaving }, ""),
            ("leaving, withheld", pai, Parties { withhold: true, ..leaving }, "-P-Asserted-Identity"),
            ("leaving, other privacy", &with("Privacy: session\r\n"), Parties { withhold: true, ..leaving }, ""),
            ("private to a device", "Privacy: id\r\n", user, ""),
            (
                "private inside",
                "Privacy: id\r\n",
                Parties { to_trusted: true, ..user },
                "+<sip:bob@example.com>, <tel:+15550100>",
            ),
        ] {
            assert_eq!(show(extra, parties), expected, "{name}");
        }
    }

    #[test]
    fn a_preferred_identity_is_a_hint() {
        let user = Parties { identities: OWN, ..Parties::default() };
        let strict = Parties { strict: true, ..user };
        for (name, extra, parties, expected) in [
            (
                "another of theirs",
                "P-Preferred-Identity: \"R\" <sip:robert@EXAMPLE.com>\r\n",
                user,
                "+<sip:robert@example.com>, <tel:+15550100> -P-Preferred-Identity",
            ),
            (
                "the number",
                "P-Preferred-Identity: <tel:+1-555-0100>\r\n",
                strict,
                "+<tel:+15550100>, <sip:bob@example.com> -P-Preferred-Identity",
            ),
            (
                "not theirs",
                "P-Preferred-Identity: <sip:boss@example.com>\r\n",
                user,
                "+<sip:bob@example.com>, <tel:+15550100> -P-Preferred-Identity",
            ),
            ("not theirs, strict", "P-Preferred-Identity: <sip:boss@example.com>\r\n", strict, "403"),
            ("stranger", "P-Preferred-Identity: <sip:x@y>\r\n", Parties::default(), "-P-Preferred-Identity"),
        ] {
            assert_eq!(show(extra, parties), expected, "{name}");
        }
    }

    #[test]
    fn headers_of_the_trust_domain_stay_in_it() {
        let inside = Parties { from_trusted: true, to_trusted: true, ..Parties::default() };
        let extra = "P-Served-User: <sip:x@y>\r\nP-Charging-Vector: icid-value=1\r\nx-3gpp-Asserted-Identity: a\r\n\
            X-3GPP-ASSERTED-IDENTITY: b\r\nP-Access-Network-Info: x\r\nP-Called-Party-ID: <sip:x@y>\r\n";
        assert_eq!(show(extra, inside), "");
        assert_eq!(
            show(extra, Parties { to_trusted: false, ..inside }),
            "-P-Charging-Vector -P-Served-User -P-Access-Network-Info -x-3gpp-Asserted-Identity"
        );
        assert_eq!(
            show(extra, Parties { from_trusted: false, ..inside }),
            "-P-Charging-Vector -P-Served-User -P-Called-Party-ID -x-3gpp-Asserted-Identity"
        );
    }
}
