//! `org.openmobilealliance.pres-content`: the picture that goes with somebody's presence.

use roxmltree::Document;

use super::{Computed, Place, Readers, Usage};
use crate::conflict::Conflict;
use crate::schema::{Content, Element, MANY, ONE, Particle, Value};

const NAMESPACE: &str = "urn:oma:xml:prs:pres-content";

pub(super) static USAGE: Usage = Usage {
    auid: "org.openmobilealliance.pres-content",
    media_type: "application/vnd.oma.pres-content+xml",
    namespace: NAMESPACE,
    namespaces: &[],
    computed: Computed::Nothing,
    readers: Readers::Granted,
    globals: &[],
    root: Some(&CONTENT),
    constraints,
    claims: None,
};

static CONTENT: Element = Element {
    name: "content",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Children(&[
        Particle::Choice(
            &[
                Particle::One(&MIME_TYPE, ONE),
                Particle::One(&ENCODING, ONE),
                Particle::One(&DESCRIPTION, ONE),
                Particle::One(&DATA, ONE),
            ],
            MANY,
        ),
        Particle::Other(MANY),
    ]),
};

static MIME_TYPE: Element =
    Element { name: "mime-type", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Text) };
static ENCODING: Element = Element {
    name: "encoding",
    namespace: NAMESPACE,
    attributes: &[],
    content: Content::Text(Value::OneOf(&["base64"])),
};
static DESCRIPTION: Element =
    Element { name: "description", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Text) };
static DATA: Element =
    Element { name: "data", namespace: NAMESPACE, attributes: &[], content: Content::Text(Value::Base64) };

/// A picture in a form that phones show, and all of it.
fn constraints(document: &Document<'_>, _: &Place<'_>) -> Result<(), Conflict> {
    let text = |name: &str| {
        let found = document.root_element().children().find(|child| child.has_tag_name((NAMESPACE, name)));
        found.and_then(|found| found.text()).unwrap_or_default().trim().to_ascii_lowercase()
    };
    let refused = |phrase: &str| Err(Conflict::ConstraintFailure { phrase: phrase.into() });
    if !matches!(&*text("mime-type"), "image/jpeg" | "image/jpg" | "image/gif" | "image/png") {
        return refused("mime-type must be image/jpeg, image/gif or image/png");
    }
    if text("data").is_empty() {
        return refused("data is missing");
    }
    Ok(())
}
