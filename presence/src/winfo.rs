//! Who watches (RFC 3857, RFC 3858): the states of watchers, and the documents that tell of them.

use std::fmt::Write as _;

use crate::xml;

/// How far a watcher has come (RFC 3857 §4.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted, but nobody has decided.
    Pending,
    Active,
    /// Its subscription ended before anybody decided.
    Waiting,
    Terminated,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Active => "active",
            Status::Waiting => "waiting",
            Status::Terminated => "terminated",
        }
    }
}

/// What brought a watcher into its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Subscribe,
    Approved,
    Deactivated,
    Rejected,
    Timeout,
    Giveup,
    NoResource,
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Subscribe => "subscribe",
            Event::Approved => "approved",
            Event::Deactivated => "deactivated",
            Event::Rejected => "rejected",
            Event::Timeout => "timeout",
            Event::Giveup => "giveup",
            Event::NoResource => "noresource",
        }
    }
}

/// One watcher of a presentity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// Names the subscription, in all documents.
    pub id: u64,
    pub uri: Box<str>,
    pub display_name: Box<str>,
    pub status: Status,
    pub event: Event,
    /// When it subscribed, and until when it has, in seconds since the epoch.
    pub since: u64,
    pub expires: u64,
}

/// Writes `application/watcherinfo+xml` of the watchers of `resource`. A full document has all of them, a partial one
/// those that changed.
pub fn document<'w>(
    version: u32,
    full: bool,
    resource: &str,
    watchers: impl Iterator<Item = &'w Watcher>,
    now: u64,
) -> String {
    let state = if full { "full" } else { "partial" };
    let mut out = String::with_capacity(512);
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<watcherinfo xmlns=\"urn:ietf:params:xml:ns:watcherinfo\" \
         version=\"{version}\" state=\"{state}\">\r\n<watcher-list resource=\""
    );
    xml::push_attribute(&mut out, resource);
    out.push_str("\" package=\"presence\">\r\n");
    for watcher in watchers {
        let _ = write!(
            out,
            "<watcher id=\"w{:x}\" status=\"{}\" event=\"{}\" duration-subscribed=\"{}\"",
            watcher.id,
            watcher.status.as_str(),
            watcher.event.as_str(),
            now.saturating_sub(watcher.since)
        );
        if matches!(watcher.status, Status::Pending | Status::Active) {
            let _ = write!(out, " expiration=\"{}\"", watcher.expires.saturating_sub(now));
        }
        if !watcher.display_name.is_empty() {
            out.push_str(" display-name=\"");
            xml::push_attribute(&mut out, &watcher.display_name);
            out.push('"');
        }
        out.push('>');
        xml::push_text(&mut out, &watcher.uri);
        out.push_str("</watcher>\r\n");
    }
    out.push_str("</watcher-list>\r\n</watcherinfo>\r\n");
    out
}

/// What one subscriber to watcher information has yet to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    changes: Vec<Watcher>,
    full: bool,
}

impl Backlog {
    /// Most changes that are remembered one by one; above, the next document is a full one.
    const LIMIT: usize = 64;

    /// A watcher came, went or changed its state; what was noted of it before is no news any more.
    pub fn push(&mut self, watcher: &Watcher) {
        self.changes.retain(|old| old.id != watcher.id);
        match self.changes.len() < Backlog::LIMIT {
            true => self.changes.push(watcher.clone()),
            false => self.full = true,
        }
    }

    pub fn want_full(&mut self) {
        self.full = true;
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.full
    }

    /// The document that tells all of it, and empties the backlog. `all` are the watchers now.
    pub fn document(&mut self, version: u32, resource: &str, all: &[Watcher], now: u64) -> String {
        let Backlog { changes, full } = std::mem::take(self);
        match full {
            // Who has gone is told too, where somebody waits to hear it (RFC 3857 §4.7.1).
            true => {
                let gone = changes.iter().filter(|w| w.status == Status::Terminated);
                document(version, true, resource, all.iter().chain(gone), now)
            }
            false => document(version, false, resource, changes.iter(), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ns::Ns;
    use crate::xml::Limits;

    fn watcher(id: u64, status: Status) -> Watcher {
        Watcher {
            id,
            uri: format!("sip:w{id}@h").into(),
            display_name: "A \"B\" & C".into(),
            status,
            event: Event::Subscribe,
            since: 100,
            expires: 700,
        }
    }

    /// State and (id, status) of each watcher.
    fn read(text: &str) -> (String, Vec<(String, String)>) {
        let root = xml::parse(text.as_bytes(), &Limits::default()).unwrap();
        let list = root.child(Ns::WATCHER_INFO, "watcher-list").unwrap();
        let of = |e: &xml::Element, name: &str| e.attribute(name).unwrap().to_owned();
        (of(&root, "state"), list.elements().map(|e| (of(e, "id"), of(e, "status"))).collect())
    }

    #[test]
    fn a_document() {
        let text = document(3, true, "sip:b@h", [watcher(10, Status::Pending)].iter(), 160);
        let expected = "<watcher id=\"wa\" status=\"pending\" event=\"subscribe\" duration-subscribed=\"60\" \
            expiration=\"540\" display-name=\"A &quot;B&quot; &amp; C\">sip:w10@h</watcher>";
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains("version=\"3\" state=\"full\"") && text.contains("resource=\"sip:b@h\" package=\"presence\"")
        );
    }

    #[test]
    fn full_first_then_what_changed_then_full_again_when_it_is_too_much() {
        let mut backlog = Backlog::default();
        let all = [watcher(1, Status::Active), watcher(2, Status::Pending)];
        backlog.want_full();
        let both = vec![("w1".to_owned(), "active".to_owned()), ("w2".to_owned(), "pending".to_owned())];
        assert_eq!(read(&backlog.document(0, "sip:b@h", &all, 200)), ("full".to_owned(), both.clone()));
        assert!(backlog.is_empty());
        backlog.push(&watcher(2, Status::Pending));
        backlog.push(&watcher(2, Status::Terminated));
        let gone = vec![("w2".to_owned(), "terminated".to_owned())];
        assert_eq!(read(&backlog.document(1, "sip:b@h", &all[..1], 200)), ("partial".to_owned(), gone));
        (0..70).for_each(|id| backlog.push(&watcher(id, Status::Active)));
        assert_eq!(read(&backlog.document(2, "sip:b@h", &all, 200)), ("full".to_owned(), both));
    }
}
