//! HTTP/1.1 as a client speaks it, over one kept connection, with digest: as much as the suites need, written here so that
//! request lines can be made at will.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::case::{ANSWER, Verdict, fail};
use crate::digest::{Challenge, Credentials};
use crate::link::Transcript;
use crate::target::Account;

const MAX: usize = 16 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The media type without its parameters.
    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }
}

/// A request to be made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Path and query, as they go on the wire.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// A client, which answers challenges if it has an account.
pub(crate) struct Client {
    addr: SocketAddr,
    host: String,
    account: Option<Account>,
    log: Option<Transcript>,
    connection: Option<TcpStream>,
    challenge: Option<Challenge>,
    nc: u32,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, host: &str, account: Option<Account>, log: Option<Transcript>) -> Client {
        Client { addr, host: host.to_owned(), account, log, connection: None, challenge: None, nc: 0 }
    }

    /// Sends a request, and once more with credentials where it is challenged.
    pub(crate) async fn ask(&mut self, ask: Ask<'_>) -> Verdict<Reply> {
        let credentials = self.credentials(&ask);
        let reply = self.once(&ask, credentials.as_deref()).await?;
        if reply.status != 401 || self.account.is_none() {
            return Ok(reply);
        }
        self.challenge = reply
            .headers("www-authenticate")
            .into_iter()
            .filter_map(Challenge::parse)
            .find(|found| found.algorithm.is_some());
        self.nc = 0;
        match self.credentials(&ask) {
            Some(credentials) => self.once(&ask, Some(&credentials)).await,
            None => Ok(reply),
        }
    }

    fn credentials(&mut self, ask: &Ask<'_>) -> Option<String> {
        let (account, challenge) = (self.account.as_ref()?, self.challenge.as_ref()?);
        self.nc += 1;
        let credentials = Credentials {
            user: &account.user,
            password: &account.password,
            method: ask.method,
            uri: ask.target,
            body: ask.body,
            qop: "auth",
            nc: self.nc,
            cnonce: "f2a1b3c4",
        };
        Some(credentials.answer(challenge))
    }

    async fn once(&mut self, ask: &Ask<'_>, credentials: Option<&str>) -> Verdict<Reply> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", ask.method, ask.target, self.host);
        for (name, value) in ask.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(credentials) = credentials {
            head += &format!("Authorization: {credentials}\r\n");
        }
        if !ask.body.is_empty() || matches!(ask.method, "PUT" | "POST") {
            head += &format!("Content-Length: {}\r\n", ask.body.len());
        }
        head += "\r\n";
        if let Some(log) = &self.log {
            log.note(&format!("> {head}{}", String::from_utf8_lossy(&ask.body[..ask.body.len().min(2000)])));
        }
        let message = [head.as_bytes(), ask.body].concat();
        // A kept connection may have been closed in the meantime; a new one tells.
        if let Some(mut kept) = self.connection.take()
            && let Ok(reply) = exchange(&mut kept, &message, ask.method).await
        {
            return Ok(self.keep(kept, reply));
        }
        let connected = timeout(ANSWER, TcpStream::connect(self.addr)).await;
        let Ok(Ok(mut fresh)) = connected else { return fail("cannot connect") };
        let _ = fresh.set_nodelay(true);
        match exchange(&mut fresh, &message, ask.method).await {
            Ok(reply) => Ok(self.keep(fresh, reply)),
            Err(why) => fail(format!("{} {}: {why}", ask.method, ask.target)),
        }
    }

    fn keep(&mut self, connection: TcpStream, reply: Reply) -> Reply {
        if let Some(log) = &self.log {
            log.note(&format!(
                "< {}\n{}",
                reply.head,
                String::from_utf8_lossy(&reply.body[..reply.body.len().min(2000)])
            ));
        }
        if !reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        reply
    }
}

async fn exchange(stream: &mut TcpStream, message: &[u8], method: &str) -> Result<Reply, String> {
    match timeout(ANSWER, async {
        stream.write_all(message).await.map_err(|error| error.to_string())?;
        read(stream, method).await
    })
    .await
    {
        Ok(result) => result,
        Err(_) => Err("no answer in time".into()),
    }
}

async fn read(stream: &mut TcpStream, method: &str) -> Result<Reply, String> {
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status line")?;
    let mut rest = buffer.split_off(end + 4);
    let mut reply = Reply { status, head, body: Vec::new() };
    let bodiless = method == "HEAD" || status == 204 || status == 304 || status < 200;
    let chunked = reply.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if bodiless {
        return Ok(reply);
    }
    if chunked {
        loop {
            while !rest.windows(2).any(|window| window == b"\r\n") {
                more(stream, &mut rest).await?;
            }
            let line = rest.windows(2).position(|window| window == b"\r\n").unwrap_or_default();
            let size = String::from_utf8_lossy(&rest[..line]).split(';').next().map(str::trim).map(String::from);
            let size = usize::from_str_radix(&size.unwrap_or_default(), 16).map_err(|_| "a chunk without its size")?;
            while rest.len() < line + 2 + size + 2 {
                more(stream, &mut rest).await?;
            }
            reply.body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest.drain(..line + 2 + size + 2);
            if size == 0 {
                return Ok(reply);
            }
        }
    }
    let length = reply.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0_usize);
    while rest.len() < length {
        more(stream, &mut rest).await?;
    }
    rest.truncate(length);
    reply.body = rest;
    Ok(reply)
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), String> {
    if buffer.len() > MAX {
        return Err("the answer does not end".into());
    }
    match stream.read_buf(buffer).await {
        Ok(0) => Err("the connection was closed".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
