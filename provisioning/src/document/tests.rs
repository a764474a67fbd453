use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::settings::{Chat, Files, Lists, Transport};

fn settings() -> Settings {
    Settings {
        domain: "ims.example.net".into(),
        proxy: "pcscf.ims.example.net".into(),
        signalling: Transport::Tls,
        media: Transport::Tls,
        auth: Auth::Digest,
        chat: Chat {
            factory: "sip:conference-factory@ims.example.net".into(),
            max_group_size: 100,
            max_size: 131_072,
            idle: 300,
            cpm: true,
        },
        files: Files { upload: "https://ft.example.com/ft".into(), max_size: 102_400, warn_size: 0 },
        lists: Lists { root: "https://example.com/xcap-root".into() },
        capability_expiry: 604_800,
        calls: true,
        store_and_forward: true,
    }
}

fn account() -> Account {
    Account {
        private: "bob@ims.example.net".into(),
        public: vec!["sip:bob@ims.example.net".into(), "tel:+15550100002".into()],
        msisdn: "+15550100002".into(),
        username: "bob".into(),
        password: "p<&\">".into(),
        uuid: String::new(),
    }
}

/// Parameters with the types that they are in: `APPLICATION/SERVICES/ChatAuth=1`.
fn flat(xml: &str) -> Vec<String> {
    let (mut reader, mut path, mut found) = (Reader::from_str(xml), Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) if tag.name().as_ref() == "characteristic" => {
                let kind = tag.try_get_attribute("type").unwrap().unwrap();
                path.push(kind.value.into_owned());
            }
            Event::End(tag) if tag.name().as_ref() == "characteristic" => {
                path.pop();
            }
            Event::Empty(tag) => {
                let of = |name: &str| {
                    let attribute = tag.try_get_attribute(name).unwrap().unwrap();
                    quick_xml::escape::unescape(&attribute.value).unwrap().into_owned()
                };
                found.push(format!("{}/{}={}", path.join("/"), of("name"), of("value")));
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn written(profile: &str, version: Version) -> Vec<String> {
    let profile = Profile::named(profile).unwrap();
    flat(&document(profile, version, None, None, &settings(), &account(), &[]))
}

const CURRENT: Version = Version::Current { version: 7, validity: 604_800 };

#[test]
fn a_universal_client_finds_what_it_needs() {
    let found = written("UP_2.4", CURRENT);
    let ims = "APPLICATION/3GPP_IMS";
    for wanted in [
        "VERS/version=7",
        "VERS/validity=604800",
        "User/msisdn=+15550100002",
        "APPLICATION/AppID=urn:oma:mo:ext-3gpp-ims:1.0",
        &format!("{ims}/Home_network_domain_name=ims.example.net"),
        &format!("{ims}/Public_User_Identity_List/NODE/Public_User_Identity=tel:+15550100002"),
        &format!("{ims}/LBO_P-CSCF_Address/NODE/AddressType=FQDN"),
        &format!("{ims}/Ext/GSMA/UserPwd=p<&\">"),
        &format!("{ims}/Ext/GSMA/transportProto/wifiSignalling=SIPoTLS"),
        "APPLICATION/AppID=ap2002",
        "APPLICATION/SERVICES/SupportedRCSProfileVersions=UP_2.4",
        "APPLICATION/SERVICES/GroupChatAuth=1",
        "APPLICATION/MESSAGING/Chat/conf-fcty-uri=sip:conference-factory@ims.example.net",
        "APPLICATION/MESSAGING/FileTransfer/ftHTTPCSURI=https://ft.example.com/ft",
        "APPLICATION/XDMS/XCAPRootURI=https://example.com/xcap-root",
    ] {
        assert!(found.iter().any(|one| one == wanted), "{wanted} is not in {found:#?}");
    }
    assert_eq!(found[0], "VERS/version=7");
    assert!(!found.iter().any(|one| one.starts_with("APPLICATION/IM/")));
}

#[test]
fn a_client_of_the_joyn_days_finds_what_it_needs() {
    let found = written("joyn_blackbird", CURRENT);
    for wanted in [
        "APPLICATION/AppID=ap2001",
        "APPLICATION/AppRef=IMS-Settings",
        "APPLICATION/Public_User_Identity_List/Public_User_Identity=sip:bob@ims.example.net",
        "APPLICATION/LBO_P-CSCF_Address/Address=pcscf.ims.example.net",
        "APPLICATION/APPAUTH/AuthType=Digest",
        "APPLICATION/APPAUTH/UserName=bob",
        "APPLICATION/AppRef=RCSe-Settings",
        "APPLICATION/IM/imMsgTech=1",
        "APPLICATION/IM/conf-fcty-uri=sip:conference-factory@ims.example.net",
        "APPLICATION/IM/ftHTTPCSUser=bob",
        "APPLICATION/OTHER/transportProto/psMedia=MSRPoTLS",
    ] {
        assert!(found.iter().any(|one| one == wanted), "{wanted} is not in {found:#?}");
    }
    assert!(!found.iter().any(|one| one.contains("/NODE/")));
}

#[test]
fn every_version_but_a_current_one_stands_alone() {
    for (version, expected) in [
        (Version::Unchanged { version: 7, validity: 60 }, [7, 60]),
        (Version::Reset, [0, 0]),
        (Version::Never, [-1, -1]),
        (Version::Off, [-2, -2]),
        (Version::Dormant { validity: 3600 }, [-3, 3600]),
    ] {
        let [number, validity] = expected;
        assert_eq!(written("UP_2.4", version), [format!("VERS/version={number}"), format!("VERS/validity={validity}")]);
    }
    // No mistake of a caller makes a version that means something else.
    assert_eq!(written("UP_2.4", Version::Current { version: 0, validity: 1 })[0], "VERS/version=1");
}

#[test]
fn tokens_words_and_a_choice_of_applications() {
    let token = Token { value: "t".into(), validity: 60 };
    let message = Message { title: "Terms".into(), text: "a\nb".into(), accept: true, reject: true };
    let apps = [Box::from("ap2002")];
    let xml = document(Profile::default(), CURRENT, Some(&token), Some(&message), &settings(), &account(), &apps);
    let found = flat(&xml);
    assert_eq!(
        found[2..8],
        [
            "TOKEN/token=t",
            "TOKEN/validity=60",
            "MSG/title=Terms",
            "MSG/message=a\nb",
            "MSG/Accept_btn=1",
            "MSG/Reject_btn=1"
        ]
    );
    assert!(found.iter().any(|one| one == "APPLICATION/AppID=ap2002"));
    assert!(!found.iter().any(|one| one.contains("3GPP_IMS")));
}

#[test]
fn services_that_are_not_there_are_not_promised() {
    let mut without = settings();
    without.chat.factory.clear();
    without.files.upload.clear();
    without.lists.root.clear();
    for profile in ["UP_2.4", "joyn_hotfixes"] {
        let profile = Profile::named(profile).unwrap();
        let found = flat(&document(profile, CURRENT, None, None, &without, &account(), &[]));
        assert!(found.iter().any(|one| one.ends_with("/GroupChatAuth=0")), "{profile}");
        assert!(found.iter().any(|one| one.ends_with("/ftAuth=0")), "{profile}");
        for absent in ["conf-fcty-uri", "ftHTTPCSURI", "XCAPRootURI", "=\n"] {
            assert!(!found.iter().any(|one| one.contains(absent)), "{profile}: {absent}");
        }
    }
}

#[test]
fn addresses_are_told_apart() {
    for (host, expected) in [
        ("example.com", "FQDN"),
        ("example.com:5061", "FQDN"),
        ("192.0.2.1", "IPv4"),
        ("192.0.2.1:5060", "IPv4"),
        ("2001:db8::1", "IPv6"),
        ("[2001:db8::1]:5060", "IPv6"),
    ] {
        assert_eq!(address_type(host), expected, "{host}");
    }
}
