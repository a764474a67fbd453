//! linphone-daemon: a real phone without sound card and screen, driven over its socket in /tmp.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{DOMAIN, PATIENCE, Program, Server, wait_for};

/// A phone of a user that is registered; it ends with this value.
#[derive(Debug)]
pub struct Linphone {
    stream: UnixStream,
    /// Every event so far, each as the daemon wrote it.
    events: Vec<String>,
    /// Where the next [`expect`](Linphone::expect) begins to look.
    seen: usize,
    socket: String,
    _program: Program,
}

impl Linphone {
    /// Starts one for user N over `udp`, `tcp` or `tls`.
    ///
    /// # Panics
    /// When it does not register.
    pub fn start(server: &Server, user: usize, transport: &str) -> Linphone {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("chappe-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = server.dir().join(&name);
        for folder in [".local/share/linphone", ".config/linphone"] {
            std::fs::create_dir_all(home.join(folder)).expect("the folder of a test can be written to");
        }
        let config = home.join("rc");
        std::fs::write(&config, config_of(server, user, transport)).expect("the folder of a test can be written to");
        let mut command = Command::new("linphone-daemon");
        command.arg("--config").arg(&config).args(["--pipe", &name, "--disable-stats-events"]);
        command.env("HOME", &home).current_dir(&home);
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let program = Program::start(&name, &mut command, server.dir());
        let socket = format!("/tmp/{name}");
        let stream = wait_for("linphone-daemon to listen", || UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let mut phone = Linphone { stream, events: Vec::new(), seen: 0, socket, _program: program };
        wait_for("linphone to register", || {
            phone.command("register-status ALL").contains("LinphoneRegistrationOk").then_some(())
        });
        phone
    }

    /// Gives a command and returns the answer.
    ///
    /// # Panics
    /// When the daemon is gone.
    pub fn command(&mut self, line: &str) -> String {
        self.stream.write_all(format!("{line}\n").as_bytes()).expect("linphone-daemon lives");
        let mut answer = Vec::new();
        let mut chunk = [0; 16_384];
        // The end of an answer has no mark: it is there when nothing follows.
        wait_for("linphone-daemon to answer", || match self.stream.read(&mut chunk) {
            Ok(0) => panic!("linphone-daemon ended"),
            Ok(length) => {
                answer.extend_from_slice(&chunk[..length]);
                None
            }
            Err(_) => (!answer.is_empty()).then_some(()),
        });
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits for an event that has this in it, after those that were waited for before.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.command("pop-event");
            if event.contains("Event") {
                self.events.push(event);
            }
            if let Some(found) = self.events[self.seen..].iter().position(|event| event.contains(text)) {
                self.seen += found + 1;
                return;
            }
            assert!(Instant::now() < deadline, "linphone did not say {text:?}: {:#?}", &self.events[self.seen..]);
        }
    }

    /// Sends a text to user N.
    ///
    /// # Panics
    /// When linphone does not take it.
    pub fn message(&mut self, to: usize, text: &str) {
        let answer = self.command(&format!("message sip:user{to}@{DOMAIN} {text}"));
        assert!(answer.contains("Status: Ok"), "{answer}");
    }
}

fn config_of(server: &Server, user: usize, transport: &str) -> String {
    let (ip, addr) = (server.address().ip(), server.addr(transport));
    format!(
        "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nbind_address={ip}\nuse_ipv6=0\ndefault_proxy=0\n\
         verify_server_certs=0\nverify_server_cn=0\n[video]\nenabled=0\n[proxy_0]\n\
         reg_proxy=<sip:{addr};transport={transport};lr>\nreg_route=<sip:{addr};transport={transport};lr>\n\
         reg_identity=<sip:user{user}@{DOMAIN}>\nreg_expires=600\nreg_sendregister=1\npublish=0\n[auth_info_0]\n\
         username=user{user}\npasswd=pass{user}\nrealm={DOMAIN}\ndomain={DOMAIN}\n"
    )
}

impl Drop for Linphone {
    fn drop(&mut self) {
        let _ = self.stream.write_all(b"quit\n");
        let _ = std::fs::remove_file(&self.socket);
    }
}
