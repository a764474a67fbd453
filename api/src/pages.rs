//! The files of the web client and of the operator's console, built by `make` and part of the binary.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `npm run build` leaves in `web`; empty where nobody has run it.
#[derive(RustEmbed)]
#[folder = "../web/dist/app"]
#[allow_missing = true]
struct Files;

/// The page itself.
const INDEX: &str = "index.html";
/// The page of the operator's console.
pub(crate) const CONSOLE: &str = "admin/index.html";
/// Its policy: it shows no pictures but its own, and plays nothing.
const CONSOLE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);
/// Nothing is fetched from elsewhere, and nobody frames the client. Pictures that the user has chosen are blobs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
     connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// Whether the client is part of this binary.
pub(crate) fn are_there() -> bool {
    Files::get(INDEX).is_some()
}

/// The file at `path`, compressed as the browser takes it; `None` for what is not among them.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = match path.trim_start_matches('/') {
        "" => INDEX,
        path => path,
    };
    let kind = kind(path)?;
    let plain = Files::get(path)?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&plain.metadata.sha256_hash()[..12]));
    // The names of assets change with what is in them.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let common = [
        (header::ETAG, HeaderValue::try_from(&tag).ok()?),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, if path == CONSOLE { CONSOLE_POLICY } else { POLICY }),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag) {
        return Some((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let (encoding, file) = best(path, headers).map_or((None, plain), |(name, file)| (Some(name), file));
    let mut response = (common, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], file.data).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Some(response)
}

/// A compressed copy that the browser takes.
fn best(path: &str, headers: &HeaderMap) -> Option<(&'static str, EmbeddedFile)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    [("br", "br"), ("gzip", "gz")].into_iter().find_map(|(name, ending)| {
        takes(accepted, name).then(|| Files::get(&format!("{path}.{ending}"))).flatten().map(|file| (name, file))
    })
}

/// Whether an Accept-Encoding value has a coding, not at q=0 (RFC 9110 §12.5.3).
fn takes(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = |q: &str| q.parse::<f32>().is_ok_and(|q| q == 0.0);
        is_it && !parts.any(|part| part.strip_prefix("q=").is_some_and(refused))
    })
}

/// The media type; `None` for what is not to be asked for by name, as the compressed copies.
fn kind(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_taken_unless_it_is_refused() {
        for (accepted, coding, expected) in [
            ("gzip, deflate, br", "br", true),
            ("gzip;q=1.0, BR;q=0", "br", false),
            ("br;q=0.5", "br", true),
            ("br; q=0.0", "br", false),
            ("identity", "gzip", false),
            ("", "gzip", false),
        ] {
            assert_eq!(takes(accepted, coding), expected, "{accepted} {coding}");
        }
    }

    #[test]
    fn only_files_of_known_kinds_are_served_by_their_names() {
        assert_eq!(kind("assets/index-1.js"), Some("text/javascript; charset=utf-8"));
        for path in ["assets/index-1.js.br", "index.html.gz", ".gitignore", "x", "../Cargo.toml"] {
            assert_eq!(kind(path), None, "{path}");
        }
    }

    /// Whatever stands there, which depends on whether the client was built before.
    #[test]
    fn the_page_comes_with_its_policy_and_is_known_again() {
        let Some(page) = file("/", &HeaderMap::new()) else {
            assert!(!are_there());
            return;
        };
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, page.headers()[header::ETAG].clone());
        assert_eq!(file("/index.html", &again).unwrap().status(), StatusCode::NOT_MODIFIED);
        let mut small = HeaderMap::new();
        small.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        assert_eq!(file("/", &small).unwrap().headers()[header::CONTENT_ENCODING], "br");
    }
}
