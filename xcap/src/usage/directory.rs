//! `org.openmobilealliance.xcap-directory`: which documents a user has.

use super::{Computed, Readers, Usage, no_constraints};
use crate::encode::xml_escape;
use crate::target::DocumentSelector;

const NAMESPACE: &str = "urn:oma:xml:xdm:xcap-directory";

pub(super) static USAGE: Usage = Usage {
    auid: "org.openmobilealliance.xcap-directory",
    media_type: "application/vnd.oma.xcap-directory+xml",
    namespace: NAMESPACE,
    namespaces: &[NAMESPACE],
    computed: Computed::Everything,
    readers: Readers::Owner,
    globals: &[],
    root: None,
    constraints: no_constraints,
    claims: None,
};

/// A document of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub document: DocumentSelector,
    pub etag: Box<str>,
    /// `dateTime` of XML Schema.
    pub modified: String,
    pub size: usize,
}

/// The document `directory.xml` of a user; `entries` of one usage stand beside each other.
pub fn directory(root: &str, entries: &[DirectoryEntry]) -> String {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xcap-directory xmlns=\"{NAMESPACE}\">\n");
    for folder in entries.chunk_by(|a, b| a.document.auid == b.document.auid) {
        out.push_str(&format!("  <folder auid=\"{}\">\n", xml_escape(&folder[0].document.auid)));
        for entry in folder {
            out.push_str(&format!(
                "    <entry uri=\"{}\" etag=\"{}\" last-modified=\"{}\" size=\"{}\"/>\n",
                xml_escape(&format!("{root}/{}", entry.document)),
                xml_escape(&entry.etag),
                xml_escape(&entry.modified),
                entry.size
            ));
        }
        out.push_str("  </folder>\n");
    }
    out.push_str("</xcap-directory>\n");
    out
}
