//! Two ends that do as they please over a link that loses, delays and reorders.

use std::collections::BTreeMap;

use super::*;
use crate::layer::testing::Rng;

/// A packet under way: when it arrives, in order of sending where that is the same.
type Flying = BTreeMap<(Instant, u64), (bool, Bytes)>;

struct Link {
    rng: Rng,
    loss: u64,
    delay: u64,
    serial: u64,
    flying: Flying,
}

impl Link {
    fn carry(&mut self, now: Instant, to_b: bool, packets: Vec<Bytes>) {
        for packet in packets {
            self.serial += 1;
            if self.rng.below(100) >= self.loss {
                let at = now + ms(self.rng.below(self.delay + 1));
                self.flying.insert((at, self.serial), (to_b, packet));
            }
        }
    }
}

/// What the application of one end does at some moment.
fn act(end: &mut Agent, now: Instant, choice: u64) {
    let Some(usage) = &mut end.usage else { return };
    match choice {
        0 => usage.ring(now, 180, ""),
        1..=3 => usage.accept(now, body("answer"), ""),
        4 => usage.reject(486, ""),
        5 => usage.end(Some("SIP;cause=200")),
        6 | 7 => {
            let _ = usage.offer(now, body("another"));
        }
        8 => {
            let _ = usage.request("MESSAGE", "", Some(&body("hi")));
        }
        9 => usage.answer_offer(now, Err(488)),
        _ => usage.answer_offer(now, Ok(body("yes"))),
    }
    for (key, request) in std::mem::take(&mut end.asked) {
        usage.respond(key, &request, 200, "");
    }
}

fn ended(log: &[String]) -> Vec<&String> {
    log.iter().filter(|l| ["ended", "failed", "gone"].iter().any(|w| l.starts_with(w))).collect()
}

/// The logs of both ends after everything is over.
fn run(seed: u64) -> (Vec<String>, Vec<String>) {
    let mut rng = Rng::new(seed);
    let t0 = epoch();
    let mut now = t0;
    let (mut a, mut b) =
        (Agent::new("a", Transport::Udp, now, rng.next()), Agent::new("b", Transport::Udp, now, rng.next()));
    let (loss, delay) = ([0, 5, 20, 40][rng.below(4) as usize], [0, 20, 400, 3_000][rng.below(4) as usize]);
    let mut link = Link { rng: Rng::new(seed ^ 0xabcd), loss, delay, serial: 0, flying: BTreeMap::new() };
    a.call(now, (rng.below(3) == 0).then_some(5_000));
    let mut next_act = now + ms(rng.below(3_000));
    let (stop, end) = (t0 + ms(40_000), t0 + ms(400_000));
    let mut steps = 0;
    loop {
        let packets = a.send(now);
        link.carry(now, true, packets);
        let packets = b.send(now);
        link.carry(now, false, packets);
        let arrival = link.flying.first_key_value().map(|((at, _), _)| *at);
        let acts = (next_act < stop).then_some(next_act);
        let closing = (now < end).then_some(end);
        let Some(at) = [arrival, a.next(), b.next(), acts, closing].into_iter().flatten().min() else { break };
        now = now.max(at);
        steps += 1;
        assert!(steps < 20_000, "seed {seed} does not come to rest");
        if now >= end {
            // Whoever is still up ends it, over a link that has become good.
            link.loss = 0;
            let Some(open) = [&mut a, &mut b].into_iter().find(|e| e.usage.as_ref().is_some_and(Usage::is_up)) else {
                assert!(now < end + ms(200_000), "seed {seed}: {:?} {:?}", a.usage, b.usage);
                step(&mut link, &mut a, &mut b, now);
                continue;
            };
            open.usage().end(None);
        }
        step(&mut link, &mut a, &mut b, now);
        if next_act <= now && now < stop {
            act(if rng.below(2) == 0 { &mut a } else { &mut b }, now, rng.below(12));
            next_act = now + ms(rng.below(4_000));
        } else if now >= stop {
            // Nothing is left without an answer.
            for end in [&mut a, &mut b] {
                for choice in [4, 10] {
                    act(end, now, choice);
                }
            }
        }
    }
    for end in [&a, &b] {
        assert!(end.layer.is_empty(), "seed {seed}: {:?} of {}: {:?}", end.layer.counts(), end.name, end.log);
        assert!(end.usage.as_ref().is_none_or(Usage::is_over), "seed {seed}: {:?}", end.usage);
    }
    (a.log, b.log)
}

fn step(link: &mut Link, a: &mut Agent, b: &mut Agent, now: Instant) {
    while let Some(entry) = link.flying.first_entry().filter(|e| e.key().0 <= now) {
        let (to_b, packet) = entry.remove();
        if to_b { b.take(now, &packet) } else { a.take(now, &packet) }
    }
    a.fire(now);
    b.fire(now);
}

#[test]
fn every_call_ends_once_at_each_end_and_leaves_nothing_behind() {
    let (mut up, mut offers) = (0, 0);
    for seed in 0..2_000 {
        let (a, b) = run(seed);
        assert_eq!(ended(&a).len(), 1, "seed {seed}: {a:?}");
        assert_eq!(ended(&b).len(), usize::from(!b.is_empty()), "seed {seed}: {b:?}");
        let last = a.last().is_some_and(|l| ["ended", "failed", "gone"].iter().any(|w| l.starts_with(w)));
        assert!(last, "seed {seed}: {a:?}");
        // Whoever was answered has been talking to somebody who accepted.
        if a.iter().any(|l| l.starts_with("answered")) {
            assert!(!b.iter().any(|l| l.contains("Cancelled")), "seed {seed}: {b:?}");
            up += 1;
        }
        // Each offer has one fate, unless the call ended first.
        for log in [&a, &b] {
            offers += log.iter().filter(|l| l.starts_with("offer answered")).count();
        }
    }
    assert!(up > 400 && offers > 200, "too little happened: {up} calls, {offers} offers");
}
