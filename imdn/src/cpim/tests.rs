use super::*;
use crate::{Envelope, Receipt, Status, date_time, head_is_complete, is_understood, message_id};
use proptest::prelude::*;

const CHAT: &str = "From: Alice <sip:alice@example.com>\r\n\
     To: <sip:bob@example.com>\r\n\
     DateTime: 2026-03-04T10:15:30.250Z\r\n\
     NS: imdn <urn:ietf:params:imdn>\r\n\
     imdn.Message-ID: Ms7a9f0c2e41d8b6\r\n\
     imdn.Disposition-Notification: positive-delivery, display\r\n\
     NS: x <urn:x>\r\n\
     x.Unknown:;p=1 kept  as it\\tis\r\n\
     \r\n\
     Content-Type: text/plain; charset=UTF-8\r\n\
     Content-Length: 11\r\n\
     \r\n\
     Hello there";

fn parse(text: &str) -> Cpim<'_> {
    Cpim::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_chat_message() {
    let chat = parse(CHAT);
    let from = chat.from().unwrap();
    assert_eq!((from.name.as_deref(), from.uri), (Some("Alice"), "sip:alice@example.com"));
    assert_eq!(chat.to()[0].uri, "sip:bob@example.com");
    assert_eq!(chat.date_time(), Some("2026-03-04T10:15:30.250Z"));
    assert_eq!(chat.message_id(), Some("Ms7a9f0c2e41d8b6"));
    assert_eq!(chat.dispositions().to_string(), "positive-delivery, display");
    assert_eq!(chat.value("urn:x", "Unknown").unwrap(), "kept  as it\tis");
    assert_eq!(chat.content_type(), Some("text/plain; charset=UTF-8"));
    assert_eq!(chat.body(), b"Hello there");
    assert!(!chat.is_receipt());
    assert_eq!(chat.to_bytes(), CHAT.as_bytes());
}

/// Each is read as the message id M1, asking for display, with content "hi", and written back as it came.
#[test]
fn habits_of_senders() {
    let ns = "NS: imdn <urn:ietf:params:imdn>\r\n";
    let ask = "imdn.Message-ID: M1\r\nimdn.Disposition-Notification: display\r\n";
    let tail = "\r\nContent-type: text/plain\r\n\r\nhi";
    for (name, text) in [
        ("plain", format!("{ns}{ask}{tail}")),
        ("line feeds", format!("{ns}{ask}{tail}").replace("\r\n", "\n")),
        ("other prefix", format!("{ns}{ask}{tail}").replace("imdn.", "zz.").replace("NS: imdn", "NS: zz")),
        (
            "prefix means nothing by itself",
            format!(
                "NS: imdn <urn:other>\r\nimdn.Message-ID: X\r\nNS: i <urn:ietf:params:imdn>\r\n{}{tail}",
                ask.replace("imdn.", "i.")
            ),
        ),
        ("default namespace", format!("NS: <urn:ietf:params:imdn>\r\n{}{tail}", ask.replace("imdn.", ""))),
        ("no declaration", format!("{ask}{tail}")),
        ("no prefix either", format!("{}{tail}", ask.replace("imdn.", ""))),
        ("lower case", format!("{ns}{}{tail}", ask.to_lowercase().replace("m1", "M1"))),
        ("no space after the colon", format!("{ns}{}{tail}", ask.replace(": ", ":"))),
        ("several spaces", format!("{ns}{}{tail}", ask.replace(": ", ":  "))),
        ("asked twice", format!("{ns}{ask}imdn.Disposition-Notification: \r\n{tail}")),
        ("folded", format!("{ns}{}{tail}", ask.replace(": display", ":\r\n display"))),
        ("outer type repeated", format!("Content-Type: Message/CPIM\r\n\r\n{ns}{ask}{tail}")),
        ("empty lines in front", format!("\r\n\r\n{ns}{ask}{tail}")),
        ("no empty line before the content headers", format!("{ns}{ask}Content-type: text/plain\r\n\r\nhi")),
        ("content without headers", format!("{ns}{ask}\r\n\r\nhi")),
        ("content without even their line", format!("{ns}{ask}\r\nhi")),
        ("wrong length", format!("{ns}{ask}\r\nContent-Type: text/plain\r\nContent-Length: 400\r\n\r\nhi")),
    ] {
        let seen = parse(&text);
        let facts = (seen.message_id(), seen.dispositions().to_string(), seen.body());
        assert_eq!(facts, (Some("M1"), "display".to_owned(), b"hi".as_slice()), "{name}");
        assert_eq!(seen.to_bytes(), text.as_bytes(), "{name}");
    }
}

#[test]
fn core_names_have_case_but_forgive() {
    let both = parse("from: <sip:wrong@b>\r\nFrom: <sip:a@b>\r\n\r\nContent-Type: a/b\r\n\r\n");
    assert_eq!(both.from().unwrap().uri, "sip:a@b");
    assert_eq!(parse("from: <sip:a@b>\r\n\r\n\r\n").from().unwrap().uri, "sip:a@b");
}

#[test]
fn binary_and_encoded_content() {
    let bytes = b"From: <sip:a@b>\r\n\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\0\xff\r\n\r\n";
    let seen = Cpim::parse(bytes).unwrap();
    assert_eq!(seen.body(), b"\x89PNG\r\n\x1a\n\0\xff\r\n\r\n");
    assert_eq!(seen.to_bytes(), bytes);
    let encoded = parse("From: <sip:a@b>\r\n\r\nContent-Transfer-Encoding: BASE64\r\n\r\naGVs\r\nbG8=\r\n");
    assert_eq!(encoded.decoded_body().unwrap().as_ref(), b"hello");
    assert_eq!(encoded.body(), b"aGVs\r\nbG8=\r\n");
    assert_eq!(parse("A: b\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n!").decoded_body(), None);
}

#[test]
fn nothing_is_asked_in_vain() {
    let receipt = CHAT.replace("text/plain; charset=UTF-8", "message/imdn+xml");
    assert!(parse(&receipt).is_receipt());
    assert!(parse(&receipt).dispositions().is_empty(), "no receipt for a receipt");
    let nameless = CHAT.replace("imdn.Message-ID: Ms7a9f0c2e41d8b6\r\n", "");
    assert!(parse(&nameless).dispositions().is_empty(), "no id to tell it by");
    let disposition = CHAT.replace("Content-Length: 11", "content-disposition: Notification");
    assert!(parse(&disposition).is_receipt());
}

#[test]
fn refused() {
    let limits = Limits { headers: 2, head: 60 };
    for (name, text, expected) in [
        ("nothing", "", ParseError::Empty),
        ("empty lines", "\r\n\r\n", ParseError::Empty),
        ("only content", "Content-Type: text/plain\r\n\r\nhi", ParseError::Empty),
        ("no colon", "From: <sip:a@b>\r\nnonsense\r\n\r\n", ParseError::Line { at: 17 }),
        ("name with a space", "Fr om: <sip:a@b>\r\n\r\n", ParseError::Line { at: 0 }),
        ("continuation of nothing", " From: <sip:a@b>\r\n\r\n", ParseError::Line { at: 0 }),
        ("broken content header", "A: b\r\n\r\nContent-Type: a/b\r\nnonsense\r\n\r\n", ParseError::Line { at: 27 }),
        ("headers", "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n", ParseError::TooManyHeaders { max: 2 }),
        (
            "length",
            "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n",
            ParseError::HeadTooLong { max: 60 },
        ),
    ] {
        assert_eq!(Cpim::parse_within(text.as_bytes(), limits), Err(expected), "{name}");
    }
}

#[test]
fn intermediaries_add_themselves() {
    let text = "From: <sip:a@b>\r\nNS: i <urn:ietf:params:imdn>\r\ni.IMDN-Record-Route: <sip:first@b>\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhi";
    let mut message = parse(text);
    message.add_record_route("sip:second@b");
    message.set_original_to("sip:list@b");
    message.set_original_to("sip:other@b");
    assert_eq!(
        String::from_utf8(message.to_bytes()).unwrap(),
        "From: <sip:a@b>\r\nNS: i <urn:ietf:params:imdn>\r\ni.IMDN-Record-Route: <sip:second@b>\r\n\
         i.IMDN-Record-Route: <sip:first@b>\r\ni.Original-To: <sip:list@b>\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhi"
    );
    let mut bare = parse("NS: imdn <urn:other>\r\nFrom: <sip:a@b>");
    bare.add_record_route("sip:me@b");
    assert_eq!(
        String::from_utf8(bare.to_bytes()).unwrap(),
        "NS: imdn1 <urn:ietf:params:imdn>\r\nNS: imdn <urn:other>\r\nFrom: <sip:a@b>\r\n\
         imdn1.IMDN-Record-Route: <sip:me@b>\r\n"
    );
}

#[test]
fn routes_are_popped_from_the_top() {
    let text =
        "NS: imdn <urn:ietf:params:imdn>\r\nimdn.IMDN-Route: <sip:one@b>\r\nimdn.IMDN-Route: <sip:two@b>\r\n\r\n\r\n";
    let mut receipt = parse(text);
    assert!(receipt.pop_route());
    assert_eq!(receipt.routes().iter().map(|address| address.uri).collect::<Vec<_>>(), ["sip:two@b"]);
    assert!(receipt.pop_route());
    assert!(!receipt.pop_route());
}

#[test]
fn head_of_a_message_in_chunks() {
    let limits = Limits::default();
    let head = CHAT.len() - "Hello there".len();
    for len in 0..=CHAT.len() {
        assert_eq!(head_is_complete(&CHAT.as_bytes()[..len], limits), len >= head, "{len} bytes");
    }
    assert!(!head_is_complete(b"A: b\r\n\r\nContent-Ty", limits));
    assert!(head_is_complete(b"A: b\r\n\r\nhello\r\n", limits));
    assert!(!head_is_complete(b"A: b\r\n\tContent-Type: c\r\n", limits), "the header goes on");
    assert!(!head_is_complete(b"A: b\r\n\r\nContent-Type\r\n", limits), "the header may go on");
    assert!(!head_is_complete(b"A: b\r\n\r\nContent-Type\r\n\t: c", limits));
    assert!(head_is_complete(b"A: b\r\n\r\nContent-Type\r\nd", limits));
    assert!(head_is_complete(&[b'a'; 99], Limits { head: 98, ..limits }));
}

#[test]
fn composed_and_read() {
    let bytes = Envelope::new("sip:alice@example.com", "tel:+15550100002")
        .header("DateTime", &date_time(1_772_619_330_250))
        .namespace("imdn", IMDN_NAMESPACE)
        .header("imdn.Message-ID", &message_id([7; 15]))
        .header("Subject", "two\r\nlines")
        .content("text/plain", &[], "Grüße".as_bytes());
    let seen = Cpim::parse(&bytes).unwrap();
    assert_eq!(seen.message_id().unwrap().len(), 21);
    assert_eq!(seen.value(CORE_NAMESPACE, "Subject").unwrap(), "two\r\nlines");
    assert_eq!(seen.content_header("content-length"), Some("7"));
    assert_eq!(seen.body(), "Grüße".as_bytes());
}

#[test]
fn a_copy_for_one_of_a_list() {
    let text =
        "From: <sip:a@b>\r\nTo: <sip:list@b>\r\ncc: <sip:c@b>\r\nTo: <sip:other@b>\r\n\r\nContent-Type: a/b\r\n\r\nhi";
    let mut copy = parse(text);
    copy.redirect("sip:member@b", true);
    copy.redirect("sip:again@b", true);
    assert_eq!(
        String::from_utf8(copy.to_bytes()).unwrap(),
        "NS: imdn <urn:ietf:params:imdn>\r\nFrom: <sip:a@b>\r\nTo: <sip:again@b>\r\ncc: <sip:c@b>\r\n\
         imdn.Original-To: <sip:list@b>\r\n\r\nContent-Type: a/b\r\n\r\nhi"
    );
    let mut silent = parse("From: <sip:a@b>\r\n\r\n\r\n");
    silent.redirect("sip:member@b", false);
    assert_eq!(silent.to_bytes(), b"From: <sip:a@b>\r\nTo: <sip:member@b>\r\n\r\n\r\n");
}

#[test]
fn a_date_is_set_where_there_is_none() {
    let mut dated = parse(CHAT);
    assert!(!dated.set_date_time(0));
    assert_eq!(dated.to_bytes(), CHAT.as_bytes());
    let mut undated = parse("From: <sip:a@b>\r\n\r\n\r\n");
    assert!(undated.set_date_time(0));
    assert_eq!(undated.date_time(), Some("1970-01-01T00:00:00.000Z"));
}

#[test]
fn receipts_pass_from_one_intermediary_to_the_next() {
    let routed = |routes: &[&str]| {
        let routes: String = routes.iter().map(|uri| format!("imdn.IMDN-Route: {uri}\r\n")).collect();
        format!("To: <sip:sender@b>\r\n{routes}\r\nContent-Type: message/imdn+xml\r\n\r\n")
    };
    for (name, routes, next, left) in [
        ("none", vec![], "sip:sender@b", 0),
        ("us alone", vec!["<sip:us@b>"], "sip:sender@b", 0),
        ("us and another", vec!["<sip:us@b>", "<sip:far@b>"], "sip:far@b", 1),
        ("us twice in a row", vec!["<sip:us@b>", "<sip:us@b>", "<sip:far@b>", "<sip:us@b>"], "sip:far@b", 2),
        ("another on top", vec!["<sip:far@b>", "<sip:us@b>"], "sip:far@b", 2),
    ] {
        let text = routed(&routes);
        let mut receipt = parse(&text);
        assert_eq!(receipt.pass_receipt(|uri| uri == "sip:us@b").as_deref(), Some(next), "{name}");
        assert_eq!(receipt.routes().len(), left, "{name}");
    }
    assert_eq!(parse("From: <sip:a@b>\r\n\r\n\r\n").pass_receipt(|_| true), None);
}

#[test]
fn what_must_be_understood() {
    for (name, text, expected) in [
        ("nothing", "From: <sip:a@b>\r\n", vec![]),
        ("what we know", "Require: Subject,imdn.Message-ID, i.Original-To\r\n", vec!["i.Original-To"]),
        ("by its namespace", "NS: i <urn:ietf:params:imdn>\r\nRequire: Subject, i.Original-To\r\n", vec![]),
        (
            "another namespace",
            "NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\nRequire: MyFeatures.VitalMessageOption\r\n",
            vec!["MyFeatures.VitalMessageOption"],
        ),
        ("no prefix", "Require: Whatever , subject\r\nRequire: More\r\n", vec!["Whatever", "subject", "More"]),
        ("default namespace", "NS: <urn:x>\r\nRequire: From, X\r\n", vec!["X"]),
        ("not this header", "NS: x <urn:x>\r\nx.Require: y\r\nrequire: z\r\n", vec![]),
        ("empty", "Require: \r\nRequire: ,\r\n", vec![]),
    ] {
        let text = format!("{text}\r\nContent-Type: text/plain\r\n\r\nhi");
        assert_eq!(parse(&text).unmet_requirements(is_understood), expected, "{name}");
    }
    let garbled = Cpim::parse(b"Require: \xff\r\n\r\n\r\n").unwrap();
    assert_eq!(garbled.unmet_requirements(is_understood), ["?"]);
    let known = parse("NS: x <urn:x>\r\nRequire: x.Y\r\n\r\n\r\n");
    assert!(known.unmet_requirements(|namespace, name| (namespace, name) == ("urn:x", "Y")).is_empty());
}

#[test]
fn other_content_in_the_same_headers() {
    for (text, expected) in [
        (
            "A: b\r\n\r\nContent-Type: text/plain\r\ncontent-length: 4\r\nContent-Transfer-Encoding: base64\r\nX:y\r\n\r\naGk=",
            "A: b\r\n\r\nContent-Type: text/plain\r\ncontent-length: 5\r\nX:y\r\n\r\nhello",
        ),
        ("A: b\r\nContent-Type: a/b\r\n\r\nhi", "A: b\r\nContent-Type: a/b\r\n\r\nhello"),
        ("A: b\r\n\r\nhi", "A: b\r\n\r\n\r\nhello"),
        ("A: b", "A: b\r\n\r\n\r\nhello"),
        ("A: b\r\n\r\nContent-Type: a/b", "A: b\r\n\r\nContent-Type: a/b\r\n\r\nhello"),
    ] {
        assert_eq!(String::from_utf8(parse(text).to_bytes_around(b"hello")).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_receipt_without_its_recipient() {
    let receipt = Receipt { original_to: Some("sip:list@b"), ..Receipt::delivered("sip:r@b", "sip:s@b", "M", "d") };
    let bytes = receipt.to_cpim("N", 0);
    let seen = Cpim::parse(&bytes).unwrap();
    let hidden = Notification::without_recipient(seen.body()).unwrap();
    let bytes = seen.to_bytes_around(&hidden);
    let seen = Cpim::parse(&bytes).unwrap();
    assert_eq!(seen.content_header("Content-Length"), Some(seen.body().len().to_string().as_str()));
    let notification = seen.notifications().remove(0).unwrap();
    assert_eq!((notification.recipient, notification.original_recipient), (None, None));
    assert_eq!((notification.message_id.as_str(), notification.status), ("M", Status::Delivered));
}

/// Bytes that look like envelopes now and then.
fn envelopes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"NS: imdn <urn:ietf:params:imdn>\r\n".to_vec()),
        Just(b"NS: <urn:ietf:params:imdn>\r\n".to_vec()),
        Just(b"imdn.IMDN-Record-Route: <sip:a@b>\n".to_vec()),
        Just(b"Content-Type: message/cpim\r\n".to_vec()),
        Just(b"From: <sip:a@b>\r\n".to_vec()),
        "[a-zA-Z.]{1,12}:[ ;]?[ -~]{0,20}(\r\n|\n|\r\n )".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A header that nobody here knows, in the spellings that come in.
fn foreign_line() -> impl Strategy<Value = String> {
    "X-[a-zA-Z.]{1,10} ?:(;lang=[a-z]{2} )? {0,3}[!-~]{0,10}( {1,2}[!-~äß]{1,5})?(\\r\\n [!-~]{1,9})? {0,2}(\r\n|\n)"
}

proptest! {
    #[test]
    fn written_back_as_it_came(bytes in envelopes()) {
        if let Ok(seen) = Cpim::parse(&bytes) {
            prop_assert_eq!(seen.to_bytes(), bytes);
        }
    }

    #[test]
    fn additions_leave_the_rest_alone(bytes in envelopes()) {
        let Ok(before) = Cpim::parse(&bytes) else { return Ok(()) };
        let mut changed = before.clone();
        changed.add_record_route("sip:me@example.com");
        changed.set_original_to("sip:list@example.com");
        let written = changed.to_bytes();
        let after = Cpim::parse(&written).unwrap();
        prop_assert_eq!(after.body(), before.body());
        prop_assert_eq!(after.content_headers(), before.content_headers());
        prop_assert_eq!(after.record_routes().len(), before.record_routes().len() + 1);
        prop_assert!(after.record_routes().iter().any(|one| one.uri == "sip:me@example.com"));
        prop_assert!(after.all(IMDN_NAMESPACE, "Original-To").len() == 1 || before.original_to().is_some());
    }

    #[test]
    fn edits_leave_foreign_headers_alone(
        lines in proptest::collection::vec(foreign_line(), 1..8),
        edits in proptest::collection::vec(0_usize..7, 1..10),
        body: Vec<u8>,
    ) {
        let known = "To: <sip:list@b>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.IMDN-Route: <sip:us@b>\r\n";
        let content = "\r\ncOntent-Type:text/plain\r\nX-More:  a\r\n\r\n";
        let bytes = [lines.concat().as_bytes(), known.as_bytes(), content.as_bytes(), &body].concat();
        let mut cpim = Cpim::parse(&bytes).unwrap();
        prop_assert_eq!(&cpim.to_bytes(), &bytes);
        for edit in edits {
            match edit {
                0 => cpim.add_record_route("sip:me@b"),
                1 => cpim.set_original_to("sip:list@b"),
                2 => cpim.redirect("sip:member@b", true),
                3 => drop(cpim.pass_receipt(|_| true)),
                4 => drop(cpim.set_date_time(0)),
                5 => cpim.push(Header::new("imdn.Message-ID", "M")),
                _ => drop(cpim.remove(IMDN_NAMESPACE, "Message-ID")),
            }
        }
        let written = cpim.to_bytes();
        let after = Cpim::parse(&written).unwrap();
        let foreign: Vec<_> = after.headers().iter().filter(|one| one.name().starts_with("X-")).map(Header::as_bytes).collect();
        prop_assert_eq!(foreign, lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        prop_assert!(written.ends_with(&[content.as_bytes(), &body].concat()));
    }

    #[test]
    fn values_round_trip(value: String, body: Vec<u8>) {
        let bytes = Envelope::new("sip:a@b", "sip:b@b").header("X", &value).content("a/b", &[], &body);
        let seen = Cpim::parse_within(&bytes, Limits { head: usize::MAX, ..Limits::default() }).unwrap();
        prop_assert_eq!(seen.body(), body.as_slice());
        // Spaces around a value belong to the header, not to it.
        let printed = seen.value(CORE_NAMESPACE, "X").unwrap();
        prop_assert_eq!(printed.trim_matches(' '), value.trim_matches(' '));
    }
}

/// Content may begin with a line that would continue a header, had there been one.
#[test]
fn a_folded_line_is_no_content_header() {
    let cpim = Cpim::parse(b"A: b\n\n\tContent-Type: c\n\nd").unwrap();
    assert!(cpim.content_headers().is_empty());
    assert_eq!(cpim.body(), b"\tContent-Type: c\n\nd");
}
