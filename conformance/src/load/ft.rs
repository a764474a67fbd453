//! Files: every user uploads, or downloads one file, again and again over a connection of its own. Contents are made and thrown
//! away as they go, so that their size does not matter here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::agent::Outcome;
use super::chat::group::cpu_of;
use super::{LoadError, LoadReport, Pace};
use crate::digest::{Challenge, Credentials};
use crate::target::{Account, TargetError, host_port, resolve};

const BOUNDARY: &str = "load";
/// Octets that are written or read at a time.
const BLOCK: usize = 64 * 1024;
/// Longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// What one operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A form with a file, each time another; the file is deleted again, which is not measured.
    Upload,
    /// GET of a file that was uploaded before.
    Download,
}

impl Operation {
    pub fn parse(name: &str) -> Option<Operation> {
        [Operation::Upload, Operation::Download].into_iter().find(|operation| operation.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Operation::Upload => "upload",
            Operation::Download => "download",
        }
    }
}

/// A load to be made.
#[derive(Debug, Clone)]
pub struct FtOptions {
    /// The content server: `http://HOST[:PORT][/PATH]`, `/ft` where there is no path.
    pub target: String,
    pub operation: Operation,
    /// Account names, `{}` standing for the number.
    pub user: String,
    pub password: String,
    /// Number of the first account.
    pub first: usize,
    pub users: usize,
    /// Operations a second; 0 for as many as get answered.
    pub rate: f64,
    pub time: Duration,
    /// Octets of a file.
    pub size: u64,
    /// How long an operation may take before it has failed.
    pub timeout: Duration,
    /// Process of the server on this machine, whose CPU time is measured.
    pub pid: Option<u32>,
}

impl FtOptions {
    /// Five users named as those of a test bed, with files of 1 MB for ten seconds, as fast as they are answered.
    pub fn new(target: &str, operation: Operation) -> FtOptions {
        FtOptions {
            target: target.to_owned(),
            operation,
            user: "user{}".into(),
            password: "pass{}".into(),
            first: 0,
            users: 5,
            rate: 0.0,
            time: Duration::from_secs(10),
            size: 1_000_000,
            timeout: Duration::from_secs(60),
            pid: None,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct FtReport {
    pub files: LoadReport,
    /// CPU time of the server meanwhile.
    pub cpu: Option<Duration>,
}

impl FtReport {
    /// Seconds of CPU for 10^9 octets.
    pub fn cpu_per_gb(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e9 / self.files.octets.max(1) as f64)
    }

    pub fn exit_ok(&self) -> bool {
        self.files.exit_ok()
    }

    pub fn to_text(&self) -> String {
        let mut out = self.files.to_text();
        if let (Some(cpu), Some(each)) = (self.cpu, self.cpu_per_gb()) {
            out += &format!("CPU {:.2} s, {each:.2} s a GB\n", cpu.as_secs_f64());
        }
        out
    }

    /// One JSON object: that of a load, and the CPU time.
    pub fn to_json(&self) -> String {
        let mut json = self.files.json();
        if let (Some(cpu), Some(each)) = (self.cpu, self.cpu_per_gb()) {
            json["cpu_s"] = cpu.as_secs_f64().into();
            json["cpu_s_per_gb"] = each.into();
        }
        json.to_string()
    }
}

/// One user and its connection.
struct User {
    addr: SocketAddr,
    host: String,
    /// Of the content server.
    path: String,
    account: Account,
    challenge: Option<Challenge>,
    nc: u32,
    stream: Option<TcpStream>,
    block: Vec<u8>,
    count: u64,
}

/// The head of an answer, its body where that is short, and the octets of the body.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    octets: u64,
}

impl Reply {
    fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(move |(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The path of the link to the file.
    fn link(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let (_, info) = text.split_once("type=\"file\"")?;
        let url = info.split_once("url=\"")?.1.split('"').next()?;
        let rest = url.split_once("://")?.1;
        Some(rest[rest.find('/')?..].to_owned())
    }
}

impl User {
    /// The Authorization line for a request; a nonce is asked for first, and where the last one has gone stale.
    async fn authorization(&mut self, method: &str, target: &str) -> std::io::Result<String> {
        if self.challenge.is_none() {
            let path = self.path.clone();
            let reply = self.ask("POST", &path, "", 0).await?;
            if reply.status != 401 {
                return Ok(String::new());
            }
            let found = reply.all("www-authenticate").filter_map(Challenge::parse).find(|c| c.algorithm.is_some());
            (self.challenge, self.nc) = (found, 0);
        }
        let Some(challenge) = &self.challenge else { return Ok(String::new()) };
        self.nc += 1;
        let credentials = Credentials {
            user: &self.account.user,
            password: &self.account.password,
            method,
            uri: target,
            body: b"",
            qop: "auth",
            nc: self.nc,
            cnonce: "0a4f113b",
        };
        Ok(format!("Authorization: {}\r\n", credentials.answer(challenge)))
    }

    /// A request whose body is a form around a file of `file` octets, or nothing.
    async fn ask(&mut self, method: &str, target: &str, headers: &str, file: u64) -> std::io::Result<Reply> {
        let (before, after) = if file == 0 { (String::new(), String::new()) } else { self.form() };
        let length = before.len() as u64 + file + after.len() as u64;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {length}\r\n\r\n{before}",
            self.host
        );
        let (mark, none) = (format!("{}-{}", self.account.user, self.count).into_bytes(), Vec::new());
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.addr).await?,
        };
        stream.set_nodelay(true)?;
        let (reply, whole) = {
            let (mut read, mut write) = stream.split();
            let block = &self.block;
            let send = async {
                write.write_all(head.as_bytes()).await?;
                let mut left = file;
                // No two files have the same content.
                let mut first = &mark;
                while left > 0 {
                    let some = usize::try_from(left).unwrap_or(block.len()).min(block.len());
                    let named = first.len().min(some);
                    write.write_all(&first[..named]).await?;
                    write.write_all(&block[named..some]).await?;
                    (left, first) = (left - some as u64, &none);
                }
                write.write_all(after.as_bytes()).await
            };
            let answer = read_reply(&mut read);
            tokio::pin!(send, answer);
            // A refusal may come before all is sent; the connection is of no use then.
            let done = tokio::select! {
                sent = &mut send => { sent?; (answer.await?, true) }
                reply = &mut answer => (reply?, false),
            };
            done
        };
        let closes = reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if whole && !closes {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    /// What stands before a file and behind it.
    fn form(&mut self) -> (String, String) {
        self.count += 1;
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"File\"; filename=\"{}.bin\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.count
        );
        (part, format!("\r\n--{BOUNDARY}--"))
    }

    async fn upload(&mut self, size: u64) -> std::io::Result<Reply> {
        let path = self.path.clone();
        for _ in 0..2 {
            let authorization = self.authorization("POST", &path).await?;
            let headers = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{authorization}");
            let reply = self.ask("POST", &path, &headers, size).await?;
            if reply.status != 401 {
                return Ok(reply);
            }
            self.challenge = None;
        }
        Err(std::io::Error::other("the credentials are not taken"))
    }

    async fn delete(&mut self, target: &str) -> std::io::Result<()> {
        let authorization = self.authorization("DELETE", target).await?;
        self.ask("DELETE", target, &authorization, 0).await.map(drop)
    }
}

/// Reads an answer; a body longer than a document is counted and thrown away.
async fn read_reply(read: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Reply> {
    let bad = |why: &str| std::io::Error::other(why.to_owned());
    let mut buffer = Vec::with_capacity(BLOCK);
    let end = loop {
        if let Some(at) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
            break at;
        }
        if buffer.len() > MAX_HEAD {
            return Err(bad("a head without an end"));
        }
        if read.read_buf(&mut buffer).await? == 0 {
            return Err(bad("the connection was closed"));
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("no status"))?;
    let mut body = buffer.split_off(end + 4);
    let mut reply = Reply { status, head, body: Vec::new(), octets: 0 };
    let length: u64 = match reply.header("content-length").map(str::parse) {
        Some(Ok(length)) => length,
        Some(Err(_)) => return Err(bad("no length")),
        None if status == 204 => 0,
        None => return Err(bad("an answer without its length")),
    };
    reply.octets = length;
    if length <= BLOCK as u64 {
        while (body.len() as u64) < length {
            if read.read_buf(&mut body).await? == 0 {
                return Err(bad("the answer is cut"));
            }
        }
        reply.body = body;
        return Ok(reply);
    }
    let mut left = length - (body.len() as u64).min(length);
    body.resize(BLOCK, 0);
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        match read.read(&mut body[..some]).await? {
            0 => return Err(bad("the answer is cut")),
            read => left -= read as u64,
        }
    }
    Ok(reply)
}

/// Uploads what is to be downloaded, then makes the load for its time.
pub async fn run(options: FtOptions) -> Result<FtReport, LoadError> {
    if options.users == 0 || options.size == 0 {
        return Err(LoadError::NoUsers);
    }
    let bad = || TargetError::Uri(options.target.clone());
    let rest = options.target.strip_prefix("http://").ok_or_else(bad)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_port(authority).ok_or_else(bad)?;
    let addr = resolve(&host, port.unwrap_or(80))?;
    let path = format!("/{}", if path.is_empty() { "ft" } else { path.trim_end_matches('/') });
    let mut users = Vec::with_capacity(options.users);
    for n in options.first..options.first + options.users {
        let named = |pattern: &str| pattern.replace("{}", &n.to_string());
        let mut user = User {
            addr,
            host: authority.to_owned(),
            path: path.clone(),
            account: Account { user: named(&options.user), password: named(&options.password) },
            challenge: None,
            nc: 0,
            stream: None,
            block: vec![b'.'; BLOCK],
            count: 0,
        };
        let mut link = None;
        if options.operation == Operation::Download {
            let reply = user.upload(options.size).await?;
            let name = user.account.user.clone();
            let why = || LoadError::Document { user: name, why: reply.status.to_string() };
            link = Some(reply.link().ok_or_else(why)?);
        }
        users.push((user, link));
    }
    let before = options.pid.and_then(cpu_of);
    let pace = Pace::new(options.rate, options.time, options.timeout);
    let mut running = JoinSet::new();
    let (size, patience) = (options.size, options.timeout);
    for (mut user, link) in users {
        let pace = Arc::clone(&pace);
        running.spawn(async move {
            let mut report = LoadReport::default();
            while let Some(due) = pace.next(&mut report).await {
                let done = match &link {
                    None => timeout(patience, user.upload(size)).await,
                    Some(link) => timeout(patience, user.ask("GET", link, "", 0)).await,
                };
                let at = Instant::now();
                let status = match &done {
                    Ok(Ok(reply)) if link.is_some() && reply.octets != size => 0,
                    Ok(Ok(reply)) => reply.status,
                    _ => 0,
                };
                report.add(at.saturating_duration_since(due), Outcome { status, at });
                if status == 200 {
                    report.octets += size;
                }
                if let (None, Ok(Ok(reply))) = (&link, &done)
                    && let Some(uploaded) = reply.link()
                {
                    // What cannot be deleted expires.
                    let _ = user.delete(&uploaded).await;
                }
            }
            if let Some(link) = link {
                let _ = user.delete(&link).await;
            }
            report
        });
    }
    let kind = format!("ft {}", options.operation.name());
    let mut files = LoadReport { kind, target: options.target.clone(), ..LoadReport::default() };
    while let Some(done) = running.join_next().await {
        if let Ok(part) = done {
            files.merge(&part);
        }
    }
    files.took = pace.start.elapsed();
    let cpu = options.pid.and_then(cpu_of).zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(FtReport { files, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers() {
        let document = "HTTP/1.1 200 OK\r\nContent-Length: 84\r\n\r\n<file><file-info type=\"file\">\
                        <data url=\"https://ft.example.com/ft/d/0a\"/></file-info></file>";
        let text = document.replace("84", &(document.len() - document.find("<file>").unwrap()).to_string());
        let reply = read_reply(&mut text.as_bytes()).await.unwrap();
        assert_eq!((reply.status, reply.link().as_deref()), (200, Some("/ft/d/0a")));
        let long = [b"HTTP/1.1 206 Part\r\ncontent-length: 100000\r\n\r\n".as_slice(), &vec![b'x'; 100_000]].concat();
        let reply = read_reply(&mut &long[..]).await.unwrap();
        assert_eq!((reply.status, reply.octets, reply.body.len()), (206, 100_000, 0));
        for cut in [long.len() - 1, 20] {
            assert!(read_reply(&mut &long[..cut]).await.is_err(), "{cut}");
        }
        assert!(read_reply(&mut b"HTTP/1.1 200 OK\r\n\r\n".as_slice()).await.is_err());
    }

    #[test]
    fn cpu_for_each_gb() {
        let files = LoadReport { octets: 500_000_000, ..LoadReport::default() };
        let report = FtReport { files, cpu: Some(Duration::from_millis(250)) };
        assert_eq!(report.cpu_per_gb(), Some(0.5));
        assert!(report.to_text().contains("0.50 s a GB"), "{}", report.to_text());
        assert!(report.to_json().contains("\"cpu_s_per_gb\":0.5"), "{}", report.to_json());
    }
}
