//! Changes to nodes of a document (RFC 4825 §8.2, §8.4), made on its text: whatever is not changed keeps its bytes.

use roxmltree::{Document, Node};

use crate::conflict::Conflict;
use crate::fragment;
use crate::patch::{Patch, Place, path};
use crate::select::{self, Found, find_element, matches, named, qname};
use crate::selector::{Name, NodeSelector, Step, Terminal};
use crate::xml::{self, Limits};

/// A document after a change to one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    pub text: String,
    /// The node was not there before.
    pub created: bool,
    /// What a copy of the old text needs to become the new one.
    pub patch: Patch,
}

/// What a PUT to a node came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// The parent is not there; the first `steps` of the selector are.
    NoParent {
        steps: usize,
    },
    Conflict(Conflict),
}

impl From<Conflict> for EditError {
    fn from(conflict: Conflict) -> Self {
        EditError::Conflict(conflict)
    }
}

const OTHER: Conflict =
    Conflict::CannotInsert { phrase: "the URI would not select what was put: its predicates do not fit the body" };
const AMBIGUOUS: Conflict = Conflict::CannotInsert { phrase: "the URI would select several elements" };
const TOO_FEW: Conflict = Conflict::CannotInsert { phrase: "there are too few elements before that position" };
const SECOND_ROOT: Conflict = Conflict::CannotInsert { phrase: "a document has one root element" };

/// Puts `body` where `selector` points in `text`, which is well-formed.
pub fn put(text: &str, selector: &NodeSelector, body: &[u8], limits: &Limits) -> Result<Edited, EditError> {
    let document = parse(text, limits)?;
    match &selector.terminal {
        None => put_element(text, &document, selector, body, limits),
        Some(Terminal::Attribute { name, prefix }) => {
            put_attribute(text, &document, selector, (name, prefix.as_deref()), body, limits)
        }
        // Refused with 405 before it comes here.
        Some(Terminal::Namespaces) => Err(OTHER.into()),
    }
}

/// Takes away what `selector` points at; `None` if there is nothing, or no single one.
pub fn delete(text: &str, selector: &NodeSelector, limits: &Limits) -> Result<Option<Edited>, Conflict> {
    let document = parse(text, limits)?;
    let (range, patch) = match select::find(&document, selector) {
        Found::Element(element) if element.parent().is_some_and(|parent| parent.is_root()) => {
            return Err(Conflict::SchemaValidation { phrase: "a document has a root element".into() });
        }
        Found::Element(element) => (element.range(), Patch::Remove { path: path(element) }),
        Found::Attribute(element, attribute) => {
            let range = attribute.range();
            let before = text[..range.start].trim_end_matches(|c: char| c.is_ascii_whitespace()).len();
            let name = text[attribute.range_qname()].to_owned();
            (before..range.end, Patch::Remove { path: format!("{}/@{name}", path(element)) })
        }
        Found::Nothing { .. } | Found::Several { .. } | Found::Namespaces(_) => return Ok(None),
    };
    let mut edited = text.to_owned();
    edited.replace_range(range, "");
    let after = parse(&edited, limits)?;
    match select::find(&after, selector) {
        Found::Nothing { .. } => {}
        _ => return Err(Conflict::CannotDelete),
    }
    Ok(Some(Edited { text: edited, created: false, patch }))
}

fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Document<'a>, Conflict> {
    xml::parse(text, limits).map_err(|error| match error {
        xml::XmlError::Malformed { what, .. } => Conflict::NotXmlFrag { phrase: what },
        error => Conflict::ConstraintFailure { phrase: error.to_string() },
    })
}

fn parent<'a, 'input>(document: &'a Document<'input>, steps: &[Step]) -> Result<Node<'a, 'input>, EditError> {
    find_element(document, steps).map_err(|found| match found {
        Found::Nothing { step } | Found::Several { step } => EditError::NoParent { steps: step },
        _ => EditError::NoParent { steps: 0 },
    })
}

fn put_element(
    text: &str,
    document: &Document<'_>,
    selector: &NodeSelector,
    body: &[u8],
    limits: &Limits,
) -> Result<Edited, EditError> {
    let (target, steps) = selector.steps.split_last().expect("a selector has a step");
    let parent = parent(document, steps)?;
    let scope = if parent.is_element() { select::declarations(parent) } else { String::new() };
    let element = fragment::element(body, &scope, limits)?;
    let mut found = matches(parent, target);
    let (mut edited, at, created, patch) = match (found.next(), found.next()) {
        (Some(_), Some(_)) => return Err(AMBIGUOUS.into()),
        (Some(old), None) => {
            let range = old.range();
            let at = range.start;
            let patch = Patch::Replace { path: path(old), scope, with: element.into() };
            (Splice { range, text: String::from(element) }, at, false, patch)
        }
        (None, _) => {
            let place = insertion(parent, target)?;
            let (splice, at) = insert(text, element, place);
            (splice, at, true, Patch::Add { place: place.into(), scope, what: element.into() })
        }
    };
    edited.apply(text);
    let after = parse(&edited.text, limits)?;
    match select::find(&after, selector) {
        Found::Element(now) if now.range() == (at..at + element.len()) => {}
        Found::Several { .. } => return Err(AMBIGUOUS.into()),
        _ => return Err(OTHER.into()),
    }
    Ok(Edited { text: edited.text, created, patch })
}

/// A replacement in a text; afterwards the text itself.
struct Splice {
    range: std::ops::Range<usize>,
    text: String,
}

impl Splice {
    fn apply(&mut self, text: &str) {
        let mut whole = String::with_capacity(text.len() + self.text.len());
        whole.push_str(&text[..self.range.start]);
        whole.push_str(&self.text);
        whole.push_str(&text[self.range.end..]);
        self.text = whole;
    }
}

/// Where a new element goes.
#[derive(Clone, Copy)]
enum Insertion<'a, 'input> {
    /// Behind all that its parent has.
    Last(Node<'a, 'input>),
    After(Node<'a, 'input>),
    Before(Node<'a, 'input>),
}

impl From<Insertion<'_, '_>> for Place {
    fn from(insertion: Insertion<'_, '_>) -> Place {
        match insertion {
            Insertion::Last(parent) => Place::Last(path(parent)),
            Insertion::After(sibling) => Place::After(path(sibling)),
            Insertion::Before(sibling) => Place::Before(path(sibling)),
        }
    }
}

/// The three ways of §8.2.3.
fn insertion<'a, 'input>(parent: Node<'a, 'input>, target: &Step) -> Result<Insertion<'a, 'input>, Conflict> {
    if parent.is_root() {
        return Err(SECOND_ROOT);
    }
    let mut siblings = named(parent, target.name.as_ref());
    match target.position {
        // Earliest last. With a wildcard nothing has the same name for certain, so it is the very last.
        None if target.name.is_some() => Ok(siblings.last().map_or(Insertion::Last(parent), Insertion::After)),
        None => Ok(Insertion::Last(parent)),
        Some(0) => Err(TOO_FEW),
        Some(1) => Ok(siblings.next().map_or(Insertion::Last(parent), Insertion::Before)),
        // Earliest nth.
        Some(position) => siblings.nth(position - 2).map(Insertion::After).ok_or(TOO_FEW),
    }
}

/// The change to the text, and where the element begins afterwards.
fn insert(text: &str, element: &str, place: Insertion<'_, '_>) -> (Splice, usize) {
    let at = |at| (Splice { range: at..at, text: element.into() }, at);
    match place {
        Insertion::Before(sibling) => at(sibling.range().start),
        Insertion::After(sibling) => at(sibling.range().end),
        Insertion::Last(parent) => {
            let range = parent.range();
            let whole = &text[range.clone()];
            if whole.ends_with("/>") {
                // An empty element opens.
                let name = qname(text, parent);
                let slash = range.end - 2;
                (Splice { range: slash..range.end, text: format!(">{element}</{name}>") }, slash + 1)
            } else {
                at(range.start + whole.rfind("</").expect("an element that is not empty has an end tag"))
            }
        }
    }
}

fn put_attribute(
    text: &str,
    document: &Document<'_>,
    selector: &NodeSelector,
    (name, prefix): (&Name, Option<&str>),
    body: &[u8],
    limits: &Limits,
) -> Result<Edited, EditError> {
    let element = parent(document, &selector.steps)?;
    let value = fragment::attribute(body)?;
    let plain = fragment::attribute_text(&value);
    let (mut splice, created, patch) = match select::find(document, selector) {
        Found::Attribute(_, old) => {
            let path = format!("{}/@{}", path(element), &text[old.range_qname()]);
            let patch = Patch::ReplaceAttribute { path, value: plain.clone() };
            (Splice { range: select::quoted(&old), text: value.clone() }, false, patch)
        }
        _ => {
            let (qname_, declaration) = attribute_qname(element, name, prefix);
            let at = element.range().start + 1 + qname(text, element).len();
            let patch = Patch::AddAttribute {
                path: path(element),
                scope: select::declarations(element) + &declaration,
                name: qname_.clone(),
                value: plain.clone(),
            };
            (Splice { range: at..at, text: format!("{declaration} {qname_}={value}") }, true, patch)
        }
    };
    splice.apply(text);
    let after = parse(&splice.text, limits)?;
    match select::find(&after, selector) {
        Found::Attribute(_, now) if select::attribute_value(&splice.text, &now) == value => {}
        _ => return Err(OTHER.into()),
    }
    Ok(Edited { text: splice.text, created, patch })
}

/// The name of a new attribute in the document's own prefixes, and a declaration if none of them has its namespace.
fn attribute_qname(element: Node<'_, '_>, name: &Name, prefix: Option<&str>) -> (String, String) {
    let Some(uri) = name.namespace.as_deref() else { return (name.local.to_string(), String::new()) };
    if uri == roxmltree::NS_XML_URI {
        return (format!("xml:{}", name.local), String::new());
    }
    let in_scope =
        |prefix: &str| element.namespaces().find(|known| known.name() == Some(prefix)).map(|known| known.uri());
    let known = element.namespaces().filter(|known| known.uri() == uri).find_map(|known| known.name());
    if let Some(known) = known.filter(|known| in_scope(known) == Some(uri)) {
        return (format!("{known}:{}", name.local), String::new());
    }
    let wanted = prefix.unwrap_or("ns").to_owned();
    let free = std::iter::once(wanted.clone()).chain((1..).map(|n| format!("{wanted}{n}")));
    let prefix = free.into_iter().find(|prefix| in_scope(prefix).is_none()).expect("prefixes do not run out");
    let declaration = fragment::declaration(&prefix, uri);
    (format!("{prefix}:{}", name.local), declaration)
}

#[cfg(test)]
mod tests;
