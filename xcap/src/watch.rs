//! What a subscriber to changes of documents is told (RFC 5875), without the subscription: which documents and nodes it
//! asked for, what it knows of them, and the document of changes that it gets next.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::bindings::Bindings;
use crate::diff::{self, Diff};
use crate::encode::percent_decode;
use crate::patch::Patch;
use crate::selector::NodeSelector;
use crate::target::{DocumentSelector, Target, Tree};
use crate::usage;
use crate::xml::{self, Limits, XmlError};

/// Selections of one subscription, at most.
pub const MAX_SELECTIONS: usize = 64;
/// Octets of elements in one document of changes; what is beyond is shown without its content (§4.7).
const MAX_CONTENT: usize = 32 * 1024;
/// Operations kept for one notification; with more the documents are only named (§4.7).
const MAX_OPERATIONS: usize = 128;
const MAX_OPERATION_OCTETS: usize = 32 * 1024;

/// How changes of documents are told (§4.3). `aggregate` is served as `xcap-patching`, as a notifier may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Processing {
    #[default]
    NoPatching,
    XcapPatching,
}

impl Processing {
    /// From the event parameter `diff-processing`; what is not known is the simplest mode.
    pub fn of(parameter: Option<&str>) -> Processing {
        match parameter {
            Some(value) if ["xcap-patching", "aggregate"].iter().any(|known| value.eq_ignore_ascii_case(known)) => {
                Processing::XcapPatching
            }
            _ => Processing::NoPatching,
        }
    }
}

/// A document of the subscriber: usage and name.
type Key = (Box<str>, Box<str>);

/// What an entry of the list asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// As it was written, relative to the root.
    pub sel: Box<str>,
    /// Whose documents, decoded; a collection above the users has none.
    pub xui: Option<Box<str>>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// All documents below; `None` is every usage, and the folder ends with a slash unless it is the home itself.
    Collection {
        auid: Option<Box<str>>,
        folder: Box<str>,
    },
    Document(Key),
    Node(Key, NodeSelector),
}

impl Selection {
    /// An entry by its `uri`: absolute below `root`, or relative to it. `None` where it can select nothing here.
    pub fn parse(uri: &str, root: &str) -> Option<Selection> {
        let sel = uri.strip_prefix(root).unwrap_or(uri);
        let sel = sel.trim_start_matches('/');
        if sel.contains("://") {
            return None;
        }
        let (path, query) = sel.split_once('?').unwrap_or((sel, ""));
        let is_collection = path.is_empty() || path.ends_with('/') && !path.contains("/~~/");
        if is_collection {
            return collection(sel, path);
        }
        let target = Target::parse(path, query).ok()?;
        let DocumentSelector { auid, tree: Tree::Users(xui), name } = target.document else { return None };
        let usage = usage::by_auid(&auid)?;
        let key = (auid, name);
        let what = match target.node {
            None => What::Document(key),
            Some(node) => {
                let bindings = Bindings::parse(query).ok()?;
                let selector = NodeSelector::parse(node, &bindings, usage.namespace).ok()?;
                // Namespaces are not subscribed to (§4.1).
                if matches!(selector.terminal, Some(crate::Terminal::Namespaces)) {
                    return None;
                }
                What::Node(key, selector)
            }
        };
        Some(Selection { sel: sel.into(), xui: Some(xui), what })
    }

    fn selects(&self, key: &Key) -> bool {
        match &self.what {
            What::Document(own) => own == key,
            What::Collection { auid, folder } => {
                auid.as_ref().is_none_or(|auid| *auid == key.0) && key.1.starts_with(&**folder)
            }
            What::Node(..) => false,
        }
    }

    /// Usage and name of the document that a node of is selected, or that is selected itself.
    fn document(&self) -> Option<(&str, &str)> {
        match &self.what {
            What::Document((auid, name)) | What::Node((auid, name), _) => Some((auid, name)),
            What::Collection { .. } => None,
        }
    }
}

fn collection(sel: &str, path: &str) -> Option<Selection> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).map(percent_decode);
    let auid = segments.next().transpose().ok()?;
    match segments.next().transpose().ok()?.as_deref() {
        None | Some("users") => {}
        _ => return None,
    }
    let xui = segments.next().transpose().ok()?.map(Into::into);
    let folder: String = segments.map(|segment| segment.map(|name| name + "/")).collect::<Result<_, _>>().ok()?;
    let what = What::Collection { auid: auid.map(Into::into), folder: folder.into() };
    Some(Selection { sel: sel.into(), xui, what })
}

/// Reads the list of a SUBSCRIBE (§4.4). What selects nothing here is left out, as is what is beyond
/// [`MAX_SELECTIONS`].
pub fn selections(body: &str, root: &str, limits: &Limits) -> Result<Vec<Selection>, XmlError> {
    let document = xml::parse(body, limits)?;
    let entries = document.descendants().filter(|node| node.is_element() && node.tag_name().name() == "entry");
    let mut found: Vec<Selection> = Vec::new();
    for selection in entries.filter_map(|entry| Selection::parse(entry.attribute("uri")?.trim(), root)) {
        if found.len() < MAX_SELECTIONS && !found.iter().any(|other| other.sel == selection.sel) {
            found.push(selection);
        }
    }
    Ok(found)
}

/// What is known of a document.
#[derive(Debug)]
struct Known {
    sel: Box<str>,
    /// The tag that the subscriber was told last.
    told: Option<Box<str>>,
    now: Option<Box<str>>,
}

/// What is known of a node.
#[derive(Debug)]
struct Node {
    /// Into the selections.
    selection: usize,
    told: Option<String>,
    now: Option<String>,
}

/// One change of a document.
#[derive(Debug)]
struct Step {
    key: Key,
    previous: Option<Box<str>>,
    new: Option<Box<str>>,
    patch: Option<Patch>,
}

/// The state of one subscription. It begins empty: [`Watch::load`] brings what is there, [`Watch::changed`] what changes.
#[derive(Debug)]
pub struct Watch {
    selections: Vec<Selection>,
    pub processing: Processing,
    /// The XUI of the subscriber, as documents in collections are named by it.
    xui: Box<str>,
    root: Box<str>,
    limits: Limits,
    documents: BTreeMap<Key, Known>,
    nodes: Vec<Node>,
    steps: Vec<Step>,
    octets: usize,
    /// More happened than is kept: documents are only named this time.
    overflowed: bool,
    full: bool,
}

impl Watch {
    /// Of the documents of one user. `root` is the XCAP root, without a slash at the end.
    pub fn new(xui: &str, root: &str, limits: Limits, selections: Vec<Selection>, processing: Processing) -> Watch {
        let is_node = |(n, selection): (usize, &Selection)| matches!(selection.what, What::Node(..)).then_some(n);
        let nodes = selections.iter().enumerate().filter_map(is_node);
        let nodes = nodes.map(|selection| Node { selection, told: None, now: None }).collect();
        Watch {
            nodes,
            selections,
            processing,
            xui: xui.into(),
            root: root.into(),
            limits,
            documents: BTreeMap::new(),
            steps: Vec::new(),
            octets: 0,
            overflowed: false,
            full: true,
        }
    }

    /// Whether a document, or a node in it, is selected by name.
    pub fn names(&self, auid: &str, name: &str) -> bool {
        self.selections.iter().any(|selection| selection.document() == Some((auid, name)))
    }

    /// Whether the text of a document is needed, and not only its tag.
    pub fn needs_text(&self, auid: &str, name: &str) -> bool {
        self.nodes.iter().any(|node| self.selections[node.selection].document() == Some((auid, name)))
    }

    /// A document as it was when the subscription began; `text` where [`Watch::needs_text`] says so.
    pub fn load(&mut self, auid: &str, name: &str, etag: &str, text: Option<&str>) {
        self.set(auid, name, Some(etag), text);
    }

    /// A document is another one now: `None` stands for one that is not there.
    pub fn changed(
        &mut self,
        (auid, name): (&str, &str),
        previous: Option<&str>,
        new: Option<(&str, &str)>,
        patch: Option<&Patch>,
    ) {
        let selected = self.set(auid, name, new.map(|(etag, _)| etag), new.map(|(_, text)| text));
        if !selected || self.processing == Processing::NoPatching || self.overflowed {
            return;
        }
        self.octets += patch.map_or(64, |patch| patch.to_xml().len());
        if self.steps.len() >= MAX_OPERATIONS || self.octets > MAX_OPERATION_OCTETS {
            self.overflowed = true;
            self.steps.clear();
            return;
        }
        self.steps.push(Step {
            key: (auid.into(), name.into()),
            previous: previous.map(Into::into),
            new: new.map(|(etag, _)| etag.into()),
            patch: patch.cloned(),
        });
    }

    /// Whether it is a document that is selected.
    fn set(&mut self, auid: &str, name: &str, etag: Option<&str>, text: Option<&str>) -> bool {
        let key: Key = (auid.into(), name.into());
        for node in &mut self.nodes {
            let selection = &self.selections[node.selection];
            if let What::Node(own, selector) = &selection.what
                && *own == key
            {
                node.now = text.and_then(|text| diff::node(&selection.sel, selector, text, &self.limits));
            }
        }
        // One that is named octet by octet goes before a collection that it lies in.
        let named = self.selections.iter().find(|s| matches!(&s.what, What::Document(own) if *own == key));
        let Some(selection) = named.or_else(|| self.selections.iter().find(|s| s.selects(&key))) else { return false };
        let sel = match &selection.what {
            What::Document(_) => selection.sel.clone(),
            _ => DocumentSelector::of_user(auid, &self.xui, name).to_string().into(),
        };
        let known = self.documents.entry(key).or_insert(Known { sel, told: None, now: None });
        known.now = etag.map(Into::into);
        true
    }

    /// Whether the subscriber does not know all.
    pub fn is_dirty(&self) -> bool {
        self.full
            || self.documents.values().any(|known| known.now != known.told)
            || self.nodes.iter().any(|node| node.now != node.told)
            || !self.steps.is_empty()
    }

    /// All that is there is to be told, whatever the subscriber knows.
    pub fn want_full(&mut self) {
        self.full = true;
    }

    /// The next document of changes; what it says is known afterwards.
    pub fn document(&mut self) -> String {
        let mut diff = Diff::new(&self.root);
        let full = std::mem::take(&mut self.full);
        let steps = std::mem::take(&mut self.steps);
        let named = self.processing == Processing::NoPatching || std::mem::take(&mut self.overflowed);
        self.octets = 0;
        if full {
            for known in self.documents.values().filter(|known| known.now.is_some()) {
                diff.document(&known.sel, None, known.now.as_deref(), None);
            }
        } else if named {
            for known in self.documents.values().filter(|known| known.now != known.told) {
                diff.document(&known.sel, known.told.as_deref(), known.now.as_deref(), None);
            }
        } else {
            for step in &steps {
                if let Some(known) = self.documents.get(&step.key) {
                    diff.document(&known.sel, step.previous.as_deref(), step.new.as_deref(), &step.patch);
                }
            }
        }
        let mut room = MAX_CONTENT;
        for node in &mut self.nodes {
            let selection = &self.selections[node.selection];
            let What::Node(_, selector) = &selection.what else { continue };
            match &node.now {
                Some(line) if full || node.now != node.told => match room.checked_sub(line.len()) {
                    Some(rest) => {
                        room = rest;
                        diff.line(line);
                    }
                    None => diff.line(&diff::without_content(&selection.sel, selector)),
                },
                None if !full && node.told.is_some() => diff.line(&diff::gone(&selection.sel, selector)),
                _ => {}
            }
            node.told.clone_from(&node.now);
        }
        self.documents.retain(|_, known| {
            known.told.clone_from(&known.now);
            known.now.is_some()
        });
        diff.finish()
    }

    /// Names the whole state (RFC 5839), whatever the order of the selections.
    pub fn etag(&self) -> Box<str> {
        let mut sels: Vec<&str> = self.selections.iter().map(|selection| &*selection.sel).collect();
        sels.sort_unstable();
        let mut nodes: Vec<&str> = self.nodes.iter().filter_map(|node| node.now.as_deref()).collect();
        nodes.sort_unstable();
        let documents: Vec<_> =
            self.documents.iter().filter_map(|(key, known)| Some((key, known.now.as_ref()?))).collect();
        let mut hasher = DefaultHasher::new();
        (sels, nodes, documents).hash(&mut hasher);
        format!("{:016x}", hasher.finish()).into()
    }
}

#[cfg(test)]
mod tests;
