//! `xcap-caps` (RFC 4825 §12): what runs here.

use super::{Computed, Readers, Usage, all, no_constraints};
use crate::encode::xml_escape;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:xcap-caps";

pub(super) static USAGE: Usage = Usage {
    auid: "xcap-caps",
    media_type: "application/xcap-caps+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE],
    computed: Computed::Everything,
    readers: Readers::Owner,
    globals: &[],
    root: None,
    constraints: no_constraints,
    claims: None,
};

/// The document `xcap-caps/global/index`.
pub fn capabilities() -> String {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xcap-caps xmlns=\"{NAMESPACE}\">\n  <auids>\n");
    for usage in all() {
        out.push_str(&format!("    <auid>{}</auid>\n", xml_escape(usage.auid)));
    }
    out.push_str("  </auids>\n  <extensions/>\n  <namespaces>\n");
    for namespace in all().iter().flat_map(|usage| usage.namespaces) {
        out.push_str(&format!("    <namespace>{}</namespace>\n", xml_escape(namespace)));
    }
    out.push_str("  </namespaces>\n</xcap-caps>\n");
    out
}
