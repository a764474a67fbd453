//! Registrations: each part between NULs is the header section of one REGISTER, in order at one AOR.

#![no_main]

use bytes::Bytes;
use chappe_sip::header::NameAddr;
use chappe_sip::outbound::FlowTokens;
use chappe_sip::registrar::{Answer, Binding, GruuKey, Policy, answer, register, sleeping, targets};
use chappe_sip::{Aor, Flow, HeaderName, Limits, Message, Transport, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let policy = Policy { max_bindings: 4, ..Policy::default() };
    let (key, aor) = (GruuKey::new([1; 32]), Aor::from_canonical("alice@example.com"));
    let tokens = FlowTokens::new(&[2; 32], 0, 0);
    let mut bindings: Vec<Binding> = Vec::new();
    let mut now = 1_000_000;
    for (round, part) in data.split(|b| *b == 0).take(8).enumerate() {
        let mut text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=f\r\n\
             To: <sip:alice@example.com>\r\nCall-ID: c\r\nCSeq: {} REGISTER\r\n",
            round + 1
        )
        .into_bytes();
        text.extend_from_slice(part);
        text.extend_from_slice(b"\r\n\r\n");
        let Ok(request) = Message::parse(Bytes::from(text), &limits) else { continue };
        if request.check().is_err() {
            continue;
        }
        let remote = ([192, 0, 2, 1], 5060 + round as u16).into();
        let flow = Flow { transport: Transport::ALL[round % 5], listener: 0, connection: round as u64, remote };
        let outcome = match register(&request, &bindings, &policy, &flow, now) {
            Ok(outcome) => outcome,
            Err(reject) => {
                let reply = Message::parse(reject.reply(&request, "t").finish(), &limits).expect("a refusal");
                assert_eq!((reply.check(), reply.status()), (Ok(()), reject.status()));
                continue;
            }
        };
        outcome.events(&bindings, |_, binding| assert!(!binding.contact().is_empty()));
        let (outbound, direct) = (outcome.outbound, outcome.direct);
        outcome.apply(&mut bindings);
        assert!(bindings.len() <= policy.max_bindings);
        let details =
            Answer { aor: &aor, flow: &flow, to_tag: "t", now, service_route: "", associated: "", gruu: Some(&key) };
        let reply = answer(&request, &bindings, outbound, direct, &policy, &details).finish();
        let reply = Message::parse(reply, &limits).expect("an answer");
        assert_eq!(reply.check(), Ok(()));
        let live = bindings.iter().filter(|b| b.expires() > now).count();
        let contacts: Vec<_> = reply.values(HeaderName::Contact).collect();
        assert_eq!(contacts.len(), live, "{}", String::from_utf8_lossy(reply.bytes()));
        for contact in contacts {
            let contact = NameAddr::parse(contact).expect("a contact");
            assert!(contact.parse_uri().is_ok() && contact.param("expires").is_some());
            if let Some(gruu) = contact.param("temp-gruu") {
                let gruu = Uri::parse(&gruu[1..gruu.len() - 1]).expect("a URI");
                assert!(key.read(&gruu).expect("ours").is_some_and(|g| g.check(&bindings, now).is_ok()));
            }
        }
        let reached = targets(&bindings, now, |flow| flow.connection % 2 == 0, |_| true);
        let asleep = sleeping(&bindings, now, |flow| flow.connection % 2 == 0, |_| true);
        assert!(reached.len() + asleep.len() <= live);
        let _ = tokens.read(&String::from_utf8_lossy(part));
        now += 700;
    }
});
