//! CPIM, IMDN, composing and multipart bodies as handsets write and read them (RFC 3862, 5438, 3994, 2046).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::message::{end_of_headers, param};

const IMDN: &str = "urn:ietf:params:imdn";

/// What stands in From and To of a one-to-one session.
pub(crate) const ANONYMOUS: &str = "<sip:anonymous@anonymous.invalid>";

/// An envelope as it is read: prefixes resolved by their namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Envelope {
    pub(crate) from: String,
    pub(crate) id: Option<String>,
    pub(crate) date: Option<String>,
    /// Words of Disposition-Notification.
    pub(crate) wants: Vec<String>,
    /// Headers of other namespaces: `namespace#name` and value.
    pub(crate) more: Vec<(String, String)>,
    pub(crate) content_type: String,
    /// Of the content.
    pub(crate) disposition: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Envelope {
    pub(crate) fn read(raw: &[u8]) -> Option<Envelope> {
        let head = end_of_headers(raw)?;
        let inner = head + end_of_headers(&raw[head..])?;
        let mut envelope = Envelope::default();
        let mut prefix = "imdn".to_owned();
        let mut spaces: Vec<(String, String)> = Vec::new();
        for (name, value) in lines(&raw[..head]) {
            match name.as_str() {
                "NS" => match value.split_once(' ') {
                    Some((word, uri)) if uri.trim() == format!("<{IMDN}>") => prefix = word.to_owned(),
                    Some((word, uri)) => {
                        spaces.push((word.to_owned(), uri.trim().trim_matches(['<', '>']).to_owned()));
                    }
                    None => {}
                },
                "From" => envelope.from = value,
                "DateTime" => envelope.date = Some(value),
                name => match name.strip_prefix(&prefix) {
                    Some(".Message-ID") => envelope.id = Some(value),
                    Some(".Disposition-Notification") => {
                        envelope.wants = value.split(',').map(|word| word.trim().to_owned()).collect();
                    }
                    _ => {
                        let space = name.split_once('.').and_then(|(word, name)| {
                            spaces.iter().find(|(prefix, _)| prefix == word).map(|(_, uri)| format!("{uri}#{name}"))
                        });
                        envelope.more.extend(space.map(|name| (name, value)));
                    }
                },
            }
        }
        let own = lines(&raw[head..inner]);
        let content = |wanted| own.iter().find(|(name, _)| is(name, wanted)).map(|(_, value)| value.clone());
        envelope.content_type = content("content-type").unwrap_or_default();
        envelope.disposition = content("content-disposition");
        envelope.body = raw[inner..].to_vec();
        Some(envelope)
    }
}

/// An envelope to be written.
pub(crate) struct Draft<'a> {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Of the IMDN namespace.
    pub(crate) prefix: &'a str,
    pub(crate) id: &'a str,
    pub(crate) wants: &'a str,
    /// Header lines of other namespaces.
    pub(crate) more: &'a str,
    pub(crate) content_type: &'a str,
    /// Header lines of the content.
    pub(crate) about: &'a str,
    pub(crate) body: &'a [u8],
}

impl Draft<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Draft { from, to, prefix, id, more, content_type, about, .. } = self;
        let wants = match self.wants {
            "" => String::new(),
            wants => format!("{prefix}.Disposition-Notification: {wants}\r\n"),
        };
        let disposition = match is(content_type, "message/imdn+xml") {
            true => "Content-Disposition: notification\r\n",
            false => "",
        };
        let head = format!(
            "From: {from}\r\nTo: {to}\r\nNS: {prefix} <{IMDN}>\r\n{prefix}.Message-ID: {id}\r\nDateTime: {date}\r\n{wants}{more}\r\n\
             Content-Type: {content_type}\r\n{about}{disposition}Content-Length: {len}\r\n\r\n",
            date = now(),
            len = self.body.len(),
        );
        [head.as_bytes(), self.body].concat()
    }
}

/// The notification that `id` of `date` is `kind`: `delivered` or `displayed`.
pub(crate) fn notification(id: &str, date: &str, kind: &str) -> String {
    let element = if kind == "displayed" { "display-notification" } else { "delivery-notification" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
         <message-id>{id}</message-id>\r\n<datetime>{date}</datetime>\r\n\
         <{element}><status><{kind}/></status></{element}>\r\n</imdn>"
    )
}

/// The message that a notification is about, and what has become of it.
pub(crate) fn read_notification(xml: &str) -> Option<(String, String)> {
    let at = xml.find("message-id>")? + "message-id>".len();
    let id = xml[at..].split('<').next()?.trim().to_owned();
    let status = &xml[xml.find("status>")? + "status>".len()..];
    let name = status.trim_start().strip_prefix('<')?.split(['/', '>', ' ']).next()?;
    Some((id, name.rsplit(':').next()?.to_owned()))
}

pub(crate) fn composing(active: bool) -> String {
    let (state, refresh) = if active { ("active", "<refresh>60</refresh>") } else { ("idle", "") };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\
         <state>{state}</state><contenttype>text/plain</contenttype>{refresh}</isComposing>"
    )
}

pub(crate) fn is_active(xml: &str) -> bool {
    xml.contains("state>active<")
}

/// The parts of a multipart body, each with its type.
pub(crate) fn parts(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Some(boundary) = param(content_type, "boundary") else { return Vec::new() };
    let mark = format!("\r\n--{boundary}");
    let body = [b"\r\n", body].concat();
    let marks: Vec<usize> = memchr::memmem::find_iter(&body, mark.as_bytes()).collect();
    let mut parts = Vec::new();
    for pair in marks.windows(2) {
        let part = &body[pair[0] + mark.len()..pair[1]];
        let Some(head) = end_of_headers(part) else { continue };
        let content_type = lines(&part[..head]).into_iter().find(|(name, _)| is(name, "content-type"));
        parts.push((content_type.map_or(String::new(), |(_, value)| value), part[head..].to_vec()));
    }
    parts
}

/// A multipart body of these parts.
pub(crate) fn mixed(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let parts: Vec<(&str, &str, &[u8])> = parts.iter().map(|(content_type, body)| (*content_type, "", *body)).collect();
    mixed_of(boundary, &parts)
}

/// The same of parts with a Content-Disposition, where it is not empty.
pub(crate) fn mixed_of(boundary: &str, parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (content_type, disposition, body) in parts {
        let disposition = match *disposition {
            "" => String::new(),
            disposition => format!("Content-Disposition: {disposition}\r\n"),
        };
        let head = format!(
            "--{boundary}\r\nContent-Type: {content_type}\r\n{disposition}Content-Length: {}\r\n\r\n",
            body.len()
        );
        out.extend([head.as_bytes(), body, b"\r\n"].concat());
    }
    out.extend(format!("--{boundary}--\r\n").into_bytes());
    out
}

/// Whether a media type is that one, parameters and case aside.
pub(crate) fn is(content_type: &str, wanted: &str) -> bool {
    content_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(wanted)
}

fn lines(head: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(head);
    let pairs = text.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The time as RFC 3339 wants it, in UTC.
pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs(), since.subsec_millis())
}

fn date(seconds: u64, millis: u32) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(prefix: &str) -> Vec<u8> {
        let (from, to) = (ANONYMOUS.to_owned(), ANONYMOUS.to_owned());
        let body = "caf\u{e9}\r\n\r\n\u{1f3e0}".as_bytes();
        let wants = "positive-delivery, display";
        Draft { from, to, prefix, id: "m1", wants, more: "", content_type: "text/plain", about: "", body }.bytes()
    }

    #[test]
    fn prefixes_count_by_their_namespace() {
        for prefix in ["imdn", "i"] {
            let envelope = Envelope::read(&draft(prefix)).expect("an envelope");
            assert_eq!(envelope.id.as_deref(), Some("m1"), "{prefix}");
            assert_eq!(envelope.wants, ["positive-delivery", "display"]);
            assert_eq!(envelope.body, "caf\u{e9}\r\n\r\n\u{1f3e0}".as_bytes());
        }
    }

    #[test]
    fn parts_of_a_mixed_body() {
        let cpim = draft("imdn");
        let body = mixed("b1", &[("application/sdp", b"v=0\r\n"), ("message/cpim", &cpim)]);
        let read = parts("multipart/mixed;boundary=\"b1\"", &body);
        assert_eq!(read, [("application/sdp".to_owned(), b"v=0\r\n".to_vec()), ("message/cpim".to_owned(), cpim)]);
    }

    #[test]
    fn notifications() {
        for (xml, expected) in [
            (notification("a.1", "2026-01-01T00:00:00Z", "displayed"), Some(("a.1", "displayed"))),
            (
                "<i:imdn><i:message-id> x </i:message-id><i:status>\r\n<i:failed /></i:status>".into(),
                Some(("x", "failed")),
            ),
            ("<imdn/>".into(), None),
        ] {
            let got = read_notification(&xml);
            assert_eq!(got.as_ref().map(|(id, kind)| (id.as_str(), kind.as_str())), expected, "{xml}");
        }
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_772_619_330, "2026-03-04T10:15:30.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(date(seconds, 0), expected);
        }
    }
}
