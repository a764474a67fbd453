//! Contacts as the address book API of OMA and GSMA shows them: an address, and attributes with a name and a value.

use chappe_xcap::percent_encode;
use serde_json::{Value, json};

use crate::book::{Book, Contact};
use crate::card::Card;

/// Attributes that can be written, and the vCard property of each. `capabilities` is read only, and is not kept here.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("display-name", "FN"),
    ("nickname", "NICKNAME"),
    ("email", "EMAIL"),
    ("organization", "ORG"),
    ("title", "TITLE"),
    ("note", "NOTE"),
    ("url", "URL"),
    ("birthday", "BDAY"),
];

/// Octets of a value.
const MAX_VALUE: usize = 4096;

/// Why JSON is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The part that is wrong.
    #[error("invalid input for {0}")]
    Invalid(&'static str),
    /// An attribute that is not known, or that is the server's.
    #[error("no such attribute can be written")]
    Attribute,
}

/// An attribute of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: &'static str,
    pub value: String,
}

/// What a contact has, in a fixed order.
pub fn attributes(contact: &Contact) -> Vec<Attribute> {
    let one = |(name, property): &(&'static str, &str)| {
        let value = match *property {
            "FN" => contact.card.display_name(),
            property => contact.card.first(property)?.decoded(),
        };
        (!value.is_empty()).then_some(Attribute { name, value })
    };
    ATTRIBUTES.iter().filter_map(one).collect()
}

/// `{"contact": …}`, or what is in it for a collection. `base` is the URL of the collection.
pub fn contact_document(contact: &Contact, base: &str) -> Value {
    let own = format!("{base}/{}", percent_encode(&contact.uri, false).replace(':', "%3A").replace('+', "%2B"));
    let attribute = |a: Attribute| json!({ "name": a.name, "value": a.value });
    let list: Vec<Value> = attributes(contact).into_iter().map(attribute).collect();
    json!({
        "contactId": contact.uri,
        "attributeList": { "attribute": list, "resourceURL": format!("{own}/attributes") },
        "resourceURL": own,
    })
}

/// The vCard of `{"contact": {"contactId": …, "attributeList": …}}` for an address; what else the contact that has it
/// now says stays. Gives the name of the resource too.
pub fn contact(book: &Book, uri: &str, body: &[u8]) -> Result<(String, Card), JsonError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| JsonError::Invalid("contact"))?;
    let contact = value.get("contact").ok_or(JsonError::Invalid("contact"))?;
    let same = |id: &str| chappe_xcap::canonical_xui(id) == chappe_xcap::canonical_xui(uri);
    match contact.get("contactId") {
        None => {}
        Some(Value::String(id)) if same(id) => {}
        Some(_) => return Err(JsonError::Invalid("contactId")),
    }
    let list = contact.get("attributeList").and_then(|list| list.get("attribute"));
    let list = match list {
        None => &[][..],
        Some(Value::Array(list)) => list,
        Some(_) => return Err(JsonError::Invalid("attributeList")),
    };
    let (name, mut card) = of(book, uri)?;
    // What is not named any more is no more; the name of a contact stays.
    let named = |name: &str| list.iter().any(|attribute| attribute.get("name").and_then(Value::as_str) == Some(name));
    for (name, property) in ATTRIBUTES.iter().filter(|(name, _)| *name != "display-name" && !named(name)) {
        let _ = (name, card.remove(property));
    }
    for attribute in list {
        let text = |field: &str| attribute.get(field).and_then(Value::as_str).ok_or(JsonError::Invalid("attribute"));
        set(&mut card, text("name")?, text("value")?)?;
    }
    Ok((name, card))
}

/// The vCard of a contact with `{"attribute": {"name": …, "value": …}}`.
pub fn set_attribute(contact: &Contact, name: &str, body: &[u8]) -> Result<Card, JsonError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| JsonError::Invalid("attribute"))?;
    let attribute = value.get("attribute").ok_or(JsonError::Invalid("attribute"))?;
    if attribute.get("name").is_some_and(|given| given.as_str() != Some(name)) {
        return Err(JsonError::Invalid("name"));
    }
    let value = attribute.get("value").and_then(Value::as_str).ok_or(JsonError::Invalid("value"))?;
    let mut card = contact.card.clone();
    set(&mut card, name, value)?;
    Ok(card)
}

/// The vCard of a contact without an attribute; `None` if it has none.
pub fn without_attribute(contact: &Contact, name: &str) -> Result<Option<Card>, JsonError> {
    // Somebody without a name is nobody.
    let property = property(name).filter(|property| *property != "FN").ok_or(JsonError::Attribute)?;
    let mut card = contact.card.clone();
    Ok(card.remove(property).then_some(card))
}

fn of(book: &Book, uri: &str) -> Result<(String, Card), JsonError> {
    if let Some(contact) = book.with_uri(uri) {
        return Ok((contact.name.clone(), contact.card.clone()));
    }
    let is_one = ["tel:", "sip:", "sips:"].iter().any(|scheme| uri.starts_with(scheme) && uri.len() > scheme.len());
    if !is_one || uri.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(JsonError::Invalid("contactId"));
    }
    let bare = chappe_xcap::canonical_xui(uri);
    let name: String = bare.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    // Another contact may have that name, but not that address.
    let mut free = format!("{name}.vcf");
    let mut n = 2;
    while book.named(&free).is_some() {
        free = format!("{name}-{n}.vcf");
        n += 1;
    }
    let uid = free.trim_end_matches(".vcf").to_owned();
    Ok((free, Card::of(&uid, &bare, uri)))
}

fn set(card: &mut Card, name: &str, value: &str) -> Result<(), JsonError> {
    let property = property(name).ok_or(JsonError::Attribute)?;
    if value.len() > MAX_VALUE || property == "FN" && value.trim().is_empty() {
        return Err(JsonError::Invalid("value"));
    }
    card.set(property, value);
    Ok(())
}

fn property(name: &str) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|(known, _)| *known == name).map(|(_, property)| *property)
}

#[cfg(test)]
mod tests {
    use chappe_xcap::Limits;

    use super::*;

    const BASE: &str = "https://x/oneapi/addressbook/v1/u/contacts";

    fn read(text: Option<&str>) -> Book {
        Book::read(text, &Limits::default()).unwrap()
    }

    #[test]
    fn contacts_are_made_shown_and_changed() {
        let body = br#"{"contact":{"contactId":"tel:+15550100002","attributeList":{"attribute":[
            {"name":"display-name","value":"Bob, B."},{"name":"note","value":"a\nb"}]}}}"#;
        let (name, card) = contact(&read(None), "tel:+15550100002", body).unwrap();
        assert_eq!(name, "-15550100002.vcf");
        let book = read(Some(&read(None).put(&name, &card)));
        let bob = book.with_uri("tel:+15550100002").unwrap();
        let document = contact_document(bob, BASE);
        assert_eq!(document["contactId"], "tel:+15550100002");
        assert_eq!(document["resourceURL"], format!("{BASE}/tel%3A%2B15550100002"));
        assert_eq!(document["attributeList"]["attribute"][0], json!({"name": "display-name", "value": "Bob, B."}));
        assert_eq!(document["attributeList"]["attribute"][1], json!({"name": "note", "value": "a\nb"}));

        let card = set_attribute(bob, "email", br#"{"attribute":{"name":"email","value":"b@x"}}"#).unwrap();
        let book = read(Some(&book.put(&name, &card)));
        let bob = book.with_uri("tel:+15550100002").unwrap();
        assert_eq!(attributes(bob).len(), 3);
        assert_eq!(without_attribute(bob, "title"), Ok(None));
        assert!(without_attribute(bob, "email").unwrap().unwrap().first("EMAIL").is_none());
        assert_eq!(without_attribute(bob, "display-name"), Err(JsonError::Attribute));
        // A replacement has no more than it names, but for what is no attribute.
        let (same, card) = contact(&book, "tel:+1-555-010-0002", br#"{"contact":{}}"#).unwrap();
        assert_eq!((same, card.first("NOTE"), card.display_name()), (name, None, "Bob, B.".to_owned()));
    }

    #[test]
    fn what_is_not_taken() {
        let book = read(None);
        let uri = "tel:+15550100002";
        for (body, error) in [
            ("", JsonError::Invalid("contact")),
            ("{}", JsonError::Invalid("contact")),
            (r#"{"contact":{"contactId":"tel:+1"}}"#, JsonError::Invalid("contactId")),
            (r#"{"contact":{"attributeList":{"attribute":{}}}}"#, JsonError::Invalid("attributeList")),
            (r#"{"contact":{"attributeList":{"attribute":[{}]}}}"#, JsonError::Invalid("attribute")),
            (
                r#"{"contact":{"attributeList":{"attribute":[{"name":"capabilities","value":"x"}]}}}"#,
                JsonError::Attribute,
            ),
            (
                r#"{"contact":{"attributeList":{"attribute":[{"name":"display-name","value":" "}]}}}"#,
                JsonError::Invalid("value"),
            ),
        ] {
            assert_eq!(contact(&book, uri, body.as_bytes()), Err(error), "{body}");
        }
        assert_eq!(contact(&book, "mailto:a@b", br#"{"contact":{}}"#), Err(JsonError::Invalid("contactId")));
    }
}
