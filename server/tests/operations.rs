//! The `chappe` binary from start to end, on ports that the system chooses.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const CHAPPE: &str = env!("CARGO_BIN_EXE_chappe");

/// `chappe` with listeners of its own.
fn chappe(arguments: &[&str]) -> Command {
    let mut command = Command::new(CHAPPE);
    command
        .args(arguments)
        .env("CHAPPE__SIP__LISTEN", "udp://127.0.0.1:0,tcp://127.0.0.1:0,tls://127.0.0.1:0")
        .env("CHAPPE__HTTP__LISTEN", "http://127.0.0.1:0,https://127.0.0.1:0")
        .env("CHAPPE__MSRP__LISTEN", "tcp://127.0.0.1:0,tls://127.0.0.1:0")
        .env("CHAPPE__MANAGEMENT__LISTEN", "http://127.0.0.1:0")
        .env("CHAPPE__LOG__LEVEL", "warn");
    command
}

fn run(arguments: &[&str], dir: &Path) -> Output {
    chappe(arguments).arg("--data-dir").arg(dir).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs, and gives what was printed where the exit code is `code`.
#[track_caller]
fn expect(arguments: &[&str], dir: &Path, code: i32) -> String {
    let output = run(arguments, dir);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
    text(&output)
}

/// A server that is ended with the test.
struct Server {
    child: Child,
    banner: Vec<String>,
}

impl Server {
    fn start(arguments: &[&str], dir: &Path) -> Server {
        let mut command = chappe(arguments);
        let mut child = command.arg("--data-dir").arg(dir).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut banner = Vec::new();
        for line in BufReader::new(child.stdout.as_mut().expect("piped")).lines() {
            let line = line.expect("text");
            if line == "ready" {
                return Server { child, banner };
            }
            banner.push(line);
        }
        panic!("ended before it was ready: {banner:?} {:?}", child.wait());
    }

    /// Asks it to stop, and waits.
    fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it is ours").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_testbed_prints_what_to_know_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&["testbed", "--accounts", "2", "--domain", "lab.test"], dir.path());
    let banner = server.banner.join("\n");
    for expected in
        ["lab.test", "user0@lab.test  password pass0", "user1@lab.test", "echo@lab.test", "http://127.0.0.1:"]
    {
        assert!(banner.contains(expected), "{banner}");
    }
    assert!(!banner.contains(":0\n"), "{banner}");

    let status: serde_json::Value = serde_json::from_str(&expect(&["status", "--json"], dir.path(), 0)).unwrap();
    assert_eq!(status["counts"]["accounts"], 3);
    assert_eq!(status["domains"], serde_json::json!(["lab.test"]));
    let listeners: Vec<_> =
        status["listeners"].as_array().unwrap().iter().map(|l| l["url"].as_str().unwrap()).collect();
    for url in listeners {
        assert!(banner.contains(url), "{url} is not in {banner}");
    }
    assert_eq!(server.stop(), Some(0));
    let gone = expect(&["status"], dir.path(), 1);
    assert!(gone.contains("no server runs on"), "{gone}");
}

#[test]
fn accounts_are_the_same_through_the_server_and_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    expect(&["account", "add", "alice@localhost", "--password", "a", "--tel", "+15550001"], at, 0);
    let server = Server::start(&["serve"], at);
    assert!(expect(&["account", "show", "alice@localhost"], at, 0).contains("+15550001"));
    assert!(expect(&["account", "add", "alice@localhost", "--password", "a"], at, 1).contains("the account exists"));
    let made = expect(&["account", "add", "bob@localhost"], at, 0);
    assert!(made.contains("Password: "), "{made}");
    assert!(expect(&["account", "add", "bob@elsewhere.test"], at, 1).contains("is not served here"));
    let csv = at.join("users.csv");
    std::fs::write(&csv, "user,password\ncarol@localhost,c\nbob@localhost,b\n").unwrap();
    let imported = expect(&["account", "import", csv.to_str().unwrap()], at, 1);
    assert!(imported.contains("1 added, 1 refused.") && imported.contains("users.csv:3: bob@localhost"), "{imported}");
    expect(&["account", "remove", "bob@localhost"], at, 0);
    let second = expect(&["serve"], at, 1);
    assert!(second.contains("a server runs on"), "{second}");
    let copy = at.join("copy.db");
    expect(&["backup", copy.to_str().unwrap()], at, 0);
    assert_eq!(server.stop(), Some(0));

    let list = expect(&["account", "list"], at, 0);
    assert!(list.contains("alice@localhost") && list.contains("carol@localhost") && !list.contains("bob@"), "{list}");
    expect(&["account", "remove", "alice@localhost"], at, 0);
    expect(&["account", "show", "alice@localhost"], at, 1);
    expect(&["restore", copy.to_str().unwrap()], at, 0);
    expect(&["account", "show", "alice@localhost"], at, 0);
}

#[test]
fn faults_of_the_configuration_end_with_1_and_of_usage_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    std::fs::write(&file, "[sip]\nlistne = []\n").unwrap();
    for arguments in [["config", "check"], ["serve", "--config"]] {
        let output = chappe(&arguments).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("server.toml:2:1"), "{}", text(&output));
        assert!(text(&output).contains("did you mean `listen`?"), "{}", text(&output));
    }
    let example = chappe(&["config", "example"]).output().unwrap();
    std::fs::write(&file, &example.stdout).unwrap();
    let output = chappe(&["config", "check"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(chappe(&["serve", "--wrong"]).output().unwrap().status.code(), Some(2));
}
