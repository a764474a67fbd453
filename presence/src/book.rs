//! What a user has written down about others: rules (RFC 5025), lists (RFC 4826) and the addresses under which lists can be
//! subscribed to, as they are in the user's XCAP documents.

use std::collections::HashMap;

use crate::list::Entry;
use crate::ns::Ns;
use crate::rules::{Facts, Permission, Ruleset, canonical};
use crate::xml::{self, Element, Limits, Node, XmlError};

/// Lists that point to lists that point to lists.
const MAX_STEPS: usize = 4;
/// Whose presence, messages and calls are not wanted, by the custom of RCS.
const BLOCKED: &str = "rcs_blockedcontacts";
/// From whom presence was taken back.
const REVOKED: &str = "rcs_revokedcontacts";

/// The documents of one user that presence keeps to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    rules: Option<Ruleset>,
    oma_rules: Option<Ruleset>,
    lists: HashMap<Box<str>, List>,
    services: Vec<Service>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct List {
    entries: Vec<Entry>,
    /// Names of lists of the same user whose entries belong to it.
    others: Vec<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    uri: Box<str>,
    list: List,
}

impl Book {
    /// Takes a document of a usage, or `None` where it is gone; whether it is one that counts here. A document that
    /// cannot be read counts as none: the store has checked it, so it cannot be.
    pub fn take(&mut self, auid: &str, name: &str, text: Option<&str>) -> bool {
        // The store bounds documents by size and nodes; here no more is needed than not to run away.
        let limits = Limits { bytes: 4 << 20, depth: 64, nodes: 200_000 };
        let parse = |text: &str| Ruleset::parse(text.as_bytes(), &limits).ok();
        match (auid, name) {
            ("pres-rules", "index") => self.rules = text.and_then(parse),
            ("org.openmobilealliance.pres-rules", "pres-rules" | "index") => self.oma_rules = text.and_then(parse),
            ("resource-lists", "index") => {
                self.lists = text.and_then(|text| lists(text, &limits).ok()).unwrap_or_default();
            }
            ("rls-services", "index") => {
                self.services = text.and_then(|text| services(text, &limits).ok()).unwrap_or_default();
            }
            _ => return false,
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        *self == Book::default()
    }

    pub fn has_rules(&self) -> bool {
        self.rules.is_some() || self.oma_rules.is_some()
    }

    /// What the rules of both documents grant; `None` where none is for this watcher.
    pub fn decide(&self, facts: &Facts<'_>) -> Option<Permission> {
        let of = |rules: &Option<Ruleset>| rules.as_ref().and_then(|rules| rules.decide(facts));
        match (of(&self.rules), of(&self.oma_rules)) {
            (Some(one), Some(other)) if one.handling >= other.handling => Some(one),
            (one, other) => other.or(one),
        }
    }

    pub fn has_spheres(&self) -> bool {
        [&self.rules, &self.oma_rules].into_iter().flatten().any(Ruleset::has_spheres)
    }

    pub fn next_change(&self, now: u64) -> Option<u64> {
        [&self.rules, &self.oma_rules].into_iter().flatten().filter_map(|rules| rules.next_change(now)).min()
    }

    /// Whether one of these names is in the list at an XCAP URI, which has to be the user's own.
    pub fn list_has(&self, uri: &str, names: &[String]) -> bool {
        list_name(uri).is_some_and(|list| self.has(&list, names))
    }

    /// Whether one of these names may see nothing at all, by the lists of RCS.
    pub fn blocks(&self, names: &[String]) -> bool {
        [BLOCKED, REVOKED].into_iter().any(|list| self.has(list, names))
    }

    /// Whether one of these names is a blocked contact, whose messages and calls are not wanted either.
    pub fn blocks_contact(&self, names: &[String]) -> bool {
        self.has(BLOCKED, names)
    }

    fn has(&self, list: &str, names: &[String]) -> bool {
        let mut found = false;
        self.walk(list, 0, &mut |entry| found |= names.contains(&canonical(&entry.uri)));
        found
    }

    fn walk(&self, list: &str, step: usize, each: &mut impl FnMut(&Entry)) {
        if let Some(list) = self.lists.get(list) {
            self.walk_list(list, step, each);
        }
    }

    fn walk_list(&self, list: &List, step: usize, each: &mut impl FnMut(&Entry)) {
        list.entries.iter().for_each(&mut *each);
        if step < MAX_STEPS {
            for other in &list.others {
                self.walk(other, step + 1, each);
            }
        }
    }

    /// The addresses under which lists can be subscribed to.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| &*service.uri)
    }

    /// The entries of the list at such an address, each once, and no more than `max`.
    pub fn service(&self, uri: &str, max: usize) -> Option<Vec<Entry>> {
        let service = self.services.iter().find(|service| *service.uri == *uri)?;
        let mut found: Vec<Entry> = Vec::new();
        self.walk_list(&service.list, 0, &mut |entry| {
            if found.len() < max && !found.iter().any(|known| known.uri == entry.uri) {
                found.push(entry.clone());
            }
        });
        Some(found)
    }
}

/// Every list of a document by its name, those in lists too.
fn lists(text: &str, limits: &Limits) -> Result<HashMap<Box<str>, List>, XmlError> {
    let root = xml::parse(text.as_bytes(), limits)?;
    let mut found = HashMap::new();
    root.elements().filter(|e| e.is(Ns::RESOURCE_LISTS, "list")).for_each(|list| named(list, &mut found));
    Ok(found)
}

fn named(element: &Element, found: &mut HashMap<Box<str>, List>) {
    if let Some(name) = element.attribute("name") {
        found.entry(name.into()).or_insert_with(|| list_of(element));
    }
    element.elements().filter(|e| e.is(Ns::RESOURCE_LISTS, "list")).for_each(|list| named(list, found));
}

/// What is in a list and in the lists in it.
fn list_of(element: &Element) -> List {
    let mut list = List::default();
    let mut todo = vec![element];
    while let Some(element) = todo.pop() {
        for child in element.elements().filter(|e| e.ns == Ns::RESOURCE_LISTS) {
            match &*child.name {
                "entry" => list.entries.extend(child.attribute("uri").map(|uri| {
                    Entry {
                        uri: uri.into(),
                        display_name: child
                            .child(Ns::RESOURCE_LISTS, "display-name")
                            .map(|name| name.text().into())
                            .unwrap_or_default(),
                    }
                })),
                "external" => list.others.extend(child.attribute("anchor").and_then(list_name)),
                "list" => todo.push(child),
                _ => {}
            }
        }
    }
    list
}

fn services(text: &str, limits: &Limits) -> Result<Vec<Service>, XmlError> {
    let mut root = xml::parse(text.as_bytes(), limits)?;
    let mut found = Vec::new();
    for service in root.elements_mut().filter(|e| e.is(Ns::RLS_SERVICES, "service")) {
        let packages = service.child(Ns::RLS_SERVICES, "packages");
        let wanted = packages.is_none_or(|p| p.elements().any(|package| package.text() == "presence"));
        let Some(uri) = service.attribute("uri").map(Into::into).filter(|_| wanted) else { continue };
        let mut list = List::default();
        if let Some(reference) = service.child(Ns::RLS_SERVICES, "resource-list") {
            list.others.extend(list_name(&reference.text()));
        }
        // The list of a service is in the namespace of the services, its entries in that of lists.
        for node in &mut service.nodes {
            if let Node::Element(inline) = node
                && inline.is(Ns::RLS_SERVICES, "list")
            {
                list = list_of(inline);
            }
        }
        found.push(Service { uri, list });
    }
    Ok(found)
}

/// The name of the innermost list that an XCAP URI selects: `…/~~/resource-lists/list[@name="NAME"]`.
fn list_name(uri: &str) -> Option<Box<str>> {
    let (document, selector) = uri.split_once("/~~/")?;
    if !document.contains("resource-lists/") {
        return None;
    }
    let selector = decoded(selector);
    let start = selector.rfind("list[@name=")? + "list[@name=".len();
    let rest = selector.get(start..)?;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    (!name.is_empty()).then(|| name.into())
}

/// Resolves `%XX`.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| (*byte? as char).to_digit(16);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (Some(high), Some(low)) if *byte == b'%' => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Asker, Handling};

    const LISTS: &str = r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
        <list name="oma_grantedcontacts"><external anchor="https://x/resource-lists/users/sip%3Abob%40h/index/~~/resource-lists/list%5B@name=%22rcs%22%5D"/></list>
        <list name="rcs"><entry uri="tel:+15550001"><display-name>Amy</display-name></entry><list name="inner"><entry uri="sip:ann@h"/></list></list>
        <list name="rcs_blockedcontacts"><entry uri="sip:evil@h"/></list></resource-lists>"#;
    const SERVICES: &str = r#"<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
        <service uri="sip:buddies@h"><resource-list>https://x/resource-lists/users/sip:bob@h/index/~~/resource-lists/list[@name="rcs"]</resource-list>
          <packages><package>presence</package></packages></service>
        <service uri="sip:inline@h"><list><rl:entry uri="sip:joe@h"/></list></service>
        <service uri="sip:dialogs@h"><list><rl:entry uri="sip:joe@h"/></list><packages><package>dialog</package></packages></service></rls-services>"#;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| canonical(name)).collect()
    }

    #[test]
    fn lists_are_found_by_their_uris() {
        let mut book = Book::default();
        assert!(book.is_empty() && book.take("resource-lists", "index", Some(LISTS)) && !book.is_empty());
        let uri = |name: &str| {
            format!("https://x/resource-lists/users/sip:bob@h/index/~~/resource-lists/list%5b@name=%22{name}%22%5d")
        };
        for (name, list, who, has) in [
            ("by number", "rcs", "tel:+1-555-0001", true),
            ("in a list in it", "rcs", "sip:ann@h", true),
            ("the inner list", "inner", "sip:ann@h", true),
            ("through another list", "oma_grantedcontacts", "sip:ann@h", true),
            ("not in it", "rcs", "sip:evil@h", false),
            ("no such list", "friends", "sip:ann@h", false),
        ] {
            assert_eq!(book.list_has(&uri(list), &names(&[who])), has, "{name}");
        }
        assert!(book.blocks(&names(&["sip:evil@h"])) && !book.blocks(&names(&["sip:ann@h"])));
        assert!(book.blocks_contact(&names(&["sip:evil@h"])) && !book.blocks_contact(&names(&["sip:ann@h"])));
        for no_list in
            ["", "https://x/resource-lists/users/a/index", "https://x/pres-rules/users/a/index/~~/list[@name=\"rcs\"]"]
        {
            assert!(!book.list_has(no_list, &names(&["sip:ann@h"])), "{no_list}");
        }
        assert!(book.take("resource-lists", "index", None) && book.is_empty());
        assert!(!book.take("resource-lists", "other", Some(LISTS)));
    }

    #[test]
    fn a_list_that_points_to_itself_ends() {
        let text = LISTS.replace("%22rcs%22", "%22oma_grantedcontacts%22");
        let mut book = Book::default();
        book.take("resource-lists", "index", Some(&text));
        let uri = "https://x/resource-lists/users/b/index/~~/resource-lists/list[@name=\"oma_grantedcontacts\"]";
        assert!(!book.list_has(uri, &names(&["sip:ann@h"])));
    }

    #[test]
    fn services_for_presence_have_their_lists() {
        let mut book = Book::default();
        book.take("resource-lists", "index", Some(LISTS));
        book.take("rls-services", "index", Some(SERVICES));
        assert_eq!(book.services().collect::<Vec<_>>(), ["sip:buddies@h", "sip:inline@h"]);
        let of = |uri: &str, max| -> Option<Vec<String>> {
            let entries = book.service(uri, max)?;
            Some(entries.into_iter().map(|e| format!("{} {}", e.uri, e.display_name)).collect())
        };
        assert_eq!(of("sip:buddies@h", 9), Some(vec!["tel:+15550001 Amy".to_owned(), "sip:ann@h ".to_owned()]));
        assert_eq!(of("sip:buddies@h", 1).map(|e| e.len()), Some(1));
        assert_eq!(of("sip:inline@h", 9), Some(vec!["sip:joe@h ".to_owned()]));
        assert_eq!(of("sip:dialogs@h", 9), None);
    }

    #[test]
    fn the_more_generous_of_two_documents_counts() {
        let rules = |handling: &str| {
            format!(
                r#"<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><actions>
                <sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">{handling}</sub-handling></actions></rule></ruleset>"#
            )
        };
        let decide = |book: &Book| {
            let names = names(&["sip:a@h"]);
            let asker = Asker { names: &names, anonymous: false };
            book.decide(&Facts { asker, sphere: None, now: 0, list_has: &|_| false }).map(|p| p.handling)
        };
        let mut book = Book::default();
        assert_eq!(decide(&book), None);
        book.take("pres-rules", "index", Some(&rules("confirm")));
        assert_eq!(decide(&book), Some(Handling::Confirm));
        book.take("org.openmobilealliance.pres-rules", "pres-rules", Some(&rules("allow")));
        assert_eq!(decide(&book), Some(Handling::Allow));
        book.take("pres-rules", "index", Some("<broken"));
        assert_eq!(decide(&book), Some(Handling::Allow));
        assert!(book.has_rules());
    }
}
