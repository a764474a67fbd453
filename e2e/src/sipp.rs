//! sipp, with scenarios written down step by step.
//!
//! All sipps of a test work on one Call-ID, so that one process can register and then take a call or message over the
//! same socket: what stands before `///` in a Call-ID sipp leaves out when it looks for the call.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::{DOMAIN, Program, Server, wait_for};

/// How sipp reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Udp,
    Tcp,
    /// Through socat, for Debian's sipp has no TLS of its own.
    Tls,
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Access::Udp => "UDP",
            Access::Tcp => "TCP",
            Access::Tls => "TLS",
        }
    }
}

/// A scenario under construction.
#[derive(Debug, Clone)]
pub struct Scenario {
    access: Access,
    steps: Vec<String>,
    /// Where the INVITE stands: ACK and CANCEL take its branch.
    invite: usize,
    checks: usize,
}

/// A description of a session that nobody listens to.
const SDP: &str = "v=0\no=- 1 1 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[local_ip_type] [local_ip]\nt=0 0\n\
                   m=audio 20000 RTP/AVP 8\na=rtpmap:8 PCMA/8000\n";

const CONTACT: &str = "Contact: <sip:%USER%@[local_ip]:[local_port];transport=%PARAM%>\n";

const CHALLENGE: &str = "response=\"407\" auth=\"true\"";
const CREDENTIALS: &str = "[authentication username=%USER% password=%PASSWORD%]\n";

impl Scenario {
    pub fn new(access: Access) -> Scenario {
        Scenario { access, steps: Vec::new(), invite: 0, checks: 0 }
    }

    /// Sends text, over UDP again until it is answered.
    #[must_use]
    pub fn send(mut self, text: &str) -> Scenario {
        self.steps.push(format!("<send retrans=\"500\"><![CDATA[\n{text}\n]]></send>"));
        self
    }

    /// Sends text once.
    #[must_use]
    pub fn send_once(mut self, text: &str) -> Scenario {
        self.steps.push(format!("<send><![CDATA[\n{text}\n]]></send>"));
        self
    }

    /// Waits for something, with the attributes of a `recv`.
    #[must_use]
    pub fn recv(mut self, attributes: &str) -> Scenario {
        self.steps.push(format!("<recv {attributes}/>"));
        self
    }

    /// The same, and fails unless the message matches the expression.
    #[must_use]
    pub fn check(mut self, attributes: &str, expression: &str) -> Scenario {
        self.checks += 1;
        self.steps.push(format!(
            "<recv {attributes}><action><ereg regexp=\"{expression}\" search_in=\"msg\" check_it=\"true\" \
             assign_to=\"m{}\"/></action></recv>",
            self.checks
        ));
        self
    }

    #[must_use]
    pub fn pause(mut self, time: Duration) -> Scenario {
        self.steps.push(format!("<pause milliseconds=\"{}\"/>", time.as_millis()));
        self
    }

    fn provisional(self, code: u16) -> Scenario {
        self.recv(&format!("response=\"{code}\" optional=\"true\""))
    }

    /// Registers with digest and expects the lifetime in the 200.
    #[must_use]
    pub fn register(self) -> Scenario {
        let text = |cseq: u32, more: &str| {
            format!(
                "REGISTER sip:{DOMAIN} SIP/2.0\n{}From: <sip:%USER%@{DOMAIN}>;tag=r[pid]\nTo: <sip:%USER%@{DOMAIN}>\n\
                 Call-ID: r[pid]///[call_id]\nCSeq: {cseq} REGISTER\n{more}{CONTACT}Expires: 600\nUser-Agent: sipp\n\
                 Content-Length: 0\n",
                via("[branch]")
            )
        };
        self.send(&text(1, ""))
            .recv("response=\"401\" auth=\"true\"")
            .send(&text(2, CREDENTIALS))
            .check("response=\"200\"", "Contact: *.*expires=")
    }

    /// Sends a MESSAGE to the peer and expects the code.
    #[must_use]
    pub fn message(self, text: &str, code: u16) -> Scenario {
        let request = |cseq: u32, more: &str| {
            format!(
                "MESSAGE sip:%PEER%@{DOMAIN} SIP/2.0\n{}From: <sip:%USER%@{DOMAIN}>;tag=m[pid]\n\
                 To: <sip:%PEER%@{DOMAIN}>\nCall-ID: m[pid]///[call_id]\nCSeq: {cseq} MESSAGE\n{more}\
                 Content-Type: text/plain;charset=UTF-8\nContent-Length: [len]\n\n{text}",
                via("[branch]")
            )
        };
        let mut scenario = self.send(&request(1, ""));
        if scenario.is_challenged() {
            scenario = scenario.recv(CHALLENGE).send(&request(2, CREDENTIALS));
        }
        scenario.provisional(100).recv(&format!("response=\"{code}\""))
    }

    /// A connection that has registered is known; the source of a datagram proves nothing.
    fn is_challenged(&self) -> bool {
        self.access == Access::Udp
    }

    /// Waits for a MESSAGE that has this in it, and answers 200.
    #[must_use]
    pub fn expect_message(self, text: &str) -> Scenario {
        self.check("request=\"MESSAGE\"", text).send_once(&answer("200 OK", ""))
    }

    /// Sends the INVITE.
    #[must_use]
    pub fn invite(mut self) -> Scenario {
        let request = |cseq: u32, more: &str| {
            format!(
                "INVITE sip:%PEER%@{DOMAIN} SIP/2.0\n{}From: <sip:%USER%@{DOMAIN}>;tag=c[pid]\n\
                 To: <sip:%PEER%@{DOMAIN}>\nCall-ID: [call_id]\nCSeq: {cseq} INVITE\n{CONTACT}{more}\
                 Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}",
                via("[branch]")
            )
        };
        self.invite = self.steps.len();
        if self.is_challenged() {
            self = self.send(&request(1, "")).recv(CHALLENGE);
            let ack = self.on_invite("ACK", 1, "[peer_tag_param]");
            self = self.send_once(&ack);
            self.invite = self.steps.len();
        }
        let credentials = if self.is_challenged() { CREDENTIALS } else { "" };
        self.send(&request(2, credentials)).provisional(100)
    }

    /// Waits for the 200 and acknowledges it along the recorded route.
    #[must_use]
    pub fn accepted(self) -> Scenario {
        self.provisional(180)
            .provisional(180)
            .provisional(180)
            .check("response=\"200\" rrs=\"true\"", "Record-Route: *.*;lr")
            .send_once(&in_dialog("ACK", 2))
    }

    /// Hangs up.
    #[must_use]
    pub fn bye(self) -> Scenario {
        self.send(&in_dialog("BYE", 3)).recv("response=\"200\"")
    }

    /// Waits for a final refusal and acknowledges it with the branch of the INVITE (§17.1.1.3).
    #[must_use]
    pub fn refused(self, code: u16) -> Scenario {
        let refused = self.provisional(180).recv(&format!("response=\"{code}\""));
        let ack = refused.on_invite("ACK", 2, "[peer_tag_param]");
        refused.send_once(&ack)
    }

    /// Waits until it rings, and gives up: 200 for the CANCEL, 487 for the INVITE.
    #[must_use]
    pub fn cancel(self) -> Scenario {
        let ringing = self.recv("response=\"180\"");
        let cancel = ringing.on_invite("CANCEL", 2, "");
        ringing.send(&cancel).provisional(180).recv("response=\"200\"").refused(487)
    }

    /// A request that belongs to the transaction of the INVITE.
    fn on_invite(&self, method: &str, cseq: u32, tag: &str) -> String {
        format!(
            "{method} sip:%PEER%@{DOMAIN} SIP/2.0\n{}From: <sip:%USER%@{DOMAIN}>;tag=c[pid]\nTo: <sip:%PEER%@{DOMAIN}>{tag}\n\
             Call-ID: [call_id]\nCSeq: {cseq} {method}\nContent-Length: 0\n",
            via(&format!("[branch-{}]", self.steps.len() - self.invite))
        )
    }

    /// Takes a call and rings.
    #[must_use]
    pub fn ring(self) -> Scenario {
        self.recv("request=\"INVITE\" rrs=\"true\"").send_once(&answer("180 Ringing", CONTACT))
    }

    /// Answers the call that rings, and waits for the ACK.
    #[must_use]
    pub fn pick_up(self) -> Scenario {
        let more = format!("{CONTACT}Content-Type: application/sdp\n");
        let text = answer("200 OK", &more).replace("Content-Length: 0\n", &format!("Content-Length: [len]\n\n{SDP}"));
        self.send(&text).recv("request=\"ACK\"")
    }

    /// Waits for the BYE and agrees.
    #[must_use]
    pub fn ended(self) -> Scenario {
        self.recv("request=\"BYE\"").send_once(&answer("200 OK", ""))
    }

    /// Waits for the CANCEL of the call that rings: 200 for it, 487 for the INVITE, and the ACK of that.
    #[must_use]
    pub fn cancelled(self) -> Scenario {
        self.recv("request=\"CANCEL\"")
            .send_once(&answer("200 OK", ""))
            // The Via of the CANCEL is that of the INVITE.
            .send(&answer("487 Request Terminated", "").replace("[last_CSeq:]", "CSeq: 2 INVITE"))
            .recv("request=\"ACK\"")
    }

    /// Refuses the call that came.
    #[must_use]
    pub fn refuse(self, status: &str) -> Scenario {
        self.recv("request=\"INVITE\"").send(&answer(status, "")).recv("request=\"ACK\"")
    }

    fn xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"e2e\">\n");
        for step in &self.steps {
            let _ = writeln!(out, "{step}");
        }
        if self.checks > 0 {
            let names: Vec<_> = (1..=self.checks).map(|number| format!("m{number}")).collect();
            let _ = writeln!(out, "<Reference variables=\"{}\"/>", names.join(","));
        }
        out + "</scenario>\n"
    }

    /// Starts it as a device of user N; the peer is the other user.
    ///
    /// # Panics
    /// When sipp or socat cannot be started.
    pub fn start(&self, server: &Server, name: &str, user: usize, peer: usize) -> Sipp {
        let access = self.access;
        let ip = server.address().ip();
        let scheme = if access == Access::Udp { "udp" } else { "tcp" };
        let (tunnel, target) = match access {
            Access::Tls => {
                let (tunnel, port) = tunnel(server, name);
                (Some(tunnel), format!("{ip}:{port}"))
            }
            _ => (None, server.addr(scheme).to_string()),
        };
        let xml = self
            .xml()
            .replace("%USER%", &format!("user{user}"))
            .replace("%PASSWORD%", &format!("pass{user}"))
            .replace("%PEER%", &format!("user{peer}"))
            .replace("%VIA%", access.name())
            .replace("%PARAM%", &access.name().to_lowercase());
        let file = server.dir().join(format!("{name}.xml"));
        std::fs::write(&file, xml).expect("the folder of a test can be written to");
        let mut command = Command::new("sipp");
        command.arg(&target).arg("-sf").arg(&file).args(["-t", if scheme == "udp" { "u1" } else { "t1" }]);
        command.args(["-i", &ip.to_string(), "-p", &server.address().port().to_string()]);
        command.args(["-m", "1", "-l", "1", "-cid_str", "e2e", "-nostdin", "-timeout", "60", "-timeout_error"]);
        command.args(["-trace_err", "-error_file"]).arg(server.dir().join(format!("{name}.err")));
        command.args(["-trace_msg", "-message_file"]).arg(server.dir().join(format!("{name}.msg")));
        command.current_dir(server.dir()).env("TERM", "dumb");
        let program = Program::start(name, &mut command, server.dir());
        Sipp { program, name: name.to_owned(), dir: server.dir().to_owned(), _tunnel: tunnel }
    }
}

fn via(branch: &str) -> String {
    format!("Via: SIP/2.0/%VIA% [local_ip]:[local_port];rport;branch={branch}\nMax-Forwards: 70\n")
}

/// A response to the last request.
fn answer(status: &str, more: &str) -> String {
    format!(
        "SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:];tag=s[pid]\n[last_Call-ID:]\n\
         [last_CSeq:]\n{more}Content-Length: 0\n"
    )
}

/// A request of the caller within the dialog.
fn in_dialog(method: &str, cseq: u32) -> String {
    format!(
        "{method} [next_url] SIP/2.0\n{}[routes]\nFrom: <sip:%USER%@{DOMAIN}>;tag=c[pid]\n\
         To: <sip:%PEER%@{DOMAIN}>[peer_tag_param]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\nContent-Length: 0\n",
        via("[branch]")
    )
}

/// Plain TCP to the TLS listener.
fn tunnel(server: &Server, name: &str) -> (Program, u16) {
    let (ip, port) = (server.address().ip(), server.address().port());
    let mut command = Command::new("socat");
    command.arg(format!("TCP-LISTEN:{port},bind={ip},fork,reuseaddr"));
    command.arg(format!("OPENSSL:{},verify=0", server.addr("tls")));
    let program = Program::start(&format!("{name}-socat"), &mut command, server.dir());
    // In the table of listening sockets rather than by a connection, which would be passed on.
    let row = format!(":{port:04X} ");
    wait_for("socat to listen", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        table.lines().any(|line| line.contains(&row) && line.contains(" 0A ")).then_some(())
    });
    (program, port)
}

/// A sipp at work.
#[derive(Debug)]
pub struct Sipp {
    program: Program,
    name: String,
    dir: std::path::PathBuf,
    _tunnel: Option<Program>,
}

impl Sipp {
    /// Waits until everything went as the scenario has it.
    ///
    /// # Panics
    /// When it did not.
    pub fn done(&mut self) {
        let status = self.program.wait(Duration::from_secs(70));
        if status.is_some_and(|status| status.success()) {
            return;
        }
        let read = |kind: &str| {
            let file = self.dir.join(format!("{}.{kind}", self.name));
            String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
        };
        panic!("{} ended with {status:?}\n--- errors\n{}\n--- messages\n{}", self.name, read("err"), read("msg"));
    }
}
