//! XCAP: what is put at a selector is what is found there, a second PUT changes nothing, what is refused changes nothing, and
//! every document that an edit leaves can be read again and checked.

#![no_main]

use chappe_xcap::{
    Bindings, Conflict, DocumentPlace, DocumentSelector, EditError, Found, Limits, NodeSelector, Target, delete, find,
    parse, put, text, usage,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A path and a query on lines of their own, then a body up to a zero, then the document.
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let path = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let rest = lines.next().unwrap_or_default();
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (body, document) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let limits = Limits { size: 8192, ..Limits::default() };

    if let Ok(target) = Target::parse(&path, &query) {
        let again = target.document.to_string();
        let again = Target::parse(&again, "").expect("a selector that was read can be written");
        assert_eq!(again.document, target.document);
    }
    let Ok(bindings) = Bindings::parse(&query) else { return };
    let Ok(document) = text(document, &limits) else { return };
    let Ok(parsed) = parse(document, &limits) else { return };
    let default = parsed.root_element().tag_name().namespace().unwrap_or_default().to_owned();
    let selector_namespace = DocumentSelector::of_user("a", "sip:a@b", "index");
    for usage in usage::all() {
        let _ = usage.check(&parsed, &DocumentPlace { root: "http://x", document: &selector_namespace });
        let _ = usage.claims(&parsed);
    }
    let node = path.split_once("~~/").map_or(&*path, |(_, node)| node);
    let Ok(selector) = NodeSelector::parse(node, &bindings, &default) else { return };
    let _ = find(&parsed, &selector);

    match put(document, &selector, body, &limits) {
        Ok(edited) => {
            let now = parse(&edited.text, &limits).expect("an edit leaves a document");
            assert!(matches!(find(&now, &selector), Found::Element(_) | Found::Attribute(..)));
            let again = put(&edited.text, &selector, body, &limits).expect("a PUT can be repeated");
            assert_eq!(again.text, edited.text);
            assert!(!again.created);
            let _ = edited.patch.to_xml();
        }
        Err(EditError::NoParent { steps }) => assert!(steps <= selector.steps.len()),
        Err(EditError::Conflict(conflict)) => {
            let report = conflict.to_xml();
            parse(&report, &Limits::default()).expect("a report is a document");
        }
    }
    match delete(document, &selector, &limits) {
        Ok(Some(edited)) => {
            let now = parse(&edited.text, &limits).expect("an edit leaves a document");
            assert!(matches!(find(&now, &selector), Found::Nothing { .. }));
        }
        Ok(None) | Err(Conflict::CannotDelete | Conflict::SchemaValidation { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
});
