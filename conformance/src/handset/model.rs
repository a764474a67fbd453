//! What tells one kind of handset from another: tags, headers and manners.

use super::cpim::{ANONYMOUS, Draft};
use super::media::Manners;
use super::seen::Extra;
use crate::case::Ctx;
use crate::target::Proto;
use crate::ua::Req;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SIMPLE IM: the first message in the INVITE, notifications by MESSAGE where there is no session.
    Rcse,
    /// OMA CPM sessions and standalone messages.
    Cpm,
    /// MESSAGE only, as CPM standalone messages or as plain text.
    Pager,
    /// SIP over WebSocket, and MSRP over WebSocket through the relay.
    Browser,
}

/// How its MSRP is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It listens, and may be either end.
    Open,
    /// It connects; nobody can connect to it.
    Nat,
    /// Through the relay, over WebSocket.
    Relay,
}

/// What it does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    Auto,
    /// 180, until told.
    Ring,
    Reject(u16),
    /// As `Reject(486)`, after a notification that the message was delivered: a blocked contact.
    Block,
}

/// Where the first message of a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Invite,
    /// As text in Subject, without an id.
    Subject,
    /// Behind, in MSRP.
    Session,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) kind: Kind,
    /// SIMPLE IM instead of CPM, in calls.
    pub(crate) simple: bool,
    /// `None` takes a stream to the target.
    pub(crate) sip: Option<Proto>,
    pub(crate) reach: Reach,
    pub(crate) accept: Accept,
    pub(crate) first: First,
    /// What it asks for.
    pub(crate) wants: &'static str,
    /// Whether it says what was delivered.
    pub(crate) delivers: bool,
    /// Whether it shows messages at once and says so.
    pub(crate) displays: bool,
    /// Whether it says so before it says that they were delivered.
    pub(crate) hasty: bool,
    /// Its MESSAGEs are in an envelope.
    pub(crate) cpim: bool,
    /// What is too long for a MESSAGE goes in a session of its own, both ways (OMA CPM large message mode).
    pub(crate) large: bool,
    /// Seconds that its MESSAGEs may wait.
    pub(crate) expires: Option<u32>,
    /// Whether it subscribes to the roster of a group that it is in.
    pub(crate) follows: bool,
}

impl Model {
    pub(crate) fn rcse() -> Model {
        Model {
            kind: Kind::Rcse,
            simple: true,
            sip: None,
            reach: Reach::Nat,
            accept: Accept::Auto,
            first: First::Invite,
            wants: "positive-delivery, display",
            delivers: true,
            displays: false,
            hasty: false,
            cpim: true,
            large: false,
            expires: None,
            follows: true,
        }
    }

    pub(crate) fn cpm() -> Model {
        let wants = "positive-delivery, negative-delivery, display";
        Model { kind: Kind::Cpm, simple: false, reach: Reach::Open, first: First::Session, wants, ..Model::rcse() }
    }

    pub(crate) fn pager() -> Model {
        Model { kind: Kind::Pager, ..Model::cpm() }
    }

    /// CPM standalone messages, short ones by MESSAGE and long ones in a session of their own; no chat sessions.
    pub(crate) fn standalone() -> Model {
        Model { large: true, ..Model::pager() }
    }

    /// A pager that knows text and nothing of RCS.
    pub(crate) fn plain() -> Model {
        Model { cpim: false, delivers: false, wants: "", ..Model::pager() }
    }

    pub(crate) fn browser() -> Model {
        Model { kind: Kind::Browser, sip: Some(Proto::Ws), reach: Reach::Relay, ..Model::cpm() }
    }

    pub(crate) fn reach(self, reach: Reach) -> Model {
        Model { reach, ..self }
    }

    pub(crate) fn accepting(self, accept: Accept) -> Model {
        Model { accept, ..self }
    }

    pub(crate) fn first(self, first: First) -> Model {
        Model { first, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Rcse => "rcse",
            Kind::Cpm => "cpm",
            Kind::Pager if self.large => "standalone",
            Kind::Pager => "pager",
            Kind::Browser => "browser",
        }
    }

    pub(crate) fn calls(&self) -> bool {
        self.kind != Kind::Pager
    }

    pub(crate) fn manners(&self) -> Manners {
        match self.kind {
            Kind::Rcse => Manners { chunk: Some(10_240), reports: &[] },
            Kind::Browser => Manners { chunk: Some(2_048), reports: &["Success-Report: yes"] },
            _ => Manners { chunk: None, reports: &["Success-Report: no", "Failure-Report: yes"] },
        }
    }

    /// Feature tags of its Contact.
    pub(crate) fn tags(&self) -> String {
        const ICSI: &str = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm";
        match (self.kind, self.simple, self.cpim) {
            (Kind::Pager, _, false) => String::new(),
            (Kind::Pager, ..) if self.large => format!(";+g.3gpp.icsi-ref=\"{ICSI}.msg,{ICSI}.largemsg\""),
            (Kind::Pager, ..) => format!(";+g.3gpp.icsi-ref=\"{ICSI}.msg\""),
            (_, true, _) => {
                ";+g.oma.sip-im;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im\"".into()
            }
            _ => format!(
                ";+g.3gpp.icsi-ref=\"{ICSI}.session,{ICSI}.session.group,{ICSI}.msg,{ICSI}.largemsg,{ICSI}.deferred\""
            ),
        }
    }

    /// What its requests say of the service; `service` is `session`, `msg` or `largemsg`.
    pub(crate) fn service(&self, request: Req, service: &str, ctx: &Ctx, conversation: &str) -> Req {
        let plain = self.kind == Kind::Pager && !self.cpim;
        let request = request.add("User-Agent", if self.simple { "IM-client/OMA1.0 handset" } else { "handset" });
        if plain {
            return request;
        }
        if self.simple {
            let request = request.add("Accept-Contact", "*;+g.oma.sip-im");
            return if service == "session" { request.add("Contribution-ID", ctx.id()) } else { request };
        }
        let icsi = format!("3gpp-service.ims.icsi.oma.cpm.{service}");
        request
            .add("Accept-Contact", format!("*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A{icsi}\""))
            .add("P-Preferred-Service", format!("urn:urn-7:{icsi}"))
            .add("Conversation-ID", conversation)
            .add("Contribution-ID", ctx.id())
    }

    /// Why a call is not for a handset of its kind: the tags are those of the other enabler only.
    pub(crate) fn stranger(&self, said: &str) -> Option<&'static str> {
        let (simple, cpm) = (said.contains("+g.oma.sip-im"), said.contains("oma.cpm."));
        match self.simple {
            true if cpm && !simple => Some("a CPM call to a SIMPLE IM handset"),
            false if simple && !cpm => Some("a SIMPLE IM call to a CPM handset"),
            _ => None,
        }
    }

    /// An envelope for `to`; `session` has no identities in it.
    pub(crate) fn envelope(
        &self,
        (from, to): (&str, &str),
        session: bool,
        id: &str,
        content: Content<'_>,
        extra: &Extra,
    ) -> Vec<u8> {
        let address = |uri: &str| if session { ANONYMOUS.to_owned() } else { format!("<{uri}>") };
        let payload = |content_type: &str| {
            let kind = content_type.split(';').next().unwrap_or("");
            format!("NS: cpm <http://www.openmobilealliance.org/cpm/>\r\ncpm.Payload-Type: {kind}\r\n")
        };
        let (content_type, body, wants) = match content {
            Content::Text(text) => ("text/plain; charset=UTF-8", text.as_bytes(), self.wants),
            Content::Notification(xml) => ("message/imdn+xml", xml.as_bytes(), ""),
            Content::Other(content_type, body) => (content_type, body.as_bytes(), ""),
        };
        let own = if self.simple { String::new() } else { payload(content_type) };
        let (more, about) = (own + &extra.headers, extra.content.as_str());
        let prefix = if self.kind == Kind::Browser { "i" } else { "imdn" };
        Draft { from: address(from), to: address(to), prefix, id, wants, more: &more, content_type, about, body }
            .bytes()
    }
}

/// What is in an envelope.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    Text(&'a str),
    Notification(&'a str),
    /// Of that type.
    Other(&'a str, &'a str),
}
