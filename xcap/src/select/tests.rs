use super::*;
use crate::bindings::Bindings;
use crate::xml::{self, Limits};

/// What a selector with a query finds: the text of an element, the value of an attribute, namespaces, or why nothing.
fn get(text: &str, default: &str, selector: &str, query: &str) -> String {
    let bindings = Bindings::parse(query).unwrap();
    let selector = NodeSelector::parse(selector, &bindings, default).unwrap();
    let document = xml::parse(text, &Limits::default()).unwrap();
    match find(&document, &selector) {
        Found::Element(element) => text[element.range()].into(),
        Found::Attribute(_, attribute) => attribute_value(text, &attribute).into(),
        Found::Namespaces(element) => namespace_document(text, element),
        Found::Nothing { step } => format!("nothing at {step}"),
        Found::Several { step } => format!("several at {step}"),
    }
}

/// RFC 4825, Figure 3, in other words.
const WATCHERS: &str = r#"<?xml version="1.0"?>
<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">
  <watcher-list resource="sip:professor@example.net" package="presence">
    <watcher status="active" id="8ajksjda7s" event="approved">sip:userA@example.net</watcher>
    <!-- not yet -->
    <watcher status="pending" id="hh8juja87s997-ass7" event='subscribe'>sip:userB@example.org</watcher>
  </watcher-list>
</watcherinfo>"#;

#[test]
fn each_step_picks_one_element() {
    let ns = "urn:ietf:params:xml:ns:watcherinfo";
    let first = r#"<watcher status="active" id="8ajksjda7s" event="approved">sip:userA@example.net</watcher>"#;
    let second =
        r#"<watcher status="pending" id="hh8juja87s997-ass7" event='subscribe'>sip:userB@example.org</watcher>"#;
    for (name, selector, expected) in [
        ("by attribute", "watcherinfo/watcher-list/watcher[@id=\"8ajksjda7s\"]", first),
        ("by position", "watcherinfo/watcher-list/watcher[2]", second),
        ("wildcards", "*/*/*[1]", first),
        ("position, then attribute", "*/*/*[2][@status=\"pending\"]", second),
        ("position of another", "*/*/*[1][@status=\"pending\"]", "nothing at 2"),
        ("no such name", "watcherinfo/list/watcher", "nothing at 1"),
        ("several", "watcherinfo/watcher-list/watcher", "several at 2"),
        ("position 0", "*/*/*[0]", "nothing at 2"),
        ("position too high", "*/*/watcher[3]", "nothing at 2"),
        ("attribute", "*/*/watcher[1]/@status", "\"active\""),
        ("attribute with its own quotes", "*/*/watcher[2]/@event", "'subscribe'"),
        ("no such attribute", "*/*/watcher[2]/@display-name", "nothing at 3"),
        ("a declaration is no attribute", "watcherinfo/@xmlns", "nothing at 1"),
        ("nor a predicate", "*[@xmlns=\"urn:ietf:params:xml:ns:watcherinfo\"]", "nothing at 0"),
        ("other root", "watchers", "nothing at 0"),
    ] {
        assert_eq!(get(WATCHERS, ns, selector, ""), expected, "{name}");
    }
    assert_eq!(get(WATCHERS, "", "watcherinfo/watcher-list", ""), "nothing at 0");
}

/// RFC 4825 §6.4 and §10.
const FOO: &str = r#"<?xml version="1.0"?>
<foo xmlns="urn:test:default-namespace">
  <ns1:bar xmlns:ns1="urn:test:namespace1-uri" xmlns="urn:test:namespace1-uri">
    <baz/>
    <ns2:baz xmlns:ns2="urn:test:namespace2-uri" ns2:x="1" x="2"/>
  </ns1:bar>
  <ns3:hi xmlns:ns3="urn:test:namespace3-uri">
    <there/>
  </ns3:hi>
</foo>"#;

#[test]
fn names_are_compared_with_their_namespaces() {
    let default = "urn:test:default-namespace";
    let a = "xmlns(a=urn:test:namespace1-uri)";
    let b2 = "xmlns(b=urn:test:namespace2-uri)";
    let second = r#"<ns2:baz xmlns:ns2="urn:test:namespace2-uri" ns2:x="1" x="2"/>"#;
    for (name, selector, query, expected) in [
        ("two prefixes of one namespace", "foo/a:bar/b:baz", format!("{a}xmlns(b=urn:test:namespace1-uri)"), "<baz/>"),
        ("two namespaces", "foo/a:bar/b:baz", format!("{a}{b2}"), second),
        ("the default by a prefix", "d:foo/a:bar/b:baz", format!("{a}{b2}xmlns(d=urn:test:default-namespace)"), second),
        ("the default of the usage, not of the document", "foo/a:bar/baz", a.into(), "nothing at 2"),
        ("wildcard of any namespace", "*/*[1]/*[2]", String::new(), second),
        ("attribute in a namespace", "*/*[1]/*[2]/@b:x", b2.into(), "\"1\""),
        ("attribute in none", "*/*[1]/*[2]/@x", b2.into(), "\"2\""),
        ("predicate in a namespace", "*/*[1]/*[@b:x=\"1\"]", b2.into(), second),
        ("predicate in none", "*/*[1]/*[@x=\"1\"]", b2.into(), "nothing at 2"),
        ("default of the document", "*/*[2]/there", String::new(), "<there/>"),
    ] {
        assert_eq!(get(FOO, default, selector, &query), expected, "{name}");
    }
}

#[test]
fn namespaces_in_scope() {
    let query = "xmlns(df=urn:test:default-namespace)xmlns(df2=urn:test:namespace1-uri)";
    let text = get(FOO, "", "df:foo/df2:bar/df2:baz/namespace::*", query);
    let document = roxmltree::Document::parse(&text).unwrap();
    let root = document.root_element();
    assert_eq!(qname(&text, root), "baz");
    let mut found: Vec<_> = root.namespaces().map(|n| (n.name(), n.uri())).filter(|n| n.0 != Some("xml")).collect();
    found.sort_unstable();
    assert_eq!(found, [(None, "urn:test:namespace1-uri"), (Some("ns1"), "urn:test:namespace1-uri")]);
    assert!(get(FOO, "", "*/*[2]/namespace::*", "").starts_with("<ns3:hi "));
    assert_eq!(get("<a/>", "", "a/namespace::*", ""), "<a/>");
}

#[test]
fn an_empty_default_is_no_namespace() {
    assert_eq!(get("<a xmlns='urn:a'><b xmlns=''/></a>", "", "*/b", ""), "<b xmlns=''/>");
    assert_eq!(get("<a xmlns='urn:a'><b xmlns=''/></a>", "urn:a", "a/b", ""), "nothing at 1");
}
