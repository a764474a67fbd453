//! Records from DNS, with the cache and timeouts of the hickory resolver.

use std::net::IpAddr;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{Lookup, Naptr, ResolveConfig, ResolveError, Srv};

pub(super) struct Hickory(Option<TokioResolver>);

impl Hickory {
    pub(super) fn new(config: &ResolveConfig) -> Hickory {
        let builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let server = |address: &std::net::SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connections.into())
            };
            let servers = config.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.cache_size = config.cache;
            options.negative_max_ttl = Some(config.negative);
            // Two tries within the time of the whole.
            options.timeout = config.timeout / 3;
            options.attempts = 1;
            options.ip_strategy = match (config.ipv4, config.ipv6) {
                (true, false) => LookupIpStrategy::Ipv4Only,
                (false, true) => LookupIpStrategy::Ipv6Only,
                _ => LookupIpStrategy::Ipv4AndIpv6,
            };
            builder.build()
        });
        if let Err(error) = &resolver {
            tracing::warn!(%error, "no name server, so names cannot be resolved");
        }
        Hickory(resolver.ok())
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, ResolveError> {
        let resolver = self.0.as_ref().ok_or(ResolveError::Failed)?;
        let answer = resolver.lookup(absolute(name)?, kind).await;
        match answer {
            Ok(answer) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// With the root at its end, so that no search list is tried.
fn absolute(name: &str) -> Result<Name, ResolveError> {
    let mut name = Name::from_ascii(name).map_err(|_| ResolveError::NotFound)?;
    name.set_fqdn(true);
    Ok(name)
}

fn fault(error: &NetError) -> ResolveError {
    match error {
        NetError::Timeout => ResolveError::Timeout,
        _ => ResolveError::Failed,
    }
}

/// A name without the root's dot; the root alone is empty.
fn text(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

#[async_trait]
impl Lookup for Hickory {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, ResolveError> {
        let records = self.records(name, RecordType::NAPTR).await?;
        let naptr = |record: &RData| match record {
            RData::NAPTR(record) => Some(Naptr {
                order: record.order,
                preference: record.preference,
                flags: String::from_utf8_lossy(&record.flags).into_owned(),
                service: String::from_utf8_lossy(&record.services).into_owned(),
                replacement: text(&record.replacement),
            }),
            _ => None,
        };
        Ok(records.iter().filter_map(naptr).collect())
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, ResolveError> {
        let records = self.records(name, RecordType::SRV).await?;
        let srv = |record: &RData| match record {
            RData::SRV(record) => Some(Srv {
                priority: record.priority,
                weight: record.weight,
                port: record.port,
                target: text(&record.target),
            }),
            _ => None,
        };
        Ok(records.iter().filter_map(srv).collect())
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let resolver = self.0.as_ref().ok_or(ResolveError::Failed)?;
        match resolver.lookup_ip(absolute(name)?).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(fault(&error)),
        }
    }
}
