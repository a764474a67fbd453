use super::*;

const ROOT: &str = "http://xcap.example.com/xcap-root";
const LISTS: &str = "resource-lists/users/sip:joe@example.com/index";
const BODY: &str = r#"<?xml version="1.0"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>
<entry uri="resource-lists/users/sip:joe@example.com/index"/>
<entry uri="rls-services/users/sip:joe@example.com/index/~~/*/service%5b@uri='sip:m@example.com'%5d"/>
<entry uri="pidf-manipulation/"/>
<entry uri="http://elsewhere.example.com/xcap-root/pidf-manipulation/"/>
</list></resource-lists>"#;

fn watch(body: &str, processing: Processing) -> Watch {
    let found = selections(body, ROOT, &Limits::default()).unwrap();
    Watch::new("sip:joe@example.com", ROOT, Limits::default(), found, processing)
}

/// Name and attributes of each child of a document of changes, and whether it has content.
fn lines(text: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(text).unwrap();
    let line = |child: roxmltree::Node<'_, '_>| {
        let value = |name: &str| child.attribute(name).map(|value| format!(" {name}={value}")).unwrap_or_default();
        let more = if child.has_children() { " +" } else { "" };
        let name = child.tag_name().name();
        format!("{name}{}{}{}{}{more}", value("sel"), value("previous-etag"), value("new-etag"), value("exists"))
    };
    document.root_element().children().filter(roxmltree::Node::is_element).map(line).collect()
}

/// RFC 5875 §4.4, Figure 1, and §5, Figure 2.
#[test]
fn the_first_tells_what_is_there() {
    let mut watch = watch(BODY, Processing::XcapPatching);
    assert!(watch.is_dirty(), "the first is sent though nothing may be there");
    assert!(watch.needs_text("rls-services", "index") && !watch.needs_text("resource-lists", "index"));
    watch.load("resource-lists", "index", "7ahggs", None);
    watch.load("pidf-manipulation", "index", "30376adf", None);
    watch.load("pres-rules", "index", "x", None);
    let services = r#"<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:m@example.com"/></rls-services>"#;
    watch.load("rls-services", "index", "y", Some(services));
    let expected = [
        "document sel=pidf-manipulation/users/sip:joe@example.com/index new-etag=30376adf".to_owned(),
        format!("document sel={LISTS} new-etag=7ahggs"),
        "element sel=rls-services/users/sip:joe@example.com/index/~~/*/service%5b@uri='sip:m@example.com'%5d +"
            .to_owned(),
    ];
    assert_eq!(lines(&watch.document()), expected);
    assert!(!watch.is_dirty());
    watch.want_full();
    assert_eq!(lines(&watch.document()), expected, "a refresh tells all again");
}

#[test]
fn without_patches_the_last_state_counts() {
    let mut watch = watch(BODY, Processing::NoPatching);
    watch.load("resource-lists", "index", "a", None);
    watch.document();
    watch.changed(("resource-lists", "index"), Some("a"), Some(("b", "<x/>")), None);
    watch.changed(("resource-lists", "index"), Some("b"), Some(("c", "<x/>")), None);
    watch.changed(("pidf-manipulation", "new"), None, Some(("n", "<x/>")), None);
    watch.changed(("pres-rules", "index"), None, Some(("n", "<x/>")), None);
    let expected = [
        "document sel=pidf-manipulation/users/sip:joe@example.com/new new-etag=n".to_owned(),
        format!("document sel={LISTS} previous-etag=a new-etag=c"),
    ];
    assert_eq!(lines(&watch.document()), expected);
    watch.changed(("resource-lists", "index"), Some("c"), None, None);
    // Made and gone again before anybody was told.
    watch.changed(("pidf-manipulation", "short"), None, Some(("s", "<x/>")), None);
    watch.changed(("pidf-manipulation", "short"), Some("s"), None, None);
    assert_eq!(lines(&watch.document()), [format!("document sel={LISTS} previous-etag=c")]);
    assert!(!watch.is_dirty());
}

/// §4.3: the whole history of tags, in order, with what was done to nodes.
#[test]
fn with_patches_each_step_counts() {
    let mut watch = watch(BODY, Processing::of(Some("Aggregate")));
    watch.load("resource-lists", "index", "1", None);
    watch.document();
    let patch = Patch::Remove { path: "*/*[1]".into() };
    watch.changed(("resource-lists", "index"), Some("1"), Some(("2", "<x/>")), Some(&patch));
    watch.changed(("resource-lists", "index"), Some("2"), Some(("3", "<x/>")), None);
    let expected = [
        format!("document sel={LISTS} previous-etag=1 new-etag=2 +"),
        format!("document sel={LISTS} previous-etag=2 new-etag=3"),
    ];
    assert_eq!(lines(&watch.document()), expected);

    for n in 3..400 {
        let (before, after) = (n.to_string(), (n + 1).to_string());
        watch.changed(("resource-lists", "index"), Some(&before), Some((&after, "<x/>")), Some(&patch));
    }
    assert_eq!(lines(&watch.document()), [format!("document sel={LISTS} previous-etag=3 new-etag=400")]);
    watch.changed(("resource-lists", "index"), Some("400"), Some(("401", "<x/>")), Some(&patch));
    let again = [format!("document sel={LISTS} previous-etag=400 new-etag=401 +")];
    assert_eq!(lines(&watch.document()), again, "afterwards the mode is the old one (§4.7)");
}

/// §4.7: a node that is not there waits, one that was there is told to be gone; only the latest state counts.
#[test]
fn nodes_come_and_go() {
    let sel = "resource-lists/users/sip:joe@example.com/index/~~/resource-lists/list%5b@name=%22a%22%5d/@name";
    let body = format!("<resource-lists><list><entry uri=\"{ROOT}/{sel}\"/></list></resource-lists>");
    let mut watch = watch(&body, Processing::NoPatching);
    assert_eq!(lines(&watch.document()), [""; 0]);
    let with = r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a"/></resource-lists>"#;
    let without = r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>"#;
    let at = ("resource-lists", "index");
    watch.changed(at, None, Some(("1", without)), None);
    assert!(!watch.is_dirty());
    watch.changed(at, Some("1"), Some(("2", with)), None);
    assert_eq!(lines(&watch.document()), [format!("attribute sel={sel} +")]);
    watch.changed(at, Some("2"), Some(("3", without)), None);
    assert_eq!(lines(&watch.document()), [format!("attribute sel={sel} exists=0")]);
    watch.changed(at, Some("3"), Some(("4", with)), None);
    watch.changed(at, Some("4"), None, None);
    assert!(!watch.is_dirty(), "nothing new since it was told to be gone");
}

#[test]
fn large_elements_are_only_named() {
    let sel = |n: usize| format!("resource-lists/users/sip:joe@example.com/index/~~/*/*%5b{n}%5d");
    let entries: String = (1..=2).map(|n| format!("<entry uri=\"{}\"/>", sel(n))).collect();
    let mut watch = watch(&format!("<l>{entries}</l>"), Processing::NoPatching);
    let filling = "x".repeat(20_000);
    let text = format!("<r><a>{filling}</a><b>{filling}</b></r>");
    watch.load("resource-lists", "index", "1", Some(&text));
    assert_eq!(lines(&watch.document()), [format!("element sel={} +", sel(1)), format!("element sel={}", sel(2))]);
}

#[test]
fn a_state_has_a_name() {
    let turned = BODY.lines().rev().filter(|line| line.starts_with("<entry")).collect::<String>();
    let turned = format!("<l>{turned}</l>");
    let (mut one, mut other) = (watch(BODY, Processing::NoPatching), watch(&turned, Processing::XcapPatching));
    assert_eq!(one.etag(), other.etag(), "the order of the list says nothing");
    one.load("resource-lists", "index", "1", None);
    assert_ne!(one.etag(), other.etag());
    other.load("resource-lists", "index", "1", None);
    assert_eq!(one.etag(), other.etag());
    one.document();
    assert_eq!(one.etag(), other.etag(), "what was told says nothing");
}

#[test]
fn what_selects_nothing() {
    for uri in [
        "http://elsewhere.example.com/resource-lists/users/sip:joe@example.com/index",
        "resource-lists/global/index",
        "unknown/users/sip:joe@example.com/index",
        "resource-lists/users/sip:joe@example.com/index/~~/*/namespace::*",
        "resource-lists/users/sip:joe@example.com/index/~~/a:b",
        "resource-lists/elsewhere/",
        "resource-lists",
        "resource-lists/users/%zz/index",
    ] {
        assert_eq!(Selection::parse(uri, ROOT), None, "{uri}");
    }
    let many: String = (0..200).map(|n| format!("<entry uri=\"pidf-manipulation/users/a/{n}\"/>")).collect();
    assert_eq!(selections(&format!("<l>{many}</l>"), ROOT, &Limits::default()).unwrap().len(), MAX_SELECTIONS);
    assert!(selections("<l>", ROOT, &Limits::default()).is_err());
}
