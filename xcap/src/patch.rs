//! Patch operations of XML (RFC 5261), as documents of changes carry them (RFC 5874).

use roxmltree::Node;

use crate::encode::xml_escape;

/// One change to a document. Paths are made of positions among elements, so that they need no prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    Add { place: Place, scope: String, what: String },
    Replace { path: String, scope: String, with: String },
    Remove { path: String },
    AddAttribute { path: String, scope: String, name: String, value: String },
    ReplaceAttribute { path: String, value: String },
}

/// Where something is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// As the last child of the element.
    Last(String),
    After(String),
    Before(String),
}

impl Patch {
    /// The operation, its element with the prefix `d`. `scope` of a variant declares the namespaces of what is added.
    pub fn to_xml(&self) -> String {
        match self {
            Patch::Add { place, scope, what } => {
                let (path, pos) = match place {
                    Place::Last(path) => (path, ""),
                    Place::After(path) => (path, " pos=\"after\""),
                    Place::Before(path) => (path, " pos=\"before\""),
                };
                format!("<d:add sel=\"{}\"{pos}{scope}>{what}</d:add>", xml_escape(path))
            }
            Patch::Replace { path, scope, with } => {
                format!("<d:replace sel=\"{}\"{scope}>{with}</d:replace>", xml_escape(path))
            }
            Patch::Remove { path } => format!("<d:remove sel=\"{}\"/>", xml_escape(path)),
            Patch::AddAttribute { path, scope, name, value } => format!(
                "<d:add sel=\"{}\" type=\"@{}\"{scope}>{}</d:add>",
                xml_escape(path),
                xml_escape(name),
                xml_escape(value)
            ),
            Patch::ReplaceAttribute { path, value } => {
                format!("<d:replace sel=\"{}\">{}</d:replace>", xml_escape(path), xml_escape(value))
            }
        }
    }
}

/// The way from the root to an element: `*/*[2]/*[1]`.
pub(crate) fn path(element: Node<'_, '_>) -> String {
    let mut steps = Vec::new();
    let mut node = Some(element);
    while let Some(here) = node.filter(Node::is_element) {
        let before = here.prev_siblings().skip(1).filter(Node::is_element).count();
        steps.push(match here.parent() {
            Some(parent) if parent.is_root() => "*".to_owned(),
            _ => format!("*[{}]", before + 1),
        });
        node = here.parent();
    }
    steps.reverse();
    steps.join("/")
}
