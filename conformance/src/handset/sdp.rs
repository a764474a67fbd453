//! The session descriptions of handsets (RFC 8866, 4975 §8, 6135), as far as they need them.

/// What of a peer's message section matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// In order of To-Path.
    pub(crate) path: Vec<String>,
    /// `active`, `passive`, `actpass`, or empty.
    pub(crate) setup: String,
    /// Whether it wants TLS.
    pub(crate) secure: bool,
    /// False for a section that was refused.
    pub(crate) accepted: bool,
    /// Whether the peer takes content.
    pub(crate) receives: bool,
}

impl Remote {
    /// Reads the first message section; `None` where there is none.
    pub(crate) fn read(text: &str) -> Option<Remote> {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let start = lines.iter().position(|line| line.starts_with("m=message "))?;
        let end = lines[start + 1..].iter().position(|line| line.starts_with("m=")).map(|at| start + 1 + at);
        let section = &lines[start..end.unwrap_or(lines.len())];
        let attribute = |name: &str| section.iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name));
        let path = attribute("path:").unwrap_or("").split(' ').filter(|uri| !uri.is_empty());
        Some(Remote {
            path: path.map(str::to_owned).collect(),
            setup: attribute("setup:").unwrap_or("").to_owned(),
            secure: section[0].contains(" TCP/TLS/MSRP "),
            accepted: section[0].split(' ').nth(1) != Some("0"),
            receives: attribute("sendonly").is_none() && attribute("inactive").is_none(),
        })
    }
}

/// One's own section.
pub(crate) struct Own<'a> {
    pub(crate) path: &'a str,
    pub(crate) setup: &'a str,
    /// In the m-line: 9 for an active end.
    pub(crate) port: u16,
    pub(crate) secure: bool,
    /// `sendrecv`, `recvonly` or `sendonly`.
    pub(crate) direction: &'a str,
}

impl Own<'_> {
    pub(crate) fn text(&self) -> String {
        let Own { path, setup, port, direction, .. } = self;
        let proto = if self.secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" };
        format!(
            "v=0\r\no=- 3811155201 3811155201 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=message {port} {proto} *\r\na=accept-types:message/cpim application/im-iscomposing+xml\r\n\
             a=accept-wrapped-types:text/plain message/imdn+xml *\r\na=setup:{setup}\r\na=path:{path}\r\na={direction}\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_is_read_back() {
        let own = Own { path: "msrp://a:1/x;tcp", setup: "active", port: 9, secure: false, direction: "recvonly" };
        let expected = Remote {
            path: vec!["msrp://a:1/x;tcp".into()],
            setup: "active".into(),
            secure: false,
            accepted: true,
            receives: true,
        };
        assert_eq!(Remote::read(&own.text()), Some(expected));
        assert_eq!(Remote::read("v=0\r\nm=audio 9 RTP/AVP 0\r\na=path:x\r\n"), None);
        let refused = Remote::read("v=0\r\nm=message 0 TCP/MSRP *\r\na=inactive\r\n").expect("a section");
        assert!(!refused.accepted && !refused.receives);
    }
}
