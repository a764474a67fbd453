//! Requests over HTTP with digest.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::{Server, digest};

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
    let first = exchange(server, method, path, content_type, body, "");
    if status(&first) != 401 {
        return (status(&first), content(&first));
    }
    let challenges: Vec<&str> = first
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map(|(_, value)| value)
        .collect();
    let answer = digest::answer(&challenges, &format!("user{user}"), &format!("pass{user}"), method, path)
        .unwrap_or_else(|| panic!("no MD5 in {challenges:?}"));
    let last = exchange(server, method, path, content_type, body, &format!("Authorization: {answer}\r\n"));
    (status(&last), content(&last))
}

fn exchange(server: &Server, method: &str, path: &str, content_type: &str, body: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(server.addr("http")).expect("the server listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn content(answer: &str) -> String {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()
}
