//! Links to files, and the documents that have them.

use axum::http::header;
use axum::http::request::Parts;
use chappe_content::{FileDocument, FileInfo};

use super::Shared;
use super::depot::Uploaded;
use crate::serve::Peer;

impl Shared {
    /// What links begin with: what is configured, else what the request was sent to.
    pub(super) fn base(&self, parts: &Parts) -> String {
        if let Some(url) = &self.settings.url {
            return url.trim_end_matches('/').to_owned();
        }
        let peer = parts.extensions.get::<Peer>();
        let scheme = if peer.is_some_and(|peer| peer.secure) { "https" } else { "http" };
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        match host.filter(|host| is_authority(host)) {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("{scheme}://{}", peer.map_or_else(String::new, |peer| peer.local.to_string())),
        }
    }
}

/// A host with or without a port, and nothing that could lead elsewhere.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':' | b'[' | b']' | b'_'))
}

/// The document of a file; the same time stands in it for the file and its thumbnail.
pub(super) fn describe(file: &Uploaded, base: &str) -> String {
    let until = chappe_content::until(file.expires);
    let thumbnail = file.thumbnail.as_ref().map(|(content_type, size)| FileInfo {
        size: *size,
        content_type: content_type.to_string(),
        url: format!("{base}/ft/t/{}", file.id),
        until: Some(until.clone()),
        ..FileInfo::default()
    });
    let file = FileInfo {
        size: file.size,
        name: Some(file.name.to_string()),
        content_type: file.content_type.to_string(),
        url: format!("{base}/ft/d/{}", file.id),
        until: Some(until.clone()),
        ..FileInfo::default()
    };
    FileDocument { thumbnail, file }.to_xml()
}
