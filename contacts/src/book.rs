//! The list that holds an address book, and what its entries are as vCards.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Range;

use chappe_xcap::{Limits, XmlError, canonical_xui, xml_escape};
use roxmltree::Node;

use crate::card::Card;

/// The application usage of the document.
pub const AUID: &str = "resource-lists";
/// Its name in the home directory of its owner.
pub const DOCUMENT: &str = "contacts";
/// The list in it.
pub const LIST: &str = "contacts";

const LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";
const OURS: &str = "urn:chappe:params:xml:ns:contact";
/// Begins the address of a contact that has none.
const NO_URI: &str = "urn:chappe:contact:";

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Of its resource in CardDAV: a path segment.
    pub name: String,
    /// Of the entry: its first address.
    pub uri: String,
    pub card: Card,
    /// Of the vCard as [`Card::to_text`] writes it whole.
    pub etag: String,
    /// Of the entry, in the text.
    range: Range<usize>,
    /// Children of the entry that are not ours, as they stand there.
    others: String,
}

/// An address book.
#[derive(Debug, Clone)]
pub struct Book {
    text: Option<String>,
    pub contacts: Vec<Contact>,
    /// Where a new entry goes, if there is a list with an end tag.
    end: Option<usize>,
}

impl Book {
    /// Reads the document; `None` is one that is not there yet.
    pub fn read(text: Option<&str>, limits: &Limits) -> Result<Book, XmlError> {
        let Some(text) = text else { return Ok(Book::empty()) };
        let document = chappe_xcap::parse(text, limits)?;
        let list = document.root_element().children().find(|child| is_list(child));
        let mut book = Book { text: Some(text.to_owned()), contacts: Vec::new(), end: None };
        let Some(list) = list else { return Ok(book) };
        let whole = &text[list.range()];
        book.end = whole.ends_with('>').then(|| whole.rfind("</")).flatten().map(|at| list.range().start + at);
        for entry in list.children().filter(|child| child.has_tag_name((LISTS, "entry"))) {
            if let Some(contact) = contact(text, entry) {
                book.contacts.push(contact);
            }
        }
        Ok(book)
    }

    /// A book that is not there yet.
    pub fn empty() -> Book {
        Book { text: None, contacts: Vec::new(), end: None }
    }

    /// By the name of its resource.
    pub fn named(&self, name: &str) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.name == name)
    }

    /// By any of its addresses.
    pub fn with_uri(&self, uri: &str) -> Option<&Contact> {
        let wanted = canonical_xui(uri);
        let is = |own: &str| canonical_xui(own) == wanted;
        let first = self.contacts.iter().find(|contact| is(&contact.uri));
        first.or_else(|| self.contacts.iter().find(|contact| contact.card.uris().iter().any(|own| is(own))))
    }

    /// The document with a contact of that name, in place of the one that has it now.
    pub fn put(&self, name: &str, card: &Card) -> String {
        self.put_all(&[(name.to_owned(), card.clone())])
    }

    /// The same for several, each of another name. An address is that of the first entry that has it.
    pub fn put_all(&self, cards: &[(String, Card)]) -> String {
        let replaced: HashSet<&str> = cards.iter().map(|(name, _)| &**name).collect();
        let others = self.contacts.iter().filter(|contact| !replaced.contains(&*contact.name));
        let mut taken: HashSet<String> = others.map(|other| canonical_xui(&other.uri)).collect();
        let (mut changes, mut new): (Vec<(Range<usize>, String)>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, card) in cards {
            let old = self.named(name);
            let free = card.uris().into_iter().find(|uri| taken.insert(canonical_xui(uri)));
            let uri = free.unwrap_or_else(|| format!("{NO_URI}{name}"));
            let entry = entry(name, &uri, card, old.map_or("", |old| &old.others));
            match old {
                Some(old) => changes.push((old.range.clone(), entry)),
                None => new.push(entry),
            }
        }
        let new = new.join("\n");
        let Some(text) = &self.text else {
            return format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"{LISTS}\">\n<list name=\"{LIST}\">\n{new}\n</list>\n</resource-lists>\n"
            );
        };
        match self.end {
            _ if new.is_empty() => {}
            Some(end) => changes.push((end..end, format!("{new}\n"))),
            None => return self.with_list(text, &new),
        }
        // From the end, so that what is before stays where it is.
        changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = text.clone();
        for (range, with) in changes {
            text.replace_range(range, &with);
        }
        text
    }

    /// The document without a contact; `None` if there is none of that name.
    pub fn delete(&self, name: &str) -> Option<String> {
        let (text, contact) = (self.text.as_ref()?, self.named(name)?);
        Some(spliced(text, contact.range.clone(), ""))
    }

    /// A document whose list is not there, or `<list name="contacts"/>`.
    fn with_list(&self, text: &str, entry: &str) -> String {
        let list = format!("<list xmlns=\"{LISTS}\" name=\"{LIST}\">\n{entry}\n</list>");
        let Ok(document) = roxmltree::Document::parse(text) else { return text.to_owned() };
        let root = document.root_element();
        if let Some(empty) = root.children().find(is_list) {
            return spliced(text, empty.range(), &list);
        }
        match text[root.range()].rfind("</") {
            Some(at) if !text[root.range()].ends_with("/>") => {
                let at = root.range().start + at;
                spliced(text, at..at, &format!("{list}\n"))
            }
            _ => spliced(text, root.range(), &format!("<resource-lists xmlns=\"{LISTS}\">{list}</resource-lists>")),
        }
    }
}

fn entry(name: &str, uri: &str, card: &Card, others: &str) -> String {
    format!(
        "<entry xmlns=\"{LISTS}\" uri=\"{}\"><display-name>{}</display-name>{others}<card xmlns=\"{OURS}\" name=\"{}\">{}</card></entry>",
        xml_escape(uri),
        xml_escape(&card.display_name()),
        xml_escape(name),
        xml_escape(&card.unfolded()),
    )
}

fn is_list(node: &Node<'_, '_>) -> bool {
    node.has_tag_name((LISTS, "list")) && node.attribute("name") == Some(LIST)
}

fn spliced(text: &str, range: Range<usize>, with: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(range, with);
    text
}

/// An entry as a contact: its vCard, or one that is made of address and name. What the entry says of these goes before
/// what the vCard in it says, as other doors change the entry only.
fn contact(text: &str, entry: Node<'_, '_>) -> Option<Contact> {
    let uri = entry.attribute("uri")?.trim();
    let child = |namespace: &'static str, name: &'static str| {
        entry.children().find(move |child| child.has_tag_name((namespace, name)))
    };
    let shown =
        child(LISTS, "display-name").and_then(|node| node.text()).map(str::trim).filter(|name| !name.is_empty());
    let kept = child(OURS, "card");
    let name = kept.and_then(|node| node.attribute("name")).map_or_else(|| made_name(uri), ToOwned::to_owned);
    let kept = kept.and_then(|node| Card::parse(node.text()?).ok());
    let uid = name.strip_suffix(".vcf").unwrap_or(&name);
    let mut card = kept.unwrap_or_else(|| Card::of(uid, shown.unwrap_or_else(|| bare(uri)), uri));
    if !uri.starts_with(NO_URI) {
        card.add_uri(uri);
    }
    if let Some(shown) = shown.filter(|shown| *shown != card.display_name()) {
        card.set_display_name(shown);
    }
    let is_ours = |node: &Node<'_, '_>| node.has_tag_name((LISTS, "display-name")) || node.has_tag_name((OURS, "card"));
    let others = entry.children().filter(|node| node.is_element() && !is_ours(node)).map(|node| with_scope(text, node));
    let others = others.collect();
    let mut hasher = DefaultHasher::new();
    card.to_text(None).hash(&mut hasher);
    let etag = format!("{:016x}", hasher.finish());
    Some(Contact { name, uri: uri.to_owned(), card, etag, range: entry.range(), others })
}

/// An element that stands where other prefixes may be bound.
fn with_scope(text: &str, node: Node<'_, '_>) -> String {
    let mut whole = text[node.range()].to_owned();
    let at = whole.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/')).unwrap_or(whole.len());
    let head = whole.split('>').next().unwrap_or_default().to_owned();
    for namespace in node.namespaces() {
        let name = namespace.name().map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
        if namespace.name() != Some("xml") && !head.contains(&format!("{name}=")) {
            whole.insert_str(at, &format!(" {name}=\"{}\"", xml_escape(namespace.uri())));
        }
    }
    whole
}

/// The name of a contact that came without a vCard.
fn made_name(uri: &str) -> String {
    let mut hasher = DefaultHasher::new();
    canonical_xui(uri).hash(&mut hasher);
    format!("{:016x}.vcf", hasher.finish())
}

fn bare(uri: &str) -> &str {
    uri.split_once(':').map_or(uri, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Book {
        Book::read(Some(text), &Limits::default()).unwrap()
    }

    fn card(name: &str, tel: &str) -> Card {
        Card::parse(&format!("BEGIN:VCARD\nVERSION:4.0\nUID:{name}\nFN:{name}\nTEL:{tel}\nNOTE:<&>\nEND:VCARD"))
            .unwrap()
    }

    #[test]
    fn cards_go_in_and_come_out() {
        let empty = Book::empty();
        let text = empty.put("a.vcf", &card("Alice", "+15550100001"));
        let text = read(&text).put("b.vcf", &card("Bob", "+15550100002"));
        let book = read(&text);
        let seen: Vec<_> = book.contacts.iter().map(|c| (&*c.name, &*c.uri, c.card.display_name())).collect();
        assert_eq!(
            seen,
            [("a.vcf", "tel:+15550100001", "Alice".to_owned()), ("b.vcf", "tel:+15550100002", "Bob".to_owned())]
        );
        assert_eq!(book.contacts[0].card, card("Alice", "+15550100001"));
        assert_eq!(book.with_uri("+1-555-010-0002").unwrap().name, "b.vcf");

        let changed = read(&book.put("a.vcf", &card("Alicia", "+15550100009")));
        assert_eq!(changed.contacts.len(), 2);
        assert_eq!(changed.named("a.vcf").unwrap().uri, "tel:+15550100009");
        assert_ne!(changed.named("a.vcf").unwrap().etag, book.named("a.vcf").unwrap().etag);
        assert_eq!(changed.named("b.vcf").unwrap().etag, book.named("b.vcf").unwrap().etag);
        let left = read(&changed.delete("a.vcf").unwrap());
        assert_eq!(left.contacts.iter().map(|c| &*c.name).collect::<Vec<_>>(), ["b.vcf"]);
        assert_eq!(left.delete("a.vcf"), None);
    }

    /// The document is one that XCAP would take.
    #[test]
    fn the_document_fits_its_schema() {
        let empty = Book::empty();
        let text = read(&empty.put("a.vcf", &card("Alice", "x"))).put("b.vcf", &card("Bob", "+15550100002"));
        assert!(text.contains("uri=\"urn:chappe:contact:a.vcf\""), "nobody can be reached without an address: {text}");
        let target = chappe_xcap::Target::parse("resource-lists/users/a/contacts", "").unwrap();
        let request = chappe_xcap::Request {
            usage: chappe_xcap::usage::by_auid(AUID).unwrap(),
            target: &target,
            root: "http://example.com/xcap-root",
            limits: &Limits::default(),
            conditions: chappe_xcap::Conditions::default(),
            current: None,
        };
        request.put(Some("application/resource-lists+xml"), text.as_bytes()).unwrap();
    }

    #[test]
    fn what_other_doors_change_is_seen() {
        let empty = Book::empty();
        let text = empty.put("a.vcf", &card("Alice", "+15550100001"));
        let other = "<x:y xmlns:x=\"urn:x\">kept</x:y>";
        let text = text
            .replace("<display-name>Alice", "<display-name>Al &amp; Ice")
            .replace("<card", &format!("{other}<card"))
            .replace("</list>", "<entry uri=\"sip:carol@example.com\"/></list>");
        let book = read(&text);
        let alice = book.named("a.vcf").unwrap();
        assert_eq!(alice.card.display_name(), "Al & Ice");
        assert_eq!(alice.card.first("NOTE").unwrap().value(), "<&>");
        let carol = book.with_uri("sip:carol@example.com").unwrap();
        assert_eq!(
            (carol.card.display_name(), carol.card.uris()),
            ("carol@example.com".into(), vec!["sip:carol@example.com".into()])
        );
        assert_eq!(read(&text).contacts, book.contacts, "what is made is made alike each time");
        let text = book.put("a.vcf", &card("Alice", "+15550100001"));
        let document = roxmltree::Document::parse(&text).unwrap();
        let kept = document.descendants().find(|node| node.has_tag_name(("urn:x", "y")));
        assert_eq!(kept.and_then(|node| node.text()), Some("kept"), "{text}");
        let renamed = carol.name.clone();
        let text = read(&text).put(&renamed, &card("Carol", "+15550100003"));
        assert_eq!(read(&text).contacts.len(), 2);
    }

    #[test]
    fn two_contacts_may_share_a_number() {
        let empty = Book::empty();
        let text = empty.put("a.vcf", &card("Alice", "+15550100001"));
        let text = read(&text).put("b.vcf", &card("Home", "+15550100001"));
        let book = read(&text);
        assert_eq!(book.contacts.len(), 2);
        assert_eq!(book.contacts[1].card.uris(), ["tel:+15550100001"]);
        assert_ne!(book.contacts[0].uri, book.contacts[1].uri);
    }

    #[test]
    fn lists_of_any_shape_take_an_entry() {
        for text in [
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"/>".to_owned(),
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"></resource-lists>".to_owned(),
            "<r:resource-lists xmlns:r=\"urn:ietf:params:xml:ns:resource-lists\"><r:list name=\"contacts\"/></r:resource-lists>".to_owned(),
            "<r:resource-lists xmlns:r=\"urn:ietf:params:xml:ns:resource-lists\"><r:list name=\"contacts\"></r:list></r:resource-lists>".to_owned(),
        ] {
            let put = read(&text).put("a.vcf", &card("Alice", "+15550100001"));
            assert_eq!(read(&put).contacts.len(), 1, "{text} became {put}");
        }
    }
}
