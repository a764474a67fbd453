//! What two users wrote to each other is there for both to read, over a kill, until one erases it.

use chappe_e2e::chat::{Handset, Kind, turn};
use chappe_e2e::{Options, Server, http, wait_for};
use serde_json::Value;

const TEXTS: usize = 7;

fn get(server: &Server, user: usize, path: &str) -> Value {
    let (status, body) = http::send(server, user, "GET", path, "text/plain", "");
    assert_eq!(status, 200, "GET {path} of user{user}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn list(server: &Server, user: usize) -> Vec<Value> {
    let path = format!("/oneapi/history/v1/user{user}@localhost/conversations");
    get(server, user, &path)["conversations"].as_array().cloned().expect("a list")
}

/// All messages, read in pages of three, newest first.
fn messages(server: &Server, user: usize, conversation: &str) -> Vec<Value> {
    let base = format!("/oneapi/history/v1/sip:user{user}@localhost/conversations/{conversation}/messages?limit=3");
    let (mut all, mut before): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let more = before.as_ref().map_or(String::new(), |id| format!("&before={id}"));
        let page = get(server, user, &format!("{base}{more}"));
        let list = page["messages"].as_array().expect("a list");
        assert!(list.len() <= 3);
        all.extend(list.iter().cloned());
        match page["before"].as_str() {
            Some(id) => before = Some(id.to_owned()),
            None => return all,
        }
    }
}

#[test]
fn a_conversation_is_read_page_by_page_and_erased() {
    let settings = vec![("CHAT__HISTORY", "1d".to_owned())];
    let mut server = Server::start_with(Options { accounts: 3, settings, ..Options::default() });
    let mut all = vec![Handset::new(0, 0, 1, Kind::Cpm), Handset::new(1, 0, 0, Kind::Pager)];
    all[1].displays = true;
    all.iter_mut().for_each(|one| one.on(&server));
    wait_for("registrations", || {
        turn(&mut all, &server);
        all.iter().all(Handset::is_registered).then_some(())
    });
    for number in 0..TEXTS {
        all[number % 2].write(&format!("text {number} \u{1f44b}"));
        all[number % 2].step(&server);
        wait_for("the text", || {
            turn(&mut all, &server);
            let shown = all.iter().map(|one| one.screen.len()).sum::<usize>();
            (shown == number + 1 && all.iter().all(Handset::is_done)).then_some(())
        });
    }
    let id = list(&server, 0)[0]["id"].as_str().expect("a name").to_owned();
    wait_for("receipts", || {
        turn(&mut all, &server);
        let read = |message: &Value| message["from"] != "sip:user0@localhost" || message["status"] == "displayed";
        messages(&server, 0, &id).iter().all(read).then_some(())
    });
    server.kill();
    server.restart();
    let seen = messages(&server, 1, &id);
    let texts: Vec<_> = seen.iter().rev().map(|message| message["text"].as_str().unwrap_or_default()).collect();
    assert_eq!(texts, (0..TEXTS).map(|number| format!("text {number} \u{1f44b}")).collect::<Vec<_>>());
    assert_eq!(seen, messages(&server, 0, &id), "both see the same");
    assert_eq!(list(&server, 0)[0]["last"]["text"], texts[TEXTS - 1]);
    // Nobody else sees it, and nobody acts for another.
    assert_eq!(messages(&server, 2, &id), Vec::<Value>::new());
    let path = "/oneapi/history/v1/user0@localhost/conversations";
    let ask = |user, method, path: &str| http::send(&server, user, method, path, "text/plain", "").0;
    assert_eq!(ask(2, "GET", path), 403);
    assert_eq!(ask(0, "DELETE", &format!("{path}/{id}")), 204);
    assert!(list(&server, 0).is_empty() && messages(&server, 0, &id).is_empty());
    assert_eq!(messages(&server, 1, &id).len(), TEXTS, "the other keeps it");
    server.stop();
}
