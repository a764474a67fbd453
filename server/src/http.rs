//! The HTTP listeners: for users, and for operators.

pub mod identity;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use chappe_api::public::Public;
use chappe_api::{Door, Limits, Node, OpenDoor, Server, WebSockets, management, public};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::listeners::Listeners;

/// What serves HTTP until it is stopped.
pub struct Http {
    users: Server,
    operators: Server,
    /// `http://127.0.0.1:9090`
    pub management: String,
}

/// What the listeners lead to.
pub struct Behind {
    pub node: Arc<dyn Node>,
    /// Numbers the listeners in the order of `http.listen`.
    pub door: Arc<dyn Door>,
    pub websockets: Arc<dyn WebSockets>,
    /// For users, each with paths of its own.
    pub services: Vec<Router>,
}

/// Sockets that are bound and not served yet, so that their ports are known before the first request.
pub struct Bound {
    users: Vec<TcpListener>,
    operators: TcpListener,
    management: String,
}

impl Bound {
    /// Addresses of the listeners for users, in the order of `http.listen`.
    pub fn addresses(&self) -> std::io::Result<Vec<std::net::SocketAddr>> {
        self.users.iter().map(TcpListener::local_addr).collect()
    }
}

/// Binds `http.listen` and `management.listen`.
pub async fn bind(config: &Config, listeners: &Listeners) -> anyhow::Result<Bound> {
    let mut users = Vec::new();
    for listen in &config.http.listen {
        let socket = TcpListener::bind(listen.address)
            .await
            .with_context(|| format!("cannot listen on {listen} (http.listen; `chappe doctor` looks at all ports)"))?;
        listeners.add("http", format!("{}://{}", listen.scheme, socket.local_addr()?));
        users.push(socket);
    }
    let listen = &config.management.listen;
    let operators = TcpListener::bind(listen.address).await.with_context(|| {
        format!("cannot listen on {listen} (management.listen; `chappe doctor` looks at all ports)")
    })?;
    let management = format!("{}://{}", listen.scheme, operators.local_addr()?);
    listeners.add("management", management.clone());
    Ok(Bound { users, operators, management })
}

impl Bound {
    /// Begins to serve. `token` is one more bearer token beside the configured one.
    pub fn serve(self, config: &Config, listeners: &Listeners, behind: Behind, token: &str) -> Http {
        let Behind { node, door, websockets, services } = behind;
        let limits = Limits {
            head: config.http.max_head.bytes(),
            head_timeout: config.http.head_timeout,
            connections: config.limits.connections as usize,
            connections_per_peer: config.limits.connections_per_peer as usize,
        };
        let public = Public {
            domains: config.domains.iter().map(ToString::to_string).collect(),
            sip: listeners.all().into_iter().filter(|l| l.service == "sip").map(|l| l.url).collect(),
            origins: config.http.origins.clone(),
            websockets,
            services,
        };
        let users = Server::start(self.users, public::router(public), limits, door);
        let configured = config.management.token.iter().map(|token| token.expose().to_owned());
        let tokens = configured.chain([token.to_owned()]).collect();
        let operators = Server::start(
            vec![self.operators],
            management::router(node, tokens),
            Limits::default(),
            Arc::new(OpenDoor),
        );
        Http { users, operators, management: self.management }
    }
}

impl Http {
    /// Accepts no more requests and lets those under way finish within `wait`.
    pub async fn stop(self, wait: Duration) {
        tokio::join!(self.users.stop(wait), self.operators.stop(wait));
    }
}
