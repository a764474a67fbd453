//! A web-hook of a test: takes POSTs, and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A listener that lives as long as this.
#[derive(Debug)]
pub struct Hook {
    address: SocketAddr,
    bodies: Receiver<serde_json::Value>,
    status: Arc<AtomicU16>,
}

impl Hook {
    /// Listens on a port of its own; answers 200 until it is told otherwise.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (sender, bodies) = channel();
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(body) = read(&stream) else { continue };
                let answer = answer.load(Ordering::Relaxed);
                let text = format!("HTTP/1.1 {answer} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = (&stream).write_all(text.as_bytes());
                if sender.send(body).is_err() {
                    return;
                }
            }
        });
        Hook { address, bodies, status }
    }

    pub fn url(&self) -> String {
        format!("http://{}/push", self.address)
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The next body.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next(&self) -> serde_json::Value {
        self.bodies.recv_timeout(crate::PATIENCE).expect("a push comes")
    }

    /// What came meanwhile, without waiting.
    pub fn rest(&self) -> Vec<serde_json::Value> {
        self.bodies.try_iter().collect()
    }
}

fn read(stream: &TcpStream) -> Option<serde_json::Value> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    // A push without content says nothing but that there is one.
    if body.is_empty() { Some(serde_json::Value::Null) } else { serde_json::from_slice(&body).ok() }
}
