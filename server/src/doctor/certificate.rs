//! Certificates: readable, in time, for the domains, with their key.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::Finding;
use crate::config::Config;

const CHECK: &str = "certificate";
/// Days before its end at which a certificate should have been renewed.
const RENEW: u64 = 14;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
        return vec![Finding::warning(
            CHECK,
            "none is configured: a self-signed one is used, which phones and browsers do not trust",
            "set tls.certificate and tls.key",
        )];
    };
    let domains: Vec<&str> = config.domains.iter().map(|domain| domain.as_str()).collect();
    let mut findings = pair(certificate, key, &domains);
    for extra in config.tls.extra.iter() {
        if let (Some(certificate), Some(key)) = (&extra.certificate, &extra.key) {
            let names: Vec<&str> = extra.names.iter().map(|name| name.as_str()).collect();
            findings.extend(pair(certificate, key, &names));
        }
    }
    findings
}

/// One certificate with its key, which should be for `names`.
fn pair(certificate: &Path, key: &Path, names: &[&str]) -> Vec<Finding> {
    let shown = certificate.display();
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| error.to_string());
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => return vec![unreadable(certificate, "no certificate in it")],
        Err(error) => return vec![unreadable(certificate, &error)],
    };
    let mut findings = Vec::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match x509_parser::parse_x509_certificate(&chain[0]) {
        Ok((_, parsed)) => {
            let validity = parsed.validity();
            let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
            let (begin, end) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
            findings.push(lifetime(&shown.to_string(), begin, end, now));
        }
        Err(error) => return vec![unreadable(certificate, &error.to_string())],
    }
    findings.extend(names.iter().map(|name| covers(certificate, &chain[0], name)));
    findings.push(matches(certificate, key, &chain));
    findings.extend(exposed(key));
    findings
}

fn unreadable(file: &Path, error: &str) -> Finding {
    Finding::fault(
        CHECK,
        format!("{} cannot be used: {error}", file.display()),
        "it should be PEM, the server's own certificate first, and readable by the user that runs chappe",
    )
}

fn lifetime(file: &str, begin: u64, end: u64, now: u64) -> Finding {
    let date = |time| crate::cli::output::date(time);
    if now < begin {
        let message = format!("{file} is not valid before {} UTC", date(begin));
        return Finding::fault(CHECK, message, "see that the clock is right");
    }
    if now > end {
        return Finding::fault(CHECK, format!("{file} has expired on {} UTC", date(end)), "renew it");
    }
    let days = (end - now) / 86_400;
    if days < RENEW {
        let message = format!("{file} expires in {days} days, on {} UTC", date(end));
        return Finding::warning(CHECK, message, "renew it; the new file is read without a restart");
    }
    Finding::good(CHECK, format!("{file} is valid for {days} days"))
}

fn covers(file: &Path, certificate: &CertificateDer<'_>, name: &str) -> Finding {
    let shown = file.display();
    let parsed = webpki::EndEntityCert::try_from(certificate);
    let wanted = ServerName::try_from(name);
    let covered = match (parsed, wanted) {
        (Ok(parsed), Ok(wanted)) => parsed.verify_is_valid_for_subject_name(&wanted).is_ok(),
        _ => false,
    };
    if covered {
        return Finding::good(CHECK, format!("{shown} is for {name}"));
    }
    Finding::fault(
        CHECK,
        format!("{shown} is not for {name}"),
        format!("get one with {name} among its subject alternative names (RFC 5922)"),
    )
}

fn matches(certificate: &Path, key: &Path, chain: &[CertificateDer<'static>]) -> Finding {
    let loaded = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| error.to_string())
        .and_then(|key| rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| error.to_string()));
    let signing = match loaded {
        Ok(signing) => signing,
        Err(error) => return unreadable(key, &error),
    };
    let pair = rustls::sign::CertifiedKey::new(chain.to_vec(), signing);
    match pair.keys_match() {
        Ok(()) => Finding::good(CHECK, format!("{} is its key", key.display())),
        Err(error) => Finding::fault(
            CHECK,
            format!("{} is not the key of {}: {error}", key.display(), certificate.display()),
            "use the key that the certificate was asked for with",
        ),
    }
}

fn exposed(key: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        let message = format!("{} can be read by everybody on this machine (mode {mode:o})", key.display());
        Finding::warning(CHECK, message, format!("chmod 640 {}", key.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn made(names: &[&str]) -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (dir, certificate, key)
    }

    fn faults(findings: &[Finding]) -> Vec<&str> {
        findings.iter().filter(|f| f.level == Level::Fault).map(|f| f.message.as_str()).collect()
    }

    #[test]
    fn a_pair_is_checked_for_name_and_key() {
        let (_one, certificate, key) = made(&["example.com"]);
        let (_other, _, foreign) = made(&["example.com"]);
        assert_eq!(faults(&pair(&certificate, &key, &["example.com"])), Vec::<&str>::new());
        let wrong_name = pair(&certificate, &key, &["example.org"]);
        assert!(faults(&wrong_name)[0].ends_with("is not for example.org"), "{wrong_name:?}");
        let wrong_key = pair(&certificate, &foreign, &["example.com"]);
        assert!(faults(&wrong_key)[0].contains("is not the key of"), "{wrong_key:?}");
        let not_pem = pair(&key, &key, &[]);
        assert!(faults(&not_pem)[0].contains("no certificate in it"), "{not_pem:?}");
    }

    #[test]
    fn lifetimes() {
        const DAY: u64 = 86_400;
        for (now, level) in
            [(0, Level::Fault), (100 * DAY, Level::Good), (195 * DAY, Level::Warning), (201 * DAY, Level::Fault)]
        {
            assert_eq!(lifetime("c", DAY, 200 * DAY, now).level, level, "{now}");
        }
    }
}
