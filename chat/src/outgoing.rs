//! The INVITE to one device, in its dialect: header lines and body. The rest of it (Request-URI, From, To, Contact, …) is
//! the call's.

use std::fmt::Write as _;

use bytes::Bytes;
use chappe_sip::HeaderName;

use crate::access::{Access, Capabilities, Service};
use crate::invitation::{IN_REPLY_TO, STORE_AND_FORWARD};

/// What an INVITE of ours says.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    pub device: Capabilities,
    pub service: Service,
    /// URI of who sent the messages.
    pub sender: &'a str,
    /// Whether the recipient knows the sender by an alias only; `None` where aliases play no part.
    pub alias: Option<bool>,
    /// Our own domain, whose name deferred sessions carry.
    pub domain: &'a str,
    pub contribution_id: &'a str,
    /// Written for CPM only.
    pub conversation_id: Option<&'a str>,
    /// Written for CPM only.
    pub in_reply_to: Option<&'a str>,
    pub sdp: &'a [u8],
    /// The first message, an envelope; only where [`Capabilities::first_in_invite`] says so.
    pub first: Option<&'a [u8]>,
    /// Random characters of a token, for the boundary of the parts.
    pub random: &'a str,
}

/// An INVITE of ours as a call wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whole header lines, each with its end.
    pub headers: String,
    pub content_type: String,
    pub body: Bytes,
}

impl Capabilities {
    /// Whether the first message goes in the INVITE: in SIMPLE IM always, in CPM where it waited. (u)
    pub fn first_in_invite(&self, service: Service) -> bool {
        match (self.access(), service) {
            (Access::SimpleIm, Service::Session | Service::Deferred) | (Access::Cpm, Service::Deferred) => true,
            (Access::SimpleIm | Access::Cpm | Access::Pager, _) => false,
        }
    }
}

impl Outgoing<'_> {
    /// Who calls: the sender, or our store for what waited.
    pub fn asserted_identity(&self) -> String {
        if self.is_deferred() { format!("sip:{STORE_AND_FORWARD}@{}", self.domain) } else { self.sender.to_owned() }
    }

    /// Writes it. Control characters that a value must not have are left out.
    pub fn write(&self) -> Written {
        let mut headers = String::with_capacity(512);
        push(&mut headers, HeaderName::PAssertedIdentity.as_str(), &format!("<{}>", self.asserted_identity()));
        if self.is_deferred() {
            let mut value = format!("<{}>", self.sender);
            if let Some(alias) = self.alias {
                value.push_str(if alias { ";tk=on" } else { ";tk=off" });
            }
            push(&mut headers, HeaderName::ReferredBy.as_str(), &value);
        }
        if let Some(value) = self.device.accept_contact(self.service) {
            push(&mut headers, HeaderName::AcceptContact.as_str(), &value);
        }
        if let Some(value) = self.device.asserted_service(self.service) {
            push(&mut headers, HeaderName::PAssertedService.as_str(), &value);
        }
        push(&mut headers, HeaderName::ContributionId.as_str(), self.contribution_id);
        if self.device.access() == Access::Cpm {
            let more = [(HeaderName::ConversationId.as_str(), self.conversation_id), (IN_REPLY_TO, self.in_reply_to)];
            for (name, value) in more {
                value.into_iter().for_each(|value| push(&mut headers, name, value));
            }
        }
        let (content_type, body) = match self.first {
            None => ("application/sdp".to_owned(), Bytes::copy_from_slice(self.sdp)),
            Some(first) => self.parts(first),
        };
        Written { headers, content_type, body }
    }

    fn is_deferred(&self) -> bool {
        matches!(self.service, Service::Deferred | Service::DeferredNotifications)
    }

    fn parts(&self, first: &[u8]) -> (String, Bytes) {
        let boundary = boundary(self.random, &[self.sdp, first]);
        let mut body = Vec::with_capacity(self.sdp.len() + first.len() + 256);
        for (content_type, part) in [("application/sdp", self.sdp), (chappe_imdn::CPIM_TYPE, first)] {
            let head =
                format!("--{boundary}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", part.len());
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("multipart/mixed;boundary=\"{boundary}\""), Bytes::from(body))
    }
}

/// A boundary that no part has in it (RFC 2046 §5.1). The peer cannot know the random part, so it is found at once.
fn boundary(random: &str, parts: &[&[u8]]) -> String {
    let random: String = random.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let mut boundary = format!("b{random}");
    for n in 0u32.. {
        let taken = parts.iter().any(|part| part.windows(boundary.len()).any(|at| at == boundary.as_bytes()));
        if !taken {
            break;
        }
        boundary = format!("b{random}{n}");
    }
    boundary
}

/// A header line.
pub(crate) fn push(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "{name}: {}\r\n", one_line(value));
}

/// A value without the control characters that no header of ours has: folded lines are one.
pub(crate) fn one_line(value: &str) -> String {
    let parts: Vec<&str> = value.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invitation::{First, Invitation, ReferredBy};
    use chappe_sip::{Limits, Message};

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
        m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://198.51.100.7:2855/s;tcp\r\n";
    const CPIM: &str = "From: <sip:a@b>\r\n\r\nContent-Type: text/plain\r\n\r\nhello\r\n";
    const SIMPLE: &str = ";+g.oma.sip-im";
    const CPM: &str = ";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session,\
        urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred\"";

    fn outgoing(params: &str, service: Service) -> Outgoing<'static> {
        let device = Capabilities::of(params, "");
        Outgoing {
            device,
            service,
            sender: "sip:alice@example.com",
            alias: None,
            domain: "example.com",
            contribution_id: "contribution1",
            conversation_id: Some("conversation1"),
            in_reply_to: None,
            sdp: SDP.as_bytes(),
            first: device.first_in_invite(service).then_some(CPIM.as_bytes()),
            random: "r4nd0m",
        }
    }

    /// The INVITE around it, read by the other side.
    fn read(outgoing: &Outgoing<'_>) -> Invitation {
        let Written { headers, content_type, body } = outgoing.write();
        let mut text = format!(
            "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP s;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:chat@198.51.100.7>{}\r\n{headers}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            outgoing.device.contact_tags(outgoing.service),
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(&body);
        let message = Message::parse(text.into(), &Limits::default()).unwrap();
        message.check().unwrap();
        Invitation::read(&message).unwrap_or_else(|error| panic!("{error}: {headers}"))
    }

    #[test]
    fn the_other_side_reads_what_was_meant() {
        let first = || Some(First::Cpim(Bytes::from_static(CPIM.as_bytes())));
        let (im, cpm) = (Access::SimpleIm, Access::Cpm);
        for (params, service, access, expected) in [
            (SIMPLE, Service::Session, im, first()),
            (SIMPLE, Service::Deferred, im, first()),
            (SIMPLE, Service::DeferredNotifications, im, None),
            (CPM, Service::Session, cpm, None),
            (CPM, Service::Deferred, cpm, first()),
            (CPM, Service::DeferredNotifications, cpm, None),
        ] {
            let outgoing = outgoing(params, service);
            let seen = read(&outgoing);
            assert_eq!((seen.access, seen.service), (access, service), "{params} {service:?}");
            assert_eq!((&seen.first, &*seen.sdp), (&expected, SDP.as_bytes()), "{params} {service:?}");
            assert_eq!(seen.contribution_id.as_deref(), Some("contribution1"));
            assert_eq!(seen.conversation_id.is_some(), access == cpm, "{params} {service:?}");
            let referred_by = ReferredBy { uri: "sip:alice@example.com".into(), alias: None };
            assert_eq!(seen.referred_by, seen.is_deferred().then_some(referred_by));
        }
    }

    #[test]
    fn the_lines_of_a_deferred_session() {
        let written = Outgoing { alias: Some(true), ..outgoing(CPM, Service::Deferred) }.write();
        assert_eq!(
            written.headers,
            "P-Asserted-Identity: <sip:rcse-standfw@example.com>\r\n\
             Referred-By: <sip:alice@example.com>;tk=on\r\n\
             Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred\";require;explicit\r\n\
             P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.deferred\r\n\
             Contribution-ID: contribution1\r\nConversation-ID: conversation1\r\n"
        );
        assert_eq!(written.content_type, "multipart/mixed;boundary=\"br4nd0m\"");
        let text = String::from_utf8(written.body.to_vec()).unwrap();
        let expected = format!(
            "--br4nd0m\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}\r\n\
             --br4nd0m\r\nContent-Type: message/cpim\r\nContent-Length: {}\r\n\r\n{CPIM}\r\n--br4nd0m--\r\n",
            SDP.len(),
            CPIM.len()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn no_boundary_is_in_a_part() {
        let parts: [&[u8]; 2] = [b"--bx\r\n--bx0", b"bx1"];
        assert_eq!(boundary("x", &parts), "bx2");
        assert_eq!(boundary("\"x\r\n", &[b""]), "bx");
    }

    #[test]
    fn no_line_is_smuggled_in() {
        let written = Outgoing { contribution_id: "a\r\nX: y", ..outgoing("", Service::Session) }.write();
        assert!(written.headers.contains("Contribution-ID: a X: y\r\n"), "{}", written.headers);
    }
}
