//! Rules of common policy (RFC 4745 §13), which presence authorization is made of.

use crate::schema::{Content, Element, MANY, ONE, OPTIONAL, Particle, SOME, Value, optional, required};

pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:common-policy";

pub(super) static RULESET: Element = Element {
    name: "ruleset",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&RULE, MANY)]),
};

static RULE: Element = Element {
    name: "rule",
    namespace: NAMESPACE,
    attributes: &[required("id", Value::Id)],
    content: Content::Children(&[
        Particle::One(&CONDITIONS, OPTIONAL),
        Particle::One(&ACTIONS, OPTIONAL),
        Particle::One(&TRANSFORMATIONS, OPTIONAL),
    ]),
};

static CONDITIONS: Element = Element {
    name: "conditions",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Choice(
        &[
            Particle::One(&IDENTITY, ONE),
            Particle::One(&SPHERE, ONE),
            Particle::One(&VALIDITY, ONE),
            Particle::Other(ONE),
        ],
        MANY,
    )]),
};

static IDENTITY: Element = Element {
    name: "identity",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Choice(
        &[Particle::One(&ONE_PERSON, ONE), Particle::One(&MANY_PEOPLE, ONE), Particle::Other(ONE)],
        SOME,
    )]),
};

static ONE_PERSON: Element = Element {
    name: "one",
    namespace: NAMESPACE,
    attributes: &[required("id", Value::Uri)],
    content: Content::Children(&[Particle::Other(OPTIONAL)]),
};

static MANY_PEOPLE: Element = Element {
    name: "many",
    namespace: NAMESPACE,
    attributes: &[optional("domain", Value::Text)],
    content: Content::Children(&[Particle::Choice(&[Particle::One(&EXCEPT, ONE), Particle::Other(ONE)], MANY)]),
};

static EXCEPT: Element = Element {
    name: "except",
    namespace: NAMESPACE,
    attributes: &[optional("domain", Value::Text), optional("id", Value::Uri)],
    content: Content::Empty,
};

static SPHERE: Element = Element {
    name: "sphere",
    namespace: NAMESPACE,
    attributes: &[required("value", Value::Text)],
    content: Content::Empty,
};

static VALIDITY: Element = Element {
    name: "validity",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Group(&[Particle::One(&FROM, ONE), Particle::One(&UNTIL, ONE)], SOME)]),
};

static FROM: Element =
    Element { name: "from", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::DateTime) };
static UNTIL: Element =
    Element { name: "until", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::DateTime) };

static ACTIONS: Element = Element {
    name: "actions",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Other(MANY)]),
};
static TRANSFORMATIONS: Element = Element {
    name: "transformations",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::Other(MANY)]),
};
