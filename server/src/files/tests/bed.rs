//! A content server, and what a client needs.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use bytes::Bytes;
use chappe_api::Peer;
use chappe_api::files::{FileSettings, router};
use chappe_api::identity::{Asked, Identify, Unidentified, User};
use chappe_content::{FileDocument, Policy};
use chappe_store::Stores;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tower::ServiceExt;

use crate::files::{Depot, Scan, Settings};

pub(super) const VALIDITY: Duration = Duration::from_secs(1000);
pub(super) const FORM: (HeaderName, String) = (header::CONTENT_TYPE, String::new());
/// No headers.
pub(super) const PLAIN: [(HeaderName, &str); 0] = [];
const BASE: &str = "https://ft.example.com";

pub(super) struct Bed {
    pub(super) dir: tempfile::TempDir,
    pub(super) stores: Stores,
    pub(super) depot: Arc<Depot>,
    router: Router,
    scan: Scan,
}

/// Takes everybody at his word.
struct Believe;

impl Identify for Believe {
    fn identify(&self, asked: &Asked<'_>) -> Result<User, Unidentified> {
        let name = asked.headers.get("x-user").and_then(|name| name.to_str().ok());
        let name = name.ok_or(Unidentified::Challenge(vec!["Digest realm=\"d\"".into()]))?;
        Ok(User { aor: format!("{name}@d").into(), tel: Box::default(), display_name: "".into() })
    }
}

impl Bed {
    pub(super) fn new() -> Bed {
        Bed::scanning("", false)
    }

    /// Looks at each file with this line of the shell, to which the file is `$0`.
    pub(super) fn scanning(line: &str, accept_unchecked: bool) -> Bed {
        let words = ["sh", "-c", line].map(str::to_owned);
        let command = if line.is_empty() { Vec::new() } else { words.to_vec() };
        let scan = Scan { command, timeout: Duration::from_millis(2000), accept_unchecked };
        let (dir, stores) = (tempfile::tempdir().unwrap(), Stores::memory());
        let (depot, router) = serve(dir.path(), &stores, &scan);
        Bed { dir, stores, depot, router, scan }
    }

    /// As after a crash: only the folder and the store are left.
    pub(super) fn restart(&mut self) {
        (self.depot, self.router) = serve(self.dir.path(), &self.stores, &self.scan);
    }

    pub(super) async fn send(
        &self,
        user: &str,
        method: Method,
        target: &str,
        headers: &[(HeaderName, impl AsRef<str>)],
        body: impl IntoBody,
    ) -> Answer {
        let target = target.strip_prefix(BASE).unwrap_or(target);
        let mut request = Request::builder().method(method).uri(target);
        if !user.is_empty() {
            request = request.header("x-user", user);
        }
        for (name, value) in headers {
            let value =
                if value.as_ref().is_empty() { "multipart/form-data; boundary=boundary1" } else { value.as_ref() };
            request = request.header(name, value);
        }
        let address = ([127, 0, 0, 1], 1).into();
        let peer = Peer { remote: address, local: address, secure: false, listener: 0 };
        let request = request.extension(peer).body(body.into_body()).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(super) async fn get(&self, target: &str, headers: &[(HeaderName, &str)]) -> Answer {
        self.send("", Method::GET, target, headers, "").await
    }

    pub(super) async fn upload(&self, user: &str, tid: Option<&str>, picture: Option<&[u8]>, content: &[u8]) -> Answer {
        self.send(user, Method::POST, "/ft", &[FORM], &form(tid, picture, content)[..]).await
    }

    /// The contents that are on the disk are those that the store needs.
    pub(super) async fn check_disk(&self) {
        let mut there = BTreeSet::new();
        for folder in std::fs::read_dir(self.dir.path().join("blobs")).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                there.insert(file.unwrap().file_name().into_string().unwrap());
            }
        }
        let files = self.stores.files.list(None, None, usize::MAX).await.unwrap();
        let needed: BTreeSet<_> = files.iter().flat_map(|file| file.hashes()).map(|hash| hash.to_string()).collect();
        assert_eq!(there, needed);
    }

    pub(super) fn blobs(&self) -> usize {
        let folders = std::fs::read_dir(self.dir.path().join("blobs")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }

    /// Files of uploads that are not complete.
    pub(super) fn incoming(&self) -> usize {
        let all = std::fs::read_dir(self.dir.path().join("incoming")).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().file_name() != "boot").count()
    }
}

fn serve(dir: &Path, stores: &Stores, scan: &Scan) -> (Arc<Depot>, Router) {
    let settings = Settings {
        dir: dir.to_owned(),
        policy: Policy {
            max_size: 2_000_000,
            max_thumbnail: 10_000,
            quota: 3_000_000,
            accept: Vec::new(),
            refuse: vec!["application/x-msdownload".into()],
        },
        validity: VALIDITY,
        resume: VALIDITY,
        uploads: 100,
        uploads_per_user: 3,
        scan: scan.clone(),
        thumbnails: 64,
        s3: None,
    };
    let depot = Arc::new(Depot::open(settings, Arc::clone(&stores.files)).unwrap());
    let http = FileSettings { url: Some(BASE.into()), idle: Duration::from_millis(100), min_rate: 0 };
    (Arc::clone(&depot), router(depot, Arc::new(Believe), http))
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn document(&self) -> FileDocument {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        FileDocument::parse(&self.body).unwrap()
    }

    /// Last byte that is there, and where the rest goes.
    pub(super) fn resume(&self) -> (usize, String) {
        let between = |from: &str| self.text().split(from).nth(1).unwrap().split('"').next().unwrap().to_owned();
        (between("end=\"").parse().unwrap(), between("url=\""))
    }
}

/// A form of which `File` is the last part.
pub(super) fn form(tid: Option<&str>, picture: Option<&[u8]>, content: &[u8]) -> Vec<u8> {
    form_of(tid, picture, "video/mp4", content)
}

pub(super) fn form_of(tid: Option<&str>, picture: Option<&[u8]>, kind: &str, content: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    if let Some(tid) = tid {
        let head = "--boundary1\r\nContent-Disposition: form-data; name=\"tid\"\r\nContent-Type: text/plain\r\n\r\n";
        form.extend_from_slice(format!("{head}{tid}\r\n").as_bytes());
    }
    for (name, kind, bytes) in [("Thumbnail", "image/png", picture), ("File", kind, Some(content))] {
        let Some(bytes) = bytes else { continue };
        let head = format!(
            "--boundary1\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.bin\"\r\nContent-Type: {kind}\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(bytes);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--boundary1--");
    form
}

/// The Content-Range of all from `first` on.
pub(super) fn put(first: usize, size: usize) -> (HeaderName, String) {
    (header::CONTENT_RANGE, format!("bytes {first}-{}/{size}", size - 1))
}

pub(super) trait IntoBody {
    fn into_body(self) -> Body;
}

impl IntoBody for &str {
    fn into_body(self) -> Body {
        Body::from(self.to_owned())
    }
}

impl IntoBody for &[u8] {
    fn into_body(self) -> Body {
        let pieces = self.chunks(50_021).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Body::new(Pieces { pieces, then: Then::End })
    }
}

impl IntoBody for Pieces {
    fn into_body(self) -> Body {
        Body::new(self)
    }
}

/// A body that arrives in pieces, and what comes after them.
pub(super) struct Pieces {
    pub(super) pieces: VecDeque<io::Result<Bytes>>,
    pub(super) then: Then,
}

pub(super) enum Then {
    End,
    Nothing,
}

/// A body whose connection breaks.
pub(super) fn cut(body: &[u8]) -> Pieces {
    let pieces = body.chunks(33_333).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    Pieces { pieces: pieces.chain([Err(io::ErrorKind::ConnectionReset.into())]).collect(), then: Then::End }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match (self.pieces.pop_front(), &self.then) {
            (Some(piece), _) => Poll::Ready(Some(piece.map(Frame::data))),
            (None, Then::End) => Poll::Ready(None),
            // Nobody wakes it.
            (None, Then::Nothing) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Xorshift; the same seed gives the same numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}
