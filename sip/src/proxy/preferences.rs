//! Caller preferences against what devices said of themselves (RFC 3841 §7.2 and §9.1, RFC 3840 §9).
//!
//! The feature parameters are compared as they stand in the headers; the syntax of RFC 2533 never appears, as §7.2
//! allows.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::context::Candidate;
use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::registrar::{Binding, Target};
use crate::text;

/// Predicates looked at in one request; the rest is passed over.
const MAX_PREDICATES: usize = 16;

/// The tags that stand without a `+` (RFC 3841 §7.2.1).
const BASE_TAGS: [&str; 20] = [
    "actor",
    "application",
    "audio",
    "automata",
    "class",
    "control",
    "data",
    "description",
    "duplex",
    "events",
    "extensions",
    "isfocus",
    "language",
    "methods",
    "mobility",
    "priority",
    "schemes",
    "text",
    "type",
    "video",
];

/// What a caller wants of the device, read from Accept-Contact and Reject-Contact, else from method and event.
#[derive(Debug, Clone, Default)]
pub struct Preferences<'m> {
    accept: SmallVec<[&'m [u8]; 2]>,
    reject: SmallVec<[&'m [u8]; 1]>,
    /// Method and event package where the caller named nothing.
    implicit: Option<(&'m [u8], Option<&'m [u8]>)>,
}

/// What the preferences make of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not to be tried.
    Drop,
    /// It may be tried; the caller's preference for it in thousandths, which orders devices of the same q.
    Keep(u16),
}

impl<'m> Preferences<'m> {
    pub fn of(request: &'m Message) -> Preferences<'m> {
        let params = |name| {
            let after_star = |value: &'m [u8]| {
                let at = text::find_outside(value, b';').unwrap_or(value.len());
                &value[at..]
            };
            request.values(name).take(MAX_PREDICATES).map(after_star)
        };
        let mut found = Preferences {
            accept: params(HeaderName::AcceptContact).collect(),
            reject: params(HeaderName::RejectContact).collect(),
            implicit: None,
        };
        if found.accept.is_empty() && found.reject.is_empty() {
            let subscribes = request.method() == Method::Subscribe;
            let event = subscribes.then(|| request.header(HeaderName::Event)).flatten();
            let event = event.and_then(|e| e.split(|b| *b == b';').next()).map(text::trim);
            found.implicit = Some((request.method_text(), event));
        }
        found
    }

    /// `params` are the Contact's header parameters with their leading `;`, `instance` its instance-id without quotes
    /// and brackets.
    pub fn judge(&self, params: &str, instance: Option<&str>) -> Verdict {
        let contact = Contact { params: params.as_bytes(), instance: instance.map(str::as_bytes) };
        if !contact.has_features() {
            return Verdict::Keep(1000);
        }
        if let Some((method, event)) = self.implicit {
            let supports = |tag, wanted| contact.values(tag).is_none_or(|raw| has_token(raw, wanted));
            let fine = supports("methods", method) && event.is_none_or(|event| supports("events", event));
            return if fine { Verdict::Keep(0) } else { Verdict::Drop };
        }
        if self.reject.iter().any(|predicate| contact.is_rejected(predicate)) {
            return Verdict::Drop;
        }
        let (mut sum, mut count) = (0u32, 0u32);
        for predicate in &self.accept {
            let flag = |name| text::param(predicate, name).is_some();
            let (require, explicit) = (flag("require"), flag("explicit"));
            let Match { matches, terms, present } = contact.compare(predicate);
            if terms == 0 {
                continue;
            }
            if !matches {
                if require {
                    return Verdict::Drop;
                }
                continue;
            }
            let mut score = present * 1000 / terms;
            if explicit && present < terms {
                if require {
                    return Verdict::Drop;
                }
                score = 0;
            }
            sum += score;
            count += 1;
        }
        Verdict::Keep(sum.checked_div(count).unwrap_or(0) as u16)
    }

    /// Takes devices out and orders those of the same q, where the server owns the domain (§7.2). When only implicit
    /// preferences would leave nobody, all stay, so that a device can say 405 or 489 itself (§7.2.4).
    pub fn apply(&self, targets: &mut SmallVec<[Target<'_>; 2]>) {
        let judged: SmallVec<[Verdict; 8]> =
            targets.iter().map(|t| self.judge(t.binding.params(), t.binding.instance_id())).collect();
        if judged.iter().all(|v| *v == Verdict::Drop) && self.implicit.is_some() {
            return;
        }
        let mut scored: SmallVec<[(u16, Target<'_>); 4]> = SmallVec::new();
        for (verdict, target) in judged.into_iter().zip(targets.drain(..)) {
            if let Verdict::Keep(qa) = verdict {
                scored.push((qa, target));
            }
        }
        scored.sort_by_key(|(qa, target)| (Reverse(target.q()), Reverse(*qa)));
        targets.extend(scored.into_iter().map(|(_, target)| target));
    }
}

/// How the caller wants the request handled; `None` where nothing was said (RFC 3841 §9.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disposition {
    /// Proxy, not redirect.
    pub proxy: Option<bool>,
    pub cancel: Option<bool>,
    pub fork: Option<bool>,
    pub recurse: Option<bool>,
    /// Parallel, not sequential.
    pub parallel: Option<bool>,
    pub queue: Option<bool>,
}

impl Disposition {
    /// Of directives that contradict each other the first counts.
    pub fn of(request: &Message) -> Disposition {
        let mut found = Disposition::default();
        for directive in request.values(HeaderName::RequestDisposition) {
            let is = |name: &str| directive.eq_ignore_ascii_case(name.as_bytes());
            let (slot, value) = match () {
                () if is("proxy") => (&mut found.proxy, true),
                () if is("redirect") => (&mut found.proxy, false),
                () if is("cancel") => (&mut found.cancel, true),
                () if is("no-cancel") => (&mut found.cancel, false),
                () if is("fork") => (&mut found.fork, true),
                () if is("no-fork") => (&mut found.fork, false),
                () if is("recurse") => (&mut found.recurse, true),
                () if is("no-recurse") => (&mut found.recurse, false),
                () if is("parallel") => (&mut found.parallel, true),
                () if is("sequential") => (&mut found.parallel, false),
                () if is("queue") => (&mut found.queue, true),
                () if is("no-queue") => (&mut found.queue, false),
                () => continue,
            };
            slot.get_or_insert(value);
        }
        found
    }
}

/// The devices as candidates of a [`super::ResponseContext`], with the binding of each: groups by q, unless the caller
/// asks for all at once, one after the other, or the first alone. `targets` are in order, by falling q.
pub fn candidates<'b>(targets: &[Target<'b>], disposition: &Disposition) -> SmallVec<[(Candidate, &'b Binding); 4]> {
    let mut found = SmallVec::new();
    let count = if disposition.fork == Some(false) { 1 } else { targets.len().min(usize::from(u16::MAX)) };
    let mut group = 0u16;
    for (instance, target) in targets.iter().take(count).enumerate() {
        let next = match disposition.parallel {
            Some(true) => false,
            Some(false) => true,
            None => instance > 0 && targets[instance - 1].q() != target.q(),
        };
        if instance > 0 && next {
            group += 1;
        }
        let candidate = Candidate { group, instance: instance as u16 };
        found.push((candidate, target.binding));
        found.extend(target.alternates.iter().map(|binding| (candidate, *binding)));
    }
    found
}

/// The features of a registered contact.
struct Contact<'a> {
    params: &'a [u8],
    instance: Option<&'a [u8]>,
}

struct Match {
    matches: bool,
    terms: u32,
    /// Terms whose tag the contact has.
    present: u32,
}

impl<'a> Contact<'a> {
    fn has_features(&self) -> bool {
        self.instance.is_some() || text::params(self.params, b';').any(|(name, _)| is_feature(name))
    }

    /// The raw value of a tag; a tag without a value is TRUE.
    fn values(&self, tag: &str) -> Option<&'a [u8]> {
        if let Some(instance) = self.instance.filter(|_| tag.eq_ignore_ascii_case("+sip.instance")) {
            return Some(instance);
        }
        let found = text::params(self.params, b';').find(|(n, _)| n.eq_ignore_ascii_case(tag.as_bytes()));
        found.map(|(_, value)| value.unwrap_or(b"TRUE"))
    }

    fn compare(&self, predicate: &[u8]) -> Match {
        let mut result = Match { matches: true, terms: 0, present: 0 };
        for (name, wanted) in text::params(predicate, b';').filter(|(name, _)| is_feature(name)) {
            result.terms += 1;
            let Some(have) = std::str::from_utf8(name).ok().and_then(|name| self.values(name)) else { continue };
            result.present += 1;
            let wanted = wanted.unwrap_or(b"TRUE");
            let same_instance = || {
                self.instance.is_some_and(|instance| {
                    name.eq_ignore_ascii_case(b"+sip.instance")
                        && bare_string(wanted).is_some_and(|wanted| wanted.eq_ignore_ascii_case(instance))
                })
            };
            result.matches &= same_instance() || alternatives_meet(wanted, have);
        }
        result
    }

    /// A Reject-Contact counts only where the contact has said something of each of its tags (§7.2.4).
    fn is_rejected(&self, predicate: &[u8]) -> bool {
        let Match { matches, terms, present } = self.compare(predicate);
        terms > 0 && present == terms && matches
    }
}

fn is_feature(name: &[u8]) -> bool {
    name.first() == Some(&b'+') || BASE_TAGS.iter().any(|tag| name.eq_ignore_ascii_case(tag.as_bytes()))
}

fn without_quotes(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(raw)
}

/// The text of `"<text>"`.
fn bare_string(raw: &[u8]) -> Option<&[u8]> {
    without_quotes(raw).strip_prefix(b"<")?.strip_suffix(b">")
}

fn has_token(raw: &[u8], wanted: &[u8]) -> bool {
    alternatives_meet(wanted, raw)
}

/// Whether some alternative of one is compatible with some of the other.
fn alternatives_meet(a: &[u8], b: &[u8]) -> bool {
    alternatives(a).any(|x| alternatives(b).any(|y| x.meets(&y)))
}

/// One tag-value (RFC 3840 §9).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    /// In any case.
    Token(&'a [u8]),
    /// In `<>`, exact.
    String(&'a [u8]),
    /// Both ends are in it.
    Range(f64, f64),
    /// Not even that: it meets nothing.
    Malformed,
}

struct Alternative<'a> {
    value: Value<'a>,
    negated: bool,
}

fn alternatives(raw: &[u8]) -> impl Iterator<Item = Alternative<'_>> {
    let string = bare_string(raw);
    let list = if string.is_some() { &[] } else { without_quotes(raw) };
    let tokens = list.split(|b| *b == b',').map(text::trim).filter(|t| !t.is_empty()).map(|token| {
        let (negated, token) = match token.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let value = match token.strip_prefix(b"#") {
            Some(number) => range(number).map_or(Value::Malformed, |(from, to)| Value::Range(from, to)),
            None => Value::Token(token),
        };
        Alternative { value, negated }
    });
    string.map(|s| Alternative { value: Value::String(s), negated: false }).into_iter().chain(tokens)
}

/// `=5`, `>=5`, `<=5` or `1:5`.
fn range(text: &[u8]) -> Option<(f64, f64)> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |s: &str| {
        let fine = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
        s.parse::<f64>().ok().filter(|_| fine)
    };
    if let Some(rest) = text.strip_prefix(">=") {
        return Some((number(rest)?, f64::INFINITY));
    }
    if let Some(rest) = text.strip_prefix("<=") {
        return Some((f64::NEG_INFINITY, number(rest)?));
    }
    if let Some(rest) = text.strip_prefix('=') {
        return number(rest).map(|n| (n, n));
    }
    let (from, to) = text.split_once(':')?;
    Some((number(from)?, number(to)?))
}

impl Alternative<'_> {
    fn meets(&self, other: &Alternative<'_>) -> bool {
        use Value::{Malformed, Range, String, Token};
        let (a, b) = (self.value, other.value);
        if a == Malformed || b == Malformed {
            return false;
        }
        match (self.negated, other.negated) {
            (false, false) => match (a, b) {
                (Token(x), Token(y)) => x.eq_ignore_ascii_case(y),
                (String(x), String(y)) => x == y,
                (Range(a, b), Range(c, d)) => a <= d && c <= b,
                _ => false,
            },
            // Something is left outside of both.
            (true, true) => true,
            (false, true) => !other.covers(a),
            (true, false) => !self.covers(b),
        }
    }

    /// Whether every value that `inner` allows is this one.
    fn covers(&self, inner: Value<'_>) -> bool {
        use Value::{Range, String, Token};
        match (self.value, inner) {
            (Token(x), Token(y)) => x.eq_ignore_ascii_case(y),
            (String(x), String(y)) => x == y,
            (Range(a, b), Range(c, d)) => a <= c && d <= b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::validate::tests::request;
    use crate::registrar::Parts;

    fn binding(contact: &str, params: &str, q: u16) -> Binding {
        Binding::new(Parts { contact, params, call_id: "c", cseq: 1, q, expires: 100, ..Parts::default() }).unwrap()
    }

    fn arranged(bindings: &[Binding], extra: &str) -> Vec<String> {
        let request = request("INVITE", "sip:user@example.com", extra);
        let mut targets = bindings.iter().map(|b| Target { binding: b, alternates: SmallVec::new() }).collect();
        Preferences::of(&request).apply(&mut targets);
        targets.iter().map(|t| t.binding.contact().to_string()).collect()
    }

    /// RFC 3841 §7.2.5.
    #[test]
    fn the_example_of_7_2_5() {
        let bindings = [
            binding("u1", ";audio;video;methods=\"INVITE,BYE\"", 200),
            binding("u2", ";audio=\"FALSE\";methods=\"INVITE\";actor=\"msg-taker\"", 200),
            binding("u3", ";audio;actor=\"msg-taker\";methods=\"INVITE\";video", 300),
            binding("u4", ";audio;methods=\"INVITE,OPTIONS\"", 200),
            binding("u5", "", 500),
        ];
        let extra = "Reject-Contact: *;actor=\"msg-taker\";video\r\nAccept-Contact: *;audio;require\r\n\
            Accept-Contact: *;video;explicit\r\nAccept-Contact: *;methods=\"BYE\";class=\"business\";q=1.0\r\n";
        assert_eq!(arranged(&bindings, extra), ["u5", "u1", "u4"]);
        let request = request("INVITE", "sip:user@example.com", extra);
        let judged: Vec<_> = bindings.iter().map(|b| Preferences::of(&request).judge(b.params(), None)).collect();
        use Verdict::{Drop, Keep};
        assert_eq!(judged, [Keep(833), Drop, Drop, Keep(500), Keep(1000)]);
    }

    #[test]
    fn implicit_preferences() {
        let only_message = binding("m", ";methods=\"MESSAGE\"", 1000);
        let all = binding("a", ";methods=\"MESSAGE,invite\"", 500);
        assert_eq!(arranged(&[only_message.clone(), all], ""), ["a"]);
        // Nobody left: the devices themselves say 405.
        assert_eq!(arranged(std::slice::from_ref(&only_message), ""), ["m"]);
        // Explicit preferences may leave nobody.
        assert!(arranged(&[only_message], "a: *;methods=\"INVITE\";require\r\n").is_empty());
    }

    #[test]
    fn values_of_features() {
        let drop = |extra: &str, params: &str| {
            let extra = format!("Accept-Contact: *;{extra};require;explicit\r\n");
            let request = request("INVITE", "sip:user@example.com", &extra);
            Preferences::of(&request).judge(params, Some("urn:uuid:1")) == Verdict::Drop
        };
        for (wanted, params, matches) in [
            ("audio", ";audio", true),
            ("audio", ";audio=\"FALSE\"", false),
            ("audio=\"!TRUE\"", ";audio=\"FALSE\"", true),
            ("audio=\"!TRUE\"", ";audio", false),
            ("+g.oma.sip-im", ";+g.oma.sip-im", true),
            ("+g.oma.sip-im", ";+G.OMA.SIP-IM", true),
            ("+g.oma.sip-im", ";audio", false),
            ("mobility=\"fixed,mobile\"", ";mobility=\"MOBILE\"", true),
            ("language=\"!en\"", ";language=\"de\"", true),
            ("language=\"!en\"", ";language=\"en\"", false),
            ("language=\"!en\"", ";language=\"!en\"", true),
            ("description=\"<PC>\"", ";description=\"<PC>\"", true),
            ("description=\"<PC>\"", ";description=\"<pc>\"", false),
            ("+x.n=\"#>=4\"", ";+x.n=\"#=5\"", true),
            ("+x.n=\"#>=4\"", ";+x.n=\"#=3\"", false),
            ("+x.n=\"#1.5:4\"", ";+x.n=\"#<=1.5\"", true),
            ("+x.n=\"!#1:4\"", ";+x.n=\"#2:3\"", false),
            ("+x.n=\"!#1:4\"", ";+x.n=\"#2:5\"", true),
            ("+x.n=\"#x\"", ";+x.n=\"#x\"", false),
            ("+sip.instance=\"<urn:uuid:1>\"", ";audio", true),
            ("+sip.instance=\"<urn:uuid:2>\"", ";audio", false),
            (
                "+g.3gpp.iari-ref=\"urn%3Aurn-7%3Arcs.ft\"",
                ";+g.3gpp.iari-ref=\"urn%3Aurn-7%3Arcs.im, urn%3Aurn-7%3Arcs.ft\"",
                true,
            ),
        ] {
            assert_eq!(drop(wanted, params), !matches, "{wanted} against {params}");
        }
    }

    #[test]
    fn dispositions_shape_the_groups() {
        let other = binding("a2", "", 1000);
        let bindings = [binding("a", "", 1000), binding("b", "", 1000), binding("c", "", 300)];
        let mut targets: Vec<_> = bindings.iter().map(|b| Target { binding: b, alternates: SmallVec::new() }).collect();
        targets[0].alternates.push(&other);
        for (extra, expected) in [
            ("", "a0 a20 b0 c1"),
            ("Request-Disposition: proxy, PARALLEL\r\n", "a0 a20 b0 c0"),
            ("d: sequential\r\n", "a0 a20 b1 c2"),
            ("d: sequential, parallel, x\r\n", "a0 a20 b1 c2"),
            ("d: no-fork\r\n", "a0 a20"),
        ] {
            let request = request("INVITE", "sip:user@example.com", extra);
            let found: Vec<String> = candidates(&targets, &Disposition::of(&request))
                .iter()
                .map(|(candidate, binding)| format!("{}{}", binding.contact(), candidate.group))
                .collect();
            assert_eq!(found.join(" "), expected, "{extra}");
        }
        let request = request("INVITE", "sip:user@example.com", "d: no-cancel, no-recurse, queue, redirect\r\n");
        let found = Disposition::of(&request);
        assert_eq!(
            (found.cancel, found.recurse, found.queue, found.proxy),
            (Some(false), Some(false), Some(true), Some(false))
        );
    }
}
