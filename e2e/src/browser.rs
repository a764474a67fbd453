//! JsSIP in headless Chromium, a page for each phone, driven over the standard input of a script.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::{DOMAIN, Server, found};

/// A browser that ends with this value.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

/// Which WebSocket of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    Ws,
    Wss,
}

impl Browser {
    /// Starts one; `None` with a word where there is no Chromium, Node or JsSIP.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start(server: &Server) -> Option<Browser> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
        if !found("node") || !found("chromium") || !scripts.join("node_modules/jssip").exists() {
            println!("SKIPPED: there is no node, chromium or e2e/js/node_modules here");
            return None;
        }
        let chromium =
            ["/usr/bin/chromium", "/usr/local/bin/chromium"].into_iter().find(|path| Path::new(path).exists());
        let log = server.dir().join("browser.log");
        let mut process = Command::new("node")
            .arg(scripts.join("browser.mjs"))
            .arg(chromium.unwrap_or("/usr/bin/chromium"))
            .env("HOME", server.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("the folder of a test can be written to"))
            .spawn()
            .expect("node can be started");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut browser = Browser { process, input, output, log };
        assert_eq!(browser.answer_of("the start"), json!("ready"));
        Some(browser)
    }

    /// Has a page do something, and gives what it answers.
    ///
    /// # Panics
    /// When the page fails, or takes too long.
    pub fn run(&mut self, page: usize, action: &str, with: Value) -> Value {
        self.begin(page, action, with);
        self.answer_of(action)
    }

    fn begin(&mut self, page: usize, action: &str, with: Value) {
        let command = json!({ "page": page, "do": action, "with": with });
        let input = self.input.as_mut().expect("it is there until the end");
        writeln!(input, "{command}").and_then(|()| input.flush()).expect("the browser lives");
    }

    fn answer_of(&mut self, action: &str) -> Value {
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        let answer: Value = serde_json::from_str(&line).unwrap_or_default();
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        answer.get("is").cloned().unwrap_or_else(|| panic!("{action}: {line}\n{}", log()))
    }

    /// Registers user N in page N.
    pub fn register(&mut self, server: &Server, user: usize, socket: Socket) {
        let url = match socket {
            Socket::Ws => format!("ws://{}/ws", server.addr("http")),
            Socket::Wss => format!("wss://{}/ws", server.addr("https")),
        };
        let with = json!({ "url": url, "uri": format!("sip:user{user}@{DOMAIN}"), "password": format!("pass{user}") });
        self.run(user, "register", with);
    }

    /// Sends a text from one user to another, and gives the code of the response.
    pub fn send(&mut self, from: usize, to: usize, text: &str) -> Value {
        self.run(from, "send", json!({ "to": format!("sip:user{to}@{DOMAIN}"), "text": text }))
    }

    /// The next text that comes to a user.
    pub fn text(&mut self, user: usize) -> String {
        let message = self.run(user, "message", Value::Null);
        message["text"].as_str().unwrap_or_else(|| panic!("no text in {message}")).to_owned()
    }

    /// Begins to call somebody.
    pub fn call(&mut self, from: usize, to: usize) {
        self.run(from, "call", json!({ "to": format!("sip:user{to}@{DOMAIN}") }));
    }

    /// Has a page do something that needs nothing more.
    pub fn act(&mut self, user: usize, action: &str) -> Value {
        self.run(user, action, Value::Null)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input is its end, and that of Chromium.
        drop(self.input.take());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while matches!(self.process.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
