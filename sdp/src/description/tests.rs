use proptest::prelude::*;

use super::*;
use crate::rules::Limits;

/// RFC 8866 §5.
const CONFERENCE: &str = "v=0\r\n\
    o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n\
    s=Call to John Smith\r\n\
    i=SDP Offer #1\r\n\
    u=http://www.jdoe.example.com/home.html\r\n\
    e=Jane Doe <jane@jdoe.example.com>\r\n\
    p=+1 617 555-6011\r\n\
    c=IN IP4 198.51.100.1\r\n\
    t=0 0\r\n\
    m=audio 49170 RTP/AVP 0\r\n\
    m=audio 49180 RTP/AVP 0\r\n\
    m=video 51372 RTP/AVP 99\r\n\
    c=IN IP6 2001:db8::2\r\n\
    a=rtpmap:99 h263-1998/90000\r\n";

/// What a browser offers, shortened.
const BROWSER: &str = "v=0\r\n\
    o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0 1\r\n\
    a=extmap-allow-mixed\r\n\
    a=msid-semantic: WMS\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=candidate:1467250027 1 udp 2122260223 192.0.2.7 46243 typ host generation 0\r\n\
    a=ice-ufrag:F7gI\r\n\
    a=ice-pwd:x9cml/YzichV2+XlhiMu8g\r\n\
    a=fingerprint:sha-256 D1:2C:BE:AD:C4:F6:64:5C:25:16:11:9C:AF:E7:0F:73:79:36:4E:9C:1E:15:54:39:0C:06:8B:ED:96:86:00:39\r\n\
    a=setup:actpass\r\n\
    a=mid:0\r\n\
    a=sendrecv\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 minptime=10;useinbandfec=1\r\n\
    a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=bundle-only\r\n\
    a=mid:1\r\n";

fn strict(bytes: &[u8]) -> Result<Description<'_>, ParseError> {
    Description::parse_within(bytes, &Rules::strict())
}

#[test]
fn written_back_as_it_came() {
    let sloppy = "v=0 \n o=alice smith x y IN IP4 host\r\n\nq=?\r\na=before:\u{e9}\r\nt=0 0\nm=message  7 TCP/MSRP  *  \r\n\
                  a= odd : value\r\na=\r\nb=AS:1\r\ns=\r\nc=IN IP4 192.0.2.1";
    let binary = b"v=0\r\ns=\xff\xfe\r\na=\xff:1\r\nm=audio 1/2 x *\r\na=x:\xc3\r\n";
    for (name, text) in [
        ("conference", CONFERENCE.as_bytes()),
        ("browser", BROWSER.as_bytes()),
        ("sloppy", sloppy.as_bytes()),
        ("other charsets", binary.as_slice()),
    ] {
        let description = Description::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(description.to_bytes(), text, "{name}");
        assert_eq!(description.into_owned().to_bytes(), text, "{name}");
    }
}

#[test]
fn what_sections_say() {
    let description = strict(CONFERENCE.as_bytes()).unwrap();
    let origin = description.origin().unwrap();
    assert_eq!((origin.username.as_str(), origin.version.as_str()), ("jdoe", "3724394405"));
    assert_eq!(description.media().len(), 3);
    let [first, _, video] = description.media() else { panic!() };
    assert_eq!((first.kind(), first.port(), first.protocol()), ("audio", 49170, "RTP/AVP"));
    assert_eq!(first.formats().collect::<Vec<_>>(), ["0"]);
    assert_eq!(description.connection_for(first).unwrap().address, "198.51.100.1");
    assert_eq!(description.connection_for(video).unwrap(), Connection::new("2001:db8::2"));
    assert_eq!(video.attribute("rtpmap"), Some(&b"99 h263-1998/90000"[..]));
    assert_eq!(description.direction_for(video), Direction::SEND_RECEIVE);

    let description = strict(BROWSER.as_bytes()).unwrap();
    let [audio, video] = description.media() else { panic!() };
    assert_eq!(audio.formats().collect::<Vec<_>>(), ["111", "63"]);
    assert_eq!(description.attribute("group"), Some(&b"BUNDLE 0 1"[..]));
    assert!(!video.is_refused(), "bundle-only is no refusal");
    assert!(video.has("bundle-only") && !video.has("setup"));
}

#[test]
fn directions_come_from_the_section_else_the_session() {
    let text = "v=0\r\na=recvonly\r\nm=a 1 x *\r\nm=b 1 x *\r\na=inactive\r\nm=c 1 x *\r\na=sendrecv\r\na=sendonly\r\n";
    let description = Description::parse(text.as_bytes()).unwrap();
    let directions: Vec<_> = description.media().iter().map(|media| description.direction_for(media).name()).collect();
    assert_eq!(directions, ["recvonly", "inactive", "sendrecv"]);
}

#[test]
fn deviations_and_their_switches() {
    type Switch = fn(&mut Leniency);
    let body = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\na=x:1\r\n";
    let cases: &[(&str, &str, &str, Switch)] = &[
        ("c after t", "c=IN IP4 h\r\nt=0 0\r\n", "t=0 0\r\nc=IN IP4 h\r\n", |l| l.order = true),
        ("c after a", "a=x:1\r\n", "a=x:1\r\nc=IN IP4 h\r\n", |l| l.order = true),
        ("b after a", "a=x:1\r\n", "a=x:1\r\nb=AS:1\r\n", |l| l.order = true),
        ("i twice", "a=x:1\r\n", "i=a\r\ni=b\r\na=x:1\r\n", |l| l.order = true),
        ("z without r", "t=0 0\r\n", "t=0 0\r\nz=0 0\r\n", |l| l.order = true),
        ("t in a section", "a=x:1\r\n", "a=x:1\r\nt=0 0\r\n", |l| l.order = true),
        ("no o", "o=- 1 1 IN IP4 h\r\n", "", |l| l.missing_lines = true),
        ("no s", "s=-\r\n", "", |l| l.missing_lines = true),
        ("empty s, as RFC 5547 shows it", "s=-\r\n", "s=\r\n", |l| l.missing_lines = true),
        ("no t", "t=0 0\r\n", "", |l| l.missing_lines = true),
        ("no c", "c=IN IP4 h\r\n", "", |l| l.missing_lines = true),
        ("unknown letter", "a=x:1\r\n", "y=?\r\na=x:1\r\n", |l| l.unknown_lines = true),
        ("blank line at the end", "a=x:1\r\n", "a=x:1\r\n\r\n", |l| l.blank_lines = true),
        ("indented", "a=x:1\r\n", " a=x:1\r\n", |l| l.spaces = true),
        ("spaces in m", "m=audio 1 R", "m=audio  1 R", |l| l.spaces = true),
        ("space after m", "AVP 0\r\n", "AVP 0 \r\n", |l| l.spaces = true),
        ("space before the colon", "a=x:1\r\n", "a=x :1\r\n", |l| l.spaces = true),
        ("nothing after the colon", "a=x:1\r\n", "a=x:\r\n", |l| l.spaces = true),
        ("space after the version", "v=0\r\n", "v=0 \r\n", |l| l.spaces = true),
        ("no format", "RTP/AVP 0\r\n", "RTP/AVP\r\n", |l| l.no_format = true),
        ("no user name", "o=- 1 1", "o=1 1", |l| l.origin = true),
        ("user name of two words", "o=- 1 1", "o=a b 1 1", |l| l.origin = true),
        ("version that is no number", "o=- 1 1", "o=- 1 x", |l| l.origin = true),
        ("over 63 bits", "o=- 1 1", "o=- 1 9223372036854775808", |l| l.origin = true),
    ];
    assert!(strict(body.as_bytes()).is_ok());
    for (name, from, to, switch) in cases {
        let changed = body.replacen(from, to, 1);
        assert_ne!(changed, body, "{name}");
        assert!(strict(changed.as_bytes()).is_err(), "{name}: strict");
        let mut rules = Rules::strict();
        switch(&mut rules.leniency);
        let read = Description::parse_within(changed.as_bytes(), &rules);
        assert_eq!(read.map(|read| read.to_bytes()), Ok(changed.clone().into_bytes()), "{name}");
        assert!(Description::parse(changed.as_bytes()).is_ok(), "{name}: default");
    }
}

#[test]
fn the_grammar_without_switches() {
    for (name, text) in [
        (
            "repeat and zone",
            "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=3034423619 3042462419\r\nr=604800 3600 0 90000\r\n\
            z=2882844526 -1h 2898848070 0\r\nt=0 0\r\nk=prompt\r\na=tool:x\r\n",
        ),
        ("line feeds only", "v=0\no=- 1 1 IN IP4 h\ns=-\nt=0 0\n"),
        ("no end of the last line", "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0"),
        ("c in every section", "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=a 1 x *\r\nc=IN IP4 h\r\nc=IN IP4 i\r\n"),
        ("subject of a space", "v=0\r\no=- 1 1 IN IP4 h\r\ns= \r\nt=0 0\r\n"),
        (
            "mail, phone, bandwidth",
            "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\ni=\r\nu=x\r\ne=a\r\ne=b\r\np=1\r\nb=AS:1\r\nb=CT:2\r\nt=0 0\r\n",
        ),
        ("a section that is refused needs no c", "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=a 0 x *\r\n"),
    ] {
        assert_eq!(strict(text.as_bytes()).map(|read| read.to_bytes()), Ok(text.into()), "{name}");
    }
}

#[test]
fn refused_with_all_leniency() {
    use ParseError::*;
    for (name, text, error) in [
        ("nothing", "", Missing { kind: 'v' }),
        ("no version first", "s=-\r\nv=0\r\n", Unexpected { kind: 's', at: 0 }),
        ("blank line first", "\r\nv=0\r\n", NotALine { at: 0 }),
        ("version 1", "v=1\r\n", Version),
        ("two descriptions", "v=0\r\ns=-\r\nv=0\r\n", Unexpected { kind: 'v', at: 10 }),
        ("text", "hello\r\n", NotALine { at: 0 }),
        ("folded", "v=0\r\ns=a\r\n b\r\n", NotALine { at: 10 }),
        ("carriage return inside", "v=0\r\ns=a\rt=b\r\n", Octet { at: 5 }),
        ("NUL", "v=0\r\na=\0\r\n", Octet { at: 5 }),
        ("port of letters", "v=0\r\nm=a b c *\r\n", Malformed { kind: 'm', at: 5 }),
        ("port with a sign", "v=0\r\nm=a +1 c *\r\n", Malformed { kind: 'm', at: 5 }),
        ("port too large", "v=0\r\nm=a 65536 c *\r\n", Malformed { kind: 'm', at: 5 }),
        ("no ports", "v=0\r\nm=a 1/0 c *\r\n", Malformed { kind: 'm', at: 5 }),
        ("no protocol", "v=0\r\nm=a 1\r\n", Malformed { kind: 'm', at: 5 }),
        ("protocol with a hole", "v=0\r\nm=a 1 TCP//MSRP *\r\n", Malformed { kind: 'm', at: 5 }),
        ("origin cut short", "v=0\r\no=- 1 IN IP4\r\n", Malformed { kind: 'o', at: 5 }),
        ("connection cut short", "v=0\r\nc=IN IP4\r\n", Malformed { kind: 'c', at: 5 }),
    ] {
        let refused = Description::parse(text.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!((refused, refused.status()), (error, 400), "{name}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { size: 100, line: 20, lines: 5, media: 2, ..Limits::default() };
    let rules = Rules { limits, leniency: Leniency::DEPLOYED };
    for (name, text, error) in [
        ("size", format!("v=0\n{}", "a=123456789\n".repeat(9)), ParseError::TooLarge { len: 112, max: 100 }),
        ("line", format!("v=0\na={}\n", "x".repeat(20)), ParseError::LineTooLong { at: 4, max: 20 }),
        ("lines", "v=0\na=1\na=1\na=1\na=1\na=1\n".to_owned(), ParseError::TooManyLines { max: 5 }),
        ("media", format!("v=0\n{}", "m=a 1 x *\n".repeat(3)), ParseError::TooManyMedia { max: 2 }),
    ] {
        assert_eq!(Description::parse_within(text.as_bytes(), &rules).unwrap_err(), error, "{name}");
    }
    assert!(Description::parse_within(b"v=0\nm=a 1 x *\nm=a 1 x *\na=0123456789abcdef\na=1", &rules).is_ok());
}

#[test]
fn changes_leave_the_rest_alone() {
    let text = "v=0\r\ns=-\nm=message  2855/2 TCP/MSRP *\r\na=x\r\na=y:1\r\na=y:2\r\nk=prompt";
    let mut description = Description::parse(text.as_bytes()).unwrap();
    description.set_origin(&Origin::new(7, "2001:db8::1"));
    let media = &mut description.media_mut()[0];
    media.set_port(0);
    media.remove_attribute("y");
    media.push_attribute("z", Some("a\r\nb=evil"));
    assert!(media.is_refused());
    let expected =
        "v=0\r\no=- 7 7 IN IP6 2001:db8::1\r\ns=-\nm=message  0/2 TCP/MSRP *\r\na=x\r\nk=prompt\r\na=z:ab=evil\r\n";
    assert_eq!(String::from_utf8(description.to_bytes()).unwrap(), expected);
}

#[test]
fn a_last_line_without_its_end_gets_one() {
    for text in ["v=0", "v=0\r", "v=0\r\n", "v=0\r\nm=a 1 x *", "v=0\r\nm=a 1 x *\r"] {
        let mut description = Description::parse(text.as_bytes()).unwrap();
        description.push(Media::new("b", 1, "x", "*").unwrap());
        let expected = format!("{}\r\nm=b 1 x *\r\n", text.trim_end());
        assert_eq!(String::from_utf8(description.to_bytes()).unwrap(), expected);
    }
}

#[test]
fn ours_are_strictly_right() {
    let mut ours = Description::new(&Origin::new(u64::MAX, "192.0.2.1"));
    for host in ["192.0.2.1", "[2001:db8::1]"] {
        let mut media = Media::new("message", 2855, "TCP/MSRP", "*").unwrap();
        media.push(Connection::new(host).line());
        media.push_attribute("path", Some("msrp://h:1/x;tcp"));
        ours.push(media);
    }
    let text = String::from_utf8(ours.to_bytes()).unwrap();
    assert_eq!(
        text,
        "v=0\r\no=- 3 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=message 2855 TCP/MSRP *\r\na=path:msrp://h:1/x;tcp\r\n\
         m=message 2855 TCP/MSRP *\r\nc=IN IP6 2001:db8::1\r\na=path:msrp://h:1/x;tcp\r\n"
    );
    assert!(strict(text.as_bytes()).is_ok());
    assert!(Media::new("mess age", 1, "x", "*").is_none());
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [b"v=0\r\n".as_slice(), &bytes].concat();
        if let Ok(read) = Description::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_lines_come_back(
        lines in prop::collection::vec(("[vosiuepcbtrzkamxy]", "[ -~]{0,30}", "\r?\n"), 0..40),
        start in "v=0\r?\n",
    ) {
        let mut text = start;
        for (kind, value, end) in &lines {
            text += &match kind.as_str() {
                "m" => format!("m=message 9 TCP/MSRP *{end}"),
                "c" => format!("c=IN IP4 192.0.2.1{end}"),
                "o" => format!("o=- 1 1 IN IP4 192.0.2.1{end}"),
                "v" => continue,
                kind => format!("{kind}={value}{end}"),
            };
        }
        let read = Description::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(read.to_bytes(), text.as_bytes());
        let sections = lines.iter().filter(|(kind, ..)| kind == "m").count();
        prop_assert_eq!(read.media().len(), sections);
    }
}
