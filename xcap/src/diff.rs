//! Documents of changes (RFC 5874): what somebody who has copies of documents needs to know.

use crate::encode::xml_escape;
use crate::patch::Patch;
use crate::select::{self, Found};
use crate::selector::NodeSelector;
use crate::xml::{self, Limits};

pub const DIFF_TYPE: &str = "application/xcap-diff+xml";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:xcap-diff";

/// A document of changes that grows.
#[derive(Debug, Clone)]
pub struct Diff {
    out: String,
    empty: bool,
}

impl Diff {
    /// `root` is the XCAP root, without a slash at the end.
    pub fn new(root: &str) -> Diff {
        let out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<d:xcap-diff xmlns:d=\"{NAMESPACE}\" xcap-root=\"{}/\">\n",
            xml_escape(root)
        );
        Diff { out, empty: true }
    }

    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// A document that is there, was made, was changed, or is gone: by its entity tags before and after (§3, Figure 1).
    /// `sel` is its selector as the subscriber wrote it. With patches, those lead from the one to the other; without, the
    /// document is to be fetched.
    pub fn document<'p>(
        &mut self,
        sel: &str,
        previous: Option<&str>,
        new: Option<&str>,
        patches: impl IntoIterator<Item = &'p Patch>,
    ) {
        self.empty = false;
        self.out.push_str(&format!(" <d:document sel=\"{}\"", xml_escape(sel)));
        for (name, etag) in [("new-etag", new), ("previous-etag", previous)] {
            if let Some(etag) = etag {
                self.out.push_str(&format!(" {name}=\"{}\"", xml_escape(etag)));
            }
        }
        let operations: String = patches.into_iter().map(Patch::to_xml).collect();
        match &*operations {
            "" => self.out.push_str("/>\n"),
            _ => self.out.push_str(&format!(">{operations}</d:document>\n")),
        }
    }

    /// What [`node`], [`without_content`] or [`gone`] made.
    pub fn line(&mut self, line: &str) {
        self.empty = false;
        self.out.push_str(line);
    }

    pub fn finish(mut self) -> String {
        self.out.push_str("</d:xcap-diff>\n");
        self.out
    }
}

/// The element or attribute that `selector` finds in `text`, under the selector `sel` as the subscriber wrote it; `None` if
/// there is none.
pub(crate) fn node(sel: &str, selector: &NodeSelector, text: &str, limits: &Limits) -> Option<String> {
    let document = xml::parse(text, limits).ok()?;
    let sel = xml_escape(sel);
    match select::find(&document, selector) {
        Found::Element(element) => {
            let scope = select::declarations(element);
            Some(format!(" <d:element sel=\"{sel}\"{scope}>{}</d:element>\n", &text[element.range()]))
        }
        Found::Attribute(_, attribute) => {
            Some(format!(" <d:attribute sel=\"{sel}\">{}</d:attribute>\n", xml_escape(attribute.value())))
        }
        _ => None,
    }
}

/// The node is no longer there (§3).
pub(crate) fn gone(sel: &str, selector: &NodeSelector) -> String {
    format!(" <d:{} sel=\"{}\" exists=\"0\"/>\n", kind(selector), xml_escape(sel))
}

/// The node is there, and is not shown for its size (RFC 5875 §4.7).
pub(crate) fn without_content(sel: &str, selector: &NodeSelector) -> String {
    format!(" <d:{} sel=\"{}\"/>\n", kind(selector), xml_escape(sel))
}

fn kind(selector: &NodeSelector) -> &'static str {
    if selector.terminal.is_some() { "attribute" } else { "element" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::Bindings;
    use crate::edit;

    fn joe(name: &str) -> String {
        format!("tests/users/sip:joe@example.com/{name}")
    }

    fn selector(node: &str, query: &str) -> NodeSelector {
        NodeSelector::parse(node, &Bindings::parse(query).unwrap(), "").unwrap()
    }

    /// Its children, each as name, attributes in order of names, and content as text.
    fn lines(diff: Diff) -> Vec<String> {
        let text = diff.finish();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert!(root.has_tag_name((NAMESPACE, "xcap-diff")));
        assert_eq!(root.attribute("xcap-root"), Some("http://xcap.example.com/"));
        let line = |child: roxmltree::Node<'_, '_>| {
            assert_eq!(child.tag_name().namespace(), Some(NAMESPACE));
            let mut attributes: Vec<_> = child.attributes().map(|a| format!("{}={}", a.name(), a.value())).collect();
            attributes.sort();
            let whole = &text[child.range()];
            let content = whole.split_once('>').map_or("", |(_, rest)| rest);
            let content = content.rsplit_once("</").map_or("", |(content, _)| content);
            format!("{} {} {content}", child.tag_name().name(), attributes.join(" ")).trim_end().to_owned()
        };
        root.children().filter(roxmltree::Node::is_element).map(line).collect()
    }

    /// RFC 5874, appendix A.1.
    #[test]
    fn documents_made_changed_and_gone() {
        let mut diff = Diff::new("http://xcap.example.com");
        assert!(diff.is_empty());
        diff.document(&joe("index"), None, Some("7ahggs"), []);
        diff.document(&joe("another_document"), None, Some("terteer"), []);
        diff.document(&joe("another_document"), Some("terteer"), Some("huwiias"), []);
        diff.document(&joe("another_document"), Some("huwiias"), None, []);
        let sel = "sel=tests/users/sip:joe@example.com/another_document";
        let expected = [
            "document new-etag=7ahggs sel=tests/users/sip:joe@example.com/index".to_owned(),
            format!("document new-etag=terteer {sel}"),
            format!("document new-etag=huwiias previous-etag=terteer {sel}"),
            format!("document previous-etag=huwiias {sel}"),
        ];
        assert_eq!(lines(diff), expected);
    }

    /// RFC 5874, appendix A.2: three PUTs, each an operation, or all of them in one document.
    #[test]
    fn operations_that_lead_to_the_new_document() {
        let mut text = "<doc id=\"bar\">\n  <note>This is a sample document</note>\n</doc>".to_owned();
        let mut patches = Vec::new();
        for (node, body) in [
            ("doc/foo", "<foo>this is a new element</foo>"),
            ("doc/bar", "<bar>this is a bar element\n  </bar>"),
            ("doc/foobar", "<foobar>this is a foobar element</foobar>"),
        ] {
            let edited = edit::put(&text, &selector(node, ""), body.as_bytes(), &Limits::default()).unwrap();
            text = edited.text;
            patches.push(edited.patch);
        }
        let mut diff = Diff::new("http://xcap.example.com");
        diff.document(&joe("index"), Some("7ahggs3"), Some("63hjjsll"), &patches);
        let operations = "<d:add sel=\"*\"><foo>this is a new element</foo></d:add>\
             <d:add sel=\"*\"><bar>this is a bar element\n  </bar></d:add>\
             <d:add sel=\"*\"><foobar>this is a foobar element</foobar></d:add>";
        let sel = "sel=tests/users/sip:joe@example.com/index";
        assert_eq!(lines(diff), [format!("document new-etag=63hjjsll previous-etag=7ahggs3 {sel} {operations}")]);
    }

    /// RFC 5874, section 5 and appendix A.3.
    #[test]
    fn nodes_as_they_are() {
        let text = "<doc id=\"bar\"><foo>this is a new element</foo></doc>";
        let services = "<rls-services xmlns=\"urn:rls\" xmlns:rl=\"urn:rl\"><service uri=\"sip:m@e\"><rl:entry/>\
             </service></rls-services>";
        let mut diff = Diff::new("http://xcap.example.com");
        let limits = Limits::default();
        let mut show = |at: &str, query: &str, text: &str| {
            let question = if query.is_empty() { "" } else { "?" };
            let (sel, parsed) = (format!("{}/~~/{at}{question}{query}", joe("index")), selector(at, query));
            let line = node(&sel, &parsed, text, &limits).unwrap_or_else(|| gone(&sel, &parsed));
            diff.line(&line);
        };
        show("doc/@id", "", text);
        show("*/foo", "", text);
        show("doc/@gone", "", text);
        show("doc/foo/bar", "", text);
        show("*/a:service%5B@uri='sip:m@e'%5D", "xmlns(a=urn:rls)", services);
        let sel = "sel=tests/users/sip:joe@example.com/index/~~";
        let expected = [
            format!("attribute {sel}/doc/@id bar"),
            format!("element {sel}/*/foo <foo>this is a new element</foo>"),
            format!("attribute exists=0 {sel}/doc/@gone"),
            format!("element exists=0 {sel}/doc/foo/bar"),
            format!(
                "element {sel}/*/a:service%5B@uri='sip:m@e'%5D?xmlns(a=urn:rls) <service uri=\"sip:m@e\"><rl:entry/>\
                 </service>"
            ),
        ];
        assert_eq!(lines(diff), expected);
    }
}
