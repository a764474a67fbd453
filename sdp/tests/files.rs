//! Files (RFC 5547): offered, asked for, refused.

mod common;

use chappe_sdp::{
    AnswerError, Description, Direction, FileDescription, FileError, FileHash, FileRange, FileSelector, Leniency,
    Local, LocalError, MsrpAnswer, MsrpOffer, Names, Refusal, Rules, TypeList,
};
use common::*;

/// RFC 5547 §9.1, Figure 8, with the lines unfolded.
const PUSH: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 alicepc.example.com\r\ns=\r\n\
    c=IN IP4 alicepc.example.com\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\ni=This is my latest picture\r\na=sendonly\r\n\
    a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
    a=path:msrp://alicepc.example.com:7654/jshA7we;tcp\r\n\
    a=file-selector:name:\"My cool picture.jpg\" type:image/jpeg size:4092 \
    hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E\r\n\
    a=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE\r\na=file-disposition:render\r\n\
    a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\"\r\na=file-icon:cid:id2@alicepc.example.com\r\n";

/// §9.2, Figure 15.
const PULL: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 alicepc.example.com\r\ns=\r\n\
    c=IN IP4 alicepc.example.com\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\na=recvonly\r\n\
    a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
    a=path:msrp://alicepc.example.com:7654/jshA7we;tcp\r\n\
    a=file-selector:hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E\r\n\
    a=file-transfer-id:aCQYuBRVoUPGVsFZkCK98vzcX2FXDIk2\r\n";

/// What a handset behind a NAT sends.
const HANDSET: &str = "v=0\r\no=- 1 1 IN IP4 10.12.3.4\r\ns=-\r\nc=IN IP4 10.12.3.4\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:image/jpeg\r\n\
    a=file-transfer-id:4cP7oWq0dRk2bTnY1xZs8uHaLm5vJe9G\r\na=file-disposition:attachment\r\n\
    a=file-selector:name:\"beach.jpg\" type:image/jpeg size:482113 \
    hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E\r\n\
    a=file-icon:cid:icon1@example.com\r\na=setup:active\r\na=path:msrp://10.12.3.4:9/ft8899aa;tcp\r\na=sendonly\r\n\
    a=max-size:10485760\r\n";

const HASH: [u8; 20] = [
    0x72, 0x24, 0x5f, 0xe8, 0x65, 0x3d, 0xda, 0xf3, 0x71, 0x36, 0x2f, 0x86, 0xd4, 0x71, 0x91, 0x3e, 0xe4, 0xa2, 0xce,
    0x2e,
];

fn any(uri: &str) -> Local {
    Local::new(uri, TypeList::any())
}

fn file(selector: FileSelector) -> FileDescription {
    FileDescription { selector, transfer_id: Some("vBnG916bdberum2f".to_owned()), ..Default::default() }
}

fn picture() -> FileSelector {
    FileSelector {
        name: Some("50% \"off\".jpg".to_owned()),
        size: Some(4092),
        media_type: Some("image/jpeg".to_owned()),
        hashes: vec![FileHash::sha1(HASH)],
    }
}

#[test]
fn a_file_that_is_offered() {
    for offer in [PUSH, HANDSET] {
        let (agreement, text) = answer(offer, &any(OWN_URI), &Rules::default()).unwrap();
        let transfer = agreement.transfer.unwrap();
        assert!(!transfer.send);
        assert_eq!(transfer.file.selector.hash("SHA-1"), Some(&HASH[..]));
        assert!(transfer.file.icon.is_some() && transfer.file.disposition.is_some());
        assert_eq!(agreement.direction, Direction::RECEIVE_ONLY);
        assert!(text.ends_with("a=recvonly\r\n"));
        // Selector and identifier as they were, and neither icon nor disposition nor dates.
        for name in ["a=file-selector:", "a=file-transfer-id:"] {
            assert_eq!(lines(&text, name), lines(offer, name));
        }
        assert_eq!(lines(&text, "a=file-").len(), 2);
    }
}

#[test]
fn a_file_that_is_asked_for() {
    let (agreement, text) = answer(PULL, &any(OWN_URI), &Rules::default()).unwrap();
    assert!(agreement.transfer.unwrap().send);
    assert_eq!(agreement.direction, Direction::SEND_ONLY);
    assert_eq!(lines(&text, "a=file-selector:"), lines(PULL, "a=file-selector:"));
    assert!(text.ends_with("a=sendonly\r\n"));

    // Figure 16: with a type, which was not asked for.
    let selector = FileSelector { name: None, size: None, ..picture() };
    let ours = Local { file: Some(FileDescription { selector, ..Default::default() }), ..any(OWN_URI) };
    let (_, text) =
        answer(&PULL.replace("a=recvonly", "a=recvonly\r\na=file-range:5-*"), &ours, &Rules::default()).unwrap();
    assert_eq!(
        lines(&text, "a=file-"),
        [
            "a=file-selector:type:image/jpeg hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E",
            "a=file-transfer-id:aCQYuBRVoUPGVsFZkCK98vzcX2FXDIk2",
            "a=file-range:5-*"
        ]
    );
}

#[test]
fn a_file_that_is_refused() {
    let offer = Description::parse(PUSH.as_bytes()).unwrap();
    let mut answer = MsrpAnswer::new(&offer, &origin(), &Rules::default());
    answer.refuse(0, Refusal::Declined);
    let text = String::from_utf8(answer.into_description().to_bytes()).unwrap();
    assert_eq!(lines(&text, "m="), ["m=message 0 TCP/MSRP *"]);
    for name in ["a=file-selector:", "a=file-transfer-id:"] {
        assert_eq!(lines(&text, name), lines(PUSH, name));
    }
    assert_eq!(lines(&text, "a=").len(), 2);
    let mut answer = MsrpAnswer::new(&offer, &origin(), &Rules::default());
    answer.refuse(0, Refusal::Declined);
    assert_eq!(answer.finish().unwrap_err(), Refusal::Declined);
    // Ended by the offerer, in whatever state: mirrored as well (§8.1).
    let ended = PUSH.replace("m=message 7654", "m=message 0");
    let ended = Description::parse(ended.as_bytes()).unwrap();
    let text = String::from_utf8(MsrpAnswer::new(&ended, &origin(), &Rules::default()).finish().unwrap().to_bytes());
    assert_eq!(lines(&text.unwrap(), "a=file-transfer-id:"), lines(PUSH, "a=file-transfer-id:"));
}

#[test]
fn several_files_are_taken_one_by_one() {
    let section = |id: &str| {
        format!(
            "m=message 7394 TCP/MSRP *\na=accept-types:*\na=path:msrp://203.0.113.5:7394/{id};tcp\n\
                 a=file-selector:size:1\na=file-transfer-id:{id}\na=sendonly\n"
        )
    };
    let offer = description("", &["one", "two", "three"].map(section).concat());
    let offer = Description::parse(offer.as_bytes()).unwrap();
    let mut answer = MsrpAnswer::new(&offer, &origin(), &Rules::strict());
    for (index, own) in [(0, "msrp://198.51.100.7:2855/a;tcp"), (2, "msrp://198.51.100.7:2855/b;tcp")] {
        assert_eq!(answer.accept(index, &any(own), &Names::default()).unwrap().index, index);
    }
    let text = String::from_utf8(answer.finish().unwrap().to_bytes()).unwrap();
    assert_eq!(
        lines(&text, "m="),
        ["m=message 2855 TCP/MSRP *", "m=message 0 TCP/MSRP *", "m=message 2855 TCP/MSRP *"]
    );
    assert_eq!(lines(&text, "a=file-transfer-id").len(), 3);
}

#[test]
fn offers_that_are_not_right() {
    let no_id = |leniency: &mut Leniency| leniency.file_id = true;
    let no_direction = |leniency: &mut Leniency| leniency.file_direction = true;
    let id = "a=file-transfer-id:x\n";
    type Switch = fn(&mut Leniency);
    let cases: [(&str, String, FileError, Option<Switch>); 6] = [
        ("nothing selected", format!("a=file-selector\n{id}a=sendonly\n"), FileError::Selector, None),
        (
            "a name is not enough to send",
            format!("a=file-selector:name:\"a\"\n{id}a=sendonly\n"),
            FileError::Selector,
            None,
        ),
        ("nothing asked for", format!("a=file-selector\n{id}a=recvonly\n"), FileError::Selector, None),
        ("no identifier", "a=file-selector:size:1\na=sendonly\n".to_owned(), FileError::NoId, Some(no_id)),
        ("no direction", format!("a=file-selector:size:1\n{id}"), FileError::Direction, Some(no_direction)),
        (
            "range",
            format!("a=file-selector:size:1\n{id}a=file-range:x\na=sendonly\n"),
            FileError::Malformed("file-range"),
            None,
        ),
    ];
    for (name, attributes, error, switch) in cases {
        let refused = answer(&peer(&attributes), &local(OWN_URI), &Rules::strict()).map(|_| ());
        assert_eq!(refused, Err(Refusal::File(error)), "{name}");
        let mut rules = Rules::strict();
        if let Some(switch) = switch {
            switch(&mut rules.leniency);
        }
        let read = answer(&peer(&attributes), &local(OWN_URI), &rules);
        assert_eq!(read.is_ok(), switch.is_some(), "{name}");
        if let Ok((agreement, _)) = read {
            assert_eq!(agreement.direction, Direction::RECEIVE_ONLY, "{name}");
        }
    }
}

#[test]
fn our_offer_and_its_answer() {
    let ours = Local { direction: Direction::SEND_ONLY, file: Some(file(picture())), ..local(OWN_URI) };
    let offer = MsrpOffer::new(ours.clone()).unwrap();
    let text = described(&offer);
    assert_eq!(
        lines(&text, "a=file-selector:"),
        ["a=file-selector:name:\"50%25 %22off%22.jpg\" type:image/jpeg size:4092 \
          hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E"]
    );
    let theirs = Local { max_size: Some(5000), ..any(PEER_URI) };
    let (receiver, answered) = answer(&text, &theirs, &Rules::strict()).unwrap();
    let sender = agreed(read_answer(&offer, &answered, &Rules::strict()).unwrap());
    assert_eq!(receiver.transfer.unwrap().file.selector, picture());
    assert!(sender.transfer.as_ref().unwrap().send);
    assert_eq!(sender.direction, Direction::SEND_ONLY);
    // The receiver's limit binds whoever sends a file.
    assert!(!sender.sendable.forbids_size(5000) && sender.sendable.forbids_size(5001));

    // A peer that knows MSRP only takes a file like any message.
    let plain = agreed(read_answer(&offer, &peer("a=recvonly\n"), &Rules::default()).unwrap());
    assert_eq!(plain.transfer.unwrap().file.selector, picture());

    let other_id = answered.replace("vBnG916bdberum2f", "other");
    let other_id = read_answer(&offer, &other_id, &Rules::default());
    assert_eq!(other_id, Err(AnswerError::Session(Refusal::File(FileError::Id))));
    let part = answered.replace("a=recvonly", "a=file-range:2-*\r\na=recvonly");
    assert_eq!(
        read_answer(&offer, &part, &Rules::default()),
        Err(AnswerError::Session(Refusal::File(FileError::Range)))
    );
}

#[test]
fn a_part_of_a_file() {
    let range = Some(FileRange { start: 1001, stop: Some(4092) });
    let part = FileDescription { range, ..file(picture()) };
    for direction in [Direction::SEND_ONLY, Direction::RECEIVE_ONLY] {
        let offer = MsrpOffer::new(Local { direction, file: Some(part.clone()), ..local(OWN_URI) }).unwrap();
        let (theirs, answered) = answer(&described(&offer), &any(PEER_URI), &Rules::strict()).unwrap();
        assert_eq!(lines(&answered, "a=file-range:"), ["a=file-range:1001-4092"]);
        assert_eq!(theirs.transfer.unwrap().file.range, range);
        let ours = agreed(read_answer(&offer, &answered, &Rules::strict()).unwrap());
        assert_eq!(ours.transfer.unwrap().file.range, range);
        // Who does not repeat the range has not understood it.
        let plain = peer(if direction.send { "a=recvonly\n" } else { "a=sendonly\n" });
        let error = if direction.send { FileError::Range } else { FileError::NotAFile };
        assert_eq!(read_answer(&offer, &plain, &Rules::default()), Err(AnswerError::Session(Refusal::File(error))));
    }
}

#[test]
fn offers_that_we_do_not_make() {
    let name_only = FileSelector { name: Some("a".to_owned()), ..Default::default() };
    let offer = |direction, description: FileDescription| {
        MsrpOffer::new(Local { direction, file: Some(description), ..local(OWN_URI) }).map(|_| ()).err()
    };
    for (name, direction, description, error) in [
        ("both ways", Direction::SEND_RECEIVE, file(picture()), Some(FileError::Direction)),
        ("a name only", Direction::SEND_ONLY, file(name_only.clone()), Some(FileError::Selector)),
        ("asking by name", Direction::RECEIVE_ONLY, file(name_only), None),
        (
            "no identifier",
            Direction::SEND_ONLY,
            FileDescription { transfer_id: None, ..file(picture()) },
            Some(FileError::NoId),
        ),
    ] {
        assert_eq!(offer(direction, description), error.map(LocalError::File), "{name}");
    }
}
