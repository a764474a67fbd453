//! Files of users in a bucket: a stock simulator of S3 holds the content, and the suite of the content server sees no difference.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chappe_e2e::{Options, Program, Server, all_found, wait_for};

const PATIENCE: Duration = Duration::from_secs(200);
const BUCKET: &str = "chappe-files";
const ACCOUNTS: usize = 24;
/// The simulator, with what its server of S3 needs.
const PACKAGES: [&str; 5] = ["moto==5.2.5", "flask", "flask-cors", "py-partiql-parser", "PyYAML"];

/// Where moto is, installed there by pip; `None` with a word where it cannot be had.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    if folder.join("flask_cors/__init__.py").exists() {
        return Some(folder);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .args(PACKAGES);
    match pip.output() {
        Ok(output) if output.status.success() => Some(folder),
        Ok(output) => {
            println!("SKIPPED: no moto: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("SKIPPED: no pip: {error}");
            None
        }
    }
}

/// A store that speaks S3, with an empty bucket.
struct Store {
    _program: Program,
    addr: SocketAddr,
}

impl Store {
    fn start(installed: &Path, dir: &Path) -> Store {
        let mut moto = Command::new("python3");
        moto.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).env("PYTHONPATH", installed);
        let mut program = Program::start("moto", &mut moto, dir);
        program.expect("Running on http://");
        let said = program.said();
        let addr = said.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let store = Store { _program: program, addr: addr.expect("moto names its address") };
        store.ask("PUT", &format!("/{BUCKET}"));
        store
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).expect("moto listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            self.addr
        );
        stream.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        answer
    }

    fn objects(&self) -> usize {
        let listed = self.ask("GET", &format!("/{BUCKET}?list-type=2&max-keys=1000"));
        let keys: Vec<&str> = listed.split("<Key>").skip(1).collect();
        assert!(keys.iter().all(|key| key.starts_with("ft/")), "{listed}");
        keys.len()
    }
}

#[test]
fn content_lives_in_a_bucket() {
    if !all_found(&["python3"]) {
        return;
    }
    let Some(installed) = installed() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::start(&installed, dir.path());
    let settings = vec![
        ("FILES__S3__BUCKET", BUCKET.to_owned()),
        ("FILES__S3__PREFIX", "ft".to_owned()),
        ("FILES__S3__ENDPOINT", format!("http://{}", store.addr)),
        ("FILES__S3__ACCESS_KEY", "key".to_owned()),
        ("FILES__S3__SECRET_KEY", "secret".to_owned()),
    ];
    let mut server = Server::start_with(Options { accounts: ACCOUNTS, settings, ..Options::default() });
    let mut run = Command::new(chappe_e2e::binary());
    run.args(["conformance", "run", "--domain", "localhost", "--suite", "ft"]);
    run.arg("--target").arg(format!("sip:{};transport=tcp", server.addr("tcp")));
    run.arg("--http").arg(format!("http://{}/ws", server.addr("http")));
    for n in 0..ACCOUNTS {
        run.args(["--user", &format!("user{n}"), "--password", &format!("pass{n}")]);
    }
    Program::start("suite", &mut run, dir.path()).succeed(PATIENCE);
    assert!(store.objects() > 0);
    assert!(!server.dir().join("data/files/blobs").exists(), "content is on the disk too");

    // Over a kill the rows and the bucket agree, and what is removed is gone from both.
    server.kill();
    server.restart();
    let files = server.ask(&["files", "list"]);
    let ids: Vec<String> =
        files.as_array().expect("a list").iter().map(|file| file["id"].as_str().expect("an id").into()).collect();
    assert!(!ids.is_empty());
    for id in &ids {
        server.tell(&["files", "remove", id]);
    }
    wait_for("the bucket to be empty", || (store.objects() == 0).then_some(()));
}
