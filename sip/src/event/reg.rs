//! The reg event package (RFC 3680), with the GRUU extension (RFC 5628): who watches an AOR learns of its contacts.
//!
//! Parameters that hold push tokens (`pn-*`, RFC 8599 §13) are never shown, not even to the user's own devices.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Package;
use crate::registrar::{self, Binding, GruuKey};
use crate::text;
use crate::uri::{Aor, Uri};

/// The package.
#[derive(Debug, Clone, Copy)]
pub struct Reg;

impl Package for Reg {
    fn name(&self) -> &'static str {
        "reg"
    }

    fn content_types(&self) -> &'static [&'static str] {
        &["application/reginfo+xml"]
    }

    fn default_expires(&self) -> u32 {
        3761
    }

    fn min_interval(&self) -> u32 {
        5
    }
}

/// What brought a contact into its state (RFC 3680 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactEvent {
    Registered,
    /// Bound by other means than REGISTER.
    Created,
    Refreshed,
    /// The server cut its time, so that the device registers again.
    Shortened,
    Expired,
    /// The server removed it; the device should register again at once.
    Deactivated,
    /// The server removed it; the device should register again after so many seconds.
    Probation {
        retry_after: u32,
    },
    Unregistered,
    /// The server removed it for good.
    Rejected,
}

impl ContactEvent {
    pub fn as_str(self) -> &'static str {
        match self {
            ContactEvent::Registered => "registered",
            ContactEvent::Created => "created",
            ContactEvent::Refreshed => "refreshed",
            ContactEvent::Shortened => "shortened",
            ContactEvent::Expired => "expired",
            ContactEvent::Deactivated => "deactivated",
            ContactEvent::Probation { .. } => "probation",
            ContactEvent::Unregistered => "unregistered",
            ContactEvent::Rejected => "rejected",
        }
    }

    /// Whether the contact is gone.
    pub fn is_end(self) -> bool {
        !matches!(
            self,
            ContactEvent::Registered | ContactEvent::Created | ContactEvent::Refreshed | ContactEvent::Shortened
        )
    }
}

impl From<registrar::Event> for ContactEvent {
    fn from(event: registrar::Event) -> ContactEvent {
        match event {
            registrar::Event::Registered => ContactEvent::Registered,
            registrar::Event::Refreshed => ContactEvent::Refreshed,
            registrar::Event::Expired => ContactEvent::Expired,
            registrar::Event::Unregistered => ContactEvent::Unregistered,
            registrar::Event::Deactivated => ContactEvent::Deactivated,
        }
    }
}

/// Tells `report` what changed between two states of an AOR: what went, then what is new or renewed. Where the
/// registrar made the change, [`registrar::Outcome::events`] knows better why. A binding that became dormant is
/// deactivated, and registered when it wakes: the flow to it is gone.
pub fn changes<'b>(
    before: &'b [Binding],
    after: &'b [Binding],
    now: u64,
    mut report: impl FnMut(ContactEvent, &'b Binding),
) {
    let shown = |b: &&Binding| !b.dormant;
    for old in before.iter().filter(shown) {
        match after.iter().find(|new| new.same_identity(old)) {
            Some(new) if new.dormant => report(ContactEvent::Deactivated, old),
            Some(new) if new.contact() != old.contact() => report(ContactEvent::Unregistered, old),
            Some(_) => {}
            None if old.expires() <= now => report(ContactEvent::Expired, old),
            None => report(ContactEvent::Deactivated, old),
        }
    }
    for new in after.iter().filter(shown) {
        let old = before.iter().filter(shown).find(|old| old.same_identity(new) && old.contact() == new.contact());
        match old {
            None => report(ContactEvent::Registered, new),
            Some(old) if (old.call_id(), old.cseq) != (new.call_id(), new.cseq) || old.expires() < new.expires() => {
                report(ContactEvent::Refreshed, new);
            }
            Some(old) if old.expires() > new.expires() => report(ContactEvent::Shortened, new),
            Some(_) => {}
        }
    }
}

/// What one subscriber has yet to be told, while a NOTIFY is under way or the rate forbids another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backlog {
    changes: Vec<(ContactEvent, Binding)>,
    full: bool,
}

impl Backlog {
    /// Most contacts that are remembered one by one; above, the next document is a full one.
    const LIMIT: usize = 32;

    /// Notes a change; a newer one of the same contact takes the older one's place.
    pub fn push(&mut self, event: ContactEvent, binding: &Binding) {
        let id = contact_id(binding);
        self.changes.retain(|(_, old)| contact_id(old) != id);
        if self.changes.len() < Backlog::LIMIT {
            self.changes.push((event, binding.clone()));
        } else {
            self.full = true;
        }
    }

    /// The next document is to be a full one: the first, and the answer to a SUBSCRIBE (§4.3).
    pub fn want_full(&mut self) {
        self.full = true;
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.full
    }

    /// The document that tells all of it, and empties the backlog. `bindings` are the AOR's now; `version` is that of
    /// [`super::Subscription::next_version`]. With `gruus`, each device's public GRUU is shown.
    pub fn document(
        &mut self,
        version: u32,
        aor: &Aor,
        bindings: &[Binding],
        gruus: Option<&GruuKey>,
        now: u64,
    ) -> String {
        let Backlog { changes, full } = std::mem::take(self);
        let alive: Vec<(String, &Binding)> = bindings
            .iter()
            .filter(|b| !b.dormant && b.expires() > now)
            .map(|binding| (contact_id(binding), binding))
            .collect();
        let ended = changes.iter().any(|(event, _)| event.is_end());
        let state = match (alive.is_empty(), ended) {
            (false, _) => "active",
            (true, true) => "terminated",
            (true, false) => "init",
        };
        let mut document = Document::new(version, full, aor, gruus, now);
        document.begin(state);
        let mut told: Vec<String> = Vec::new();
        for (event, binding) in &changes {
            let id = contact_id(binding);
            // A change overtaken by what is true now would mislead: the later change has its own entry.
            if event.is_end() != alive.iter().any(|(alive, _)| *alive == id) {
                document.contact(&id, *event, binding);
                told.push(id);
            }
        }
        for (id, binding) in alive.iter().filter(|(id, _)| full && !told.contains(id)) {
            document.contact(id, ContactEvent::Registered, binding);
        }
        document.finish()
    }
}

/// Writes `application/reginfo+xml`.
struct Document<'a> {
    xml: String,
    aor: &'a Aor,
    gruus: Option<&'a GruuKey>,
    now: u64,
}

impl<'a> Document<'a> {
    fn new(version: u32, full: bool, aor: &'a Aor, gruus: Option<&'a GruuKey>, now: u64) -> Document<'a> {
        let mut xml = String::with_capacity(1024);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\"");
        if gruus.is_some() {
            xml.push_str(" xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\"");
        }
        let _ = writeln!(xml, " version=\"{version}\" state=\"{}\">", if full { "full" } else { "partial" });
        Document { xml, aor, gruus, now }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        let _ = write!(self.xml, " {name}=\"");
        escape(value, &mut self.xml);
        self.xml.push('"');
    }

    fn begin(&mut self, state: &str) {
        self.xml.push_str("<registration");
        self.attribute("aor", &self.aor.to_uri());
        self.attribute("id", &id('r', &[self.aor.as_str()]));
        self.attribute("state", state);
        self.xml.push_str(">\n");
    }

    fn contact(&mut self, id: &str, event: ContactEvent, binding: &Binding) {
        self.xml.push_str("<contact");
        self.attribute("id", id);
        self.attribute("state", if event.is_end() { "terminated" } else { "active" });
        self.attribute("event", event.as_str());
        self.attribute("duration-registered", &self.now.saturating_sub(binding.registered()).to_string());
        if !event.is_end() {
            self.attribute("expires", &binding.expires().saturating_sub(self.now).to_string());
        }
        if let ContactEvent::Probation { retry_after } = event {
            self.attribute("retry-after", &retry_after.to_string());
        }
        if binding.q < 1000 {
            self.attribute("q", format!("0.{:03}", binding.q).trim_end_matches('0').trim_end_matches('.'));
        }
        self.attribute("callid", binding.call_id());
        self.attribute("cseq", &binding.cseq.to_string());
        self.xml.push_str(">\n<uri>");
        escape(&public_uri(binding.contact()), &mut self.xml);
        self.xml.push_str("</uri>\n");
        for (name, value) in text::params(binding.params().as_bytes(), b';').filter(|(name, _)| !is_push(name)) {
            self.param(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value.unwrap_or_default()));
        }
        if let Some(instance_id) = binding.instance_id() {
            self.param("+sip.instance", &format!("\"<{instance_id}>\""));
        }
        if let Some(reg_id) = binding.reg_id() {
            self.param("reg-id", &reg_id.to_string());
        }
        if let (Some(gruus), Some(instance_id)) = (self.gruus, binding.instance_id()) {
            let mut gruu = String::new();
            gruus.write_public(self.aor, instance_id, &mut gruu);
            if !gruu.is_empty() {
                self.xml.push_str("<gr:pub-gruu");
                self.attribute("uri", &gruu);
                self.xml.push_str("/>\n");
            }
        }
        self.xml.push_str("</contact>\n");
    }

    fn param(&mut self, name: &str, value: &str) {
        self.xml.push_str("<unknown-param");
        self.attribute("name", name);
        self.xml.push('>');
        escape(value, &mut self.xml);
        self.xml.push_str("</unknown-param>\n");
    }

    fn finish(mut self) -> String {
        self.xml.push_str("</registration>\n</reginfo>\n");
        self.xml
    }
}

/// Text for an element or an attribute; what XML 1.0 has no place for becomes U+FFFD.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// The same for the same contact in every document, another for another (§5.1). Nothing secret goes into it.
fn contact_id(binding: &Binding) -> String {
    let reg_id = binding.reg_id().map_or(String::new(), |n| n.to_string());
    id('c', &[&public_uri(binding.contact()), binding.instance_id().unwrap_or_default(), &reg_id])
}

fn id(kind: char, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().fold(String::from(kind), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn is_push(name: &[u8]) -> bool {
    name.len() >= 3 && name[..3].eq_ignore_ascii_case(b"pn-")
}

/// A contact URI without its push parameters.
fn public_uri(contact: &str) -> String {
    let Ok(uri) = Uri::parse(contact.as_bytes()) else { return String::new() };
    let tail = if uri.headers.is_empty() { 0 } else { uri.headers.len() + 1 };
    let Some(params_at) = contact.len().checked_sub(tail + uri.params.len()) else { return String::new() };
    let mut out = contact[..params_at].to_owned();
    for param in uri.params.split(';').filter(|p| !p.is_empty() && !is_push(p.as_bytes())) {
        out.push(';');
        out.push_str(param);
    }
    out.push_str(&contact[contact.len() - tail..]);
    out
}

#[cfg(test)]
mod tests;
