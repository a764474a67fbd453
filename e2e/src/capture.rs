//! What went over the wire, in the eyes of tshark.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::{Program, Server, found};

/// A capture of all that the address of a test sends and receives.
#[derive(Debug)]
pub struct Capture {
    program: Program,
    file: PathBuf,
    ports: Vec<String>,
}

impl Capture {
    /// Begins; `None` with a word where that is not allowed or there is no tshark.
    pub fn start(server: &Server) -> Option<Capture> {
        if !found("tshark") {
            println!("SKIPPED: there is no tshark here");
            return None;
        }
        let file = server.dir().join("capture.pcap");
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-q", "-B", "64", "-f", &format!("host {}", server.address().ip()), "-w"]).arg(&file);
        command.env("HOME", server.dir());
        let mut program = Program::start("tshark", &mut command, server.dir());
        // It says so when it has begun, or ends when it may not.
        let begun = crate::wait_for("tshark to begin", || {
            if program.said().contains("Capture started") || file.metadata().is_ok_and(|file| file.len() >= 24) {
                return Some(true);
            }
            program.wait(Duration::ZERO).map(|_| false)
        });
        if !begun {
            println!("SKIPPED: tshark may not capture here: {}", program.said().trim());
            return None;
        }
        let as_sip = |scheme: &str, kind: &str| format!("{kind}.port=={},{}", server.addr(scheme).port(), "sip");
        let http = format!("tcp.port=={},http", server.addr("http").port());
        let msrp = format!("tcp.port=={},msrp", server.msrp("tcp").port());
        let ports = vec![as_sip("udp", "udp"), as_sip("tcp", "tcp"), http, msrp];
        Some(Capture { program, file, ports })
    }

    /// Waits until these bytes were seen: what was sent last is not captured at once.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for(&self, bytes: &[u8]) {
        crate::wait_for("the end of the capture", || {
            memchr::memmem::find(&std::fs::read(&self.file).unwrap_or_default(), bytes).map(|_| ())
        });
    }

    /// Ends the capture.
    pub fn end(&mut self) {
        // What came last is written at the end.
        self.program.interrupt(Signal::INT);
        assert!(self.program.wait(crate::PATIENCE).is_some(), "tshark does not end");
    }

    /// The fields of the packets that match.
    ///
    /// # Panics
    /// When tshark fails.
    pub fn packets(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file);
        for port in &self.ports {
            command.args(["-d", port]);
        }
        command.args(["-Y", filter, "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().expect("tshark can be started");
        assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}
