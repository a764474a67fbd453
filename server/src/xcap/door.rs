//! What becomes of a request over HTTP: who may, in which order what is looked at, and the answer.

use std::sync::Arc;

use async_trait::async_trait;
use chappe_api::xcap::{XcapMethod, XcapReply, XcapRequest};
use chappe_store::{DocumentKey, StoreError};
use chappe_xcap::{
    Conditions, Current, DocumentSelector, ERROR_TYPE, PathError, Readers, Refusal, Request, Target, Tree, Usage, usage,
};

use super::edit::Failed;
use super::{Xcap, owner_of, read};
use crate::core::Core;

/// The documents of a node, for HTTP.
pub struct XcapDoor(pub Arc<Core>);

#[async_trait]
impl chappe_api::xcap::Xcap for XcapDoor {
    fn max_body(&self) -> usize {
        self.0.xcap.settings.limits.size
    }

    async fn handle(&self, request: XcapRequest) -> XcapReply {
        match self.serve(&request).await {
            Ok(reply) => reply,
            Err(Denied::Refused(refusal)) => refused(&refusal),
            Err(Denied::Forbidden) => plain(403, "these documents are somebody else's"),
            Err(Denied::ReadOnly) => {
                let reply = plain(405, "the server makes this document itself");
                XcapReply { allow: Some("GET, HEAD"), ..reply }
            }
            Err(Denied::Store(error)) => {
                self.0.counters.store_failed();
                tracing::error!(%error, "documents cannot be read or written");
                plain(503, "documents are unavailable")
            }
        }
    }
}

/// Why a request comes to nothing.
enum Denied {
    Refused(Refusal),
    Forbidden,
    ReadOnly,
    Store(StoreError),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Denied::Refused(refusal)
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Denied::Store(error)
    }
}

impl From<Failed> for Denied {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => Denied::Refused(refusal),
            Failed::Store(error) => Denied::Store(error),
        }
    }
}

impl XcapDoor {
    /// RFC 4825 §8: unknown usages and users are not found, others' documents are forbidden, and so on.
    async fn serve(&self, request: &XcapRequest) -> Result<XcapReply, Denied> {
        let target = Target::parse(&request.path, &request.query).map_err(|error| match error {
            PathError::NoDocument => Refusal::NotFound,
            error => Refusal::BadRequest(error.into()),
        })?;
        let usage = usage::by_auid(&target.document.auid).ok_or(Refusal::NotFound)?;
        let conditions =
            Conditions { if_match: request.if_match.as_deref(), if_none_match: request.if_none_match.as_deref() };
        match &target.document.tree {
            Tree::Global => self.global(request, usage, &target, conditions),
            Tree::Users(xui) => {
                let owner = owner_of(&self.0, xui).ok_or(Refusal::NotFound)?;
                self.of_user(request, usage, &target, conditions, owner).await
            }
        }
    }

    fn global(
        &self,
        request: &XcapRequest,
        usage: &'static Usage,
        target: &Target<'_>,
        conditions: Conditions<'_>,
    ) -> Result<XcapReply, Denied> {
        // §5.7: everybody reads, nobody of ours writes; the index of all services is for servers only (RFC 4826 §4.4.9).
        if request.method != XcapMethod::Get || &*target.document.auid == "rls-services" {
            return Err(Denied::Forbidden);
        }
        let text = read::global(&target.document).ok_or(Refusal::NotFound)?;
        self.show_made(usage, target, conditions, &text)
    }

    /// A document that the server has just made: its tag is made of its text.
    fn show_made(
        &self,
        usage: &'static Usage,
        target: &Target<'_>,
        conditions: Conditions<'_>,
        text: &str,
    ) -> Result<XcapReply, Denied> {
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let etag: String = hash.as_ref()[..10].iter().map(|byte| format!("{byte:02x}")).collect();
        self.show(usage, target, conditions, Some(Current { text, etag: &etag }))
    }

    fn show(
        &self,
        usage: &'static Usage,
        target: &Target<'_>,
        conditions: Conditions<'_>,
        current: Option<Current<'_>>,
    ) -> Result<XcapReply, Denied> {
        let etag = current.map(|current| current.etag.to_owned());
        match self.request(usage, target, conditions, current).get() {
            Ok(shown) => Ok(XcapReply {
                status: 200,
                etag,
                content_type: Some(shown.media_type),
                body: shown.body.into_owned(),
                allow: None,
            }),
            Err(Refusal::NotModified) => Ok(XcapReply { status: 304, etag, ..XcapReply::default() }),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn of_user(
        &self,
        request: &XcapRequest,
        usage: &'static Usage,
        target: &Target<'_>,
        conditions: Conditions<'_>,
        owner: Box<str>,
    ) -> Result<XcapReply, Denied> {
        let xcap = &self.0.xcap;
        let is_own = *owner == *request.user.aor;
        let may_read = is_own
            || request.method == XcapMethod::Get
                && usage.readers == Readers::Granted
                && xcap.has_granted(&self.0, &owner, &request.user.aor).await?;
        if !may_read {
            return Err(Denied::Forbidden);
        }
        let key = DocumentKey { owner, auid: usage.auid.into(), name: target.document.name.clone() };
        if usage.computes(&target.document) {
            if request.method != XcapMethod::Get {
                return Err(Denied::ReadOnly);
            }
            if !is_directory(&target.document) {
                return Err(Refusal::NotFound.into());
            }
            let text = xcap.directory(&key.owner).await?;
            return self.show_made(usage, target, conditions, &text);
        }
        let lists = xcap.settings.rcs_lists && &*key.auid == "resource-lists" && &*key.name == "index";
        if request.method == XcapMethod::Get {
            let mut document = xcap.read(&key).await?;
            if document.is_none() && lists {
                let _lock = xcap.lock(&key.owner).await;
                xcap.make_lists(&self.0, &key).await?;
                document = xcap.load(&key).await?;
            }
            let current = document.as_deref().map(|document| Current { text: &document.text, etag: &document.etag });
            return self.show(usage, target, conditions, current);
        }
        let decide = |current: Option<Current<'_>>| {
            let asked = self.request(usage, target, conditions, current);
            match request.method {
                XcapMethod::Put => asked.put(request.content_type.as_deref(), &request.body),
                _ => asked.delete(),
            }
        };
        let done = xcap.change(&self.0, usage, &key, lists && target.node.is_some(), decide).await?;
        let status = if done.created { 201 } else { 200 };
        Ok(XcapReply { status, etag: done.etag.map(String::from), ..XcapReply::default() })
    }

    fn request<'a>(
        &'a self,
        usage: &'static Usage,
        target: &'a Target<'a>,
        conditions: Conditions<'a>,
        current: Option<Current<'a>>,
    ) -> Request<'a> {
        let Xcap { settings, .. } = &self.0.xcap;
        Request { usage, target, root: &settings.root, limits: &settings.limits, conditions, current }
    }
}

fn is_directory(selector: &DocumentSelector) -> bool {
    &*selector.auid == "org.openmobilealliance.xcap-directory" && &*selector.name == "directory.xml"
}

fn refused(refusal: &Refusal) -> XcapReply {
    let reply = plain(refusal.status(), "");
    match refusal {
        Refusal::Conflict(conflict) => XcapReply { content_type: Some(ERROR_TYPE), body: conflict.to_xml(), ..reply },
        Refusal::NotAllowed(allow) => {
            XcapReply { allow: Some(allow), body: "namespaces are read, not written".into(), ..reply }
        }
        Refusal::BadRequest(error) => XcapReply { body: error.to_string(), ..reply },
        Refusal::UnsupportedMediaType(expected) => XcapReply { body: format!("the body must be {expected}"), ..reply },
        Refusal::TooLarge(max) => XcapReply { body: format!("a document may have {max} bytes"), ..reply },
        Refusal::PreconditionFailed => XcapReply { body: "the document is another by now".into(), ..reply },
        _ => XcapReply { body: "there is no such document or node".into(), ..reply },
    }
}

fn plain(status: u16, detail: &str) -> XcapReply {
    XcapReply { status, body: detail.to_owned(), ..XcapReply::default() }
}
