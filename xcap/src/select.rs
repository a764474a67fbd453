//! Evaluates node selectors on a document (RFC 4825 §6.3).

use roxmltree::{Attribute, Document, Node};

use crate::encode::xml_escape;
use crate::selector::{Name, NodeSelector, Step, Terminal};

/// What a selector finds.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a, 'input> {
    /// Nothing, at the step of this index (that of the terminal is the number of steps).
    Nothing {
        step: usize,
    },
    /// More than one element at the step of this index: the selector is invalid.
    Several {
        step: usize,
    },
    Element(Node<'a, 'input>),
    Attribute(Node<'a, 'input>, Attribute<'a, 'input>),
    Namespaces(Node<'a, 'input>),
}

/// Evaluates `selector` from the root of `document`.
pub fn find<'a, 'input>(document: &'a Document<'input>, selector: &NodeSelector) -> Found<'a, 'input> {
    let element = match find_element(document, &selector.steps) {
        Ok(element) => element,
        Err(found) => return found,
    };
    match &selector.terminal {
        None => Found::Element(element),
        Some(Terminal::Namespaces) => Found::Namespaces(element),
        Some(Terminal::Attribute { name, .. }) => match attribute(element, name) {
            Some(attribute) => Found::Attribute(element, attribute),
            None => Found::Nothing { step: selector.steps.len() },
        },
    }
}

/// The element that `steps` lead to, or why there is none.
pub(crate) fn find_element<'a, 'input>(
    document: &'a Document<'input>,
    steps: &[Step],
) -> Result<Node<'a, 'input>, Found<'a, 'input>> {
    let mut context = document.root();
    for (index, step) in steps.iter().enumerate() {
        let mut found = matches(context, step);
        context = found.next().ok_or(Found::Nothing { step: index })?;
        if found.next().is_some() {
            return Err(Found::Several { step: index });
        }
    }
    Ok(context)
}

/// The children that a step picks, in document order.
pub(crate) fn matches<'a, 'input, 's>(
    context: Node<'a, 'input>,
    step: &'s Step,
) -> impl Iterator<Item = Node<'a, 'input>> + use<'a, 'input, 's> {
    let skip = step.position.map_or(0, |position| position.saturating_sub(1));
    let take = match step.position {
        None => usize::MAX,
        Some(0) => 0,
        Some(_) => 1,
    };
    named(context, step.name.as_ref()).skip(skip).take(take).filter(|node| {
        step.attribute
            .as_ref()
            .is_none_or(|(name, value)| attribute(*node, name).is_some_and(|found| found.value() == &**value))
    })
}

/// Children of one name, or all child elements.
pub(crate) fn named<'a, 'input, 's>(
    context: Node<'a, 'input>,
    name: Option<&'s Name>,
) -> impl Iterator<Item = Node<'a, 'input>> + use<'a, 'input, 's> {
    let fits = move |node: &Node<'a, 'input>| {
        let found = node.tag_name();
        name.is_none_or(|name| *found.name() == *name.local && namespace(*node) == name.namespace.as_deref())
    };
    context.children().filter(Node::is_element).filter(fits)
}

/// The namespace of an element; `xmlns=""` is none.
pub(crate) fn namespace<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.tag_name().namespace().filter(|uri| !uri.is_empty())
}

fn attribute<'a, 'input>(node: Node<'a, 'input>, name: &Name) -> Option<Attribute<'a, 'input>> {
    node.attributes().find(|found| *found.name() == *name.local && found.namespace() == name.namespace.as_deref())
}

/// What a GET of an attribute answers: `AttValue` with its quotes, as the document has it (§8.3).
pub fn attribute_value<'a>(text: &'a str, attribute: &Attribute<'_, '_>) -> &'a str {
    &text[quoted(attribute)]
}

/// Where the value of an attribute stands, with its quotes.
pub(crate) fn quoted(attribute: &Attribute<'_, '_>) -> std::ops::Range<usize> {
    let value = attribute.range_value();
    value.start - 1..value.end + 1
}

/// What a GET of namespaces answers (§10): an empty element of the same name that declares all that is in scope.
pub fn namespace_document(text: &str, element: Node<'_, '_>) -> String {
    let mut out = format!("<{}", qname(text, element));
    out.push_str(&declarations(element));
    out.push_str("/>");
    out
}

/// Declarations of the namespaces in scope of an element, each with a space before it.
pub(crate) fn declarations(element: Node<'_, '_>) -> String {
    let mut out = String::new();
    let mut seen: Vec<Option<&str>> = Vec::new();
    for namespace in element.namespaces() {
        let prefix = namespace.name();
        if prefix == Some("xml") || seen.contains(&prefix) {
            continue;
        }
        seen.push(prefix);
        let uri = xml_escape(namespace.uri());
        match prefix {
            Some(prefix) => out.push_str(&format!(" xmlns:{prefix}=\"{uri}\"")),
            None => out.push_str(&format!(" xmlns=\"{uri}\"")),
        }
    }
    out
}

/// An element as it can stand elsewhere: with the declarations that it had around it.
pub(crate) fn standing_alone(text: &str, element: Node<'_, '_>) -> String {
    let whole = &text[element.range()];
    let end = 1 + qname(text, element).len();
    let own = attribute_names(&whole[end..]);
    let mut out = whole[..end].to_owned();
    for namespace in element.namespaces() {
        let name = namespace.name().map_or("xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
        if namespace.name() != Some("xml") && !own.contains(&&*name) {
            out.push_str(&format!(" {name}=\"{}\"", xml_escape(namespace.uri())));
        }
    }
    out.push_str(&whole[end..]);
    out
}

/// Names of the attributes of a start tag, declarations among them; `rest` follows the name of the element.
fn attribute_names(rest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=').filter(|_| !rest.starts_with(['>', '/'])) {
        names.push(name.trim());
        let after = after.trim_start();
        let Some(quote) = after.chars().next() else { break };
        let Some((_, behind)) = after[1..].split_once(quote) else { break };
        rest = behind.trim_start();
    }
    names
}

/// The name of an element as the document writes it.
pub(crate) fn qname<'a>(text: &'a str, element: Node<'_, '_>) -> &'a str {
    let start = element.range().start + 1;
    let rest = &text[start..];
    let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests;
