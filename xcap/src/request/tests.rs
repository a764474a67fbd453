use super::*;
use crate::usage;

const ROOT: &str = "http://xcap.example.com";

/// One document of one user, and requests for it.
struct Bench {
    auid: &'static str,
    xui: &'static str,
    text: Option<String>,
    etag: usize,
}

impl Bench {
    fn new(auid: &'static str, text: Option<&str>) -> Bench {
        Bench { auid, xui: "sip:bill@example.com", text: text.map(Into::into), etag: 1 }
    }

    /// `METHOD node[?query]`, with conditions: the status, and what came with it.
    fn ask(&mut self, request: &str, body: &str, conditions: Conditions<'_>) -> (u16, String) {
        let (method, rest) = request.split_once(' ').unwrap();
        let (node, query) = rest.split_once('?').unwrap_or((rest, ""));
        let separator = if node.is_empty() { "" } else { "/~~/" };
        let path = format!("{}/users/{}/index{separator}{node}", self.auid, self.xui);
        let target = Target::parse(&path, query).unwrap();
        let etag = self.etag.to_string();
        let before = self.text.clone();
        let current = before.as_deref().map(|text| Current { text, etag: &etag });
        let usage = usage::by_auid(self.auid).unwrap();
        let limits = Limits::default();
        let request = Request { usage, target: &target, root: ROOT, limits: &limits, conditions, current };
        let last = node.rsplit('/').next().unwrap_or_default();
        let media_type = match () {
            () if node.is_empty() => usage.media_type,
            () if last.starts_with('@') => ATTRIBUTE_TYPE,
            () => ELEMENT_TYPE,
        };
        let changed = match method {
            "GET" => match request.get() {
                Ok(shown) => return (200, shown.body.into_owned()),
                Err(refusal) => Err(refusal),
            },
            "PUT" => request.put(Some(media_type), body.as_bytes()),
            "TEXT" => request.put(Some("text/plain"), body.as_bytes()),
            _ => request.delete(),
        };
        match changed {
            Ok(change) => {
                self.text = change.text;
                self.etag += 1;
                (if change.created { 201 } else { 200 }, String::new())
            }
            Err(Refusal::Conflict(conflict)) => (409, conflict.element().into()),
            Err(refusal) => (refusal.status(), String::new()),
        }
    }

    fn plain(&mut self, request: &str, body: &str) -> (u16, String) {
        self.ask(request, body, Conditions::default())
    }
}

const LISTS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
     <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\n  <list name=\"friends\">\n  </list>\n\
     </resource-lists>\n";

/// RFC 4825 §13.
#[test]
fn bill_and_his_friends() {
    let mut bench = Bench::new("resource-lists", None);
    assert_eq!(bench.plain("PUT ", LISTS).0, 201);
    let bob = "<entry uri=\"sip:bob@example.com\">\n    <display-name>Bob Jones</display-name>\n  </entry>";
    assert_eq!(bench.plain("PUT resource-lists/list%5b@name=%22friends%22%5d/entry", bob).0, 201);
    assert_eq!(bench.plain("GET ", ""), (200, LISTS.replace("</list>", &format!("{bob}</list>"))));
    let close = "<list name=\"close-friends\"><entry uri=\"sip:joe@example.com\"/><entry uri=\"sip:nancy@example.com\"/>\
         <entry uri=\"sip:petri@example.com\"/></list>";
    let path = "resource-lists/list%5b@name=%22friends%22%5d/list%5b@name=%22close-friends%22%5d";
    assert_eq!(bench.plain(&format!("PUT {path}"), close).0, 201);
    let petri = "resource-lists/list/list/entry%5b@uri=%22sip:petri@example.com%22%5d";
    assert_eq!(bench.plain(&format!("DELETE {petri}"), "").0, 200);
    assert_eq!(bench.plain(&format!("DELETE {petri}"), "").0, 404);
    let nancy = bench.plain("GET resource-lists/list/list/entry%5b2%5d/@uri", "");
    assert_eq!(nancy, (200, "\"sip:nancy@example.com\"".into()));
}

/// RFC 4825 §7.4 and §7.7: requests that would not be idempotent.
#[test]
fn keys_cannot_be_changed_through_themselves() {
    let service = |uri: &str| {
        format!(
            "<service uri=\"{uri}\"><resource-list>{ROOT}/resource-lists/users/sip:bill@example.com/index/~~/\
             resource-lists/list%5b@name=%22l1%22%5d</resource-list><packages><package>presence</package></packages>\
             </service>"
        )
    };
    let good = "sip:good-friends@example.com";
    let text = format!("<rls-services xmlns=\"urn:ietf:params:xml:ns:rls-services\">{}</rls-services>", service(good));
    let mut bench = Bench::new("rls-services", Some(&text));
    let at = "rls-services/service%5b@uri=%22sip:good-friends@example.com%22%5d";
    let refused = (409, "cannot-insert".to_owned());
    assert_eq!(bench.plain(&format!("PUT {at}"), &service("sip:mybuddies@example.com")), refused);
    assert_eq!(bench.plain(&format!("PUT {at}/@uri"), "\"sip:bad-friends@example.com\""), refused);
    assert_eq!(bench.plain(&format!("PUT {at}"), &service(good)).0, 200);
    // By position it can be done.
    assert_eq!(bench.plain("PUT rls-services/*%5b1%5d/@uri", "\"sip:bad-friends@example.com\"").0, 200);
}

#[test]
fn outcomes_of_requests() {
    let l = "resource-lists/list%5B@name=%22friends%22%5D";
    let long = format!("<entry uri=\"sip:a@b\">{}</entry>", "x".repeat(600 * 1024));
    for (name, there, request, body, expected) in [
        ("no document", false, "GET ", "", (404, "")),
        ("no document, node", false, "GET resource-lists", "", (404, "")),
        ("no node", true, "GET resource-lists/list[3]", "", (404, "")),
        ("selector that is none", true, "GET resource-lists/last()", "", (404, "")),
        ("prefix not bound", true, "GET a:resource-lists", "", (400, "")),
        ("prefix not bound, no document", false, "PUT a:resource-lists", "<x/>", (400, "")),
        ("query that is none", true, "GET resource-lists?a=b", "", (400, "")),
        ("prefix bound", true, "GET a:b?xmlns(a=urn:a)", "", (404, "")),
        ("namespaces cannot be put", true, "PUT resource-lists/namespace::*", "<x/>", (405, "")),
        ("namespaces cannot be deleted", true, "DELETE resource-lists/namespace::*", "", (405, "")),
        ("wrong type of document", true, "TEXT ", LISTS, (415, "")),
        ("wrong type of element", true, &format!("TEXT {l}/entry"), "<entry uri=\"a\"/>", (415, "")),
        ("wrong type of attribute", true, &format!("TEXT {l}/@name"), "\"a\"", (415, "")),
        ("a new one", false, "PUT ", LISTS, (201, "")),
        ("a replacement", true, "PUT ", LISTS, (200, "")),
        ("not XML", true, "PUT ", "<a>", (409, "not-well-formed")),
        ("nothing", true, "PUT ", "", (409, "not-well-formed")),
        ("document type", true, "PUT ", "<!DOCTYPE a><a/>", (409, "not-well-formed")),
        ("other encoding", true, "PUT ", "<?xml version='1.0' encoding='latin1'?><a/>", (409, "not-utf-8")),
        ("other root", true, "PUT ", "<a/>", (409, "schema-validation-error")),
        ("fragment of two", true, &format!("PUT {l}/entry"), "<a/><b/>", (409, "not-xml-frag")),
        ("no list to put it in", true, "PUT resource-lists/list[@name=\"x\"]/entry", "<e/>", (409, "no-parent")),
        ("no document to put it in", false, &format!("PUT {l}"), "<list name=\"friends\"/>", (409, "no-parent")),
        ("element unknown to the schema", true, &format!("PUT {l}/foo"), "<foo/>", (409, "schema-validation-error")),
        ("attribute that must be there", true, "DELETE resource-lists/list/entry/@uri", "", (404, "")),
        ("value that is none", true, &format!("PUT {l}/@name"), "\"<\"", (409, "not-xml-att-value")),
        ("too large", true, &format!("PUT {l}/entry"), &long, (413, "")),
        ("gone", true, "DELETE ", "", (200, "")),
        ("gone before", false, "DELETE ", "", (404, "")),
        ("no node to delete", true, "DELETE resource-lists/list[3]", "", (404, "")),
    ] {
        let mut bench = Bench::new("resource-lists", there.then_some(LISTS));
        let (status, conflict) = bench.plain(request, body);
        let body = if status == 409 { conflict } else { String::new() };
        assert_eq!((status, &*body), expected, "{name}");
    }
}

#[test]
fn conditions_are_those_of_the_document() {
    let node = "resource-lists/list[@name=\"friends\"]";
    let other = "<list xmlns=\"urn:ietf:params:xml:ns:resource-lists\" name=\"x\"/>";
    for (name, there, request, if_match, if_none_match, expected) in [
        ("same", true, "PUT ", Some("\"1\""), None, 200),
        ("one of several", true, "PUT ", Some("\"0\", \"1\""), None, 200),
        ("without quotes", true, "PUT ", Some("1"), None, 200),
        ("any", true, "PUT ", Some("*"), None, 200),
        ("other", true, "PUT ", Some("\"0\""), None, 412),
        ("any of nothing", false, "PUT ", Some("*"), None, 412),
        ("only a new one", false, "PUT ", None, Some("*"), 201),
        ("only a new one, but there is one", true, "PUT ", None, Some("*"), 412),
        ("only another", true, "PUT ", None, Some("\"0\""), 200),
        ("only another, but it is the same", true, "PUT ", None, Some("\"1\""), 412),
        ("element, same", true, "ELEMENT", Some("\"1\""), None, 201),
        ("element, other", true, "ELEMENT", Some("\"0\""), None, 412),
        ("a new element has the tag already", true, "ELEMENT", None, Some("*"), 412),
        ("before the parent is looked for", true, "ORPHAN", Some("\"0\""), None, 412),
        ("deletion, other", true, "DELETE ", Some("\"0\""), None, 412),
        ("deletion of an element, other", true, "DELETE resource-lists/list", Some("\"0\""), None, 412),
        ("deletion of an element, same", true, "DELETE resource-lists/list", Some("\"1\""), None, 200),
        ("GET, unchanged", true, "GET ", None, Some("\"1\""), 304),
        ("GET, unchanged, weakly", true, "GET ", None, Some("W/\"1\""), 304),
        ("GET, changed", true, "GET ", None, Some("\"0\""), 200),
        ("GET of an element, unchanged", true, "GET resource-lists/list", None, Some("\"1\""), 304),
        ("GET of nothing", true, "GET resource-lists/list[4]", None, Some("\"1\""), 404),
        ("GET, other", true, "GET ", Some("\"0\""), None, 412),
    ] {
        let mut bench = Bench::new("resource-lists", there.then_some(LISTS));
        let (request, body) = match request {
            "ELEMENT" => ("PUT resource-lists/list[@name=\"x\"]", other),
            "ORPHAN" => ("PUT resource-lists/foo/bar", other),
            request => (request, LISTS),
        };
        let conditions = Conditions { if_match, if_none_match };
        assert_eq!(bench.ask(request, body, conditions).0, expected, "{name}");
        assert!(bench.plain(&format!("GET {node}"), "").0 == 200 || !there || request.starts_with("DELETE"), "{name}");
    }
}

#[test]
fn no_parent_names_the_closest_ancestor() {
    let mut bench = Bench::new("resource-lists", Some(LISTS));
    let ancestor = |bench: &mut Bench, node: &str, query: &str| {
        let path = format!("resource-lists/users/sip:bill@example.com/index/~~/{node}");
        let target = Target::parse(&path, query).unwrap();
        let current = bench.text.as_deref().map(|text| Current { text, etag: "1" });
        let usage = usage::by_auid("resource-lists").unwrap();
        let (limits, conditions) = (Limits::default(), Conditions::default());
        let request = Request { usage, target: &target, root: ROOT, limits: &limits, conditions, current };
        match request.put(Some(ELEMENT_TYPE), b"<x/>") {
            Err(Refusal::Conflict(Conflict::NoParent { ancestor })) => ancestor.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let home = format!("{ROOT}/resource-lists/users/sip:bill@example.com/");
    assert_eq!(
        ancestor(&mut bench, "resource-lists/list[@name=\"friends\"]/list[2]/entry", ""),
        format!("{home}index/~~/resource-lists/list%5B@name=%22friends%22%5D")
    );
    assert_eq!(
        ancestor(&mut bench, "a:resource-lists/b/c", "xmlns(a=urn:ietf:params:xml:ns:resource-lists)"),
        format!("{home}index/~~/a:resource-lists?xmlns(a=urn:ietf:params:xml:ns:resource-lists)")
    );
    assert_eq!(ancestor(&mut bench, "other/x", ""), format!("{home}index"));
    bench.text = None;
    assert_eq!(ancestor(&mut bench, "resource-lists/list", ""), home);
}
