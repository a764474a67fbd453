//! What is refused, how, and that nothing of it stays.

use std::collections::VecDeque;

use axum::http::{Method, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

use super::bed::{self, Bed, Pieces, Then, cut, form};

#[tokio::test]
async fn each_limit_is_told_with_its_value() {
    let bed = Bed::new();
    let exe = String::from_utf8(form(None, None, b"MZ")).unwrap().replace("video/mp4", "application/x-msdownload");
    for (name, body, status, limit, value) in [
        ("size", form(None, None, &vec![0; 2_000_001]), 413, "size", Value::from(2_000_000)),
        ("thumbnail", form(None, Some(&[0; 10_001]), b"x"), 413, "thumbnail", Value::from(10_000)),
        ("type", exe.into_bytes(), 415, "type", Value::from("application/x-msdownload")),
    ] {
        let answer = bed.send("alice", Method::POST, "/ft", &[bed::FORM], &body[..]).await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status.as_u16(), &told["limit"], &told["value"]), (status, &limit.into(), &value), "{name}");
        assert_eq!((bed.blobs(), bed.incoming()), (0, 0), "{name}");
    }
    let length = [(header::CONTENT_LENGTH, "99999999999"), (header::CONTENT_TYPE, "multipart/form-data; boundary=b")];
    assert_eq!(bed.send("alice", Method::POST, "/ft", &length, "").await.status, 413);
    assert_eq!(bed.upload("alice", None, None, &vec![1; 2_000_000]).await.status, StatusCode::OK);
    let over = bed.upload("alice", None, None, &vec![2; 1_000_001]).await;
    let told: Value = serde_json::from_slice(&over.body).unwrap();
    assert_eq!((over.status.as_u16(), &told["limit"], &told["value"]), (403, &"quota".into(), &3_000_000.into()));
    assert_eq!(told["used"], 2_000_000);
    assert_eq!(bed.upload("alice", None, None, &vec![2; 1_000_000]).await.status, StatusCode::OK);
    assert_eq!(bed.send("alice", Method::POST, "/ft", &bed::PLAIN, "").await.status, 403, "nothing fits any more");
    bed.check_disk().await;
    assert_eq!(bed.incoming(), 0);
}

#[tokio::test]
async fn broken_forms_leave_nothing() {
    let bed = Bed::new();
    let whole = String::from_utf8(form(Some("t"), None, b"content")).unwrap();
    let without = whole.replace("name=\"File\"", "name=\"Other\"");
    let twice = format!("{}{whole}", whole.strip_suffix("--boundary1--").unwrap());
    for (name, body) in [
        ("no form", "hello".repeat(1000)),
        ("endless head", format!("--boundary1\r\nX: {}", "a".repeat(100_000))),
        ("endless tid", format!("--boundary1\r\nContent-Disposition: form-data; name=tid\r\n\r\n{}", "a".repeat(9999))),
        ("no file", without),
        ("two files", twice),
        ("no name", whole.replace("form-data; name=\"tid\"", "form-data")),
        ("other boundary", whole.replace("boundary1", "boundary2")),
    ] {
        let answer = bed.send("alice", Method::POST, "/ft", &[bed::FORM], body.as_str()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {}", answer.text());
        assert_eq!((bed.blobs(), bed.incoming()), (0, 0), "{name}");
    }
    for content_type in ["multipart/form-data", "text/plain", "multipart/form-data; boundary=\"a\u{20}\""] {
        let answer = bed.send("alice", Method::POST, "/ft", &[(header::CONTENT_TYPE, content_type)], "x").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{content_type}");
    }
}

#[tokio::test]
async fn a_cut_upload_without_a_transfer_id_leaves_nothing() {
    let bed = Bed::new();
    let body = form(None, None, &[7; 1000]);
    bed.send("alice", Method::POST, "/ft", &[bed::FORM], cut(&body[..600])).await;
    assert_eq!(bed.incoming(), 0);
}

#[tokio::test]
async fn who_sends_nothing_more_is_cut() {
    let bed = Bed::new();
    let body = form(Some("t"), None, &[7; 1000]);
    let pieces = VecDeque::from([Ok(Bytes::copy_from_slice(&body[..600]))]);
    let stalled = Pieces { pieces, then: Then::Nothing };
    let answer = bed.send("alice", Method::POST, "/ft", &[bed::FORM], stalled).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert!(bed.send("alice", Method::GET, "/ft?tid=t&get_upload_info", &bed::PLAIN, "").await.resume().0 > 0);
}

#[tokio::test]
async fn uploads_that_were_cut_make_room_for_new_ones() {
    let bed = Bed::new();
    for n in 0..10 {
        let body = form(Some(&format!("t{n}")), None, &[7; 1000]);
        bed.send("alice", Method::POST, "/ft", &[bed::FORM], cut(&body[..900])).await;
    }
    assert_eq!(bed.incoming(), 3 * 2);
    assert_eq!(bed.upload("alice", None, None, b"whole").await.status, StatusCode::OK);
}

#[tokio::test]
async fn strangers_are_asked_who_they_are_before_a_byte_is_read() {
    let bed = Bed::new();
    for (method, target) in [
        (Method::POST, "/ft"),
        (Method::PUT, "/ft/u/x"),
        (Method::GET, "/ft?tid=t&get_upload_info"),
        (Method::DELETE, "/ft/d/x"),
    ] {
        let stalled = Pieces { pieces: VecDeque::new(), then: Then::Nothing };
        let answer = bed.send("", method, target, &[bed::FORM], stalled).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate").is_empty()), (401, false), "{target}");
    }
    for id in ["", "x", "../../secret.key", "%2e%2e%2fboot", &"a".repeat(48)] {
        let answer = bed.get(&format!("/ft/d/{id}"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn harmful_content_is_refused_and_leaves_nothing() {
    let bed = Bed::scanning("! grep -q harmful \"$0\"", false);
    let answer = bed.upload("alice", Some("t"), None, b"harmful").await;
    assert_eq!((answer.status, bed.blobs(), bed.incoming()), (StatusCode::FORBIDDEN, 0, 0));
    assert_eq!(bed.upload("alice", None, Some(b"harmful"), b"fine").await.status, StatusCode::FORBIDDEN);
    let url = bed.upload("alice", Some("t"), None, b"fine").await.document().file.url;
    assert_eq!(bed.get(&url, &[]).await.body, b"fine");
    bed.check_disk().await;
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_unless_the_operator_says_otherwise() {
    // The scan fails; it takes too long; it is ended by a signal.
    for line in ["exit 2", "sleep 60; exit 0", "kill -9 $$"] {
        let bed = Bed::scanning(line, false);
        let answer = bed.upload("alice", Some("t"), None, b"content").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after").is_empty()), (503, false), "{line}");
        assert_eq!(bed.blobs(), 0, "{line}");
        // Nothing has to be sent again but the last byte.
        let (last, url) = bed.send("alice", Method::GET, "/ft?tid=t&get_upload_info", &bed::PLAIN, "").await.resume();
        assert_eq!(last, 6, "{line}");
        let again = bed.send("alice", Method::PUT, &url, &[bed::put(6, 7)], &b"t"[..]).await;
        assert_eq!(again.status.as_u16(), 503, "{line}");
    }
    let bed = Bed::scanning("exit 2", true);
    assert_eq!(bed.upload("alice", None, None, b"content").await.status, StatusCode::OK);
}
