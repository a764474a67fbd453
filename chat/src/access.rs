//! How a device takes messages, read from the feature tags of its Contact (RFC 3840, GSMA RCC.07 §2.6, OMA CPM), and
//! the tags that a request for it carries.

use chappe_sip::{text, uri};

/// In front of every ICSI and IARI.
const ICSI: &str = "urn:urn-7:3gpp-service.ims.icsi.";
const IARI: &str = "urn:urn-7:3gpp-application.ims.iari.";
/// The tags that hold lists of them.
const ICSI_TAG: &str = "+g.3gpp.icsi-ref";
const IARI_TAG: &str = "+g.3gpp.iari-ref";
/// OMA SIMPLE IM as a whole.
const SIMPLE_TAG: &str = "+g.oma.sip-im";
/// News of groups by MESSAGE, for which nobody has published a tag.
const GROUP_NEWS_TAG: &str = "+g.chappe.group-news";
/// Bytes of feature tags that are looked at; no device has so many.
const MAX_TAGS: usize = 8192;

/// The dialect that a device speaks for one-to-one messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// SIP MESSAGE only (RFC 3428).
    Pager,
    /// Sessions of OMA SIMPLE IM: the first message in the INVITE, anonymous addresses in the envelopes.
    SimpleIm,
    /// Sessions of OMA CPM.
    Cpm,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// A chat of two.
    Session,
    /// A chat of many.
    Group,
    /// One message by MESSAGE.
    Message,
    /// One message in a session of its own.
    LargeMessage,
    /// A session with messages that waited.
    Deferred,
    /// A session with receipts that waited.
    DeferredNotifications,
    FileTransfer,
}

impl Service {
    /// By the name behind the common part of an ICSI, in lower case.
    fn of_icsi(name: &str) -> Option<Service> {
        Some(match name {
            "oma.cpm.session" => Service::Session,
            "oma.cpm.session.group" => Service::Group,
            "oma.cpm.msg" | "oma.cpm.msg.group" | "oma.cpm.systemmsg" => Service::Message,
            "oma.cpm.largemsg" | "oma.cpm.largemsg.group" => Service::LargeMessage,
            "oma.cpm.deferred" | "oma.cpm.deferred.group" => Service::Deferred,
            "oma.cpm.filetransfer" | "oma.cpm.filetransfer.group" => Service::FileTransfer,
            _ => return None,
        })
    }

    /// The ICSI of it in CPM, without the common part.
    fn icsi(self) -> &'static str {
        match self {
            Service::Session => "oma.cpm.session",
            Service::Group => "oma.cpm.session.group",
            Service::Message => "oma.cpm.msg",
            Service::LargeMessage => "oma.cpm.largemsg",
            Service::Deferred | Service::DeferredNotifications => "oma.cpm.deferred",
            Service::FileTransfer => "oma.cpm.filetransfer",
        }
    }

    /// The service that a P-Asserted-Service or P-Preferred-Service value names (RFC 6050).
    pub fn of_urn(urn: &[u8]) -> Option<Service> {
        let urn = std::str::from_utf8(urn).ok()?.trim().to_ascii_lowercase();
        Service::of_icsi(urn.strip_prefix(ICSI)?)
    }

    /// Whether the session goes one way, from us to the device: it takes what waited, answers are sessions of their own.
    pub fn is_one_way(self) -> bool {
        matches!(self, Service::Deferred | Service::DeferredNotifications | Service::LargeMessage)
    }
}

/// What a device says that it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Chat sessions of SIMPLE IM.
    pub simple_im: bool,
    /// Chat sessions of CPM.
    pub cpm_session: bool,
    /// Group sessions of CPM.
    pub group: bool,
    /// Standalone messages by MESSAGE.
    pub standalone: bool,
    /// Standalone messages by a session.
    pub large: bool,
    /// MESSAGEs of any size.
    pub pager_large: bool,
    /// Deferred messages under their own ICSI.
    pub deferred: bool,
    /// Files by MSRP.
    pub file_transfer: bool,
    /// Files by HTTP.
    pub ft_http: bool,
    pub geolocation: bool,
    /// In groups it takes part in by MESSAGE: what others do to them, and who types.
    pub group_news: bool,
    /// It sends disposition notifications where they are asked for.
    pub receipts: bool,
    /// It is the focus of a conference.
    pub focus: bool,
    /// It is a bot.
    pub bot: bool,
}

impl Capabilities {
    /// Reads the parameters of a Contact (`;name=value…`, as a binding keeps them) and a User-Agent value. Case, blanks and
    /// the escaping of the URNs do not count; what is not known is passed over.
    pub fn of(params: &str, user_agent: &str) -> Capabilities {
        let mut seen = Capabilities::default();
        let params = params.get(..params.len().min(MAX_TAGS)).unwrap_or_default();
        for (name, value) in text::params(params.as_bytes(), b';') {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let is = |tag: &str| name.eq_ignore_ascii_case(tag);
            seen.receipts |= is_of_rcs(name) || value.is_some_and(names_receipts);
            if is(SIMPLE_TAG) {
                seen.simple_im = true;
            } else if is("+g.gsma.rcs.cpm.pager-large") {
                seen.pager_large = true;
            } else if is(GROUP_NEWS_TAG) {
                seen.group_news = true;
            } else if is("+g.gsma.rcs.isbot") {
                seen.bot = true;
            } else if is("isfocus") {
                seen.focus = true;
            } else if is(ICSI_TAG) || is(IARI_TAG) {
                each_name(value.unwrap_or_default(), |prefix, name| seen.add(prefix, name));
            }
        }
        seen.receipts |= is_known_to_send_receipts(user_agent);
        seen
    }

    fn add(&mut self, prefix: &str, name: &str) {
        match (prefix, name) {
            (IARI, "rcse.im") => self.simple_im = true,
            (IARI, "rcse.ft") => self.file_transfer = true,
            (IARI, "rcs.fthttp") => self.ft_http = true,
            (IARI, "rcs.geopush") => self.geolocation = true,
            (ICSI, name) => {
                let Some(service) = Service::of_icsi(name) else { return };
                self.receipts = true;
                match service {
                    Service::Session => self.cpm_session = true,
                    Service::Group => self.group = true,
                    Service::Message => self.standalone = true,
                    Service::LargeMessage => self.large = true,
                    Service::Deferred | Service::DeferredNotifications => self.deferred = true,
                    Service::FileTransfer => self.file_transfer = true,
                }
            }
            _ => {}
        }
    }

    /// How messages reach the device. One that knows both kinds of sessions gets those of CPM, which is the newer.
    pub fn access(&self) -> Access {
        match self {
            Capabilities { cpm_session: true, .. } => Access::Cpm,
            Capabilities { simple_im: true, .. } => Access::SimpleIm,
            _ => Access::Pager,
        }
    }

    /// Whether it can be sent what another device of its user wrote. (u) In CPM the envelope tells who wrote; in SIMPLE IM it
    /// would look like the partner's.
    pub fn takes_own_copies(&self) -> bool {
        self.access() == Access::Cpm
    }

    /// Accept-Contact of a request of this service for the device; `None` for a device that has no tags to match.
    pub fn accept_contact(&self, service: Service) -> Option<String> {
        match self.dialect(service) {
            Access::Cpm => Some(format!("*;{};require;explicit", icsi_param(self.named(service)))),
            Access::SimpleIm => Some(format!("*;{}", simple_param(service))),
            Access::Pager => None,
        }
    }

    /// P-Asserted-Service of a request of this service for the device: CPM only, as SIMPLE IM has no ICSI.
    pub fn asserted_service(&self, service: Service) -> Option<String> {
        (self.dialect(service) == Access::Cpm).then(|| format!("{ICSI}{}", self.named(service).icsi()))
    }

    /// The tags of our own Contact towards the device, with their leading `;`; empty for a pager.
    pub fn contact_tags(&self, service: Service) -> String {
        match self.dialect(service) {
            Access::Cpm => format!(";{}", icsi_param(self.named(service))),
            Access::SimpleIm => format!(";{}", simple_param(service)),
            Access::Pager => String::new(),
        }
    }

    /// The dialect for one service: a device of SIMPLE IM may take standalone messages of CPM.
    fn dialect(&self, service: Service) -> Access {
        match service {
            Service::Message if self.standalone => Access::Cpm,
            Service::LargeMessage if self.large => Access::Cpm,
            _ => self.access(),
        }
    }

    /// The service by whose name the device knows it. (u) Devices that do not register the deferred ICSI get what waited as
    /// an ordinary session, and tell it by the asserted identity.
    fn named(&self, service: Service) -> Service {
        match service {
            Service::Deferred | Service::DeferredNotifications if !self.deferred => Service::Session,
            service => service,
        }
    }
}

/// What the Accept-Contact values of a request ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) simple_im: bool,
    pub(crate) service: Option<Service>,
}

impl Asked {
    /// Adds one value: `*;+tag…;require;explicit`. Of several services the first counts.
    pub(crate) fn add(&mut self, value: &[u8]) {
        let value = &value[..value.len().min(MAX_TAGS)];
        for (name, value) in text::params(value, b';') {
            if name.eq_ignore_ascii_case(SIMPLE_TAG.as_bytes()) {
                self.simple_im = true;
            } else if name.eq_ignore_ascii_case(ICSI_TAG.as_bytes()) || name.eq_ignore_ascii_case(IARI_TAG.as_bytes()) {
                each_name(value.unwrap_or_default(), |prefix, name| match (prefix, name) {
                    (ICSI, name) => self.service = self.service.or(Service::of_icsi(name)),
                    (IARI, "rcse.im") => self.simple_im = true,
                    (IARI, "rcse.ft") => self.service = self.service.or(Some(Service::FileTransfer)),
                    _ => {}
                });
            }
        }
    }
}

/// What tells a service of SIMPLE IM: files have an IARI of their own.
fn simple_param(service: Service) -> String {
    match service {
        Service::FileTransfer => {
            format!("{SIMPLE_TAG};{IARI_TAG}=\"{}rcse.ft\"", IARI.replace(':', "%3A"))
        }
        _ => SIMPLE_TAG.to_owned(),
    }
}

fn icsi_param(service: Service) -> String {
    format!("{ICSI_TAG}=\"{}{}\"", ICSI.replace(':', "%3A"), service.icsi())
}

/// Calls `found` with the common part and the name, in lower case, of each URN of a tag's value.
fn each_name(value: &[u8], mut found: impl FnMut(&str, &str)) {
    let value = text::unquote(value);
    let Ok(value) = std::str::from_utf8(&value) else { return };
    for urn in value.split(',') {
        let urn: String = uri::unescape(urn).chars().filter(|c| !c.is_whitespace()).collect();
        let urn = urn.to_ascii_lowercase();
        for prefix in [ICSI, IARI] {
            if let Some(name) = urn.strip_prefix(prefix) {
                found(prefix, name);
            }
        }
    }
}

/// Whether a device with this feature tag sends receipts itself: those of RCS do. (u)
fn is_of_rcs(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    tag == SIMPLE_TAG || tag == IARI_TAG || tag.starts_with("+g.gsma.rcs")
}

/// Whether a tag's value lists receipts among the types that the device takes.
fn names_receipts(value: &[u8]) -> bool {
    let receipt = chappe_imdn::IMDN_TYPE.as_bytes();
    value.windows(receipt.len()).any(|part| part.eq_ignore_ascii_case(receipt))
}

/// Clients without such tags that send receipts all the same. (u)
fn is_known_to_send_receipts(user_agent: &str) -> bool {
    let agent = user_agent.to_ascii_lowercase();
    ["linphone", "rcs"].iter().any(|name| agent.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contacts of a RCS-e client, of a client of the universal profile, and of others.
    const RCS_E: &str = ";+g.oma.sip-im;+g.3gpp.cs-voice;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.\
        rcs.fthttp,urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.geopush\"";
    const UP: &str = ";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session,\
        urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session.group,urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg,\
        urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg,urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred\";\
        +g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im\";+g.gsma.rcs.cpm.pager-large";

    #[test]
    fn what_a_contact_says() {
        let cpm = Capabilities { cpm_session: true, receipts: true, ..Capabilities::default() };
        for (name, params, agent, expected) in [
            ("nothing", "", "", Capabilities::default()),
            ("a desk phone", ";audio;methods=\"INVITE,MESSAGE\"", "Phone/1", Capabilities::default()),
            ("a browser", ";+g.chappe.group-news", "", Capabilities { group_news: true, ..Capabilities::default() }),
            ("a client that is known", "", "Linphone/5.2", Capabilities { receipts: true, ..Capabilities::default() }),
            (
                "RCS-e",
                RCS_E,
                "",
                Capabilities {
                    simple_im: true,
                    ft_http: true,
                    geolocation: true,
                    receipts: true,
                    ..Capabilities::default()
                },
            ),
            (
                "universal profile",
                UP,
                "",
                Capabilities {
                    simple_im: true,
                    group: true,
                    standalone: true,
                    large: true,
                    deferred: true,
                    pager_large: true,
                    ..cpm
                },
            ),
            ("unescaped", ";+g.3gpp.icsi-ref=\"urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session\"", "", cpm),
            (
                "odd case and blanks",
                ";+G.3GPP.ICSI-Ref = \"foo, URN%3aurn-7%3A3GPP-service.ims.icsi.oma.cpm.Session \"",
                "",
                cpm,
            ),
            (
                "two tags of one name",
                ";+g.3gpp.icsi-ref=\"x\";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"",
                "",
                cpm,
            ),
            (
                "a bot that is a focus",
                ";isfocus;+g.gsma.rcs.isbot",
                "",
                Capabilities { focus: true, bot: true, receipts: true, ..Capabilities::default() },
            ),
            ("broken", ";+g.3gpp.icsi-ref=\"urn%3Aurn", "", Capabilities::default()),
            (
                "telephony only",
                ";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
                "",
                Capabilities::default(),
            ),
            (
                "receipts among its types",
                ";type=\"text/plain,Message/IMDN+xml\"",
                "",
                Capabilities { receipts: true, ..Capabilities::default() },
            ),
        ] {
            assert_eq!(Capabilities::of(params, agent), expected, "{name}");
        }
    }

    #[test]
    fn the_newest_session_that_a_device_knows() {
        for (params, expected) in [("", Access::Pager), (RCS_E, Access::SimpleIm), (UP, Access::Cpm)] {
            let device = Capabilities::of(params, "");
            assert_eq!(device.access(), expected, "{params}");
            assert_eq!(device.takes_own_copies(), expected == Access::Cpm, "{params}");
        }
    }

    #[test]
    fn tags_of_a_request() {
        let (pager, simple, cpm) = (Capabilities::default(), Capabilities::of(RCS_E, ""), Capabilities::of(UP, ""));
        let lazy = Capabilities { deferred: false, ..cpm };
        let mixed = Capabilities { standalone: true, ..simple };
        let icsi = |name: &str| {
            (
                Some(format!("*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.{name}\";require;explicit")),
                Some(format!("urn:urn-7:3gpp-service.ims.icsi.{name}")),
                format!(";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.{name}\""),
            )
        };
        let im = (Some("*;+g.oma.sip-im".to_owned()), None, ";+g.oma.sip-im".to_owned());
        for (name, device, service, expected) in [
            ("pager", pager, Service::Message, (None, None, String::new())),
            ("simple session", simple, Service::Session, im.clone()),
            ("simple deferred", simple, Service::Deferred, im.clone()),
            ("simple message", simple, Service::Message, im),
            ("standalone beside simple", mixed, Service::Message, icsi("oma.cpm.msg")),
            ("cpm session", cpm, Service::Session, icsi("oma.cpm.session")),
            ("cpm large", cpm, Service::LargeMessage, icsi("oma.cpm.largemsg")),
            ("cpm deferred", cpm, Service::Deferred, icsi("oma.cpm.deferred")),
            ("deferred is not known", lazy, Service::DeferredNotifications, icsi("oma.cpm.session")),
        ] {
            let seen = (device.accept_contact(service), device.asserted_service(service), device.contact_tags(service));
            assert_eq!(seen, expected, "{name}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read_again() {
        let cpm = Capabilities::of(UP, "");
        for service in [Service::Session, Service::Group, Service::Message, Service::LargeMessage, Service::Deferred] {
            let mut asked = Asked::default();
            asked.add(cpm.accept_contact(service).unwrap().as_bytes());
            assert_eq!(asked, Asked { simple_im: false, service: Some(service) });
            assert_eq!(Service::of_urn(cpm.asserted_service(service).unwrap().as_bytes()), Some(service));
        }
        let mut asked = Asked::default();
        asked.add(b"*; +g.oma.sip-im");
        assert_eq!(asked, Asked { simple_im: true, service: None });
        assert_eq!(Service::of_urn(b"urn:urn-7:3gpp-service.ims.icsi.mmtel"), None);
    }
}
