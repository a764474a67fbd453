//! Sessions that end here, over TLS: two servers that each know the other's certificate by its hash, or do not.

use std::sync::Arc;

use chappe_sdp::{Agreement, Fingerprint};

use super::super::endpoint::{End, EndClosed, EndUser, NewEnd, Sent};
use super::bed::Bed;
use super::endpoint::{Recorder, Told, agreement, message, new_end};

/// A session of `msrps` on a bed.
fn open(bed: &Bed) -> (Arc<End>, Arc<Recorder>) {
    let user = Arc::new(Recorder::default());
    let new = NewEnd { secure: true, ..new_end() };
    let end = bed.relay.endpoint().open(new, Arc::clone(&user) as Arc<dyn EndUser>).unwrap();
    assert!(end.uri().as_str().starts_with("msrps://"), "{end:?}");
    (end, user)
}

fn agreed(own: &End, peer: &End, we_connect: bool, fingerprint: Option<Fingerprint>) -> Agreement {
    let fingerprints = fingerprint.into_iter().collect();
    Agreement { fingerprints, ..agreement(own, peer.uri().as_str(), we_connect) }
}

fn certificate(bed: &Bed) -> Option<Fingerprint> {
    Some(bed.relay.endpoint().fingerprint().expect("it has a certificate"))
}

/// The hash of nobody's certificate.
fn other() -> Option<Fingerprint> {
    Some(Fingerprint { function: "sha-256".into(), value: vec![7; 32] })
}

#[test]
fn self_signed_certificates_are_taken_by_their_fingerprints() {
    let (here, there) = (Bed::over_tls(), Bed::over_tls());
    assert_ne!(certificate(&here), certificate(&there));
    let ((active, activist), (passive, passivist)) = (open(&here), open(&there));
    passive.agreed(&agreed(&passive, &active, false, certificate(&here)));
    active.send(message(1, "over TLS")).unwrap();
    active.agreed(&agreed(&active, &passive, true, certificate(&there)));
    activist.expect(Told::Bound);
    passivist.expect(Told::Bound);
    passivist.expect(Told::Message("0ur00001".into(), b"over TLS".to_vec()));
    activist.expect(Told::Sent(1, Sent::Confirmed));
    passive.send(message(2, "and back")).unwrap();
    activist.expect(Told::Message("0ur00002".into(), b"and back".to_vec()));
    passivist.expect(Told::Sent(2, Sent::Confirmed));
    active.close();
    activist.expect(Told::Closed(EndClosed::Here));
    passivist.expect(Told::Closed(EndClosed::ConnectionLost));
}

#[test]
fn the_active_end_sends_nothing_to_another_certificate() {
    let (here, there) = (Bed::over_tls(), Bed::over_tls());
    // Without a fingerprint the name has to lead to an authority, which a self-signed one does not.
    for named in [other(), certificate(&here), None] {
        let ((active, activist), (passive, passivist)) = (open(&here), open(&there));
        passive.agreed(&agreed(&passive, &active, false, certificate(&here)));
        active.send(message(1, "not for you")).unwrap();
        active.agreed(&agreed(&active, &passive, true, named));
        activist.expect(Told::Sent(1, Sent::Lost));
        // The other end may hang up before this one has said why it does.
        assert!(matches!(activist.next("the end"), Told::Closed(EndClosed::Unreachable | EndClosed::ConnectionLost)));
        passive.close();
        passivist.expect(Told::Closed(EndClosed::Here));
    }
}

#[test]
fn the_passive_end_takes_nothing_of_another_certificate() {
    let (here, there) = (Bed::over_tls(), Bed::over_tls());
    let ((active, activist), (passive, passivist)) = (open(&here), open(&there));
    passive.agreed(&agreed(&passive, &active, false, other()));
    active.send(message(1, "from somebody else")).unwrap();
    active.agreed(&agreed(&active, &passive, true, certificate(&there)));
    activist.expect(Told::Bound);
    activist.expect(Told::Sent(1, Sent::Lost));
    assert!(matches!(activist.next("the end"), Told::Closed(_)));
    assert!(!passive.is_bound());
    passive.close();
    passivist.expect(Told::Closed(EndClosed::Here));
}

/// An offerer listens before it has heard whom it will hear.
#[test]
fn who_was_there_before_its_fingerprint_is_judged_by_it() {
    let (here, there) = (Bed::over_tls(), Bed::over_tls());
    for (named, stays) in [(certificate(&here), true), (other(), false)] {
        let ((active, activist), (passive, passivist)) = (open(&here), open(&there));
        active.agreed(&agreed(&active, &passive, true, certificate(&there)));
        activist.expect(Told::Bound);
        passivist.expect(Told::Bound);
        passive.agreed(&agreed(&passive, &active, false, named));
        if stays {
            passive.send(message(1, "welcome")).unwrap();
            passivist.expect(Told::Sent(1, Sent::Confirmed));
            active.close();
        } else {
            passivist.expect(Told::Closed(EndClosed::Unreachable));
            activist.expect(Told::Closed(EndClosed::ConnectionLost));
        }
    }
}
