//! Who asks, and what the presentity's rules say of it.

use chappe_presence::rules::{Asker, Facts, Handling, Permission, canonical};
use chappe_sip::{HeaderName, Message};

use crate::core::Core;
use crate::lists;
use crate::pipeline::Sender;
use crate::service::Request;

/// A watcher.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its names in canonical form; none where nobody vouches for it.
    pub names: Vec<String>,
    /// What the presentity is told.
    pub uri: Box<str>,
    pub display_name: Box<str>,
    pub anonymous: bool,
}

impl Identity {
    /// Of the sender of a request.
    pub fn of(core: &Core, request: &Request) -> Identity {
        let message = &request.message;
        let from = message.from();
        let display_name = from.as_ref().map(|f| text(&chappe_sip::text::unquote(f.display))).unwrap_or_default();
        let mut who = match &request.sender {
            Sender::User(entry) => Identity::named(core, &entry.aor),
            // A peer of the trust domain asserts who it is, or has checked what From says.
            Sender::Trusted => {
                let asserted = message.header(HeaderName::PAssertedIdentity).map(uri_in);
                let uri = asserted.or_else(|| from.as_ref().map(|f| text(f.uri)));
                Identity::named(core, &canonical(&uri.unwrap_or_default()))
            }
            Sender::Outside { .. } => {
                let uri = from.as_ref().map(|f| text(f.uri)).unwrap_or_default();
                Identity { names: Vec::new(), uri: uri.into(), display_name: "".into(), anonymous: true }
            }
        };
        who.display_name = display_name.into();
        if wants_privacy(message) || chappe_chat::is_anonymous(&who.uri) {
            who.anonymous = true;
            who.uri = "sip:anonymous@anonymous.invalid".into();
            who.display_name = "".into();
        }
        who
    }

    /// Of somebody known by a canonical name.
    pub fn named(core: &Core, name: &str) -> Identity {
        let entry = core.directory.find(name).or_else(|| core.directory.find_tel(name));
        let names = match &entry {
            Some(entry) => std::iter::once(&entry.aor).chain(&entry.tel).map(ToString::to_string).collect(),
            None => vec![name.to_owned()],
        };
        let uri = match entry.as_ref().map_or(name, |e| &e.aor) {
            name if name.contains('@') => super::uri_of(name),
            number => format!("tel:{number}"),
        };
        Identity { names, uri: uri.into(), display_name: "".into(), anonymous: false }
    }
}

/// RFC 3323: it does not want to be known to the other side.
fn wants_privacy(message: &Message) -> bool {
    message.values(HeaderName::Privacy).flat_map(|v| v.split(|b| *b == b';')).any(|v| {
        let v = v.trim_ascii();
        v.eq_ignore_ascii_case(b"id") || v.eq_ignore_ascii_case(b"user")
    })
}

fn uri_in(value: &[u8]) -> String {
    let value = text(value);
    match value.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        Some((uri, _)) => uri.to_owned(),
        None => value,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a watcher may have of a presentity. Where no rule is for it, the operator's default counts, and no more than
/// waiting for a decision where the presentity has rules; nobody unknown sees anything without a rule.
pub fn permission(core: &Core, presentity: &str, who: &Identity, now: u64) -> Permission {
    let agent = &core.presence;
    if who.names.iter().any(|name| **name == *presentity) {
        return Permission::of(Handling::Allow);
    }
    let book = agent.books.of(presentity);
    let account = core.directory.find(presentity);
    let is_blocked = |name: &String| account.as_ref().is_some_and(|user| lists::blocks(core, user, name, None));
    if book.as_ref().is_some_and(|book| book.blocks(&who.names)) || who.names.iter().any(is_blocked) {
        return Permission::of(Handling::Block);
    }
    let sphere = match &book {
        Some(book) if book.has_spheres() => agent.sphere(presentity),
        _ => None,
    };
    let decided = book.as_ref().and_then(|book| {
        book.decide(&Facts {
            asker: Asker { names: &who.names, anonymous: who.anonymous },
            sphere: sphere.as_deref(),
            now,
            list_has: &|list| book.list_has(list, &who.names),
        })
    });
    decided.unwrap_or_else(|| {
        Permission::of(match (who.anonymous, book.is_some_and(|book| book.has_rules())) {
            (true, _) => Handling::Block,
            (false, true) => agent.settings.default.min(Handling::Confirm),
            (false, false) => agent.settings.default,
        })
    })
}
