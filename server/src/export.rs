//! All that is kept of a user, for him to have.

use chappe_api::{Account, Export, ExportedDevice, ExportedDocument, ExportedFile, ExportedMessage, NodeError};
use chappe_chat::Envelope;
use chappe_store::{DocumentKey, QueuedMessage, StoreError, Stores};

use crate::accounts::unavailable;
use crate::erase;
use crate::node::registered;

/// Records read at a time.
const PAGE: usize = 500;

/// Reads everything. `names`: the AOR, and the numbers.
pub async fn export(stores: &Stores, account: Account, names: &[Box<str>]) -> Result<Export, NodeError> {
    collect(stores, account, names).await.map_err(unavailable)
}

async fn collect(stores: &Stores, account: Account, names: &[Box<str>]) -> Result<Export, StoreError> {
    let aor = account.aor.clone();
    let devices = stores.devices.of(&aor).await?;
    let (_, bindings) = stores.locations.bindings(&aor).await?;
    let device = |known: chappe_store::Device| ExportedDevice {
        device: known.device.into(),
        first_seen: known.first_seen,
        last_seen: known.last_seen,
        user_agent: known.user_agent.into(),
        params: known.params.into(),
    };
    Ok(Export {
        devices: devices.into_iter().map(device).collect(),
        registrations: registered(&aor, &bindings).bindings,
        documents: documents(stores, &aor).await?,
        files: files(stores, &aor).await?,
        messages: messages(stores, names).await?,
        groups: crate::service::group::exported(stores, names).await?,
        account,
    })
}

async fn documents(stores: &Stores, aor: &str) -> Result<Vec<ExportedDocument>, StoreError> {
    let mut found = Vec::new();
    for head in stores.documents.of_owner(aor).await? {
        let DocumentKey { auid, name, .. } = &head.key;
        // It may have gone meanwhile.
        let Some(document) = stores.documents.document(&head.key).await? else { continue };
        found.push(ExportedDocument {
            auid: auid.to_string(),
            name: name.to_string(),
            modified: document.modified,
            text: document.text.into(),
        });
    }
    Ok(found)
}

async fn files(stores: &Stores, aor: &str) -> Result<Vec<ExportedFile>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None::<Box<str>>);
    loop {
        let page = stores.files.list(Some(aor), after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id.clone());
        found.extend(page.into_iter().map(|file| ExportedFile {
            id: file.id.into(),
            name: file.name.into(),
            content_type: file.content_type.into(),
            bytes: file.size,
            sha256: file.hash.to_string(),
            created: file.created,
            expires: file.expires,
        }));
    }
}

async fn messages(stores: &Stores, names: &[Box<str>]) -> Result<Vec<ExportedMessage>, StoreError> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = stores.traces.queued_with(names, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found.extend(page.iter().filter(|message| erase::is_about(message, names)).map(queued));
    }
}

fn queued(queued: &QueuedMessage) -> ExportedMessage {
    match Envelope::stored(&queued.headers, queued.body.clone(), queued.message_id.as_deref()) {
        Ok(envelope) => message(queued.accepted_ms, &queued.sender, Some(&queued.recipient), &envelope),
        Err(_) => ExportedMessage {
            at_ms: queued.accepted_ms,
            from: queued.sender.to_string(),
            to: Some(queued.recipient.to_string()),
            message_id: queued.message_id.as_deref().unwrap_or_default().to_owned(),
            content_type: String::new(),
            text: None,
            bytes: Some(queued.body.len() as u64),
        },
    }
}

/// A message as its author or recipient gets it.
pub(crate) fn message(at_ms: u64, from: &str, to: Option<&str>, envelope: &Envelope) -> ExportedMessage {
    let content = envelope.content().unwrap_or_default();
    let text = String::from_utf8(content.to_vec()).ok().filter(|_| envelope.content_type.starts_with("text/"));
    ExportedMessage {
        at_ms,
        from: from.to_owned(),
        to: to.map(str::to_owned),
        message_id: envelope.message_id.to_string(),
        content_type: envelope.content_type.to_string(),
        bytes: text.is_none().then_some(content.len() as u64),
        text,
    }
}
