use super::*;
use crate::Envelope;
use proptest::prelude::*;

#[test]
fn the_whole_document() {
    let status = Composing {
        last_active: Some("2026-03-04T10:15:20Z".into()),
        content_type: Some("text/plain".into()),
        ..Composing::active(Some(Duration::from_secs(60)))
    };
    assert_eq!(
        status.to_xml(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\r\n\
         \u{20} <state>active</state>\r\n\
         \u{20} <lastactive>2026-03-04T10:15:20Z</lastactive>\r\n\
         \u{20} <contenttype>text/plain</contenttype>\r\n\
         \u{20} <refresh>60</refresh>\r\n\
         </isComposing>\r\n"
    );
    assert_eq!(Composing::parse(status.to_xml().as_bytes()), Ok(status));
    assert_eq!(Composing::active(Some(Duration::from_millis(900))).refresh, None);
}

#[test]
fn habits_of_clients() {
    use ComposingState::*;
    let ns = "xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"";
    for (name, text, expected) in [
        ("plain", format!("<isComposing {ns}><state>active</state><refresh>90</refresh></isComposing>"), (Active, Some(90))),
        ("no namespace", "<isComposing><state>active</state></isComposing>".into(), (Active, None)),
        (
            "the other namespace",
            "<isComposing xmlns=\"urn:ietf:params:xml:ns:im-composing\"><state>active</state></isComposing>".into(),
            (Active, None),
        ),
        (
            "prefix, other order, byte order mark",
            "\u{feff}<?xml version=\"1.0\"?>\n<i:isComposing xmlns:i=\"urn:ietf:params:xml:ns:im-iscomposing\"><i:refresh> 70 </i:refresh><i:state>\nActive </i:state></i:isComposing>\n".into(),
            (Active, Some(70)),
        ),
        (
            "foreign elements",
            format!("<isComposing {ns} xmlns:x=\"urn:x\"><x:state>active</x:state><state>idle</state><x:a><state>active</state></x:a></isComposing>"),
            (Idle, None),
        ),
        ("within a state", "<isComposing><state>act<b>x</b>ive</state></isComposing>".into(), (Active, None)),
        ("the first counts", "<isComposing><state>idle</state><state>active</state></isComposing>".into(), (Idle, None)),
        ("unknown state", "<isComposing><state>pondering</state><refresh>60</refresh></isComposing>".into(), (Idle, Some(60))),
        ("no state", "<isComposing/>".into(), (Idle, None)),
        ("empty state", "<isComposing><state/></isComposing>".into(), (Idle, None)),
        ("refresh of 0", "<isComposing><state>active</state><refresh>0</refresh></isComposing>".into(), (Active, None)),
        ("no number", "<isComposing><state>active</state><refresh>-5</refresh></isComposing>".into(), (Active, None)),
        (
            "a large number",
            "<isComposing><state>active</state><refresh>+99999999999</refresh></isComposing>".into(),
            (Active, Some(u32::MAX)),
        ),
    ] {
        let seen = Composing::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((seen.state, seen.refresh), expected, "{name}");
    }
}

#[test]
fn refused() {
    for (name, text, expected) in [
        ("nothing", String::new(), XmlError::Missing("isComposing")),
        ("other root", "<state>active</state>".into(), XmlError::Missing("isComposing")),
        ("other namespace", "<isComposing xmlns=\"urn:x\"/>".into(), XmlError::Missing("isComposing")),
        ("document type", "<!DOCTYPE a [<!ENTITY a \"b\">]><isComposing/>".into(), XmlError::DocumentType),
        ("entity", "<isComposing><state>&a;</state></isComposing>".into(), XmlError::DocumentType),
        ("not closed", "<isComposing><state>active</state>".into(), XmlError::Malformed),
        ("two roots", "<isComposing/><isComposing/>".into(), XmlError::Malformed),
        ("deep", "<isComposing>".to_owned() + &"<a>".repeat(20), XmlError::TooDeep),
        ("long", " ".repeat(4097), XmlError::TooLong { len: 4097, max: MAX_COMPOSING_LEN }),
    ] {
        assert_eq!(Composing::parse(text.as_bytes()), Err(expected), "{name}");
    }
    assert_eq!(Composing::parse(b"<isComposing>\xff</isComposing>"), Err(XmlError::Encoding));
}

#[test]
fn bare_or_in_an_envelope() {
    let xml = Composing::active(None).to_xml();
    let wrapped = Envelope::new("sip:a@b", "sip:b@b").content(crate::COMPOSING_TYPE, &[], xml.as_bytes());
    let text = Envelope::new("sip:a@b", "sip:b@b").content("text/plain", &[], xml.as_bytes());
    for (content_type, body, expected) in [
        ("application/im-iscomposing+xml; charset=utf-8", xml.as_bytes(), Some(Ok(Composing::active(None)))),
        ("Application/IM-isComposing+XML", b"", Some(Err(XmlError::Missing("isComposing")))),
        ("message/cpim", &wrapped, Some(Ok(Composing::active(None)))),
        ("message/cpim", &text, None),
        ("message/cpim", b"", None),
        ("text/plain", xml.as_bytes(), None),
    ] {
        assert_eq!(Composing::of(content_type, body), expected, "{content_type}");
    }
}

proptest! {
    #[test]
    fn round_trip(active: bool, last in "[ -~]{0,20}", kind in "\\PC{0,20}", refresh in proptest::option::of(1_u32..)) {
        let text = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let state = if active { ComposingState::Active } else { ComposingState::Idle };
        let status = Composing { state, last_active: text(last), content_type: text(kind), refresh };
        let xml = status.to_xml();
        prop_assert_eq!(Composing::parse(xml.as_bytes()), Ok(status), "{}", xml);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Composing::parse(&bytes);
    }
}
