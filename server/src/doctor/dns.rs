//! How others find the domains (RFC 3263): NAPTR, SRV, addresses.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::timeout;

use super::Finding;
use crate::config::{Config, SipScheme};

const CHECK: &str = "dns";
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let public: Vec<&str> =
        config.domains.iter().map(|domain| domain.as_str()).filter(|domain| !is_local(domain)).collect();
    if public.is_empty() {
        return vec![Finding::good(CHECK, "the domains are of this machine or of tests; nothing is asked")];
    }
    let resolver = match TokioResolver::builder_tokio().and_then(|builder| builder.build()) {
        Ok(resolver) => resolver,
        Err(error) => {
            let message = format!("the resolver of this machine cannot be used: {error}");
            return vec![Finding::fault(CHECK, message, "see /etc/resolv.conf")];
        }
    };
    let mut findings = Vec::new();
    for domain in public {
        let found = Found::ask(&resolver, domain).await;
        findings.extend(found.judge(domain, config));
    }
    findings
}

/// Names that no public DNS has (RFC 6761), and addresses.
fn is_local(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    ["localhost", "test", "invalid", "local"].contains(&last) || domain.parse::<IpAddr>().is_ok()
}

/// What the DNS says of a domain.
#[derive(Debug, Default)]
struct Found {
    naptr: usize,
    /// Name asked for, target and port.
    srv: Vec<(&'static str, String, u16)>,
    addresses: usize,
    /// Targets of SRV without an address.
    dangling: Vec<String>,
    /// The DNS gave no answer.
    failure: Option<String>,
}

/// The SRV names of SIP, and what has to listen for them.
const SERVICES: [(&str, SipScheme); 3] =
    [("_sips._tcp", SipScheme::Tls), ("_sip._tcp", SipScheme::Tcp), ("_sip._udp", SipScheme::Udp)];

impl Found {
    async fn ask(resolver: &TokioResolver, domain: &str) -> Found {
        let mut found = Found::default();
        found.naptr = found.records(resolver, domain, RecordType::NAPTR).await.len();
        for (service, _) in SERVICES {
            for record in found.records(resolver, &format!("{service}.{domain}"), RecordType::SRV).await {
                if let RData::SRV(srv) = record {
                    found.srv.push((service, srv.target.to_utf8(), srv.port));
                }
            }
        }
        found.addresses = found.addresses(resolver, domain).await;
        let mut targets: Vec<String> = found.srv.iter().map(|(_, target, _)| target.clone()).collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            if target != "." && found.addresses(resolver, &target).await == 0 {
                found.dangling.push(target);
            }
        }
        found
    }

    async fn addresses(&mut self, resolver: &TokioResolver, name: &str) -> usize {
        let four = self.records(resolver, name, RecordType::A).await.len();
        four + self.records(resolver, name, RecordType::AAAA).await.len()
    }

    async fn records(&mut self, resolver: &TokioResolver, name: &str, kind: RecordType) -> Vec<RData> {
        // With a dot at its end the name is not tried under the machine's own domains.
        let name = format!("{}.", name.trim_end_matches('.'));
        match timeout(PATIENCE, resolver.lookup(name, kind)).await {
            Ok(Ok(lookup)) => lookup
                .answers()
                .iter()
                .filter(|record| record.record_type() == kind)
                .map(|record| record.data.clone())
                .collect(),
            Ok(Err(error)) if error.is_no_records_found() => Vec::new(),
            Ok(Err(error)) => {
                self.failure.get_or_insert(error.to_string());
                Vec::new()
            }
            Err(_) => {
                self.failure.get_or_insert_with(|| "no answer in time".into());
                Vec::new()
            }
        }
    }

    fn judge(&self, domain: &str, config: &Config) -> Vec<Finding> {
        if let Some(failure) = &self.failure {
            let message = format!("{domain}: the DNS does not answer: {failure}");
            return vec![Finding::fault(CHECK, message, "see /etc/resolv.conf and the way to the name server")];
        }
        let mut findings = Vec::new();
        let port = |scheme| config.sip.listen.iter().find(|listen| listen.scheme == scheme).map(|l| l.address.port());
        if self.srv.is_empty() && self.addresses == 0 {
            let example = port(SipScheme::Tls).map_or(5061, |port| port);
            findings.push(Finding::fault(
                CHECK,
                format!("{domain} has neither SRV records nor an address: clients cannot find the server"),
                format!("add: _sips._tcp.{domain}. SRV 0 0 {example} HOST, and an address for HOST"),
            ));
            return findings;
        }
        if self.srv.is_empty() {
            findings.push(Finding::warning(
                CHECK,
                format!("{domain} has an address and no SRV records: clients use it with the default ports only"),
                format!("add: _sips._tcp.{domain}. SRV 0 0 {} HOST", port(SipScheme::Tls).unwrap_or(5061)),
            ));
        }
        for (service, target, at) in &self.srv {
            let scheme = SERVICES.iter().find(|(name, _)| name == service).map(|(_, scheme)| *scheme);
            let listens =
                config.sip.listen.iter().any(|listen| Some(listen.scheme) == scheme && listen.address.port() == *at);
            let message = format!("{service}.{domain} leads to {target} port {at}");
            findings.push(if self.dangling.contains(target) {
                Finding::fault(
                    CHECK,
                    format!("{message}, which has no address"),
                    format!("add an A or AAAA record for {target}"),
                )
            } else if listens || target == "." {
                Finding::good(CHECK, message)
            } else {
                Finding::warning(
                    CHECK,
                    format!("{message}, where this server does not listen"),
                    "correct the record or sip.listen, unless a load balancer stands between",
                )
            });
        }
        if self.naptr == 0 && !self.srv.is_empty() {
            // RFC 3263 §4.1: without NAPTR clients try the SRV names in turn, which works.
            findings.push(Finding::good(CHECK, format!("{domain} has no NAPTR records; the SRV records do without")));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_the_dns_says_is_judged_against_the_listeners() {
        let config = Config::default();
        let srv = |port| vec![("_sips._tcp", "sip.example.com.".to_owned(), port)];
        for (found, level, words) in [
            (Found::default(), Level::Fault, "neither SRV records nor an address"),
            (Found { addresses: 1, ..Found::default() }, Level::Warning, "no SRV records"),
            (Found { srv: srv(5061), ..Found::default() }, Level::Good, "leads to sip.example.com. port 5061"),
            (Found { srv: srv(443), ..Found::default() }, Level::Warning, "does not listen"),
            (
                Found { srv: srv(5061), dangling: vec!["sip.example.com.".into()], ..Found::default() },
                Level::Fault,
                "has no address",
            ),
            (Found { failure: Some("refused".into()), ..Found::default() }, Level::Fault, "does not answer: refused"),
        ] {
            let findings = found.judge("example.com", &config);
            assert_eq!(findings[0].level, level, "{findings:?}");
            assert!(findings[0].message.contains(words), "{findings:?}");
        }
    }

    #[tokio::test]
    async fn domains_of_this_machine_are_not_asked_for() {
        let findings = examine(&Config::default()).await;
        assert_eq!((findings.len(), findings[0].level), (1, Level::Good));
        for (domain, local) in [("localhost", true), ("a.test", true), ("example.com", false), ("192.0.2.1", true)] {
            assert_eq!(is_local(domain), local, "{domain}");
        }
    }
}
