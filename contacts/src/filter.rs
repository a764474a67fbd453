//! Filters of `addressbook-query` (RFC 6352 §10.5).

use roxmltree::Node;

use crate::card::{Card, Line};
use crate::dav::CARDDAV;

/// Which vCards are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    all: bool,
    props: Vec<Prop>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prop {
    name: String,
    all: bool,
    defined: bool,
    texts: Vec<Text>,
    params: Vec<Param>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    name: String,
    defined: bool,
    text: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    value: String,
    exact: bool,
    negate: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Equals,
    Contains,
    StartsWith,
    EndsWith,
}

/// A collation that is not known (§8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownCollation;

impl Filter {
    pub(crate) fn parse(node: Node<'_, '_>) -> Result<Filter, UnknownCollation> {
        let props = children(node, "prop-filter").map(Prop::parse).collect::<Result<_, _>>()?;
        Ok(Filter { all: is_all(node), props })
    }

    pub(crate) fn matches(&self, card: &Card) -> bool {
        if self.props.is_empty() {
            return true;
        }
        combine(self.all, self.props.iter().map(|prop| prop.matches(card)))
    }
}

impl Prop {
    fn parse(node: Node<'_, '_>) -> Result<Prop, UnknownCollation> {
        Ok(Prop {
            name: node.attribute("name").unwrap_or_default().to_owned(),
            all: is_all(node),
            defined: children(node, "is-not-defined").next().is_none(),
            texts: children(node, "text-match").map(Text::parse).collect::<Result<_, _>>()?,
            params: children(node, "param-filter").map(Param::parse).collect::<Result<_, _>>()?,
        })
    }

    fn matches(&self, card: &Card) -> bool {
        let mut lines = card.lines().iter().filter(|line| line.is(&self.name)).peekable();
        if !self.defined || lines.peek().is_none() {
            return self.defined == lines.peek().is_some();
        }
        if self.texts.is_empty() && self.params.is_empty() {
            return true;
        }
        lines.any(|line| {
            let value = line.decoded();
            let texts = self.texts.iter().map(|text| text.matches(&value));
            combine(self.all, texts.chain(self.params.iter().map(|param| param.matches(line))))
        })
    }
}

impl Param {
    fn parse(node: Node<'_, '_>) -> Result<Param, UnknownCollation> {
        Ok(Param {
            name: node.attribute("name").unwrap_or_default().to_owned(),
            defined: children(node, "is-not-defined").next().is_none(),
            text: children(node, "text-match").next().map(Text::parse).transpose()?,
        })
    }

    fn matches(&self, line: &Line) -> bool {
        let values = line.param(&self.name);
        match &self.text {
            _ if !self.defined => values.is_empty(),
            None => !values.is_empty(),
            Some(text) => values.iter().any(|value| text.matches(value)),
        }
    }
}

impl Text {
    fn parse(node: Node<'_, '_>) -> Result<Text, UnknownCollation> {
        let exact = match node.attribute("collation").unwrap_or("i;unicode-casemap") {
            "i;unicode-casemap" | "i;ascii-casemap" | "default" => false,
            "i;octet" => true,
            _ => return Err(UnknownCollation),
        };
        let kind = match node.attribute("match-type") {
            Some("equals") => Kind::Equals,
            Some("starts-with") => Kind::StartsWith,
            Some("ends-with") => Kind::EndsWith,
            _ => Kind::Contains,
        };
        let negate = node.attribute("negate-condition") == Some("yes");
        let value = node.text().unwrap_or_default();
        let value = if exact { value.to_owned() } else { value.to_lowercase() };
        Ok(Text { value, exact, negate, kind })
    }

    fn matches(&self, value: &str) -> bool {
        let folded = if self.exact { value.to_owned() } else { value.to_lowercase() };
        let wanted = &*self.value;
        let found = match self.kind {
            Kind::Equals => folded == wanted,
            Kind::Contains => folded.contains(wanted),
            Kind::StartsWith => folded.starts_with(wanted),
            Kind::EndsWith => folded.ends_with(wanted),
        };
        found != self.negate
    }
}

/// `anyof` is the default.
fn is_all(node: Node<'_, '_>) -> bool {
    node.attribute("test") == Some("allof")
}

fn combine(all: bool, mut results: impl Iterator<Item = bool>) -> bool {
    if all { results.all(|is| is) } else { results.any(|is| is) }
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name((CARDDAV, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str) -> bool {
        let card = "BEGIN:VCARD\nVERSION:4.0\nFN:Bob Ünal\nEMAIL;TYPE=work:bob@example.com\nEND:VCARD";
        let text = format!("<filter xmlns=\"{CARDDAV}\" {filter}</filter>");
        let document = roxmltree::Document::parse(&text).unwrap();
        Filter::parse(document.root_element()).unwrap().matches(&Card::parse(card).unwrap())
    }

    #[test]
    fn cards_that_match() {
        let fn_ = |text: &str| format!("><prop-filter name=\"FN\">{text}</prop-filter>");
        assert!(matches(">"));
        assert!(matches("><prop-filter name=\"fn\"/>"));
        assert!(!matches("><prop-filter name=\"NICKNAME\"/>"));
        assert!(matches("><prop-filter name=\"NICKNAME\"><is-not-defined/></prop-filter>"));
        assert!(!matches(&fn_("<is-not-defined/>")));
        assert!(matches(&fn_("<text-match>ÜNAL</text-match>")));
        assert!(!matches(&fn_("<text-match collation=\"i;octet\">ÜNAL</text-match>")));
        assert!(matches(&fn_("<text-match match-type=\"starts-with\">bob</text-match>")));
        assert!(!matches(&fn_("<text-match match-type=\"equals\">bob</text-match>")));
        assert!(matches(&fn_("<text-match negate-condition=\"yes\">carol</text-match>")));
        let email = |text: &str| format!("><prop-filter name=\"EMAIL\">{text}</prop-filter>");
        assert!(matches(&email("<param-filter name=\"TYPE\"><text-match>work</text-match></param-filter>")));
        assert!(!matches(&email("<param-filter name=\"TYPE\"><text-match>home</text-match></param-filter>")));
        assert!(matches(&email("<param-filter name=\"PREF\"><is-not-defined/></param-filter>")));
        let two = "<prop-filter name=\"FN\"/><prop-filter name=\"NICKNAME\"/>";
        assert!(matches(&format!("test=\"anyof\">{two}")) && !matches(&format!("test=\"allof\">{two}")));
        let text =
            format!("<f xmlns=\"{CARDDAV}\"><prop-filter name=\"a\"><text-match collation=\"x\"/></prop-filter></f>");
        let document = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(Filter::parse(document.root_element()), Err(UnknownCollation));
    }
}
