use super::*;
use chappe_sip::Limits;

const SDP: &str = "v=0\no=- 3989 3989 IN IP4 10.12.3.4\ns=-\nc=IN IP4 10.12.3.4\nt=0 0\nm=message 9 TCP/MSRP *\n\
    a=path:msrp://10.12.3.4:20000/1353517381;tcp\na=setup:active\na=accept-types:message/cpim application/im-iscomposing+xml\n\
    a=accept-wrapped-types:text/plain message/imdn+xml\na=sendrecv\n";
const CPIM: &str = "From: <sip:anonymous@anonymous.invalid>\nTo: <sip:anonymous@anonymous.invalid>\n\
    NS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: Ms7a9f\nDateTime: 2026-03-04T10:15:30.250Z\n\
    imdn.Disposition-Notification: positive-delivery, display\n\nContent-type: text/plain; charset=UTF-8\n\
    Content-length: 5\n\nHello";
/// Headers of a SIMPLE IM client and of a CPM client.
const SIMPLE: &str = "Contact: <sip:+15550100001@10.12.3.4:5062;transport=tcp>;+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\"\
    ;+g.oma.sip-im;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\"\n\
    Accept-Contact: *;+g.oma.sip-im\nP-Preferred-Identity: <sip:+15550100001@example.com>\n\
    Contribution-ID: 6f1c2a9e4b7d4f0c8e21d3a5b7c9e012\nSupported: timer\nSession-Expires: 1800\n";
const CPM: &str = "Contact: <sip:+15550100001@10.12.3.4:5062;transport=tls>;+sip.instance=\"<urn:gsma:imei:35693803-564380-0>\"\
    ;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"\n\
    Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\";require;explicit\n\
    P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session\n\
    Contribution-ID: c0ffee\nConversation-ID: 11cf-77\nInReplyTo-Contribution-ID: beef\n";
const PHONE: &str = "Contact: <sip:carol@192.0.2.3>\n";
const DEFERRED: &str = "P-Asserted-Identity: <sip:rcse-standfw@example.com>\nReferred-By: <tel:+15550100001>;tk=off\n\
    Accept-Contact: *;+g.oma.sip-im\nContact: <sip:as.example.com>\nContribution-ID: c0ffee\n";

fn multipart(parts: &[(&str, &str)]) -> (String, String) {
    let mut body = String::new();
    for (content_type, part) in parts {
        body += &format!("--boundary1\nContent-Type: {content_type}\nContent-Length: {}\n\n{part}\n", part.len());
    }
    ("multipart/mixed;boundary=\"boundary1\"".to_owned(), body + "--boundary1--")
}

fn sdp_alone(sdp: &str) -> (String, String) {
    ("application/sdp".to_owned(), sdp.to_owned())
}

fn invite(headers: &str, (content_type, body): &(String, String)) -> Message {
    let body = body.replace('\n', "\r\n");
    let head = format!(
        "INVITE tel:+15550100002 SIP/2.0\nVia: SIP/2.0/TCP 10.12.3.4:5062;branch=z9hG4bK7d1f;keep;rport\n\
         Max-Forwards: 70\nFrom: <sip:+15550100001@example.com>;tag=a1\nTo: <tel:+15550100002>\n\
         Call-ID: 9f3c5e@10.12.3.4\nCSeq: 1 INVITE\n{headers}Content-Type: {content_type}\nContent-Length: {}\n\n",
        body.len()
    );
    Message::parse((head.replace('\n', "\r\n") + &body).into(), &Limits::default()).unwrap()
}

fn read(headers: &str, body: &(String, String)) -> Result<Invitation, Refused> {
    Invitation::read(&invite(headers, body))
}

#[test]
fn a_chat_of_simple_im() {
    let seen = read(SIMPLE, &multipart(&[("application/sdp", SDP), ("message/cpim", CPIM)])).unwrap();
    assert_eq!((seen.access, seen.service), (Access::SimpleIm, Service::Session));
    assert_eq!(seen.contribution_id.as_deref(), Some("6f1c2a9e4b7d4f0c8e21d3a5b7c9e012"));
    assert_eq!((seen.conversation_id, seen.referred_by, seen.subject), (None, None, None));
    assert_eq!(seen.first, Some(First::Cpim(CPIM.replace('\n', "\r\n").into())));
    assert_eq!(seen.sdp, SDP.replace('\n', "\r\n"));
    assert!(seen.device.ft_http);
}

#[test]
fn a_chat_of_cpm() {
    let seen = read(CPM, &sdp_alone(SDP)).unwrap();
    assert_eq!((seen.access, seen.service, seen.first), (Access::Cpm, Service::Session, None));
    assert_eq!(seen.conversation_id.as_deref(), Some("11cf-77"));
    assert_eq!(seen.in_reply_to.as_deref(), Some("beef"));
}

#[test]
fn what_an_invite_is() {
    let both = multipart(&[("application/sdp", SDP), ("message/cpim", CPIM)]);
    let head = CPIM.trim_end_matches("Hello").to_owned();
    let headers_only = multipart(&[("application/sdp", SDP), ("message/cpim", &head)]);
    let list = multipart(&[("application/sdp", SDP), ("application/resource-lists+xml", "<resource-lists/>")]);
    let large = CPM.replace("oma.cpm.session", "oma.cpm.largemsg");
    let file = format!("{SDP}a=file-selector:name:\"x.png\" type:image/png size:5\n");
    let refused = format!("{SDP}m=audio 0 RTP/AVP 0\n");
    let (im, cpm, pager) = (Access::SimpleIm, Access::Cpm, Access::Pager);
    for (name, headers, body, expected) in [
        ("no tags at all", PHONE, &sdp_alone(SDP), (pager, Service::Session, false)),
        ("tags of the Contact only", &SIMPLE.replace("Accept-Contact", "X"), &both, (im, Service::Session, true)),
        (
            "simple asked for by one who knows both",
            &format!("{CPM}Accept-Contact: *;+g.oma.sip-im\n").replace("P-Preferred-Service", "X"),
            &both,
            (im, Service::Session, true),
        ),
        ("large, in the session", &large, &headers_only, (cpm, Service::LargeMessage, false)),
        ("large, at once", &large, &both, (cpm, Service::LargeMessage, true)),
        ("group by list", SIMPLE, &list, (im, Service::Group, false)),
        ("group by focus", &SIMPLE.replace(";+g.oma.sip-im;", ";isfocus;"), &both, (im, Service::Group, true)),
        ("group by service", &CPM.replace("cpm.session", "cpm.session.group"), &both, (cpm, Service::Group, true)),
        ("deferred", DEFERRED, &both, (im, Service::Deferred, true)),
        ("deferred receipts", DEFERRED, &sdp_alone(SDP), (im, Service::DeferredNotifications, false)),
        ("deferred of CPM", &CPM.replace("cpm.session\n", "cpm.deferred\n"), &both, (cpm, Service::Deferred, true)),
        ("file", SIMPLE, &sdp_alone(&file), (im, Service::FileTransfer, false)),
        ("a section that is refused", SIMPLE, &sdp_alone(&refused), (im, Service::Session, false)),
    ] {
        let seen = read(headers, body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((seen.access, seen.service, seen.first.is_some()), expected, "{name}");
        assert_eq!(seen.recipients.is_some(), name == "group by list");
    }
}

#[test]
fn whom_a_server_speaks_for() {
    for (value, expected) in [
        ("<tel:+15550100001>;tk=off", Some(("tel:+15550100001", Some(false)))),
        ("\"A\" <sip:a@example.com>;tk=ON", Some(("sip:a@example.com", Some(true)))),
        ("sip:a@example.com", Some(("sip:a@example.com", None))),
        ("\"A\" sip:a", None),
        ("<nonsense>", None),
    ] {
        let seen = ReferredBy::parse(value.as_bytes()).ok();
        let seen = seen.as_ref().map(|seen| (&*seen.uri, seen.alias));
        assert_eq!(seen, expected, "{value}");
    }
}

#[test]
fn the_first_message_may_be_in_the_subject() {
    let text = |text: &str| Some(First::Text(text.into()));
    let with = |headers: &str| format!("{headers}Subject: Hello\n  there\n");
    let both = multipart(&[("application/sdp", SDP), ("message/cpim", CPIM)]);
    assert_eq!(read(&with(SIMPLE), &sdp_alone(SDP)).unwrap().first, text("Hello there"));
    assert!(matches!(read(&with(SIMPLE), &both).unwrap().first, Some(First::Cpim(_))), "the envelope counts");
    let cpm = read(&with(CPM), &sdp_alone(SDP)).unwrap();
    assert_eq!((cpm.first, cpm.subject.as_deref()), (None, Some("Hello there")));
    assert_eq!(read(&format!("{SIMPLE}Subject: \n"), &sdp_alone(SDP)).unwrap().first, None);
}

#[test]
fn what_is_not_ours_or_not_whole() {
    let audio = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
    let mixed = format!("{SDP}m=audio 4000 RTP/AVP 0\n");
    let t140 = SDP.replace("TCP/MSRP", "RTP/AVP");
    let open = ("multipart/mixed;boundary=x".to_owned(), "--x\n\nno end".to_owned());
    let none = ("text/plain".to_owned(), String::new());
    let broken = multipart(&[("application/sdp", SDP), ("message/cpim", "no envelope")]);
    let long = format!("{SIMPLE}Conversation-ID: {}\n", "x".repeat(MAX_ID + 1));
    for (name, headers, body, expected) in [
        ("voice", SIMPLE, &sdp_alone(audio), Refused::Foreign),
        ("voice and messages", SIMPLE, &sdp_alone(&mixed), Refused::Foreign),
        ("real-time text", SIMPLE, &sdp_alone(&t140), Refused::Foreign),
        ("no body of anybody", PHONE, &none, Refused::Foreign),
        ("a broken body of anybody", PHONE, &open, Refused::Foreign),
        ("broken sdp of anybody", PHONE, &sdp_alone("v=1\n"), Refused::Foreign),
        ("no offer", CPM, &none, Refused::NoOffer),
        ("broken parts", SIMPLE, &open, Refused::Body(MultipartError::Unclosed)),
        ("broken sdp", SIMPLE, &sdp_alone("v=1\n"), Refused::Sdp(chappe_sdp::ParseError::Version)),
        ("broken envelope", SIMPLE, &broken, Refused::Envelope(chappe_imdn::ParseError::Line { at: 0 })),
        ("an id with blanks", &CPM.replace("11cf-77", "11 77"), &sdp_alone(SDP), Refused::Id("Conversation-ID")),
        ("a long id", &long, &sdp_alone(SDP), Refused::Id("Conversation-ID")),
        (
            "an address that is none",
            &format!("{SIMPLE}Referred-By: <x>\n"),
            &sdp_alone(SDP),
            Refused::Address(HeaderName::ReferredBy),
        ),
    ] {
        let error = read(headers, body).unwrap_err();
        assert_eq!(error, expected, "{name}");
        assert_eq!(error.status(), if matches!(error, Refused::Foreign | Refused::NoOffer) { 488 } else { 400 });
    }
    let bytes = invite(SIMPLE, &sdp_alone(SDP)).bytes().to_vec();
    let message = String::from_utf8(bytes).unwrap().replace("INVITE", "UPDATE");
    let message = Message::parse(message.into(), &Limits::default()).unwrap();
    assert_eq!(Invitation::read(&message), Err(Refused::Foreign));
}
