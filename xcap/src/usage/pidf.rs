//! `pidf-manipulation` (RFC 4827): presence that stays, in the form of RFC 3863.

use super::{Computed, Readers, Usage, no_constraints};
use crate::schema::{Content, Element, MANY, ONE, OPTIONAL, Particle, Value, optional, required};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf";

pub(super) static USAGE: Usage = Usage {
    auid: "pidf-manipulation",
    media_type: "application/pidf+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[(NAMESPACE, &[&PRESENCE])],
    root: Some(&PRESENCE),
    constraints: no_constraints,
    claims: None,
};

static PRESENCE: Element = Element {
    name: "presence",
    namespace: NAMESPACE,
    attributes: &[required("entity", Value::Uri)],
    content: Content::Children(&[Particle::One(&TUPLE, MANY), Particle::One(&NOTE, MANY), Particle::Other(MANY)]),
};

static TUPLE: Element = Element {
    name: "tuple",
    namespace: NAMESPACE,
    attributes: &[required("id", Value::Id)],
    content: Content::Children(&[
        Particle::One(&STATUS, ONE),
        Particle::Other(MANY),
        Particle::One(&CONTACT, OPTIONAL),
        Particle::One(&NOTE, MANY),
        Particle::One(&TIMESTAMP, OPTIONAL),
    ]),
};

static STATUS: Element = Element {
    name: "status",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&BASIC, OPTIONAL), Particle::Other(MANY)]),
};

static BASIC: Element = Element {
    name: "basic",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Text(Value::OneOf(&["open", "closed"])),
};
static CONTACT: Element = Element {
    name: "contact",
    namespace: NAMESPACE,
    attributes: &[optional("priority", Value::Decimal)],
    content: Content::Text(Value::Uri),
};
static NOTE: Element =
    Element { name: "note", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Text) };
static TIMESTAMP: Element =
    Element { name: "timestamp", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::DateTime) };
