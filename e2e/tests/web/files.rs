//! Files, recorded voices, places and cards.

use chappe_e2e::web::WebClients;
use chappe_e2e::{Phone, Server, Transport};
use serde_json::{Value, json};

/// Two browsers that talk to each other.
fn two(server: &Server) -> Option<WebClients> {
    let mut web = WebClients::start(server)?;
    web.sign_in(server, 0, "Ada", json!({}));
    web.sign_in(server, 1, "Claude", json!({ "dark": true, "phone": true }));
    for user in [0, 1] {
        web.run(user, "begin", json!(format!("user{}", 1 - user)));
    }
    Some(web)
}

#[test]
fn files_come_by_picker_drop_and_clipboard_and_are_seen_and_saved() {
    let server = Server::start();
    let Some(mut web) = two(&server) else { return };
    web.run(0, "attach", json!({ "name": "beach.png", "picture": [640, 480] }));
    assert_eq!(web.run(1, "photo", Value::Null), 320, "the preview of the server");
    web.run(0, "lastMark", json!("displayed"));
    web.run(0, "drop", json!({ "name": "notes & more.txt", "type": "text/plain", "size": 3_000_000 }));
    let saved = web.run(1, "fetched", json!("notes & more.txt"));
    assert_eq!(saved, json!({ "name": "notes & more.txt", "size": 3_000_000 }));
    web.run(0, "paste", json!({ "name": "shot.png", "picture": [20, 10] }));
    let saved = web.run(1, "fetched", json!("shot.png"));
    assert_eq!(saved["name"], "shot.png");
    web.run(1, "record", json!(1200));
    assert!(web.run(0, "plays", Value::Null).as_f64().is_some_and(|at| at > 0.1));
    for page in [0, 1] {
        assert_eq!(web.run(page, "findings", Value::Null), json!([]));
        assert_eq!(web.run(page, "overflow", Value::Null), 0);
    }
    assert_eq!(web.run(0, "strangers", Value::Null), json!([]));
}

#[test]
fn an_upload_shows_how_far_it_is_and_is_given_up_or_gone_on_with() {
    let server = Server::start();
    let Some(mut web) = two(&server) else { return };
    // Slow enough to be looked at: 8 MB at 1 MB/s.
    web.run(0, "slow", json!(1_000_000));
    web.run(0, "attach", json!({ "name": "first.bin", "size": 8_000_000 }));
    web.run(0, "has", json!("progress:not([value='0'])"));
    web.run(0, "cancelUpload", Value::Null);
    web.run(0, "gone", json!(".bubble"));
    web.run(0, "attach", json!({ "name": "second.bin", "size": 8_000_000 }));
    web.run(0, "percent", json!(30));
    // The page goes in the middle; when it comes back, so does the rest of the file.
    web.run(0, "reload", Value::Null);
    web.run(0, "slow", json!(0));
    let saved = web.run(1, "fetched", json!("second.bin"));
    assert_eq!(saved["size"], 8_000_000);
    assert_eq!(web.run(1, "count", json!(".bubble")), 1);
}

#[test]
fn what_the_server_does_not_take_is_said_in_words() {
    let server = Server::with(&[("FILES__MAX_SIZE", "\"1MB\"")]);
    let Some(mut web) = two(&server) else { return };
    web.run(0, "attach", json!({ "name": "huge.bin", "size": 2_000_000 }));
    web.run(0, "has", json!(".fault:has-text('too large')"));
    assert_eq!(web.run(0, "findings", Value::Null), json!([]));
}

#[test]
fn places_and_cards_go_to_browsers_and_groups_and_files_to_phones() {
    let server = Server::start();
    let mut phone = Phone::registered(&server, 2, Transport::Tcp);
    let Some(mut web) = two(&server) else { return };
    web.run(0, "place", json!({ "label": "The tower" }));
    assert_eq!(web.run(1, "see", json!(".place .label")), "The tower");
    assert!(
        web.run(1, "see", json!(".place .quiet")).as_str().is_some_and(|text| text.contains("48.85830° N, 2.29450° E"))
    );
    web.run(1, "card", json!("Claude"));
    assert_eq!(web.run(0, "see", json!(".card strong")), "Claude");
    web.run(0, "press", json!("Save to contacts"));
    web.run(0, "contacts", Value::Null);
    web.run(0, "row", json!("Claude"));
    for page in [0, 1] {
        assert_eq!(web.run(page, "findings", Value::Null), json!([]));
    }
    web.run(0, "newGroupHere", json!({ "subject": "All", "members": ["user1", "user2"] }));
    web.run(0, "place", json!({ "label": "The bay", "coordinates": "-33.86, 151.2" }));
    web.run(0, "attach", json!({ "name": "all.txt", "size": 100 }));
    web.run(1, "back", Value::Null);
    web.run(1, "choose", json!("All"));
    assert_eq!(web.run(1, "see", json!(".place .label")), "The bay");
    assert_eq!(web.run(1, "fetched", json!("all.txt"))["size"], 100);
    // What a phone for plain text makes of it is its affair; the group does not wait for it.
    web.run(0, "say", json!("and a text"));
    let mut came = phone.texts(1);
    while came.last().is_none_or(|text| text != "and a text") {
        came.extend(phone.texts(1));
    }
}
