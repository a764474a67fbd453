//! Accounts in memory: who exists, their secrets and their numbers. The store holds the same; changes go through
//! [`Directory::put`] and [`Directory::remove`] after the store has them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ahash::RandomState;
use chappe_auth::{Ha1Forms, Ha1Set, Username};
use chappe_store::{Account, Secrets};
use parking_lot::RwLock;

use crate::core::epoch_seconds;
use crate::lists::Lists;
use crate::provisioning::DevicePasswords;
use crate::sign_ins::SignInTable;

/// What the SIP side needs of an account.
#[derive(Debug)]
pub struct Entry {
    pub aor: Box<str>,
    pub secrets: Secrets,
    /// Numbers with their `+`.
    pub tel: Box<[Box<str>]>,
    pub display_name: Box<str>,
    pub disabled: bool,
    /// What the user has decided about others; `None` for most.
    pub lists: Option<Box<Lists>>,
}

#[derive(Default)]
struct Tables {
    by_aor: HashMap<Box<str>, Arc<Entry>, RandomState>,
    by_tel: HashMap<Box<str>, Arc<Entry>, RandomState>,
}

/// Accounts by AOR and by telephone number.
#[derive(Default)]
pub struct Directory {
    tables: RwLock<Tables>,
    /// Set once, where devices are given passwords of their own; good while they are listed.
    devices: OnceLock<(DevicePasswords, Arc<SignInTable>)>,
}

impl Directory {
    pub fn find(&self, aor: &str) -> Option<Arc<Entry>> {
        self.tables.read().by_aor.get(aor).cloned()
    }

    /// The account behind a username of digest, and the secrets for that spelling: the user's own, or those of a device
    /// that was given a password of its own.
    pub fn secrets(&self, name: &Username<'_>, realm: &str) -> Option<(Arc<Entry>, Ha1Set)> {
        let mut aor = String::with_capacity(name.user.len() + 1 + realm.len());
        aor.push_str(name.user);
        aor.push('@');
        aor.push_str(realm);
        if let Some(entry) = self.find(&aor) {
            let secrets = Ha1Forms::from_bytes(&entry.secrets.0).get(name.form).clone();
            return Some((entry, secrets));
        }
        let (passwords, listed) = self.devices.get()?;
        let (owner, mark, secrets) = passwords.secrets(name, realm)?;
        if !listed.is_good(&owner, &mark, epoch_seconds()) {
            return None;
        }
        Some((self.find(&owner)?, secrets))
    }

    /// Devices have passwords of their own from now on.
    pub fn set_devices(&self, devices: DevicePasswords, listed: Arc<SignInTable>) {
        let _ = self.devices.set((devices, listed));
    }

    pub fn exists(&self, aor: &str) -> bool {
        self.tables.read().by_aor.contains_key(aor)
    }

    /// By a global number, or by a local one that is the user part of an account.
    pub fn find_tel(&self, number: &str) -> Option<Arc<Entry>> {
        self.tables.read().by_tel.get(number).cloned()
    }

    pub fn put(&self, account: Account) {
        let entry = Arc::new(Entry {
            aor: account.aor,
            secrets: account.secrets,
            tel: account.tel.into_boxed_slice(),
            display_name: account.display_name,
            disabled: account.disabled,
            lists: Lists::of(&account.wishes),
        });
        let mut tables = self.tables.write();
        tables.forget(&entry.aor);
        for tel in &entry.tel {
            tables.by_tel.insert(tel.clone(), Arc::clone(&entry));
        }
        tables.by_aor.insert(entry.aor.clone(), entry);
    }

    pub fn remove(&self, aor: &str) {
        self.tables.write().forget(aor);
    }

    pub fn len(&self) -> usize {
        self.tables.read().by_aor.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tables {
    fn forget(&mut self, aor: &str) {
        if let Some(old) = self.by_aor.remove(aor) {
            for tel in &old.tel {
                self.by_tel.remove(tel);
            }
        }
    }
}
