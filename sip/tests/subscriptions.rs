//! A notifier and a subscriber over a link that loses and delays, in virtual time: what the subscriber believes is what
//! was true, in order, and in the end what is true.

#![expect(clippy::unwrap_used, reason = "a failure shows as a panic")]

use bytes::Bytes;
use chappe_sip::event::reg::Reg;
use chappe_sip::event::{self, Fate, Package, Policy, Reason, State};
use chappe_sip::{Limits, Message};

const SEEDS: u64 = 200;
const START: u64 = 1_000_000;
/// A transaction without an answer ends after this many seconds.
const TIMEOUT: u64 = 32;

/// Numbers that look random: a linear congruential generator, its upper bits.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap()
}

fn subscribe(cseq: u32, to_tag: &str, expires: u64) -> Message {
    message(&format!(
        "SUBSCRIBE sip:b@h SIP/2.0\nVia: SIP/2.0/TCP h;branch=z9hG4bK{cseq}\nFrom: <sip:b@h>;tag=a\nTo: <sip:b@h>{to_tag}\n\
         Call-ID: c\nCSeq: {cseq} SUBSCRIBE\nContact: <sip:b@192.0.2.7>\nEvent: reg\nExpires: {expires}\n\n"
    ))
}

/// A NOTIFY under way.
struct Flying {
    arrives: Option<u64>,
    /// When its sender hears of it, and what: `None` is a timeout.
    settled: u64,
    status: Option<u16>,
    cseq: u64,
    version: u64,
    value: u64,
    last: bool,
}

/// What the two ends have come to.
#[derive(Default)]
struct Seen {
    cseq: u64,
    version: Option<u64>,
    value: Option<u64>,
    last: bool,
}

fn number(text: &str, after: &str) -> u64 {
    let at = text.find(after).unwrap_or_else(|| panic!("no {after} in {text}")) + after.len();
    text[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn run(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
    let (loss, policy) = (dice.below(15), Policy::default());
    let new = subscribe(1, "", 600);
    let mut subscription =
        event::subscribe(&new, &[&Reg], &policy, "n", false, dice.happens(80), START).expect("it is let in");
    let (mut value, mut dirty, mut forced, mut last_sent) = (0_u64, true, true, None);
    let (mut flying, mut seen): (Option<Flying>, _) = (None, Seen::default());
    let (mut cseq, mut removed, mut told_end) = (1, false, 0);

    for now in START..START + 900 {
        if dice.happens(20) {
            (value, dirty) = (value + 1, true);
        }
        if !removed && dice.happens(1) {
            match dice.below(4) {
                0 => subscription.grant(),
                1 => subscription.suspend(),
                2 if now < START + 400 => {
                    cseq += 1;
                    // A refresh, or now and then the end.
                    let expires = if dice.happens(10) { 0 } else { 300 };
                    let refreshed = subscription.refresh(&subscribe(cseq, ";tag=n", expires), &Reg, &policy, now);
                    let over = matches!(subscription.state(), State::Terminated { .. });
                    assert!(refreshed.is_ok() || over, "seed {seed}: {refreshed:?}");
                    (dirty, forced) = (true, forced || refreshed.is_ok());
                }
                _ if dice.happens(10) => subscription.terminate(Reason::Rejected, None),
                _ => {}
            }
        }
        if let Some(notify) = &mut flying {
            if notify.arrives.take_if(|at| *at <= now).is_some() {
                assert!(notify.cseq > seen.cseq, "seed {seed}: CSeq {} after {}", notify.cseq, seen.cseq);
                let expected = seen.version.map_or(notify.version, |version| version + 1);
                // Only a NOTIFY that got lost leaves a gap, and then the subscription is over.
                assert_eq!(notify.version, expected, "seed {seed}: a gap in the versions");
                assert!(seen.value.is_none_or(|value| value <= notify.value), "seed {seed}: back in time");
                assert!(!seen.last, "seed {seed}: a NOTIFY after the last");
                seen = Seen {
                    cseq: notify.cseq,
                    version: Some(notify.version),
                    value: Some(notify.value),
                    last: notify.last,
                };
            }
            if notify.settled <= now {
                let (status, last) = (notify.status, notify.last);
                flying = None;
                match subscription.notified(status, None, now) {
                    Fate::Keep => assert!(!last && status == Some(200), "seed {seed}: kept after {status:?}"),
                    Fate::Remove => {
                        assert!(last || status.is_none(), "seed {seed}: removed after {status:?}");
                        removed = true;
                    }
                }
            }
        }
        if removed {
            continue;
        }
        subscription.handle_timeout(now);
        let over = matches!(subscription.state(), State::Terminated { .. });
        if (dirty || over) && subscription.may_notify().is_some_and(|at| at <= now) {
            assert!(flying.is_none(), "seed {seed}: two NOTIFYs under way");
            let gap = last_sent.map(|at| now - at);
            let slow = u64::from(Reg.min_interval());
            assert!(forced || over || gap.is_none_or(|gap| gap >= slow), "seed {seed}: after {gap:?} s");
            let version = subscription.next_version();
            let body = format!("v{version} is {value}.");
            let bytes = subscription.notify("", "<sip:n@h>", Some(body.as_bytes()), now);
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let last = text.contains("Subscription-State: terminated");
            assert_eq!(last, over, "seed {seed}: {text}");
            told_end += u32::from(last);
            let (lost, answer_lost) = (dice.happens(loss), dice.happens(loss));
            let delay = dice.below(4);
            let arrives = (!lost).then_some(now + delay);
            let heard = !lost && !answer_lost;
            let settled = if heard { now + delay + dice.below(4) } else { now + TIMEOUT };
            let status = heard.then_some(200);
            let (cseq, version) = (number(&text, "CSeq: "), number(&text, "\r\n\r\nv"));
            flying = Some(Flying { arrives, settled, status, cseq, version, value, last });
            (dirty, forced, last_sent) = (false, false, Some(now));
        }
    }
    assert!(told_end <= 1, "seed {seed}: the end was told {told_end} times");
    assert!(removed, "seed {seed}: nobody refreshed it for longer than it lasts");
}

#[test]
fn a_subscriber_sees_states_in_order_and_hears_of_the_end_once() {
    (0..SEEDS).for_each(run);
}

/// Without losses and with a quiet end the subscriber has the newest state.
#[test]
fn without_losses_the_newest_state_arrives() {
    let policy = Policy::default();
    for seed in 0..SEEDS {
        let mut dice = Dice(seed + 77);
        let mut subscription =
            event::subscribe(&subscribe(1, "", 600), &[&Reg], &policy, "n", false, true, START).unwrap();
        let (mut value, mut dirty, mut shown, mut answer_at) = (0, true, None, None);
        for now in START..START + 500 {
            if now < START + 480 && dice.happens(30) {
                (value, dirty) = (value + 1, true);
            }
            if answer_at.take_if(|at| *at <= now).is_some() {
                assert_eq!(subscription.notified(Some(200), None, now), Fate::Keep);
            }
            if dirty && subscription.may_notify().is_some_and(|at| at <= now) {
                subscription.notify("", "<sip:n@h>", None, now);
                (dirty, shown, answer_at) = (false, Some(value), Some(now + dice.below(6)));
            }
        }
        assert_eq!(shown, Some(value), "seed {seed}");
    }
}
