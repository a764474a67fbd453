use chappe_api::NewAccount;
use chappe_api::identity::User;
use chappe_api::xcap::{Xcap as _, XcapMethod, XcapReply, XcapRequest};
use parking_lot::Mutex;

use super::*;
use crate::config::Config;
use crate::listeners::Listeners;
use crate::node::{Running, Setup};

/// A node with alice, who has a number, and bob.
struct Bed {
    door: XcapDoor,
    heard: Arc<Heard>,
    _running: Running,
    _dir: tempfile::TempDir,
}

/// Changes as lines.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl DocumentWatcher for Heard {
    fn changed(&self, _: &Arc<Core>, change: &DocumentChange) {
        let kind = match (&change.before, &change.after) {
            (None, _) => "made",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "gone",
        };
        let patch = change.patch.as_ref().map_or(String::new(), |patch| format!(" {}", patch.to_xml()));
        self.0.lock().push(format!("{kind} {}{patch}", change.selector));
    }
}

impl Bed {
    async fn new(more: &str) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "domains = [\"example.com\"]\ndata_dir = {:?}\n[store]\nurl = \"memory:\"\n[http]\nlisten = []\n[msrp]\n\
             listen = []\n[sip]\nlisten = [\"udp://127.0.0.1:0\"]\n[xcap]\nroot = \"https://x/xcap-root/\"\n{more}",
            dir.path()
        );
        let config = Arc::new(Config::parse(None, &text, std::iter::empty()).unwrap_or_else(|e| panic!("{e}")));
        let setup = Setup { config, listeners: Listeners::default(), http: Vec::new(), echo: None };
        let running = Running::start(setup).await.unwrap();
        for (name, tel) in [("alice", vec!["+15550100001".into()]), ("bob", Vec::new())] {
            let account = NewAccount {
                aor: format!("{name}@example.com"),
                password: "secret".into(),
                tel,
                display_name: String::new(),
                ha1: None,
            };
            running.node().accounts().add(account).await.unwrap();
        }
        let core = Arc::clone(running.core());
        let heard = Arc::new(Heard::default());
        core.xcap.watch(heard.clone());
        Bed { door: XcapDoor(core), heard, _running: running, _dir: dir }
    }

    /// `METHOD path` of alice or bob.
    async fn ask(&self, who: &str, request: &str, body: &str) -> XcapReply {
        let (method, path) = request.split_once(' ').unwrap();
        let usage = path.split('/').next().unwrap();
        let media_type = match () {
            () if path.contains("/@") => "application/xcap-att+xml",
            () if path.contains("/~~/") => "application/xcap-el+xml",
            () => chappe_xcap::usage::by_auid(usage).map_or("text/xml", |usage| usage.media_type),
        };
        let request = XcapRequest {
            user: User { aor: format!("{who}@example.com").into(), tel: Box::new([]), display_name: "".into() },
            method: match method {
                "GET" => XcapMethod::Get,
                "PUT" => XcapMethod::Put,
                _ => XcapMethod::Delete,
            },
            path: path.into(),
            query: String::new(),
            if_match: None,
            if_none_match: None,
            content_type: Some(media_type.into()),
            body: body.to_owned().into(),
        };
        self.door.handle(request).await
    }

    async fn status(&self, who: &str, request: &str, body: &str) -> u16 {
        self.ask(who, request, body).await.status
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.0.lock())
    }
}

const LISTS: &str =
    "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list name=\"a\"/></resource-lists>";
const ALICE: &str = "resource-lists/users/sip:alice@example.com/index";

#[tokio::test]
async fn a_user_has_one_home_by_every_name() {
    let bed = Bed::new("rcs_lists = false\n").await;
    assert_eq!(bed.status("alice", &format!("PUT {ALICE}"), LISTS).await, 201);
    for xui in [
        "sip:alice@example.com",
        "sip%3Aalice%40example.com",
        "sip:alice@EXAMPLE.COM",
        "alice@example.com",
        "alice",
        "tel:+15550100001",
        "tel:+1-555-010-0001",
        "+15550100001",
        "sip:+15550100001@example.com;user=phone",
    ] {
        let reply = bed.ask("alice", &format!("GET resource-lists/users/{xui}/index"), "").await;
        assert_eq!((reply.status, &*reply.body), (200, LISTS), "{xui}");
    }
    for xui in ["sip:carol@example.com", "sip:alice@other.example", "tel:+15550100002"] {
        assert_eq!(bed.status("alice", &format!("GET resource-lists/users/{xui}/index"), "").await, 404, "{xui}");
    }
}

#[tokio::test]
async fn documents_are_their_owners() {
    let bed = Bed::new("").await;
    assert_eq!(bed.status("alice", &format!("PUT {ALICE}"), LISTS).await, 201);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(bed.status("bob", &format!("{method} {ALICE}"), LISTS).await, 403, "{method}");
        assert_eq!(bed.status("bob", &format!("{method} {ALICE}/~~/resource-lists/list"), "<list/>").await, 403);
        assert_eq!(bed.status("bob", &format!("{method} unknown/users/sip:alice@example.com/index"), "").await, 404);
    }
    let global = [
        ("GET xcap-caps/global/index", 200),
        ("GET xcap-caps/global/other", 404),
        ("PUT xcap-caps/global/index", 403),
        ("DELETE xcap-caps/global/index", 403),
        ("GET rls-services/global/index", 403),
        ("PUT resource-lists/global/index", 403),
        ("GET resource-lists/global/index", 404),
    ];
    for (request, expected) in global {
        assert_eq!(bed.status("alice", request, LISTS).await, expected, "{request}");
    }
}

#[tokio::test]
async fn the_directory_lists_what_is_there() {
    let bed = Bed::new("").await;
    let path = "org.openmobilealliance.xcap-directory/users/sip:alice@example.com/directory.xml";
    let empty = bed.ask("alice", &format!("GET {path}"), "").await;
    assert_eq!(empty.status, 200);
    let made = bed.ask("alice", &format!("PUT {ALICE}"), LISTS).await;
    let reply = bed.ask("alice", &format!("GET {path}"), "").await;
    assert_ne!(reply.etag, empty.etag);
    assert!(reply.body.contains(&format!("uri=\"https://x/xcap-root/{ALICE}\" etag=\"{}\"", made.etag.unwrap())));
    let entry = bed.ask("alice", &format!("GET {path}/~~/xcap-directory/folder/entry/@size"), "").await;
    assert_eq!(entry.body, format!("\"{}\"", LISTS.len()));
    let refused = bed.ask("alice", &format!("PUT {path}"), "<a/>").await;
    assert_eq!((refused.status, refused.allow), (405, Some("GET, HEAD")));
    assert_eq!(bed.status("bob", &format!("GET {path}"), "").await, 403);
}

#[tokio::test]
async fn lists_of_rcs_are_there_until_they_are_deleted() {
    let bed = Bed::new("").await;
    let reply = bed.ask("alice", &format!("GET {ALICE}"), "").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("<external anchor=\"https://x/xcap-root/resource-lists/users/sip:alice@example.com/"));
    let bob = "<entry uri=\"sip:bob@example.com\"/>";
    let block =
        format!("{ALICE}/~~/resource-lists/list[@name=\"rcs_blockedcontacts\"]/entry[@uri=\"sip:bob@example.com\"]");
    assert_eq!(bed.status("alice", &format!("PUT {block}"), bob).await, 201);
    assert_eq!(bed.status("alice", &format!("DELETE {ALICE}"), "").await, 200);
    assert_eq!(bed.status("alice", &format!("GET {ALICE}"), "").await, 404);
    assert_eq!(bed.status("alice", &format!("PUT {block}"), bob).await, 409);
    // Somebody else's are made by the first element as well.
    let bobs = "resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list[@name=\"rcs\"]/entry";
    assert_eq!(bed.status("bob", &format!("PUT {bobs}"), "<entry uri=\"tel:+15550100001\"/>").await, 201);
    let lines = bed.heard();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], format!("made {ALICE}"));
    assert!(lines[1].starts_with(&format!("changed {ALICE} <d:add sel=\"*/*[5]\"")), "{}", lines[1]);
    assert_eq!(lines[2], format!("gone {ALICE}"));
}

#[tokio::test]
async fn pictures_are_for_those_who_may_see_presence() {
    let bed = Bed::new("").await;
    let icon = "org.openmobilealliance.pres-content/users/sip:bob@example.com/oma_status-icon/rcs_status_icon";
    let text = "<content xmlns=\"urn:oma:xml:prs:pres-content\"><mime-type>image/png</mime-type><encoding>base64</encoding>\
         <data>iVBORw0KGgo=</data></content>";
    assert_eq!(bed.status("bob", &format!("PUT {icon}"), text).await, 201);
    assert_eq!(bed.status("alice", &format!("GET {icon}"), "").await, 403);
    let list = |name: &str| {
        format!("resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list[@name=\"{name}\"]/entry")
    };
    let alice = "<entry uri=\"tel:+15550100001\"/>";
    assert_eq!(bed.status("bob", &format!("PUT {}", list("rcs")), alice).await, 201);
    assert_eq!(bed.ask("alice", &format!("GET {icon}"), "").await.body, text);
    assert_eq!(bed.status("alice", &format!("PUT {icon}"), text).await, 403);
    assert_eq!(bed.status("bob", &format!("PUT {}", list("rcs_blockedcontacts")), alice).await, 201);
    assert_eq!(bed.status("alice", &format!("GET {icon}"), "").await, 403);
}

fn services(uris: &[&str]) -> String {
    let service = |uri: &&str| format!("<service uri=\"{uri}\"><list/></service>");
    let all: String = uris.iter().map(service).collect();
    format!("<rls-services xmlns=\"urn:ietf:params:xml:ns:rls-services\">{all}</rls-services>")
}

#[tokio::test]
async fn names_are_unique_on_the_server_and_others_are_suggested() {
    let bed = Bed::new("").await;
    let path = |who: &str| format!("PUT rls-services/users/sip:{who}@example.com/index");
    let (friends, two) = ("sip:friends@example.com", "sip:friends-2@example.com");
    assert_eq!(bed.status("alice", &path("alice"), &services(&[friends, two])).await, 201);
    let reply = bed.ask("bob", &path("bob"), &services(&["sip:x@example.com", friends])).await;
    assert_eq!((reply.status, reply.content_type), (409, Some("application/xcap-error+xml")));
    let exists = "<exists field=\"rls-services/service%5B2%5D/@uri\"><alt-value>sip:friends-3@example.com</alt-value>";
    assert!(reply.body.contains(exists), "{}", reply.body);
    // Nor may it be somebody's address.
    let reply = bed.ask("bob", &path("bob"), &services(&["sip:alice@example.com"])).await;
    assert!(reply.body.contains("<uniqueness-failure"), "{}", reply.body);
    assert_eq!(bed.status("alice", &path("alice"), &services(&[two])).await, 200);
    assert_eq!(bed.status("bob", &path("bob"), &services(&[friends])).await, 201);
    let union = bed.door.0.xcap.global_services().await.unwrap();
    assert!(union.contains(two) && union.contains(friends), "{union}");
}

#[tokio::test]
async fn a_user_has_bounds() {
    let bed = Bed::new("documents_per_user = 2\nbytes_per_user = \"4 KiB\"\nmax_document = \"8 KiB\"\n").await;
    let path = |name: &str| format!("PUT resource-lists/users/sip:alice@example.com/{name}");
    assert_eq!(bed.status("alice", &path("a"), LISTS).await, 201);
    assert_eq!(bed.status("alice", &path("b"), LISTS).await, 201);
    let reply = bed.ask("alice", &path("c"), LISTS).await;
    assert!(reply.body.contains("<extension><quota-exceeded"), "{}", reply.body);
    let long = LISTS.replace("<list name=\"a\"/>", &format!("<list name=\"{}\"/>", "x".repeat(5000)));
    let reply = bed.ask("alice", &path("b"), &long).await;
    assert!(reply.body.contains("of=\"bytes\""), "{}", reply.body);
    let longer = long.replace("</resource-lists>", &format!("{}</resource-lists>", " ".repeat(5000)));
    assert_eq!(bed.status("alice", &path("b"), &longer).await, 413);
}

#[tokio::test]
async fn what_stays_the_same_keeps_its_tag() {
    let bed = Bed::new("").await;
    let first = bed.ask("alice", &format!("PUT {ALICE}"), LISTS).await;
    let again = bed.ask("alice", &format!("PUT {ALICE}"), LISTS).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.etag, again.etag);
    let other = bed.ask("alice", &format!("PUT {ALICE}/~~/resource-lists/list/@name"), "\"b\"").await;
    assert_ne!(first.etag, other.etag);
    assert_eq!(bed.ask("alice", &format!("GET {ALICE}"), "").await.etag, other.etag);
    assert_eq!(bed.heard().len(), 2);
}

/// Unconditional PUTs of elements at once: none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn elements_put_at_once_are_all_there() {
    let bed = Arc::new(Bed::new("").await);
    assert_eq!(bed.status("alice", &format!("PUT {ALICE}"), LISTS).await, 201);
    let puts = (0..40).map(|n| {
        let bed = Arc::clone(&bed);
        tokio::spawn(async move {
            let at = format!("PUT {ALICE}/~~/resource-lists/list/entry[@uri=\"sip:{n}@x\"]");
            bed.status("alice", &at, &format!("<entry uri=\"sip:{n}@x\"/>")).await
        })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_eq!(put.await.unwrap(), 201);
    }
    let reply = bed.ask("alice", &format!("GET {ALICE}"), "").await;
    assert_eq!(reply.body.matches("<entry ").count(), 40);
}

#[tokio::test]
async fn a_removed_account_leaves_no_documents() {
    let bed = Bed::new("").await;
    assert_eq!(bed.status("alice", &format!("PUT {ALICE}"), LISTS).await, 201);
    bed.door.0.xcap.remove_owner("alice@example.com").await.unwrap();
    let key = DocumentKey { owner: "alice@example.com".into(), auid: "resource-lists".into(), name: "index".into() };
    assert!(bed.door.0.xcap.read(&key).await.unwrap().is_none());
    assert!(bed.door.0.xcap.versions(&key).await.unwrap().is_empty());
}
