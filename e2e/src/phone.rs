//! A small phone: registers with digest, sends messages, answers what it gets, and repeats itself over UDP.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use crate::{DOMAIN, Message, PATIENCE, Server, Transport, Wire, digest};

/// One device of one of the numbered users of a testbed.
#[derive(Debug)]
pub struct Phone {
    user: String,
    /// Of digest; the user, unless the device has a login of its own.
    username: String,
    password: String,
    transport: Transport,
    wire: Wire,
    /// Makes tags, branches and Call-IDs of this phone its own.
    mark: String,
    cseq: u32,
    /// Requests that came, in order, each once.
    inbox: VecDeque<Message>,
    /// Responses by branch and method, for copies of a request.
    answered: HashMap<String, String>,
    /// Status with which a MESSAGE is answered; `None`: not at all.
    pub answer: Option<&'static str>,
    /// Status with which an INVITE is answered; by default 200.
    pub invite: Option<&'static str>,
    /// Parameters of the Contact with which an OPTIONS is answered; none without them.
    pub capabilities: String,
    /// Headers beside those of every response with which an INVITE is answered.
    pub invited: String,
}

/// A first copy of a request over UDP is sent again after this time (RFC 3261 T1).
const T1: Duration = Duration::from_millis(500);

impl Phone {
    /// A phone of user N that is not registered yet.
    pub fn new(server: &Server, user: usize, transport: Transport) -> Phone {
        let wire = Wire::open(server, transport);
        let mark = format!("u{user}p{}", wire.local().port());
        Phone {
            user: format!("user{user}"),
            username: format!("user{user}"),
            password: format!("pass{user}"),
            transport,
            wire,
            mark,
            cseq: 0,
            inbox: VecDeque::new(),
            answered: HashMap::new(),
            answer: Some("200 OK"),
            invite: None,
            capabilities: String::new(),
            invited: String::new(),
        }
    }

    /// A phone of user N with a login of its own, that is not registered yet.
    pub fn with_login(server: &Server, user: usize, transport: Transport, username: &str, password: &str) -> Phone {
        let phone = Phone::new(server, user, transport);
        Phone { username: username.to_owned(), password: password.to_owned(), ..phone }
    }

    /// A phone of user N that is registered for ten minutes.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn registered(server: &Server, user: usize, transport: Transport) -> Phone {
        let mut phone = Phone::new(server, user, transport);
        phone.register(600);
        phone
    }

    /// Registers, or with 0 removes the binding.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn register(&mut self, expires: u32) {
        let headers = format!("Contact: <{}>\r\nExpires: {expires}\r\n", self.contact());
        let aor = self.aor();
        let response =
            self.request("REGISTER", &format!("sip:{DOMAIN}"), &aor, &headers, "").expect("the server lives");
        assert_eq!(response.code(), 200, "REGISTER of {}: {response:?}", self.user);
    }

    pub fn aor(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.user)
    }

    pub fn contact(&self) -> String {
        let local = self.wire.local();
        match self.transport {
            Transport::Udp => format!("sip:{}@{local}", self.user),
            Transport::Tcp => format!("sip:{}@{local};transport=tcp", self.user),
            Transport::Ws => format!("sip:{}@{}.invalid;transport=ws", self.user, self.mark),
        }
    }

    /// Sends a text and gives the code of the final response.
    ///
    /// # Errors
    /// When the connection ends or no final response comes.
    pub fn message(&mut self, to: usize, text: &str) -> io::Result<u16> {
        self.message_of(to, "Content-Type: text/plain;charset=UTF-8\r\n", text)
    }

    /// The same with headers of one's own.
    ///
    /// # Errors
    /// When the connection ends or no final response comes.
    pub fn message_of(&mut self, to: usize, headers: &str, body: &str) -> io::Result<u16> {
        let to = format!("sip:user{to}@{DOMAIN}");
        self.request("MESSAGE", &to.clone(), &to, headers, body).map(|response| response.code())
    }

    /// Sends a request and waits for its final response, giving the password where it is asked for.
    ///
    /// # Errors
    /// When the connection ends or no final response comes.
    pub fn request(&mut self, method: &str, uri: &str, to: &str, headers: &str, body: &str) -> io::Result<Message> {
        self.cseq += 1;
        // A registration keeps its Call-ID (RFC 3261 §10.2); other requests have one each.
        let call_id = match method {
            "REGISTER" => self.mark.clone(),
            _ => format!("{}-{}", self.mark, self.cseq),
        };
        let first = self.attempt(method, uri, to, &call_id, headers, body)?;
        let (challenge, credentials) = match first.code() {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return Ok(first),
        };
        let challenges = first.all(challenge);
        let answer = digest::answer(&challenges, &self.username, &self.password, method, uri)
            .unwrap_or_else(|| panic!("no MD5 in {challenges:?}"));
        self.cseq += 1;
        self.attempt(method, uri, to, &call_id, &format!("{credentials}: {answer}\r\n{headers}"), body)
    }

    /// Sends a request within the dialog that a 2xx to a request of ours has made, and gives the final response.
    ///
    /// # Errors
    /// When the connection ends or no final response comes.
    pub fn within(&mut self, method: &str, answer: &Message) -> io::Result<Message> {
        self.cseq += 1;
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        let (to, call_id, contact) = (header("To"), header("Call-ID"), header("Contact"));
        let uri = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let routes = answer.all("Record-Route").into_iter().rev().map(|route| format!("Route: {route}\r\n"));
        self.attempt(method, uri, &to, &call_id, &routes.collect::<String>(), "")
    }

    fn attempt(
        &mut self,
        method: &str,
        uri: &str,
        to: &str,
        call_id: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<Message> {
        let branch = format!("z9hG4bK{}-{}", self.mark, self.cseq);
        // What has a tag comes from a dialog as it stands there.
        let to = if to.starts_with('<') { to.to_owned() } else { format!("<{to}>") };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <{}>;tag={}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {} {method}\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            self.transport.name(),
            self.sent_by(),
            self.aor(),
            self.mark,
            self.cseq,
            body.len(),
        );
        self.wire.send(text.as_bytes())?;
        let deadline = Instant::now() + PATIENCE;
        let mut gap = T1;
        let mut again = Instant::now() + gap;
        while Instant::now() < deadline {
            let wait = if self.transport == Transport::Udp { again } else { deadline };
            match self.wire.receive(wait.saturating_duration_since(Instant::now()))? {
                Some(bytes) => match self.take(&bytes)? {
                    Some(response) if response.branch() == branch && response.code() >= 200 => return Ok(response),
                    _ => {}
                },
                None if self.transport == Transport::Udp => {
                    self.wire.send(text.as_bytes())?;
                    gap = (gap * 2).min(T1 * 8);
                    again = Instant::now() + gap;
                }
                None => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no final response to {method}")))
    }

    fn sent_by(&self) -> String {
        match self.transport {
            Transport::Ws => format!("{}.invalid", self.mark),
            _ => self.wire.local().to_string(),
        }
    }

    /// Puts a request into the inbox, answering it as phones do; gives back a response.
    fn take(&mut self, bytes: &[u8]) -> io::Result<Option<Message>> {
        let message = Message::read(bytes);
        if message.code() != 0 {
            return Ok(Some(message));
        }
        let key = format!("{} {}", message.branch(), message.method());
        if let Some(response) = self.answered.get(&key) {
            let response = response.clone();
            self.wire.send(response.as_bytes())?;
            return Ok(None);
        }
        let status = match message.method() {
            "MESSAGE" => self.answer,
            "INVITE" => self.invite.or(Some("200 OK")),
            // It has no answer.
            "ACK" => None,
            _ => Some("200 OK"),
        };
        if let Some(status) = status {
            let more = match message.method() {
                "OPTIONS" if !self.capabilities.is_empty() => {
                    format!("Contact: <{}>;{}\r\n", self.contact(), self.capabilities)
                }
                "INVITE" => self.invited.clone(),
                _ => String::new(),
            };
            let response = message.response(status, &more);
            self.wire.send(response.as_bytes())?;
            self.answered.insert(key, response);
        }
        self.inbox.push_back(message);
        Ok(None)
    }

    /// The next request, once; `None` if none comes in time.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn receive(&mut self, time: Duration) -> io::Result<Option<Message>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(Some(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.wire.receive(left)? {
                Some(bytes) => {
                    self.take(&bytes)?;
                }
                None => return Ok(None),
            }
        }
    }

    /// The bodies of the next messages, `count` of them.
    ///
    /// # Panics
    /// When they do not all come.
    pub fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < count {
            let message = self.receive(PATIENCE).expect("the server lives");
            let message = message.unwrap_or_else(|| panic!("{} of {count} messages came: {texts:?}", texts.len()));
            assert_eq!(message.method(), "MESSAGE");
            texts.push(message.body);
        }
        texts
    }

    /// Whether nothing comes for a while: only where something that must not come would come at once.
    ///
    /// # Panics
    /// When something comes.
    pub fn nothing_more(&mut self) {
        let more = self.receive(Duration::from_millis(700)).expect("the server lives");
        assert_eq!(more, None, "{} got what it should not", self.user);
    }

    /// The socket beneath.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}
