//! How one-time passwords get to a phone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::{Request, header};
use chappe_provisioning::Pending;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::core::Core;
use crate::logging::Redacted;

/// For the hook to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way to send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// Into the log, for trials.
    Log,
    /// POST of JSON to an SMS gateway, or to whoever speaks to one.
    Hook { authority: String, path: String },
}

impl std::str::FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Sender, String> {
        if text == "log" {
            return Ok(Sender::Log);
        }
        let expected = || format!("{text} is neither \"log\" nor a URL like \"http://127.0.0.1:8090/sms\"");
        let rest = text.strip_prefix("http://").ok_or_else(expected)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if authority.is_empty() || authority.contains('@') {
            return Err(expected());
        }
        let authority = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        Ok(Sender::Hook { authority, path: path.to_owned() })
    }
}

impl Sender {
    /// Sends it without waiting; what goes wrong is logged and counted.
    pub fn send(&self, core: &Arc<Core>, pending: Pending) {
        match self {
            Sender::Log => {
                tracing::info!(number = %Redacted(&pending.number), code = pending.code.as_str(), "one-time password");
            }
            Sender::Hook { authority, path } => {
                let (authority, path) = (authority.clone(), path.clone());
                core.runtime.spawn(async move {
                    let sent = timeout(PATIENCE, post(&authority, &path, &pending)).await;
                    let failed = match sent {
                        Ok(Ok(())) => return,
                        Ok(Err(error)) => format!("{error:#}"),
                        Err(_) => format!("no answer within {PATIENCE:?}"),
                    };
                    tracing::error!(number = %Redacted(&pending.number), failed, "a one-time password was not sent");
                });
            }
        }
    }
}

/// `{"to": "+1555", "port": 37001, "text": "482915"}`; port 0: an ordinary SMS.
async fn post(authority: &str, path: &str, pending: &Pending) -> anyhow::Result<()> {
    let body = json!({ "to": pending.number, "port": pending.port, "text": pending.code.as_str() }).to_string();
    let stream = TcpStream::connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))?;
    let response = client.send_request(request).await;
    driver.abort();
    match response?.status() {
        status if status.is_success() => Ok(()),
        status => bail!("{authority} answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_by_their_names() {
        let hook = |authority: &str, path: &str| Ok(Sender::Hook { authority: authority.into(), path: path.into() });
        assert_eq!("log".parse(), Ok(Sender::Log));
        assert_eq!("http://127.0.0.1:8090/sms?key=1".parse(), hook("127.0.0.1:8090", "/sms?key=1"));
        assert_eq!("http://sms.example".parse(), hook("sms.example:80", "/"));
        for wrong in ["", "https://x/", "http://", "http://u@h/", "smpp://x"] {
            assert!(wrong.parse::<Sender>().is_err(), "{wrong}");
        }
    }
}
