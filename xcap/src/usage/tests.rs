use super::*;
use crate::xml::{self, Limits};

/// Whether a document is one of its usage: `ok`, or the element and phrase of the conflict.
fn verdict(auid: &str, text: &str) -> String {
    let document = xml::parse(text, &Limits::default()).unwrap();
    let selector = DocumentSelector::of_user(auid, "sip:joe@example.com", "index");
    let place = Place { root: "http://xcap.example.com", document: &selector };
    match by_auid(auid).unwrap().check(&document, &place) {
        Ok(()) => "ok".into(),
        Err(conflict) => format!("{}: {}", conflict.element(), conflict.phrase()),
    }
}

fn table(auid: &str, wrap: impl Fn(&str) -> String, cases: &[(&str, &str, &str)]) {
    for (name, content, expected) in cases {
        let found = verdict(auid, &wrap(content));
        assert!(found.starts_with(expected), "{name}: {found}");
    }
}

#[test]
fn resource_lists() {
    let wrap = |content: &str| {
        format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" xmlns:o=\"urn:o\">{content}</resource-lists>"
        )
    };
    let schema = "schema-validation-error";
    table(
        "resource-lists",
        wrap,
        &[
            ("nothing", "", "ok"),
            // RFC 4826 §3.3, in other words and with its folded URIs.
            (
                "every element",
                "<list name=\"friends\"><entry uri=\"sip:bill@example.com\"><display-name>Bill</display-name></entry>\
                 <entry-ref ref=\"resource-lists/users/sip:bill@example.com/index/~~/\n  resource-lists/list%5b@name=%22list1\
                 %22%5d/entry%5b@uri=%22sip:petri@example.com%22%5d\"/><list name=\"close-friends\"><display-name xml:lang=\
                 \"en\">Close Friends</display-name><external anchor=\"http://xcap.example.org/resource-lists/users/\n \
                 sip:a@example.org/index/~~/resource-lists/list%5b@name=%22mkting%22%5d\"><display-name>Marketing\
                 </display-name></external></list></list>",
                "ok",
            ),
            ("mixed order", "<list><entry uri=\"a\"/><list/><entry uri=\"b\"/></list>", "ok"),
            ("others at the end", "<list><entry uri=\"a\"/><o:x o:y=\"1\"/><o:z/></list>", "ok"),
            ("others on elements", "<list o:a=\"1\"><entry uri=\"a\" o:b=\"2\"><o:c/></entry></list>", "ok"),
            ("two lists without a name", "<list/><list/>", "ok"),
            ("name late", "<list><entry uri=\"a\"/><display-name>x</display-name></list>", schema),
            ("others before", "<list><o:x/><entry uri=\"a\"/></list>", schema),
            ("others in the root", "<o:x/>", schema),
            ("unknown element", "<list><contact/></list>", schema),
            ("no namespace", "<list><entry xmlns=\"\" uri=\"a\"/></list>", schema),
            ("text", "<list>Bob</list>", schema),
            ("element in a name", "<list><display-name><b/></display-name></list>", schema),
            (
                "entry without its URI",
                "<list><entry/></list>",
                "schema-validation-error: resource-lists/list/entry: the attribute uri is missing",
            ),
            ("unknown attribute", "<list id=\"x\"/>", "schema-validation-error: resource-lists/list: the attribute id"),
            (
                "not in our schema",
                "<list><s:rls-service xmlns:s=\"urn:ietf:params:xml:ns:rls-services\"/></list>",
                schema,
            ),
            ("two of a name", "<list name=\"a\"/><list name=\"a\"/>", "uniqueness-failure"),
            ("two of an address", "<list><entry uri=\"a\"/><entry uri=\"a\"/></list>", "uniqueness-failure"),
            ("addresses by case", "<list><entry uri=\"a\"/><entry uri=\"A\"/></list>", "ok"),
            ("of an address in two lists", "<list><entry uri=\"a\"/><list><entry uri=\"a\"/></list></list>", "ok"),
            ("two references", "<list><entry-ref ref=\"a/b\"/><entry-ref ref=\"a/b\"/></list>", "uniqueness-failure"),
            (
                "two anchors",
                "<list><external anchor=\"http://a\"/><external anchor=\"http://a\"/></list>",
                "uniqueness-failure",
            ),
            ("reference from the top", "<list><entry-ref ref=\"/a/b\"/></list>", "constraint-failure"),
            ("absolute reference", "<list><entry-ref ref=\"http://a/b\"/></list>", "constraint-failure"),
            ("relative anchor", "<list><external anchor=\"a/b\"/></list>", "constraint-failure"),
        ],
    );
}

#[test]
fn rls_services() {
    let wrap = |content: &str| {
        format!(
            "<rls-services xmlns=\"urn:ietf:params:xml:ns:rls-services\" xmlns:rl=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:o=\"urn:o\">{content}</rls-services>"
        )
    };
    let list = |uri: &str| format!("<service uri=\"sip:a@example.com\"><resource-list>{uri}</resource-list></service>");
    let joe = "/resource-lists/users/sip:joe@example.com/index/~~/resource-lists/list%5b@name=%22l1%22%5d";
    // RFC 4826 §4.3: one by reference, with a folded URI, and one by value.
    let both = "<service uri=\"sip:mybuddies@example.com\"><resource-list>http://xcap.example.com/resource-lists/user\n      \
         s/sip:joe@example.com/index/~~/resource-lists/list%5b@nam\n      e=%22l1%22%5d</resource-list><packages>\
         <package>presence</package></packages></service><service uri=\"sip:marketing@example.com\"><list \
         name=\"marketing\"><rl:entry uri=\"sip:joe@example.com\"/><rl:entry uri=\"sip:sudhir@example.com\"/></list>\
         <packages><package>presence</package></packages></service>";
    let refused = "constraint-failure: rls-services/service/resource-list";
    table(
        "rls-services",
        wrap,
        &[
            ("both kinds", both, "ok"),
            ("any package", &list(&format!("http://xcap.example.com{joe}")), "ok"),
            ("over TLS, behind a proxy", &list(&format!("https://other.example.com/xcap-root{joe}")), "ok"),
            ("user encoded", &list(&format!("http://x{}", joe.replace("sip:joe@", "sip%3Ajoe%40"))), "ok"),
            ("another user", &list(&format!("http://x{}", joe.replace("joe", "ann"))), refused),
            ("relative", &list(&joe[1..]), refused),
            ("another usage", &list(&format!("http://x{}", joe.replace("resource-lists/users", "x/users"))), refused),
            ("global tree", &list("http://x/resource-lists/global/index/~~/resource-lists/list"), refused),
            ("no list", "<service uri=\"a\"/>", "schema-validation-error"),
            ("two lists", "<service uri=\"a\"><list/><list/></service>", "schema-validation-error"),
            ("no address", "<service><list/></service>", "schema-validation-error"),
            (
                "entries of this namespace",
                "<service uri=\"a\"><list><entry uri=\"b\"/></list></service>",
                "schema-validation-error",
            ),
            (
                "package with an extension",
                "<service uri=\"a\"><list/><packages><package>x</package><o:y/></packages></service>",
                "ok",
            ),
            (
                "extension without a package",
                "<service uri=\"a\"><list/><packages><o:y/></packages></service>",
                "schema-validation-error",
            ),
            ("packages first", "<service uri=\"a\"><packages/><list/></service>", "schema-validation-error"),
            (
                "two of an address",
                "<service uri=\"a\"><list/></service><service uri=\"a\"><list/></service>",
                "uniqueness-failure",
            ),
            (
                "two entries of an address",
                "<service uri=\"a\"><list><rl:entry uri=\"b\"/><rl:entry uri=\"b\"/></list></service>",
                "uniqueness-failure",
            ),
        ],
    );
    let text = wrap(both);
    let document = roxmltree::Document::parse(&text).unwrap();
    let claims: Vec<_> = by_auid("rls-services").unwrap().claims(&document);
    let claims: Vec<_> = claims.iter().map(|claim| (&*claim.value, &*claim.field)).collect();
    let field = |n| format!("rls-services/service%5B{n}%5D/@uri");
    assert_eq!(claims, [("sip:mybuddies@example.com", &*field(1)), ("sip:marketing@example.com", &*field(2))]);
}

/// RFC 4826 §4.4.8: services keep what they had around them.
#[test]
fn the_global_index_is_the_union() {
    let joe = "<rls-services xmlns=\"urn:ietf:params:xml:ns:rls-services\"><service uri=\"sip:mybuddies@example.com\">\
         <resource-list>http://x/resource-lists/users/joe/index/~~/resource-lists/list</resource-list></service>\
         </rls-services>";
    let bob = "<s:rls-services xmlns:s=\"urn:ietf:params:xml:ns:rls-services\" \
         xmlns:rl=\"urn:ietf:params:xml:ns:resource-lists\"><s:service uri=\"sip:marketing@example.com\" xmlns:o=\"urn:o\" \
         o:x=\"1\"><s:list><rl:entry uri=\"sip:joe@example.com\"/></s:list></s:service></s:rls-services>";
    let text = global_services([joe, "<broken", bob].into_iter());
    let document = roxmltree::Document::parse(&text).unwrap();
    let place = Place { root: "http://x", document: &DocumentSelector::global("rls-services", "index") };
    by_auid("rls-services").unwrap().check(&document, &place).unwrap();
    let uris: Vec<_> = document.root_element().children().filter_map(|child| child.attribute("uri")).collect();
    assert_eq!(uris, ["sip:mybuddies@example.com", "sip:marketing@example.com"]);
}

#[test]
fn presence_rules() {
    let wrap = |content: &str| {
        format!(
            "<cr:ruleset xmlns=\"urn:ietf:params:xml:ns:pres-rules\" xmlns:pr=\"urn:ietf:params:xml:ns:pres-rules\" \
             xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\" xmlns:ocp=\"urn:oma:xml:xdm:common-policy\">{content}\
             </cr:ruleset>"
        )
    };
    let handling = |value: &str| {
        format!("<cr:rule id=\"a\"><cr:actions><sub-handling>{value}</sub-handling></cr:actions></cr:rule>")
    };
    // RFC 5025 §5, in other words.
    let whole = "<cr:rule id=\"a\"><cr:conditions><cr:identity><cr:one id=\"sip:user@example.com\"/></cr:identity>\
         </cr:conditions><cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions><cr:transformations>\
         <pr:provide-services><pr:service-uri-scheme>sip</pr:service-uri-scheme><pr:service-uri-scheme>mailto\
         </pr:service-uri-scheme></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>\
         <pr:provide-activities>true</pr:provide-activities><pr:provide-user-input>bare</pr:provide-user-input>\
         <pr:provide-unknown-attribute ns=\"urn:vendor-specific:foo-namespace\" name=\"foo\">true\
         </pr:provide-unknown-attribute></cr:transformations></cr:rule>";
    let schema = "schema-validation-error";
    let cases = [
        ("no rule", "", "ok"),
        ("all of it", whole, "ok"),
        ("allow", &*handling("allow"), "ok"),
        ("confirm", &*handling("confirm"), "ok"),
        ("polite-block", &*handling("polite-block"), "ok"),
        ("block", &*handling("block"), "ok"),
        ("another word", &*handling("deny"), schema),
        ("rule without a name", "<cr:rule/>", schema),
        ("two rules of a name", "<cr:rule id=\"a\"/><cr:rule id=\"a\"/>", schema),
        ("name that begins with a digit", "<cr:rule id=\"1\"/>", schema),
        ("action unknown", "<cr:rule id=\"a\"><cr:actions><pr:other/></cr:actions></cr:rule>", schema),
        ("action of somebody", "<cr:rule id=\"a\"><cr:actions><x xmlns=\"urn:o\"/></cr:actions></cr:rule>", "ok"),
        ("actions before conditions", "<cr:rule id=\"a\"><cr:actions/><cr:conditions/></cr:rule>", schema),
        ("empty identity", "<cr:rule id=\"a\"><cr:conditions><cr:identity/></cr:conditions></cr:rule>", schema),
        (
            "all but some",
            "<cr:rule id=\"a\"><cr:conditions><cr:identity><cr:many domain=\"example.com\"><cr:except id=\"sip:a@example.com\"/>\
             <cr:except domain=\"x\"/></cr:many></cr:identity></cr:conditions></cr:rule>",
            "ok",
        ),
        (
            "a time",
            "<cr:rule id=\"a\"><cr:conditions><cr:validity><cr:from>2026-08-15T10:20:00.000-05:00</cr:from><cr:until>\
             2026-09-15T10:20:00Z</cr:until></cr:validity></cr:conditions></cr:rule>",
            "ok",
        ),
        (
            "a time without an end",
            "<cr:rule id=\"a\"><cr:conditions><cr:validity><cr:from>2026-08-15T10:20:00Z</cr:from></cr:validity>\
             </cr:conditions></cr:rule>",
            schema,
        ),
        (
            "rules of RCS",
            "<cr:rule id=\"wp_prs_unlisted\"><cr:conditions><ocp:other-identity/></cr:conditions></cr:rule>\
             <cr:rule id=\"wp_prs_grantedcontacts\"><cr:conditions><ocp:external-list><ocp:entry anc=\"http://x\"/>\
             </ocp:external-list></cr:conditions></cr:rule>",
            "ok",
        ),
        (
            "all services and one",
            "<cr:rule id=\"a\"><cr:transformations><provide-services><all-services/><class>x</class></provide-services>\
             </cr:transformations></cr:rule>",
            schema,
        ),
        (
            "boolean that is none",
            "<cr:rule id=\"a\"><cr:transformations><provide-mood>yes</provide-mood></cr:transformations></cr:rule>",
            schema,
        ),
    ];
    table("pres-rules", wrap, &cases);
    table("org.openmobilealliance.pres-rules", wrap, &cases);
}

#[test]
fn hard_state_of_presence() {
    let wrap = |content: &str| {
        format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:o=\"urn:o\" entity=\"sip:joe@example.com\">{content}</presence>"
        )
    };
    let schema = "schema-validation-error";
    table(
        "pidf-manipulation",
        wrap,
        &[
            ("nothing", "", "ok"),
            // RFC 4827 §11 and RFC 3863 §4.3.1, in other words.
            (
                "every element",
                "<tuple id=\"x8eg92m\"><status><basic>closed</basic><o:x/></status><o:idle/><contact priority=\"0.8\">\
                 sip:joe@example.com</contact><note xml:lang=\"en\">Away</note><note>Weg</note><timestamp>\
                 2001-10-27T16:49:29Z</timestamp></tuple><note>n</note><o:person id=\"p1\"><o:activities/></o:person>",
                "ok",
            ),
            ("another status", "<tuple id=\"a\"><status><basic>away</basic></status></tuple>", schema),
            ("no status", "<tuple id=\"a\"/>", schema),
            ("no id", "<tuple><status/></tuple>", schema),
            ("note before tuple", "<note>n</note><tuple id=\"a\"><status/></tuple>", schema),
            ("two of an id", "<tuple id=\"a\"><status/></tuple><tuple id=\"a\"><status/></tuple>", schema),
            (
                "priority that is none",
                "<tuple id=\"a\"><status/><contact priority=\"high\">a:b</contact></tuple>",
                schema,
            ),
            ("a day", "<tuple id=\"a\"><status/><timestamp>2001-10-27</timestamp></tuple>", schema),
        ],
    );
}

#[test]
fn other_usages() {
    let icon = |mime: &str, data: &str| {
        format!(
            "<content xmlns=\"urn:oma:xml:prs:pres-content\"><mime-type>{mime}</mime-type><encoding>base64</encoding>\
             <data>{data}</data></content>"
        )
    };
    let group = |uri: &str, second: &str| {
        format!(
            "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service {uri}><display-name>Books</display-name><list>\
             <entry uri=\"sip:a@example.com\"/><entry uri=\"{second}\"/></list></list-service></group>"
        )
    };
    let simservs = |active: &str| {
        format!(
            "<simservs xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\"><communication-waiting active=\"{active}\"/>\
             </simservs>"
        )
    };
    let profile = "<user-profiles xmlns=\"urn:oma:xml:xdm:user-profile\"><user-profile uri=\"sip:joe@example.com\">\
         <display-name>Joe</display-name></user-profile></user-profiles>";
    let (content, groups) = ("org.openmobilealliance.pres-content", "org.openmobilealliance.groups");
    for (auid, text, expected) in [
        (content, icon("image/png", "iVBORw0K\nGgo="), "ok"),
        (content, icon("image/svg+xml", "PHN2Zz4="), "constraint-failure"),
        (content, icon("image/png", ""), "constraint-failure"),
        (content, icon("image/png", "not base 64!"), "schema-validation-error"),
        (groups, group("uri=\"sip:books@example.com\"", "sip:b@example.com"), "ok"),
        (groups, group("uri=\"sip:books@example.com\"", "sip:a@example.com"), "uniqueness-failure"),
        (groups, group("", "sip:b@example.com"), "schema-validation-error"),
        ("simservs.ngn.etsi.org", simservs("true"), "ok"),
        ("simservs.ngn.etsi.org", simservs("maybe"), "schema-validation-error"),
        ("org.openmobilealliance.user-profile", profile.into(), "ok"),
        ("org.openmobilealliance.user-profile", "<profile/>".into(), "schema-validation-error"),
    ] {
        let found = verdict(auid, &text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn capabilities_name_what_is_there() {
    let text = capabilities();
    let document = roxmltree::Document::parse(&text).unwrap();
    let names = |list: &str, item: &str| -> Vec<String> {
        let list = document.root_element().children().find(|child| child.tag_name().name() == list).unwrap();
        let items = list.children().filter(|child| child.tag_name().name() == item);
        items.map(|item| item.text().unwrap().to_owned()).collect()
    };
    let order: Vec<_> =
        document.root_element().children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
    assert_eq!(order, ["auids", "extensions", "namespaces"]);
    let auids = names("auids", "auid");
    assert_eq!(auids.len(), all().len());
    assert!(auids.iter().all(|auid| by_auid(auid).is_some()));
    assert!(auids.contains(&"xcap-caps".to_owned()));
    let namespaces = names("namespaces", "namespace");
    assert!(namespaces.contains(&"urn:ietf:params:xml:ns:xcap-caps".to_owned()));
    // §12: what is supported can be checked.
    for namespace in &namespaces {
        let computed = all().iter().any(|usage| usage.namespace == namespace && usage.computed == Computed::Everything);
        assert!(computed || globals(namespace).is_some(), "{namespace}");
    }
}

#[test]
fn a_directory_has_a_folder_for_each_usage() {
    let entry = |auid, name| DirectoryEntry {
        document: DocumentSelector::of_user(auid, "sip:joe@example.com", name),
        etag: "e\"".into(),
        modified: "2026-11-28T00:00:00Z".into(),
        size: 7,
    };
    let entries = [entry("pres-rules", "index"), entry("resource-lists", "index"), entry("resource-lists", "b")];
    let text = directory("http://x/root", &entries);
    let document = roxmltree::Document::parse(&text).unwrap();
    let folders: Vec<_> = document.root_element().children().filter(Node::is_element).collect();
    let found: Vec<_> =
        folders.iter().map(|f| (f.attribute("auid").unwrap(), f.children().filter(Node::is_element).count())).collect();
    assert_eq!(found, [("pres-rules", 1), ("resource-lists", 2)]);
    let first = folders[0].first_element_child().unwrap();
    assert_eq!(first.attribute("uri"), Some("http://x/root/pres-rules/users/sip:joe@example.com/index"));
    assert_eq!(first.attribute("etag"), Some("e\""));
    assert_eq!(first.attribute("size"), Some("7"));
}

#[test]
fn lists_of_rcs() {
    let text = rcs::lists("https://x/root", "sip:joe@example.com");
    let selector = rcs::document("sip:joe@example.com");
    let place = Place { root: "https://x/root", document: &selector };
    let document = roxmltree::Document::parse(&text).unwrap();
    by_auid("resource-lists").unwrap().check(&document, &place).unwrap();
    let anchor = document.descendants().find(|node| node.has_attribute("anchor")).unwrap().attribute("anchor").unwrap();
    let path = anchor.strip_prefix("https://x/root/").unwrap();
    let target = crate::target::Target::parse(path, "").unwrap();
    assert_eq!(target.document, selector);
    assert!(rcs::members(&text, rcs::BLOCKED).is_empty());
    let blocked = text.replace(
        "<list name=\"rcs_blockedcontacts\">",
        "<list name=\"rcs_blockedcontacts\"><entry uri=\"tel:+1-555-010-0002\"/><entry uri=\"sip:ann@EXAMPLE.com\"/>",
    );
    let members: Vec<_> = rcs::members(&blocked, rcs::BLOCKED).into_iter().collect();
    assert_eq!(members, ["+15550100002", "ann@example.com"]);
    assert!(rcs::members("<broken", rcs::BLOCKED).is_empty());
}
