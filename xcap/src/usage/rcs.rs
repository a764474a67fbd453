//! Lists that RCS phones expect in `resource-lists`: who is a buddy, who is blocked, who is let see presence.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::resource_lists::NAMESPACE;
use crate::encode::xml_escape;
use crate::target::DocumentSelector;
use crate::xui::canonical;

/// Buddies.
pub const BUDDIES: &str = "rcs";
/// Whose messages and calls are not wanted.
pub const BLOCKED: &str = "rcs_blockedcontacts";
/// Whose presence was taken back for a while.
pub const REVOKED: &str = "rcs_revokedcontacts";

/// Where the lists are.
pub fn document(xui: &str) -> DocumentSelector {
    DocumentSelector::of_user("resource-lists", xui, "index")
}

/// The lists as they are before anybody has written them. `root` is absolute, without a slash at the end.
pub fn lists(root: &str, xui: &str) -> String {
    let anchor = |name: &str| {
        let uri = format!("{root}/{}/~~/resource-lists/list%5B@name=%22{name}%22%5D", document(xui));
        format!("    <external anchor=\"{}\"/>\n", xml_escape(&uri))
    };
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"{NAMESPACE}\">\n");
    for (name, parts) in [
        ("oma_buddylist", &[BUDDIES][..]),
        ("oma_grantedcontacts", &[BUDDIES]),
        ("oma_blockedcontacts", &[BLOCKED, REVOKED]),
    ] {
        out.push_str(&format!("  <list name=\"{name}\">\n"));
        parts.iter().for_each(|part| out.push_str(&anchor(part)));
        out.push_str("  </list>\n");
    }
    for (name, display) in
        [(BUDDIES, "My presence buddies"), (BLOCKED, "My blocked contacts"), (REVOKED, "My revoked contacts")]
    {
        out.push_str(&format!("  <list name=\"{name}\"><display-name>{display}</display-name></list>\n"));
    }
    out.push_str("</resource-lists>\n");
    out
}

/// Who is in a list of a document of `resource-lists`, as canonical addresses and numbers. Lists in it count as well.
pub fn members(text: &str, list: &str) -> BTreeSet<String> {
    let Ok(document) = Document::parse(text) else { return BTreeSet::new() };
    let lists = document.root_element().children().filter(|child| child.has_tag_name((NAMESPACE, "list")));
    lists.filter(|found| found.attribute("name") == Some(list)).flat_map(|found| entries(found)).collect()
}

fn entries(list: Node<'_, '_>) -> Vec<String> {
    let entries = list.descendants().filter(|node| node.has_tag_name((NAMESPACE, "entry")));
    entries.filter_map(|entry| entry.attribute("uri")).map(canonical).collect()
}
