//! A script that drives a headless Chromium: it takes commands on its standard input, and answers on its standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::{Server, found};

/// A script that ends with this value.
#[derive(Debug)]
pub(crate) struct Script {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Script {
    /// Starts `e2e/js/NAME`; `None` with a word where there is no Chromium or Node, or npm has not installed the packages.
    ///
    /// # Panics
    /// When all is there and it does not start.
    pub(crate) fn start(server: &Server, name: &str) -> Option<Script> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
        if !found("node") || !found("chromium") || !scripts.join("node_modules/playwright-core").exists() {
            println!("SKIPPED: there is no node, chromium or e2e/js/node_modules here");
            return None;
        }
        let chromium =
            ["/usr/bin/chromium", "/usr/local/bin/chromium"].into_iter().find(|path| Path::new(path).exists());
        let log = server.dir().join("browser.log");
        let mut process = Command::new("node")
            .arg(scripts.join(name))
            .arg(chromium.unwrap_or("/usr/bin/chromium"))
            .env("HOME", server.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("the folder of a test can be written to"))
            .spawn()
            .expect("node can be started");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut script = Script { process, input, output, log };
        assert_eq!(script.answer_of("the start"), json!("ready"));
        Some(script)
    }

    /// Has a page do something, and gives what it answers.
    ///
    /// # Panics
    /// When the page fails, or takes too long.
    pub(crate) fn run(&mut self, page: usize, action: &str, with: Value) -> Value {
        let command = json!({ "page": page, "do": action, "with": with });
        let input = self.input.as_mut().expect("it is there until the end");
        writeln!(input, "{command}").and_then(|()| input.flush()).expect("the browser lives");
        self.answer_of(action)
    }

    fn answer_of(&mut self, action: &str) -> Value {
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        let answer: Value = serde_json::from_str(&line).unwrap_or_default();
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        answer.get("is").cloned().unwrap_or_else(|| panic!("{action}: {line}\n{}", log()))
    }
}

impl Drop for Script {
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
