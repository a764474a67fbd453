//! Documents with bytes changed, doubled and cut out at random: whatever is still read can be composed, filtered and
//! read again, and nothing panics. The fuzz targets do the same with guidance.

use chappe_presence::book::Book;
use chappe_presence::capability::Tags;
use chappe_presence::compose::{Source, compose};
use chappe_presence::filter::Shown;
use chappe_presence::list;
use chappe_presence::pidf::Document;
use chappe_presence::rules::{Asker, Facts};
use chappe_presence::xml::Limits;

const SEEDS: u64 = 4_000;
const ENTITY: &str = "sip:bob@example.com";

const PIDF: &str = r#"<?xml version="1.0"?><p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="sip:bob@example.com"><p:tuple id="a"><p:status><p:basic>open</p:basic>
 <x:y z="1"/></p:status><p:contact priority="0.8">sip:bob@192.0.2.1</p:contact></p:tuple><p:tuple id="b"><p:status/></p:tuple>
 <p:note xml:lang="fr">&#233; &amp; <![CDATA[<]]></p:note><d:person id="p"><r:activities><r:meal/></r:activities></d:person>
 <d:device id="d"><d:deviceID>urn:1</d:deviceID></d:device></p:presence>"#;
const RULES: &str = r#"<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="a">
 <conditions><identity><one id="sip:amy@example.com"/><many domain="h"><except id="sip:x@h"/></many></identity><sphere value="work"/>
 <validity><from>2026-01-01T00:00:00Z</from><until>2027-01-01T00:00:00+01:00</until></validity></conditions>
 <actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-services><pr:all-services/></pr:provide-services>
 </transformations></rule></ruleset>"#;
const LISTS: &str = r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a"><entry uri="sip:amy@example.com">
 <display-name>Amy</display-name></entry><external anchor="http://x/resource-lists/users/b/index/~~/resource-lists/list%5b@name=%22a%22%5d"/></list></resource-lists>"#;
const TAGS: &str = ";+sip.instance=\"<urn:x>\";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel,urn%3Ax\";video;+g.oma.sip-im=\"a\\\"b\"";

/// Numbers that look random: a linear congruential generator, its upper bits.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

fn spoilt(text: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let to = at + dice.below(bytes.len() - at).min(40);
        match dice.below(5) {
            0 => bytes[at] = b"<>&\"'/ =:x\x00\xc3"[dice.below(12)],
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                let place = dice.below(bytes.len());
                bytes.splice(place..place, part);
            }
            3 => bytes[at] ^= 1 << dice.below(8),
            _ => bytes.truncate(to.max(1)),
        }
    }
    bytes
}

#[test]
fn spoilt_presence_documents() {
    let (limits, wide) = (Limits::default(), Limits { bytes: usize::MAX, nodes: usize::MAX, ..Limits::default() });
    let mut read = 0;
    for seed in 0..SEEDS {
        let bytes = spoilt(PIDF, &mut Dice(seed));
        let Ok(document) = Document::parse(&bytes, &limits) else { continue };
        read += 1;
        let source = |order, device| Source { document: &document, order, updated: order, device };
        let text = compose(ENTITY, ENTITY, &[source(1, 1)], &[]);
        let again = Document::parse(text.as_bytes(), &wide).unwrap_or_else(|e| panic!("seed {seed}: {e} in {text}"));
        assert_eq!(again.tuples.len(), document.tuples.len(), "seed {seed}: {text}");
        assert_eq!(compose(ENTITY, ENTITY, &[source(1, 1), source(1, 1)], &[]), text, "seed {seed}");
        let two = compose(ENTITY, ENTITY, &[source(1, 1), source(2, 2)], &[]);
        assert!(Document::parse(two.as_bytes(), &wide).is_ok(), "seed {seed}: {two}");
        let nothing = Shown::default().apply(&text).unwrap();
        let nothing = Document::parse(nothing.as_bytes(), &wide).unwrap();
        assert!(nothing.tuples.is_empty() && nothing.person.is_none() && nothing.devices.is_empty(), "seed {seed}");
    }
    assert!(read > SEEDS / 40, "only {read} were documents at all");
}

#[test]
fn spoilt_rules_lists_and_tags() {
    let names = ["amy@example.com".to_owned()];
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let mut book = Book::default();
        for (auid, text) in [("pres-rules", RULES), ("resource-lists", LISTS)] {
            if let Ok(text) = std::str::from_utf8(&spoilt(text, &mut dice)) {
                book.take(auid, "index", Some(text));
            }
        }
        let asker = Asker { names: &names, anonymous: false };
        let facts =
            Facts { asker, sphere: Some("work"), now: 1_770_000_000, list_has: &|list| book.list_has(list, &names) };
        assert_eq!(book.decide(&facts), book.decide(&facts), "seed {seed}");
        let _ = (book.next_change(0), book.blocks(&names));
        if let Ok(entries) = list::entries(&spoilt(LISTS, &mut dice), 3, &Limits::default()) {
            assert!(entries.len() <= 3, "seed {seed}");
        }
        let tags = Tags::of_params(&spoilt(TAGS, &mut dice));
        assert_eq!(Tags::of_params(tags.params().as_bytes()), tags, "seed {seed}: {}", tags.params());
    }
}
