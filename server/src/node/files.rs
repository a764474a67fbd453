//! From the configuration to the content server.

use chappe_api::files::FileSettings;
use chappe_content::Policy;
use chappe_store::S3;

use crate::config::{Config, Unchecked};
use crate::files::{Scan, Settings};

pub(super) fn settings(config: &Config) -> Settings {
    let files = &config.files;
    Settings {
        dir: files.dir.clone().unwrap_or_else(|| config.data_dir.join("files")),
        policy: Policy {
            max_size: files.max_size.0,
            max_thumbnail: files.max_thumbnail.0,
            quota: files.quota.0,
            accept: files.accept.clone(),
            refuse: files.refuse.clone(),
        },
        validity: files.validity,
        resume: files.resume,
        uploads: files.uploads as usize,
        uploads_per_user: files.uploads_per_user as usize,
        scan: Scan {
            command: files.scan.command.clone(),
            timeout: files.scan.timeout,
            accept_unchecked: files.scan.unchecked == Unchecked::Accept,
        },
        thumbnails: files.thumbnails,
        s3: s3(config),
    }
}

fn s3(config: &Config) -> Option<S3> {
    let s3 = &config.files.s3;
    (!s3.bucket.is_empty()).then(|| S3 {
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        access_key: s3.access_key.clone(),
        secret_key: s3.secret_key.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        bucket_in_host: s3.bucket_in_host,
    })
}

/// What links begin with where no request tells: what is configured, else the first HTTP listener.
pub(super) fn base(config: &Config, http: &[std::net::SocketAddr]) -> String {
    if let Some(url) = &config.files.url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = config.http.listen.first().map_or("http".to_owned(), |listen| listen.scheme.to_string());
    match http.first() {
        Some(address) if !address.ip().is_unspecified() => format!("{scheme}://{address}"),
        address => {
            let domain = config.domains.first().map_or_else(|| "localhost".to_owned(), ToString::to_string);
            let port = address.map_or_else(String::new, |address| format!(":{}", address.port()));
            format!("{scheme}://{domain}{port}")
        }
    }
}

pub(super) fn http(config: &Config) -> FileSettings {
    let files = &config.files;
    FileSettings { url: files.url.clone(), idle: files.idle_timeout, min_rate: files.min_rate.0 }
}
