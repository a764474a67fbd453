use super::*;

const USER: &str = "alice@example.com";

fn card(name: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:{name}\r\nFN:{name}\r\nEND:VCARD\r\n")
}

struct Bed {
    text: Option<String>,
    etag: Option<String>,
    /// By entity tag.
    versions: Vec<(String, String)>,
}

impl Bed {
    fn new() -> Bed {
        Bed { text: None, etag: None, versions: Vec::new() }
    }

    fn ask(
        &mut self,
        method: DavMethod,
        path: &str,
        body: &str,
        depth: &str,
        match_: (Option<&str>, Option<&str>),
    ) -> Reply {
        let limits = Limits::default();
        let book = Book::read(self.text.as_deref(), &limits).unwrap();
        let place = Place::parse(path).unwrap();
        let settings = Settings { base: "/dav", max_card: 10_000, limits: &limits };
        let etag = self.etag.clone();
        let request = DavRequest {
            user: USER,
            place: &place,
            method,
            depth: Some(depth),
            if_match: match_.0,
            if_none_match: match_.1,
            body,
            settings,
            book: &book,
            etag: etag.as_deref(),
            version: None,
        };
        match decide(&request) {
            Decision::Reply(reply) => reply,
            Decision::Do(Wanted::Write(text), reply) => {
                let etag = format!("e{}", self.versions.len());
                self.versions.push((etag.clone(), text.clone()));
                (self.text, self.etag) = (Some(text), Some(etag));
                reply
            }
            Decision::Do(Wanted::Version(etag), _) => {
                let old = self.versions.iter().find(|(known, _)| *known == etag);
                let old = old.map(|(_, text)| Book::read(Some(text), &limits).unwrap());
                match decide(&DavRequest { version: Some(old.as_ref()), ..request }) {
                    Decision::Reply(reply) => reply,
                    other => panic!("asked again: {other:?}"),
                }
            }
        }
    }

    fn put(&mut self, name: &str, body: &str) -> Reply {
        self.ask(DavMethod::Put, &format!("{BOOK}{name}"), body, "", (None, None))
    }

    fn report(&mut self, body: &str) -> Reply {
        self.ask(DavMethod::Report, BOOK, body, "0", (None, None))
    }

    fn sync(&mut self, token: &str) -> Reply {
        self.report(&format!(
            "<D:sync-collection xmlns:D=\"DAV:\"><D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>\
             <D:prop><D:getetag/></D:prop></D:sync-collection>"
        ))
    }
}

const BOOK: &str = "/addressbooks/alice@example.com/contacts/";

/// Each response of a multistatus: its address, and the statuses in it.
fn responses(reply: &Reply) -> Vec<(String, Vec<String>)> {
    assert_eq!(reply.status, 207, "{reply:?}");
    let document = Document::parse(&reply.body).unwrap();
    let texts = |node: Node<'_, '_>, name: &'static str| -> Vec<String> {
        node.descendants()
            .filter(|n| n.has_tag_name((DAV, name)))
            .filter_map(|n| n.text())
            .map(ToOwned::to_owned)
            .collect()
    };
    let all = document.descendants().filter(|node| node.has_tag_name((DAV, "response")));
    all.map(|node| {
        let short = |status: String| status.split(' ').nth(1).unwrap_or_default().to_owned();
        (texts(node, "href").remove(0), texts(node, "status").into_iter().map(short).collect())
    })
    .collect()
}

fn token_of(reply: &Reply) -> String {
    let (_, rest) = reply.body.split_once("<D:sync-token>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

/// The steps by which a client finds the book (RFC 6764, RFC 6352 §7.1).
#[test]
fn a_client_finds_the_book() {
    let mut bed = Bed::new();
    let ask =
        |what: &str| format!("<D:propfind xmlns:D=\"DAV:\" xmlns:C=\"{CARDDAV}\"><D:prop>{what}</D:prop></D:propfind>");
    let find = |bed: &mut Bed, path: &str, what: &str, depth: &str| {
        bed.ask(DavMethod::Propfind, path, &ask(what), depth, (None, None))
    };
    let root = find(&mut bed, "/", "<D:current-user-principal/><D:quota-used-bytes/>", "0");
    assert!(root.body.contains("<D:href>/dav/principals/alice@example.com/</D:href>"), "{}", root.body);
    assert_eq!(responses(&root), [("/dav/".to_owned(), vec!["200".to_owned(), "404".to_owned()])]);
    let principal = find(&mut bed, "/principals/alice%40example.com/", "<C:addressbook-home-set/>", "0");
    assert!(principal.body.contains("<D:href>/dav/addressbooks/alice@example.com/</D:href>"), "{}", principal.body);
    let home = find(&mut bed, "/addressbooks/alice@example.com", "<D:resourcetype/><D:sync-token/>", "1");
    assert_eq!(responses(&home).len(), 2);
    assert!(home.body.contains("<C:addressbook/>") && home.body.contains("urn:chappe:sync:none"), "{}", home.body);
    let endless = find(&mut bed, "/", "<D:resourcetype/>", "infinity");
    assert_eq!(endless.status, 403);
    assert!(endless.body.contains("propfind-finite-depth"));
}

#[test]
fn cards_are_put_read_and_deleted() {
    let mut bed = Bed::new();
    let path = format!("{BOOK}a.vcf");
    let put = bed.put("a.vcf", &card("a"));
    assert_eq!(put.status, 201);
    let etag = put.etag.expect("what was put is kept as it is");
    let got = bed.ask(DavMethod::Get, &path, "", "", (None, None));
    assert_eq!((got.status, &*got.body, got.etag.as_deref()), (200, &*card("a"), Some(&*etag)));
    assert_eq!(bed.ask(DavMethod::Get, &path, "", "", (None, Some(&format!("\"{etag}\"")))).status, 304);
    let again = bed.ask(DavMethod::Put, &path, &card("a"), "", (None, Some("*")));
    assert_eq!(again.status, 412, "it is there");
    let other = bed.ask(DavMethod::Put, &path, &card("a"), "", (Some("\"x\""), None));
    assert_eq!(other.status, 412, "it is another");
    // Without an UID it gets one, and so is not what was put.
    let made = bed.put("b.vcf", "BEGIN:VCARD\nVERSION:3.0\nFN:b\nEND:VCARD\n");
    assert_eq!((made.status, made.etag), (201, None));
    for (body, condition) in [
        ("junk", "valid-address-data"),
        ("BEGIN:VCARD\nVERSION:9\nFN:b\nEND:VCARD\n", "supported-address-data"),
        (&*card("a"), "no-uid-conflict"),
        (&*card(&"x".repeat(20_000)), "max-resource-size"),
    ] {
        let refused = bed.put("c.vcf", body);
        assert!(matches!(refused.status, 403 | 409) && refused.body.contains(condition), "{condition}: {refused:?}");
    }
    assert_eq!(bed.ask(DavMethod::Delete, &path, "", "", (Some(&format!("\"{etag}\"")), None)).status, 204);
    assert_eq!(bed.ask(DavMethod::Delete, &path, "", "", (None, None)).status, 404);
    assert_eq!(bed.ask(DavMethod::Delete, BOOK, "", "", (None, None)).status, 405);
}

#[test]
fn reports_find_cards() {
    let mut bed = Bed::new();
    for name in ["a", "b", "c"] {
        bed.put(&format!("{name}.vcf"), &card(name));
    }
    let multiget = format!(
        "<C:addressbook-multiget xmlns:D=\"DAV:\" xmlns:C=\"{CARDDAV}\"><D:prop><D:getetag/><C:address-data/></D:prop>\
         <D:href>/dav{BOOK}a.vcf</D:href><D:href>/dav{BOOK}none.vcf</D:href><D:href>/dav/addressbooks/bob@example.com/contacts/b.vcf</D:href>\
         </C:addressbook-multiget>"
    );
    let reply = bed.report(&multiget);
    let seen: Vec<_> = responses(&reply).into_iter().map(|(_, status)| status.concat()).collect();
    assert_eq!(seen, ["200", "404", "404"]);
    let document = Document::parse(&reply.body).unwrap();
    let data = document.descendants().find(|node| node.has_tag_name((CARDDAV, "address-data"))).unwrap();
    assert_eq!(data.text(), Some(&*card("a")), "line ends survive");

    let query = |more: &str| {
        format!(
            "<C:addressbook-query xmlns:D=\"DAV:\" xmlns:C=\"{CARDDAV}\"><D:prop><C:address-data><C:prop name=\"UID\"/>\
             </C:address-data></D:prop><C:filter><C:prop-filter name=\"FN\">{more}"
        )
    };
    let reply = bed.report(&query("<C:text-match>B</C:text-match></C:prop-filter></C:filter></C:addressbook-query>"));
    assert_eq!(responses(&reply).len(), 1);
    assert!(reply.body.contains("UID:b") && !reply.body.contains("FN:b"), "{}", reply.body);
    let limited =
        query("</C:prop-filter></C:filter><C:limit><C:nresults>2</C:nresults></C:limit></C:addressbook-query>");
    let seen: Vec<_> = responses(&bed.report(&limited)).into_iter().map(|(_, status)| status.concat()).collect();
    assert_eq!(seen, ["200", "200", "507"]);
    let odd = query("<C:text-match collation=\"x\">B</C:text-match></C:prop-filter></C:filter></C:addressbook-query>");
    assert!(bed.report(&odd).body.contains("supported-collation"));
    assert!(bed.report("<x/>").body.contains("supported-report"));
    assert_eq!(bed.report("<x").status, 400);
    assert_eq!(bed.report("<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>").status, 400);
}

/// RFC 6578: what changed since a token, and no more.
#[test]
fn changes_since_a_token() {
    let mut bed = Bed::new();
    let none = bed.sync("");
    assert!(responses(&none).is_empty());
    let none = token_of(&none);
    bed.put("a.vcf", &card("a"));
    bed.put("b.vcf", &card("b"));
    let all = bed.sync(&none);
    assert_eq!(responses(&all).len(), 2);
    let all = token_of(&all);
    assert!(responses(&bed.sync(&all)).is_empty());
    bed.put("b.vcf", &card("bb"));
    bed.put("c.vcf", &card("c"));
    bed.ask(DavMethod::Delete, &format!("{BOOK}a.vcf"), "", "", (None, None));
    let mut changes: Vec<_> = responses(&bed.sync(&all)).into_iter().map(|(href, s)| (href, s.concat())).collect();
    changes.sort();
    let at = |name: &str, status: &str| (format!("/dav{BOOK}{name}"), status.to_owned());
    assert_eq!(changes, [at("a.vcf", "404"), at("b.vcf", "200"), at("c.vcf", "200")]);
    for unknown in ["urn:chappe:sync:never", "http://elsewhere/1"] {
        let refused = bed.sync(unknown);
        assert!(refused.status == 403 && refused.body.contains("valid-sync-token"), "{refused:?}");
    }
}

#[test]
fn properties_stay() {
    let mut bed = Bed::new();
    let body = "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set></D:propertyupdate>";
    let reply = bed.ask(DavMethod::Proppatch, BOOK, body, "", (None, None));
    assert!(reply.status == 207 && reply.body.contains("403 Forbidden"), "{reply:?}");
    let names = "<D:propfind xmlns:D=\"DAV:\"><D:propname/></D:propfind>";
    let reply = bed.ask(DavMethod::Propfind, BOOK, names, "0", (None, None));
    assert!(reply.body.contains("<D:resourcetype/>") && !reply.body.contains("getetag"), "{}", reply.body);
}

#[test]
fn paths() {
    for (path, expected) in [
        ("/", Some(Place::Root)),
        ("/principals/a%40b/", Some(Place::Principal("a@b".into()))),
        ("/addressbooks/a@b/contacts", Some(Place::Book("a@b".into()))),
        ("/addressbooks/a@b/contacts/x%20y.vcf", Some(Place::Card("a@b".into(), "x y.vcf".into()))),
        ("/addressbooks/a@b/other/", None),
        ("/addressbooks/a@b/contacts/%2F", None),
        ("/addressbooks/a@b/contacts/..", None),
        ("/addressbooks/%zz", None),
    ] {
        assert_eq!(Place::parse(path), expected, "{path}");
    }
}
