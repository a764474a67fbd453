//! Offers, answers, and what they come to.

mod common;

use chappe_sdp::{
    AnswerError, Chatroom, Description, Direction, Fingerprint, Hash, Leniency, Local, Matching, Media, MsrpAnswer,
    MsrpOffer, Names, Outcome, Refusal, Role, Rules, Setup, TypeList, capabilities,
};
use common::*;

/// RFC 4975 §8.7.
const FIGURE_9: &str = "v=0\r\no=usera 2890844526 2890844527 IN IP4 alice.example.com\r\ns= -\r\n\
    c=IN IP4 alice.example.com\r\nt=0 0\r\nm=message 7394 TCP/MSRP *\r\n\
    a=accept-types:message/cpim text/plain text/html\r\na=path:msrp://alice.example.com:7394/2s93i93idj;tcp\r\n";
const FIGURE_10: &str = "v=0\r\no=userb 2890844530 2890844532 IN IP4 bob.example.com\r\ns= -\r\n\
    c=IN IP4 bob.example.com\r\nt=0 0\r\nm=message 8493 TCP/MSRP *\r\n\
    a=accept-types:message/cpim text/plain\r\na=path:msrp://bob.example.com:8493/si438dsaodes;tcp\r\n";

#[test]
fn a_whole_offer_as_it_is_written() {
    let local = Local {
        cema: true,
        max_size: Some(65536),
        fingerprints: vec![Fingerprint { function: "SHA-256".to_owned(), value: vec![0x6b, 0x0f] }],
        chatroom: Some(Chatroom { nickname: true, private_messages: true, other: vec![] }),
        other: vec![("x-note".to_owned(), Some("a\r\nm=evil".to_owned()))],
        ..local("msrps://198.51.100.7:2855/s11ceofpath;tcp")
    };
    let text = described(&MsrpOffer::new(local).unwrap());
    let expected = "v=0\no=- 3811155201 3811155201 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n\
        m=message 2855 TCP/TLS/MSRP *\n\
        a=accept-types:message/cpim application/im-iscomposing+xml\n\
        a=accept-wrapped-types:text/plain message/imdn+xml\n\
        a=max-size:65536\n\
        a=setup:actpass\n\
        a=msrp-cema\n\
        a=path:msrps://198.51.100.7:2855/s11ceofpath;tcp\n\
        a=fingerprint:SHA-256 6B:0F\n\
        a=chatroom:nickname private-messages\n\
        a=x-note:am=evil\n\
        a=sendrecv\n";
    assert_eq!(text, expected.replace('\n', "\r\n"));
    assert!(Description::parse_within(text.as_bytes(), &Rules::strict()).is_ok());
}

#[test]
fn the_exchange_of_rfc_4975() {
    let bob = Local::new("msrp://bob.example.com:8493/si438dsaodes;tcp", TypeList::new(["message/cpim", "text/plain"]));
    let (agreement, text) = answer(FIGURE_9, &bob, &Rules::strict()).unwrap();
    assert_eq!((agreement.role, connects(&agreement).as_str()), (Role::Passive, "listen"));
    assert_eq!(agreement.to_path().collect::<Vec<_>>(), ["msrp://alice.example.com:7394/2s93i93idj;tcp"]);
    assert_eq!(agreement.own_uri(), "msrp://bob.example.com:8493/si438dsaodes;tcp");
    assert!(agreement.sendable.allows("text/html") && !agreement.sendable.allows("image/png"));
    assert!(!agreement.sends_first() && !agreement.after_ack && agreement.matching == Matching::Whole);
    assert_eq!(lines(&text, "a=setup"), ["a=setup:passive"]);
    assert_eq!(lines(&text, "c="), ["c=IN IP4 198.51.100.7", "c=IN IP4 bob.example.com"]);

    let alice = Local::new("msrp://alice.example.com:7394/2s93i93idj;tcp", TypeList::new(["text/plain"]));
    let alice = MsrpOffer::new(alice).unwrap();
    let agreement = agreed(read_answer(&alice, FIGURE_10, &Rules::strict()).unwrap());
    assert_eq!(connects(&agreement), "bob.example.com:8493");
    assert!(agreement.sends_first() && !agreement.after_ack && !agreement.secure);
}

#[test]
fn both_ends_agree_with_each_other() {
    for (offerer_reachable, answerer_reachable, expected) in
        [(true, true, "offerer"), (true, false, "answerer"), (false, true, "offerer"), (false, false, "offerer")]
    {
        for cema in [false, true] {
            let alice = Local { reachable: offerer_reachable, cema, ..local(PEER_URI) };
            let bob = Local { reachable: answerer_reachable, cema, ..local(OWN_URI) };
            let alice = MsrpOffer::new(alice).unwrap();
            let (bobs, text) = answer(&described(&alice), &bob, &Rules::strict()).unwrap();
            let alices = agreed(read_answer(&alice, &text, &Rules::strict()).unwrap());
            assert_eq!(alices.role, bobs.role.other());
            assert_eq!((alices.cema, bobs.cema), (cema, cema));
            let (active, passive) = if expected == "offerer" { (&alices, &bobs) } else { (&bobs, &alices) };
            assert!(active.sends_first() && connects(passive) == "listen", "{expected}");
            assert_eq!(passive.own_path, active.peer_path);
            assert_eq!(active.own_path, passive.peer_path);
            assert_eq!(active.after_ack, expected == "answerer");
        }
    }
}

#[test]
fn every_setup_of_an_offer_is_answered() {
    for (setup, reachable, behind_nat) in [
        ("", "passive listen", "passive listen"),
        ("a=setup:active\n", "passive listen", "passive listen"),
        ("a=setup:passive\n", "active 203.0.113.5:7394", "active 203.0.113.5:7394"),
        ("a=setup:actpass\n", "passive listen", "active 203.0.113.5:7394"),
        ("a=setup:holdconn\n", "passive listen", "passive listen"),
        ("a=setup:nonsense\n", "passive listen", "passive listen"),
    ] {
        for connection in ["", "a=connection:new\n", "a=connection:existing\n", "a=connection:nonsense\n"] {
            for (is_reachable, expected) in [(true, reachable), (false, behind_nat)] {
                let ours = Local { reachable: is_reachable, ..local(OWN_URI) };
                let offer = peer(&format!("{setup}{connection}"));
                let (agreement, text) = answer(&offer, &ours, &Rules::default()).unwrap();
                let said = lines(&text, "a=setup:")[0].trim_start_matches("a=setup:");
                assert_eq!(format!("{said} {}", connects(&agreement)), expected, "{setup}{connection}");
                assert!(!text.contains("a=connection"));
                // The active answerer waits for the ACK, and says with port 9 that nobody connects to it.
                assert_eq!(agreement.after_ack, said == "active");
                let port = if said == "active" { "9" } else { "2855" };
                assert_eq!(lines(&text, "m="), [format!("m=message {port} TCP/MSRP *")]);
                assert_eq!(agreement.own_uri(), format!("msrp://198.51.100.7:{port}/s11ceofpath;tcp"));
                assert_eq!(lines(&text, "a=path:"), [format!("a=path:{}", agreement.own_uri())]);
            }
        }
    }
}

#[test]
fn every_setup_of_an_answer_is_understood() {
    for (setup, to_actpass, to_active) in [
        ("", "203.0.113.5:7394", "203.0.113.5:7394"),
        ("a=setup:active\n", "listen", "203.0.113.5:7394"),
        ("a=setup:passive\n", "203.0.113.5:7394", "203.0.113.5:7394"),
        ("a=setup:actpass\n", "203.0.113.5:7394", "203.0.113.5:7394"),
        ("a=setup:holdconn\n", "203.0.113.5:7394", "203.0.113.5:7394"),
    ] {
        for connection in ["", "a=connection:new\n", "a=connection:existing\n"] {
            for (reachable, expected) in [(true, to_actpass), (false, to_active)] {
                let offer = MsrpOffer::new(Local { reachable, ..local(OWN_URI) }).unwrap();
                assert_eq!(offer.setup(), if reachable { Setup::ActPass } else { Setup::Active });
                let text = peer(&format!("{setup}{connection}"));
                let agreement = agreed(read_answer(&offer, &text, &Rules::default()).unwrap());
                assert_eq!(connects(&agreement), expected, "{setup}{connection}");
                if !reachable && setup == "a=setup:active\n" {
                    assert_eq!(read_answer(&offer, &text, &Rules::strict()), Err(AnswerError::Setup));
                }
            }
        }
    }
}

#[test]
fn nobody_connects_where_nobody_listens() {
    for (name, change, uri) in [
        ("port 9", "a=setup:passive\n", "msrp://203.0.113.5:9/x;tcp"),
        ("a WebSocket", "a=setup:passive\n", "msrp://203.0.113.5:7394/x;ws"),
    ] {
        let offer = peer(change).replace(PEER_URI, uri);
        assert_eq!(answer(&offer, &local(OWN_URI), &Rules::default()).unwrap_err(), Refusal::NotReachable, "{name}");
        // When the peer connects, it does not matter.
        let offer = offer.replace("passive", "active");
        assert!(answer(&offer, &local(OWN_URI), &Rules::default()).is_ok(), "{name}");
    }
    let offer = MsrpOffer::new(Local { reachable: false, ..local(OWN_URI) }).unwrap();
    let both_active = peer("a=setup:active\n").replace(":7394/", ":9/");
    let refused = read_answer(&offer, &both_active, &Rules::default());
    assert_eq!(refused, Err(AnswerError::Session(Refusal::NotReachable)));
}

#[test]
fn relays() {
    let relayed =
        "msrp://relay.example.com:9000/use;tcp msrp://inner.example.com:9001/use2;tcp msrp://10.1.1.1:5/own;tcp";
    let ours = Local { path: relayed.split(' ').map(str::to_owned).collect(), reachable: false, ..local(OWN_URI) };
    // We connect to our nearest relay in any role; it has the peer's path behind ours.
    for (setup, role) in [("active", Role::Passive), ("passive", Role::Active), ("actpass", Role::Passive)] {
        let (agreement, text) = answer(&peer(&format!("a=setup:{setup}\n")), &ours, &Rules::default()).unwrap();
        assert_eq!((connects(&agreement).as_str(), agreement.role), ("relay", role), "{setup}");
        assert_eq!(
            agreement.to_path().collect::<Vec<_>>(),
            ["msrp://inner.example.com:9001/use2;tcp", "msrp://relay.example.com:9000/use;tcp", PEER_URI]
        );
        assert_eq!(lines(&text, "a=path:"), [format!("a=path:{relayed}")]);
        // RFC 4975 §8.1: c= and m= name ourselves.
        assert_eq!(lines(&text, "m="), ["m=message 5 TCP/MSRP *"]);
        assert_eq!(lines(&text, "c=")[1], "c=IN IP4 10.1.1.1");
    }
    assert_eq!(MsrpOffer::new(ours).unwrap().setup(), Setup::ActPass);
    // A peer's relay is what we connect to.
    let offer = peer("a=setup:passive\n").replace(PEER_URI, relayed);
    let (agreement, _) = answer(&offer, &local(OWN_URI), &Rules::default()).unwrap();
    assert_eq!(connects(&agreement), "relay.example.com:9000");
    assert_eq!(agreement.to_path().count(), 3);
}

#[test]
fn tls_and_fingerprints() {
    let own = local("msrps://198.51.100.7:2855/s11;tcp");
    let sha256 = Fingerprint::of(b"certificate", Hash::Sha256);
    let sha1 = Fingerprint::of(b"certificate", Hash::Sha1);
    let secure = |more: &str| peer(more).replace("TCP/MSRP", "TCP/TLS/MSRP").replace("msrp://", "msrps://");
    let legacy = Rules { leniency: Leniency { sha1_fingerprint: true, ..Leniency::DEPLOYED }, ..Rules::default() };

    let offer = secure(&format!("a=setup:passive\na=fingerprint:{sha256}\n"));
    let (agreement, text) = answer(&offer, &own, &Rules::strict()).unwrap();
    assert!(agreement.secure && text.contains("m=message 9 TCP/TLS/MSRP *"));
    assert_eq!(agreement.fingerprints, std::slice::from_ref(&sha256));
    let chappe_sdp::Connect::To(target) = &agreement.connect else { panic!() };
    assert_eq!(target.tls.as_ref().map(ToString::to_string).as_deref(), Some("203.0.113.5"));
    assert!(chappe_sdp::matches(&agreement.fingerprints, b"certificate", Leniency::DEPLOYED));
    assert!(!chappe_sdp::matches(&agreement.fingerprints, b"another", Leniency::DEPLOYED));

    // The session's fingerprints count where the section has none.
    let at_session = |own: &str| {
        let session = format!("a=fingerprint:{sha256}\n");
        let section =
            format!("m=message 7394 TCP/TLS/MSRP *\na=accept-types:*\na=path:msrps://203.0.113.5:7394/x;tcp\n{own}");
        description(&session, &section)
    };
    let other = Fingerprint::of(b"other", Hash::Sha256);
    for (section, expected) in [(String::new(), &sha256), (format!("a=fingerprint:{other}\n"), &other)] {
        let (agreement, _) = answer(&at_session(&section), &own, &Rules::default()).unwrap();
        assert_eq!(agreement.fingerprints, std::slice::from_ref(expected));
    }

    // Names decide where there are none.
    assert!(answer(&secure(""), &own, &Rules::default()).unwrap().0.fingerprints.is_empty());
    // SHA-1 is for those who allow it.
    let offer = secure(&format!("a=fingerprint:{sha1}\n"));
    assert_eq!(answer(&offer, &own, &Rules::default()).unwrap_err(), Refusal::Fingerprint);
    assert_eq!(answer(&offer, &own, &legacy).unwrap().0.fingerprints, [sha1]);
    // A relay in between has a certificate of its own.
    let relayed = offer.replace("a=path:", "a=path:msrps://relay.example.com:2855/u;tcp ");
    assert!(answer(&relayed, &own, &Rules::default()).unwrap().0.fingerprints.is_empty());

    // One side without TLS.
    assert_eq!(answer(&peer(""), &own, &Rules::default()).unwrap_err(), Refusal::Security);
    assert_eq!(answer(&secure(""), &local(OWN_URI), &Rules::default()).unwrap_err(), Refusal::Security);
}

#[test]
fn types_in_common() {
    let offer = |types: &str| peer("").replace("a=accept-types:message/cpim", &format!("a=accept-types:{types}"));
    let cpim = Local { required_types: vec!["message/cpim".to_owned()], ..local(OWN_URI) };
    for (types, plain, room) in [
        ("message/cpim", true, true),
        ("Message/CPIM text/plain", true, true),
        ("*", true, true),
        ("application/im-iscomposing+xml", true, false),
        ("text/plain", false, false),
        ("application/*", true, false),
    ] {
        let refused = |local: &Local| answer(&offer(types), local, &Rules::default()).err();
        assert_eq!(refused(&local(OWN_URI)), (!plain).then_some(Refusal::Types), "{types}");
        assert_eq!(refused(&cpim), (!room).then_some(Refusal::Types), "{types}: room");
    }
    let wrapped = "a=accept-wrapped-types:text/*\na=max-size:2000\n";
    let (agreement, _) = answer(&peer(wrapped), &local(OWN_URI), &Rules::default()).unwrap();
    assert!(agreement.sendable.allows_inside("message/cpim", "text/plain"));
    assert!(!agreement.sendable.allows("text/plain"));
    // For messages the size is advice.
    assert_eq!((agreement.sendable.max_size, agreement.sendable.forbids_size(2001)), (Some(2000), false));
}

#[test]
fn directions() {
    let every = [Direction::SEND_RECEIVE, Direction::SEND_ONLY, Direction::RECEIVE_ONLY, Direction::INACTIVE];
    // Rows: the offer; columns: our wish.
    let table = [
        ["sendrecv", "sendonly", "recvonly", "inactive"],
        ["recvonly", "inactive", "recvonly", "inactive"],
        ["sendonly", "sendonly", "inactive", "inactive"],
        ["inactive", "inactive", "inactive", "inactive"],
    ];
    for (offered, row) in every.into_iter().zip(table) {
        for (wish, expected) in every.into_iter().zip(row) {
            let ours = Local { direction: wish, ..local(OWN_URI) };
            let (agreement, text) =
                answer(&peer(&format!("a={}\n", offered.name())), &ours, &Rules::default()).unwrap();
            assert_eq!(agreement.direction.name(), expected, "{} {}", offered.name(), wish.name());
            assert!(text.ends_with(&format!("a={expected}\r\n")));
        }
    }
}

#[test]
fn other_media_are_refused_or_answered_by_others() {
    let offer = description(
        "",
        "m=audio 4000 RTP/AVP 0 8\na=rtpmap:0 PCMU/8000\n\
         m=message 7394 TCP/MSRP *\na=accept-types:message/cpim\na=path:msrp://203.0.113.5:7394/x;tcp\n\
         m=video 0 RTP/AVP 31\n\
         m=message 7394 tcp/msrp *\na=accept-types:text/plain\na=path:msrp://203.0.113.5:7394/y;tcp\n",
    );
    let offer = Description::parse(offer.as_bytes()).unwrap();
    let mut ours = MsrpAnswer::new(&offer, &origin(), &Rules::default());
    let agreement = ours.accept(1, &local(OWN_URI), &Names::default()).unwrap();
    assert_eq!(agreement.index, 1);
    assert_eq!(ours.accept(3, &local(OWN_URI), &Names::default()), Err(Refusal::Types));
    let text = String::from_utf8(ours.finish().unwrap().to_bytes()).unwrap();
    assert_eq!(
        lines(&text, "m="),
        ["m=audio 0 RTP/AVP 0 8", "m=message 2855 TCP/MSRP *", "m=video 0 RTP/AVP 31", "m=message 0 tcp/msrp *"]
    );

    let mut gateway = MsrpAnswer::new(&offer, &origin(), &Rules::default());
    gateway.put(0, Media::new("audio", 5000, "RTP/AVP", "8").unwrap());
    gateway.refuse(1, Refusal::Declined);
    let text = String::from_utf8(gateway.finish().unwrap().to_bytes()).unwrap();
    assert!(text.contains("m=audio 5000 RTP/AVP 8\r\nm=message 0 TCP/MSRP *\r\nm=video 0 RTP/AVP 31\r\n"));
}

#[test]
fn whole_offers_that_are_refused() {
    let sections = |sections: &str| description("", sections);
    let audio = "m=audio 4000 RTP/AVP 0\n";
    let message = "m=message 7394 TCP/MSRP *\na=accept-types:text/plain\na=path:msrp://203.0.113.5:7394/y;tcp\n";
    for (name, offer, expected) in [
        ("audio only", sections(audio), Some(Refusal::MediaType)),
        ("no type in common", sections(&format!("{audio}{message}")), Some(Refusal::Types)),
        ("all ended by the offerer", sections("m=message 0 TCP/MSRP *\n"), None),
        ("nothing offered", sections(""), None),
    ] {
        let offer = Description::parse(offer.as_bytes()).unwrap();
        let mut answer = MsrpAnswer::new(&offer, &origin(), &Rules::default());
        for index in 0..3 {
            let _ = answer.accept(index, &local(OWN_URI), &Names::default());
        }
        match (answer.finish(), expected) {
            (Err(refusal), Some(expected)) => assert_eq!((refusal, refusal.status()), (expected, 488), "{name}"),
            (Ok(answer), None) => assert_eq!(answer.media().len(), offer.media().len(), "{name}"),
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn reasons_and_their_warnings() {
    let tls = "m=message 7394 TCP/TLS/MSRP *\na=accept-types:*\na=path:msrp://203.0.113.5:7394/y;tcp\n";
    for (name, offer, refusal, warning) in [
        ("UDP", peer("").replace("TCP/MSRP", "UDP/MSRP"), Refusal::Protocol, 302),
        ("no path", peer("").replace("a=path", "a=way"), Refusal::NoPath, 307),
        ("empty path", peer("").replace(PEER_URI, ""), Refusal::NoPath, 307),
        ("path of another scheme", peer("").replace("msrp://", "sip://"), Refusal::Malformed("path"), 307),
        ("size of letters", peer("a=max-size:big\n"), Refusal::Malformed("max-size"), 307),
        (
            "types without subtype",
            peer("a=accept-wrapped-types:text\n"),
            Refusal::Malformed("accept-wrapped-types"),
            307,
        ),
        ("fingerprint", peer("a=fingerprint:x\n"), Refusal::Malformed("fingerprint"), 307),
        ("chat room", peer("a=chatroom:a:b\n"), Refusal::Malformed("chatroom"), 307),
        ("type", peer("").replace("a=accept-types:message/cpim", "a=accept-types:a/b"), Refusal::Types, 305),
        ("TLS with msrp:", description("", tls), Refusal::Security, 302),
    ] {
        let refused = answer(&offer, &local(OWN_URI), &Rules::default()).map(|_| ()).unwrap_err();
        assert_eq!((refused, refused.warning()), (refusal, warning), "{name}");
    }
    let many = format!("a=path:{}", format!("{PEER_URI} ").repeat(17));
    let offer = peer("").replace(&format!("a=path:{PEER_URI}"), &many);
    assert_eq!(answer(&offer, &local(OWN_URI), &Rules::default()).unwrap_err(), Refusal::Malformed("path"));
}

#[test]
fn habits_of_peers() {
    type Switch = fn(&mut Leniency);
    let cases: &[(&str, &str, &str, Switch)] = &[
        ("protocol in lower case", "TCP/MSRP", "tcp/msrp", |l| l.case = true),
        ("spaces after the colon", "a=path:", "a=path: ", |l| l.spaces = true),
        ("two spaces in the path", ";tcp", ";tcp  msrp://203.0.113.5:1/y;tcp", |l| l.spaces = true),
        ("no port in the path", ":7394/", "/", |l| l.path_without_port = true),
        ("no types", "a=accept-types:message/cpim\r\n", "", |l| l.no_accept_types = true),
        ("commas", "a=accept-types:message/cpim", "a=accept-types:message/cpim,a/b", |l| l.commas = true),
        ("no format", "TCP/MSRP *", "TCP/MSRP", |l| l.no_format = true),
        ("lower-case fingerprint", "a=path", "a=fingerprint:SHA-256 ab\r\na=path", |l| l.fingerprint_syntax = true),
        ("empty subject", "s=-", "s=", |l| l.missing_lines = true),
        ("attributes first", "t=0 0\r\nm=", "a=x\r\nt=0 0\r\nm=", |l| l.order = true),
    ];
    for (name, from, to, switch) in cases {
        let offer = peer("").replacen(from, to, 1);
        assert_ne!(offer, peer(""), "{name}");
        let read = |rules: &Rules| {
            let offer = Description::parse_within(offer.as_bytes(), rules).map_err(|error| error.to_string())?;
            let mut answer = MsrpAnswer::new(&offer, &origin(), rules);
            answer.accept(0, &local(OWN_URI), &Names::default()).map_err(|error| error.to_string())
        };
        assert!(read(&Rules::strict()).is_err(), "{name}: strict");
        let mut rules = Rules::strict();
        switch(&mut rules.leniency);
        read(&rules).unwrap_or_else(|error| panic!("{name}: {error}"));
        read(&Rules::default()).unwrap_or_else(|error| panic!("{name}: default: {error}"));
    }
    // TLS if either place says so; the answer repeats the protocol of the offer.
    let secure = local("msrps://198.51.100.7:2855/s;tcp");
    for (offer, protocol) in [
        (peer("").replace("TCP/MSRP", "TCP/TLS/MSRP"), "TCP/TLS/MSRP"),
        (peer("").replace("msrp://", "msrps://"), "TCP/MSRP"),
    ] {
        assert_eq!(answer(&offer, &secure, &Rules::strict()).unwrap_err(), Refusal::Security);
        let (agreement, text) = answer(&offer, &secure, &Rules::default()).unwrap();
        assert!(agreement.secure);
        assert_eq!(lines(&text, "m="), [format!("m=message 2855 {protocol} *")]);
    }
    let (agreement, _) = answer(&peer("").replace(":7394/", "/"), &local(OWN_URI), &Rules::default()).unwrap();
    assert_eq!(agreement.peer_path, [PEER_URI]);
}

#[test]
fn a_handset_behind_a_nat() {
    // Private address, port 9 in the m= line and another in the path, no TLS; an operator's border has changed c=.
    let offer = "v=0\r\no=- 3811155201 3811155201 IN IP4 10.12.3.4\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\n\
        m=message 9 TCP/MSRP *\r\na=path:msrp://10.12.3.4:20000/1353517381;tcp\r\na=setup:active\r\n\
        a=accept-types:message/cpim application/im-iscomposing+xml\r\n\
        a=accept-wrapped-types:text/plain message/imdn+xml application/vnd.gsma.rcspushlocation+xml\r\na=sendrecv\r\n";
    for cema in [false, true] {
        let ours = Local { cema, ..local(OWN_URI) };
        let (agreement, _) = answer(offer, &ours, &Rules::default()).unwrap();
        assert_eq!((connects(&agreement).as_str(), agreement.cema), ("listen", false));
        assert_eq!(agreement.to_path().collect::<Vec<_>>(), ["msrp://10.12.3.4:20000/1353517381;tcp"]);
    }
    let strict = answer(offer, &Local { cema: true, ..local(OWN_URI) }, &Rules::strict());
    assert_eq!(strict.unwrap_err(), Refusal::AddressMismatch);
}

#[test]
fn answers_that_answer_something_else() {
    let offer = MsrpOffer::new(local(OWN_URI)).unwrap();
    let read = |text: &str| read_answer(&offer, text, &Rules::default());
    assert_eq!(read(&description("", "")), Err(AnswerError::Sections { offered: 1, answered: 0 }));
    assert_eq!(read(&description("", "m=message 0 TCP/MSRP *\n")), Ok(Outcome::Refused));
    assert_eq!(read(&description("", "m=audio 1 RTP/AVP 0\n")), Err(AnswerError::Session(Refusal::MediaType)));
    let tls = peer("").replace("TCP/MSRP", "TCP/TLS/MSRP");
    assert_eq!(read(&tls), Err(AnswerError::Session(Refusal::Security)));
    let types = peer("").replace("a=accept-types:message/cpim", "a=accept-types:a/b");
    assert_eq!(read(&types), Err(AnswerError::Session(Refusal::Types)));
    assert!(matches!(read(&peer("a=chatroom:nickname\n")), Ok(Outcome::Agreed(agreed)) if agreed.chatroom.is_some()));
}

#[test]
fn times_are_those_of_the_offer() {
    let offer = peer("").replace("t=0 0", "t=3034423619 3042462419\r\nr=604800 3600 0 90000");
    let (_, text) = answer(&offer, &local(OWN_URI), &Rules::strict()).unwrap();
    assert_eq!(lines(&text, "t="), ["t=3034423619 3042462419"]);
    assert_eq!(lines(&text, "r="), ["r=604800 3600 0 90000"]);
    let (_, text) = answer(&peer("").replace("t=0 0\r\n", ""), &local(OWN_URI), &Rules::default()).unwrap();
    assert_eq!(lines(&text, "t="), ["t=0 0"]);
}

#[test]
fn what_we_are_capable_of() {
    let media = capabilities(&Local { cema: true, max_size: Some(5), ..local(OWN_URI) }, true).unwrap();
    let text: Vec<u8> = media.lines().iter().flat_map(|line| line.raw().to_vec()).collect();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "m=message 0 TCP/MSRP *\r\nc=IN IP4 198.51.100.7\r\n\
         a=accept-types:message/cpim application/im-iscomposing+xml\r\n\
         a=accept-wrapped-types:text/plain message/imdn+xml\r\na=max-size:5\r\na=file-selector\r\n"
    );
}

#[test]
fn our_own_mistakes() {
    let good = local(OWN_URI);
    for (name, local) in [
        ("no path", Local { path: vec![], ..good.clone() }),
        ("no port", Local { path: vec!["msrp://h/x;tcp".to_owned()], ..good.clone() }),
        ("no URI", Local { path: vec!["h".to_owned()], ..good.clone() }),
        ("no types", Local { accept_types: TypeList::default(), ..good }),
    ] {
        let error = MsrpOffer::new(local.clone()).map(|_| ()).unwrap_err();
        let refused = answer(&peer(""), &local, &Rules::default()).map(|_| ()).unwrap_err();
        assert_eq!((refused, refused.status()), (Refusal::Local(error), 500), "{name}");
    }
}
