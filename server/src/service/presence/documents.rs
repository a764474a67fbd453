//! The documents of users that presence keeps to, in memory as far as they are read here: a shard is locked when somebody
//! asks. The store of documents fills it at the start and with each change.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use chappe_presence::book::Book;
use chappe_presence::list::Entry;
use chappe_presence::rules::canonical;
use parking_lot::RwLock;

/// All books, by the AOR of their owner, and whose the addresses of lists are.
#[derive(Default)]
pub struct Books {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    books: HashMap<Box<str>, Arc<Book>, RandomState>,
    /// Owner by canonical address.
    services: HashMap<Box<str>, Box<str>, RandomState>,
}

impl Books {
    pub fn of(&self, owner: &str) -> Option<Arc<Book>> {
        self.tables.read().books.get(owner).cloned()
    }

    /// Takes a document of a user as it is now, `None` where it is gone; whether it means something for presence.
    pub fn take(&self, owner: &str, auid: &str, name: &str, text: Option<&str>) -> bool {
        let mut tables = self.tables.write();
        let mut book = tables.books.get(owner).map_or_else(Book::default, |book| Book::clone(book));
        if !book.take(auid, name, text) {
            return false;
        }
        if auid == "rls-services" {
            tables.services.retain(|_, whose| **whose != *owner);
            for uri in book.services() {
                // Addresses are the first one's who has taken them; the store sees to that.
                tables.services.entry(canonical(uri).into()).or_insert_with(|| owner.into());
            }
        }
        match book.is_empty() {
            true => drop(tables.books.remove(owner)),
            false => drop(tables.books.insert(owner.into(), Arc::new(book))),
        }
        true
    }

    /// The account is gone.
    pub fn forget(&self, owner: &str) {
        let mut tables = self.tables.write();
        tables.books.remove(owner);
        tables.services.retain(|_, whose| **whose != *owner);
    }

    /// The list for subscriptions that a URI names: only its owner may use it.
    pub fn list(&self, uri: &str, watcher: &str, max: usize) -> Option<Vec<Entry>> {
        let name = canonical(uri);
        let book = {
            let tables = self.tables.read();
            let owner = tables.services.get(&*name).filter(|owner| ***owner == *watcher)?;
            tables.books.get(owner).cloned()?
        };
        let address = book.services().find(|service| canonical(service) == name)?.to_owned();
        book.service(&address, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = r#"<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
        <service uri="sip:friends@localhost"><list><rl:entry uri="sip:bob@localhost"/></list></service></rls-services>"#;

    #[test]
    fn a_list_is_its_owners_and_goes_with_its_document() {
        let books = Books::default();
        let list = |who: &str| books.list("sip:friends@LOCALHOST;x=y", who, 10).map(|entries| entries.len());
        assert!(books.take("alice@localhost", "rls-services", "index", Some(SERVICE)));
        assert_eq!((list("alice@localhost"), list("bob@localhost")), (Some(1), None));
        assert!(!books.take("alice@localhost", "pres-content", "index", Some("<x/>")));
        assert!(books.take("alice@localhost", "rls-services", "index", None));
        assert_eq!((list("alice@localhost"), books.of("alice@localhost")), (None, None));
        books.take("alice@localhost", "rls-services", "index", Some(SERVICE));
        books.forget("alice@localhost");
        assert_eq!(list("alice@localhost"), None);
    }
}
