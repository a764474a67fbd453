//! Who may see what (RFC 4745, RFC 5025, and the conditions that OMA adds): a document of rules, and what it says of one
//! watcher. Rules only ever grant: what several of them allow is put together.

use crate::filter::Shown;
use crate::ns::Ns;
use crate::xml::{self, Element, Limits, XmlError};

/// Rules of one document.
const MAX_RULES: usize = 256;
/// Identities, domains and lists of one rule.
const MAX_NAMES: usize = 2_048;

/// What becomes of a subscription (RFC 5025 §3.2), the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handling {
    /// Refused, and told so.
    Block,
    /// Waits until the presentity decides.
    Confirm,
    /// Accepted, and shown somebody who is not there.
    PoliteBlock,
    Allow,
}

impl Handling {
    fn of(text: &str) -> Option<Handling> {
        match text {
            "block" => Some(Handling::Block),
            "confirm" => Some(Handling::Confirm),
            "polite-block" => Some(Handling::PoliteBlock),
            "allow" => Some(Handling::Allow),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Handling::Block => "block",
            Handling::Confirm => "confirm",
            Handling::PoliteBlock => "polite-block",
            Handling::Allow => "allow",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Every name of the watcher in canonical form (see [`canonical`]); none for one whose identity is not proved.
    pub names: &'a [String],
    /// It wants to stay unknown, or is.
    pub anonymous: bool,
}

/// What a watcher may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub handling: Handling,
    /// What of the document is shown; `None`: all of it.
    pub shown: Option<Shown>,
}

impl Permission {
    pub fn of(handling: Handling) -> Permission {
        Permission { handling, shown: None }
    }
}

/// The rules of a presentity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    handling: Option<Handling>,
    /// `None` where the rule does not speak of it.
    shown: Option<Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Identity(Vec<Identity>),
    /// OMA: one of the lists that these URIs name has the watcher.
    Lists(Vec<Box<str>>),
    /// OMA: nobody whom another rule names.
    OtherIdentity,
    /// OMA: the watcher stays unknown.
    Anonymous,
    Sphere(Vec<Box<str>>),
    /// From and until, in seconds since the epoch.
    Validity(Vec<(u64, u64)>),
    /// One that we do not know is not met (RFC 4745 §7).
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    One(Box<str>),
    Many { domain: Option<Box<str>>, except: Vec<Box<str>>, except_domains: Vec<Box<str>> },
}

/// What conditions are held against.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it lives for one decision and holds a closure")]
pub struct Facts<'a> {
    pub asker: Asker<'a>,
    /// The sphere that the presentity says it is in.
    pub sphere: Option<&'a str>,
    /// In seconds since the epoch.
    pub now: u64,
    /// Whether the list at a URI, as the document writes it, has the watcher.
    pub list_has: &'a dyn Fn(&str) -> bool,
}

impl Ruleset {
    /// Reads `application/auth-policy+xml`.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Ruleset, XmlError> {
        let root = xml::parse(bytes, limits)?;
        if !root.is(Ns::COMMON_POLICY, "ruleset") {
            return Err(XmlError::Missing("ruleset"));
        }
        let mut rules = Vec::new();
        for element in root.elements().filter(|e| e.is(Ns::COMMON_POLICY, "rule")) {
            if rules.len() == MAX_RULES {
                return Err(XmlError::OverLimit { what: "rules", max: MAX_RULES });
            }
            rules.push(Rule::of(element)?);
        }
        Ok(Ruleset { rules })
    }

    /// What the rules grant; `None` where not one is for this watcher.
    pub fn decide(&self, facts: &Facts<'_>) -> Option<Permission> {
        let named = self.rules.iter().any(|rule| rule.names() && rule.holds(facts, false));
        let matching: Vec<&Rule> = self.rules.iter().filter(|rule| rule.holds(facts, !named)).collect();
        let handling = matching.iter().filter_map(|rule| rule.handling).max()?;
        let mut shown: Option<Shown> = None;
        for granted in matching.iter().filter_map(|rule| rule.shown.as_ref()) {
            shown.get_or_insert_with(Shown::default).add(granted);
        }
        Some(Permission { handling, shown })
    }

    /// Whether a rule speaks of spheres, so that a new sphere may change what watchers see.
    pub fn has_spheres(&self) -> bool {
        self.rules.iter().any(|rule| rule.conditions.iter().any(|c| matches!(c, Condition::Sphere(_))))
    }

    /// When a period of a rule next begins or ends after `now`.
    pub fn next_change(&self, now: u64) -> Option<u64> {
        let periods = self.rules.iter().flat_map(|rule| &rule.conditions).filter_map(|condition| match condition {
            Condition::Validity(periods) => Some(periods),
            _ => None,
        });
        periods.flatten().flat_map(|(from, until)| [*from, *until]).filter(|at| *at > now).min()
    }
}

impl Rule {
    fn of(element: &Element) -> Result<Rule, XmlError> {
        let mut rule = Rule::default();
        if let Some(conditions) = element.child(Ns::COMMON_POLICY, "conditions") {
            for element in conditions.elements() {
                rule.conditions.push(Condition::of(element)?);
            }
        }
        let action = element.child(Ns::COMMON_POLICY, "actions").and_then(|actions| {
            actions.child(Ns::PRES_RULES, "sub-handling").or_else(|| actions.child(Ns::OMA_RULES, "sub-handling"))
        });
        if let Some(action) = action {
            rule.handling = Some(Handling::of(&action.text()).ok_or(XmlError::Invalid("sub-handling"))?);
        }
        rule.shown = element.child(Ns::COMMON_POLICY, "transformations").map(Shown::of);
        Ok(rule)
    }

    /// Whether it is for watchers that it names.
    fn names(&self) -> bool {
        self.conditions.iter().any(|c| matches!(c, Condition::Identity(_) | Condition::Lists(_)))
    }

    /// All conditions are met; `others`: the watcher is named by no rule.
    fn holds(&self, facts: &Facts<'_>, others: bool) -> bool {
        self.conditions.iter().all(|condition| condition.holds(facts, others))
    }
}

impl Condition {
    fn of(element: &Element) -> Result<Condition, XmlError> {
        let name = &*element.name;
        if element.ns == Ns::COMMON_POLICY && name == "identity" {
            let found: Vec<Identity> = element.elements().filter_map(Identity::of).collect();
            let names = found.iter().map(Identity::size).sum::<usize>();
            return match names > MAX_NAMES {
                true => Err(XmlError::OverLimit { what: "identities in a rule", max: MAX_NAMES }),
                false => Ok(Condition::Identity(found)),
            };
        }
        if element.ns == Ns::COMMON_POLICY && name == "sphere" {
            let value = element.attribute("value").unwrap_or_default();
            return Ok(Condition::Sphere(value.split_whitespace().map(Into::into).collect()));
        }
        if element.ns == Ns::COMMON_POLICY && name == "validity" {
            return validity(element).map(Condition::Validity);
        }
        if element.ns == Ns::OMA_POLICY && name == "external-list" {
            let entries = element.elements().filter(|e| &*e.name == "entry").take(MAX_NAMES);
            return Ok(Condition::Lists(entries.filter_map(|e| e.attribute("anc")).map(Into::into).collect()));
        }
        Ok(match (&element.ns, name) {
            (ns, "other-identity") if *ns == Ns::OMA_POLICY => Condition::OtherIdentity,
            (ns, "anonymous-request") if *ns == Ns::OMA_POLICY => Condition::Anonymous,
            _ => Condition::Unknown,
        })
    }

    fn holds(&self, facts: &Facts<'_>, others: bool) -> bool {
        let asker = &facts.asker;
        match self {
            Condition::Identity(identities) => {
                !asker.anonymous && asker.names.iter().any(|name| identities.iter().any(|i| i.has(name, asker.names)))
            }
            Condition::Lists(lists) => !asker.anonymous && lists.iter().any(|list| (facts.list_has)(list)),
            Condition::OtherIdentity => others && !asker.anonymous,
            Condition::Anonymous => asker.anonymous,
            Condition::Sphere(spheres) => facts.sphere.is_some_and(|now| spheres.iter().any(|s| &**s == now)),
            Condition::Validity(periods) => periods.iter().any(|(from, until)| (*from..*until).contains(&facts.now)),
            Condition::Unknown => false,
        }
    }
}

impl Identity {
    fn of(element: &Element) -> Option<Identity> {
        if element.is(Ns::COMMON_POLICY, "one") {
            return element.attribute("id").map(|id| Identity::One(canonical(id).into()));
        }
        if !element.is(Ns::COMMON_POLICY, "many") {
            return None;
        }
        let domain = element.attribute("domain").map(|d| d.to_ascii_lowercase().into());
        let excepted = || element.elements().filter(|e| e.is(Ns::COMMON_POLICY, "except"));
        let except = excepted().filter_map(|e| e.attribute("id")).map(|id| canonical(id).into()).collect();
        let domains = excepted().filter_map(|e| e.attribute("domain")).map(|d| d.to_ascii_lowercase().into());
        Some(Identity::Many { domain, except, except_domains: domains.collect() })
    }

    fn size(&self) -> usize {
        match self {
            Identity::One(_) => 1,
            Identity::Many { except, except_domains, .. } => 1 + except.len() + except_domains.len(),
        }
    }

    fn has(&self, name: &str, all: &[String]) -> bool {
        match self {
            Identity::One(id) => **id == *name,
            Identity::Many { domain: wanted, except, except_domains } => {
                let domain = name.rsplit_once('@').map(|(_, domain)| domain);
                // An exception of one of the watcher's names is one of the watcher.
                wanted.as_deref().is_none_or(|wanted| domain == Some(wanted))
                    && !except.iter().any(|id| all.iter().any(|name| **id == **name))
                    && !domain.is_some_and(|domain| except_domains.iter().any(|d| **d == *domain))
            }
        }
    }
}

/// `from` and `until` in turn (RFC 4745 §7.3).
fn validity(element: &Element) -> Result<Vec<(u64, u64)>, XmlError> {
    let mut periods = Vec::new();
    let mut from = None;
    for element in element.elements() {
        let at = epoch(&element.text()).ok_or(XmlError::Invalid("validity"))?;
        match (&*element.name, from.take()) {
            ("from", None) => from = Some(at),
            ("until", Some(from)) => periods.push((from, at)),
            _ => return Err(XmlError::Invalid("validity")),
        }
    }
    Ok(periods)
}

/// A time of XML Schema in seconds since the epoch; one without a zone is taken as UTC.
fn epoch(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let fine = marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(mark));
    if !fine || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match rest {
        "" | "Z" => 0,
        zone => {
            let sign = match zone.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()?.clamp(-24, 24) * 3600 + minutes.parse::<i64>().ok()?.clamp(0, 59) * 60)
        }
    };
    // Days since the epoch by the civil calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - offset).ok()
}

/// A URI as names are compared: user and domain of a SIP or `pres` URI, the digits of a number.
pub fn canonical(uri: &str) -> String {
    let uri = uri.trim();
    if let Ok(parsed) = chappe_sip::Uri::parse(uri.as_bytes())
        && let Some(aor) = chappe_sip::Aor::of(&parsed)
    {
        return aor.as_str().to_owned();
    }
    let name = uri.strip_prefix("pres:").unwrap_or(uri);
    match name.rsplit_once('@') {
        Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Ruleset {
        let text = format!(
            r#"<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
                xmlns:ocp="urn:oma:xml:xdm:common-policy">{text}</cr:ruleset>"#
        );
        Ruleset::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn rule(conditions: &str, handling: &str) -> String {
        format!(
            r#"<cr:rule id="r"><cr:conditions>{conditions}</cr:conditions><cr:actions><pr:sub-handling>{handling}</pr:sub-handling></cr:actions></cr:rule>"#
        )
    }

    fn decide(rules: &Ruleset, names: &[&str], sphere: Option<&str>, now: u64) -> Option<Handling> {
        let names: Vec<String> = names.iter().map(|name| canonical(name)).collect();
        let asker = Asker { names: &names, anonymous: names.is_empty() };
        let list_has = |list: &str| list == "friends" && names.contains(&"fred@example.com".to_owned());
        rules.decide(&Facts { asker, sphere, now, list_has: &list_has }).map(|p| p.handling)
    }

    #[test]
    fn conditions() {
        let one = r#"<cr:identity><cr:one id="sip:amy@example.com"/><cr:one id="tel:+1555"/></cr:identity>"#;
        let many = r#"<cr:identity><cr:many domain="Example.com"><cr:except id="sip:bad@example.com"/></cr:many></cr:identity>"#;
        let any = r#"<cr:identity><cr:many><cr:except domain="evil.com"/></cr:many></cr:identity>"#;
        let list = r#"<ocp:external-list><ocp:entry anc="friends"/></ocp:external-list>"#;
        let period = "<cr:validity><cr:from>2026-01-01T00:00:00Z</cr:from><cr:until>2026-01-02T01:00:00+01:00</cr:until></cr:validity>";
        let new_year = 1_767_225_600;
        for (name, condition, asker, sphere, now, holds) in [
            ("one", one, &["sip:amy@Example.com"][..], None, 0, true),
            ("another", one, &["sip:Amy@example.com"], None, 0, false),
            ("by number", one, &["sip:x@y", "tel:+1-555"], None, 0, true),
            ("of a domain", many, &["sip:amy@example.com"], None, 0, true),
            ("of another domain", many, &["sip:amy@example.org"], None, 0, false),
            ("excepted", many, &["sip:bad@example.com"], None, 0, false),
            ("anybody", any, &["sip:amy@example.org"], None, 0, true),
            ("a domain that is not wanted", any, &["sip:amy@evil.com"], None, 0, false),
            ("nobody known is not anybody", any, &[], None, 0, false),
            ("list", list, &["sip:fred@example.com"], None, 0, true),
            ("not in the list", list, &["sip:amy@example.com"], None, 0, false),
            ("anonymous", "<ocp:anonymous-request/>", &[], None, 0, true),
            ("not anonymous", "<ocp:anonymous-request/>", &["sip:a@b"], None, 0, false),
            ("sphere", r#"<cr:sphere value="work home"/>"#, &["sip:a@b"], Some("home"), 0, true),
            ("another sphere", r#"<cr:sphere value="work"/>"#, &["sip:a@b"], Some("home"), 0, false),
            ("no sphere", r#"<cr:sphere value="work"/>"#, &["sip:a@b"], None, 0, false),
            ("before", period, &["sip:a@b"], None, new_year - 1, false),
            ("within", period, &["sip:a@b"], None, new_year, true),
            ("after", period, &["sip:a@b"], None, new_year + 86_400, false),
            ("unknown", "<x xmlns='urn:x'/>", &["sip:a@b"], None, 0, false),
            ("none at all", "", &["sip:a@b"], None, 0, true),
        ] {
            let found = decide(&rules(&rule(condition, "allow")), asker, sphere, now);
            assert_eq!(found, holds.then_some(Handling::Allow), "{name}");
        }
        let with_period = rules(&rule(period, "allow"));
        assert_eq!(with_period.next_change(new_year), Some(new_year + 86_400));
        assert_eq!(with_period.next_change(new_year + 86_400), None);
    }

    #[test]
    fn the_most_generous_rule_counts() {
        let amy = r#"<cr:identity><cr:one id="sip:amy@example.com"/></cr:identity>"#;
        let all = r#"<cr:identity><cr:many/></cr:identity>"#;
        for (one, other, expected) in [
            ("block", "confirm", Handling::Confirm),
            ("polite-block", "confirm", Handling::PoliteBlock),
            ("allow", "block", Handling::Allow),
        ] {
            let rules = rules(&(rule(amy, one) + &rule(all, other)));
            assert_eq!(decide(&rules, &["sip:amy@example.com"], None, 0), Some(expected), "{one} {other}");
        }
        assert_eq!(decide(&Ruleset::default(), &["sip:amy@example.com"], None, 0), None);
    }

    #[test]
    fn who_is_named_is_not_among_the_others() {
        let text = rule(r#"<ocp:external-list><ocp:entry anc="friends"/></ocp:external-list>"#, "block")
            + &rule("<ocp:other-identity/>", "allow");
        let rules = rules(&text);
        assert_eq!(decide(&rules, &["sip:fred@example.com"], None, 0), Some(Handling::Block));
        assert_eq!(decide(&rules, &["sip:amy@example.com"], None, 0), Some(Handling::Allow));
        assert_eq!(decide(&rules, &[], None, 0), None);
    }

    #[test]
    fn what_is_no_document_of_rules() {
        for (name, text, error) in [
            ("another root", "<ruleset/>", XmlError::Missing("ruleset")),
            (
                "unknown handling",
                r#"<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><actions>
                    <sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">maybe</sub-handling></actions></rule></ruleset>"#,
                XmlError::Invalid("sub-handling"),
            ),
            (
                "until without from",
                r#"<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><conditions><validity>
                    <until>2026-01-01T00:00:00Z</until></validity></conditions></rule></ruleset>"#,
                XmlError::Invalid("validity"),
            ),
        ] {
            assert_eq!(Ruleset::parse(text.as_bytes(), &Limits::default()), Err(error), "{name}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2003-12-24T17:00:00+01:00", Some(1_072_281_600)),
            ("2024-02-29T12:00:00.5Z", Some(1_709_208_000)),
            ("2024-02-29 12:00:00Z", None),
            ("2024-13-29T12:00:00Z", None),
            ("é024-02-29T12:00:00Z", None),
        ] {
            assert_eq!(epoch(text), expected, "{text}");
        }
    }
}
