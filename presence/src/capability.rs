//! What a device can do: feature tags as RCS devices write them into Contact (RFC 3840, GSMA RCC.07 §2.6), sets of them,
//! and the services that presence documents name instead.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chappe_sip::text;

/// Tags of one device.
const MAX_TAGS: usize = 256;
/// Characters of a tag with its value.
const MAX_TAG: usize = 512;

const ICSI: &str = "+g.3gpp.icsi-ref";
const IARI: &str = "+g.3gpp.iari-ref";

/// A set of feature tags. The values of a tag that has several are members of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeSet<Tag>);

/// Name in lower case, and value without quotes; `None` for a tag that is just there.
type Tag = (Box<str>, Option<Box<str>>);

impl Tags {
    /// Reads the feature tags among the parameters of a Contact, which begin with `;`. Other parameters are left out.
    pub fn of_params(params: &[u8]) -> Tags {
        let mut tags = Tags::default();
        for (name, value) in text::params(params, b';') {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let name = name.trim().to_ascii_lowercase();
            // RFC 3840 §9: a plus for what was registered elsewhere, and the base tags.
            let is_base =
                matches!(&*name, "audio" | "video" | "text" | "automata" | "isfocus" | "data" | "application");
            let is_feature = name.starts_with("+g.") || (name.starts_with("+sip.") && name != "+sip.instance");
            let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._!%*~'`".contains(&b));
            if !is_token || (!is_base && !is_feature) {
                continue;
            }
            match value.map(text::unquote) {
                None => tags.insert(&name, None),
                Some(value) => {
                    let Ok(value) = std::str::from_utf8(&value) else { continue };
                    for member in value.split(',').filter(|member| !member.contains(char::is_control)) {
                        tags.insert(&name, Some(&decoded(member.trim()).to_ascii_lowercase()));
                    }
                }
            }
        }
        tags
    }

    fn insert(&mut self, name: &str, value: Option<&str>) {
        if self.0.len() < MAX_TAGS && name.len() + value.map_or(0, str::len) <= MAX_TAG {
            self.0.insert((name.into(), value.map(Into::into)));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What one or the other can do.
    pub fn add(&mut self, other: &Tags) {
        for tag in &other.0 {
            if self.0.len() < MAX_TAGS {
                self.0.insert(tag.clone());
            }
        }
    }

    fn has(&self, name: &str, value: Option<&str>) -> bool {
        self.0.contains(&(name.into(), value.map(Into::into)))
    }

    /// Whether they speak of RCS or IMS services at all.
    pub fn is_rcs(&self) -> bool {
        self.0.iter().any(|(name, _)| ["+g.3gpp.", "+g.oma.", "+g.gsma."].iter().any(|start| name.starts_with(start)))
    }

    /// The parameters for a Contact, each with its semicolon, the values of a tag in one list.
    pub fn params(&self) -> String {
        let mut out = String::new();
        let mut last: Option<&str> = None;
        for (name, value) in &self.0 {
            match value {
                None => {
                    close(&mut out, last.take());
                    out.push(';');
                    out.push_str(name);
                }
                Some(value) => {
                    match last == Some(name) {
                        true => out.push(','),
                        false => {
                            close(&mut out, last);
                            out.push(';');
                            out.push_str(name);
                            out.push_str("=\"");
                        }
                    }
                    last = Some(name);
                    push_value(&mut out, name, value);
                }
            }
        }
        close(&mut out, last);
        out
    }

    /// The services that they make up, as (service-id, version). Where two have id and version in common, they are one.
    pub fn services(&self) -> Vec<(&'static str, &'static str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for (id, version, tags) in SERVICES {
            let capable = tags.iter().all(|(kind, value)| match kind {
                Kind::Icsi => self.has(ICSI, Some(&format!("urn:urn-7:3gpp-service.ims.icsi.{value}"))),
                Kind::Iari => self.has(IARI, Some(&format!("urn:urn-7:3gpp-application.ims.iari.{value}"))),
                Kind::Plain => self.has(value, None),
            });
            if capable && !found.contains(&(*id, *version)) {
                found.push((id, version));
            }
        }
        found
    }

    /// The tags of a service that a presence document describes; none for one that is not known.
    pub fn of_service(id: &str, version: &str) -> Tags {
        let mut tags = Tags::default();
        // The first row of an id and version has the least that it means.
        if let Some((_, _, needed)) = SERVICES.iter().find(|(i, v, _)| *i == id && *v == version) {
            for (kind, value) in *needed {
                match kind {
                    Kind::Icsi => tags.insert(ICSI, Some(&format!("urn:urn-7:3gpp-service.ims.icsi.{value}"))),
                    Kind::Iari => tags.insert(IARI, Some(&format!("urn:urn-7:3gpp-application.ims.iari.{value}"))),
                    Kind::Plain => tags.insert(value, None),
                }
            }
        }
        tags
    }
}

fn close(out: &mut String, list: Option<&str>) {
    if list.is_some() {
        out.push('"');
    }
}

/// Service identifiers are written with their colons encoded (RFC 3840 §9 has no colon in a list of tokens).
fn push_value(out: &mut String, name: &str, value: &str) {
    let encode = name == ICSI || name == IARI;
    for c in value.chars() {
        match c {
            ':' if encode => out.push_str("%3A"),
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
}

/// `%3A` is a colon.
fn decoded(value: &str) -> Cow<'_, str> {
    match value.contains('%') {
        true => Cow::Owned(value.replace("%3A", ":").replace("%3a", ":")),
        false => Cow::Borrowed(value),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Icsi,
    Iari,
    Plain,
}

use Kind::{Iari, Icsi, Plain};

type Row = (&'static str, &'static str, &'static [(Kind, &'static str)]);

/// Service id, version, and all the tags that a device has which can do it. Identifiers as deployed clients write them.
const SERVICES: &[Row] = &[
    ("org.openmobilealliance:IM-session", "1.0", &[(Iari, "rcse.im")]),
    ("org.openmobilealliance:IM-session", "1.0", &[(Plain, "+g.oma.sip-im")]),
    ("org.openmobilealliance:ChatSession", "2.0", &[(Icsi, "oma.cpm.session")]),
    ("org.openmobilealliance:StandaloneMsg", "2.0", &[(Icsi, "oma.cpm.msg"), (Icsi, "oma.cpm.largemsg")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.fullsfgroupchat", "1.0", &[(Iari, "rcs.fullsfgroupchat")]),
    ("org.openmobilealliance:File-Transfer", "1.0", &[(Iari, "rcse.ft")]),
    ("org.openmobilealliance:File-Transfer", "2.0", &[(Iari, "rcs.ftstandfw")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.ftthumb", "1.0", &[(Iari, "rcs.ftthumb")]),
    ("org.openmobilealliance:File-Transfer-HTTP", "1.0", &[(Iari, "rcs.fthttp")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.ftsms", "1.0", &[(Iari, "rcs.ftsms")]),
    ("org.gsma.imageshare", "1.0", &[(Iari, "gsma-is")]),
    ("org.gsma.videoshare", "1.0", &[(Plain, "+g.3gpp.cs-voice")]),
    ("org.gsma.videoshare", "2.0", &[(Iari, "gsma-vs")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcse.sp", "1.0", &[(Iari, "rcse.sp")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcse.dp", "1.0", &[(Iari, "rcse.dp")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.mmtel", "1.0", &[(Icsi, "mmtel")]),
    (
        "org.3gpp.urn:urn-7:3gpp-service.ims.icsi.mmtel.gsma.ipcall",
        "1.0",
        &[(Icsi, "mmtel"), (Plain, "+g.gsma.rcs.ipcall")],
    ),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.geopush", "1.0", &[(Iari, "rcs.geopush")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.geopull", "1.0", &[(Iari, "rcs.geopull")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.geopullft", "1.0", &[(Iari, "rcs.geopullft")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.geosms", "1.0", &[(Iari, "rcs.geosms")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.gsma.callcomposer", "1.0", &[(Icsi, "gsma.callcomposer")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.gsma.callcomposer", "2.0", &[(Plain, "+g.gsma.callcomposer")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.gsma.callunanswered", "1.0", &[(Icsi, "gsma.callunanswered")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.gsma.sharedmap", "1.0", &[(Icsi, "gsma.sharedmap")]),
    ("org.3gpp.urn:urn-7:3gpp-service.ims.icsi.gsma.sharedsketch", "1.0", &[(Icsi, "gsma.sharedsketch")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.chatbot", "1.0", &[(Iari, "rcs.chatbot")]),
    ("org.3gpp.urn:urn-7:3gpp-application.ims.iari.rcs.chatbot.sa", "1.0", &[(Iari, "rcs.chatbot.sa")]),
    ("org.gsma.rcs.isbot", "1.0", &[(Plain, "+g.gsma.rcs.isbot")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = ";+sip.instance=\"<urn:gsma:imei:35693803-564380-0>\";reg-id=1;expires=600;\
        +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session, urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.msg,\
        urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\";\
        +g.gsma.rcs.botversion=\"#=1,#=2\";+G.3GPP.cs-voice;q=0.5";

    #[test]
    fn tags_of_a_contact_are_a_set() {
        let tags = Tags::of_params(PHONE.as_bytes());
        assert_eq!(
            tags.params(),
            ";+g.3gpp.cs-voice;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\";\
             +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg,urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg,\
             urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\";+g.gsma.rcs.botversion=\"#=1,#=2\""
        );
        assert_eq!(Tags::of_params(tags.params().as_bytes()), tags);
        assert!(
            tags.is_rcs()
                && !Tags::of_params(b";audio;video").is_rcs()
                && Tags::of_params(b";q=1;expires=2").is_empty()
        );
    }

    #[test]
    fn two_devices_can_do_what_either_can() {
        let mut tags = Tags::of_params(PHONE.as_bytes());
        let other = Tags::of_params(b";+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.im,urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\";video");
        let before = tags.len();
        tags.add(&other);
        assert_eq!(tags.len(), before + 2);
        let both = tags.clone();
        tags.add(&other);
        assert_eq!(tags, both);
    }

    #[test]
    fn services_stand_for_tags_and_back() {
        let tags = Tags::of_params(PHONE.as_bytes());
        assert_eq!(
            tags.services(),
            [
                ("org.openmobilealliance:ChatSession", "2.0"),
                ("org.openmobilealliance:StandaloneMsg", "2.0"),
                ("org.openmobilealliance:File-Transfer-HTTP", "1.0"),
                ("org.gsma.videoshare", "1.0"),
            ]
        );
        for (id, version, _) in SERVICES {
            assert!(Tags::of_service(id, version).services().contains(&(*id, *version)), "{id} {version}");
        }
        assert!(Tags::of_service("org.example", "1.0").is_empty());
    }

    #[test]
    fn a_contact_cannot_make_more_than_the_limit() {
        let many: String = (0..1000).map(|n| format!(";+g.x{n}")).collect();
        assert_eq!(Tags::of_params(many.as_bytes()).len(), MAX_TAGS);
        let long = format!(";+g.x=\"{}\"", "a".repeat(MAX_TAG));
        assert!(Tags::of_params(long.as_bytes()).is_empty());
        let quoted = Tags::of_params(br#";+g.x="a\"b""#);
        assert_eq!(Tags::of_params(quoted.params().as_bytes()), quoted);
    }
}
