//! `rls-services` (RFC 4826 §4): addresses that stand for lists.

use roxmltree::{Document, Node};

use super::resource_lists::{self, LIST_PARTS};
use super::{Claim, Computed, Place, Readers, Usage, field};
use crate::conflict::{Conflict, Exists};
use crate::encode::xml_escape;
use crate::schema::{Content, Element, MANY, ONE, OPTIONAL, Particle, Value, optional, place, required};
use crate::select::standing_alone;
use crate::target::{Target, Tree};
use crate::xui::same_user;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:rls-services";

pub(super) static USAGE: Usage = Usage {
    auid: "rls-services",
    media_type: "application/rls-services+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE],
    computed: Computed::Global,
    readers: Readers::Owner,
    globals: &[(NAMESPACE, &[&ROOT])],
    root: Some(&ROOT),
    constraints,
    claims: Some(claims),
};

static ROOT: Element = Element {
    name: "rls-services",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&SERVICE, MANY)]),
};

static SERVICE: Element = Element {
    name: "service",
    namespace: NAMESPACE,
    attributes: &[required("uri", Value::Uri)],
    content: Content::Children(&[
        Particle::Choice(&[Particle::One(&RESOURCE_LIST, ONE), Particle::One(&LIST, ONE)], ONE),
        Particle::One(&PACKAGES, OPTIONAL),
        Particle::Other(MANY),
    ]),
};

static RESOURCE_LIST: Element =
    Element { name: "resource-list", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Uri) };

/// Itself of this namespace; what is in it is of that of resource lists.
static LIST: Element = Element {
    name: "list",
    namespace: NAMESPACE,
    attributes: &[optional("name", Value::Text)],
    content: Content::Children(&LIST_PARTS),
};

static PACKAGES: Element = Element {
    name: "packages",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Group(&[Particle::One(&PACKAGE, ONE), Particle::Other(MANY)], MANY)]),
};

static PACKAGE: Element =
    Element { name: "package", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Text) };

fn services<'a, 'input>(document: &'a Document<'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    document.root_element().children().filter(|child| child.has_tag_name((NAMESPACE, "service")))
}

fn constraints(document: &Document<'_>, at: &Place<'_>) -> Result<(), Conflict> {
    let mut seen = std::collections::HashSet::new();
    for service in services(document) {
        if !seen.insert(service.attribute("uri").unwrap_or_default()) {
            let exists = vec![Exists { field: field(service, "uri", NAMESPACE), alternatives: Vec::new() }];
            return Err(Conflict::UniquenessFailure { phrase: "two services have the same URI".into(), exists });
        }
    }
    for service in services(document) {
        for child in service.children() {
            if child.has_tag_name((NAMESPACE, "resource-list")) {
                resource_list(child, at).map_err(|why| {
                    let phrase = format!("{}: {why}", place(child));
                    Conflict::ConstraintFailure { phrase }
                })?;
            } else if child.has_tag_name((NAMESPACE, "list")) {
                resource_lists::lists(child, NAMESPACE)?;
            }
        }
    }
    Ok(())
}

/// The URI is looked at, not followed (§4.4.5).
fn resource_list(node: Node<'_, '_>, at: &Place<'_>) -> Result<(), &'static str> {
    // Documents fold long URIs.
    let uri: String = node.text().unwrap_or_default().split_whitespace().collect();
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let Some("http" | "https") = scheme.as_deref() else { return Err("not an absolute HTTP URI") };
    let rest = &uri[uri.find("://").map_or(0, |at| at + 3)..];
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.split('?').next().unwrap_or_default();
    let root = at.root.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    // The host may have several names, and a root behind a proxy another path: the usage is found from behind.
    let below = path.strip_prefix(root).map(|below| below.trim_start_matches('/')).filter(|_| !root.is_empty());
    let found = below
        .and_then(|below| Target::parse(below, "").ok())
        .or_else(|| path.match_indices("resource-lists/").find_map(|(at, _)| Target::parse(&path[at..], "").ok()))
        .filter(|target| &*target.document.auid == "resource-lists")
        .ok_or("not the URI of a document of resource-lists")?;
    if let (Tree::Users(own), Tree::Users(other)) = (&at.document.tree, &found.document.tree) {
        if same_user(own, other) { Ok(()) } else { Err("the list of another user") }
    } else if at.document.tree == Tree::Global {
        Ok(())
    } else {
        Err("not in the home directory of the user")
    }
}

fn claims(document: &Document<'_>) -> Vec<Claim> {
    let claim = |service: Node<'_, '_>| {
        let value = service.attribute("uri")?.trim();
        Some(Claim { value: value.into(), field: field(service, "uri", NAMESPACE) })
    };
    services(document).filter_map(claim).collect()
}

/// The union of all documents `index` of users, as the global index (§4.4.8). Documents that cannot be read are left out.
pub fn global<'a>(documents: impl Iterator<Item = &'a str>) -> String {
    let mut out =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rls-services xmlns=\"{}\">", xml_escape(NAMESPACE));
    for text in documents {
        let Ok(document) = roxmltree::Document::parse(text) else { continue };
        for service in services(&document) {
            out.push('\n');
            out.push_str(&standing_alone(text, service));
        }
    }
    out.push_str("\n</rls-services>\n");
    out
}
