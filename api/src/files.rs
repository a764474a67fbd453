//! The content server of RCS, `/ft`: what users upload, and the links to it.
//!
//! | request | what |
//! | --- | --- |
//! | `POST /ft` without a body | 204: go on |
//! | `POST /ft` with a form | tid, thumbnail and file; 200 with the file's document |
//! | `GET /ft?tid=T&get_upload_info` | how much is there of an upload that was cut |
//! | `PUT /ft/u/TOKEN` | the rest of it |
//! | `GET /ft?tid=T&get_download_info` | the document again |
//! | `GET /ft/d/ID`, `/ft/t/ID` | the file, its thumbnail: for whoever knows the link |
//! | `DELETE /ft/d/ID` | by its owner |
//!
//! What is kept, and for how long, is the [`Depot`]'s to say.

mod answer;
mod depot;
mod download;
mod links;
mod pace;
mod resume;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, put};

use crate::identity::Identify;

pub use depot::{
    Content, ContentStream, Depot, FileError, Found, Incoming, NewFile, Picture, Progress, Reason, Uploaded, Which,
};
pub use links::{document, id_of};

/// How the content server treats those who use it.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// What links begin with, `https://ft.example.com`; by default what the request was sent to.
    pub url: Option<String>,
    /// Longest wait for more of an upload.
    pub idle: Duration,
    /// Bytes in a second below which an upload is ended; 0: any.
    pub min_rate: u64,
}

pub(crate) struct Shared {
    depot: Arc<dyn Depot>,
    identify: Arc<dyn Identify>,
    settings: FileSettings,
}

/// The paths of the content server.
pub fn router(depot: Arc<dyn Depot>, identify: Arc<dyn Identify>, settings: FileSettings) -> Router {
    let shared = Arc::new(Shared { depot, identify, settings });
    let root = || get(resume::info).post(upload::post);
    Router::new()
        .route("/ft", root())
        .route("/ft/", root())
        .route("/ft/u/{token}", put(upload::put))
        .route("/ft/d/{id}", get(download::file).delete(download::remove))
        .route("/ft/t/{id}", get(download::thumbnail))
        // Sizes are the policy's to say, with an answer that tells which.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}
