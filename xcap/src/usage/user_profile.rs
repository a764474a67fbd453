//! `org.openmobilealliance.user-profile`: what a user tells of themselves. What is in a profile is not checked.

use super::{Computed, Readers, Usage, no_constraints};
use crate::schema::{Content, Element, MANY, Particle, Value, optional};

const NAMESPACE: &str = "urn:oma:xml:xdm:user-profile";

pub(super) static USAGE: Usage = Usage {
    auid: "org.openmobilealliance.user-profile",
    media_type: "application/vnd.oma.user-profile+xml",
    namespace: NAMESPACE,
    namespaces: &[],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[],
    root: Some(&ROOT),
    constraints: no_constraints,
    claims: None,
};

static ROOT: Element = Element {
    name: "user-profiles",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[Particle::One(&PROFILE, MANY), Particle::Other(MANY)]),
};

static PROFILE: Element = Element {
    name: "user-profile",
    namespace: NAMESPACE,
    attributes: &[optional("uri", Value::Uri)],
    content: Content::Anything,
};
