//! Two ends that describe themselves, and sections as peers write them.
#![allow(dead_code, reason = "each test binary uses a part")]

use chappe_sdp::{
    Agreement, Connect, Description, Local, MsrpAnswer, MsrpOffer, Names, Origin, Outcome, Refusal, Rules, TypeList,
};

pub(crate) const OWN_URI: &str = "msrp://198.51.100.7:2855/s11ceofpath;tcp";
pub(crate) const PEER_URI: &str = "msrp://203.0.113.5:7394/2s93i93idj;tcp";

pub(crate) fn local(uri: &str) -> Local {
    Local {
        accept_wrapped_types: TypeList::new(["text/plain", "message/imdn+xml"]),
        ..Local::new(uri, TypeList::new(["message/cpim", "application/im-iscomposing+xml"]))
    }
}

pub(crate) fn origin() -> Origin {
    Origin::new(3_811_155_201, "198.51.100.7")
}

pub(crate) fn description(session: &str, sections: &str) -> String {
    let text = format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{session}{sections}");
    text.replace('\n', "\r\n")
}

/// A message session as a peer describes it; `more` are further lines.
pub(crate) fn peer(more: &str) -> String {
    description("", &format!("m=message 7394 TCP/MSRP *\na=accept-types:message/cpim\na=path:{PEER_URI}\n{more}"))
}

/// Answers the first section; gives the agreement and the answer's text.
pub(crate) fn answer(offer: &str, local: &Local, rules: &Rules) -> Result<(Agreement, String), Refusal> {
    let offer = Description::parse_within(offer.as_bytes(), rules).expect("an offer");
    let mut answer = MsrpAnswer::new(&offer, &origin(), rules);
    let agreement = answer.accept(0, local, &Names::default())?;
    let text = String::from_utf8(answer.finish()?.to_bytes()).expect("text");
    Description::parse_within(text.as_bytes(), &Rules::strict()).expect("what we write is right");
    Ok((agreement, text))
}

/// The description of one offer.
pub(crate) fn described(offer: &MsrpOffer) -> String {
    let mut description = Description::new(&origin());
    description.push(offer.media().clone());
    String::from_utf8(description.to_bytes()).expect("text")
}

pub(crate) fn read_answer(offer: &MsrpOffer, answer: &str, rules: &Rules) -> Result<Outcome, chappe_sdp::AnswerError> {
    let answer = Description::parse_within(answer.as_bytes(), rules).expect("an answer");
    offer.read_answer(&answer, 0, 1, &Names::default(), rules)
}

pub(crate) fn agreed(outcome: Outcome) -> Agreement {
    match outcome {
        Outcome::Agreed(agreement) => *agreement,
        other => panic!("{other:?}"),
    }
}

/// `listen`, `host:port` or `relay`.
pub(crate) fn connects(agreement: &Agreement) -> String {
    match &agreement.connect {
        Connect::Listen => "listen".to_owned(),
        Connect::To(target) => format!("{}:{}", target.host, target.port),
        Connect::OwnRelay { .. } => "relay".to_owned(),
    }
}

/// The lines of `text` that start so.
pub(crate) fn lines<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}
