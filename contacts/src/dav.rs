//! CardDAV (RFC 6352) on one address book of one user: PROPFIND, REPORT with multiget, query and sync (RFC 6578), GET, PUT
//! and DELETE. Properties cannot be changed, and there is one collection.

use chappe_xcap::{Limits, percent_decode, percent_encode, xml_escape};
use roxmltree::{Document, Node};

use crate::book::{Book, Contact};
use crate::card::Card;
use crate::filter::Filter;

pub(crate) const DAV: &str = "DAV:";
pub(crate) const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const SERVER: &str = "http://calendarserver.org/ns/";
const XML_TYPE: &str = "application/xml; charset=utf-8";
const CARD_TYPE: &str = "text/vcard; charset=utf-8";
/// Begins a sync-token; the entity tag of the document follows.
const TOKEN: &str = "urn:chappe:sync:";
/// The token of a book that is not there.
const NOTHING: &str = "none";
/// Octets of the name of a resource.
const MAX_NAME: usize = 255;

/// What a path names, below the root of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Root,
    Principal(String),
    Home(String),
    Book(String),
    Card(String, String),
}

impl Place {
    /// Reads a path behind the root, as it was sent.
    pub fn parse(path: &str) -> Option<Place> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let decoded = |segment: &str| percent_decode(segment).ok().filter(|s| !s.contains(['/', '\0']));
        match segments[..] {
            [] => Some(Place::Root),
            ["principals", user] => Some(Place::Principal(decoded(user)?)),
            ["addressbooks", user] => Some(Place::Home(decoded(user)?)),
            ["addressbooks", user, "contacts"] => Some(Place::Book(decoded(user)?)),
            ["addressbooks", user, "contacts", name] => {
                let name = decoded(name).filter(|name| name.len() <= MAX_NAME && !matches!(&**name, "." | ".."))?;
                Some(Place::Card(decoded(user)?, name))
            }
            _ => None,
        }
    }

    /// Whose it is; the root is everybody's.
    pub fn user(&self) -> Option<&str> {
        match self {
            Place::Root => None,
            Place::Principal(user) | Place::Home(user) | Place::Book(user) | Place::Card(user, _) => Some(user),
        }
    }

    fn href(&self, base: &str) -> String {
        let user = self.user().map(|user| percent_encode(user, false)).unwrap_or_default();
        match self {
            Place::Root => format!("{base}/"),
            Place::Principal(_) => format!("{base}/principals/{user}/"),
            Place::Home(_) => format!("{base}/addressbooks/{user}/"),
            Place::Book(_) => format!("{base}/addressbooks/{user}/contacts/"),
            Place::Card(_, name) => format!("{base}/addressbooks/{user}/contacts/{}", percent_encode(name, false)),
        }
    }
}

/// Methods; others are answered 405 or 501 before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DavMethod {
    Options,
    /// HEAD as well.
    Get,
    Put,
    Delete,
    Propfind,
    Report,
    Proppatch,
}

/// Bounds and customs.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The path of the root, without a slash at the end.
    pub base: &'a str,
    /// Octets of a vCard.
    pub max_card: usize,
    /// Of request bodies.
    pub limits: &'a Limits,
}

/// A request of a user for what is theirs, and all that its outcome depends on.
#[derive(Debug, Clone, Copy)]
pub struct DavRequest<'a> {
    /// `user@domain`
    pub user: &'a str,
    pub place: &'a Place,
    pub method: DavMethod,
    /// `Depth`, as it came.
    pub depth: Option<&'a str>,
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    pub body: &'a str,
    pub settings: Settings<'a>,
    pub book: &'a Book,
    /// Entity tag of the document that holds the book.
    pub etag: Option<&'a str>,
    /// The book as a sync-token names it, where [`Wanted::Version`] asked for it: the inner `None` is one that is not
    /// kept any more.
    pub version: Option<Option<&'a Book>>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    pub status: u16,
    pub content_type: Option<&'static str>,
    /// Without quotes.
    pub etag: Option<String>,
    pub body: String,
    pub allow: Option<&'static str>,
}

/// What has to be done first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The document is to become this; then the reply holds.
    Write(String),
    /// The document as it was under this entity tag, and then the same request again.
    Version(String),
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Reply(Reply),
    Do(Wanted, Reply),
}

const ALLOW: &str = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, REPORT";
const ALLOW_COLLECTION: &str = "OPTIONS, PROPFIND, REPORT";

/// Decides on a request. The caller has made sure that the place is the user's.
pub fn decide(request: &DavRequest<'_>) -> Decision {
    match done(request) {
        Ok(decision) => decision,
        Err(failure) => Decision::Reply(failure.reply()),
    }
}

fn done(request: &DavRequest<'_>) -> Result<Decision, Failure> {
    let card = match request.place {
        Place::Card(_, name) => Some(name),
        _ => None,
    };
    let reply = |reply| Ok(Decision::Reply(reply));
    match (request.method, card) {
        (DavMethod::Options, card) => {
            let allow = Some(if card.is_some() { ALLOW } else { ALLOW_COLLECTION });
            reply(Reply { status: 200, allow, ..Reply::default() })
        }
        (DavMethod::Propfind, _) => reply(propfind(request)?),
        (DavMethod::Report, _) => report(request),
        (DavMethod::Proppatch, _) => reply(proppatch(request)?),
        (DavMethod::Get, Some(name)) => reply(get(request, name)?),
        (DavMethod::Put, Some(name)) => put(request, name),
        (DavMethod::Delete, Some(name)) => delete(request, name),
        _ => reply(Reply { status: 405, allow: Some(ALLOW_COLLECTION), ..Reply::default() }),
    }
}

/// Why a request is not fulfilled: a status, and the condition that it broke (RFC 4918 §16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    status: u16,
    condition: Option<(&'static str, &'static str)>,
}

impl Failure {
    const fn of(status: u16) -> Failure {
        Failure { status, condition: None }
    }

    const fn broke(status: u16, namespace: &'static str, name: &'static str) -> Failure {
        Failure { status, condition: Some((namespace, name)) }
    }

    fn reply(self) -> Reply {
        let Some((namespace, name)) = self.condition else { return Reply { status: self.status, ..Reply::default() } };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\"><X:{name} xmlns:X=\"{namespace}\"/></D:error>\n"
        );
        Reply { status: self.status, content_type: Some(XML_TYPE), body, ..Reply::default() }
    }
}

fn get(request: &DavRequest<'_>, name: &str) -> Result<Reply, Failure> {
    let contact = request.book.named(name).ok_or(Failure::of(404))?;
    let etag = Some(contact.etag.clone());
    if not_modified_since(request.if_none_match, &contact.etag) {
        return Ok(Reply { status: 304, etag, ..Reply::default() });
    }
    Ok(Reply { status: 200, content_type: Some(CARD_TYPE), etag, body: contact.card.to_text(None), allow: None })
}

/// Whether `If-None-Match` names an entity tag.
pub fn not_modified_since(if_none_match: Option<&str>, etag: &str) -> bool {
    if_none_match.is_some_and(|list| names(list, Some(etag)))
}

/// Whether a list of entity tags has that of what is there (RFC 9110 §13.1).
fn names(list: &str, etag: Option<&str>) -> bool {
    let Some(etag) = etag else { return false };
    list.trim() == "*" || list.split(',').any(|tag| tag.trim().trim_start_matches("W/").trim_matches('"') == etag)
}

fn conditions(request: &DavRequest<'_>, contact: Option<&Contact>) -> Result<(), Failure> {
    let etag = contact.map(|contact| &*contact.etag);
    let met = request.if_match.is_none_or(|list| names(list, etag))
        && !request.if_none_match.is_some_and(|list| names(list, etag));
    met.then_some(()).ok_or(Failure::of(412))
}

/// RFC 6352 §6.3.2.
fn put(request: &DavRequest<'_>, name: &str) -> Result<Decision, Failure> {
    let old = request.book.named(name);
    conditions(request, old)?;
    if request.body.len() > request.settings.max_card {
        return Err(Failure::broke(403, CARDDAV, "max-resource-size"));
    }
    let mut card = Card::parse(request.body).map_err(|error| match error {
        crate::CardError::Version => Failure::broke(403, CARDDAV, "supported-address-data"),
        _ => Failure::broke(403, CARDDAV, "valid-address-data"),
    })?;
    if card.uid().is_none() {
        card.set("UID", name.strip_suffix(".vcf").unwrap_or(name));
    }
    let uid = card.uid();
    if request.book.contacts.iter().any(|other| other.name != name && other.card.uid() == uid) {
        return Err(Failure::broke(409, CARDDAV, "no-uid-conflict"));
    }
    let document = request.book.put(name, &card);
    // §6.3.2.3: no entity tag where a GET would give something else than what was put.
    let after = Book::read(Some(&document), request.settings.limits).ok();
    let kept = after.as_ref().and_then(|book| book.named(name));
    let etag = kept.filter(|kept| kept.card.to_text(None) == request.body).map(|kept| kept.etag.clone());
    let status = if old.is_some() { 204 } else { 201 };
    Ok(Decision::Do(Wanted::Write(document), Reply { status, etag, ..Reply::default() }))
}

fn delete(request: &DavRequest<'_>, name: &str) -> Result<Decision, Failure> {
    conditions(request, request.book.named(name))?;
    let document = request.book.delete(name).ok_or(Failure::of(404))?;
    Ok(Decision::Do(Wanted::Write(document), Reply { status: 204, ..Reply::default() }))
}

/// Properties that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Props {
    /// By namespace and name; properties of vCards that are wanted in `address-data`, none for all.
    Named(Vec<(String, String)>, Vec<String>),
    All,
    Names,
}

const ALL: [(&str, &str); 6] = [
    (DAV, "resourcetype"),
    (DAV, "displayname"),
    (DAV, "getetag"),
    (DAV, "getcontenttype"),
    (DAV, "getcontentlength"),
    (DAV, "sync-token"),
];

impl Props {
    fn of(node: Node<'_, '_>) -> Option<Props> {
        let child = |name: &'static str| node.children().find(move |child| child.has_tag_name((DAV, name)));
        if child("allprop").is_some() {
            return Some(Props::All);
        }
        if child("propname").is_some() {
            return Some(Props::Names);
        }
        let prop = child("prop")?;
        let named = prop.children().filter(Node::is_element).map(|node| {
            let name = node.tag_name();
            (name.namespace().unwrap_or_default().to_owned(), name.name().to_owned())
        });
        let data = prop.children().find(|child| child.has_tag_name((CARDDAV, "address-data")));
        let wanted = data.into_iter().flat_map(|data| data.children());
        let wanted =
            wanted.filter(|node| node.has_tag_name((CARDDAV, "prop"))).filter_map(|node| node.attribute("name"));
        Some(Props::Named(named.collect(), wanted.map(ToOwned::to_owned).collect()))
    }
}

/// An answer about many resources (RFC 4918 §13).
struct Multistatus {
    out: String,
}

impl Multistatus {
    fn new() -> Multistatus {
        let out = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"{CARDDAV}\" xmlns:S=\"{SERVER}\">\n"
        );
        Multistatus { out }
    }

    fn resource(&mut self, request: &DavRequest<'_>, place: &Place, contact: Option<&Contact>, props: &Props) {
        let base = request.settings.base;
        let all: Vec<(String, String)>;
        let (wanted, partial) = match props {
            Props::Named(wanted, partial) => (wanted, &**partial),
            Props::All | Props::Names => {
                all = ALL.iter().map(|(namespace, name)| ((*namespace).to_owned(), (*name).to_owned())).collect();
                (&all, &[][..])
            }
        };
        let (mut found, mut missing) = (String::new(), String::new());
        for (namespace, name) in wanted {
            let tag = match &**namespace {
                DAV => format!("D:{name}"),
                CARDDAV => format!("C:{name}"),
                SERVER => format!("S:{name}"),
                other => format!("X:{name} xmlns:X=\"{}\"", xml_escape(other)),
            };
            let end = tag.split(' ').next().unwrap_or_default();
            match value(request, place, contact, (namespace, name), partial) {
                Some(_) if *props == Props::Names => found.push_str(&format!("<{tag}/>")),
                Some(value) => found.push_str(&format!("<{tag}>{value}</{end}>")),
                None if matches!(props, Props::Named(..)) => missing.push_str(&format!("<{tag}/>")),
                None => {}
            }
        }
        self.out.push_str(&format!("<D:response><D:href>{}</D:href>", xml_escape(&place.href(base))));
        if !found.is_empty() || missing.is_empty() {
            self.out.push_str(&format!(
                "<D:propstat><D:prop>{found}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
            ));
        }
        if !missing.is_empty() {
            self.out.push_str(&format!(
                "<D:propstat><D:prop>{missing}</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
            ));
        }
        self.out.push_str("</D:response>\n");
    }

    fn gone(&mut self, href: &str) {
        let href = xml_escape(href);
        self.out.push_str(&format!(
            "<D:response><D:href>{href}</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>\n"
        ));
    }

    /// More would have matched (RFC 6352 §8.6.2, RFC 6578 §3.6).
    fn truncated(&mut self, href: &str) {
        let href = xml_escape(href);
        self.out.push_str(&format!(
            "<D:response><D:href>{href}</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status>\
             <D:error><D:number-of-matches-within-limits/></D:error></D:response>\n"
        ));
    }

    fn finish(mut self, token: Option<&str>) -> Reply {
        if let Some(token) = token {
            self.out.push_str(&format!("<D:sync-token>{}</D:sync-token>\n", xml_escape(token)));
        }
        self.out.push_str("</D:multistatus>\n");
        Reply { status: 207, content_type: Some(XML_TYPE), body: self.out, ..Reply::default() }
    }
}

fn token(etag: Option<&str>) -> String {
    format!("{TOKEN}{}", etag.unwrap_or(NOTHING))
}

/// The entity tag that a sync-token names; the inner `None` is a book that was not there.
pub fn token_etag(token: &str) -> Option<Option<&str>> {
    let etag = token.trim().strip_prefix(TOKEN)?;
    Some((etag != NOTHING).then_some(etag))
}

/// The value of a property, as XML.
fn value(
    request: &DavRequest<'_>,
    place: &Place,
    contact: Option<&Contact>,
    (namespace, name): (&str, &str),
    partial: &[String],
) -> Option<String> {
    let base = request.settings.base;
    let href = |place: Place| format!("<D:href>{}</D:href>", xml_escape(&place.href(base)));
    let user = request.user.to_owned();
    let is_book = matches!(place, Place::Book(_));
    Some(match (namespace, name) {
        (DAV, "resourcetype") => match place {
            Place::Root | Place::Home(_) => "<D:collection/>".to_owned(),
            Place::Principal(_) => "<D:collection/><D:principal/>".to_owned(),
            Place::Book(_) => "<D:collection/><C:addressbook/>".to_owned(),
            Place::Card(..) => String::new(),
        },
        (DAV, "displayname") => match (place, contact) {
            (Place::Book(_), _) => "Contacts".to_owned(),
            (_, Some(contact)) => xml_escape(&contact.card.display_name()),
            (Place::Root, _) => return None,
            _ => xml_escape(&user),
        },
        (DAV, "current-user-principal" | "owner" | "principal-URL") => href(Place::Principal(user)),
        (CARDDAV, "addressbook-home-set") => href(Place::Home(user)),
        (DAV, "principal-collection-set") => format!("<D:href>{base}/principals/</D:href>"),
        (DAV, "current-user-privilege-set") => {
            let all = ["read", "write", "write-content", "bind", "unbind", "read-current-user-privilege-set"];
            all.iter().map(|name| format!("<D:privilege><D:{name}/></D:privilege>")).collect()
        }
        (DAV, "supported-report-set") if is_book => {
            let all = ["C:addressbook-multiget", "C:addressbook-query", "D:sync-collection"];
            let one = |name: &&str| format!("<D:supported-report><D:report><{name}/></D:report></D:supported-report>");
            all.iter().map(one).collect()
        }
        (DAV, "sync-token") if is_book => token(request.etag),
        (SERVER, "getctag") if is_book => token(request.etag),
        (CARDDAV, "max-resource-size") if is_book => request.settings.max_card.to_string(),
        (CARDDAV, "supported-address-data") if is_book => {
            let version = |v| format!("<C:address-data-type content-type=\"text/vcard\" version=\"{v}\"/>");
            ["3.0", "4.0"].map(version).concat()
        }
        (CARDDAV, "supported-collation-set") if is_book => {
            let all = ["i;ascii-casemap", "i;octet", "i;unicode-casemap"];
            all.map(|name| format!("<C:supported-collation>{name}</C:supported-collation>")).concat()
        }
        (CARDDAV, "addressbook-description") if is_book => "Contacts of all devices".to_owned(),
        (DAV, "getetag") => format!("\"{}\"", contact?.etag),
        (DAV, "getcontenttype") => contact.map(|_| CARD_TYPE.to_owned())?,
        (DAV, "getcontentlength") => contact?.card.to_text(None).len().to_string(),
        (CARDDAV, "address-data") => {
            let only = (!partial.is_empty()).then_some(partial);
            // The line ends of a vCard would not survive as they are (XML §2.11).
            xml_escape(&contact?.card.to_text(only)).replace("&#10;", "\n")
        }
        _ => return None,
    })
}

fn body<'a>(request: &DavRequest<'a>) -> Result<Document<'a>, Failure> {
    chappe_xcap::parse(request.body, request.settings.limits).map_err(|_| Failure::of(400))
}

fn propfind(request: &DavRequest<'_>) -> Result<Reply, Failure> {
    // No body is as good as allprop (RFC 4918 §9.1).
    let props = match request.body.trim() {
        "" => Props::All,
        _ => {
            let document = body(request)?;
            let root = document.root_element();
            let is_one = root.has_tag_name((DAV, "propfind"));
            is_one.then(|| Props::of(root)).flatten().ok_or(Failure::of(400))?
        }
    };
    let deep = match request.depth {
        Some("0") => false,
        Some("1") => true,
        // Without Depth it is infinite, which need not be served (§9.1.1).
        _ => return Err(Failure::broke(403, DAV, "propfind-finite-depth")),
    };
    let mut all = Multistatus::new();
    let contact = match request.place {
        Place::Card(_, name) => Some(request.book.named(name).ok_or(Failure::of(404))?),
        _ => None,
    };
    all.resource(request, request.place, contact, &props);
    match request.place {
        Place::Home(user) if deep => all.resource(request, &Place::Book(user.clone()), None, &props),
        Place::Book(user) if deep => {
            for contact in &request.book.contacts {
                let place = Place::Card(user.clone(), contact.name.clone());
                all.resource(request, &place, Some(contact), &props);
            }
        }
        _ => {}
    }
    Ok(all.finish(None))
}

/// Nothing can be changed: each property is refused (RFC 4918 §9.2.1).
fn proppatch(request: &DavRequest<'_>) -> Result<Reply, Failure> {
    let document = body(request)?;
    let mut props = String::new();
    for prop in document.descendants().filter(|node| node.has_tag_name((DAV, "prop"))) {
        for node in prop.children().filter(Node::is_element) {
            let name = node.tag_name();
            let namespace = xml_escape(name.namespace().unwrap_or_default());
            props.push_str(&format!("<X:{} xmlns:X=\"{namespace}\"/>", name.name()));
        }
    }
    let mut all = Multistatus::new();
    all.out.push_str(&format!(
        "<D:response><D:href>{}</D:href><D:propstat><D:prop>{props}</D:prop><D:status>HTTP/1.1 403 Forbidden</D:status>\
         <D:error><D:cannot-modify-protected-property/></D:error></D:propstat></D:response>\n",
        xml_escape(&request.place.href(request.settings.base))
    ));
    Ok(all.finish(None))
}

fn report(request: &DavRequest<'_>) -> Result<Decision, Failure> {
    let document = body(request)?;
    let root = document.root_element();
    let Place::Book(user) = request.place else { return Err(Failure::broke(403, DAV, "supported-report")) };
    let props = Props::of(root).unwrap_or(Props::All);
    let name = (root.tag_name().namespace().unwrap_or_default(), root.tag_name().name());
    let reply = match name {
        (CARDDAV, "addressbook-multiget") => multiget(request, root, user, &props),
        (CARDDAV, "addressbook-query") => query(request, root, user, &props)?,
        (DAV, "sync-collection") => return sync(request, root, user, &props),
        _ => return Err(Failure::broke(403, DAV, "supported-report")),
    };
    Ok(Decision::Reply(reply))
}

/// §8.7.
fn multiget(request: &DavRequest<'_>, root: Node<'_, '_>, user: &str, props: &Props) -> Reply {
    let mut all = Multistatus::new();
    for href in root.children().filter(|node| node.has_tag_name((DAV, "href"))).filter_map(|node| node.text()) {
        let href = href.trim();
        let path = href.split_once("://").map_or(href, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let place = path.strip_prefix(request.settings.base).and_then(Place::parse);
        let contact = match &place {
            Some(Place::Card(owner, name)) if owner == user => request.book.named(name),
            _ => None,
        };
        match (place, contact) {
            (Some(place), Some(contact)) => all.resource(request, &place, Some(contact), props),
            _ => all.gone(href),
        }
    }
    all.finish(None)
}

/// §8.6.
fn query(request: &DavRequest<'_>, root: Node<'_, '_>, user: &str, props: &Props) -> Result<Reply, Failure> {
    let filter = root.children().find(|node| node.has_tag_name((CARDDAV, "filter")));
    let filter = filter.map(Filter::parse).transpose();
    let filter = filter.map_err(|_| Failure::broke(403, CARDDAV, "supported-collation"))?;
    let limit = limit(root, CARDDAV);
    let mut all = Multistatus::new();
    let matching = request.book.contacts.iter();
    let mut matching = matching.filter(|contact| filter.as_ref().is_none_or(|filter| filter.matches(&contact.card)));
    for contact in matching.by_ref().take(limit) {
        all.resource(request, &Place::Card(user.to_owned(), contact.name.clone()), Some(contact), props);
    }
    if matching.next().is_some() {
        all.truncated(&request.place.href(request.settings.base));
    }
    Ok(all.finish(None))
}

fn limit(root: Node<'_, '_>, namespace: &'static str) -> usize {
    let limit = root.children().find(|node| node.has_tag_name((namespace, "limit")));
    let results = limit.and_then(|limit| limit.children().find(|node| node.has_tag_name((namespace, "nresults"))));
    results.and_then(|node| node.text()?.trim().parse().ok()).unwrap_or(usize::MAX)
}

/// RFC 6578 §3. A client that limits the answer to less than there is gets it whole (§3.7 lets a server refuse).
fn sync(request: &DavRequest<'_>, root: Node<'_, '_>, user: &str, props: &Props) -> Result<Decision, Failure> {
    let child = |name: &'static str| root.children().find(move |node| node.has_tag_name((DAV, name)));
    let since = child("sync-token").and_then(|node| node.text()).unwrap_or_default().trim();
    if child("sync-level").and_then(|node| node.text()).is_some_and(|level| level.trim() != "1") {
        return Err(Failure::of(403));
    }
    let mut all = Multistatus::new();
    let card = |name: &str| Place::Card(user.to_owned(), name.to_owned());
    let old = match since {
        "" => None,
        since => match token_etag(since).ok_or(Failure::broke(403, DAV, "valid-sync-token"))? {
            None => None,
            Some(etag) if Some(etag) == request.etag => Some(request.book),
            Some(etag) => match request.version {
                None => return Ok(Decision::Do(Wanted::Version(etag.to_owned()), Reply::default())),
                Some(None) => return Err(Failure::broke(403, DAV, "valid-sync-token")),
                Some(Some(old)) => Some(old),
            },
        },
    };
    let before = |name: &str| old.and_then(|old| old.named(name)).map(|contact| &contact.etag);
    let changed: Vec<&Contact> =
        request.book.contacts.iter().filter(|contact| before(&contact.name) != Some(&contact.etag)).collect();
    let removed = old.map_or(&[][..], |old| &old.contacts[..]);
    let removed: Vec<&Contact> = removed.iter().filter(|contact| request.book.named(&contact.name).is_none()).collect();
    if changed.len() + removed.len() > limit(root, DAV) {
        return Err(Failure::broke(507, DAV, "number-of-matches-within-limits"));
    }
    for contact in changed {
        all.resource(request, &card(&contact.name), Some(contact), props);
    }
    for contact in removed {
        all.gone(&card(&contact.name).href(request.settings.base));
    }
    Ok(Decision::Reply(all.finish(Some(&token(request.etag)))))
}

#[cfg(test)]
mod tests;
