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

/// The document of a file, as text.
pub(super) fn describe(file: &Uploaded, base: &str) -> String {
    document(file, base).to_xml()
}

/// The document of a file; the same time stands in it for the file and its thumbnail. Links begin with `base`.
pub fn document(file: &Uploaded, base: &str) -> FileDocument {
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
    FileDocument { thumbnail, file }
}

/// The id of the file that a link of ours leads to, whatever host it names; `None` for other links.
pub fn id_of(url: &str) -> Option<&str> {
    let (_, id) = url.split_once("://")?.1.split_once("/ft/d/")?;
    (id.len() == 48 && id.bytes().all(|c| c.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_ours() {
        let id = "0123456789abcdef".repeat(3);
        assert_eq!(id_of(&format!("https://ft.example.com/ft/d/{id}")), Some(&*id));
        for url in [
            format!("https://ft.example.com/ft/d/{id}0"),
            format!("https://ft.example.com/ft/t/{id}"),
            format!("https://ft.example.com/ft/d/{id}?x"),
            format!("/ft/d/{id}"),
            "https://elsewhere.example/picture".to_owned(),
        ] {
            assert_eq!(id_of(&url), None, "{url}");
        }
    }
}
