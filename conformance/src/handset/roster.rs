//! A handset's roster of a group: conference-info documents as a subscriber takes them (RFC 4575 §4.6).

use std::collections::BTreeMap;

use super::content::user_of;

/// What is known of a conference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) version: Option<u32>,
    pub(crate) subject: Option<String>,
    /// By the user part of the entity.
    pub(crate) people: BTreeMap<String, Person>,
    /// Documents taken, and how many of them were full.
    pub(crate) documents: usize,
    pub(crate) full: usize,
    /// The conference was told to be over.
    pub(crate) ended: bool,
    /// An icon is named.
    pub(crate) icon: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) status: String,
    /// How it went.
    pub(crate) method: String,
    pub(crate) roles: Vec<String>,
}

impl Roster {
    /// Those who are not shown as gone.
    pub(crate) fn present(&self) -> Vec<&str> {
        let people = self.people.iter().filter(|(_, person)| person.status != "disconnected");
        people.map(|(user, _)| user.as_str()).collect()
    }

    /// Takes a document; the error is what no subscriber can work with.
    pub(crate) fn take(&mut self, xml: &str) -> Result<(), String> {
        let tags = tags(xml);
        let root = tags.first().filter(|tag| tag.name == "conference-info").ok_or("no conference-info")?;
        let version: u32 = root.attribute("version").and_then(|v| v.parse().ok()).ok_or("no version")?;
        let state = root.attribute("state").unwrap_or_else(|| "full".into());
        let next = self.version.map(|known| known + 1);
        if self.version.is_some_and(|known| version <= known) {
            return Err(format!("version {version} after {:?}", self.version));
        }
        match state.as_str() {
            "full" => (self.subject, self.icon) = (None, false),
            "partial" if next == Some(version) => {}
            "partial" => return Err(format!("partial version {version} after {:?}", self.version)),
            "deleted" => self.ended = true,
            other => return Err(format!("state {other:?}")),
        }
        if next.is_some_and(|next| next != version) {
            return Err(format!("version {version} after {:?}", self.version));
        }
        self.version = Some(version);
        self.documents += 1;
        if state == "full" {
            self.full += 1;
            self.people.clear();
        }
        self.read(&tags);
        Ok(())
    }

    fn read(&mut self, tags: &[Tag<'_>]) {
        let mut path: Vec<&str> = Vec::new();
        let (mut user, mut person) = (String::new(), Person::default());
        for tag in tags {
            if tag.closes {
                path.pop();
                if tag.name == "user" && !user.is_empty() {
                    self.people.insert(std::mem::take(&mut user), std::mem::take(&mut person));
                }
                continue;
            }
            match (path.last().copied(), tag.name) {
                (Some("conference-description"), "subject") => self.subject = Some(tag.text()),
                (Some("conference-description"), "icon") => self.icon = true,
                (Some("conference-info"), "conference-description") => (self.subject, self.icon) = (None, false),
                (Some("users"), "user") => {
                    user = user_of(&tag.attribute("entity").unwrap_or_default());
                    if tag.attribute("state").as_deref() == Some("deleted") {
                        self.people.remove(&std::mem::take(&mut user));
                    }
                }
                (Some("endpoint"), "status") => person.status = tag.text(),
                (Some("endpoint"), "disconnection-method") => person.method = tag.text(),
                (Some("roles"), "entry") => person.roles.push(tag.text()),
                _ => {}
            }
            if !tag.empty {
                path.push(tag.name);
            }
        }
    }
}

/// A tag with the text behind it.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    closes: bool,
    empty: bool,
    text: &'a str,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        let at = self.attributes.find(&format!(" {name}=\""))? + name.len() + 3;
        Some(plain(self.attributes[at..].split('"').next()?))
    }

    fn text(&self) -> String {
        plain(self.text.trim())
    }
}

fn tags(xml: &str) -> Vec<Tag<'_>> {
    let pieces = xml.split('<').skip(1).filter(|piece| !piece.starts_with(['?', '!']));
    pieces
        .filter_map(|piece| {
            let (tag, text) = piece.split_once('>')?;
            let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |rest| (true, rest));
            let (empty, tag) = tag.strip_suffix('/').map_or((false, tag), |rest| (true, rest));
            let end = tag.find(char::is_whitespace).unwrap_or(tag.len());
            let name = tag[..end].rsplit(':').next()?;
            Some(Tag { name, attributes: &tag[end..], closes, empty, text })
        })
        .collect()
}

fn plain(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_by_their_versions() {
        let head = |state: &str, version: u32| {
            format!(
                "<?xml version=\"1.0\"?>\r\n<c:conference-info xmlns:c=\"urn:x\" entity=\"sip:g@x\" state=\"{state}\" version=\"{version}\">"
            )
        };
        let full = head("full", 1)
            + "<conference-description><subject>A &amp; B</subject></conference-description><users state=\"full\">\
               <user entity=\"sip:a@x\"><roles><entry>Owner</entry></roles><endpoint entity=\"sip:a@x\"><status>connected</status>\
               </endpoint></user><user entity=\"tel:+1\"><endpoint><status> pending </status></endpoint></user></users></c:conference-info>";
        let mut roster = Roster::default();
        assert!(roster.clone().take(&full.replace("\"full\" version", "\"partial\" version")).is_err());
        roster.take(&full).expect("the first");
        assert_eq!((roster.subject.as_deref(), roster.present()), (Some("A & B"), vec!["+1", "a"]));
        let partial = |version| {
            head("partial", version)
                + "<users state=\"partial\"><user entity=\"sip:a@x\" state=\"deleted\"/><user entity=\"tel:+1\"><endpoint>\
                   <status>disconnected</status><disconnection-method>booted</disconnection-method></endpoint></user></users></c:conference-info>"
        };
        assert!(roster.clone().take(&partial(3)).is_err(), "a gap");
        assert!(roster.clone().take(&full).is_err(), "the same again");
        roster.take(&partial(2)).expect("the second");
        assert_eq!((roster.present().len(), roster.people.len(), roster.documents, roster.full), (0, 1, 2, 1));
        assert_eq!(roster.people["+1"].method, "booted");
    }
}
