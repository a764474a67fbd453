//! RFC 6714 between two ends, with and without a middlebox that rewrites `c=` and `m=`.

mod common;

use std::net::IpAddr;

use chappe_sdp::{
    Connect, Description, Leniency, Local, Matching, MsrpAnswer, MsrpOffer, Names, Outcome, Refusal, Role, Rules,
};
use common::*;

fn end(path: &str, cema: bool) -> Local {
    Local { path: path.split(' ').map(str::to_owned).collect(), cema, ..local(OWN_URI) }
}

const ALICE: &str = "msrp://203.0.113.5:7394/alice;tcp";
const ALICE_RELAYED: &str = "msrp://203.0.113.80:2855/use;tcp msrp://10.0.0.5:7394/alice;tcp";
const BOB: &str = "msrp://198.51.100.7:2855/bob;tcp";
const BOB_RELAYED: &str = "msrp://198.51.100.80:2855/use;tcp msrp://10.0.0.7:7394/bob;tcp";

/// What a middlebox does: its own address in `c=` and `m=`, and nothing else.
fn anchored(text: &str, port: u16) -> String {
    let mut changed = String::new();
    for line in text.lines() {
        let mut words: Vec<&str> = line.split(' ').collect();
        let own = port.to_string();
        if line.starts_with("c=") {
            words[2] = "192.0.2.200";
        } else if line.starts_with("m=") {
            words[1] = &own;
        }
        changed += &words.join(" ");
        changed += "\r\n";
    }
    changed
}

#[test]
fn through_a_middlebox() {
    // Alice, Bob; whether a middlebox is in between; where each connects.
    for (name, alice, bob, middlebox, alices, bobs) in [
        ("no relays", ALICE, BOB, false, "198.51.100.7:2855", "listen"),
        ("no relays, anchored", ALICE, BOB, true, "192.0.2.200:61002", "listen"),
        ("offerer's relay", ALICE_RELAYED, BOB, false, "relay", "203.0.113.80:2855"),
        ("offerer's relay, anchored", ALICE_RELAYED, BOB, true, "relay", "192.0.2.200:61001"),
        ("answerer's relay", ALICE, BOB_RELAYED, false, "198.51.100.80:2855", "relay"),
        ("answerer's relay, anchored", ALICE, BOB_RELAYED, true, "192.0.2.200:61002", "relay"),
    ] {
        let alice = MsrpOffer::new(end(alice, true)).unwrap();
        let offer = described(&alice);
        let offer = if middlebox { anchored(&offer, 61001) } else { offer };
        let (bob, text) = answer(&offer, &end(bob, true), &Rules::default()).unwrap();
        let text = if middlebox { anchored(&text, 61002) } else { text };
        let alice = agreed(read_answer(&alice, &text, &Rules::default()).unwrap());
        assert_eq!((connects(&alice).as_str(), connects(&bob).as_str()), (alices, bobs), "{name}");
        assert_eq!(alice.role, bob.role.other(), "{name}");
        assert!(alice.cema && bob.cema, "{name}");
        assert_eq!(alice.matching, Matching::SessionId);
        // To-Path is made from the path, wherever the connection goes.
        assert!(bob.to_path().last().unwrap().ends_with("/alice;tcp"), "{name}");
    }
}

#[test]
fn what_is_written() {
    let offer = described(&MsrpOffer::new(end(ALICE_RELAYED, true)).unwrap());
    assert_eq!(lines(&offer, "m="), ["m=message 2855 TCP/MSRP *"]);
    assert_eq!(lines(&offer, "c=")[1], "c=IN IP4 203.0.113.80");
    assert_eq!(lines(&offer, "a=setup"), ["a=setup:actpass"]);
    assert_eq!(lines(&offer, "a=msrp-cema"), ["a=msrp-cema"]);

    let plain = described(&MsrpOffer::new(end(ALICE_RELAYED, true)).unwrap().without_cema().unwrap());
    assert_eq!(lines(&plain, "m="), ["m=message 7394 TCP/MSRP *"]);
    assert_eq!(lines(&plain, "c=")[1], "c=IN IP4 10.0.0.5");
    assert!(!plain.contains("msrp-cema"));

    let offer = described(&MsrpOffer::new(end(ALICE, true)).unwrap());
    let (_, answered) = answer(&offer, &end(BOB_RELAYED, true), &Rules::strict()).unwrap();
    assert_eq!(lines(&answered, "m="), ["m=message 2855 TCP/MSRP *"]);
    assert_eq!(lines(&answered, "c=")[1], "c=IN IP4 198.51.100.80");
    assert_eq!(lines(&answered, "a=setup"), ["a=setup:passive"]);
}

#[test]
fn relays_on_both_sides_fall_back() {
    let alice = MsrpOffer::new(end(ALICE_RELAYED, true)).unwrap();
    let (bob, text) = answer(&described(&alice), &end(BOB_RELAYED, true), &Rules::default()).unwrap();
    assert!(!bob.cema && !text.contains("msrp-cema"));
    // RFC 4976 has our own address in c= and m=, which is in the path: no middlebox, no new offer.
    let alices = agreed(read_answer(&alice, &text, &Rules::default()).unwrap());
    assert_eq!((connects(&alices).as_str(), alices.cema, alices.matching), ("relay", false, Matching::Whole));
    // With a middlebox there has to be one.
    let outcome = read_answer(&alice, &anchored(&text, 61002), &Rules::default());
    assert_eq!(outcome, Ok(Outcome::Reoffer));
    let alice = alice.without_cema().unwrap();
    let (bob, text) = answer(&described(&alice), &end(BOB_RELAYED, true), &Rules::default()).unwrap();
    let alices = agreed(read_answer(&alice, &text, &Rules::default()).unwrap());
    assert_eq!((connects(&alices).as_str(), connects(&bob).as_str()), ("relay", "relay"));
}

#[test]
fn peers_without_it() {
    let plain = |path: &str| end(path, false);
    // We offer it to a peer that does not know it.
    for (name, own, bob, middlebox, expected) in [
        ("plain", ALICE, BOB, false, Some("198.51.100.7:2855")),
        ("plain, anchored", ALICE, BOB, true, Some("192.0.2.200:61002")),
        ("plain relay", ALICE, BOB_RELAYED, false, Some("198.51.100.80:2855")),
        ("plain relay, anchored", ALICE, BOB_RELAYED, true, None),
        ("our relay", ALICE_RELAYED, BOB, false, Some("relay")),
        ("our relay, anchored", ALICE_RELAYED, BOB, true, None),
    ] {
        let alice = MsrpOffer::new(end(own, true)).unwrap();
        let (_, text) = answer(&described(&alice), &plain(bob), &Rules::default()).unwrap();
        let text = if middlebox { anchored(&text, 61002) } else { text };
        match (read_answer(&alice, &text, &Rules::default()).unwrap(), expected) {
            (Outcome::Reoffer, None) => {}
            (outcome, Some(expected)) => {
                let agreement = agreed(outcome);
                assert_eq!((connects(&agreement).as_str(), agreement.cema), (expected, false), "{name}");
            }
            (outcome, None) => panic!("{name}: {outcome:?}"),
        }
    }
    // It connects, and would miss the middlebox.
    let alice = MsrpOffer::new(end(ALICE, true)).unwrap();
    let (bob, text) = answer(&described(&alice), &Local { reachable: false, ..plain(BOB) }, &Rules::default()).unwrap();
    assert_eq!(bob.role, Role::Active);
    assert!(matches!(read_answer(&alice, &text, &Rules::default()), Ok(Outcome::Agreed(_))));
    assert_eq!(read_answer(&alice, &anchored(&text, 61002), &Rules::default()), Ok(Outcome::Reoffer));
    // A peer without it offers.
    let offer = described(&MsrpOffer::new(plain(ALICE)).unwrap());
    let (bob, text) = answer(&offer, &end(BOB, true), &Rules::strict()).unwrap();
    assert!(!bob.cema && !text.contains("msrp-cema"));
    let refused = answer(&anchored(&offer, 61001), &end(BOB, true), &Rules::default());
    assert_eq!(refused.unwrap_err(), Refusal::AddressMismatch);
    // Without RFC 6714 only the path counts.
    assert!(answer(&anchored(&offer, 61001), &plain(BOB), &Rules::default()).is_ok());
}

#[test]
fn names_are_looked_up_by_the_caller() {
    let offer = peer("a=setup:passive\n").replace(PEER_URI, "msrp://alice.example.com:7394/x;tcp");
    let offer = Description::parse(offer.as_bytes()).unwrap();
    let remote = chappe_sdp::Remote::read(&offer, 0, &Rules::default()).unwrap();
    assert_eq!(remote.names_to_resolve(), ["alice.example.com"]);
    for (addresses, expected) in [
        (&["203.0.113.5"][..], Ok(())),
        (&["192.0.2.1", "203.0.113.5"], Ok(())),
        (&["192.0.2.1"], Err(Refusal::AddressMismatch)),
        (&[], Err(Refusal::AddressMismatch)),
    ] {
        let mut names = Names::default();
        for address in addresses {
            names.add("alice.example.com", address.parse::<IpAddr>().unwrap());
        }
        let mut answer = MsrpAnswer::new(&offer, &origin(), &Rules::default());
        assert_eq!(answer.accept(0, &end(BOB, true), &names).map(|_| ()), expected, "{addresses:?}");
    }
    // Nothing to look up where the port tells, or all is said.
    for path in ["msrp://alice.example.com:1/x;tcp", PEER_URI] {
        let offer = peer("").replace(PEER_URI, path);
        let offer = Description::parse(offer.as_bytes()).unwrap();
        let remote = chappe_sdp::Remote::read(&offer, 0, &Rules::default()).unwrap();
        assert!(remote.names_to_resolve().is_empty(), "{path}");
    }
}

#[test]
fn spellings_of_one_ipv6_address() {
    let offer = peer("a=setup:passive\n")
        .replace("IP4 203.0.113.5", "IP6 2001:DB8:0::0:1")
        .replace(PEER_URI, "msrp://[2001:db8::1]:7394/x;tcp");
    let (agreement, _) = answer(&offer, &end(BOB, true), &Rules::default()).unwrap();
    assert_eq!(connects(&agreement), "[2001:db8::1]:7394");
}

#[test]
fn certificates_are_those_of_the_path() {
    let alice = MsrpOffer::new(end("msrps://alice.example.com:7394/alice;tcp", true)).unwrap();
    let offer = anchored(&described(&alice), 61001);
    let (_, text) = answer(&offer, &end("msrps://bob.example.com:2855/bob;tcp", true), &Rules::default()).unwrap();
    let agreement = agreed(read_answer(&alice, &anchored(&text, 61002), &Rules::default()).unwrap());
    let Connect::To(target) = &agreement.connect else { panic!() };
    assert_eq!((target.host.to_string().as_str(), target.port), ("192.0.2.200", 61002));
    assert_eq!(target.tls.as_ref().map(ToString::to_string).as_deref(), Some("bob.example.com"));
}

#[test]
fn strict_comparison_is_a_switch() {
    let rules = Rules { leniency: Leniency { match_session_id: false, ..Leniency::DEPLOYED }, ..Rules::default() };
    let alice = MsrpOffer::new(end(ALICE, true)).unwrap();
    let (bob, _) = answer(&described(&alice), &end(BOB, true), &rules).unwrap();
    assert_eq!((bob.cema, bob.matching), (true, Matching::Whole));
}
