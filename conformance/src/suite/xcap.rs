//! XCAP (RFC 4825, RFC 4826): documents, nodes, conditions, conflicts. Needs `--http` and two accounts.

mod changes;
mod conflicts;
mod documents;
mod nodes;

use crate::case::{Case, Ctx, Lease, Verdict, cases, check, skip};
use crate::http::{Ask, Client, Reply};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "xcap";
        "4825 12" "capabilities" Must "The capabilities name xcap-caps and what else is served" => documents::capabilities;
        "4825 8" "challenge" Must "Who is not known is challenged for digest" => documents::challenge;
        "4825 8.2.3" "create" Must "A new document is 201 with an entity tag, and is read back byte for byte" => documents::create;
        "4825 8.2.4" "replace" Must "A replacement is 200 without content, with another entity tag" => documents::replace;
        "4825 8.4" "delete" Must "A deleted document is gone, and gone again is 404" => documents::delete;
        "4825 8" "unknown-usage" Must "A usage that is not served is 404" => documents::unknown_usage;
        "4825 8" "unknown-user" Must "A user who is not known is 404" => documents::unknown_user;
        "4825 5.7" "others" Must "Documents of others are refused with 403" => documents::others;
        "4825 5.7" "global" Must "Users do not write to the global tree" => documents::global;
        "4825 8.1" "post" Should "POST is 405" => documents::post;
        "4825 8.2.2" "type" Must "A document, element or attribute of another media type is 415" => documents::types;
        "4825 8.2.6" "if-match" Must "If-Match is held against the one entity tag of the document" => documents::if_match;
        "4825 8.2.6" "if-none-match" Must "If-None-Match: * makes only new documents, and never an element" => documents::if_none_match;
        "4825 8.3" "not-modified" Must "A GET with the present entity tag is 304, of any node" => documents::not_modified;
        "4825 8.5" "one-tag" Must "All nodes of a document have its entity tag" => documents::one_tag;
        "4825 6" "spellings" Must "Percent-encoding and the separator are read in every spelling" => documents::spellings;
        "4825 14" "hostile" Must "Document types, depth and size are refused, and the server goes on" => documents::hostile;
        "4825 13" "bill" Must "The example of the specification runs as it is written" => nodes::bill;
        "4825 8.2.3" "insertion" Must "New elements go where the rules of insertion put them" => nodes::insertion;
        "4825 8.3" "attribute" Must "An attribute is read with its quotes, set and deleted" => nodes::attribute;
        "4825 6.4" "namespaces" Must "Names are compared by the namespaces that the query binds" => nodes::namespaces;
        "4825 10" "bindings" Must "The namespaces in scope of an element can be read, and not written" => nodes::bindings;
        "4825 8" "unbound" Must "A prefix that the query does not bind is 400" => nodes::unbound;
        "4825 6.3" "no-match" Must "A selector that picks nothing, or several, is 404" => nodes::no_match;
        "4825 8.4" "space" Must "A deletion leaves the space around what is deleted" => nodes::space;
        "4825 8.2.5" "extensions" Must "Elements of unknown namespaces are taken where the schema lets them in" => nodes::extensions;
        "4825 11.1" "not-well-formed" Should "A body that is no document makes not-well-formed" => conflicts::not_well_formed;
        "4825 11.1" "not-xml-frag" Should "A body that is not one element makes not-xml-frag" => conflicts::not_xml_frag;
        "4825 11.1" "not-xml-att-value" Should "A body that is no value makes not-xml-att-value" => conflicts::not_xml_att_value;
        "4825 11.1" "not-utf-8" Should "Another encoding makes not-utf-8" => conflicts::not_utf_8;
        "4825 11.1" "no-parent" Should "A missing parent makes no-parent, whose ancestor exists" => conflicts::no_parent;
        "4825 11.1" "cannot-insert" Should "What the URI would not select makes cannot-insert" => conflicts::cannot_insert;
        "4825 11.1" "cannot-delete" Should "A deletion that would not be idempotent makes cannot-delete" => conflicts::cannot_delete;
        "4825 11.1" "schema" Should "What the schema forbids makes schema-validation-error" => conflicts::schema;
        "4826 3.4.5" "siblings" Must "Two entries of one URI in a list make uniqueness-failure" => conflicts::siblings;
        "4826 4.4.5" "service-uri" Must "The URI of a service is unique on the server; free ones are suggested" => conflicts::service_uri;
        "5875 4.7" "changes-first" Must "The first NOTIFY of xcap-diff names the documents that are there and shows the nodes" => changes::first;
        "5875 4.3" "changes-document" Must "Changed, made and deleted documents are told with their entity tags" => changes::document;
        "5875 4.3" "changes-patch" Should "With xcap-patching a change of a node is told as an operation" => changes::patch;
        "5875 4.7" "changes-node" Must "A node that comes and goes is told as it is" => changes::node;
        "5875 4.4" "changes-list" Must "A refresh with another list replaces the list" => changes::list;
        "5875 7" "changes-others" Must "Nothing is told of documents of others" => changes::others;
        "5875 4.4" "changes-junk" Must "A list that is none is refused" => changes::junk;
        "5025 3" "rules-at-once" Must "A watcher that written rules block is told so at once" => changes::rules;
        "4826 4.4.5" "resource-list" Must "A service names a list of its owner" => conflicts::resource_list;
    }
}

pub(crate) const LISTS: &str = "application/resource-lists+xml";
pub(crate) const ELEMENT: &str = "application/xcap-el+xml";
pub(crate) const ATTRIBUTE: &str = "application/xcap-att+xml";
pub(crate) const NS: &str = "urn:ietf:params:xml:ns:resource-lists";

/// A document of the first of two users, which is deleted before the case ends.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) other: Client,
    pub(crate) root: String,
    /// `sip:user@domain`
    pub(crate) xui: String,
    pub(crate) auid: &'static str,
    pub(crate) name: String,
    pub(crate) lease: Lease,
}

impl Bench {
    pub(crate) async fn new(ctx: &Ctx, auid: &'static str) -> Verdict<Bench> {
        let Some((addr, host, _)) = ctx.shared.ws.clone() else { return skip("no --http given") };
        let lease = ctx.accounts(2).await?;
        let client = |n: usize| Client::new(addr, &host, Some(lease[n].clone()), Some(ctx.log.clone()));
        let xui = format!("sip:{}@{}", lease[0].user, ctx.domain());
        let name = format!("t-{}", ctx.id());
        let (client, other) = (client(0), client(1));
        let mut bench = Bench { client, other, root: "/xcap-root".into(), xui, auid, name, lease };
        let target = format!("{}/xcap-caps/global/index", bench.root);
        let caps = bench.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await?;
        if matches!(caps.status, 404 | 405 | 501) {
            return skip("no XCAP at /xcap-root");
        }
        Ok(bench)
    }

    /// The same with a document in it.
    pub(crate) async fn with(ctx: &Ctx, content: &str) -> Verdict<Bench> {
        let mut bench = Bench::new(ctx, "resource-lists").await?;
        let reply = bench.put("", LISTS, &lists(content)).await?;
        check!(reply.status == 201, "the document is not made: {}", reply.status);
        Ok(bench)
    }

    pub(crate) fn target(&self, node: &str) -> String {
        let separator = if node.is_empty() { "" } else { "/~~/" };
        format!("{}/{}/users/{}/{}{separator}{}", self.root, self.auid, self.xui, self.name, encode(node))
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        node: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Verdict<Reply> {
        let target = self.target(node);
        self.client.ask(Ask { method, target: &target, headers, body: body.as_bytes() }).await
    }

    pub(crate) async fn put(&mut self, node: &str, media_type: &str, body: &str) -> Verdict<Reply> {
        self.ask("PUT", node, &[("Content-Type", media_type)], body).await
    }

    pub(crate) async fn get(&mut self, node: &str) -> Verdict<Reply> {
        self.ask("GET", node, &[], "").await
    }

    pub(crate) async fn delete(&mut self, node: &str) -> Verdict<Reply> {
        self.ask("DELETE", node, &[], "").await
    }

    /// Takes the document away, whatever became of it.
    pub(crate) async fn end(mut self) -> Verdict {
        let _ = self.delete("").await?;
        Ok(())
    }
}

/// A document of lists.
pub(crate) fn lists(content: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"{NS}\">{content}</resource-lists>")
}

/// As a node selector goes into a URI; a query stays as it is.
pub(crate) fn encode(node: &str) -> String {
    let (node, query) = node.split_once('?').map_or((node, None), |(node, query)| (node, Some(query)));
    let mut out = String::new();
    for byte in node.bytes() {
        match byte {
            b'"' | b'[' | b']' | b' ' | b'<' | b'>' => out += &format!("%{byte:02X}"),
            byte if byte.is_ascii() => out.push(byte as char),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    if let Some(query) = query {
        out.push('?');
        out += query;
    }
    out
}

pub(crate) fn expect(reply: &Reply, status: u16, what: &str) -> Verdict {
    check!(reply.status == status, "{what}: expected {status}, got {} {}", reply.status, reply.text());
    Ok(())
}
