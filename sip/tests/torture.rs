//! The messages of RFC 4475 and RFC 5118: each is judged as the documents want, is written again byte for byte, and
//! means the same when read again. They lie in `conformance/vectors`.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chappe_sip::header::{NameAddr, Via};
use chappe_sip::registrar::{Change, Outcome, Policy, Reject, register};
use chappe_sip::{Edit, Flow, HeaderName, Limits, Message, Method, ParseError, Scheme, Transport, Uri};

enum Verdict {
    Fine,
    /// Kept with its fault, so that a request can be answered with this code; a response is dropped.
    Refused(u16),
    /// Not a message.
    Dropped,
}
use Verdict::{Dropped, Fine, Refused};

const RFC4475: &[(&str, Verdict)] = &[
    ("wsinv", Fine),
    ("intmeth", Fine),
    ("esc01", Fine),
    ("escnull", Fine),
    ("esc02", Fine),
    ("lwsdisp", Fine),
    ("longreq", Fine),
    ("dblreq", Fine),
    ("semiuri", Fine),
    ("transports", Fine),
    ("mpart01", Fine),
    ("unreason", Fine),
    ("noreason", Fine),
    ("badinv01", Refused(400)),
    ("clerr", Refused(400)),
    ("ncl", Refused(400)),
    ("scalar02", Refused(400)),
    ("scalarlg", Refused(400)),
    ("quotbal", Refused(400)),
    ("ltgtruri", Refused(400)),
    ("lwsruri", Refused(400)),
    ("lwsstart", Refused(400)),
    ("trws", Refused(400)),
    ("escruri", Refused(400)),
    // The Date matters to nothing here, so it is not looked at.
    ("baddate", Fine),
    // Contact is the registrar's to read: see below.
    ("regbadct", Fine),
    ("badaspec", Refused(400)),
    // The archived file has no end of the headers.
    ("baddn", Dropped),
    ("badvers", Refused(505)),
    ("mismatch01", Refused(400)),
    ("mismatch02", Refused(400)),
    ("bigcode", Dropped),
    ("badbranch", Refused(400)),
    ("insuf", Refused(400)),
    // What follows is for the proxy, registrar or user agent to judge.
    ("unkscm", Fine),
    ("novelsc", Fine),
    ("unksm2", Fine),
    ("bext01", Fine),
    ("invut", Fine),
    ("regaut01", Fine),
    ("multi01", Refused(400)),
    ("mcl01", Refused(400)),
    ("bcast", Fine),
    ("zeromf", Fine),
    ("cparam01", Fine),
    ("cparam02", Fine),
    ("regescrt", Fine),
    ("sdp01", Fine),
    ("inv2543", Fine),
    ("test", Dropped),
];

const RFC5118: &[(&str, Verdict)] = &[
    ("ipv6-good", Fine),
    ("ipv6-bad", Refused(400)),
    ("port-ambiguous", Fine),
    ("port-unambiguous", Fine),
    ("via-received-param-with-delim", Fine),
    ("via-received-param-no-delim", Fine),
    ("ipv6-in-sdp", Fine),
    ("mult-ip-in-header", Fine),
    ("mult-ip-in-sdp", Fine),
    ("ipv4-mapped-ipv6", Fine),
    ("ipv6-bug-abnf-3-colons", Refused(400)),
    ("ipv6-correct-abnf-2-colons", Fine),
];

fn folder(rfc: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors").join(rfc)
}

fn read(rfc: &str, name: &str) -> Bytes {
    let path = folder(rfc).join(name).with_extension("dat");
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn torture(name: &str) -> Message {
    Message::parse(read("rfc4475", name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn ipv6(name: &str) -> Message {
    Message::parse(read("rfc5118", name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn uri<'a>(text: &'a [u8]) -> Uri<'a> {
    Uri::parse(text).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(text)))
}

/// Everything that is read of a message, to compare two of them.
fn meaning(message: &Message) -> impl PartialEq + std::fmt::Debug {
    let own = |b: &[u8]| b.to_vec();
    let headers: Vec<_> = message.all_headers().map(|(name, value)| (own(name), own(value))).collect();
    let start = (message.method(), own(message.method_text()), own(message.uri()), message.status());
    let ids = (own(message.branch()), own(message.from_tag()), own(message.to_tag()), own(message.call_id()));
    (start, ids, message.cseq(), headers, own(message.body()))
}

fn same_again(name: &str, message: &Message) {
    let written = Edit::new(message).finish();
    let bytes = message.bytes();
    assert!(bytes.starts_with(&written), "{name}");
    let again = Message::parse(written, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(meaning(&again), meaning(message), "{name}");
}

#[test]
fn every_message_is_judged_as_the_documents_say() {
    for (rfc, vectors) in [("rfc4475", RFC4475), ("rfc5118", RFC5118)] {
        let files = std::fs::read_dir(folder(rfc)).expect("the vectors are there").count();
        assert_eq!(files, vectors.len(), "{rfc}");
        for (name, verdict) in vectors {
            let parsed = Message::parse(read(rfc, name), &Limits::default());
            match verdict {
                Dropped => assert!(parsed.is_err(), "{name}"),
                Fine => {
                    let message = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(message.check(), Ok(()), "{name}");
                    same_again(name, &message);
                }
                Refused(code) => {
                    let message = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(message.check().map_err(|error| error.status()), Err(*code), "{name}");
                }
            }
        }
    }
}

#[test]
fn odd_spacing_is_read() {
    let m = torture("wsinv");
    assert_eq!((m.cseq(), m.number(HeaderName::MaxForwards), m.branch()), (9, Some(68), &b"390skdjuw"[..]));
    assert_eq!((m.from_tag(), m.to_tag()), (&b"98asjd8"[..], &b"1918181833n"[..]));
    assert_eq!(m.from().map(|f| f.display), Some(&b"\"J Rosenberg \\\\\\\"\""[..]));
    assert_eq!(m.header(HeaderName::Subject), Some(&b""[..]));
    assert_eq!(m.other_header("unknownheaderwithunusualvalue"), Some(&b";;,,;;,;"[..]));
    let vias: Vec<_> = m.values(HeaderName::Via).map(|v| Via::parse(v).unwrap()).collect();
    let hosts: Vec<_> = vias.iter().map(|v| (v.transport(), v.host, v.branch().unwrap())).collect();
    assert_eq!(
        hosts,
        [
            (Some(Transport::Udp), &b"192.0.2.2"[..], &b"390skdjuw"[..]),
            (Some(Transport::Tcp), b"spindle.example.com", b"z9hG4bK9ikj8"),
            (Some(Transport::Udp), b"192.168.255.111", b"z9hG4bK30239"),
        ]
    );
    let contact = NameAddr::parse(m.header(HeaderName::Contact).unwrap()).unwrap();
    assert_eq!((contact.param("newparam"), contact.param("q")), (Some(&b"newvalue"[..]), Some(&b"0.33"[..])));
}

#[test]
fn every_legal_character_is_taken() {
    let m = torture("intmeth");
    assert_eq!((m.method(), m.method_text()), (Method::Other, m.cseq_method()));
    assert_eq!(m.call_id(), b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!((uri(m.uri()).host, uri(m.uri()).password.is_some()), ("example.com", true));
    assert_eq!(m.from_tag(), b"_token~1'+`*%!-.");
    assert_eq!(torture("unreason").reason(), "= 2**3 * 5**2 но сто девяносто девять - простое".as_bytes());
    assert_eq!((torture("noreason").reason(), torture("noreason").status()), (&b""[..], 100));
}

#[test]
fn escapes_and_separators_in_uris() {
    let m = torture("esc01");
    assert_eq!((uri(m.uri()).scheme, uri(m.uri()).host), (Scheme::Sip, "example.net"));
    assert_eq!(uri(m.uri()).user_decoded(), "sips:user@example.com");
    let m = torture("esc02");
    assert_eq!((m.method(), m.values(HeaderName::Contact).count()), (Method::Other, 2));
    let m = torture("semiuri");
    assert_eq!((uri(m.uri()).user, uri(m.uri()).params), ("user;par=u%40example.net", ""));
    assert_eq!(torture("lwsdisp").from().map(|f| f.display), Some(&b"caller"[..]));
    let m = torture("longreq");
    assert_eq!(m.values(HeaderName::Via).count(), 34);
    assert!(m.values(HeaderName::Via).all(|via| Via::parse(via).is_ok()));
    let m = torture("transports");
    let known = m.values(HeaderName::Via).filter(|v| Via::parse(v).is_ok_and(|v| v.transport().is_some()));
    assert_eq!((m.values(HeaderName::Via).count(), known.count()), (5, 3));
}

#[test]
fn bodies_end_where_they_say() {
    let m = torture("dblreq");
    assert_eq!((m.method(), m.body().len()), (Method::Register, 0));
    assert!(Edit::new(&m).finish().len() < m.bytes().len());
    assert!(torture("mpart01").body().contains(&0));
}

#[test]
fn ipv6_addresses_are_read() {
    let m = ipv6("port-ambiguous");
    assert_eq!((uri(m.uri()).port, uri(m.uri()).ip()), (None, "2001:db8::10:5070".parse().ok()));
    let m = ipv6("port-unambiguous");
    assert_eq!((uri(m.uri()).port, uri(m.uri()).ip()), (Some(5070), "2001:db8::10".parse().ok()));
    let received = |name| ipv6(name).via().and_then(|via| via.param("received").map(<[u8]>::to_vec));
    assert_eq!(received("via-received-param-with-delim").as_deref(), Some(&b"[2001:db8::9:255]"[..]));
    assert_eq!(received("via-received-param-no-delim").as_deref(), Some(&b"2001:db8::9:255"[..]));
    assert!(ipv6("mult-ip-in-header").values(HeaderName::Via).all(|via| Via::parse(via).is_ok()));
    let m = ipv6("ipv4-mapped-ipv6");
    assert_eq!(m.via().and_then(|via| via.port), Some(19823));
}

fn registered(name: &str) -> Result<Vec<String>, u16> {
    let flow =
        Flow { transport: Transport::Udp, listener: 0, connection: 0, remote: "192.0.2.1:5060".parse().unwrap() };
    let outcome: Result<Outcome, Reject> = register(&torture(name), &[], &Policy::default(), &flow, 1_000_000);
    let contact = |change: &Change| match change {
        Change::Add(binding) => format!("<{}>{}", binding.contact(), binding.params()),
        other => panic!("{name}: {other:?}"),
    };
    outcome.map(|outcome| outcome.changes.iter().map(contact).collect()).map_err(|reject| reject.status())
}

#[test]
fn registrations_keep_their_contacts() {
    for (name, expected) in [
        ("escnull", Ok(vec!["<sip:%00@host5.example.com>", "<sip:%00%00@host5.example.com>"])),
        ("cparam01", Ok(vec!["<sip:+19725552222@gw1.example.net>;unknownparam"])),
        ("cparam02", Ok(vec!["<sip:+19725552222@gw1.example.net;unknownparam>"])),
        ("regescrt", Ok(vec!["<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"])),
        ("regbadct", Err(400)),
        ("unksm2", Err(400)),
        ("bext01", Err(420)),
    ] {
        let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(registered(name), expected, "{name}");
    }
}

/// The messages of other projects, where `CHAPPE_CORPUS` names a folder of them: whatever they are, what is read is
/// written again as it was; those of the call flows are well-formed.
#[test]
fn corpus() {
    let Some(root) = std::env::var_os("CHAPPE_CORPUS").map(PathBuf::from) else { return };
    let mut seen = 0;
    for folder in std::fs::read_dir(&root).expect("CHAPPE_CORPUS is a folder").flatten().filter(|e| e.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let name = file.path().display().to_string();
            let bytes = std::fs::read(file.path()).unwrap();
            seen += 1;
            for part in bytes.split(|b| *b == b'\n') {
                let _ = (Uri::parse(part), NameAddr::parse(part), Via::parse(part));
            }
            let parsed = Message::parse(Bytes::from(bytes), &Limits::default());
            if folder.file_name() == "rfc-flows" {
                let message = parsed.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
                let fault = message.check().err();
                // As printed, Content-Length does not always count the body, and some lack Via.
                let known = fault == Some(ParseError::MissingHeader(HeaderName::Via));
                assert!(known || matches!(fault, None | Some(ParseError::ShortBody { .. })), "{name}: {fault:?}");
            }
            if let Ok(message) = parsed {
                same_again(&name, &message);
            }
        }
    }
    assert!(seen > 0, "no messages in {}", root.display());
}
