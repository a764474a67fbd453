//! Requests over HTTP with digest.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::{Server, digest};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    /// Status line and headers.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// PUT of a document as user N; the status.
///
/// # Panics
/// When the server does not answer.
pub fn put(server: &Server, user: usize, path: &str, content_type: &str, body: &str) -> u16 {
    send(server, user, "PUT", path, content_type, body).0
}

/// A request as user N; status and body of the answer.
///
/// # Panics
/// When the server does not answer.
pub fn send(server: &Server, user: usize, method: &str, path: &str, content_type: &str, body: &str) -> (u16, String) {
    let answer = ask(server, user, method, path, &format!("Content-Type: {content_type}\r\n"), body);
    (answer.code, answer.body)
}

/// A request as user N, with digest where the server asks for it.
///
/// # Panics
/// When the server does not answer.
pub fn ask(server: &Server, user: usize, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let first = exchange(server, method, path, headers, body);
    if first.code != 401 {
        return first;
    }
    let challenges: Vec<&str> = first.headers("www-authenticate").collect();
    let answer = digest::answer(&challenges, &format!("user{user}"), &format!("pass{user}"), method, path)
        .unwrap_or_else(|| panic!("no MD5 in {challenges:?}"));
    exchange(server, method, path, &format!("{headers}Authorization: {answer}\r\n"), body)
}

/// A request as it is.
///
/// # Panics
/// When the server does not answer.
pub fn exchange(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.addr("http")).expect("the server listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server answers");
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}
