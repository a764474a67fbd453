//! `resource-lists` (RFC 4826 §3): lists of people.

use roxmltree::{Document, Node};

use super::{Computed, Place, Readers, Usage, unique_among_siblings};
use crate::conflict::Conflict;
use crate::encode::percent_decode;
use crate::schema::{Content, Element, MANY, ONE, OPTIONAL, Particle, Value, optional, place, required};

pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:resource-lists";

pub(super) static USAGE: Usage = Usage {
    auid: "resource-lists",
    media_type: "application/resource-lists+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[(NAMESPACE, &[&ROOT])],
    root: Some(&ROOT),
    constraints,
    claims: None,
};

static ROOT: Element = Element {
    name: "resource-lists",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&LIST, MANY)]),
};

pub(super) static LIST: Element = Element {
    name: "list",
    namespace: NAMESPACE,
    attributes: &[optional("name", Value::Text)],
    content: Content::Children(&LIST_PARTS),
};

/// `listType`, which an element of another namespace may have as well.
pub(super) static LIST_PARTS: [Particle; 3] = [
    Particle::One(&DISPLAY_NAME, OPTIONAL),
    Particle::Choice(
        &[
            Particle::One(&LIST, ONE),
            Particle::One(&EXTERNAL, ONE),
            Particle::One(&ENTRY, ONE),
            Particle::One(&ENTRY_REF, ONE),
        ],
        MANY,
    ),
    Particle::Other(MANY),
];

const NAMED: Content = Content::Children(&[Particle::One(&DISPLAY_NAME, OPTIONAL), Particle::Other(MANY)]);

static DISPLAY_NAME: Element =
    Element { name: "display-name", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Text) };
static ENTRY: Element =
    Element { name: "entry", namespace: NAMESPACE, attributes: &[required("uri", Value::Uri)], content: NAMED };
static ENTRY_REF: Element =
    Element { name: "entry-ref", namespace: NAMESPACE, attributes: &[required("ref", Value::Uri)], content: NAMED };
static EXTERNAL: Element =
    Element { name: "external", namespace: NAMESPACE, attributes: &[optional("anchor", Value::Uri)], content: NAMED };

fn constraints(document: &Document<'_>, _: &Place<'_>) -> Result<(), Conflict> {
    lists(document.root_element(), NAMESPACE)
}

/// The constraints on lists below `top` (§3.4.5), in a document whose default namespace is `default`.
pub(super) fn lists(top: Node<'_, '_>, default: &str) -> Result<(), Conflict> {
    let keys = [("list", "name"), ("entry", "uri"), ("entry-ref", "ref"), ("external", "anchor")];
    unique_among_siblings(top, &keys, NAMESPACE, default)?;
    for node in top.descendants().filter(Node::is_element) {
        let refused = |why: &str| Err(Conflict::ConstraintFailure { phrase: format!("{}: {why}", place(node)) });
        if node.has_tag_name((NAMESPACE, "entry-ref")) {
            let reference = node.attribute("ref").unwrap_or_default().trim();
            if reference.starts_with('/') || has_scheme(reference) || percent_decode(reference).is_err() {
                return refused("ref must be a path relative to the XCAP root");
            }
        }
        if let Some(anchor) = node.attribute("anchor").filter(|_| node.has_tag_name((NAMESPACE, "external"))) {
            let scheme = anchor.trim().split_once("://").map(|(scheme, _)| scheme);
            if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
            {
                return refused("anchor must be an absolute HTTP URI");
            }
        }
    }
    Ok(())
}

fn has_scheme(uri: &str) -> bool {
    // A colon in the first segment makes it a scheme (RFC 3986 §4.2).
    uri.split('/').next().is_some_and(|segment| segment.contains(':'))
}
