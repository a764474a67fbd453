use super::*;
use proptest::prelude::*;

const DELIVERED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn">
  <message-id>Ms7a9f0c2e41d8b6</message-id>
  <datetime>2026-03-04T10:15:30.250Z</datetime>
  <recipient-uri>tel:+15550100002</recipient-uri>
  <original-recipient-uri>tel:+15550100002</original-recipient-uri>
  <delivery-notification><status><delivered/></status></delivery-notification>
</imdn>"#;

#[test]
fn a_delivery() {
    let seen = Notification::parse(DELIVERED.as_bytes()).unwrap();
    let expected = Notification {
        message_id: "Ms7a9f0c2e41d8b6".into(),
        date_time: "2026-03-04T10:15:30.250Z".into(),
        recipient: Some("tel:+15550100002".into()),
        original_recipient: Some("tel:+15550100002".into()),
        subject: None,
        disposition: Disposition::Delivery,
        status: Status::Delivered,
    };
    assert_eq!(seen, expected);
    assert_eq!(Notification::parse(seen.to_xml().as_bytes()), Ok(expected));
}

#[test]
fn habits_of_clients() {
    use Disposition::*;
    let interworking = r#"<imdn xmlns="urn:ietf:params:xml:ns:imdn" xmlns:c="urn:oma:xml:cpm:imdn-extensions:1.0"><message-id>M</message-id><c:interworking-notification><c:status><c:legacy-sms/></c:status></c:interworking-notification></imdn>"#;
    for (name, text, expected) in [
        (
            "no namespace",
            "<imdn><message-id>M</message-id><display-notification><status><displayed/></status></display-notification></imdn>",
            (Display, Status::Displayed),
        ),
        (
            "prefix",
            r#"<i:imdn xmlns:i="urn:ietf:params:xml:ns:imdn"><i:message-id>M</i:message-id><i:processing-notification><i:status><i:stored></i:stored></i:status></i:processing-notification></i:imdn>"#,
            (Processing, Status::Stored),
        ),
        (
            "other order",
            "<imdn><delivery-notification><status><failed/></status></delivery-notification><x/><message-id> M\n</message-id></imdn>",
            (Delivery, Status::Failed),
        ),
        (
            "extension",
            r#"<imdn xmlns:x="urn:x"><message-id>M</message-id><x:message-id>N</x:message-id><delivery-notification><status><error/><x:delivered/></status></delivery-notification></imdn>"#,
            (Delivery, Status::Error),
        ),
        (
            "byte order mark, comment, references, CDATA",
            "\u{feff}<?xml version=\"1.0\"?><!-- c --><imdn><message-id><![CDATA[]]>&#77;</message-id><delivery-notification><status><forbidden/></status></delivery-notification></imdn>\r\n",
            (Delivery, Status::Forbidden),
        ),
        ("interworking", interworking, (Interworking, Status::LegacySms)),
    ] {
        let seen = Notification::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((seen.message_id.as_str(), (seen.disposition, seen.status)), ("M", expected), "{name}");
    }
}

#[test]
fn refused() {
    let document = |inside: &str| format!("<imdn>{inside}</imdn>");
    let id = "<message-id>M</message-id>";
    let status = "<delivery-notification><status><delivered/></status></delivery-notification>";
    let bomb = format!("<!DOCTYPE imdn [<!ENTITY a \"aaaa\">]><imdn>{id}{status}</imdn>");
    for (name, text, expected) in [
        ("nothing", String::new(), XmlError::Missing("imdn")),
        ("other root", "<html/>".into(), XmlError::Missing("imdn")),
        ("other namespace", format!("<imdn xmlns=\"urn:x\">{id}{status}</imdn>"), XmlError::Missing("imdn")),
        ("no id", document(status), XmlError::Missing("message-id")),
        ("no status", document(id), XmlError::Missing("status")),
        ("unknown status", document(&format!("{id}{}", status.replace("delivered", "x"))), XmlError::Missing("status")),
        ("wrong status", document(&format!("{id}{}", status.replace("delivered", "displayed"))), XmlError::Status),
        ("document type", bomb, XmlError::DocumentType),
        ("entity", document(&format!("<message-id>&a;</message-id>{status}")), XmlError::DocumentType),
        ("control reference", document(&format!("<message-id>&#0;</message-id>{status}")), XmlError::Malformed),
        ("control character", document(&format!("<message-id>M\0</message-id>{status}")), XmlError::Malformed),
        ("not closed", format!("<imdn>{id}{status}"), XmlError::Malformed),
        ("crossed", "<imdn><a></imdn></a>".into(), XmlError::Malformed),
        ("two roots", format!("<imdn>{id}{status}</imdn><imdn/>"), XmlError::Malformed),
        ("text behind", format!("<imdn>{id}{status}</imdn>x"), XmlError::Malformed),
        ("unbound prefix", "<i:imdn/>".into(), XmlError::Malformed),
        ("deep", "<imdn>".to_owned() + &"<a>".repeat(20), XmlError::TooDeep),
        (
            "long",
            " ".repeat(MAX_NOTIFICATION_LEN + 1),
            XmlError::TooLong { len: MAX_NOTIFICATION_LEN + 1, max: MAX_NOTIFICATION_LEN },
        ),
    ] {
        assert_eq!(Notification::parse(text.as_bytes()), Err(expected), "{name}");
    }
    assert_eq!(Notification::parse(b"<imdn>\xff</imdn>"), Err(XmlError::Encoding));
}

/// What the sender may not see is cut out, and nothing else.
#[test]
fn without_recipient() {
    for (name, document, expected) in [
        (
            "plain",
            "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>M</message-id><recipient-uri >sip:<![CDATA[a]]>@b</recipient-uri>\n<original-recipient-uri/><subject>s</subject> <!--c--><x:ext xmlns:x='urn:x'><x:subject/></x:ext><display-notification><status><displayed/></status></display-notification></imdn>\n",
            Some(
                "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>M</message-id>\n <!--c--><x:ext xmlns:x='urn:x'><x:subject/></x:ext><display-notification><status><displayed/></status></display-notification></imdn>\n",
            ),
        ),
        (
            "byte order mark, prefix, twice",
            "\u{feff} <i:imdn xmlns:i=\"urn:ietf:params:xml:ns:imdn\"><i:recipient-uri>a</i:recipient-uri><i:recipient-uri>ä</i:recipient-uri><i:message-id>M</i:message-id><i:display-notification><i:status><i:error/></i:status></i:display-notification></i:imdn>",
            Some(
                "\u{feff} <i:imdn xmlns:i=\"urn:ietf:params:xml:ns:imdn\"><i:message-id>M</i:message-id><i:display-notification><i:status><i:error/></i:status></i:display-notification></i:imdn>",
            ),
        ),
        ("none", "<imdn><recipient-uri>a</recipient-uri></imdn>", None),
    ] {
        let seen = Notification::without_recipient(document.as_bytes()).ok();
        assert_eq!(seen.map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(), expected, "{name}");
    }
}

fn text() -> impl Strategy<Value = String> {
    // XML has no way to say control characters, and spaces at the ends do not count.
    "\\PC{0,20}".prop_map(|text| text.trim().to_owned())
}

prop_compose! {
    fn notification()(
        id in "[!-~]{1,20}",
        date_time in text(),
        recipient in proptest::option::of(text()),
        subject in text(),
        (disposition, status) in proptest::sample::select(vec![
            (Disposition::Delivery, Status::Delivered), (Disposition::Delivery, Status::Failed),
            (Disposition::Delivery, Status::Forbidden), (Disposition::Display, Status::Displayed),
            (Disposition::Display, Status::Error), (Disposition::Processing, Status::Processed),
            (Disposition::Processing, Status::Stored), (Disposition::Interworking, Status::LegacySms),
            (Disposition::Interworking, Status::LegacyMms),
        ]),
    ) -> Notification {
        let recipient = recipient.filter(|text| !text.is_empty());
        let subject = Some(subject).filter(|text| !text.is_empty() && recipient.is_some());
        Notification { message_id: id, date_time, original_recipient: recipient.clone(), recipient, subject, disposition, status }
    }
}

proptest! {
    #[test]
    fn round_trip(notification in notification()) {
        let xml = notification.to_xml();
        prop_assert_eq!(Notification::parse(xml.as_bytes()), Ok(notification), "{}", xml);
    }

    #[test]
    fn nobody_is_named_any_more(notification in notification()) {
        let hidden = Notification::without_recipient(notification.to_xml().as_bytes()).unwrap();
        let expected = Notification { recipient: None, original_recipient: None, subject: None, ..notification };
        prop_assert_eq!(Notification::parse(&hidden), Ok(expected));
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Notification::parse(&bytes);
    }

    #[test]
    fn never_panics_on_damage(at in 0..DELIVERED.len(), byte: u8, cut: bool) {
        let mut bytes = DELIVERED.as_bytes().to_vec();
        bytes[at] = byte;
        let end = if cut { at } else { bytes.len() };
        let _ = Notification::parse(&bytes[..end]);
    }
}
