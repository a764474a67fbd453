//! Address books: whatever a client sends is answered, and what a PUT leaves is a book that has the vCard.

#![no_main]

use chappe_contacts::{Book, Card, DavMethod, DavRequest, Decision, Place, Settings, Wanted, decide};
use chappe_xcap::Limits;
use libfuzzer_sys::fuzz_target;

const PUT: &str = "/addressbooks/a@b/contacts/x.vcf";

fuzz_target!(|data: &[u8]| {
    // The document up to a zero, then the body.
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let Ok(document) = str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let Ok(body) = str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let limits = Limits { size: 16_384, ..Limits::default() };
    let book = Book::read(Some(document), &limits).unwrap_or_else(|_| Book::empty());
    for contact in &book.contacts {
        let text = contact.card.to_text(None);
        assert_eq!(Card::parse(&text).map(|card| card.to_text(None)), Ok(text));
    }
    for (method, path) in [
        (DavMethod::Propfind, "/addressbooks/a@b/contacts/"),
        (DavMethod::Report, "/addressbooks/a@b/contacts/"),
        (DavMethod::Proppatch, "/"),
        (DavMethod::Put, PUT),
        (DavMethod::Delete, PUT),
    ] {
        let place = Place::parse(path).expect("the path is one");
        let request = DavRequest {
            user: "a@b",
            place: &place,
            method,
            depth: Some("1"),
            if_match: None,
            if_none_match: None,
            body,
            settings: Settings { base: "/dav", max_card: 8192, limits: &limits },
            book: &book,
            etag: None,
            version: Some(None),
        };
        if let Decision::Do(Wanted::Write(text), _) = decide(&request) {
            let after = Book::read(Some(&text), &Limits { size: 1 << 20, ..limits });
            match method {
                DavMethod::Put => assert!(after.is_ok_and(|book| book.named("x.vcf").is_some()), "{text}"),
                _ => assert!(after.is_ok_and(|after| after.contacts.len() + 1 == book.contacts.len()), "{text}"),
            }
        }
    }
});
