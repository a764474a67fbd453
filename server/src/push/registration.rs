//! What a REGISTER with push parameters is told (RFC 8599 §4.1, §5.2).

use chappe_sip::header::NameAddr;
use chappe_sip::{HeaderName, Message, Reply};

use super::Push;

/// Seconds before its end at which a device that wakes itself has to refresh its registration; more than 120 (§5.5).
pub const PNS_REG: u32 = 180;

/// Whether each service that the Contacts of a REGISTER name is one of ours; else it is answered 555.
pub fn is_supported(push: &Push, message: &Message) -> bool {
    let known =
        |provider: &str| provider.is_empty() || push.settings.providers.contains_key(&provider.to_ascii_lowercase());
    !push.is_on() || named(message).iter().all(|(provider, _)| known(provider))
}

/// The service of each Contact that names one, or nothing for a question what there is; and whether its device wakes
/// itself.
fn named(message: &Message) -> Vec<(String, bool)> {
    let one = |value: &[u8]| {
        let contact = NameAddr::parse(value).ok()?;
        let uri = contact.parse_uri().ok()?;
        let provider = uri.param("pn-provider")?;
        let wakes_itself = contains(value, b"+sip.pnsreg");
        Some((chappe_push::unescape(provider)?, wakes_itself))
    };
    message.values(HeaderName::Contact).filter_map(one).collect()
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

impl Push {
    /// Adds a Feature-Caps for each service that was named, or for all where none was.
    pub(crate) fn tell(&self, message: &Message, mut reply: Reply) -> Reply {
        if !self.is_on() {
            return reply;
        }
        for (provider, wakes_itself) in named(message) {
            let asked = provider.to_ascii_lowercase();
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
                reply = reply.header(HeaderName::FeatureCaps, &value);
            }
        }
        reply
    }
}
