//! An address book over CardDAV with a stock client, and through the other doors.

use std::path::{Path, PathBuf};
use std::process::Command;

use chappe_e2e::{Program, Server, all_found, http};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The version that is tried: earlier ones know no digest.
const VDIRSYNCER: &str = "vdirsyncer==0.21.0";

/// Where vdirsyncer is, installed there by pip; `None` with a word where it cannot be had.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vdirsyncer");
    if folder.join("vdirsyncer/__main__.py").exists() {
        return Some(folder);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .arg(VDIRSYNCER);
    match pip.output() {
        Ok(output) if output.status.success() => Some(folder),
        Ok(output) => {
            println!("SKIPPED: no {VDIRSYNCER}: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("SKIPPED: no pip: {error}");
            None
        }
    }
}

/// vdirsyncer, with a folder of vCards.
struct Client<'s> {
    server: &'s Server,
    installed: &'s Path,
    runs: usize,
}

impl Client<'_> {
    fn folder(&self) -> PathBuf {
        self.server.dir().join("cards")
    }

    fn prepare(&self) {
        let dir = self.server.dir();
        std::fs::create_dir_all(self.folder()).expect("the folder of a test can be used");
        let config = format!(
            "[general]\nstatus_path = {:?}\n[pair p]\na = \"local\"\nb = \"remote\"\ncollections = null\n\
             [storage local]\ntype = \"filesystem\"\npath = {:?}\nfileext = \".vcf\"\n\
             [storage remote]\ntype = \"carddav\"\nurl = \"http://{}/dav/addressbooks/user0@localhost/contacts/\"\n\
             auth = \"digest\"\nusername = \"user0\"\npassword = \"pass0\"\n",
            dir.join("status"),
            self.folder(),
            self.server.addr("http")
        );
        std::fs::write(dir.join("vdirsyncer.conf"), config).expect("the folder of a test can be used");
    }

    fn run(&mut self, command: &[&str]) {
        let dir = self.server.dir();
        self.runs += 1;
        let mut vdirsyncer = Command::new("python3");
        vdirsyncer.args(["-m", "vdirsyncer"]).env("PYTHONPATH", self.installed);
        vdirsyncer.arg("-c").arg(dir.join("vdirsyncer.conf")).args(command).env("HOME", dir);
        Program::start(&format!("vdirsyncer{}", self.runs), &mut vdirsyncer, dir).succeed(PATIENCE);
    }

    fn sync(&mut self) {
        self.run(&["sync", "--force-delete"]);
    }
}

fn card(folder: &Path, name: &str, tel: &str) {
    let text = format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{name}\r\nN:{name};;;;\r\nFN:{name}\r\nTEL;TYPE=CELL:{tel}\r\nEND:VCARD\r\n"
    );
    std::fs::write(folder.join(format!("{name}.vcf")), text).expect("the folder of a test can be used");
}

/// What is in the folder, by the names that the vCards show.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("the folder of a test can be used").flatten();
    let name = |file: std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("FN:").map(|name| name.trim().to_owned()))
    };
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort();
    names
}

/// A phone with CardDAV, an application with JSON and a device with XCAP change one book in turn, over a kill.
#[test]
fn one_book_through_every_door() {
    if !all_found(&["python3"]) {
        return;
    }
    let Some(installed) = installed() else { return };
    let mut server = Server::start();
    {
        let mut client = Client { server: &server, installed: &installed, runs: 0 };
        client.prepare();
        client.run(&["discover"]);
        let folder = client.folder();
        for (name, tel) in [("alice", "+15550100001"), ("bob", "+15550100002"), ("carol", "+15550100003")] {
            card(&folder, name, tel);
        }
        client.sync();
        let json = "application/json";
        let contacts = "/oneapi/addressbook/v1/user0@localhost/contacts";
        let body = r#"{"attribute":{"name":"display-name","value":"bobby"}}"#;
        let path = format!("{contacts}/tel:+15550100002/attributes/display-name");
        assert_eq!(http::put(&server, 0, &path, json, body), 200);
        let body = r#"{"contact":{"attributeList":{"attribute":[{"name":"display-name","value":"dora"}]}}}"#;
        assert_eq!(http::put(&server, 0, &format!("{contacts}/tel:+15550100004"), json, body), 201);
        let entry = "/xcap-root/resource-lists/users/sip:user0@localhost/contacts/~~/resource-lists/list%5B@name=%22contacts%22%5D/entry%5B@uri=%22sip:erin@localhost%22%5D";
        let body = "<entry uri=\"sip:erin@localhost\"><display-name>erin</display-name></entry>";
        assert_eq!(http::put(&server, 0, entry, "application/xcap-el+xml", body), 201);
        client.sync();
        assert_eq!(names(&folder), ["alice", "bobby", "carol", "dora", "erin"]);
        std::fs::remove_file(folder.join("alice.vcf")).expect("the folder of a test can be used");
        client.sync();
    }
    // What was answered is on disk.
    server.kill();
    server.restart();
    let mut client = Client { server: &server, installed: &installed, runs: 10 };
    std::fs::remove_dir_all(server.dir().join("status")).expect("the folder of a test can be used");
    std::fs::remove_dir_all(client.folder()).expect("the folder of a test can be used");
    client.prepare();
    client.run(&["discover"]);
    client.sync();
    assert_eq!(names(&client.folder()), ["bobby", "carol", "dora", "erin"]);
}

/// A file of a phone and a table of a mail program are taken whole, and what is wrong in them is named.
#[test]
fn files_of_contacts_are_taken_whole() {
    let mut server = Server::start();
    let contacts = "/oneapi/addressbook/v1/user0@localhost/contacts";
    let post = |server: &Server, kind: &str, body: &str| {
        let (status, answer) = http::send(server, 0, "POST", contacts, kind, body);
        (status, serde_json::from_str::<serde_json::Value>(&answer).expect("the answer is JSON"))
    };
    let cards: String = (0..300)
        .map(|n| {
            format!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:c{n}\r\nFN:Contact {n}\r\nTEL:+1555{n:07}\r\nEND:VCARD\r\n")
        })
        .collect();
    let (status, answer) = post(&server, "text/vcard; charset=utf-8", &cards);
    assert_eq!((status, &answer["importResult"]["added"]), (200, &300.into()));
    let table = "First Name,Last Name,Phone 1 - Value\nAnn,Lee,+1 555 0000007\nBob,,+15559999999\n,,nothing\n";
    let (status, answer) = post(&server, "text/csv", table);
    let expected = serde_json::json!({
        "added": 1, "updated": 1,
        "refused": [{ "number": 3, "reason": "\"nothing\" is no number or SIP address" }],
    });
    assert_eq!((status, &answer["importResult"]), (200, &expected));
    assert_eq!(post(&server, "text/csv", "city\nRome\n").0, 400);
    assert_eq!(post(&server, "application/json", "{}").0, 415);
    server.kill();
    server.restart();
    let (_, shown) = http::send(&server, 0, "GET", &format!("{contacts}/tel:+15550000007"), "text/plain", "");
    assert!(shown.contains("Ann Lee"), "{shown}");
    let (_, all) = http::send(&server, 0, "GET", contacts, "text/plain", "");
    assert_eq!(all.matches("\"contactId\"").count(), 301);
}
