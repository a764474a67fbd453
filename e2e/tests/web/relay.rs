//! Calls of browsers that reach nobody but the relay of the server (RFC 8656).

use chappe_e2e::baresip::Baresip;
use chappe_e2e::web::WebClients;
use chappe_e2e::{Server, http, wait_for};
use serde_json::{Value, json};

fn hears(web: &mut WebClients, page: usize, hz: u32) {
    let heard = web.run(page, "hearsTone", Value::Null);
    let near = heard.as_f64().is_some_and(|heard| (heard - f64::from(hz)).abs() < 15.0);
    assert!(near, "page {page} hears {heard} Hz, not {hz}");
}

fn by_relay(web: &mut WebClients, page: usize, protocol: &str) {
    assert_eq!(web.run(page, "path", Value::Null), json!({ "kind": "relay", "relayProtocol": protocol }));
}

#[test]
fn two_browsers_call_each_other_by_the_relay() {
    let server = Server::with(&[("MEDIA__TURN__LISTEN", "udp://127.0.0.1:0")]);
    let Some(mut web) = WebClients::start(&server) else { return };
    for (user, tone) in [(0, 440), (1, 660)] {
        web.sign_in(&server, user, "", json!({ "tone": tone, "relay": true }));
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    web.run(0, "call", json!(true));
    web.run(1, "answer", json!(true));
    hears(&mut web, 0, 660);
    hears(&mut web, 1, 440);
    for page in [0, 1] {
        web.run(page, "sees", json!(10));
        by_relay(&mut web, page, "udp");
    }
    let relayed = server.metric("chappe_turn_packets_to_peers_total");
    assert!(relayed > 100, "{relayed} packets");
    assert_eq!(server.metric("chappe_turn_forbidden_total"), 0);
    web.run(0, "hangUp", Value::Null);
    web.run(1, "noCall", Value::Null);
    // Each ends its allocation.
    wait_for("the relay to be empty", || (server.metric("chappe_turn_allocations") == 0).then_some(()));
}

/// Nothing but TCP leaves the browser.
#[test]
fn a_browser_without_datagrams_calls_a_phone() {
    if !Baresip::found() {
        return;
    }
    let server = Server::with(&[("MEDIA__TURN__LISTEN", "tcp://127.0.0.1:0")]);
    let Some(mut web) = WebClients::start(&server) else { return };
    web.sign_in(&server, 0, "Ada", json!({ "tone": 440, "relay": true }));
    let mut phone = Baresip::with_tone(&server, (1, 0), "udp", 1000, "", &[]);
    web.run(0, "begin", json!("user1"));
    web.run(0, "call", json!(false));
    phone.expect("CALL_INCOMING");
    phone.command("accept", "");
    hears(&mut web, 0, 1000);
    phone.expect_tone(&server, 440);
    by_relay(&mut web, 0, "tcp");
    assert!(server.metric("chappe_turn_connections") > 0);
    web.run(0, "hangUp", Value::Null);
    phone.expect("CALL_CLOSED");
    wait_for("the connection to end", || (server.metric("chappe_turn_connections") == 0).then_some(()));
}

#[test]
fn credentials_are_for_users_and_for_a_while() {
    let server = Server::start();
    let path = "/oneapi/turn/v1/user1%40localhost";
    assert_eq!(http::exchange(&server, "GET", path, "", "").code, 401);
    assert_eq!(http::ask(&server, 0, "GET", path, "", "").code, 403);
    let answer = http::ask(&server, 1, "GET", path, "", "");
    assert_eq!((answer.code, answer.header("Cache-Control")), (200, Some("no-store")), "{answer:?}");
    let granted = answer.json();
    assert_eq!(granted["ttl"], 3600);
    let expires = granted["username"].as_str().and_then(|name| name.strip_suffix(":user1@localhost"));
    assert!(expires.is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{granted}");
    let uris: Vec<&str> = granted["uris"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let transports: Vec<&str> = uris.iter().filter_map(|uri| uri.rsplit('=').next()).collect();
    assert_eq!(transports, ["udp", "tcp"], "{uris:?}");
    assert!(uris.iter().all(|uri| uri.starts_with("turn:127.")), "{uris:?}");
    // Nobody has asked the relay for anything.
    assert_eq!(server.metric("chappe_turn_allocations_total"), 0);

    let server = Server::with(&[("MEDIA__TURN__LISTEN", "")]);
    assert_eq!(http::ask(&server, 1, "GET", path, "", "").code, 404);
}
