//! The content server over its handlers, a store in memory and a real folder.

mod bed;
mod hostile;
mod model;

use axum::http::{Method, StatusCode, header};
use bed::{Bed, Random, cut, form, put};
use chappe_api::files::{Depot as _, NewFile};
use chappe_content::range::ContentRange;

use super::Swept;

#[tokio::test]
async fn an_upload_is_answered_with_links_that_lead_to_it() {
    let bed = Bed::new();
    assert_eq!(bed.send("alice", Method::POST, "/ft", &bed::PLAIN, "").await.status, StatusCode::NO_CONTENT);
    let (picture, content) = (vec![1; 5000], vec![2; 70_000]);
    let answer = bed.upload("alice", Some("t1"), Some(&picture), &content).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, chappe_content::FILE_TYPE.into()));
    let document = answer.document();
    let thumbnail = document.thumbnail.as_ref().unwrap();
    assert_eq!((document.file.size, thumbnail.size), (70_000, 5000));
    assert_eq!(document.file.until, thumbnail.until);
    assert!(document.file.url.starts_with("https://ft.example.com/ft/d/"), "{}", document.file.url);
    for (url, expected) in [(&document.file.url, &content), (&thumbnail.url, &picture)] {
        let found = bed.get(url, &[]).await;
        assert_eq!((found.status, &found.body), (StatusCode::OK, expected));
        assert_eq!(found.header("content-length"), expected.len().to_string());
        assert_eq!(found.header("x-content-type-options"), "nosniff");
    }
    let again = bed.send("alice", Method::GET, "/ft?tid=t1&get_download_info", &bed::PLAIN, "").await;
    assert_eq!(again.document(), document);
    bed.check_disk().await;
}

#[tokio::test]
async fn parts_and_conditions_of_a_download() {
    let bed = Bed::new();
    let content: Vec<u8> = (0..=255).collect();
    let url = bed.upload("alice", None, None, &content).await.document().file.url;
    let etag = bed.get(&url, &[]).await.header("etag");
    let ask = |headers: &[(header::HeaderName, &str)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let (bed, url) = (&bed, &url);
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
            let answer = bed.get(url, &headers).await;
            (answer.status.as_u16(), answer.header("content-range"), answer.body)
        }
    };
    let none = String::new();
    let part = (206, "bytes 16-31/256".to_owned(), content[16..32].to_vec());
    assert_eq!(ask(&[(header::RANGE, "bytes=16-31")]).await, part);
    assert_eq!(ask(&[(header::RANGE, "bytes=16-31"), (header::IF_RANGE, &etag)]).await, part);
    let whole = (200, none.clone(), content.clone());
    assert_eq!(ask(&[(header::RANGE, "bytes=16-31"), (header::IF_RANGE, "\"other\"")]).await, whole);
    assert_eq!(ask(&[(header::RANGE, "bytes=0-1,4-5")]).await, whole);
    assert_eq!(ask(&[(header::RANGE, "bytes=256-")]).await, (416, "bytes */256".into(), vec![]));
    assert_eq!(ask(&[(header::IF_NONE_MATCH, &etag)]).await, (304, none, vec![]));
    let head = bed.send("", Method::HEAD, &url, &bed::PLAIN, "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "256".into(), 0));
}

#[tokio::test]
async fn an_upload_cut_anywhere_and_gone_on_with_is_the_same() {
    for seed in 0..50 {
        cut_and_gone_on_with(seed).await;
    }
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_thousand_uploads_cut_anywhere_and_gone_on_with_are_the_same() {
    for seed in 1000..2000 {
        cut_and_gone_on_with(seed).await;
    }
}

async fn cut_and_gone_on_with(seed: u64) {
    let mut random = Random(seed);
    let mut bed = Bed::new();
    let size = 1 + random.below(1_400_000);
    let content = random.bytes(size);
    let body = form(Some("t"), None, &content);
    let at = random.below(body.len());
    let first = bed.send("alice", Method::POST, "/ft", &[bed::FORM], cut(&body[..at])).await;
    assert_ne!(first.status, StatusCode::OK, "seed {seed}");
    let mut done = None;
    for _ in 0..50 {
        if random.below(4) == 0 {
            bed.restart();
        }
        let info = bed.send("alice", Method::GET, "/ft?tid=t&get_upload_info", &bed::PLAIN, "").await;
        if info.status == StatusCode::NOT_FOUND {
            let answer = bed.upload("alice", Some("t"), None, &content).await;
            done = Some(answer);
            break;
        }
        let (last, url) = info.resume();
        // Clients disagree by one.
        let from = if random.below(2) == 0 { last } else { last + 1 };
        if from >= content.len() {
            done = Some(bed.send("alice", Method::GET, "/ft?tid=t&get_download_info", &bed::PLAIN, "").await);
            if done.as_ref().is_some_and(|done| done.status == StatusCode::OK) {
                break;
            }
            // All bytes are there and the last boundary was not: the last of them is sent again.
            done = Some(bed.send("alice", Method::PUT, &url, &[put(last, content.len())], &content[last..]).await);
            break;
        }
        let rest = &content[from..];
        if random.below(3) > 0 {
            let answer = bed.send("alice", Method::PUT, &url, &[put(from, content.len())], rest).await;
            assert_eq!(answer.status, StatusCode::OK, "seed {seed}");
            done = Some(answer);
            break;
        }
        let some = cut(&rest[..random.below(rest.len())]);
        let answer = bed.send("alice", Method::PUT, &url, &[put(from, content.len())], some).await;
        assert_ne!(answer.status, StatusCode::OK, "seed {seed}");
    }
    let url = done.unwrap_or_else(|| panic!("seed {seed}: not done")).document().file.url;
    assert!(bed.get(&url, &[]).await.body == content, "seed {seed}");
    bed.check_disk().await;
    assert_eq!(bed.incoming(), 0, "seed {seed}");
}

#[tokio::test]
async fn what_lies_behind_a_gap_is_refused_and_pieces_are_taken() {
    let bed = Bed::new();
    let content = [vec![1; 1000], vec![2; 1000], vec![3; 1000]].concat();
    let body = form(Some("t"), None, &content);
    let until = body.len() - "\r\n--boundary1--".len() - 2000;
    bed.send("alice", Method::POST, "/ft", &[bed::FORM], cut(&body[..until])).await;
    let (last, url) = bed.send("alice", Method::GET, "/ft?tid=t&get_upload_info", &bed::PLAIN, "").await.resume();
    assert_eq!(last, 999);
    let gap = bed.send("alice", Method::PUT, &url, &[put(1001, 3000)], &content[1001..]).await;
    assert_eq!((gap.status.as_u16(), gap.header("content-range")), (416, "bytes */1000".into()));
    let range = (header::CONTENT_RANGE, "bytes 1000-1999/3000".to_owned());
    let piece = bed.send("alice", Method::PUT, &url, std::slice::from_ref(&range), &content[1000..2000]).await;
    assert_eq!((piece.status, piece.resume().0), (StatusCode::OK, 1999));
    for (name, headers, body) in [
        ("no range", vec![], &content[2000..]),
        ("less than it says", vec![put(2000, 3000)], &content[2000..2500]),
        ("more than it says", vec![range], &content[1000..]),
    ] {
        assert_eq!(bed.send("alice", Method::PUT, &url, &headers, body).await.status, 400, "{name}");
    }
    // What lies behind the place where a PUT begins is gone with it.
    assert_eq!(bed.send("bob", Method::PUT, &url, &[put(1000, 3000)], &content[1000..]).await.status, 404);
    let done = bed.send("alice", Method::PUT, &url, &[put(1000, 3000)], &content[1000..]).await;
    assert_eq!(bed.get(&done.document().file.url, &[]).await.body, content);
}

#[tokio::test]
async fn who_has_lost_an_upload_to_another_request_does_not_end_it() {
    let bed = Bed::new();
    let new = NewFile {
        owner: "alice@d".into(),
        tid: Some("t".into()),
        name: "a".into(),
        content_type: "video/mp4".into(),
        expected: None,
    };
    let first = bed.depot.begin(new).await.unwrap();
    let token = bed.depot.inner.partials.of_tid("t").unwrap().token().to_owned();
    let range = ContentRange { first: 0, last: 4, size: 5 };
    let mut second = bed.depot.resume("alice@d", &token, range).await.unwrap();
    second.write("12345".into()).await.unwrap();
    first.discard().await;
    assert_eq!(second.finish().await.unwrap().size, 5);
    assert_eq!(bed.incoming(), 0);
}

#[tokio::test]
async fn a_transfer_id_is_its_owners() {
    let bed = Bed::new();
    let first = bed.upload("alice", Some("t"), None, b"one").await.document();
    assert_eq!(bed.upload("bob", Some("t"), None, b"two").await.status, StatusCode::FORBIDDEN);
    for query in ["get_upload_info", "get_download_info"] {
        let answer = bed.send("bob", Method::GET, &format!("/ft?tid=t&{query}"), &bed::PLAIN, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{query}");
    }
    // The answer was lost: the same file has the same links, another one has others.
    assert_eq!(bed.upload("alice", Some("t"), None, b"one").await.document(), first);
    assert_ne!(bed.upload("alice", Some("t"), None, b"two").await.document().file.url, first.file.url);
    bed.check_disk().await;
}

#[tokio::test]
async fn only_its_owner_removes_a_file() {
    let bed = Bed::new();
    let url = bed.upload("alice", None, Some(b"p"), b"one").await.document().file.url;
    let same = bed.upload("bob", None, None, b"one").await.document().file.url;
    assert_eq!(bed.send("bob", Method::DELETE, &url, &bed::PLAIN, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bed.send("alice", Method::DELETE, &url, &bed::PLAIN, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(bed.get(&url, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bed.get(&same, &[]).await.body, b"one");
    bed.check_disk().await;
    assert_eq!(bed.send("bob", Method::DELETE, &same, &bed::PLAIN, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(bed.blobs(), 0);
}

#[tokio::test]
async fn a_picture_that_comes_without_gets_a_thumbnail() {
    let bed = Bed::new();
    let mut png = std::io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(100, 50, |x, y| image::Rgb([x as u8, y as u8, 0]));
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let upload = async |user: &str, picture: Option<&[u8]>, kind: &str, content: &[u8]| {
        let body = bed::form_of(None, picture, kind, content);
        bed.send(user, Method::POST, "/ft", &[bed::FORM], &body[..]).await.document()
    };
    let made = upload("alice", None, "image/png", &png).await.thumbnail.expect("a thumbnail");
    assert_eq!(made.content_type, "image/jpeg");
    let small = image::load_from_memory(&bed.get(&made.url, &[]).await.body).unwrap();
    assert_eq!((small.width(), small.height()), (64, 32));
    // The client's own goes first; what is no picture has none, whatever it is called.
    let own = upload("alice", Some(b"own"), "image/png", &png).await.thumbnail.expect("a thumbnail");
    assert_eq!(bed.get(&own.url, &[]).await.body, b"own");
    assert_eq!(upload("alice", None, "image/png", b"no picture").await.thumbnail, None);
    assert_eq!(upload("alice", None, "application/octet-stream", &png).await.thumbnail, None);
    // Where the quota has room for the picture alone, that is kept.
    upload("bob", None, "video/mp4", &vec![1; 1_500_000]).await;
    upload("bob", None, "video/mp4", &vec![2; 1_500_000 - png.len() - 1]).await;
    assert_eq!(upload("bob", None, "image/png", &png).await.thumbnail, None);
    bed.check_disk().await;
    assert_eq!(bed.incoming(), 0);
}

#[tokio::test]
async fn what_expires_is_gone_with_its_bytes() {
    let bed = Bed::new();
    let url = bed.upload("alice", Some("t"), Some(b"picture"), b"one").await.document().file.url;
    bed.send("alice", Method::POST, "/ft", &[bed::FORM], cut(&form(Some("u"), None, &[7; 900])[..500])).await;
    let now = crate::core::epoch_seconds();
    assert_eq!(bed.depot.sweep(now).await.unwrap(), Swept::default());
    let later = now + bed::VALIDITY.as_secs() + 1;
    assert_eq!(bed.depot.sweep(later).await.unwrap(), Swept { files: 1, uploads: 1, orphans: 0 });
    assert_eq!(bed.get(&url, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!((bed.blobs(), bed.incoming()), (0, 0));
}
