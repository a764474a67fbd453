//! Structure of documents: what an XML Schema says of elements, their order, attributes and values, as tables.
//!
//! Where a schema has a wildcard for other namespaces, elements of namespaces that we know are checked against them and
//! others are let through (RFC 4825 §8.2.5).

use std::collections::HashSet;

use roxmltree::{Document, Node};

use crate::{select, usage};

/// An element, its attributes and its content.
pub(crate) struct Element {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) attributes: &'static [Attribute],
    pub(crate) content: Content,
}

/// An attribute in no namespace. Those of other namespaces are let through.
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) value: Value,
}

pub(crate) enum Content {
    Empty,
    Text(Value),
    Children(&'static [Particle]),
    /// Whatever it is.
    Anything,
}

/// A part of a content model, and how often it comes.
pub(crate) enum Particle {
    One(&'static Element, Occurs),
    Choice(&'static [Particle], Occurs),
    Group(&'static [Particle], Occurs),
    /// An element of another namespace.
    Other(Occurs),
}

#[derive(Clone, Copy)]
pub(crate) struct Occurs(usize, usize);

pub(crate) const ONE: Occurs = Occurs(1, 1);
pub(crate) const OPTIONAL: Occurs = Occurs(0, 1);
pub(crate) const MANY: Occurs = Occurs(0, usize::MAX);
pub(crate) const SOME: Occurs = Occurs(1, usize::MAX);

#[derive(Clone, Copy)]
pub(crate) enum Value {
    Text,
    Boolean,
    /// No space inside.
    Uri,
    Decimal,
    DateTime,
    Base64,
    /// Not twice in a document.
    Id,
    OneOf(&'static [&'static str]),
}

pub(crate) const fn required(name: &'static str, value: Value) -> Attribute {
    Attribute { name, required: true, value }
}

pub(crate) const fn optional(name: &'static str, value: Value) -> Attribute {
    Attribute { name, required: false, value }
}

/// Why a document is not what its schema says; the text is for people.
type Violation = String;

/// Checks a whole document, whose root must be `root`.
pub(crate) fn check(document: &Document<'_>, root: &'static Element) -> Result<(), Violation> {
    let element = document.root_element();
    if !is(element, root) {
        let found = display(element);
        return Err(format!("the root element is {found}, not <{}> of {}", root.name, root.namespace));
    }
    Checker::default().element(element, root)
}

fn is(node: Node<'_, '_>, rule: &Element) -> bool {
    node.tag_name().name() == rule.name && node.tag_name().namespace() == Some(rule.namespace)
}

#[derive(Default)]
struct Checker<'a> {
    ids: HashSet<&'a str>,
}

impl<'a> Checker<'a> {
    fn element(&mut self, node: Node<'a, '_>, rule: &'static Element) -> Result<(), Violation> {
        for attribute in rule.attributes {
            match node.attribute(attribute.name) {
                Some(value) => {
                    let own = !matches!(attribute.value, Value::Id) || self.ids.insert(value);
                    let fits = attribute.value.check(value).and(own.then_some(()).ok_or("used twice"));
                    fits.map_err(|why| format!("attribute {} of {}: {why}", attribute.name, place(node)))?;
                }
                None if attribute.required => {
                    return Err(format!("{}: the attribute {} is missing", place(node), attribute.name));
                }
                None => {}
            }
        }
        for found in node.attributes() {
            let known = match found.namespace() {
                None => rule.attributes.iter().any(|attribute| attribute.name == found.name()),
                Some(_) => true,
            };
            if !known {
                return Err(format!("{}: the attribute {} is not expected", place(node), found.name()));
            }
        }
        match &rule.content {
            Content::Anything => Ok(()),
            Content::Text(value) => {
                if let Some(child) = node.children().find(Node::is_element) {
                    return Err(format!("{}: {} is not expected", place(node), display(child)));
                }
                let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
                value.check(&text).map_err(|why| format!("{}: {why}", place(node)))
            }
            Content::Empty => self.children(node, rule, &[]),
            Content::Children(particles) => self.children(node, rule, particles),
        }
    }

    fn children(
        &mut self,
        node: Node<'a, '_>,
        rule: &'static Element,
        particles: &'static [Particle],
    ) -> Result<(), Violation> {
        if node.children().any(|child| child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty())) {
            return Err(format!("{}: text is not expected", place(node)));
        }
        let children: Vec<_> = node.children().filter(Node::is_element).collect();
        let mut run = Run { children: &children, at: 0, namespace: rule.namespace };
        if let Some(missing) = self.group(particles, &mut run)? {
            return Err(match run.next() {
                Some(child) => format!("{}: {missing} is expected before {}", place(node), display(child)),
                None => format!("{}: {missing} is missing", place(node)),
            });
        }
        match run.next() {
            Some(child) => Err(format!("{}: {} is not expected there", place(node), display(child))),
            None => Ok(()),
        }
    }

    /// Takes what a sequence can; `Some` names what it wanted and did not find.
    fn group(
        &mut self,
        particles: &'static [Particle],
        run: &mut Run<'_, 'a, '_>,
    ) -> Result<Option<String>, Violation> {
        for particle in particles {
            let Occurs(least, most) = particle.occurs();
            let mut count = 0;
            while count < most {
                let before = run.at;
                let taken = self.once(particle, run)?;
                if !taken || (run.at == before && count >= least) {
                    break;
                }
                count += 1;
            }
            if count < least {
                return Ok(Some(particle.describe()));
            }
        }
        Ok(None)
    }

    fn once(&mut self, particle: &'static Particle, run: &mut Run<'_, 'a, '_>) -> Result<bool, Violation> {
        match particle {
            Particle::One(rule, _) => match run.next().filter(|child| is(*child, rule)) {
                Some(child) => {
                    self.element(child, rule)?;
                    run.at += 1;
                    Ok(true)
                }
                None => Ok(false),
            },
            Particle::Choice(alternatives, _) => {
                for alternative in *alternatives {
                    let before = run.at;
                    if self.group(std::slice::from_ref(alternative), run)?.is_none() && run.at > before {
                        return Ok(true);
                    }
                }
                // One that may be empty stands for itself.
                Ok(alternatives.iter().any(|alternative| alternative.occurs().0 == 0))
            }
            Particle::Group(particles, _) => {
                let before = run.at;
                match self.group(particles, run)? {
                    None => Ok(true),
                    Some(_) if run.at == before => Ok(false),
                    Some(missing) => Err(match run.next() {
                        Some(child) => format!("{missing} is expected before {}", display(child)),
                        None => format!("{missing} is missing at the end of {}", place(run.children[before])),
                    }),
                }
            }
            Particle::Other(_) => {
                let namespace = run.namespace;
                let other = |child: &Node<'_, '_>| select::namespace(*child).is_some_and(|found| found != namespace);
                let Some(child) = run.next().filter(other) else { return Ok(false) };
                self.lax(child)?;
                run.at += 1;
                Ok(true)
            }
        }
    }

    /// An element that a wildcard lets in.
    fn lax(&mut self, node: Node<'a, '_>) -> Result<(), Violation> {
        let known = select::namespace(node).and_then(usage::globals);
        match known {
            None => Ok(()),
            Some(globals) => match globals.iter().find(|rule| rule.name == node.tag_name().name()) {
                Some(rule) => self.element(node, rule),
                None => Err(format!("{} is not an element of its namespace", display(node))),
            },
        }
    }
}

/// How far the children of an element have been taken.
struct Run<'r, 'a, 'input> {
    children: &'r [Node<'a, 'input>],
    at: usize,
    namespace: &'static str,
}

impl<'a, 'input> Run<'_, 'a, 'input> {
    fn next(&self) -> Option<Node<'a, 'input>> {
        self.children.get(self.at).copied()
    }
}

impl Particle {
    fn occurs(&self) -> Occurs {
        match self {
            Particle::One(_, occurs)
            | Particle::Choice(_, occurs)
            | Particle::Group(_, occurs)
            | Particle::Other(occurs) => *occurs,
        }
    }

    fn describe(&self) -> String {
        match self {
            Particle::One(rule, _) => format!("<{}>", rule.name),
            Particle::Choice(parts, _) => parts.iter().map(Particle::describe).collect::<Vec<_>>().join(" or "),
            Particle::Group(parts, _) => parts.iter().map(Particle::describe).next().unwrap_or_default(),
            Particle::Other(_) => "an element of another namespace".into(),
        }
    }
}

impl Value {
    fn check(self, text: &str) -> Result<(), &'static str> {
        let trimmed = text.trim();
        let fits = |fits: bool, why| if fits { Ok(()) } else { Err(why) };
        match self {
            Value::Text => Ok(()),
            Value::Boolean => fits(matches!(trimmed, "true" | "false" | "1" | "0"), "not a boolean"),
            // Long ones are folded at times, so space alone is no reason.
            Value::Uri => fits(!trimmed.contains(['<', '>', '{', '}', '|', '^', '`']), "not a URI"),
            Value::Decimal => {
                let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                let dots = digits.bytes().filter(|byte| *byte == b'.').count();
                fits(plain && dots <= 1 && digits.len() > dots, "not a decimal number")
            }
            Value::DateTime => fits(is_date_time(trimmed), "not a date and time"),
            Value::Base64 => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
                fits(text.bytes().all(|byte| plain(byte) || byte.is_ascii_whitespace()), "not base64")
            }
            Value::Id => {
                let mut chars = trimmed.chars();
                let starts = chars.next().is_some_and(crate::selector::is_name_start);
                fits(starts && chars.all(crate::selector::is_name_char), "not an identifier of XML")
            }
            Value::OneOf(values) => fits(values.contains(&trimmed), "not one of its values"),
        }
    }
}

/// `dateTime` of XML Schema, so far as a glance tells: `2001-10-27T16:49:29Z`, with fractions and offsets.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let numbers = |text: &str, separator: char, parts: usize| {
        let parts_found: Vec<&str> = text.split(separator).collect();
        parts_found.len() == parts && parts_found.iter().all(|p| p.len() >= 2 && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let date = date.strip_prefix('-').unwrap_or(date);
    numbers(date, '-', 3)
        && numbers(time, ':', 3)
        && fraction.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        && (zone.is_empty() || zone == "Z" || numbers(&zone[1..], ':', 2))
}

/// The way to an element in names, for people: `resource-lists/list[2]/entry[1]`.
pub(crate) fn place(node: Node<'_, '_>) -> String {
    let mut steps = Vec::new();
    let mut here = Some(node);
    while let Some(element) = here.filter(Node::is_element) {
        let name = element.tag_name().name();
        let same = |sibling: &Node<'_, '_>| sibling.is_element() && sibling.tag_name() == element.tag_name();
        let before = element.prev_siblings().skip(1).filter(same).count();
        let alone = before == 0 && !element.next_siblings().skip(1).any(|sibling| same(&sibling));
        steps.push(if alone { name.to_owned() } else { format!("{name}[{}]", before + 1) });
        here = element.parent();
    }
    steps.reverse();
    steps.join("/")
}

fn display(node: Node<'_, '_>) -> String {
    match select::namespace(node) {
        Some(namespace) => format!("<{}> of {namespace}", node.tag_name().name()),
        None => format!("<{}> of no namespace", node.tag_name().name()),
    }
}
