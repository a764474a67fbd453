//! Uploads: a form with POST, the rest of a file with PUT.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chappe_content::multipart::{self, Event, Limits, Part};
use chappe_content::range::ContentRange;
use chappe_content::{Multipart, Refusal, media, name, resume_document};

use super::depot::{FileError, Incoming, NewFile, Picture, Uploaded};
use super::pace::{Next, Paced};
use super::{Shared, answer, links};
use crate::identity;

/// Longest transfer id.
const MAX_TID: usize = 128;

/// `POST /ft`: nothing, to ask whether to go on, or a form.
pub(super) async fn post(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let user = match identity::who(&*shared.identify, &parts, None) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let mut body = Paced::new(body, shared.settings.idle, shared.settings.min_rate);
    let done = match text(&parts.headers, header::CONTENT_TYPE) {
        // Nothing, or nothing in chunks.
        None => match empty(&parts.headers, &mut body).await {
            Ok(()) => shared.depot.ready(&user.aor).await.map(|()| None),
            Err(error) => Err(error),
        },
        Some(content_type) => {
            let mut form = Form {
                shared: &shared,
                owner: &user.aor,
                length: number(&parts.headers, header::CONTENT_LENGTH),
                tid: None,
                picture: None,
                incoming: None,
                now: Now::Nothing,
            };
            form.take(content_type, body).await
        }
    };
    match done {
        Ok(Some(uploaded)) => answer::file_document(links::describe(&uploaded, &shared.base(&parts))),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => shared.refusal(&error),
    }
}

async fn empty(headers: &HeaderMap, body: &mut Paced) -> Result<(), FileError> {
    if number(headers, header::CONTENT_LENGTH) == Some(0) {
        return Ok(());
    }
    match body.next().await? {
        Next::End => Ok(()),
        Next::Data(data) if data.is_empty() => Ok(()),
        _ => Err(FileError::Malformed { why: "a body needs a Content-Type".into() }),
    }
}

/// A form on its way to the depot.
struct Form<'a> {
    shared: &'a Shared,
    owner: &'a str,
    /// Of the whole body, where it was said.
    length: Option<u64>,
    tid: Option<String>,
    picture: Option<Picture>,
    incoming: Option<Box<dyn Incoming>>,
    now: Now,
}

/// The part that is being read.
enum Now {
    Nothing,
    Tid(Vec<u8>),
    Thumbnail { content_type: String, bytes: Vec<u8> },
    File,
}

impl Form<'_> {
    /// Reads the form to its end. `None`: it was empty. What was refused is not kept; what was cut is, for its owner to go
    /// on with where it has a transfer id.
    async fn take(&mut self, content_type: &str, body: Paced) -> Result<Option<Uploaded>, FileError> {
        let policy = self.shared.depot.policy();
        if self.length.is_some_and(|length| length > policy.max_form()) {
            return Err(Refusal::Size { max: policy.max_size }.into());
        }
        match self.read(content_type, body).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(Broken { error, keep }) => {
                match self.incoming.take() {
                    Some(incoming) if keep && self.tid.is_some() => drop(incoming.keep().await),
                    Some(incoming) => incoming.discard().await,
                    None => {}
                }
                return Err(error);
            }
        }
        let incoming = self.incoming.take().ok_or_else(|| malformed("no part named File"))?;
        incoming.finish().await.map(Some)
    }

    /// False where there is no form at all.
    async fn read(&mut self, content_type: &str, mut body: Paced) -> Result<bool, Broken> {
        let boundary = multipart::boundary(content_type);
        let mut form = None;
        loop {
            let data = match body.next().await {
                Ok(Next::Data(data)) => data,
                Ok(Next::End) if form.is_none() => {
                    self.shared.depot.ready(self.owner).await?;
                    return Ok(false);
                }
                // It ends too early, or without its last boundary.
                Ok(Next::End | Next::Cut) => return Err(Broken { error: FileError::Length, keep: true }),
                Err(error) => return Err(Broken { error, keep: true }),
            };
            let form = match &mut form {
                Some(form) => form,
                form => {
                    let boundary = boundary.as_deref().map_err(|error| malformed(&error.to_string()))?;
                    form.insert(
                        Multipart::new(boundary, Limits::default()).map_err(|error| malformed(&error.to_string()))?,
                    )
                }
            };
            form.push(data);
            while let Some(event) = form.poll().map_err(|error| malformed(&error.to_string()))? {
                match event {
                    Event::Begin(part) => self.begin(part).await?,
                    Event::Data(data) => self.data(data).await?,
                    Event::End => self.end().await?,
                    Event::Close => return Ok(true),
                }
            }
        }
    }

    async fn begin(&mut self, part: Part) -> Result<(), FileError> {
        let policy = self.shared.depot.policy();
        let content_type = part.content_type.as_deref().and_then(media::checked);
        self.now = if part.name.eq_ignore_ascii_case("tid") {
            Now::Tid(Vec::new())
        } else if part.name.eq_ignore_ascii_case("thumbnail") {
            Now::Thumbnail { content_type: content_type.unwrap_or("image/jpeg").to_owned(), bytes: Vec::new() }
        } else if part.name.eq_ignore_ascii_case("file") {
            if self.incoming.is_some() {
                return Err(malformed("more than one file"));
            }
            let content_type = content_type.unwrap_or(media::UNKNOWN).to_owned();
            policy.check_type(&content_type)?;
            let new = NewFile {
                owner: self.owner.into(),
                tid: self.tid.clone(),
                name: name::harmless(part.file_name.as_deref().unwrap_or_default()),
                content_type,
                expected: self.length,
            };
            let mut incoming = self.shared.depot.begin(new).await?;
            if let Some(picture) = self.picture.take()
                && let Err(error) = incoming.picture(picture).await
            {
                incoming.discard().await;
                return Err(error);
            }
            self.incoming = Some(incoming);
            Now::File
        } else {
            Now::Nothing
        };
        Ok(())
    }

    async fn data(&mut self, data: Bytes) -> Result<(), FileError> {
        let max_thumbnail = self.shared.depot.policy().max_thumbnail;
        match &mut self.now {
            Now::Nothing => Ok(()),
            Now::Tid(text) if text.len() + data.len() > MAX_TID => Err(malformed("a tid of more than 128 bytes")),
            Now::Tid(text) => {
                text.extend_from_slice(&data);
                Ok(())
            }
            Now::Thumbnail { bytes, .. } if (bytes.len() + data.len()) as u64 > max_thumbnail => {
                Err(Refusal::ThumbnailSize { max: max_thumbnail }.into())
            }
            Now::Thumbnail { bytes, .. } => {
                bytes.extend_from_slice(&data);
                Ok(())
            }
            Now::File => match &mut self.incoming {
                Some(incoming) => incoming.write(data).await,
                None => Ok(()),
            },
        }
    }

    async fn end(&mut self) -> Result<(), FileError> {
        match std::mem::replace(&mut self.now, Now::Nothing) {
            Now::Nothing | Now::File => {}
            Now::Tid(text) => {
                let tid = String::from_utf8(text).map_err(|_| malformed("a tid that is not text"))?;
                let tid = tid.trim();
                if tid.chars().any(char::is_control) {
                    return Err(malformed("a tid with control characters"));
                }
                self.tid = Some(tid.to_owned()).filter(|tid| !tid.is_empty());
            }
            Now::Thumbnail { content_type, bytes } if !bytes.is_empty() => {
                let picture = Picture { content_type, bytes: bytes.into() };
                match &mut self.incoming {
                    Some(incoming) => incoming.picture(picture).await?,
                    None => self.picture = Some(picture),
                }
            }
            Now::Thumbnail { .. } => {}
        }
        Ok(())
    }
}

/// Why a form was not read to its end, and whether its sender may go on with it.
struct Broken {
    error: FileError,
    keep: bool,
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Broken {
        Broken { error, keep: false }
    }
}

fn malformed(why: &str) -> FileError {
    FileError::Malformed { why: why.to_owned() }
}

/// `PUT /ft/u/TOKEN`: the rest of a file.
pub(super) async fn put(State(shared): State<Arc<Shared>>, Path(token): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let user = match identity::who(&*shared.identify, &parts, None) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let range = text(&parts.headers, header::CONTENT_RANGE).and_then(ContentRange::parse);
    let Some(range) = range else {
        return shared.refusal(&malformed("a Content-Range is needed: bytes FIRST-LAST/SIZE"));
    };
    let said = number(&parts.headers, header::CONTENT_LENGTH).or(body.size_hint().exact());
    if said.is_some_and(|length| length != range.length()) {
        return shared.refusal(&FileError::Length);
    }
    let body = Paced::new(body, shared.settings.idle, shared.settings.min_rate);
    match rest(&shared, &user.aor, &token, range, body).await {
        Ok(Rest::All(uploaded)) => answer::file_document(links::describe(&uploaded, &shared.base(&parts))),
        Ok(Rest::Some(received)) => {
            let url = format!("{}/ft/u/{token}", shared.base(&parts));
            answer::document("application/xml", resume_document(received, &url))
        }
        Err(error) => shared.refusal(&error),
    }
}

enum Rest {
    All(Uploaded),
    Some(u64),
}

async fn rest(
    shared: &Shared,
    owner: &str,
    token: &str,
    range: ContentRange,
    mut body: Paced,
) -> Result<Rest, FileError> {
    let mut incoming = shared.depot.resume(owner, token, range).await?;
    let mut missing = range.length();
    while missing > 0 {
        let error = match body.next().await {
            Ok(Next::Data(data)) if data.len() as u64 <= missing => {
                missing -= data.len() as u64;
                match incoming.write(data).await {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Ok(_) => FileError::Length,
            Err(error) => error,
        };
        incoming.keep().await?;
        return Err(error);
    }
    if range.is_last() { incoming.finish().await.map(Rest::All) } else { incoming.keep().await.map(Rest::Some) }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}
