//! Accounts as the operator sees them, on a store: for the running node and for the command line of one that is
//! stopped.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chappe_api::{
    Account, AccountChange, Accounts, Export, Ha1, Imported, List, NewAccount, NodeError, Page, RefusedAccount,
};
use chappe_auth::{Algorithm, Ha1Forms, Ha1Set};
use chappe_store::{AccountError, DocumentKey, Outcome, Secrets, StoreError, Stores, Wanted, Wishes};
use chappe_xcap::usage::rcs;

use crate::lists;

/// Messages that one step of a removal settles.
const BATCH: usize = 500;

/// What has changed in the store, told after it is on disk.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Added, or with other secrets, numbers or name.
    Put(Box<chappe_store::Account>),
    /// Gone, with its bindings.
    Removed(Box<str>),
}

/// Accounts of `domains` in a store.
pub struct StoredAccounts {
    stores: Stores,
    domains: Vec<String>,
    changed: Box<dyn Fn(Changed) + Send + Sync>,
}

impl StoredAccounts {
    /// `changed` is called for each change, from whichever task made it.
    pub fn new(stores: Stores, domains: Vec<String>, changed: impl Fn(Changed) + Send + Sync + 'static) -> Self {
        StoredAccounts { stores, domains, changed: Box::new(changed) }
    }

    /// The account of an address, or of a number of it.
    async fn find(&self, name: &str) -> Result<chappe_store::Account, NodeError> {
        let number = name.strip_prefix("tel:").unwrap_or(name);
        // A number may be the user of an address, too.
        let aor = match number.starts_with('+') && !number.contains('@') {
            true => self.stores.accounts.aor_of(number).await.map_err(unavailable)?,
            false => Some(Aor::parse(name).map_err(|why| NodeError::Invalid { field: "aor", why })?.text),
        };
        let Some(aor) = aor else { return Err(NodeError::NotFound { what: "account" }) };
        let found = self.stores.accounts.account(&aor).await.map_err(unavailable)?;
        found.ok_or(NodeError::NotFound { what: "account" })
    }

    fn admit(&self, new: NewAccount) -> Result<chappe_store::Account, NodeError> {
        let aor = Aor::parse(&new.aor).map_err(|why| NodeError::Invalid { field: "aor", why })?;
        if !self.domains.iter().any(|domain| domain == aor.domain()) {
            let why = format!("{} is not served here; served: {}", aor.domain(), self.domains.join(", "));
            return Err(NodeError::Invalid { field: "aor", why });
        }
        Ok(chappe_store::Account {
            secrets: match &new.ha1 {
                Some(ha1) if new.password.is_empty() => taken_over(ha1)?,
                _ => secrets(&aor.text, &new.password)?,
            },
            aor: aor.text,
            tel: numbers(&new.tel)?,
            display_name: name(&new.display_name)?,
            created: now(),
            disabled: false,
            wishes: Wishes::default(),
        })
    }

    /// With what the user's phone keeps in documents.
    async fn shown_whole(&self, account: &chappe_store::Account) -> Result<Account, NodeError> {
        let document = rcs::document(&account.aor);
        let key = DocumentKey { owner: account.aor.clone(), auid: document.auid, name: document.name };
        let lists = self.stores.documents.document(&key).await.map_err(unavailable)?;
        let contacts = lists.map(|lists| rcs::members(&lists.text, rcs::BLOCKED)).unwrap_or_default();
        Ok(Account { blocked_contacts: contacts.into_iter().collect(), ..shown(account) })
    }

    /// Ends what waits for a user who is gone.
    async fn empty_queue(&self, aor: &str) -> Result<(), StoreError> {
        let wanted = [Wanted { recipient: aor.into(), device: None, after: 0 }];
        loop {
            let waiting = self.stores.queue.pending(&wanted, BATCH).await?.pop().unwrap_or_default();
            if waiting.is_empty() {
                return Ok(());
            }
            let at_ms = now() * 1000;
            let ends = waiting.iter().map(|message| message.settled(Outcome::Refused, None, 404, at_ms)).collect();
            self.stores.queue.settle(ends).await?;
        }
    }
}

#[async_trait]
impl Accounts for StoredAccounts {
    async fn add(&self, account: NewAccount) -> Result<Account, NodeError> {
        let account = self.admit(account)?;
        self.stores.accounts.add(account.clone()).await.map_err(refused)?;
        let shown = shown(&account);
        (self.changed)(Changed::Put(Box::new(account)));
        Ok(shown)
    }

    async fn list(&self, page: Page) -> Result<List<Account>, NodeError> {
        let accounts = self.stores.accounts.page(page.after.as_deref(), page.size()).await.map_err(unavailable)?;
        let items = accounts.iter().map(shown).collect();
        Ok(List::page(items, page.size(), |account: &Account| account.aor.clone()))
    }

    async fn show(&self, aor: &str) -> Result<Account, NodeError> {
        self.shown_whole(&self.find(aor).await?).await
    }

    async fn change(&self, aor: &str, change: AccountChange) -> Result<Account, NodeError> {
        let mut account = self.find(aor).await?;
        if let Some(password) = &change.password {
            account.secrets = secrets(&account.aor, password)?;
        }
        if let Some(tel) = &change.tel {
            account.tel = numbers(tel)?;
        }
        if let Some(display_name) = &change.display_name {
            account.display_name = name(display_name)?;
        }
        account.disabled = change.disabled.unwrap_or(account.disabled);
        if let Some(blocked) = &change.blocked {
            account.wishes.blocked =
                lists::entries(blocked).map_err(|why| NodeError::Invalid { field: "blocked", why })?;
        }
        account.wishes.hides_displayed = change.hides_displayed.unwrap_or(account.wishes.hides_displayed);
        self.stores.accounts.update(account.clone()).await.map_err(refused)?;
        (self.changed)(Changed::Put(Box::new(account.clone())));
        self.shown_whole(&account).await
    }

    async fn remove(&self, aor: &str) -> Result<(), NodeError> {
        let account = self.find(aor).await?;
        self.stores.accounts.remove(&account.aor).await.map_err(refused)?;
        (self.changed)(Changed::Removed(account.aor.clone()));
        self.stores.locations.save(vec![(account.aor.clone(), Vec::new())]).await.map_err(unavailable)?;
        self.stores.devices.remove(&account.aor, None).await.map_err(unavailable)?;
        self.empty_queue(&account.aor).await.map_err(unavailable)
    }

    async fn export(&self, aor: &str) -> Result<Export, NodeError> {
        let account = self.show(aor).await?;
        let names = crate::erase::names(&account);
        crate::export::export(&self.stores, account, &names).await
    }

    async fn import(&self, accounts: Vec<NewAccount>) -> Result<Imported, NodeError> {
        let mut imported = Imported::default();
        let (mut admitted, mut indexes) = (Vec::new(), Vec::new());
        for (index, new) in accounts.into_iter().enumerate() {
            let aor = new.aor.clone();
            match self.admit(new) {
                Ok(account) => {
                    admitted.push(account);
                    indexes.push(index);
                }
                Err(error) => imported.refused.push(RefusedAccount { index, aor, reason: error.to_string() }),
            }
        }
        let outcome = self.stores.accounts.import(admitted.clone()).await.map_err(unavailable)?;
        imported.added = outcome.added;
        let taken: std::collections::HashSet<usize> = outcome.refused.iter().map(|(at, _)| *at).collect();
        for (at, account) in admitted.into_iter().enumerate() {
            if !taken.contains(&at) {
                (self.changed)(Changed::Put(Box::new(account)));
                continue;
            }
            let known = self.stores.accounts.account(&account.aor).await.map_err(unavailable)?;
            let reason = match known {
                Some(known) if is_same(&known, &account) => {
                    imported.unchanged += 1;
                    continue;
                }
                Some(_) => "the account exists, with another password, numbers or name",
                None => "one of its numbers belongs to another account",
            };
            let reason = reason.to_owned();
            imported.refused.push(RefusedAccount { index: indexes[at], aor: account.aor.into(), reason });
        }
        imported.refused.sort_by_key(|refused| refused.index);
        Ok(imported)
    }
}

/// Whether an import that is repeated finds what it had added.
fn is_same(known: &chappe_store::Account, given: &chappe_store::Account) -> bool {
    known.secrets == given.secrets && known.tel == given.tel && known.display_name == given.display_name
}

/// `user@domain`, canonical: the domain in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aor {
    text: Box<str>,
    at: usize,
}

impl Aor {
    /// Reads `user@domain`, also with `sip:` before it. The error is words for the operator.
    pub fn parse(text: &str) -> Result<Aor, String> {
        let text = text.strip_prefix("sip:").unwrap_or(text);
        let Some((user, domain)) = text.rsplit_once('@') else {
            return Err(format!("{text:?} is not USER@DOMAIN"));
        };
        // RFC 3261 §25.1: user = unreserved / user-unreserved; an escaped spelling would be a second name for one user.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
        if user.is_empty() || user.len() > 128 || !user.bytes().all(fits) {
            return Err(format!("{user:?} is no user name: 1 to 128 letters, digits and -_.!~*'()&=+$,;?/"));
        }
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if domain.len() > 253 || !domain.split('.').all(label) {
            return Err(format!("{domain:?} is no domain"));
        }
        Ok(Aor { text: format!("{user}@{}", domain.to_ascii_lowercase()).into(), at: user.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn user(&self) -> &str {
        &self.text[..self.at]
    }

    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

/// What is kept of a password: the digests for each spelling of the user, with the domain as realm (RFC 8760).
fn secrets(aor: &str, password: &str) -> Result<Secrets, NodeError> {
    if password.is_empty() || password.len() > 512 {
        return Err(NodeError::Invalid { field: "password", why: "1 to 512 bytes".into() });
    }
    let (user, realm) = aor.rsplit_once('@').unwrap_or((aor, ""));
    Ok(Secrets(Ha1Forms::from_password(user, realm, password.as_bytes()).to_bytes()))
}

/// The digests that another server kept. Spellings and algorithms that it did not keep stay unknown until the password is set anew.
fn taken_over(ha1: &Ha1) -> Result<Secrets, NodeError> {
    let unknown = || Ha1Set { md5: [0; 16], sha256: [0; 32], sha512_256: [0; 32] };
    let (mut plain, mut at_domain) = (unknown(), unknown());
    read_hex(ha1.md5.as_deref(), "ha1.md5", &mut plain.md5)?;
    read_hex(ha1.sha256.as_deref(), "ha1.sha256", &mut plain.sha256)?;
    read_hex(ha1.sha512_256.as_deref(), "ha1.sha512_256", &mut plain.sha512_256)?;
    read_hex(ha1.md5_at_domain.as_deref(), "ha1.md5_at_domain", &mut at_domain.md5)?;
    if [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256].iter().all(|algorithm| !plain.has(*algorithm)) {
        return Err(NodeError::Invalid { field: "ha1", why: "no digest of the user name itself".into() });
    }
    Ok(Secrets(Ha1Forms { plain, at_domain, uri: unknown() }.to_bytes()))
}

fn read_hex(text: Option<&str>, field: &'static str, out: &mut [u8]) -> Result<(), NodeError> {
    let Some(text) = text else { return Ok(()) };
    let digits = text.as_bytes();
    let fits = digits.len() == 2 * out.len() && digits.iter().all(u8::is_ascii_hexdigit);
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    if fits && out.iter().any(|byte| *byte != 0) {
        return Ok(());
    }
    Err(NodeError::Invalid { field, why: format!("not {} digits of a digest in hexadecimal", 2 * out.len()) })
}

/// Global numbers without their visual separators (RFC 3966 §5.1.1).
fn numbers(tel: &[String]) -> Result<Vec<Box<str>>, NodeError> {
    tel.iter()
        .map(|given| {
            let number: String = given
                .strip_prefix("tel:")
                .unwrap_or(given)
                .chars()
                .filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' '))
                .collect();
            let digits = number.strip_prefix('+').unwrap_or_default();
            if (3..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Ok(number.into());
            }
            let why = format!("{given:?} is not + and 3 to 15 digits, such as +15550001");
            Err(NodeError::Invalid { field: "tel", why })
        })
        .collect()
}

fn name(given: &str) -> Result<Box<str>, NodeError> {
    if given.len() <= 256 && !given.chars().any(char::is_control) {
        return Ok(given.into());
    }
    Err(NodeError::Invalid { field: "display_name", why: "at most 256 bytes without control characters".into() })
}

fn shown(account: &chappe_store::Account) -> Account {
    Account {
        aor: account.aor.to_string(),
        tel: account.tel.iter().map(ToString::to_string).collect(),
        display_name: account.display_name.to_string(),
        created: account.created,
        disabled: account.disabled,
        blocked: account.wishes.blocked.iter().map(ToString::to_string).collect(),
        blocked_contacts: Vec::new(),
        hides_displayed: account.wishes.hides_displayed,
    }
}

fn refused(error: AccountError) -> NodeError {
    match error {
        AccountError::NotFound => NodeError::NotFound { what: "account" },
        AccountError::Exists | AccountError::TelTaken { .. } => NodeError::Conflict { why: error.to_string() },
        AccountError::Store(error) => unavailable(error),
    }
}

/// What a failure of the store is to the operator.
pub fn unavailable(error: StoreError) -> NodeError {
    NodeError::Unavailable { why: error.to_string() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn door() -> (StoredAccounts, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        let door = StoredAccounts::new(Stores::memory(), vec!["example.com".into()], move |changed| {
            log.lock().unwrap().push(match changed {
                Changed::Put(account) => format!("+{}", account.aor),
                Changed::Removed(aor) => format!("-{aor}"),
            });
        });
        (door, told)
    }

    fn new(aor: &str, tel: &[&str]) -> NewAccount {
        let tel = tel.iter().map(|tel| (*tel).to_owned()).collect();
        NewAccount { aor: aor.into(), password: "secret".into(), tel, ..NewAccount::default() }
    }

    #[tokio::test]
    async fn the_life_of_an_account() {
        let (door, told) = door();
        let added = door.add(new("sip:alice@Example.com", &["tel:+1 (555) 000-1"])).await.unwrap();
        assert_eq!((added.aor.as_str(), added.tel.as_slice()), ("alice@example.com", &["+15550001".to_owned()][..]));
        assert!(matches!(door.add(new("alice@example.com", &[])).await, Err(NodeError::Conflict { .. })));
        assert!(matches!(door.add(new("bob@example.com", &["+15550001"])).await, Err(NodeError::Conflict { .. })));
        let change = AccountChange { disabled: Some(true), tel: Some(vec![]), ..AccountChange::default() };
        let changed = door.change("alice@example.com", change).await.unwrap();
        assert!(changed.disabled && changed.tel.is_empty());
        door.remove("alice@example.com").await.unwrap();
        assert_eq!(door.show("alice@example.com").await, Err(NodeError::NotFound { what: "account" }));
        assert_eq!(*told.lock().unwrap(), ["+alice@example.com", "+alice@example.com", "-alice@example.com"]);
    }

    #[tokio::test]
    async fn a_number_leads_to_its_account_and_may_be_a_user_too() {
        let (door, _) = door();
        door.add(new("alice@example.com", &["+15550001"])).await.unwrap();
        door.add(new("+15550001@example.com", &[])).await.unwrap();
        for (name, aor) in [
            ("+15550001", "alice@example.com"),
            ("tel:+15550001", "alice@example.com"),
            ("+15550001@example.com", "+15550001@example.com"),
        ] {
            assert_eq!(door.show(name).await.unwrap().aor, aor, "{name}");
        }
        assert_eq!(door.show("+15550002").await, Err(NodeError::NotFound { what: "account" }));
    }

    #[tokio::test]
    async fn an_import_tells_each_refusal_by_its_place() {
        let (door, told) = door();
        door.add(new("bob@example.com", &[])).await.unwrap();
        let list = vec![
            new("alice@example.com", &[]),
            new("alice@elsewhere.org", &[]),
            new("bob@example.com", &[]),
            new("carol@example.com", &["12"]),
            new("dave@example.com", &["+15550001"]),
            new("erin@example.com", &["+15550001"]),
            NewAccount { password: "another".into(), ..new("bob@example.com", &[]) },
        ];
        let imported = door.import(list).await.unwrap();
        assert_eq!((imported.added, imported.unchanged), (2, 1));
        let refused: Vec<_> = imported.refused.iter().map(|r| (r.index, r.reason.as_str())).collect();
        assert_eq!(
            refused,
            [
                (1, "aor: elsewhere.org is not served here; served: example.com"),
                (3, "tel: \"12\" is not + and 3 to 15 digits, such as +15550001"),
                (5, "one of its numbers belongs to another account"),
                (6, "the account exists, with another password, numbers or name"),
            ]
        );
        assert_eq!(*told.lock().unwrap(), ["+bob@example.com", "+alice@example.com", "+dave@example.com"]);
    }

    #[tokio::test]
    async fn digests_of_another_server_are_taken_over() {
        let (door, _) = door();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let forms = Ha1Forms::from_password("bob", "example.com", b"s3cr3t-pw");
        let kept = |md5: &str| NewAccount {
            password: String::new(),
            ha1: Some(Ha1 {
                md5: Some(md5.to_owned()),
                md5_at_domain: Some(hex(&forms.at_domain.md5)),
                ..Ha1::default()
            }),
            ..new("bob@example.com", &[])
        };
        for wrong in ["", "00000000000000000000000000000000", "0e8359df8d2ad12d237d275cce1c7ab", "g"] {
            let error = door.add(kept(wrong)).await.unwrap_err();
            assert!(matches!(error, NodeError::Invalid { field: "ha1.md5", .. }), "{wrong}: {error}");
        }
        let nothing = NewAccount { ha1: Some(Ha1::default()), password: String::new(), ..new("bob@example.com", &[]) };
        assert!(matches!(door.add(nothing).await, Err(NodeError::Invalid { field: "ha1", .. })));
        let list = || vec![kept(&hex(&forms.plain.md5).to_uppercase())];
        let imported = door.import(list()).await.unwrap();
        assert_eq!((imported.added, imported.unchanged), (1, 0), "{imported:?}");
        let again = door.import(list()).await.unwrap();
        assert_eq!((again.added, again.unchanged, again.refused.len()), (0, 1, 0), "{again:?}");
        let stored = door.stores.accounts.account("bob@example.com").await.unwrap().unwrap();
        let taken = Ha1Forms::from_bytes(&stored.secrets.0);
        assert_eq!((taken.plain.md5, taken.at_domain.md5), (forms.plain.md5, forms.at_domain.md5));
        assert!(!taken.plain.has(Algorithm::Sha256) && !taken.uri.has(Algorithm::Md5));
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("alice@example.com", Some("alice@example.com")),
            ("sip:Alice@EXAMPLE.com", Some("Alice@example.com")),
            ("+15550001@ims.example", Some("+15550001@ims.example")),
            ("alice", None),
            ("@example.com", None),
            ("al ice@example.com", None),
            ("al%69ce@example.com", None),
            ("alice@exa mple.com", None),
            ("alice@", None),
        ] {
            assert_eq!(Aor::parse(text).ok().as_ref().map(Aor::as_str), expected, "{text}");
        }
    }
}
