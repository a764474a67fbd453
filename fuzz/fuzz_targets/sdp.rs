//! Session descriptions: written back as they came; whatever is offered, the answer fits it and both ends agree.

#![no_main]

use chappe_sdp::{
    Description, Leniency, Limits, Local, Media, MsrpAnswer, MsrpOffer, Names, Origin, Outcome, Remote, Rules,
    TypeList, change, revise,
};
use libfuzzer_sys::fuzz_target;

const URI: &str = "msrp://198.51.100.7:2855/s11ceofpath;tcp";
const SECURE_URI: &str = "msrps://198.51.100.7:2855/s11ceofpath;tcp";

fuzz_target!(|data: &[u8]| {
    let legacy = Rules {
        leniency: Leniency { sha1_fingerprint: true, ..Leniency::DEPLOYED },
        limits: Limits { path: 4, entries: 8, ..Limits::default() },
    };
    let strict = Description::parse_within(data, &Rules::strict());
    let Ok(offer) = Description::parse(data) else {
        assert!(strict.is_err());
        return;
    };
    assert_eq!(offer.to_bytes(), data);
    if let Ok(strict) = strict {
        assert_eq!(strict.to_bytes(), data);
    }
    assert!(change(&offer, &offer).is_ok());

    let origin = Origin::new(1, "198.51.100.7");
    for (uri, relay, cema, reachable, rules) in [
        (URI, false, false, true, Rules::default()),
        (URI, false, true, false, Rules::strict()),
        (SECURE_URI, false, true, false, legacy),
        (URI, true, true, true, Rules::default()),
    ] {
        let mut local = Local { cema, reachable, ..Local::new(uri, TypeList::new(["message/cpim", "text/*"])) };
        if relay {
            local.path.insert(0, "msrp://198.51.100.8:2855/use;tcp".to_owned());
        }
        let mut answer = MsrpAnswer::new(&offer, &origin, &rules);
        let mut agreed = Vec::new();
        for index in 0..offer.media().len() {
            agreed.extend(answer.accept(index, &local, &Names::default()).ok());
        }
        let answer = answer.into_description();
        let written = answer.to_bytes();
        let limits = Limits { size: usize::MAX, line: usize::MAX, ..Limits::default() };
        let read = Description::parse_within(&written, &Rules { limits, ..Rules::default() }).expect("our answer");
        assert_eq!(read.media().len(), offer.media().len());
        assert!(revise(&read, answer).is_ok());
        for (index, media) in read.media().iter().enumerate() {
            assert!(media.kind().eq_ignore_ascii_case(offer.media()[index].kind()));
            assert_eq!(agreed.iter().any(|agreed| agreed.index == index), !media.is_refused());
        }
        for agreement in agreed {
            let remote = Remote::read(&read, agreement.index, &Rules::default()).expect("our own section");
            assert_eq!(remote.path, agreement.own_path);
            assert_eq!((remote.direction, remote.cema), (agreement.direction, agreement.cema));
        }

        let ours = MsrpOffer::new(local).expect("an offer of ours");
        for index in 0..offer.media().len() {
            let outcome = ours.read_answer(&offer, index, offer.media().len(), &Names::default(), &rules);
            if let Ok(Outcome::Agreed(agreement)) = outcome {
                assert!(!offer.media()[index].is_refused() && agreement.peer_path.len() <= rules.limits.path);
            }
        }
    }

    // What is changed stays readable, and the rest as it was.
    let mut changed = offer.clone();
    changed.set_origin(&origin);
    for media in changed.media_mut() {
        media.set_port(7);
        media.push_attribute("x", Some("y"));
    }
    changed.push(Media::new("message", 1, "TCP/MSRP", "*").expect("a section"));
    let written = changed.to_bytes();
    let limits =
        Limits { size: usize::MAX, line: usize::MAX, lines: usize::MAX, media: usize::MAX, ..Limits::default() };
    let read = Description::parse_within(&written, &Rules { limits, ..Rules::default() }).expect("our changes");
    assert_eq!(read.media().len(), offer.media().len() + 1);
    assert_eq!(read.origin().as_ref(), Some(&origin));
    for (before, after) in offer.media().iter().zip(read.media()) {
        assert_eq!((after.port(), after.attributes("x").last()), (7, Some(&b"y"[..])));
        assert_eq!((before.kind(), before.protocol()), (after.kind(), after.protocol()));
    }
});
