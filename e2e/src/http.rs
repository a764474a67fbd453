//! Requests over HTTP with digest.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::{Server, digest};

/// PUT of a document as user N; the status.
///
/// # Panics
/// When the server does not answer.
pub fn put(server: &Server, user: usize, path: &str, content_type: &str, body: &str) -> u16 {
    let first = exchange(server, path, content_type, body, "");
    if status(&first) != 401 {
        return status(&first);
    }
    let challenges: Vec<&str> = first
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map(|(_, value)| value)
        .collect();
    let answer = digest::answer(&challenges, &format!("user{user}"), &format!("pass{user}"), "PUT", path)
        .unwrap_or_else(|| panic!("no MD5 in {challenges:?}"));
    status(&exchange(server, path, content_type, body, &format!("Authorization: {answer}\r\n")))
}

fn exchange(server: &Server, path: &str, content_type: &str, body: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(server.addr("http")).expect("the server listens");
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
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
