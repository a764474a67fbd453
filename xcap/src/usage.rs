//! Application usages (RFC 4825 §5): one file each, and what they have in common.

mod caps;
mod common_policy;
mod directory;
mod groups;
mod pidf;
mod pres_content;
mod pres_rules;
pub mod rcs;
mod resource_lists;
mod rls_services;
mod simservs;
mod user_profile;

use roxmltree::{Document, Node};

use crate::conflict::{Conflict, Exists};
use crate::encode::percent_encode;
use crate::schema::{self, Element};
use crate::target::{DocumentSelector, Tree};

pub use caps::capabilities;
pub use directory::{DirectoryEntry, directory};
pub use rls_services::global as global_services;

/// What an application usage lays down.
pub struct Usage {
    pub auid: &'static str,
    pub media_type: &'static str,
    /// The default document namespace.
    pub namespace: &'static str,
    /// Namespaces whose elements are checked, for the capabilities.
    pub namespaces: &'static [&'static str],
    /// Names of the documents that the server computes, and nobody writes.
    pub computed: Computed,
    /// Who may read the documents of a user.
    pub readers: Readers,
    /// Elements that may stand where another schema lets in other namespaces, by namespace.
    globals: &'static [(&'static str, &'static [&'static Element])],
    root: Option<&'static Element>,
    constraints: fn(&Document<'_>, &Place<'_>) -> Result<(), Conflict>,
    claims: Option<fn(&Document<'_>) -> Vec<Claim>>,
}

/// Which documents of a usage the server makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computed {
    Nothing,
    /// What is in the global tree.
    Global,
    /// All.
    Everything,
}

/// Who may read the documents of a user beside the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody (§5.7).
    Owner,
    /// Those that the user has granted presence.
    Granted,
}

/// Where a document lies.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Absolute, without a slash at the end.
    pub root: &'a str,
    pub document: &'a DocumentSelector,
}

/// A value that no other document of the server may have (RFC 4826 §4.4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub value: Box<str>,
    /// The node that has it, as in [`Exists::field`].
    pub field: String,
}

const ALL: &[&Usage] = &[
    &caps::USAGE,
    &resource_lists::USAGE,
    &rls_services::USAGE,
    &pres_rules::USAGE,
    &pres_rules::OMA,
    &pidf::USAGE,
    &directory::USAGE,
    &pres_content::USAGE,
    &user_profile::USAGE,
    &groups::USAGE,
    &simservs::USAGE,
];

/// All usages, in the order of the capabilities.
pub fn all() -> &'static [&'static Usage] {
    ALL
}

pub fn by_auid(auid: &str) -> Option<&'static Usage> {
    ALL.iter().find(|usage| usage.auid == auid).copied()
}

/// The elements of a namespace that we know whole.
pub(crate) fn globals(namespace: &str) -> Option<&'static [&'static Element]> {
    ALL.iter().flat_map(|usage| usage.globals).find(|(known, _)| *known == namespace).map(|(_, elements)| *elements)
}

impl Usage {
    /// Checks a whole document: first the schema, then what is unique, then the rest (RFC 4825 §8.2.5).
    pub fn check(&self, document: &Document<'_>, place: &Place<'_>) -> Result<(), Conflict> {
        if let Some(root) = self.root {
            schema::check(document, root).map_err(|phrase| Conflict::SchemaValidation { phrase })?;
        }
        (self.constraints)(document, place)
    }

    /// What a document claims for itself on the whole server.
    pub fn claims(&self, document: &Document<'_>) -> Vec<Claim> {
        self.claims.map(|claims| claims(document)).unwrap_or_default()
    }

    /// Whether documents of this usage claim anything.
    pub fn has_claims(&self) -> bool {
        self.claims.is_some()
    }

    /// Whether the server makes the document itself.
    pub fn computes(&self, document: &DocumentSelector) -> bool {
        match self.computed {
            Computed::Nothing => false,
            Computed::Global => document.tree == Tree::Global,
            Computed::Everything => true,
        }
    }
}

fn no_constraints(_: &Document<'_>, _: &Place<'_>) -> Result<(), Conflict> {
    Ok(())
}

/// Refuses an attribute value that two of the children of one name have, in all elements below `top`.
fn unique_among_siblings(
    top: Node<'_, '_>,
    keys: &[(&str, &str)],
    namespace: &str,
    default: &str,
) -> Result<(), Conflict> {
    let mut exists = Vec::new();
    for parent in top.descendants().filter(Node::is_element) {
        for (name, key) in keys {
            let mut seen = std::collections::HashSet::new();
            for child in parent.children().filter(|child| child.has_tag_name((namespace, *name))) {
                if let Some(value) = child.attribute(*key)
                    && !seen.insert(value)
                {
                    exists.push(Exists { field: field(child, key, default), alternatives: Vec::new() });
                }
            }
        }
    }
    match exists.first() {
        None => Ok(()),
        Some(first) => {
            let phrase = format!("two elements beside each other have the same value: {}", first.field);
            Err(Conflict::UniquenessFailure { phrase, exists })
        }
    }
}

/// An attribute as a relative URI. Names are those of `default`, the default document namespace; what is in another one is
/// named by its position.
fn field(node: Node<'_, '_>, attribute: &str, default: &str) -> String {
    let mut steps = vec![format!("@{attribute}")];
    let mut here = Some(node);
    while let Some(element) = here.filter(Node::is_element) {
        let named = element.tag_name().namespace() == Some(default);
        let same = |other: &Node<'_, '_>| other.is_element() && (!named || other.tag_name() == element.tag_name());
        let before = element.prev_siblings().skip(1).filter(same).count();
        let alone = before == 0 && !element.next_siblings().skip(1).any(|other| same(&other));
        let name = if named { element.tag_name().name() } else { "*" };
        steps.push(if alone { name.to_owned() } else { format!("{name}[{}]", before + 1) });
        here = element.parent();
    }
    steps.reverse();
    percent_encode(&steps.join("/"), true)
}

#[cfg(test)]
mod tests;
