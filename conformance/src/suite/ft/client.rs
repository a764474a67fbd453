//! An HTTP client of the plainest kind: a connection for each request, digest by the first challenge it knows.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::case::{ANSWER, Ctx, Lease, Verdict, fail, skip};
use crate::digest::{Challenge, Credentials};
use crate::target::Account;

const BOUNDARY: &str = "conformance";

pub(super) struct Client {
    addr: SocketAddr,
    host: String,
    user: String,
    pub(super) password: String,
}

/// What is uploaded.
pub(super) struct Form<'a> {
    pub(super) tid: Option<&'a str>,
    pub(super) picture: Option<&'a [u8]>,
    pub(super) content: &'a [u8],
    pub(super) chunked: bool,
}

impl<'a> Form<'a> {
    pub(super) fn of(content: &'a [u8]) -> Form<'a> {
        Form { tid: None, picture: None, content, chunked: false }
    }

    /// The body up to the content, the content last.
    fn head(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut part = |head: &str, content: &[u8]| {
            body.extend_from_slice(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
        };
        if let Some(tid) = self.tid {
            let length = tid.len();
            part(
                &format!("name=\"tid\"\r\nContent-Type: text/plain\r\nContent-Length: {length}"),
                format!("{tid}\r\n").as_bytes(),
            );
        }
        if let Some(picture) = self.picture {
            let head = "name=\"Thumbnail\"; filename=\"thumb_beach.jpg\"\r\nContent-Type: image/jpeg";
            part(head, &[picture, b"\r\n"].concat());
        }
        let head = "name=\"File\"; filename=\"my%20beach.mp4\"\r\nContent-Type: video/mp4\r\nContent-Transfer-Encoding: binary";
        part(head, b"");
        body
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.head();
        body.extend_from_slice(self.content);
        // Without a line end, as clients do it.
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--").as_bytes());
        body
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("not text")
    }

    pub(super) fn header<'a>(&'a self, name: &'a str) -> &'a str {
        self.headers(name).next().unwrap_or("")
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Client {
    /// One of an account that is its own for as long as the case runs.
    pub(super) async fn of(ctx: &Ctx) -> Verdict<(Client, Lease)> {
        let lease = ctx.accounts(1).await?;
        Ok((Client::with(ctx, &lease[0])?, lease))
    }

    pub(super) fn with(ctx: &Ctx, account: &Account) -> Verdict<Client> {
        let Some((addr, host, _)) = ctx.shared.ws.clone() else { return skip("no --http given") };
        Ok(Client { addr, host, user: account.user.clone(), password: account.password.clone() })
    }

    pub(super) async fn get(&self, url: &str, headers: &str) -> Verdict<Answer> {
        self.send("GET", url, headers, b"").await
    }

    pub(super) async fn upload(&self, form: &Form<'_>) -> Verdict<Answer> {
        let body = form.body();
        let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
        if !form.chunked {
            return self.send("POST", "/ft", &kind, &body).await;
        }
        let mut chunks = Vec::new();
        for chunk in body.chunks(10_000) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        self.send("POST", "/ft", &format!("{kind}Transfer-Encoding: chunked\r\n"), &chunks).await
    }

    /// Sends a form up to so many bytes of its content, and is gone.
    pub(super) async fn cut(&self, form: &Form<'_>, content: usize) -> Verdict {
        let (whole, begun) = (form.body().len(), [&form.head()[..], &form.content[..content]].concat());
        let headers = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {whole}\r\n");
        let authorization = self.authorization("POST", "/ft").await?;
        let request = self.request("POST", "/ft", &format!("{headers}{authorization}"), &begun);
        let sent = async {
            let mut stream = TcpStream::connect(self.addr).await?;
            stream.write_all(&request).await?;
            stream.shutdown().await
        };
        match timeout(ANSWER, sent).await {
            Ok(Ok(())) => Ok(()),
            _ => fail("cannot send"),
        }
    }

    /// Sends a request, again with credentials where it is challenged. The length is added where `headers` say nothing.
    pub(super) async fn send(&self, method: &str, url: &str, headers: &str, body: &[u8]) -> Verdict<Answer> {
        // The whole body goes only with credentials, as clients ask first with an empty request.
        let target = target_of(url);
        let authorization = self.authorization(method, &target).await?;
        let lower = headers.to_ascii_lowercase();
        let length = if lower.contains("content-length:") || lower.contains("transfer-encoding:") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let request = self.request(method, &target, &format!("{headers}{length}{authorization}"), body);
        self.exchange(method, &request).await
    }

    /// The Authorization line for a request; empty where none is wanted.
    async fn authorization(&self, method: &str, target: &str) -> Verdict<String> {
        // A POST without a body changes nothing, and is challenged as any other.
        let (asked, path) = if method == "HEAD" { ("HEAD", target) } else { ("POST", "/ft") };
        if target.starts_with("/ft/d/") || target.starts_with("/ft/t/") {
            return Ok(String::new());
        }
        let answer = self.exchange(asked, &self.request(asked, path, "Content-Length: 0\r\n", b"")).await?;
        if answer.status != 401 {
            return Ok(String::new());
        }
        let challenges = answer.headers("www-authenticate").filter_map(Challenge::parse);
        let Some(challenge) = challenges.into_iter().find(|challenge| challenge.algorithm.is_some()) else {
            return fail("no challenge that this client knows");
        };
        let credentials = Credentials {
            user: &self.user,
            password: &self.password,
            method,
            uri: target,
            body: b"",
            qop: "auth",
            nc: 1,
            cnonce: "0a4f113b",
        };
        Ok(format!("Authorization: {}\r\n", credentials.answer(&challenge)))
    }

    fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.host);
        [head.as_bytes(), body].concat()
    }

    async fn exchange(&self, method: &str, request: &[u8]) -> Verdict<Answer> {
        let done = async {
            let (mut read, mut write) = TcpStream::connect(self.addr).await?.into_split();
            let mut answer = Vec::new();
            // An answer may come before all is sent; the server then need not take the rest.
            let (_, read) = tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
            // A reset behind the answer does not take it back.
            if answer.is_empty() {
                read?;
            }
            std::io::Result::Ok(answer)
        };
        match timeout(2 * ANSWER, done).await {
            Ok(Ok(answer)) => match parse(&answer, method) {
                Some(answer) => Ok(answer),
                None => fail("the answer is not HTTP"),
            },
            Ok(Err(error)) => fail(format!("no answer: {error}")),
            Err(_) => fail("no answer in time"),
        }
    }
}

fn parse(answer: &[u8], method: &str) -> Option<Answer> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_owned();
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let mut body = &answer[end + 4..];
    // 100 Continue, say.
    if status < 200 {
        return parse(body, method);
    }
    let mut parsed = Answer { status, head, body: Vec::new() };
    if parsed.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        loop {
            let line = memchr::memmem::find(body, b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?.trim(), 16).ok()?;
            if size == 0 {
                return Some(parsed);
            }
            parsed.body.extend_from_slice(body.get(line + 2..line + 2 + size)?);
            body = body.get(line + 4 + size..)?;
        }
    }
    if method != "HEAD"
        && let Ok(length) = parsed.header("content-length").parse::<usize>()
    {
        body = body.get(..length)?;
    }
    parsed.body = body.to_vec();
    Some(parsed)
}

/// The path and query of a URL.
fn target_of(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else { return url.to_owned() };
    rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned())
}

/// The first link in a document.
pub(super) fn url(xml: &str) -> Option<String> {
    attribute(xml, "url").map(|url| url.replace("&amp;", "&"))
}

/// The first attribute with this name; blanks may stand around its equals sign.
pub(super) fn attribute(xml: &str, name: &str) -> Option<String> {
    let mut rest = xml;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], rest[at + name.len()..].trim_start());
        if before.ends_with(char::is_whitespace)
            && let Some(value) = after.strip_prefix('=').and_then(|value| value.trim_start().strip_prefix('"'))
        {
            return value.split('"').next().map(str::to_owned);
        }
        rest = &rest[at + name.len()..];
    }
    None
}

/// Content that does not compress or repeat.
pub(super) fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count.div_ceil(8)).flat_map(|_| next()).take(count).collect()
}
