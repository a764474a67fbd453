//! What a trace shows of a head: never credentials, tokens or subjects; users and numbers only where that is asked for.

use crate::logging::mark;

/// Headers whose values are secrets, or as private as a body.
const HIDDEN: [&str; 6] =
    ["authorization", "proxy-authorization", "subject", "s", "p-access-network-info", "p-charging-vector"];
/// Parameters of URIs that are secrets: the device's token of its push service.
const SECRET: &str = "pn-prid=";

/// The head as it may be shown. `clear`: with users and numbers.
pub(super) fn head(head: &str, clear: bool) -> String {
    let mut out = String::with_capacity(head.len());
    for (index, line) in head.split("\r\n").enumerate() {
        if index > 0 {
            out.push_str("\r\n");
        }
        match line.split_once(':').filter(|_| index > 0) {
            Some((name, _)) if HIDDEN.contains(&name.trim().to_ascii_lowercase().as_str()) => {
                out.push_str(name);
                out.push_str(": …");
            }
            Some((name, value)) => {
                out.push_str(name);
                out.push(':');
                out.push_str(&shown(value, clear));
            }
            None => out.push_str(&shown(line, clear)),
        }
    }
    out
}

fn shown(value: &str, clear: bool) -> String {
    let value = without_secrets(value);
    if clear { value } else { without_users(&without_names(&value)) }
}

/// Without the values of secret parameters.
fn without_secrets(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.to_ascii_lowercase().find(SECRET) {
        let (before, secret) = rest.split_at(at + SECRET.len());
        out.push_str(before);
        out.push('…');
        rest = &secret[secret.find([';', '>', ',', ' ', '?']).unwrap_or(secret.len())..];
    }
    out + rest
}

/// Without display names: what stands before a `<`, in quotes or not.
fn without_names(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('<') {
        let before = &rest[..at];
        // Of a list only the last entry is a name; a quoted name may have a comma in it.
        let quoted = before.find('"');
        let from = quoted.or_else(|| before.rfind(',').map(|comma| comma + 1)).unwrap_or(0);
        out.push_str(&before[..from]);
        if (from > 0 || before.starts_with(' ')) && !out.ends_with(' ') {
            out.push(' ');
        }
        let end = rest[at..].find('>').map_or(rest.len(), |end| at + end + 1);
        out.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    out + rest
}

/// With marks for the users and numbers of URIs.
fn without_users(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((at, scheme)) = next_uri(rest) {
        let (before, uri) = rest.split_at(at + scheme.len());
        out.push_str(before);
        let end = uri.find(['>', ' ', ',', '"']).unwrap_or(uri.len());
        let (uri, after) = uri.split_at(end);
        let user = match scheme {
            "tel:" => uri.find(';').unwrap_or(uri.len()),
            // Without a user there is nothing to hide.
            _ => uri.find('@').unwrap_or(0),
        };
        if user > 0 {
            out.push('u');
            out.push_str(&mark(&uri[..user].to_ascii_lowercase()));
        }
        out.push_str(&uri[user..]);
        rest = after;
    }
    out + rest
}

/// The first URI that names somebody: where its scheme begins, and the scheme.
fn next_uri(text: &str) -> Option<(usize, &'static str)> {
    let lower = text.to_ascii_lowercase();
    let is_start = |at: usize| at == 0 || !lower.as_bytes()[at - 1].is_ascii_alphanumeric();
    let found = ["sip:", "sips:", "tel:", "im:", "pres:"].into_iter().filter_map(|scheme| {
        lower.match_indices(scheme).map(|(at, _)| at).find(|at| is_start(*at)).map(|at| (at, scheme))
    });
    found.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_numbers_and_names_become_marks() {
        let (alice, number) = (format!("u{}", mark("alice")), format!("u{}", mark("+15550001")));
        for (line, expected) in [
            (
                "From: \"Alice, A.\" <sip:alice@d;transport=tcp>;tag=1",
                format!("From: <sip:{alice}@d;transport=tcp>;tag=1"),
            ),
            ("To: Alice <SIPS:Alice@d>", format!("To: <SIPS:{alice}@d>")),
            (
                "P-Asserted-Identity: <tel:+15550001;phone-context=x>",
                format!("P-Asserted-Identity: <tel:{number};phone-context=x>"),
            ),
            ("Contact: <sip:192.0.2.1:5060>, <sip:alice@h>", format!("Contact: <sip:192.0.2.1:5060>, <sip:{alice}@h>")),
            ("CSeq: 1 MESSAGE", "CSeq: 1 MESSAGE".to_owned()),
        ] {
            let text = head(&format!("MESSAGE sip:alice@d SIP/2.0\r\n{line}"), false);
            assert_eq!(text, format!("MESSAGE sip:{alice}@d SIP/2.0\r\n{expected}"));
        }
    }

    #[test]
    fn secrets_are_hidden_even_in_the_clear() {
        let text = "REGISTER sip:d SIP/2.0\r\nAuthorization: Digest username=\"a\"\r\ns: hello\r\n\
                    Contact: <sip:a@h;pn-provider=fcm;pn-prid=SECRET;x>";
        assert_eq!(
            head(text, true),
            "REGISTER sip:d SIP/2.0\r\nAuthorization: …\r\ns: …\r\nContact: <sip:a@h;pn-provider=fcm;pn-prid=…;x>"
        );
        assert!(!head(text, false).contains("SECRET"));
    }
}
