//! Names to addresses (RFC 3263), for next hops that are not addresses.

use std::sync::Arc;

use chappe_net::Query;
use chappe_sip::layer::Dest;
use chappe_sip::{Scheme, Uri};

use crate::hops::Hops;

/// The resolver of the transport layer, in the words of the SIP side.
pub struct Resolver(pub Arc<chappe_net::Resolver>);

impl Resolver {
    /// The addresses of a URI, the best first; none where the name has none, or lies beyond what we speak.
    pub async fn resolve(&self, uri: &Uri<'_>, hops: &Hops) -> Vec<Dest> {
        let query = Query {
            host: uri.param("maddr").unwrap_or(uri.host).to_owned(),
            port: uri.port,
            transport: uri.transport(),
            secure: uri.scheme == Scheme::Sips,
        };
        match self.0.resolve(&query).await {
            Ok(found) => found
                .into_iter()
                .map(|target| {
                    if let Some(name) = &target.server_name {
                        hops.remember_name(target.addr, name);
                    }
                    Dest::Address { transport: target.transport, address: target.addr }
                })
                .collect(),
            Err(error) => {
                tracing::debug!(%error, host = %crate::logging::Redacted(uri.host), "a next hop could not be resolved");
                Vec::new()
            }
        }
    }
}
