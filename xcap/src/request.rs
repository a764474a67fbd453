//! What becomes of one request (RFC 4825 §8), given the document that it is about.

use std::borrow::Cow;

use crate::bindings::Bindings;
use crate::conflict::Conflict;
use crate::edit::{self, EditError};
use crate::encode::percent_encode;
use crate::patch::Patch;
use crate::select::{self, Found};
use crate::selector::{NodeSelector, SelectorError, Terminal};
use crate::target::Target;
use crate::usage::{Place, Usage};
use crate::xml::{self, Limits, XmlError};

const ELEMENT_TYPE: &str = "application/xcap-el+xml";
const ATTRIBUTE_TYPE: &str = "application/xcap-att+xml";
const NAMESPACES_TYPE: &str = "application/xcap-ns+xml";

/// The document as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    pub text: &'a str,
    /// Without quotes.
    pub etag: &'a str,
}

/// `If-Match` and `If-None-Match` (RFC 9110 §13.1), as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
}

/// A request, and all that its outcome depends on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub usage: &'static Usage,
    pub target: &'a Target<'a>,
    /// The XCAP root: absolute, without a slash at the end.
    pub root: &'a str,
    pub limits: &'a Limits,
    pub conditions: Conditions<'a>,
    pub current: Option<Current<'a>>,
}

/// What a GET shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    pub media_type: &'static str,
    pub body: Cow<'a, str>,
}

/// What a PUT or DELETE makes of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `None`: it is gone.
    pub text: Option<String>,
    /// What the URI names was not there before: 201.
    pub created: bool,
    /// For a change to a node of it.
    pub patch: Option<Patch>,
}

/// Why a request is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 404.
    NotFound,
    /// 400.
    BadRequest(SelectorError),
    /// 412.
    PreconditionFailed,
    /// 304.
    NotModified,
    /// 405; what is allowed.
    NotAllowed(&'static str),
    /// 415; what would be taken.
    UnsupportedMediaType(&'static str),
    /// 413; the most that is taken.
    TooLarge(usize),
    /// 409.
    Conflict(Conflict),
}

pub type Decision<T> = Result<T, Refusal>;

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        Refusal::Conflict(conflict)
    }
}

impl From<SelectorError> for Refusal {
    fn from(error: SelectorError) -> Self {
        match error {
            // §8: an extension that is not understood.
            SelectorError::Unknown => Refusal::NotFound,
            error => Refusal::BadRequest(error),
        }
    }
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NotModified => 304,
            Refusal::BadRequest(_) => 400,
            Refusal::NotFound => 404,
            Refusal::NotAllowed(_) => 405,
            Refusal::Conflict(_) => 409,
            Refusal::PreconditionFailed => 412,
            Refusal::TooLarge(_) => 413,
            Refusal::UnsupportedMediaType(_) => 415,
        }
    }
}

impl<'a> Request<'a> {
    /// §8.3.
    pub fn get(&self) -> Decision<Shown<'a>> {
        let selector = self.selector()?;
        let current = self.current.ok_or(Refusal::NotFound)?;
        let shown = match &selector {
            None => Shown { media_type: self.usage.media_type, body: current.text.into() },
            Some(selector) => {
                let document = xml::parse(current.text, self.limits).map_err(|_| Refusal::NotFound)?;
                let (media_type, body) = match select::find(&document, selector) {
                    Found::Element(element) => (ELEMENT_TYPE, current.text[element.range()].into()),
                    Found::Attribute(_, attribute) => {
                        (ATTRIBUTE_TYPE, select::attribute_value(current.text, &attribute).into())
                    }
                    Found::Namespaces(element) => {
                        (NAMESPACES_TYPE, select::namespace_document(current.text, element).into())
                    }
                    Found::Nothing { .. } | Found::Several { .. } => return Err(Refusal::NotFound),
                };
                Shown { media_type, body }
            }
        };
        if self.conditions.if_match.is_some_and(|tags| !lists(tags, current.etag)) {
            return Err(Refusal::PreconditionFailed);
        }
        if self.conditions.if_none_match.is_some_and(|tags| lists(tags, current.etag)) {
            return Err(Refusal::NotModified);
        }
        Ok(shown)
    }

    /// §8.2. `content_type` is the header as it came.
    pub fn put(&self, content_type: Option<&str>, body: &[u8]) -> Decision<Change> {
        let selector = self.selector()?;
        if selector.as_ref().is_some_and(|selector| selector.terminal == Some(Terminal::Namespaces)) {
            return Err(Refusal::NotAllowed("GET, HEAD"));
        }
        self.check_conditions()?;
        if body.len() > self.limits.size {
            return Err(Refusal::TooLarge(self.limits.size));
        }
        let change = match &selector {
            None => {
                self.check_type(content_type, self.usage.media_type)?;
                self.put_document(body)?
            }
            Some(selector) => self.put_node(selector, content_type, body)?,
        };
        if let Some(text) = &change.text {
            self.validate(text)?;
        }
        Ok(change)
    }

    /// §8.4.
    pub fn delete(&self) -> Decision<Change> {
        let selector = self.selector()?;
        if selector.as_ref().is_some_and(|selector| selector.terminal == Some(Terminal::Namespaces)) {
            return Err(Refusal::NotAllowed("GET, HEAD"));
        }
        let current = self.current.ok_or(Refusal::NotFound)?;
        self.check_conditions()?;
        let Some(selector) = &selector else { return Ok(Change { text: None, created: false, patch: None }) };
        let edited = edit::delete(current.text, selector, self.limits)?.ok_or(Refusal::NotFound)?;
        self.validate(&edited.text)?;
        Ok(Change { text: Some(edited.text), created: false, patch: Some(edited.patch) })
    }

    fn selector(&self) -> Decision<Option<NodeSelector>> {
        let Some(node) = self.target.node else { return Ok(None) };
        let bindings = Bindings::parse(self.target.query)?;
        Ok(Some(NodeSelector::parse(node, &bindings, self.usage.namespace)?))
    }

    /// §8.2.6: every node of a document has the entity tag of the document, also one that is yet to be.
    fn check_conditions(&self) -> Decision<()> {
        let etag = self.current.map(|current| current.etag);
        let any = |tags: &str| etag.is_some_and(|etag| lists(tags, etag));
        if self.conditions.if_match.is_some_and(|tags| !any(tags)) || self.conditions.if_none_match.is_some_and(any) {
            return Err(Refusal::PreconditionFailed);
        }
        Ok(())
    }

    fn check_type(&self, content_type: Option<&str>, expected: &'static str) -> Decision<()> {
        let mut parts = content_type.unwrap_or_default().split(';');
        if !parts.next().unwrap_or_default().trim().eq_ignore_ascii_case(expected) {
            return Err(Refusal::UnsupportedMediaType(expected));
        }
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("charset")
                && !matches!(&*value.trim().trim_matches('"').to_ascii_lowercase(), "utf-8" | "utf8" | "us-ascii")
            {
                return Err(Conflict::NotUtf8.into());
            }
        }
        Ok(())
    }

    fn put_document(&self, body: &[u8]) -> Decision<Change> {
        let refused = |error: XmlError| match error {
            XmlError::TooLarge { max, .. } => Refusal::TooLarge(max),
            XmlError::NotUtf8 => Conflict::NotUtf8.into(),
            error => Conflict::NotWellFormed { phrase: error.to_string() }.into(),
        };
        let text = xml::text(body, self.limits).map_err(refused)?;
        xml::parse(text, self.limits).map_err(refused)?;
        Ok(Change { text: Some(text.to_owned()), created: self.current.is_none(), patch: None })
    }

    fn put_node(&self, selector: &NodeSelector, content_type: Option<&str>, body: &[u8]) -> Decision<Change> {
        let Some(current) = self.current else {
            let folder = format!("{}/{}", self.root, self.target.document.folder());
            return Err(Conflict::NoParent { ancestor: Some(folder) }.into());
        };
        let expected = if selector.terminal.is_some() { ATTRIBUTE_TYPE } else { ELEMENT_TYPE };
        // Where the parent is missing, that is what helps.
        let typed = self.check_type(content_type, expected);
        let edited = match (edit::put(current.text, selector, body, self.limits), typed) {
            (Err(EditError::NoParent { steps }), _) => {
                return Err(Conflict::NoParent { ancestor: Some(self.ancestor(selector, steps)) }.into());
            }
            (_, Err(refusal)) => return Err(refusal),
            (Err(EditError::Conflict(conflict)), _) => return Err(conflict.into()),
            (Ok(edited), Ok(())) => edited,
        };
        Ok(Change { text: Some(edited.text), created: edited.created, patch: Some(edited.patch) })
    }

    /// The part of the request URI that exists.
    fn ancestor(&self, selector: &NodeSelector, steps: usize) -> String {
        let mut uri = format!("{}/{}", self.root, self.target.document);
        if steps > 0 {
            uri.push_str("/~~/");
            uri.push_str(&percent_encode(&selector.prefix(steps), true));
            if !self.target.query.is_empty() {
                uri.push('?');
                uri.push_str(self.target.query);
            }
        }
        uri
    }

    /// §8.2.5.
    fn validate(&self, text: &str) -> Decision<()> {
        if text.len() > self.limits.size {
            return Err(Refusal::TooLarge(self.limits.size));
        }
        let document =
            xml::parse(text, self.limits).map_err(|error| Conflict::ConstraintFailure { phrase: error.to_string() })?;
        let place = Place { root: self.root, document: &self.target.document };
        Ok(self.usage.check(&document, &place)?)
    }
}

/// Whether a list of entity tags has this one; `*` has all. Tags without quotes, as some clients send them, are taken.
fn lists(tags: &str, etag: &str) -> bool {
    let plain = |tag: &str| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag).to_owned()
    };
    tags.trim() == "*" || tags.split(',').any(|tag| plain(tag) == etag)
}

#[cfg(test)]
mod tests;
