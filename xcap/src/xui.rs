//! XCAP user identifiers (RFC 4825 §6.2): one user, several spellings.

/// The user part and domain of an XUI, or its number: `sip:Alice@Example.com`, `sips:…` and `Alice@example.com` are
/// `Alice@example.com`, `tel:+1-555` is `+1555`. What else it may be stays as it is.
pub fn canonical(xui: &str) -> String {
    let xui = xui.trim();
    let (scheme, rest) = xui.split_once(':').map_or(("", xui), |(scheme, rest)| (scheme, rest));
    match &*scheme.to_ascii_lowercase() {
        "tel" => number(rest),
        "sip" | "sips" | "pres" | "im" => address(rest),
        _ if xui.starts_with('+') => number(xui),
        _ => address(xui),
    }
}

/// Without parameters, the domain in lower case.
fn address(address: &str) -> String {
    let bare = address.split([';', '?']).next().unwrap_or_default();
    match bare.rsplit_once('@') {
        Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
        None => bare.to_owned(),
    }
}

fn number(number: &str) -> String {
    number.split(';').next().unwrap_or_default().chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ')).collect()
}

/// Whether two XUIs are one user, by their spelling alone.
pub(crate) fn same_user(a: &str, b: &str) -> bool {
    canonical(a) == canonical(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_user() {
        for (xui, expected) in [
            ("sip:alice@example.com", "alice@example.com"),
            ("SIP:alice@EXAMPLE.com", "alice@example.com"),
            ("sips:alice@example.com", "alice@example.com"),
            ("alice@example.com", "alice@example.com"),
            ("sip:alice@example.com;user=phone", "alice@example.com"),
            ("alice", "alice"),
            ("tel:+1-555-010-0001", "+15550100001"),
            ("+15550100001", "+15550100001"),
            ("tel:+15550100001;phone-context=x", "+15550100001"),
        ] {
            assert_eq!(canonical(xui), expected, "{xui}");
        }
        assert!(!same_user("sip:alice@example.com", "sip:Alice@example.com"));
    }
}
