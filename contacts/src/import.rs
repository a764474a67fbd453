//! Whole address books at once: files of vCards, or tables as address books of mail programs and phones write them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use chappe_xcap::canonical_xui;

use crate::book::{Book, Contact};
use crate::card::Card;

/// What the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// vCards of any version, one after the other.
    VCards,
    /// A table with commas or semicolons (RFC 4180), whose first line names the columns.
    Csv,
}

impl Kind {
    /// By media type, without its parameters.
    pub fn of_media_type(value: &str) -> Option<Kind> {
        match &*value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase() {
            "text/vcard" | "text/x-vcard" | "text/directory" => Some(Kind::VCards),
            "text/csv" | "text/comma-separated-values" => Some(Kind::Csv),
            _ => None,
        }
    }
}

/// A contact that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the file, from 1; in a table without the line that names the columns.
    pub number: usize,
    pub why: String,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    pub added: usize,
    /// Contacts that were there: by UID or by one of their addresses.
    pub updated: usize,
    pub refused: Vec<Refused>,
}

/// What one column of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Given,
    Family,
    Address,
    /// A text property of a vCard.
    Property(&'static str),
}

/// A contact as the file has it.
enum Given {
    Whole(Card),
    /// What a line of a table says; the rest of a contact that is there stays.
    Row {
        name: String,
        addresses: Vec<String>,
        properties: Vec<(&'static str, String)>,
    },
}

/// Brings the contacts of a file into a book: the document afterwards, and what became of each. A file that cannot be
/// read at all changes nothing; the error is words for the user.
pub fn import(book: &Book, kind: Kind, text: &str) -> Result<(String, Imported), String> {
    let given = match kind {
        Kind::VCards => vcards(text),
        Kind::Csv => rows(text)?,
    };
    let mut done = Imported::default();
    let mut names: HashSet<String> = book.contacts.iter().map(|contact| contact.name.clone()).collect();
    let mut cards: Vec<(String, Card)> = Vec::new();
    let mut index = Index::default();
    for (at, contact) in book.contacts.iter().enumerate() {
        index.add(&contact.card, Found::InBook(at));
    }
    for (at, given) in given.into_iter().enumerate() {
        let taken = given.and_then(|given| placed(book, &cards, &index, given));
        match taken {
            // Twice in one file.
            Ok(Placed { at: Some(at), card, .. }) => {
                index.add(&card, Found::InFile(at));
                cards[at].1 = card;
            }
            Ok(Placed { known, card, .. }) => {
                let name = match known {
                    Some(contact) => {
                        done.updated += 1;
                        // The next that is the same finds it here.
                        index.add(&contact.card, Found::InFile(cards.len()));
                        contact.name.clone()
                    }
                    None => {
                        done.added += 1;
                        free_name(&card, &names)
                    }
                };
                names.insert(name.clone());
                index.add(&card, Found::InFile(cards.len()));
                cards.push((name, card));
            }
            Err(why) => done.refused.push(Refused { number: at + 1, why }),
        }
    }
    Ok((book.put_all(&cards), done))
}

/// A contact that is there.
#[derive(Clone, Copy)]
enum Found {
    InBook(usize),
    /// Among those of the file.
    InFile(usize),
}

/// Contacts by UID and by each of their addresses.
#[derive(Default)]
struct Index {
    uids: HashMap<String, Found>,
    addresses: HashMap<String, Found>,
}

impl Index {
    /// One of the file goes before one of the book, the first before the second.
    fn add(&mut self, card: &Card, found: Found) {
        if let Some(uid) = card.uid() {
            put(&mut self.uids, uid, found);
        }
        for uri in card.uris() {
            put(&mut self.addresses, canonical_xui(&uri), found);
        }
    }

    fn find(&self, uid: Option<&str>, addresses: &[String]) -> Option<Found> {
        let by_uid = uid.and_then(|uid| self.uids.get(uid));
        by_uid.or_else(|| addresses.iter().find_map(|uri| self.addresses.get(&canonical_xui(uri)))).copied()
    }
}

fn put(map: &mut HashMap<String, Found>, key: String, found: Found) {
    match map.entry(key) {
        Entry::Vacant(free) => drop(free.insert(found)),
        Entry::Occupied(mut taken) => {
            if matches!((taken.get(), found), (Found::InBook(_), Found::InFile(_))) {
                taken.insert(found);
            }
        }
    }
}

/// Where a contact belongs.
struct Placed<'b> {
    /// Among those of the file.
    at: Option<usize>,
    known: Option<&'b Contact>,
    card: Card,
}

fn placed<'b>(book: &'b Book, cards: &[(String, Card)], index: &Index, given: Given) -> Result<Placed<'b>, String> {
    let (uid, addresses) = match &given {
        Given::Whole(card) => (card.uid(), card.uris()),
        Given::Row { addresses, .. } => (None, addresses.clone()),
    };
    let (at, known) = match index.find(uid.as_deref(), &addresses) {
        Some(Found::InFile(at)) => (Some(at), None),
        Some(Found::InBook(at)) => (None, book.contacts.get(at)),
        None => (None, None),
    };
    let card = match given {
        Given::Whole(card) => card,
        Given::Row { name, addresses, properties } => {
            let old = at.map(|at| &cards[at].1).or(known.map(|contact| &contact.card));
            let first = addresses.first().map_or("", |uri| &**uri);
            let mut card = match old {
                Some(old) => old.clone(),
                None if first.is_empty() && name.is_empty() => return Err("neither a name nor an address".to_owned()),
                None => Card::of(&slug(if first.is_empty() { &name } else { first }), &name, first),
            };
            let shown = if name.is_empty() { canonical_xui(first) } else { name };
            if old.is_none() || !shown.is_empty() && shown != canonical_xui(first) {
                card.set_display_name(&shown);
            }
            addresses.iter().for_each(|uri| card.add_uri(uri));
            properties.into_iter().for_each(|(property, value)| card.set(property, &value));
            card
        }
    };
    Ok(Placed { at, known, card })
}

/// A name of a resource that no other contact has.
fn free_name(card: &Card, names: &HashSet<String>) -> String {
    let base = slug(&card.uid().or_else(|| card.uris().into_iter().next()).unwrap_or_else(|| card.display_name()));
    let numbered = (2..).map(|n| format!("{base}-{n}.vcf"));
    let free = std::iter::once(format!("{base}.vcf")).chain(numbered).find(|name| !names.contains(name));
    free.unwrap_or_default()
}

/// A path segment that says the same.
fn slug(text: &str) -> String {
    let kept: String = text.chars().take(128).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if kept.is_empty() { "contact".to_owned() } else { kept }
}

fn vcards(text: &str) -> Vec<Result<Given, String>> {
    let mut found = Vec::new();
    let mut begun: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let word = line.trim_start_matches('\u{feff}').trim_end();
        if word.eq_ignore_ascii_case("BEGIN:VCARD") {
            begun = begun.or(Some(at));
        }
        at += line.len();
        if word.eq_ignore_ascii_case("END:VCARD")
            && let Some(from) = begun.take()
        {
            found.push(Card::parse(&text[from..at]).map(Given::Whole).map_err(|error| error.to_string()));
        }
    }
    if begun.is_some() {
        found.push(Err("not ended by END:VCARD".to_owned()));
    }
    found
}

fn rows(text: &str) -> Result<Vec<Result<Given, String>>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let head = text.lines().next().unwrap_or_default();
    let semicolons = head.matches(';').count() > head.matches(',').count();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if semicolons { b';' } else { b',' })
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns: Vec<Option<Column>> =
        reader.headers().map_err(|error| error.to_string())?.iter().map(column).collect();
    if !columns.iter().flatten().any(|column| *column == Column::Address) {
        return Err("the first line names no column of numbers or SIP addresses".to_owned());
    }
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|error| error.to_string())?;
        row(&columns, &record)
    };
    Ok(reader.records().map(row).collect())
}

/// Columns as Google, Outlook, Apple, Thunderbird and plain tables name them.
fn column(name: &str) -> Option<Column> {
    let name = name.trim().to_ascii_lowercase();
    let is = |words: &[&str]| words.contains(&&*name);
    let numbered = |before: &str, after: &str| name.starts_with(before) && name.ends_with(after);
    if is(&["name", "display name", "display-name", "full name", "file as", "fn"]) {
        Some(Column::Name)
    } else if is(&["first name", "given name", "firstname"]) {
        Some(Column::Given)
    } else if is(&["last name", "family name", "lastname", "surname"]) {
        Some(Column::Family)
    } else if is(&["tel", "phone", "number", "mobile", "telephone", "msisdn", "sip", "uri", "address of record"])
        || numbered("phone ", " - value")
        || name.ends_with(" phone")
        || name.ends_with(" number") && !name.contains("fax") && !name.contains("pager")
    {
        Some(Column::Address)
    } else if is(&["email", "e-mail", "e-mail address", "primary email"]) || name == "e-mail 1 - value" {
        Some(Column::Property("EMAIL"))
    } else if is(&["nickname"]) {
        Some(Column::Property("NICKNAME"))
    } else if is(&["organization", "organization name", "company"]) || numbered("organization ", " - name") {
        Some(Column::Property("ORG"))
    } else if is(&["title", "job title", "organization title"]) || numbered("organization ", " - title") {
        Some(Column::Property("TITLE"))
    } else if is(&["note", "notes"]) {
        Some(Column::Property("NOTE"))
    } else if is(&["birthday"]) {
        Some(Column::Property("BDAY"))
    } else if is(&["url", "web page", "web page 1", "website"]) || numbered("website ", " - value") {
        Some(Column::Property("URL"))
    } else {
        None
    }
}

fn row(columns: &[Option<Column>], record: &csv::StringRecord) -> Result<Given, String> {
    let (mut name, mut given, mut family) = (String::new(), String::new(), String::new());
    let (mut addresses, mut properties) = (Vec::new(), Vec::new());
    let fields = columns.iter().zip(record.iter()).filter(|(_, value)| !value.is_empty());
    for (column, value) in fields.filter_map(|(column, value)| Some((column.as_ref()?, value))) {
        match column {
            Column::Name => name = value.to_owned(),
            Column::Given => given = value.to_owned(),
            Column::Family => family = value.to_owned(),
            // Google puts several into one field.
            Column::Address => {
                for value in value.split(":::").map(str::trim).filter(|value| !value.is_empty()) {
                    addresses.push(address(value).ok_or_else(|| format!("{value:?} is no number or SIP address"))?);
                }
            }
            Column::Property(property) => properties.push((*property, value.to_owned())),
        }
    }
    if name.is_empty() {
        name = format!("{given} {family}").trim().to_owned();
    }
    if name.is_empty() && addresses.is_empty() {
        return Err("neither a name nor an address".to_owned());
    }
    Ok(Given::Row { name, addresses, properties })
}

/// A number or a SIP address as a URI.
fn address(value: &str) -> Option<String> {
    let lower = value.to_ascii_lowercase();
    if lower.starts_with("sip:") || lower.starts_with("sips:") {
        let sound = value.contains('@') && !value.contains(|c: char| c.is_whitespace() || c.is_control());
        return sound.then(|| value.to_owned());
    }
    if value.contains('@') {
        let sound = !value.contains(|c: char| c.is_whitespace() || c.is_control());
        return sound.then(|| format!("sip:{value}"));
    }
    let number = lower.strip_prefix("tel:").unwrap_or(&lower);
    let plain =
        number.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '(' | ')' | '.' | ' ' | '/' | '*' | '#'));
    let digits = number.chars().filter(|c| c.is_ascii_digit() || matches!(c, '*' | '#'));
    let digits: String = digits.collect();
    let plus = if number.trim_start().starts_with('+') { "+" } else { "" };
    (plain && !digits.is_empty()).then(|| format!("tel:{plus}{digits}"))
}

#[cfg(test)]
mod tests {
    use chappe_xcap::Limits;

    use super::*;

    fn read(text: Option<&str>) -> Book {
        Book::read(text, &Limits::default()).unwrap()
    }

    fn shown(book: &Book) -> Vec<(String, Vec<String>)> {
        book.contacts.iter().map(|contact| (contact.card.display_name(), contact.card.uris())).collect()
    }

    fn vcard(uid: &str, name: &str, tel: &str) -> String {
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nTEL:{tel}\r\nX-OWN:kept\r\nEND:VCARD\r\n")
    }

    #[test]
    fn vcards_are_added_and_found_again() {
        let file = format!(
            "\u{feff}{}{}BEGIN:VCARD\r\nVERSION:3.0\r\nEND:VCARD\r\n{}BEGIN:VCARD\r\nVERSION:3.0\r\n",
            vcard("1", "Ann", "+1 555 0001"),
            vcard("2", "Bob", "+1 555 0002"),
            vcard("2", "Bob again", "+1 555 0003"),
        );
        let (text, done) = import(&read(None), Kind::VCards, &file).unwrap();
        assert_eq!((done.added, done.updated), (2, 0));
        assert_eq!(done.refused.iter().map(|r| r.number).collect::<Vec<_>>(), [3, 5]);
        let book = read(Some(&text));
        assert_eq!(
            shown(&book),
            [("Ann".into(), vec!["tel:+15550001".into()]), ("Bob again".into(), vec!["tel:+15550003".into()])]
        );
        let again = vcard("other", "Anna", "+1-555-0001");
        let (text, done) = import(&book, Kind::VCards, &again).unwrap();
        assert_eq!((done.added, done.updated), (0, 1));
        assert_eq!(shown(&read(Some(&text)))[0].0, "Anna");
    }

    #[test]
    fn tables_of_several_makers() {
        for (table, expected) in [
            ("name,tel\nAnn,+1 (555) 0001\n", ("Ann", vec!["tel:+15550001"])),
            ("Vorname;Last Name;Mobile Phone\nx;Lee;0555 1\n", ("Lee", vec!["tel:05551"])),
            (
                "First Name,Last Name,Phone 1 - Label,Phone 1 - Value\nAnn,\"Lee, Dr.\",Home,+15550001 ::: +15550002\n",
                ("Ann Lee, Dr.", vec!["tel:+15550001", "tel:+15550002"]),
            ),
            ("Name,SIP\nAnn,ann@example.com\n", ("Ann", vec!["sip:ann@example.com"])),
            ("phone\n+15550001\n", ("+15550001", vec!["tel:+15550001"])),
        ] {
            let (text, done) = import(&read(None), Kind::Csv, table).unwrap();
            assert_eq!((done.added, &done.refused[..]), (1, &[][..]), "{table}");
            let expected = (expected.0.to_owned(), expected.1.into_iter().map(String::from).collect());
            assert_eq!(shown(&read(Some(&text))), [expected], "{table}");
        }
    }

    #[test]
    fn a_row_changes_what_it_names() {
        let (text, _) = import(&read(None), Kind::VCards, &vcard("1", "Ann", "+15550001")).unwrap();
        let table =
            "name,phone,company\nAnn Lee,+1-555-0001,Acme\n,,\nBob,,\n,not a number,\nCy,+15550009,\nCy,+15550009,\n";
        let (text, done) = import(&read(Some(&text)), Kind::Csv, table).unwrap();
        assert_eq!((done.added, done.updated), (2, 1));
        assert_eq!(done.refused.iter().map(|r| r.number).collect::<Vec<_>>(), [2, 4]);
        let book = read(Some(&text));
        let ann = book.with_uri("tel:+15550001").unwrap();
        assert_eq!(ann.card.display_name(), "Ann Lee");
        assert_eq!(ann.card.first("ORG").unwrap().decoded(), "Acme");
        assert!(ann.card.first("X-OWN").is_some());
        assert_eq!(shown(&book).len(), 3);
    }

    #[test]
    fn a_table_without_addresses_is_none() {
        for table in ["", "name,city\nAnn,Rome\n", "just text"] {
            assert!(import(&read(None), Kind::Csv, table).is_err(), "{table}");
        }
    }
}
