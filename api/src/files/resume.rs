//! What a client asks after an upload that was cut, or whose answer was lost.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use chappe_content::{name, resume_document};

use super::depot::FileError;
use super::{Shared, answer, links};
use crate::identity;

/// `GET /ft?tid=T&get_upload_info` or `&get_download_info`.
pub(super) async fn info(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let user = match identity::who(&*shared.identify, &parts, None) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let query = Query::read(parts.uri.query().unwrap_or_default());
    let Some(tid) = &query.tid else {
        return shared.refusal(&FileError::Malformed { why: "no tid in the query".into() });
    };
    let base = shared.base(&parts);
    let done = match query.wants {
        Some(Wants::Upload) => shared.depot.progress(&user.aor, tid).await.map(|progress| {
            let url = format!("{base}/ft/u/{}", progress.token);
            answer::document("application/xml", resume_document(progress.received, &url))
        }),
        Some(Wants::Download) => shared
            .depot
            .uploaded(&user.aor, tid)
            .await
            .map(|uploaded| answer::file_document(links::describe(&uploaded, &base))),
        None => Err(FileError::Malformed { why: "neither get_upload_info nor get_download_info in the query".into() }),
    };
    done.unwrap_or_else(|error| shared.refusal(&error))
}

#[derive(Debug, PartialEq, Eq)]
enum Wants {
    Upload,
    Download,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    tid: Option<String>,
    wants: Option<Wants>,
}

impl Query {
    fn read(query: &str) -> Query {
        let mut read = Query::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "tid" => read.tid = Some(name::decoded(value)).filter(|tid| !tid.is_empty()),
                "get_upload_info" => read.wants = Some(Wants::Upload),
                "get_download_info" => read.wants = Some(Wants::Download),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        for (query, tid, wants) in [
            ("tid=a-b&get_upload_info", Some("a-b"), Some(Wants::Upload)),
            ("get_download_info=&x=y&tid=a%2Fb", Some("a/b"), Some(Wants::Download)),
            ("tid=&get_upload_info", None, Some(Wants::Upload)),
            ("", None, None),
        ] {
            assert_eq!(Query::read(query), Query { tid: tid.map(Into::into), wants }, "{query}");
        }
    }
}
