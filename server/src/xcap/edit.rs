//! Changes: decided on the document as it is, written with the tag that they were decided on, told when they are on disk.

use std::sync::Arc;

use chappe_store::{Document, DocumentError, DocumentKey, DocumentWrite, StoreError};
use chappe_xcap::{Change, Claim, Conflict, Current, Decision, Exists, Patch, Refusal, Usage, parse, usage};

use super::{DocumentChange, Xcap, new_etag, selector_of};
use crate::core::{Core, epoch_seconds};

/// What a change came to.
pub(super) struct Done {
    pub(super) created: bool,
    /// `None`: the document is gone.
    pub(super) etag: Option<Box<str>>,
}

/// Why there was no change.
#[derive(Debug)]
pub(super) enum Failed {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed::Store(error)
    }
}

/// Decides anew when another process has written in between.
const TRIES: usize = 5;
/// Suggestions for each name that is taken.
const ALTERNATIVES: usize = 3;

impl Xcap {
    /// Changes a document as `decide` says, given what it is now.
    pub(super) async fn change(
        &self,
        core: &Arc<Core>,
        usage: &'static Usage,
        key: &DocumentKey,
        rcs_lists: bool,
        decide: impl Fn(Option<Current<'_>>) -> Decision<Change> + Send + Sync,
    ) -> Result<Done, Failed> {
        let _lock = self.lock(&key.owner).await;
        if rcs_lists {
            self.make_lists(core, key).await?;
        }
        for _ in 0..TRIES {
            let before = self.load(key).await?;
            let current = before.as_deref().map(|document| Current { text: &document.text, etag: &document.etag });
            let change = decide(current)?;
            // What stays the same keeps its tag (§8.5).
            if let (Some(before), Some(text)) = (&before, &change.text)
                && *before.text == **text
            {
                return Ok(Done { created: change.created, etag: Some(before.etag.clone()) });
            }
            let claims = match &change.text {
                Some(text) => claims(usage, text),
                None => Vec::new(),
            };
            self.check_names(core, key, &claims).await?;
            match self.write(core, usage, key, before, change.text, change.patch, &claims).await {
                Ok(etag) => return Ok(Done { created: change.created, etag }),
                Err(DocumentError::Changed) => self.cache.forget(&key.owner),
                Err(DocumentError::Taken(names)) => return Err(self.taken(core, key, &claims, &names).await?),
                Err(DocumentError::TooMany) => {
                    let conflict = Conflict::Quota { what: "documents", limit: self.settings.documents_per_user };
                    return Err(Refusal::Conflict(conflict).into());
                }
                Err(DocumentError::TooLarge) => {
                    let conflict = Conflict::Quota { what: "bytes", limit: self.settings.bytes_per_user };
                    return Err(Refusal::Conflict(conflict).into());
                }
                Err(DocumentError::Store(error)) => return Err(error.into()),
            }
        }
        Err(Failed::Store(StoreError::Conflict))
    }

    #[allow(clippy::too_many_arguments)] // One write, with all that goes with it.
    async fn write(
        &self,
        core: &Arc<Core>,
        usage: &'static Usage,
        key: &DocumentKey,
        before: Option<Arc<Document>>,
        text: Option<String>,
        patch: Option<Patch>,
        claims: &[Claim],
    ) -> Result<Option<Box<str>>, DocumentError> {
        let now = epoch_seconds();
        let next = text.map(|text| Document { etag: new_etag(), modified: now, text: text.into() });
        let write = DocumentWrite {
            key: key.clone(),
            seen: before.as_ref().map(|document| document.etag.clone()),
            next: next.clone(),
            at: now,
            claims: usage.has_claims().then(|| claims.iter().map(|claim| claim.value.clone()).collect()),
            keep: self.settings.versions,
            most_documents: self.settings.documents_per_user,
            most_bytes: self.settings.bytes_per_user,
        };
        self.documents.write(write).await?;
        let after = next.map(Arc::new);
        self.cache.put(key.clone(), after.clone());
        let etag = after.as_ref().map(|document| document.etag.clone());
        self.tell(core, &DocumentChange { key: key.clone(), selector: selector_of(key), before, after, patch });
        Ok(etag)
    }

    /// The lists of RCS, unless the user has or had some. With the lock of the owner held.
    pub(super) async fn make_lists(&self, core: &Arc<Core>, key: &DocumentKey) -> Result<(), Failed> {
        if self.load(key).await?.is_some() || !self.documents.versions(key).await?.is_empty() {
            return Ok(());
        }
        let text = usage::rcs::lists(&self.settings.root, &format!("sip:{}", key.owner));
        let usage = usage::by_auid(&key.auid).expect("the usage of lists is there");
        match self.write(core, usage, key, None, Some(text), None, &[]).await {
            // The bounds of a user who has filled them up let in no more.
            Ok(_) | Err(DocumentError::Changed | DocumentError::TooMany | DocumentError::TooLarge) => Ok(()),
            Err(DocumentError::Store(error)) => Err(error.into()),
            Err(DocumentError::Taken(_)) => Ok(()),
        }
    }

    /// A name must not be somebody's address (RFC 4826 §4.4.5).
    async fn check_names(&self, core: &Arc<Core>, key: &DocumentKey, claims: &[Claim]) -> Result<(), Failed> {
        let people: Vec<Box<str>> =
            claims.iter().filter(|claim| is_somebody(core, &claim.value)).map(|claim| claim.value.clone()).collect();
        if people.is_empty() { Ok(()) } else { Err(self.taken(core, key, claims, &people).await?) }
    }

    /// The conflict that names what is taken, with names that are free.
    async fn taken(
        &self,
        core: &Arc<Core>,
        key: &DocumentKey,
        claims: &[Claim],
        names: &[Box<str>],
    ) -> Result<Failed, StoreError> {
        let mut exists = Vec::new();
        for claim in claims.iter().filter(|claim| names.contains(&claim.value)) {
            let candidates: Vec<Box<str>> = (2..2 + 2 * ALTERNATIVES).map(|n| numbered(&claim.value, n)).collect();
            let taken = self.documents.taken(&key.auid, &candidates).await?;
            let free = candidates.iter().zip(taken).filter(|(name, taken)| !taken && !is_somebody(core, name));
            let alternatives = free.take(ALTERNATIVES).map(|(name, _)| name.to_string()).collect();
            exists.push(Exists { field: claim.field.clone(), alternatives });
        }
        let phrase = format!("in use: {}", names.join(", "));
        Ok(Refusal::Conflict(Conflict::UniquenessFailure { phrase, exists }).into())
    }
}

fn claims(usage: &Usage, text: &str) -> Vec<Claim> {
    // It was checked just before.
    let limits = chappe_xcap::Limits { size: text.len(), ..chappe_xcap::Limits::default() };
    if !usage.has_claims() {
        return Vec::new();
    }
    parse(text, &limits).map(|document| usage.claims(&document)).unwrap_or_default()
}

fn is_somebody(core: &Core, uri: &str) -> bool {
    uri.contains(':') && super::owner_of(core, uri).is_some()
}

/// `sip:friends@example.com` becomes `sip:friends-2@example.com`.
fn numbered(uri: &str, n: usize) -> Box<str> {
    match uri.rsplit_once('@') {
        Some((user, domain)) => format!("{user}-{n}@{domain}").into(),
        None => format!("{uri}-{n}").into(),
    }
}
