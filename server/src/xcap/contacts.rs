//! The address book of a user, by CardDAV and in JSON: the document `contacts` of `resource-lists`, so that XCAP, its
//! history, its bounds and its subscriptions see the same.

use std::sync::Arc;

use async_trait::async_trait;
use chappe_api::contacts::{Contacts, DavCall, REST_PATH, RestCall, RestMethod, RestReply};
use chappe_contacts::{Book, DavMethod, DavRequest, Decision, ImportKind, Imported, JsonError, Place, Reply, Wanted};
use chappe_store::{Document, DocumentKey, StoreError};
use chappe_xcap::{Conditions, Current, Refusal, Request, Target, Usage, percent_decode, usage};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::edit::Failed;
use super::owner_of;
use crate::core::Core;

/// Octets of a vCard; a picture in it has to be small.
const MAX_CARD: usize = 64 * 1024;
/// Of the bodies of reports.
const MAX_BODY: usize = 512 * 1024;
const MEDIA_TYPE: &str = "application/resource-lists+xml";
const GONE: &str = "SVC0001";
const INVALID: &str = "SVC0002";

/// The address books of a node, for HTTP.
pub struct ContactsDoor(pub Arc<Core>);

/// What an edit came to, `E` being why it was not made.
enum Edited<T, E> {
    Done(T),
    Refused(E),
    /// The document would have been too large, or there are too many.
    Full,
}

impl ContactsDoor {
    fn usage() -> &'static Usage {
        usage::by_auid(chappe_contacts::AUID).expect("the usage of lists is there")
    }

    fn key(owner: &str) -> DocumentKey {
        DocumentKey { owner: owner.into(), auid: chappe_contacts::AUID.into(), name: chappe_contacts::DOCUMENT.into() }
    }

    fn book(&self, text: Option<&str>) -> Book {
        // What is stored was checked; a bound that was lowered since leaves nothing to show.
        Book::read(text, &self.0.xcap.settings.limits).unwrap_or_else(|error| {
            tracing::warn!(%error, "an address book cannot be read any more");
            Book::empty()
        })
    }

    async fn load(&self, owner: &str) -> Result<(Book, Option<Arc<Document>>), StoreError> {
        let document = self.0.xcap.read(&Self::key(owner)).await?;
        Ok((self.book(document.as_deref().map(|document| &*document.text)), document))
    }

    /// Makes the document of `owner` what `decide` says of it as it is: the new text, and what that means.
    async fn edit<T: Send, E: Send>(
        &self,
        owner: &str,
        decide: impl Fn(&Book) -> Result<(String, T), E> + Send + Sync,
    ) -> Result<Edited<T, E>, StoreError> {
        let xcap = &self.0.xcap;
        let key = Self::key(owner);
        let path = format!("{}/users/sip:{owner}/{}", chappe_contacts::AUID, chappe_contacts::DOCUMENT);
        let Ok(target) = Target::parse(&path, "") else { return Ok(Edited::Full) };
        let outcome = Mutex::new(None);
        let change = |current: Option<Current<'_>>| {
            let book = self.book(current.map(|current| current.text));
            let (text, done) = match decide(&book) {
                Ok(both) => both,
                Err(error) => {
                    *outcome.lock() = Some(Edited::Refused(error));
                    return Err(Refusal::NotFound);
                }
            };
            *outcome.lock() = Some(Edited::Done(done));
            let settings = &xcap.settings;
            let (root, limits, conditions) = (&*settings.root, &settings.limits, Conditions::default());
            let request = Request { usage: Self::usage(), target: &target, root, limits, conditions, current };
            let made = request.put(Some(MEDIA_TYPE), text.as_bytes());
            if made.is_err() {
                *outcome.lock() = Some(Edited::Full);
            }
            made
        };
        let done = xcap.change(&self.0, Self::usage(), &key, false, change).await;
        match (done, outcome.into_inner()) {
            (Err(Failed::Store(error)), _) => Err(error),
            // Over the bounds of the user.
            (Err(Failed::Refused(_)), Some(Edited::Done(_)) | None) => Ok(Edited::Full),
            (_, Some(outcome)) => Ok(outcome),
            (Ok(_), None) => Err(StoreError::Conflict),
        }
    }

    async fn serve_dav(&self, call: &DavCall) -> Result<Reply, StoreError> {
        let status = |status| Reply { status, ..Reply::default() };
        let Some(place) = Place::parse(&call.path) else { return Ok(status(404)) };
        let aor = &call.user.aor;
        if place.user().is_some_and(|user| owner_of(&self.0, user).as_deref() != Some(&**aor)) {
            return Ok(status(403));
        }
        let Ok(body) = str::from_utf8(&call.body) else { return Ok(status(400)) };
        let settings = chappe_contacts::Settings {
            base: chappe_api::contacts::DAV_PATH,
            max_card: MAX_CARD,
            limits: &self.0.xcap.settings.limits,
        };
        let empty = Book::empty();
        let request = DavRequest {
            user: aor,
            place: &place,
            method: call.method,
            depth: call.depth.as_deref(),
            if_match: call.if_match.as_deref(),
            if_none_match: call.if_none_match.as_deref(),
            body,
            settings,
            book: &empty,
            etag: None,
            version: None,
        };
        if matches!(call.method, DavMethod::Put | DavMethod::Delete) {
            let decide = |book: &Book| match chappe_contacts::decide(&DavRequest { book, ..request }) {
                Decision::Do(Wanted::Write(text), reply) => Ok((text, reply)),
                Decision::Do(Wanted::Version(_), _) => Err(status(500)),
                Decision::Reply(reply) => Err(reply),
            };
            return Ok(match self.edit(aor, decide).await? {
                Edited::Done(reply) | Edited::Refused(reply) => reply,
                Edited::Full => status(507),
            });
        }
        let (book, document) = self.load(aor).await?;
        let etag = document.as_deref().map(|document| &*document.etag);
        let request = DavRequest { book: &book, etag, ..request };
        match chappe_contacts::decide(&request) {
            Decision::Reply(reply) => Ok(reply),
            Decision::Do(Wanted::Version(wanted), _) => {
                let old = self.0.stores.documents.version(&Self::key(aor), &wanted).await?;
                let old = old.map(|document| self.book(Some(&document.text)));
                match chappe_contacts::decide(&DavRequest { version: Some(old.as_ref()), ..request }) {
                    Decision::Reply(reply) => Ok(reply),
                    Decision::Do(..) => Ok(status(500)),
                }
            }
            Decision::Do(Wanted::Write(_), _) => Ok(status(500)),
        }
    }

    async fn serve_rest(&self, call: &RestCall) -> Result<RestReply, StoreError> {
        let missing = || RestReply::Refused(404, GONE, "no such resource".into());
        let segments: Vec<&str> = call.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let decoded: Result<Vec<String>, _> = segments.iter().map(|segment| percent_decode(segment)).collect();
        let Ok(decoded) = decoded else { return Ok(RestReply::Refused(400, INVALID, "path".into())) };
        let aor = &*call.user.aor;
        let Some(user) = decoded.first() else { return Ok(missing()) };
        if owner_of(&self.0, user).as_deref() != Some(aor) {
            return Ok(RestReply::Refused(403, "POL0002", user.clone()));
        }
        let base = format!("{}{REST_PATH}/{}/contacts", call.origin, segments[0]);
        let names: Vec<&str> = decoded[1..].iter().map(|segment| &**segment).collect();
        match (call.method, &names[..]) {
            (_, ["contacts", rest @ ..]) if rest.len() > 3 || rest.get(1).is_some_and(|name| *name != "attributes") => {
                Ok(missing())
            }
            (RestMethod::Get, ["contacts"]) => {
                let (book, _) = self.load(aor).await?;
                let all: Vec<Value> =
                    book.contacts.iter().map(|contact| chappe_contacts::contact_document(contact, &base)).collect();
                Ok(RestReply::Shown(200, json!({ "contactCollection": { "contact": all, "resourceURL": base } })))
            }
            (RestMethod::Post, ["contacts"]) => self.import(call, aor).await,
            (RestMethod::Get, ["contacts", uri, rest @ ..]) => {
                let (book, _) = self.load(aor).await?;
                let Some(contact) = book.with_uri(uri) else { return Ok(missing()) };
                let document = chappe_contacts::contact_document(contact, &base);
                let attribute =
                    |wanted: &str| chappe_contacts::attributes(contact).into_iter().find(|a| a.name == wanted);
                Ok(match rest {
                    [] => RestReply::Shown(200, json!({ "contact": document })),
                    [_] => RestReply::Shown(200, json!({ "attributeList": document["attributeList"] })),
                    [_, name, ..] => match attribute(name) {
                        Some(a) => RestReply::Shown(200, json!({ "attribute": { "name": a.name, "value": a.value } })),
                        None => missing(),
                    },
                })
            }
            (RestMethod::Put | RestMethod::Delete, ["contacts", uri, rest @ ..]) if rest.len() != 1 => {
                self.change(call, aor, uri, rest.get(1).copied(), &base).await
            }
            (_, ["contacts"]) => Ok(RestReply::NotAllowed("GET, HEAD, POST")),
            (_, ["contacts", ..]) => Ok(RestReply::NotAllowed("GET, HEAD, PUT, DELETE")),
            _ => Ok(missing()),
        }
    }

    /// POST of a file of contacts.
    async fn import(&self, call: &RestCall, aor: &str) -> Result<RestReply, StoreError> {
        let Some(kind) = call.content_type.as_deref().and_then(ImportKind::of_media_type) else {
            return Ok(RestReply::Refused(415, INVALID, "Content-Type: text/vcard or text/csv is taken".into()));
        };
        let Ok(text) = str::from_utf8(&call.body) else {
            return Ok(RestReply::Refused(400, INVALID, "the file is not UTF-8".into()));
        };
        let decide = |book: &Book| chappe_contacts::import(book, kind, text);
        Ok(match self.edit(aor, decide).await? {
            Edited::Done(Imported { added, updated, refused }) => {
                let refused: Vec<Value> =
                    refused.into_iter().map(|one| json!({ "number": one.number, "reason": one.why })).collect();
                let result = json!({ "added": added, "updated": updated, "refused": refused });
                RestReply::Shown(200, json!({ "importResult": result }))
            }
            Edited::Refused(why) => RestReply::Refused(400, INVALID, why),
            Edited::Full => RestReply::Refused(507, GONE, "the address book is full".into()),
        })
    }

    /// PUT and DELETE of a contact, or of an attribute of one.
    async fn change(
        &self,
        call: &RestCall,
        aor: &str,
        uri: &str,
        attribute: Option<&str>,
        base: &str,
    ) -> Result<RestReply, StoreError> {
        let refused = |error: JsonError| match error {
            JsonError::Invalid(part) => RestReply::Refused(400, INVALID, part.into()),
            JsonError::Attribute => RestReply::Refused(400, INVALID, "attribute".into()),
        };
        let missing = || RestReply::Refused(404, GONE, "no such resource".into());
        let is_put = call.method == RestMethod::Put;
        let decide = |book: &Book| -> Result<(String, u16), RestReply> {
            let known = book.with_uri(uri);
            match (is_put, attribute) {
                (true, None) => {
                    let (name, card) = chappe_contacts::contact(book, uri, &call.body).map_err(refused)?;
                    Ok((book.put(&name, &card), if known.is_some() { 200 } else { 201 }))
                }
                (false, None) => {
                    let text = known.and_then(|contact| book.delete(&contact.name)).ok_or_else(missing)?;
                    Ok((text, 204))
                }
                (true, Some(name)) => {
                    let contact = known.ok_or_else(missing)?;
                    let is_new = chappe_contacts::attributes(contact).iter().all(|attribute| attribute.name != name);
                    let card = chappe_contacts::set_attribute(contact, name, &call.body).map_err(refused)?;
                    Ok((book.put(&contact.name, &card), if is_new { 201 } else { 200 }))
                }
                (false, Some(name)) => {
                    let contact = known.ok_or_else(missing)?;
                    let card =
                        chappe_contacts::without_attribute(contact, name).map_err(refused)?.ok_or_else(missing)?;
                    Ok((book.put(&contact.name, &card), 204))
                }
            }
        };
        let status = match self.edit(aor, decide).await? {
            Edited::Done(status) => status,
            Edited::Refused(reply) => return Ok(reply),
            Edited::Full => return Ok(RestReply::Refused(507, GONE, "the address book is full".into())),
        };
        if status == 204 || attribute.is_some() {
            return Ok(RestReply::Done(status));
        }
        let (book, _) = self.load(aor).await?;
        Ok(match book.with_uri(uri) {
            Some(contact) => {
                RestReply::Shown(status, json!({ "contact": chappe_contacts::contact_document(contact, base) }))
            }
            None => RestReply::Done(status),
        })
    }

    fn failed(&self, error: &StoreError) {
        self.0.counters.store_failed();
        tracing::error!(%error, "address books cannot be read or written");
    }
}

#[async_trait]
impl Contacts for ContactsDoor {
    fn max_body(&self) -> usize {
        MAX_BODY
    }

    async fn dav(&self, call: DavCall) -> Reply {
        self.serve_dav(&call).await.unwrap_or_else(|error| {
            self.failed(&error);
            Reply { status: 503, ..Reply::default() }
        })
    }

    async fn rest(&self, call: RestCall) -> RestReply {
        self.serve_rest(&call).await.unwrap_or_else(|error| {
            self.failed(&error);
            RestReply::Refused(503, GONE, "the store failed".into())
        })
    }
}
