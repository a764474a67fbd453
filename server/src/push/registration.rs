//! What a REGISTER with push parameters is told (RFC 8599 §4.1, §5.2).

use chappe_push::Target;
use chappe_sip::header::NameAddr;
use chappe_sip::registrar::Binding;
use chappe_sip::{Aor, HeaderName, Message, Reply};

use super::Push;

/// Seconds before its end at which a device that wakes itself has to refresh its registration; more than 120 (§5.5).
pub const PNS_REG: u32 = 180;
/// Shorter registrations run out before a push could have them refreshed (§5.6.1.1).
const LEAST: u32 = PNS_REG + 60;

/// Whether each service that the Contacts of a REGISTER name is one of ours; else it is answered 555.
pub fn is_supported(push: &Push, message: &Message) -> bool {
    let known = |named: &Named| named.provider.is_empty() || push.settings.providers.contains_key(&named.provider);
    !push.is_on() || named(message).iter().all(known)
}

/// What a Contact says of push.
struct Named {
    /// In lower case; empty for a question what there is.
    provider: String,
    /// Its device wakes itself.
    wakes_itself: bool,
    /// None for a question.
    target: Option<Target>,
    /// The URI as it stands there.
    contact: String,
}

fn named(message: &Message) -> Vec<Named> {
    let one = |value: &[u8]| {
        let contact = NameAddr::parse(value).ok()?;
        let uri = contact.parse_uri().ok()?;
        let provider = uri.param("pn-provider")?;
        Some(Named {
            provider: chappe_push::unescape(provider)?.to_ascii_lowercase(),
            wakes_itself: contains(value, b"+sip.pnsreg"),
            target: Target::new(Some(provider), uri.param("pn-param"), uri.param("pn-prid")).ok()?,
            contact: String::from_utf8_lossy(contact.uri).into_owned(),
        })
    };
    message.values(HeaderName::Contact).filter_map(one).collect()
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// What bindings have to last at least for one of them to be refreshed by a push in time; `None` where a REGISTER asks for no
/// pushes.
pub fn least_expires(push: &Push, message: &Message) -> Option<u32> {
    (push.is_on() && named(message).iter().any(|named| named.target.is_some())).then_some(LEAST)
}

impl Push {
    /// Adds a Feature-Caps for each service that was named, or for all where none was. A device whose token is dead is told
    /// nothing: it will not be woken.
    pub(crate) fn tell(
        &self,
        message: &Message,
        mut reply: Reply,
        aor: &Aor,
        bindings: &[Binding],
        fresh: u64,
    ) -> Reply {
        if !self.is_on() {
            return reply;
        }
        for Named { provider: asked, wakes_itself, target, contact } in named(message) {
            if target.as_ref().is_some_and(|target| self.dead.contains(target)) {
                continue;
            }
            let mut shown: Vec<&String> = self.settings.providers.keys().collect();
            shown.sort();
            for name in shown.into_iter().filter(|name| asked.is_empty() || **name == asked) {
                let mut value = format!("*;+sip.pns=\"{name}\"");
                if let Some(more) = self.settings.providers.get(name).and_then(|provider| provider.capability()) {
                    value.push_str(&format!(";{more}"));
                }
                if wakes_itself {
                    value.push_str(&format!(";+sip.pnsreg=\"{PNS_REG}\""));
                }
                // §6.2.1: only who may be pushed to has something to refer to.
                let binding = bindings.iter().find(|binding| target.is_some() && binding.contact() == contact);
                if let Some(binding) = binding {
                    let reference = self.purrs.write(aor, binding.device(), fresh);
                    value.push_str(&format!(";+sip.pnspurr=\"{reference}\""));
                }
                reply = reply.header(HeaderName::FeatureCaps, &value);
            }
        }
        reply
    }
}
