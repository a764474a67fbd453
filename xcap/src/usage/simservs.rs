//! `simservs.ngn.etsi.org`: settings of supplementary services. Checked is whether each service is on or off.

use roxmltree::{Document, Node};

use super::{Computed, Place, Readers, Usage};
use crate::conflict::Conflict;
use crate::schema::{Content, Element, place};

const NAMESPACE: &str = "http://uri.etsi.org/ngn/params/xml/simservs/xcap";

pub(super) static USAGE: Usage = Usage {
    auid: "simservs.ngn.etsi.org",
    media_type: "application/vnd.etsi.simservs+xml",
    namespace: NAMESPACE,
    namespaces: &[],
    computed: Computed::Nothing,
    readers: Readers::Owner,
    globals: &[],
    root: Some(&ROOT),
    constraints,
    claims: None,
};

static ROOT: Element = Element { name: "simservs", namespace: NAMESPACE, attributes: &[], content: Content::Anything };

fn constraints(document: &Document<'_>, _: &Place<'_>) -> Result<(), Conflict> {
    for service in document.root_element().children().filter(Node::is_element) {
        if let Some(active) = service.attribute("active")
            && !matches!(active.trim(), "true" | "false" | "1" | "0")
        {
            let phrase = format!("{}: active must be true or false", place(service));
            return Err(Conflict::SchemaValidation { phrase });
        }
    }
    Ok(())
}
