//! baresip: a real phone without sound card and screen, driven with JSON in netstrings over TCP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{DOMAIN, Program, Server, found, tone, wait_for};

/// A phone of a user that is registered; it ends with this value.
#[derive(Debug)]
pub struct Baresip {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Events that nobody has waited for yet.
    events: Vec<Value>,
    program: Program,
}

/// Where Debian's package has the modules.
const MODULES: &str = "/usr/lib/baresip/modules";

impl Baresip {
    /// Whether it is there with its modules; says so if it is not.
    pub fn found() -> bool {
        let found = found("baresip") && Path::new(MODULES).is_dir();
        if !found {
            println!("SKIPPED: there is no baresip here");
        }
        found
    }

    /// Starts one for user N over `udp`, `tcp` or `tls`; the peer is whom it writes to and calls.
    ///
    /// # Panics
    /// When it does not register.
    pub fn start(server: &Server, user: usize, peer: usize, transport: &str) -> Baresip {
        Baresip::run(server, user, peer, transport, ("", "", ""))
    }

    /// The same for one that says a tone of so many Hz, and writes down what it hears; with parameters of its account, as
    /// `;mediaenc=srtp-mand`, and more modules.
    ///
    /// # Panics
    /// When it does not register.
    pub fn with_tone(
        server: &Server,
        (user, peer): (usize, usize),
        transport: &str,
        hz: u32,
        account: &str,
        modules: &[&str],
    ) -> Baresip {
        let file = server.dir().join("tone.wav");
        tone::write(&file, hz, 60);
        let modules: String = modules.iter().map(|module| format!("module {module}\n")).collect();
        let config = format!(
            "{modules}audio_source aufile,{}\nmodule aufile.so\nmodule sndfile.so\nsnd_path {}\n",
            file.display(),
            server.dir().display()
        );
        Baresip::run(server, user, peer, transport, (account, "", &config))
    }

    /// Waits until it has heard a second of a tone of so many Hz.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_tone(&mut self, server: &Server, hz: u32) {
        wait_for("the phone to hear the tone", || {
            heard(server).any(|path| tone::share(&path, hz).is_some_and(|share| share > 0.8)).then_some(())
        });
    }

    /// Waits until it has heard another second of that tone, from now on.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_more_tone(&mut self, server: &Server, hz: u32) {
        let length = || heard(server).filter_map(|path| Some(path.metadata().ok()?.len())).sum::<u64>();
        // A second of what telephones say, in 16 bits.
        let enough = length() + 2 * 8000;
        wait_for("the phone to hear more", || (length() >= enough).then_some(()));
        self.expect_tone(server, hz);
    }

    /// The same for one that publishes its presence and watches that of its peer.
    ///
    /// # Panics
    /// When it does not register.
    pub fn present(server: &Server, user: usize, peer: usize, transport: &str) -> Baresip {
        Baresip::run(server, user, peer, transport, (";pubint=600", ";presence=p2p", "module_app presence.so\n"))
    }

    fn run(
        server: &Server,
        user: usize,
        peer: usize,
        transport: &str,
        (publish, watch, module): (&str, &str, &str),
    ) -> Baresip {
        let (ip, addr) = (server.address().ip(), server.addr(transport));
        let name = format!("baresip-{user}");
        let home = server.dir().join(&name);
        let control = server.address().port();
        let account = format!(
            "<sip:user{user}@{DOMAIN}>;auth_user=user{user};auth_pass=pass{user};regint=600{publish};\
             outbound=\"sip:{addr};transport={transport}\"\n"
        );
        // The sound of a call is what the other side said, unless it has a source of its own.
        let source = if module.contains("audio_source") { "" } else { "audio_source aubridge,a\n" };
        let config = format!(
            "sip_listen {ip}:0\nnet_interface {ip}\naudio_player aubridge,a\n{source}module_path {MODULES}\n\
             module g711.so\nmodule aubridge.so\nmodule_tmp account.so\nmodule_app contact.so\nmodule_app menu.so\n\
             {module}module_app ctrl_tcp.so\nctrl_tcp_listen {ip}:{control}\n"
        );
        let contacts = format!("\"peer\" <sip:user{peer}@{DOMAIN}>{watch}\n");
        std::fs::create_dir_all(&home).expect("the folder of a test can be written to");
        for (file, text) in [("accounts", account), ("config", config), ("contacts", contacts)] {
            std::fs::write(home.join(file), text).expect("the folder of a test can be written to");
        }
        let mut command = Command::new("baresip");
        // -s: what it sends and receives, in its output.
        command.args(["-4", "-s", "-f"]).arg(&home).env("HOME", &home).current_dir(&home);
        let mut program = Program::start(&name, &mut command, server.dir());
        program.expect("200 OK () [1 binding]");
        let stream = wait_for("baresip to listen", || TcpStream::connect((ip, control)).ok());
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        Baresip { stream, buffer: Vec::new(), events: Vec::new(), program }
    }

    /// Gives a command and returns the answer.
    ///
    /// # Panics
    /// When baresip is gone or refuses it.
    pub fn command(&mut self, name: &str, params: &str) -> String {
        let text = json!({"command": name, "params": params}).to_string();
        self.stream.write_all(format!("{}:{text},", text.len()).as_bytes()).expect("baresip lives");
        let answer = wait_for("baresip to answer", || {
            let said = self.read()?;
            if said["event"] == true {
                self.events.push(said);
                return None;
            }
            Some(said)
        });
        assert_eq!(answer["ok"], true, "{name}: {answer}");
        answer["data"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for an event of a type, as `CALL_ESTABLISHED`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect(&mut self, kind: &str) -> Value {
        wait_for(kind, || {
            if let Some(event) = self.read() {
                self.events.push(event);
            }
            let found = self.events.iter().position(|event| event["type"] == kind)?;
            Some(self.events.remove(found))
        })
    }

    /// Waits for this in what it sent and received.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect_on_wire(&mut self, text: &str) {
        self.program.expect(text);
    }

    /// Waits until it shows its peer so: `Online` or `Offline`.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_peer(&mut self, state: &str) {
        wait_for(state, || self.command("contacts", "").contains(state).then_some(()));
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        self.program.interrupt(rustix::process::Signal::KILL);
        let _ = self.program.wait(Duration::from_secs(3));
    }

    /// Sends a text to the peer.
    ///
    /// # Panics
    /// When baresip does not take it.
    pub fn message(&mut self, text: &str) {
        self.command("message", text);
    }

    /// The next netstring, if one comes soon.
    fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b':') {
                let length =
                    std::str::from_utf8(&self.buffer[..at]).ok().and_then(|digits| digits.parse::<usize>().ok());
                let end = at + 1 + length.expect("a length in digits");
                if self.buffer.len() > end {
                    let value = serde_json::from_slice(&self.buffer[at + 1..end]).expect("JSON");
                    self.buffer.drain(..=end);
                    return Some(value);
                }
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("baresip ended:\n{}", self.program.said()),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(_) => return None,
            }
        }
    }
}

/// What phones have written down of what they heard.
fn heard(server: &Server) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(server.dir()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
}
