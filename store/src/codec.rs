//! Records as bytes: a version, then fields in order. New fields go behind the old ones, so that an older program reads
//! what a newer one of the same version wrote; a change of meaning takes a new version.

mod group;

use bytes::Bytes;
use chappe_sip::registrar::{Binding, Parts};

use crate::{
    Account, ContentHash, ConversationId, Counts, Entry, Event, Fate, NewEntry, NewMessage, QueuedMessage, Secrets,
    SignIn, SignInKind, StoreError, StoredFile, StoredThumbnail, Wants, Wishes,
};

pub(crate) use group::{put_group_entry, take_group_entry};

const VERSION: u8 = 1;

/// Bytes at the start of a queued message that hold all that [`queue_head`] reads, unless its names are very long.
pub(crate) const QUEUE_HEAD: usize = 300;

/// FNV-1a, 64 bits: stable over versions and machines, for sharding and look-up hints; not against an adversary.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Fields as they are written.
trait Put {
    fn num(&mut self, value: u64);
    fn text(&mut self, value: &str);
    fn blob(&mut self, value: &[u8]);

    fn maybe(&mut self, value: Option<&str>) {
        // One more than the length, so that 0 says "none" and an empty text stays one.
        match value {
            None => self.num(0),
            Some(text) => {
                self.num(text.len() as u64 + 1);
                self.raw(text.as_bytes());
            }
        }
    }

    fn raw(&mut self, value: &[u8]);
}

impl Put for Vec<u8> {
    fn num(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn text(&mut self, value: &str) {
        self.blob(value.as_bytes());
    }

    fn blob(&mut self, value: &[u8]) {
        self.num(value.len() as u64);
        self.extend_from_slice(value);
    }

    fn raw(&mut self, value: &[u8]) {
        self.extend_from_slice(value);
    }
}

/// Fields as they are read; an end that comes too early is damage.
struct Take<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Take<'a> {
    fn new(bytes: &'a [u8], what: &'static str) -> Result<Take<'a>, StoreError> {
        let mut take = Take { rest: bytes, what };
        if take.byte()? != VERSION { Err(take.damaged()) } else { Ok(take) }
    }

    fn damaged(&self) -> StoreError {
        StoreError::Corrupt { what: self.what }
    }

    fn byte(&mut self) -> Result<u8, StoreError> {
        Ok(self.raw(1)?[0])
    }

    fn raw(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(self.damaged())?;
        self.rest = rest;
        Ok(head)
    }

    fn num(&mut self) -> Result<u64, StoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, StoreError> {
        T::try_from(self.num()?).map_err(|_| self.damaged())
    }

    fn blob(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.small()?;
        self.raw(len)
    }

    fn str(&mut self, len: usize) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.raw(len)?).map_err(|_| self.damaged())
    }

    fn borrowed(&mut self) -> Result<&'a str, StoreError> {
        let len = self.small()?;
        self.str(len)
    }

    fn text(&mut self) -> Result<Box<str>, StoreError> {
        self.borrowed().map(Into::into)
    }

    fn maybe(&mut self) -> Result<Option<Box<str>>, StoreError> {
        match self.small::<usize>()? {
            0 => Ok(None),
            len => Ok(Some(self.str(len - 1)?.into())),
        }
    }
}

/// The secrets, then what may grow.
pub(crate) fn put_account(account: &Account) -> Vec<u8> {
    let mut out = vec![VERSION, u8::from(account.disabled)];
    out.extend_from_slice(&account.secrets.0);
    out.num(account.created);
    out.text(&account.display_name);
    out.num(account.tel.len() as u64);
    account.tel.iter().for_each(|tel| out.text(tel));
    // Nothing where there are none, as accounts were written before there could be.
    if !account.wishes.is_default() {
        out.push(u8::from(account.wishes.hides_displayed));
        out.num(account.wishes.blocked.len() as u64);
        account.wishes.blocked.iter().for_each(|uri| out.text(uri));
    }
    out
}

pub(crate) fn take_account(aor: &str, bytes: &[u8]) -> Result<Account, StoreError> {
    fn secret<const N: usize>(take: &mut Take<'_>) -> Result<[u8; N], StoreError> {
        let damaged = take.damaged();
        take.raw(N)?.try_into().map_err(|_| damaged)
    }
    let mut take = Take::new(bytes, "account")?;
    let disabled = take.byte()? != 0;
    let secrets = Secrets(secret(&mut take)?);
    let (created, display_name) = (take.num()?, take.text()?);
    let tel = (0..take.num()?).map(|_| take.text()).collect::<Result<_, _>>()?;
    let mut wishes = Wishes::default();
    if !take.rest.is_empty() {
        wishes.hides_displayed = take.byte()? != 0;
        wishes.blocked = (0..take.num()?).map(|_| take.text()).collect::<Result<_, _>>()?;
    }
    Ok(Account { aor: aor.into(), secrets, tel, display_name, created, disabled, wishes })
}

/// Each binding with its length before it, so that an older program skips the fields it does not know.
pub(crate) fn put_bindings(bindings: &[Binding]) -> Vec<u8> {
    let mut out = vec![VERSION];
    let mut one = Vec::with_capacity(256);
    out.num(bindings.len() as u64);
    for binding in bindings {
        one.clear();
        one.text(binding.contact());
        one.text(binding.params());
        one.maybe(binding.instance_id());
        one.num(binding.reg_id().map_or(0, |id| u64::from(id) + 1));
        one.text(binding.call_id());
        one.num(u64::from(binding.cseq));
        one.num(u64::from(binding.q));
        one.text(binding.path());
        one.text(binding.received());
        one.num(binding.registered());
        one.num(binding.expires());
        one.text(binding.user_agent());
        one.push(u8::from(binding.dormant));
        out.blob(&one);
    }
    out
}

pub(crate) fn take_bindings(bytes: &[u8]) -> Result<Vec<Binding>, StoreError> {
    let mut list = Take::new(bytes, "binding")?;
    (0..list.num()?)
        .map(|_| {
            let mut take = Take { rest: list.blob()?, what: list.what };
            let parts = Parts {
                contact: take.borrowed()?,
                params: take.borrowed()?,
                instance_id: match take.small::<usize>()? {
                    0 => None,
                    len => Some(take.str(len - 1)?),
                },
                reg_id: match take.small::<u32>()? {
                    0 => None,
                    more => Some(more - 1),
                },
                call_id: take.borrowed()?,
                cseq: take.small()?,
                q: take.small()?,
                path: take.borrowed()?,
                flow: None,
                received: take.borrowed()?,
                registered: take.num()?,
                expires: take.num()?,
                user_agent: take.borrowed()?,
                dormant: take.byte()? != 0,
            };
            Binding::new(parts).map_err(|_| take.damaged())
        })
        .collect()
}

/// What the index of the queue needs comes first; the body is the rest, so that it is read without a copy.
pub(crate) fn put_message(message: &NewMessage) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.size() + message.recipient.len() + message.sender.len() + 160);
    out.push(VERSION);
    out.num(message.expires_at);
    out.num(message.size() as u64);
    out.text(&message.recipient);
    out.maybe(message.device.as_deref());
    out.push(message.wants.0);
    out.num(message.accepted_ms);
    out.text(&message.sender);
    out.maybe(message.message_id.as_deref());
    out.text(&message.call_id);
    out.blob(&message.headers);
    out.extend_from_slice(&message.body);
    out
}

pub(crate) fn take_message(id: u64, bytes: Bytes) -> Result<QueuedMessage, StoreError> {
    let mut take = Take::new(&bytes, "queued message")?;
    let (expires_at, _size) = (take.num()?, take.num()?);
    let (recipient, device, wants) = (take.text()?, take.maybe()?, Wants(take.byte()?));
    let (accepted_ms, sender, message_id, call_id) = (take.num()?, take.text()?, take.maybe()?, take.text()?);
    let headers = bytes.slice_ref(take.blob()?);
    let body = bytes.slice_ref(take.rest);
    Ok(QueuedMessage {
        id,
        recipient,
        device,
        sender,
        message_id,
        call_id,
        headers,
        body,
        accepted_ms,
        expires_at,
        wants,
    })
}

/// What the index keeps of a queued message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueHead {
    pub(crate) expires_at: u64,
    pub(crate) size: u64,
    pub(crate) recipient: Box<str>,
    pub(crate) device: Option<Box<str>>,
}

pub(crate) fn queue_head(bytes: &[u8]) -> Result<QueueHead, StoreError> {
    let mut take = Take::new(bytes, "queued message")?;
    Ok(QueueHead { expires_at: take.num()?, size: take.num()?, recipient: take.text()?, device: take.maybe()? })
}

/// Fates that were written together: one row holds them all, since a row of its own for each costs more than the fate.
pub(crate) fn put_fates<'a>(fates: impl Iterator<Item = &'a Fate>) -> Vec<u8> {
    let mut out = vec![VERSION];
    for fate in fates {
        out.push(fate.event as u8);
        out.num(u64::from(fate.detail));
        out.num(fate.at_ms);
        out.maybe(fate.message_id.as_deref());
        out.text(&fate.call_id);
        out.text(&fate.recipient);
        out.maybe(fate.device.as_deref());
    }
    out
}

pub(crate) fn take_fates(bytes: &[u8]) -> Result<Vec<Fate>, StoreError> {
    let mut take = Take::new(bytes, "fate")?;
    let mut fates = Vec::new();
    while !take.rest.is_empty() {
        let event = take.byte()?;
        fates.push(Fate {
            event: Event::ALL.into_iter().find(|e| *e as u8 == event).ok_or(take.damaged())?,
            detail: take.small()?,
            at_ms: take.num()?,
            message_id: take.maybe()?,
            call_id: take.text()?,
            recipient: take.text()?,
            device: take.maybe()?,
        });
    }
    Ok(fates)
}

/// Short hint of a Message-ID or Call-ID, for finding the row of fates that may hold it.
pub(crate) fn fate_hint(id: &str) -> u32 {
    let hash = fnv(id.as_bytes());
    (hash ^ (hash >> 32)) as u32
}

/// The hints of some fates, four bytes each.
pub(crate) fn put_hints<'a>(fates: impl Iterator<Item = &'a Fate>) -> Vec<u8> {
    let mut hints: Vec<u32> =
        fates.flat_map(|fate| fate.message_id.iter().chain([&fate.call_id]).map(|id| fate_hint(id))).collect();
    hints.sort_unstable();
    hints.dedup();
    hints.iter().flat_map(|hint| hint.to_le_bytes()).collect()
}

pub(crate) fn has_hint(hints: &[u8], hint: u32) -> bool {
    hints.chunks_exact(4).any(|four| four == hint.to_le_bytes())
}

pub(crate) fn put_counts(counts: &Counts) -> Vec<u8> {
    let mut out = vec![VERSION];
    [counts.accepted, counts.delivered, counts.expired, counts.refused].into_iter().for_each(|count| out.num(count));
    out
}

/// `stored` is not kept.
pub(crate) fn take_counts(bytes: &[u8]) -> Result<Counts, StoreError> {
    let mut take = Take::new(bytes, "counts")?;
    let (accepted, delivered, expired, refused) = (take.num()?, take.num()?, take.num()?, take.num()?);
    Ok(Counts { accepted, stored: 0, delivered, expired, refused })
}

/// The content is the rest, so that it is read without a copy; the conversation is a column.
pub(crate) fn put_entry(entry: &NewEntry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.content.len() + entry.author.len() + 64);
    out.push(VERSION);
    out.num(entry.at_ms);
    out.text(&entry.author);
    out.maybe(entry.message_id.as_deref());
    // Room for fields to come: what is behind it is the content.
    out.num(0);
    out.extend_from_slice(&entry.content);
    out
}

pub(crate) fn take_entry(id: u64, conversation: ConversationId, bytes: Bytes) -> Result<Entry, StoreError> {
    let mut take = Take::new(&bytes, "entry of a conversation")?;
    let (at_ms, author, message_id) = (take.num()?, take.text()?, take.maybe()?);
    take.blob()?;
    let content = bytes.slice_ref(take.rest);
    Ok(Entry { id, conversation, author, message_id, at_ms, content })
}

/// Members in the order of their names.
pub(crate) fn put_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = vec![VERSION];
    names.for_each(|name| out.text(name));
    out
}

pub(crate) fn take_names(bytes: &[u8]) -> Result<Vec<Box<str>>, StoreError> {
    let mut take = Take::new(bytes, "members of a conversation")?;
    let mut names = Vec::new();
    while !take.rest.is_empty() {
        names.push(take.text()?);
    }
    Ok(names)
}

/// What a device said of itself: Contact parameters, User-Agent.
pub(crate) fn put_device(params: &str, user_agent: &str) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.text(params);
    out.text(user_agent);
    out
}

pub(crate) fn take_device(bytes: &[u8]) -> Result<(Box<str>, Box<str>), StoreError> {
    let mut take = Take::new(bytes, "device")?;
    Ok((take.text()?, take.text()?))
}

/// All but the id, which is a column.
pub(crate) fn put_file(file: &StoredFile) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.text(&file.owner);
    out.maybe(file.tid.as_deref());
    out.text(&file.name);
    out.text(&file.content_type);
    out.num(file.size);
    out.blob(&file.hash.0);
    out.num(file.created);
    out.num(file.expires);
    out.maybe(file.thumbnail.as_ref().map(|thumbnail| &*thumbnail.content_type));
    if let Some(thumbnail) = &file.thumbnail {
        out.num(thumbnail.size);
        out.blob(&thumbnail.hash.0);
    }
    out
}

pub(crate) fn take_file(id: &str, bytes: &[u8]) -> Result<StoredFile, StoreError> {
    let mut take = Take::new(bytes, "uploaded file")?;
    let (owner, tid, name, content_type) = (take.text()?, take.maybe()?, take.text()?, take.text()?);
    let (size, hash, created, expires) = (take.num()?, take_hash(&mut take)?, take.num()?, take.num()?);
    let thumbnail = match take.maybe()? {
        Some(content_type) => Some(StoredThumbnail { content_type, size: take.num()?, hash: take_hash(&mut take)? }),
        None => None,
    };
    Ok(StoredFile { id: id.into(), owner, tid, name, content_type, size, hash, thumbnail, created, expires })
}

fn take_hash(take: &mut Take<'_>) -> Result<ContentHash, StoreError> {
    take.blob()?.try_into().map(ContentHash).map_err(|_| take.damaged())
}

/// Numbers of eight bytes each: keys of receipts, ids of messages.
/// AOR and id are columns.
pub(crate) fn put_sign_in(sign_in: &SignIn) -> Vec<u8> {
    let mut out = vec![VERSION, sign_in.kind as u8];
    out.text(&sign_in.name);
    let numbers = [sign_in.created, sign_in.last_seen, sign_in.expires, sign_in.turn];
    numbers.into_iter().for_each(|number| out.num(number));
    out.text(&sign_in.scope);
    out
}

pub(crate) fn take_sign_in(aor: &str, id: &str, bytes: &[u8]) -> Result<SignIn, StoreError> {
    let mut take = Take::new(bytes, "sign-in")?;
    let kind = match take.byte()? {
        1 => SignInKind::Device,
        2 => SignInKind::Token,
        _ => return Err(take.damaged()),
    };
    let name = take.text()?;
    let (created, last_seen, expires, turn) = (take.num()?, take.num()?, take.num()?, take.num()?);
    let scope = take.text()?;
    Ok(SignIn { aor: aor.into(), id: id.into(), kind, name, created, last_seen, expires, turn, scope })
}

pub(crate) fn put_keys(keys: &[u64]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.to_le_bytes()).collect()
}

pub(crate) fn take_keys(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|eight| u64::from_le_bytes(std::array::from_fn(|at| eight[at])))
}
