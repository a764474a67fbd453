//! Asks a running server through its admin API.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use chappe_api::ErasureReceipt;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::run_file::RunFile;

/// For the answer to begin; an import of many accounts takes the longest.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A running server.
pub struct Admin {
    /// `127.0.0.1:9090`
    authority: String,
    token: String,
}

/// The server answered, and refused.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    pub status: StatusCode,
    pub detail: String,
}

impl Admin {
    pub fn new(run: &RunFile) -> anyhow::Result<Admin> {
        Admin::at(&run.management, &run.token)
    }

    /// The server whose management listener is at `url`.
    pub fn at(url: &str, token: &str) -> anyhow::Result<Admin> {
        let authority = url
            .strip_prefix("http://")
            .with_context(|| format!("{url} is no management address: it begins with http://"))?
            .trim_end_matches('/')
            // A listener on every address is reached on this one.
            .replace("0.0.0.0:", "127.0.0.1:")
            .replace("[::]:", "[::1]:");
        Ok(Admin { authority, token: token.to_owned() })
    }

    /// The address of the console, with the token behind its `#`.
    pub fn console(&self) -> String {
        format!("http://{}/admin/#token={}", self.authority, segment(&self.token))
    }

    /// GET, the answer from JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Has a user erased.
    pub async fn erase(&self, aor: &str) -> anyhow::Result<ErasureReceipt> {
        let path = format!("/api/accounts/{}?erase=true", segment(aor));
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// Any method with a JSON body; an empty answer reads as `null`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let body = self.send(method, path, body).await?;
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).with_context(|| format!("the answer to {path} is not understood"))
    }

    /// Hands over each line of a stream of events until the server ends it.
    pub async fn follow(&self, path: &str, mut line: impl FnMut(&str)) -> anyhow::Result<()> {
        let mut body = self.send(Method::GET, path, None::<&()>).await?;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the server went away")?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let text = String::from_utf8_lossy(&rest[..end]).into_owned();
                if let Some(data) = text.strip_prefix("data:") {
                    line(data.trim());
                }
                rest.drain(..=end);
            }
            if rest.len() > MAX_ANSWER {
                bail!("the server sends a line without end");
            }
        }
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> anyhow::Result<Incoming> {
        let stream = timeout(Duration::from_secs(5), TcpStream::connect(&self.authority))
            .await
            .map_err(|_| anyhow::anyhow!("no answer"))
            .and_then(|connected| connected.map_err(Into::into))
            .with_context(|| format!("cannot reach the management listener at {}", self.authority))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the response body or with the sender.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(serde_json::to_vec(body)?)
            }
            None => Body::empty(),
        };
        let answer =
            timeout(PATIENCE, sender.send_request(request.body(body)?)).await.context("no answer in time")??;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let problem = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map(|body| body.to_bytes());
        let detail = problem
            .ok()
            .and_then(|body| serde_json::from_slice::<serde_json::Value>(&body).ok())
            .and_then(|problem| problem["detail"].as_str().map(str::to_owned))
            .unwrap_or_else(|| format!("the server answered {status}"));
        Err(Refused { status, detail }.into())
    }
}

/// `text` as one segment of a path.
pub fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("alice@example.com"), "alice@example.com");
        assert_eq!(segment("a/b?c#d%é"), "a%2Fb%3Fc%23d%25%C3%A9");
    }
}
