//! Documents of changes (RFC 5874): what somebody who has copies of documents needs to know.

use crate::encode::{percent_encode, xml_escape};
use crate::patch::Patch;
use crate::select::{self, Found};
use crate::selector::NodeSelector;
use crate::target::DocumentSelector;
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
    /// With patches, those lead from the one to the other; without, the document is to be fetched.
    pub fn document<'p>(
        &mut self,
        selector: &DocumentSelector,
        previous: Option<&str>,
        new: Option<&str>,
        patches: impl IntoIterator<Item = &'p Patch>,
    ) {
        self.empty = false;
        self.out.push_str(&format!(" <d:document sel=\"{}\"", xml_escape(&selector.to_string())));
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

    /// The element or attribute that `node` (a percent-encoded selector) with `query` names in `text`, the document as it
    /// is now; `None` if there is none. False if the selector is none or asks for something else.
    pub fn node(
        &mut self,
        selector: &DocumentSelector,
        (node, query): (&str, &str),
        parsed: &NodeSelector,
        text: Option<&str>,
        limits: &Limits,
    ) -> bool {
        let mut sel = format!("{selector}/~~/{node}");
        if !query.is_empty() {
            sel.push('?');
            sel.push_str(query);
        }
        let sel = xml_escape(&sel);
        let document = text.and_then(|text| xml::parse(text, limits).ok());
        let found = document.as_ref().map(|document| select::find(document, parsed));
        let line = match (found, text) {
            (Some(Found::Element(element)), Some(text)) => {
                let scope = select::declarations(element);
                format!(" <d:element sel=\"{sel}\"{scope}>{}</d:element>\n", &text[element.range()])
            }
            (Some(Found::Attribute(_, attribute)), _) => {
                format!(" <d:attribute sel=\"{sel}\">{}</d:attribute>\n", xml_escape(attribute.value()))
            }
            (Some(Found::Namespaces(_)), _) => return false,
            _ if parsed.terminal.is_some() => format!(" <d:attribute sel=\"{sel}\" exists=\"0\"/>\n"),
            _ => format!(" <d:element sel=\"{sel}\" exists=\"0\"/>\n"),
        };
        self.empty = false;
        self.out.push_str(&line);
        true
    }

    pub fn finish(mut self) -> String {
        self.out.push_str("</d:xcap-diff>\n");
        self.out
    }
}

/// A selector as it stands in a document of changes.
pub fn encode_selector(decoded: &str) -> String {
    percent_encode(decoded, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::Bindings;
    use crate::edit;

    fn joe(name: &str) -> DocumentSelector {
        DocumentSelector::of_user("tests", "sip:joe@example.com", name)
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
        let mut node = |at: &str, query: &str, text: Option<&str>| {
            assert!(diff.node(&joe("index"), (at, query), &selector(at, query), text, &limits));
        };
        node("doc/@id", "", Some(text));
        node("*/foo", "", Some(text));
        node("doc/@gone", "", Some(text));
        node("doc/foo/bar", "", None);
        node("*/a:service%5B@uri='sip:m@e'%5D", "xmlns(a=urn:rls)", Some(services));
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
