//! The INVITE of a focus to a device of a member (RFC 5366 §5, GSMA RCC.07 §3.4.4.1.2).

use std::fmt::Write as _;

use chappe_chat::group::{Group, list};
use chappe_chat::{Access, Capabilities, Service};
use chappe_sip::{Aor, HeaderName};

use crate::service::agent::Body;

/// In larger groups an invitation does not say who else is in: it would not fit into a datagram, and all invitations together
/// would grow with the square. The roster tells.
const MAX_LISTED: usize = 300;

/// What it says.
pub(super) struct Outgoing<'a> {
    pub group: &'a Group,
    pub focus: &'a str,
    pub device: Capabilities,
    /// Who made the group, or brought the member into it.
    pub inviter: Option<&'a Aor>,
    pub sdp: &'a [u8],
    /// Random characters.
    pub random: &'a str,
}

impl Outgoing<'_> {
    /// Whole header lines, and the body.
    pub(super) fn write(&self) -> (String, Body) {
        let mut headers = String::with_capacity(512);
        let mut add = |name: HeaderName, value: &str| {
            let value = value.split(char::is_control).collect::<Vec<_>>().join(" ");
            let _ = write!(headers, "{}: {value}\r\n", name.as_str());
        };
        add(HeaderName::PAssertedIdentity, &format!("<{}>", self.focus));
        if let Some(inviter) = self.inviter {
            add(HeaderName::ReferredBy, &format!("<{}>", inviter.to_uri()));
        }
        if let Some(value) = self.device.accept_contact(Service::Group) {
            add(HeaderName::AcceptContact, &value);
        }
        if let Some(value) = self.device.asserted_service(Service::Group) {
            add(HeaderName::PAssertedService, &value);
        }
        if let Some(subject) = &self.group.subject {
            add(HeaderName::Subject, subject);
        }
        add(HeaderName::ContributionId, &self.group.contribution_id);
        if self.device.access() == Access::Cpm {
            let conversation = self.group.conversation_id.as_deref().unwrap_or(&self.group.contribution_id);
            add(HeaderName::ConversationId, conversation);
        }
        if self.group.members.present().nth(MAX_LISTED).is_some() {
            return (headers, Body { content_type: "application/sdp".into(), bytes: self.sdp.to_vec().into() });
        }
        let members =
            self.group.members.present().map(|member| (&member.user, member.display_name.as_deref(), member.copy));
        let list = list::history(members, Aor::to_uri);
        (headers, self.parts(&list))
    }

    fn parts(&self, list: &str) -> Body {
        let random: String = self.random.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut boundary = format!("b{random}");
        // The peers do not know the random part, so the first one will do.
        while list.contains(&boundary) {
            boundary.push('x');
        }
        let mut body = Vec::with_capacity(self.sdp.len() + list.len() + 400);
        let parts = [("application/sdp", "", self.sdp), (list::LIST_TYPE, list::HISTORY, list.as_bytes())];
        for (content_type, disposition, part) in parts {
            let mut head = format!("--{boundary}\r\nContent-Type: {content_type}\r\n");
            if !disposition.is_empty() {
                let _ = write!(head, "Content-Disposition: {disposition}\r\n");
            }
            let _ = write!(head, "Content-Length: {}\r\n\r\n", part.len());
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/mixed;boundary=\"{boundary}\"");
        Body { content_type: content_type.into(), bytes: body.into() }
    }
}
