//! What a request URI names (RFC 4825 §6): a document, and perhaps a node in it.

use crate::encode::{percent_decode, percent_encode};
use crate::selector::SelectorError;

/// A document, by its document selector (§6.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentSelector {
    pub auid: Box<str>,
    pub tree: Tree,
    /// What follows; folders are parted by slashes.
    pub name: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tree {
    Global,
    /// The home directory of a user, by XUI, decoded.
    Users(Box<str>),
}

/// A request URI below the root, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    pub document: DocumentSelector,
    /// What follows the separator, as it was sent; never empty.
    pub node: Option<&'a str>,
    /// As it was sent.
    pub query: &'a str,
}

/// Why a path below the root names no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is not percent-encoded UTF-8")]
    Encoding,
    #[error("the path is not that of a document")]
    NoDocument,
}

impl From<PathError> for SelectorError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Encoding => SelectorError::Encoding,
            PathError::NoDocument => SelectorError::Unknown,
        }
    }
}

/// Octets of a document name.
const MAX_NAME: usize = 256;

impl<'a> Target<'a> {
    /// Takes apart a path below the root, as it was sent. Empty segments before the separator are taken for slips, as
    /// is a separator that nothing follows.
    pub fn parse(path: &'a str, query: &'a str) -> Result<Target<'a>, PathError> {
        let mut segments = Vec::new();
        let mut node = None;
        let mut rest = path;
        loop {
            let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
            let decoded = percent_decode(segment).map_err(|_| PathError::Encoding)?;
            // §6: `%7E%7E` is the same.
            if decoded == "~~" {
                node = after.filter(|after| !after.is_empty());
                break;
            }
            if !decoded.is_empty() {
                segments.push(decoded);
            }
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        let mut segments = segments.into_iter();
        let auid = segments.next().ok_or(PathError::NoDocument)?;
        let tree = match segments.next().as_deref() {
            Some("global") => Tree::Global,
            Some("users") => Tree::Users(segments.next().ok_or(PathError::NoDocument)?.into()),
            _ => return Err(PathError::NoDocument),
        };
        let names: Vec<String> = segments.collect();
        let bad = |name: &String| matches!(&**name, "." | "..") || name.contains(|c: char| c.is_control() || c == '/');
        let name = names.join("/");
        if name.is_empty() || name.len() > MAX_NAME || names.iter().any(bad) {
            return Err(PathError::NoDocument);
        }
        Ok(Target { document: DocumentSelector { auid: auid.into(), tree, name: name.into() }, node, query })
    }
}

impl DocumentSelector {
    /// A document of a user.
    pub fn of_user(auid: &str, xui: &str, name: &str) -> DocumentSelector {
        DocumentSelector { auid: auid.into(), tree: Tree::Users(xui.into()), name: name.into() }
    }

    pub fn global(auid: &str, name: &str) -> DocumentSelector {
        DocumentSelector { auid: auid.into(), tree: Tree::Global, name: name.into() }
    }

    /// The folder that it lies in, percent-encoded, with a slash at the end.
    pub(crate) fn folder(&self) -> String {
        match &self.tree {
            Tree::Global => format!("{}/global/", percent_encode(&self.auid, false)),
            Tree::Users(xui) => {
                format!("{}/users/{}/", percent_encode(&self.auid, false), percent_encode(xui, false))
            }
        }
    }
}

/// Relative to the root and percent-encoded.
impl std::fmt::Display for DocumentSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.folder(), percent_encode(&self.name, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths as clients are known to build them.
    #[test]
    fn paths_of_one_document() {
        for (name, path) in [
            ("plain", "resource-lists/users/sip:alice@example.com/index"),
            ("XUI encoded", "resource-lists/users/sip%3Aalice%40example.com/index"),
            ("lower case hexadecimals", "resource-lists/users/sip%3aalice%40example.com/index"),
            ("slash in front", "/resource-lists/users/sip:alice@example.com/index"),
            ("two slashes", "//resource-lists//users/sip:alice@example.com/index"),
            ("slash at the end", "resource-lists/users/sip:alice@example.com/index/"),
            ("separator and nothing", "resource-lists/users/sip:alice@example.com/index/~~"),
            ("separator, slash and nothing", "resource-lists/users/sip:alice@example.com/index/~~/"),
            ("letters encoded", "resource%2Dlists/users/sip:alice@example.com/%69ndex"),
        ] {
            let target = Target::parse(path, "").unwrap();
            assert_eq!(
                target.document,
                DocumentSelector::of_user("resource-lists", "sip:alice@example.com", "index"),
                "{name}"
            );
            assert_eq!(target.node, None, "{name}");
        }
    }

    #[test]
    fn the_first_separator_parts() {
        for (name, path, node) in [
            ("plain", "a/global/index/~~/r/x", Some("r/x")),
            ("encoded", "a/global/index/%7E%7e/r/x", Some("r/x")),
            ("another in the selector", "a/global/index/~~/r/~~/x", Some("r/~~/x")),
            ("tildes in a name", "a/global/~~x/~~/r", Some("r")),
            ("selector keeps its encoding", "a/global/i/~~/r%5B@a=%22b%22%5D", Some("r%5B@a=%22b%22%5D")),
        ] {
            assert_eq!(Target::parse(path, "").unwrap().node, node, "{name}");
        }
    }

    #[test]
    fn documents_and_their_paths() {
        for (path, expected) in [
            ("xcap-caps/global/index", DocumentSelector::global("xcap-caps", "index")),
            ("a/users/tel:+15550100001/x", DocumentSelector::of_user("a", "tel:+15550100001", "x")),
            ("a/users/sip:b%3Fc@d/e/f", DocumentSelector::of_user("a", "sip:b?c@d", "e/f")),
        ] {
            let target = Target::parse(path, "").unwrap();
            assert_eq!(target.document, expected);
            assert_eq!(target.document.to_string(), path);
        }
    }

    #[test]
    fn paths_of_no_document() {
        for (name, path, expected) in [
            ("root", "", PathError::NoDocument),
            ("usage", "resource-lists", PathError::NoDocument),
            ("neither tree", "resource-lists/others/x/index", PathError::NoDocument),
            ("home directory", "resource-lists/users/sip:a@b", PathError::NoDocument),
            ("home directory with separator", "resource-lists/users/sip:a@b/~~/x", PathError::NoDocument),
            ("upwards", "a/global/../x", PathError::NoDocument),
            ("upwards, encoded", "a/global/%2e%2E/x", PathError::NoDocument),
            ("slash in a name", "a/global/b%2Fc", PathError::NoDocument),
            ("control character", "a/global/b%0A", PathError::NoDocument),
            ("bad encoding", "a/global/%zz", PathError::Encoding),
        ] {
            assert_eq!(Target::parse(path, "").err(), Some(expected), "{name}");
        }
    }
}
