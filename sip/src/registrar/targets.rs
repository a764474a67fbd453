//! From bindings to where a request goes (RFC 3261 §16.5, RFC 5626 §7, RFC 5627 §6.1).

use smallvec::SmallVec;

use super::Binding;
use crate::transport::{Flow, Transport};
use crate::uri::Uri;

/// One device: never more than one of its contacts is in the target set at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Target<'b> {
    pub binding: &'b Binding,
    /// Other ways to the same device, to be tried in order after 408 or 430 and no other final response.
    pub alternates: SmallVec<[&'b Binding; 1]>,
}

impl Target<'_> {
    /// Preference in thousandths.
    pub fn q(&self) -> u16 {
        self.binding.q
    }
}

/// The devices that a request for the AOR goes to, by falling q. Expired and dormant bindings, dead flows (`alive`
/// says so) and contacts of other schemes than sip and sips are left out. `admits` restricts to the instance of a
/// GRUU; give `|_| true` for a request to the AOR.
///
/// Of the ways to one device the one that lapses last is taken first: it is the one refreshed last, as a device asks
/// for the same time on all of them.
pub fn targets<'b>(
    bindings: &'b [Binding],
    now: u64,
    alive: impl Fn(&Flow) -> bool,
    admits: impl Fn(&Binding) -> bool,
) -> SmallVec<[Target<'b>; 2]> {
    let mut found: SmallVec<[Target<'b>; 2]> = SmallVec::new();
    let reached = bindings.iter().filter(|b| b.expires() > now && !b.dormant && admits(b) && reachable(b, &alive));
    for binding in reached {
        let same = |t: &&mut Target<'_>| match (t.binding.instance_id(), binding.instance_id()) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        match found.iter_mut().find(same) {
            None => found.push(Target { binding, alternates: SmallVec::new() }),
            Some(target) => {
                let mut other = binding;
                if other.expires() > target.binding.expires() {
                    std::mem::swap(&mut other, &mut target.binding);
                }
                let at = target.alternates.iter().position(|a| a.expires() < other.expires());
                target.alternates.insert(at.unwrap_or(target.alternates.len()), other);
            }
        }
    }
    found.sort_by_key(|t| std::cmp::Reverse(t.q()));
    found
}

/// The unexpired devices that no target reaches, which a push may wake: the latest binding of each.
pub fn sleeping(
    bindings: &[Binding],
    now: u64,
    alive: impl Fn(&Flow) -> bool,
    admits: impl Fn(&Binding) -> bool,
) -> SmallVec<[&Binding; 2]> {
    let awake = targets(bindings, now, &alive, &admits);
    let mut found: SmallVec<[&Binding; 2]> = SmallVec::new();
    for binding in bindings.iter().filter(|b| b.expires() > now && admits(b)) {
        if awake.iter().any(|t| t.binding.device() == binding.device()) {
            continue;
        }
        match found.iter_mut().find(|f| f.device() == binding.device()) {
            None => found.push(binding),
            Some(seen) if seen.expires() < binding.expires() => *seen = binding,
            Some(_) => {}
        }
    }
    found
}

fn reachable(binding: &Binding, alive: &impl Fn(&Flow) -> bool) -> bool {
    let Ok(uri) = Uri::parse(binding.contact().as_bytes()) else { return false };
    match &binding.flow {
        _ if !uri.is_sip() => false,
        Some(flow) => alive(flow),
        // Behind a proxy its Path leads on; else the contact itself has to listen, which no browser does.
        None => !binding.path().is_empty() || !matches!(uri.transport(), Some(Transport::Ws | Transport::Wss)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parts;
    use super::*;

    fn binding(contact: &str, instance: Option<&str>, reg_id: Option<u32>, q: u16, expires: u64) -> Binding {
        let parts =
            Parts { contact, instance_id: instance, reg_id, call_id: "c", cseq: 1, q, expires, ..Parts::default() };
        Binding::new(parts).unwrap()
    }

    fn with(mut binding: Binding, dormant: bool, flow: Option<Flow>) -> Binding {
        (binding.dormant, binding.flow) = (dormant, flow);
        binding
    }

    #[test]
    fn one_target_for_each_device_by_q() {
        let dead =
            Flow { transport: Transport::Tcp, listener: 0, connection: 7, remote: "192.0.2.1:5060".parse().unwrap() };
        let bindings = [
            binding("sip:a@1.1.1.1", Some("urn:1"), Some(1), 500, 200),
            binding("sip:a@1.1.1.2", Some("urn:1"), Some(2), 500, 300),
            binding("sip:a@1.1.1.3", Some("urn:1"), Some(3), 500, 250),
            binding("sip:a@1.1.2.1", None, None, 1000, 200),
            binding("sip:a@1.1.3.1", None, None, 700, 100),
            with(binding("sip:a@1.1.4.1", Some("urn:4"), None, 700, 200), true, None),
            with(binding("sip:a@1.1.5.1", Some("urn:5"), None, 700, 200), false, Some(dead)),
            binding("tel:+1", None, None, 700, 200),
            binding("sip:a@x.invalid;transport=ws", None, None, 700, 200),
        ];
        let list = |found: &[Target<'_>]| -> Vec<String> {
            let contact = |b: &Binding| b.contact().rsplit('@').next().unwrap_or_default().to_owned();
            found
                .iter()
                .map(|t| {
                    let all: Vec<_> = t.alternates.iter().map(|b| contact(b)).collect();
                    format!("{} {}", contact(t.binding), all.join(" ")).trim().to_owned()
                })
                .collect()
        };
        let found = targets(&bindings, 100, |flow| flow.connection != 7, |_| true);
        assert_eq!(list(&found), ["1.1.2.1", "1.1.1.2 1.1.1.3 1.1.1.1"]);
        let found = targets(&bindings, 100, |_| true, |b| b.instance_id() == Some("urn:5"));
        assert_eq!(list(&found), ["1.1.5.1"]);
        let asleep = sleeping(&bindings, 100, |flow| flow.connection != 7, |b| b.instance_id().is_some());
        let asleep: Vec<_> = asleep.iter().filter_map(|b| b.instance_id()).collect();
        assert_eq!(asleep, ["urn:4", "urn:5"]);
    }
}
