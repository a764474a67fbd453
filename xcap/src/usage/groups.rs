//! `org.openmobilealliance.groups`: groups that are arranged beforehand. Checked are addresses and members.

use roxmltree::{Document, Node};

use super::{Claim, Computed, Place, Readers, Usage, field, unique_among_siblings};
use crate::conflict::Conflict;
use crate::schema::{Content, Element, MANY, Particle, Value, required};

const NAMESPACE: &str = "urn:oma:xml:poc:list-service";

pub(super) static USAGE: Usage = Usage {
    auid: "org.openmobilealliance.groups",
    media_type: "application/vnd.oma.poc.groups+xml",
    namespace: NAMESPACE,
    namespaces: &[],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[],
    root: Some(&GROUP),
    constraints,
    claims: Some(claims),
};

static GROUP: Element = Element {
    name: "group",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&SERVICE, MANY), Particle::Other(MANY)]),
};

static SERVICE: Element = Element {
    name: "list-service",
    namespace: NAMESPACE,
    attributes: &[required("uri", Value::Uri)],
    content: Content::Anything,
};

fn services<'a, 'input>(document: &'a Document<'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    document.root_element().children().filter(|child| child.has_tag_name((NAMESPACE, "list-service")))
}

fn constraints(document: &Document<'_>, _: &Place<'_>) -> Result<(), Conflict> {
    let keys = [("list-service", "uri"), ("entry", "uri")];
    unique_among_siblings(document.root_element(), &keys, NAMESPACE, NAMESPACE)
}

fn claims(document: &Document<'_>) -> Vec<Claim> {
    let claim = |service: Node<'_, '_>| {
        let value = service.attribute("uri")?.trim();
        Some(Claim { value: value.into(), field: field(service, "uri", NAMESPACE) })
    };
    services(document).filter_map(claim).collect()
}
