use super::*;
use crate::bindings::Bindings;

fn selector(text: &str) -> NodeSelector {
    NodeSelector::parse(text, &Bindings::parse("xmlns(p=urn:p)").unwrap(), "").unwrap()
}

/// The document after a PUT, or the conflict.
fn after_put(text: &str, at: &str, body: &str) -> String {
    match put(text, &selector(at), body.as_bytes(), &Limits::default()) {
        Ok(edited) => edited.text,
        Err(EditError::NoParent { steps }) => format!("no parent below {steps}"),
        Err(EditError::Conflict(conflict)) => conflict.element().into(),
    }
}

fn after_delete(text: &str, at: &str) -> String {
    match delete(text, &selector(at), &Limits::default()) {
        Ok(Some(edited)) => edited.text,
        Ok(None) => "nothing".into(),
        Err(conflict) => conflict.element().into(),
    }
}

/// RFC 4825 §8.2.3.
const ROOT: &str = "<?xml version=\"1.0\"?>\n<root>\n <el1 att=\"first\"/>\n <el1 att=\"second\"/>\n <!-- comment -->\n \
     <el2 att=\"first\"/>\n</root>";

#[test]
fn where_new_elements_go() {
    let with = |from: &str, to: &str| ROOT.replace(from, to);
    let third = with("<el1 att=\"second\"/>", "<el1 att=\"second\"/><el1 att=\"third\"/>");
    let second_el2 = with("<el2 att=\"first\"/>", "<el2 att=\"first\"/><el2 att=\"2\"/>");
    for (name, at, body, expected) in [
        ("behind those of its name", "root/el1[@att=\"third\"]", "<el1 att=\"third\"/>", third.clone()),
        ("as the third of its name", "root/el1[3][@att=\"third\"]", "<el1 att=\"third\"/>", third.clone()),
        ("as the third of all", "root/*[3][@att=\"third\"]", "<el1 att=\"third\"/>", third),
        ("as the third, by position alone", "root/el1[3]", "<el1/>", with("second\"/>", "second\"/><el1/>")),
        ("a new name", "root/el3", "<el3 att=\"first\"/>", with("</root>", "<el3 att=\"first\"/></root>")),
        ("a new name, first of it", "root/el3[1]", "<el3/>", with("</root>", "<el3/></root>")),
        (
            "no name and no position",
            "root/*[@att=\"x\"]",
            "<el1 att=\"x\"/>",
            with("</root>", "<el1 att=\"x\"/></root>"),
        ),
        ("behind its name at the end", "root/el2[@att=\"2\"]", "<el2 att=\"2\"/>", second_el2.clone()),
        ("as the second of its name", "root/el2[2][@att=\"2\"]", "<el2 att=\"2\"/>", second_el2),
        (
            "as the second of all",
            "root/*[2][@att=\"2\"]",
            "<el2 att=\"2\"/>",
            with("<el1 att=\"first\"/>", "<el1 att=\"first\"/><el2 att=\"2\"/>"),
        ),
        (
            "before its name",
            "root/el2[1][@att=\"2\"]",
            "<el2 att=\"2\"/>",
            with("<el2 att=\"first\"/>", "<el2 att=\"2\"/><el2 att=\"first\"/>"),
        ),
        (
            "before all",
            "root/*[1][@att=\"2\"]",
            "<el2 att=\"2\"/>",
            with("<el1 att=\"first\"/>", "<el2 att=\"2\"/><el1 att=\"first\"/>"),
        ),
        ("too few of its name", "root/el2[3]", "<el2/>", "cannot-insert".into()),
        ("too few of all", "root/*[5]", "<el2/>", "cannot-insert".into()),
        ("no position 0", "root/*[0]", "<el2/>", "cannot-insert".into()),
    ] {
        assert_eq!(after_put(ROOT, at, body), expected, "{name}");
    }
    // With the table of trap vectors: comments stay before what comes last.
    let text = "<r><x k=\"1\"/><x k=\"2\"/><!--c--><y k=\"1\"/></r>";
    for (at, body, expected) in [
        ("r/x[@k=\"3\"]", "<x k=\"3\"/>", "<r><x k=\"1\"/><x k=\"2\"/><x k=\"3\"/><!--c--><y k=\"1\"/></r>"),
        ("r/*[2][@k=\"4\"]", "<y k=\"4\"/>", "<r><x k=\"1\"/><y k=\"4\"/><x k=\"2\"/><!--c--><y k=\"1\"/></r>"),
        ("r/y[1][@k=\"2\"]", "<y k=\"2\"/>", "<r><x k=\"1\"/><x k=\"2\"/><!--c--><y k=\"2\"/><y k=\"1\"/></r>"),
        ("r/z", "<z k=\"1\"/>", "<r><x k=\"1\"/><x k=\"2\"/><!--c--><y k=\"1\"/><z k=\"1\"/></r>"),
    ] {
        assert_eq!(after_put(text, at, body), expected, "{at}");
    }
}

#[test]
fn empty_elements_open() {
    for (text, expected) in [
        ("<r/>", "<r><a/></r>"),
        ("<r />", "<r ><a/></r>"),
        ("<r x='/>'/>", "<r x='/>'><a/></r>"),
        ("<r></r>", "<r><a/></r>"),
        ("<r></r\n>", "<r><a/></r\n>"),
        ("<r>text<!-- </r> --></r>", "<r>text<!-- </r> --><a/></r>"),
    ] {
        assert_eq!(after_put(text, "r/a", "<a/>"), expected);
    }
    assert_eq!(after_put("<q:r xmlns:q='urn:p'/>", "p:r/a", "<a/>"), "<q:r xmlns:q='urn:p'><a/></q:r>");
}

#[test]
fn replacing_leaves_the_rest() {
    for (name, at, body, expected) in [
        (
            "by attribute",
            "root/el1[@att=\"first\"]",
            "<el1 att=\"first\" x=\"&amp;\"/>",
            "<el1 att=\"first\" x=\"&amp;\"/>",
        ),
        ("by position", "root/el1[1]", "<el1 att='new'><b/></el1>", "<el1 att='new'><b/></el1>"),
        ("by wildcard", "root/*[1]", "<other/>", "<other/>"),
    ] {
        let expected = ROOT.replace("<el1 att=\"first\"/>", expected);
        assert_eq!(after_put(ROOT, at, body), expected, "{name}");
    }
    assert_eq!(after_put("<r>\n</r>\n<!-- end -->", "r", "<r x='1'/>"), "<r x='1'/>\n<!-- end -->");
}

#[test]
fn what_would_not_be_selected_is_not_put() {
    for (name, text, at, body, expected) in [
        ("key of another value", ROOT, "root/el1[@att=\"first\"]", "<el1 att=\"other\"/>", "cannot-insert"),
        ("key is missing", ROOT, "root/el1[@att=\"new\"]", "<el1/>", "cannot-insert"),
        ("another name", ROOT, "root/el1[@att=\"new\"]", "<el2 att=\"new\"/>", "cannot-insert"),
        ("another namespace", ROOT, "root/el3", "<el3 xmlns=\"urn:p\"/>", "cannot-insert"),
        ("one of several", ROOT, "root/el1", "<el1/>", "cannot-insert"),
        ("second root", ROOT, "other", "<other/>", "cannot-insert"),
        ("other root", ROOT, "root", "<other/>", "cannot-insert"),
        ("not an element", ROOT, "root/el3", "text", "not-xml-frag"),
        ("no parent", ROOT, "root/list/entry", "<entry/>", "no parent below 1"),
        ("ambiguous parent", ROOT, "root/el1/entry", "<entry/>", "no parent below 1"),
        ("no root of that name", ROOT, "list/entry", "<entry/>", "no parent below 0"),
        ("no element for the attribute", ROOT, "root/el9/@x", "\"1\"", "no parent below 1"),
        ("attribute of the predicate", ROOT, "root/el1[@att=\"first\"]/@att", "\"other\"", "cannot-insert"),
        ("bad value", ROOT, "root/el1[1]/@att", "\"<\"", "not-xml-att-value"),
    ] {
        assert_eq!(after_put(text, at, body), expected, "{name}");
    }
}

#[test]
fn attributes_are_set_in_place() {
    for (name, text, at, body, expected) in [
        ("replaced", "<r a='1' b=\"2\"/>", "r/@a", "\"x\"", "<r a=\"x\" b=\"2\"/>"),
        ("same value by its predicate", "<r><e a='1'/></r>", "r/e[@a=\"1\"]/@a", "\"1\"", "<r><e a=\"1\"/></r>"),
        ("new", "<r/>", "r/@a", "\"x\"", "<r a=\"x\"/>"),
        ("new beside others", "<r\n  b='1'>t</r>", "r/@a", "'x\"'", "<r a='x\"'\n  b='1'>t</r>"),
        ("bare value", "<r/>", "r/@a", "x", "<r a=\"x\"/>"),
        ("references stay", "<r/>", "r/@a", "\"&amp;&#65;\"", "<r a=\"&amp;&#65;\"/>"),
        ("spaces around the sign", "<r a = '1'/>", "r/@a", "\"x\"", "<r a = \"x\"/>"),
        ("prefix of the document", "<r xmlns:q='urn:p'/>", "r/@p:a", "\"x\"", "<r q:a=\"x\" xmlns:q='urn:p'/>"),
        ("prefix of the request", "<r/>", "r/@p:a", "\"x\"", "<r xmlns:p=\"urn:p\" p:a=\"x\"/>"),
        (
            "prefix of another namespace",
            "<r xmlns:p='urn:other'/>",
            "r/@p:a",
            "\"x\"",
            "<r xmlns:p1=\"urn:p\" p1:a=\"x\" xmlns:p='urn:other'/>",
        ),
        ("prefix of XML", "<r/>", "r/@xml:lang", "\"fr\"", "<r xml:lang=\"fr\"/>"),
        (
            "beside one of the same local name",
            "<r a='1'/>",
            "r/@p:a",
            "\"x\"",
            "<r xmlns:p=\"urn:p\" p:a=\"x\" a='1'/>",
        ),
    ] {
        assert_eq!(after_put(text, at, body), expected, "{name}");
    }
}

#[test]
fn deletion_leaves_the_space_around() {
    for (name, text, at, expected) in [
        ("element", "<r> <a/> <b/> </r>", "r/a", "<r>  <b/> </r>"),
        ("by attribute", "<r><a k='1'/><a k='2'/></r>", "r/a[@k=\"1\"]", "<r><a k='2'/></r>"),
        ("last by position", "<r><a k='1'/><a k='2'/></r>", "r/a[2]", "<r><a k='1'/></r>"),
        ("not the last by position", "<r><a k='1'/><a k='2'/></r>", "r/a[1]", "cannot-delete"),
        ("not the last of all", "<r><a/><b/></r>", "r/*[1]", "cannot-delete"),
        ("position and attribute", "<r><a k='1'/><a k='2'/></r>", "r/*[1][@k=\"1\"]", "<r><a k='2'/></r>"),
        ("a neighbour with the same key", "<r><a k='1'/><a k='1'/></r>", "r/*[1][@k=\"1\"]", "cannot-delete"),
        ("several", "<r><a/><a/></r>", "r/a", "nothing"),
        ("nothing", "<r/>", "r/a", "nothing"),
        ("root", "<r/>", "r", "schema-validation-error"),
        ("attribute", "<r a='1'  b='2'/>", "r/@b", "<r a='1'/>"),
        ("attribute in the middle", "<r a='1' b='2' c='3'/>", "r/@b", "<r a='1' c='3'/>"),
        ("attribute that the predicate tests", "<r><a k='1'/></r>", "r/a[@k=\"1\"]/@k", "<r><a/></r>"),
    ] {
        assert_eq!(after_delete(text, at), expected, "{name}");
    }
}

#[test]
fn patches_say_what_was_done() {
    let patch = |at: &str, body: &str| {
        put(ROOT, &selector(at), body.as_bytes(), &Limits::default()).map(|edited| edited.patch.to_xml()).unwrap()
    };
    for (at, body, expected) in [
        ("root/el3", "<el3/>", "<d:add sel=\"*\"><el3/></d:add>"),
        ("root/el1[@att=\"x\"]", "<el1 att='x'/>", "<d:add sel=\"*/*[2]\" pos=\"after\"><el1 att='x'/></d:add>"),
        ("root/*[1][@att=\"x\"]", "<el1 att='x'/>", "<d:add sel=\"*/*[1]\" pos=\"before\"><el1 att='x'/></d:add>"),
        ("root/el2", "<el2>t</el2>", "<d:replace sel=\"*/*[3]\"><el2>t</el2></d:replace>"),
        ("root/el2/@att", "\"a&amp;b\"", "<d:replace sel=\"*/*[3]/@att\">a&amp;b</d:replace>"),
        ("root/el2/@new", "\"v\"", "<d:add sel=\"*/*[3]\" type=\"@new\">v</d:add>"),
    ] {
        assert_eq!(patch(at, body), expected, "{at}");
    }
    let gone = delete(ROOT, &selector("root/el2"), &Limits::default()).unwrap().unwrap();
    assert_eq!(gone.patch.to_xml(), "<d:remove sel=\"*/*[3]\"/>");
    let text = "<r xmlns='urn:p' xmlns:q='urn:q'><q:a/></r>";
    let added = put(text, &selector("p:r/p:b"), b"<b/>", &Limits::default()).unwrap();
    assert_eq!(added.patch.to_xml(), "<d:add sel=\"*\" xmlns=\"urn:p\" xmlns:q=\"urn:q\"><b/></d:add>");
}

proptest::proptest! {
    /// Whatever was put at a selector of our own making is what a GET finds there, and a second PUT changes nothing.
    #[test]
    fn get_of_put_is_what_was_put(
        before in proptest::collection::vec((0..3_usize, 0..4_u8), 0..8),
        name in 0..3_usize,
        key in 0..6_u8,
        position in proptest::option::of(0..5_usize),
        wild: bool,
    ) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let children: String =
            before.iter().map(|(name, key)| format!(" <{} k=\"{key}\"/><!--x-->", NAMES[*name])).collect();
        let text = format!("<r>{children}</r>");
        let test = if wild { "*" } else { NAMES[name] };
        let position = position.map(|p| format!("[{p}]")).unwrap_or_default();
        let at = selector(&format!("r/{test}{position}[@k=\"{key}\"]"));
        let body = format!("<{} k=\"{key}\">new</{0}>", NAMES[name]);
        if let Ok(edited) = put(&text, &at, body.as_bytes(), &Limits::default()) {
            let document = xml::parse(&edited.text, &Limits::default()).unwrap();
            let Found::Element(element) = select::find(&document, &at) else { panic!("{}", edited.text) };
            assert_eq!(&edited.text[element.range()], body);
            let again = put(&edited.text, &at, body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(again.text, edited.text);
            assert!(!again.created);
            if edited.created {
                let gone = delete(&edited.text, &at, &Limits::default());
                if let Ok(Some(gone)) = gone {
                    // An empty parent stays open.
                    assert_eq!(gone.text, text);
                }
            }
        }
    }
}
