//! What chat devices write and read: envelopes and notifications (RFC 3862, 5438), multipart bodies, session descriptions.

/// What stands in From and To of an envelope in a session of SIMPLE IM.
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";
const DATE: &str = "2026-11-28T12:00:00Z";

/// An envelope as it was read.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// Of the message.
    pub(super) id: String,
    pub(super) content_type: String,
    pub(super) wants: String,
    pub(super) body: String,
}

impl Envelope {
    /// # Panics
    /// When it is none.
    pub(super) fn read(raw: &str) -> Envelope {
        let mut parts = raw.splitn(3, "\r\n\r\n");
        let (Some(outer), Some(inner), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            panic!("an envelope without an end: {raw:?}");
        };
        let prefix = lines(outer).find_map(|(name, value)| {
            let (prefix, urn) = value.split_once(' ')?;
            (name == "NS" && urn == "<urn:ietf:params:imdn>").then_some(prefix)
        });
        let header = |wanted: &str| {
            let wanted = format!("{}.{wanted}", prefix.unwrap_or("imdn"));
            lines(outer).find(|(name, _)| *name == wanted).map_or("", |(_, value)| value).to_owned()
        };
        let content_type = lines(inner).find(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
        Envelope {
            id: header("Message-ID"),
            wants: header("Disposition-Notification"),
            content_type: content_type.map_or("", |(_, value)| value).to_owned(),
            body: body.to_owned(),
        }
    }
}

fn lines(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n").filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim()))
}

/// An envelope; without addresses where none are given.
pub(super) fn envelope(addresses: Option<(&str, &str)>, id: &str, content_type: &str, body: &str) -> String {
    let (from, to) = addresses.unwrap_or((ANONYMOUS, ANONYMOUS));
    let receipt = content_type.starts_with("message/imdn");
    let wants = if receipt { "" } else { "imdn.Disposition-Notification: positive-delivery, display\r\n" };
    let disposition = if receipt { "Content-Disposition: notification\r\n" } else { "" };
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nDateTime: {DATE}\r\n\
         {wants}\r\nContent-Type: {content_type}\r\n{disposition}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The notification that a message was `delivered` or `displayed`.
pub(super) fn notification(id: &str, kind: &str) -> String {
    let element = if kind == "displayed" { "display-notification" } else { "delivery-notification" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{id}</message-id>\
         <datetime>{DATE}</datetime><{element}><status><{kind}/></status></{element}></imdn>"
    )
}

/// The message that a notification is about, and what has become of it.
///
/// # Panics
/// When it is none.
pub(super) fn read_notification(xml: &str) -> (String, String) {
    let between = |start: &str, end: char| {
        let rest = xml.split_once(start).and_then(|(_, rest)| rest.split_once(end));
        rest.unwrap_or_else(|| panic!("no {start} in {xml}")).0.trim().to_owned()
    };
    (between("message-id>", '<'), between("<status><", '>').trim_end_matches('/').trim().to_owned())
}

/// A session description of one who connects.
pub(super) fn description(path: &str, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
         a=accept-types:message/cpim application/im-iscomposing+xml\r\na=accept-wrapped-types:*\r\n\
         a=setup:active\r\na=path:{path}\r\na={direction}\r\n"
    )
}

/// An attribute of a session description.
pub(super) fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

const BOUNDARY: &str = "e2e-parts";

/// A session description and an envelope, as one body; and its type.
pub(super) fn mixed(sdp: &str, envelope: &str) -> (String, String) {
    let part = |kind: &str, body: &str| {
        format!("--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}\r\n", body.len())
    };
    let body = format!("{}{}--{BOUNDARY}--\r\n", part("application/sdp", sdp), part("message/cpim", envelope));
    (format!("multipart/mixed;boundary=\"{BOUNDARY}\""), body)
}

/// The body of that type, be it the whole or a part.
pub(super) fn part(content_type: &str, body: &str, wanted: &str) -> Option<String> {
    if content_type.starts_with(wanted) {
        return Some(body.to_owned());
    }
    let boundary = content_type.strip_prefix("multipart/mixed")?.split_once("boundary=")?.1;
    let boundary = boundary.trim_start_matches('"').split(['"', ';']).next().unwrap_or_default();
    let (body, mark) = (format!("\r\n{body}"), format!("\r\n--{boundary}"));
    body.split(mark.as_str()).skip(1).find_map(|part| {
        let (head, body) = part.trim_start_matches("\r\n").split_once("\r\n\r\n")?;
        let is = |(name, value): (&str, &str)| name.eq_ignore_ascii_case("Content-Type") && value.starts_with(wanted);
        lines(head).any(is).then(|| body.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let written = envelope(Some(("sip:a@b", "sip:c@d")), "m1", "text/plain", "one\r\n\r\ntwo");
        let (content_type, body) = mixed("v=0\r\n", &written);
        assert_eq!(part(&content_type, &body, "application/sdp").as_deref(), Some("v=0\r\n"));
        let read = Envelope::read(&part(&content_type, &body, "message/cpim").unwrap());
        assert_eq!((read.id.as_str(), read.body.as_str()), ("m1", "one\r\n\r\ntwo"));
        assert!(read.wants.contains("display") && read.content_type == "text/plain");
        let other = written.replace("imdn.", "x.").replace("NS: imdn", "NS: x");
        assert_eq!(Envelope::read(&other).id, "m1");
        assert_eq!(read_notification(&notification("m1", "displayed")), ("m1".into(), "displayed".into()));
        assert_eq!(attribute(&description("msrp://a:1/x;tcp", "sendrecv"), "path"), Some("msrp://a:1/x;tcp"));
    }
}
