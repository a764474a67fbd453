//! `pres-rules` (RFC 5025 §9), and the usage of OMA for the same documents.

use super::common_policy::{self, RULESET};
use super::{Computed, Readers, Usage, no_constraints};
use crate::schema::{Content, Element, MANY, ONE, Particle, Value, required};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pres-rules";

/// The default namespace is that of the permissions, not that of the root (§9.3).
pub(super) static USAGE: Usage = Usage {
    auid: "pres-rules",
    media_type: "application/auth-policy+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE, common_policy::NAMESPACE],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[(NAMESPACE, PERMISSIONS), (common_policy::NAMESPACE, &[&RULESET])],
    root: Some(&RULESET),
    constraints: no_constraints,
    claims: None,
};

/// The OMA usage, whose document is called `pres-rules`.
pub(super) static OMA: Usage = Usage {
    auid: "org.openmobilealliance.pres-rules",
    media_type: "application/auth-policy+xml",
    namespace: common_policy::NAMESPACE,
    namespaces: &[],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[],
    root: Some(&RULESET),
    constraints: no_constraints,
    claims: None,
};

const fn text(name: &'static str, value: Value) -> Element {
    Element { name, namespace: NAMESPACE, attributes: &[], content: Content::Text(value) }
}

const fn boolean(name: &'static str) -> Element {
    text(name, Value::Boolean)
}

const fn empty(name: &'static str) -> Element {
    Element { name, namespace: NAMESPACE, attributes: &[], content: Content::Empty }
}

const fn choice(name: &'static str, parts: &'static [Particle]) -> Element {
    Element { name, namespace: NAMESPACE, attributes: &[], content: Content::Children(parts) }
}

static SUB_HANDLING: Element = text("sub-handling", Value::OneOf(&["block", "confirm", "polite-block", "allow"]));
static USER_INPUT: Element = text("provide-user-input", Value::OneOf(&["false", "bare", "thresholds", "full"]));
static SERVICE_URI: Element = text("service-uri", Value::Uri);
static SERVICE_URI_SCHEME: Element = text("service-uri-scheme", Value::Text);
static OCCURRENCE: Element = text("occurrence-id", Value::Text);
static CLASS: Element = text("class", Value::Text);
static DEVICE_ID: Element = text("deviceID", Value::Uri);
static ALL_SERVICES: Element = empty("all-services");
static ALL_DEVICES: Element = empty("all-devices");
static ALL_PERSONS: Element = empty("all-persons");

static SERVICES: Element = choice(
    "provide-services",
    &[Particle::Choice(
        &[
            Particle::One(&ALL_SERVICES, ONE),
            Particle::Choice(
                &[
                    Particle::One(&SERVICE_URI, ONE),
                    Particle::One(&SERVICE_URI_SCHEME, ONE),
                    Particle::One(&OCCURRENCE, ONE),
                    Particle::One(&CLASS, ONE),
                    Particle::Other(ONE),
                ],
                MANY,
            ),
        ],
        ONE,
    )],
);
static DEVICES: Element = choice(
    "provide-devices",
    &[Particle::Choice(
        &[
            Particle::One(&ALL_DEVICES, ONE),
            Particle::Choice(
                &[
                    Particle::One(&DEVICE_ID, ONE),
                    Particle::One(&OCCURRENCE, ONE),
                    Particle::One(&CLASS, ONE),
                    Particle::Other(ONE),
                ],
                MANY,
            ),
        ],
        ONE,
    )],
);
static PERSONS: Element = choice(
    "provide-persons",
    &[Particle::Choice(
        &[
            Particle::One(&ALL_PERSONS, ONE),
            Particle::Choice(
                &[Particle::One(&OCCURRENCE, ONE), Particle::One(&CLASS, ONE), Particle::Other(ONE)],
                MANY,
            ),
        ],
        ONE,
    )],
);

static UNKNOWN_ATTRIBUTE: Element = Element {
    name: "provide-unknown-attribute",
    namespace: NAMESPACE,
    attributes: &[required("name", Value::Text), required("ns", Value::Text)],
    content: Content::Text(Value::Boolean),
};

static PERMISSIONS: &[&Element] = &[
    &SUB_HANDLING,
    &SERVICES,
    &DEVICES,
    &PERSONS,
    &USER_INPUT,
    &UNKNOWN_ATTRIBUTE,
    &SERVICE_URI,
    &SERVICE_URI_SCHEME,
    &OCCURRENCE,
    &CLASS,
    &DEVICE_ID,
    &const { boolean("provide-activities") },
    &const { boolean("provide-class") },
    &const { boolean("provide-deviceID") },
    &const { boolean("provide-mood") },
    &const { boolean("provide-place-is") },
    &const { boolean("provide-place-type") },
    &const { boolean("provide-privacy") },
    &const { boolean("provide-relationship") },
    &const { boolean("provide-status-icon") },
    &const { boolean("provide-sphere") },
    &const { boolean("provide-time-offset") },
    &const { boolean("provide-note") },
    &const { empty("provide-all-attributes") },
];
