use super::*;

fn key(device: &str) -> Key {
    ("bob@example.com".into(), device.into())
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Sends what is due at each step until nothing is, each accepted; when the pushes went.
fn sent(wakes: &mut Wakes, start: Instant) -> Vec<(u64, Class)> {
    let mut sent = Vec::new();
    while let Some(at) = wakes.next_deadline() {
        for due in wakes.poll(at, 100) {
            sent.push(((at - start).as_secs(), due.class));
            wakes.answered(&due.key, due.number, &Outcome::Accepted, at);
        }
    }
    sent
}

#[test]
fn a_device_that_does_not_come_is_pushed_again_with_growing_gaps() {
    let (mut wakes, start) = (Wakes::default(), Instant::now());
    assert!(wakes.want(&key("a"), Class::Message, start));
    assert!(!wakes.want(&key("a"), Class::Message, start), "one wake-up for all that waits");
    let times: Vec<u64> = sent(&mut wakes, start).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 30, 150, 750, 4350, 25_950]);
    assert!(wakes.is_empty(), "in the end it is given up");
    wakes.want(&key("a"), Class::Call, start);
    assert_eq!(sent(&mut wakes, start).len(), 3);
}

#[test]
fn a_registration_ends_it_at_once() {
    let (mut wakes, start) = (Wakes::default(), Instant::now());
    wakes.want(&key("a"), Class::Call, start);
    let due = wakes.poll(start, 100);
    assert_eq!(due.len(), 1);
    assert!(wakes.over(&key("a")) && !wakes.over(&key("a")));
    assert!(!wakes.answered(&due[0].key, due[0].number, &Outcome::Accepted, start), "the answer is for nobody");
    assert_eq!(wakes.next_deadline(), None);
}

#[test]
fn a_call_does_not_wait_for_the_gap_of_messages() {
    let (mut wakes, start) = (Wakes::default(), Instant::now());
    wakes.want(&key("a"), Class::Message, start);
    let first = wakes.poll(start, 100).remove(0);
    let later = start + seconds(1);
    assert!(wakes.want(&key("a"), Class::Call, later));
    // The answer to the push that was overtaken says nothing about this one.
    assert!(!wakes.answered(&first.key, first.number, &Outcome::Gone("x".into()), later));
    let second = wakes.poll(later, 100);
    assert_eq!(second.iter().map(|due| due.class).collect::<Vec<_>>(), [Class::Call]);
    assert!(!wakes.want(&key("a"), Class::Message, later), "the call wakes it for the messages too");
}

#[test]
fn messages_are_not_forgotten_over_a_call_that_nobody_takes() {
    for call_first in [false, true] {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        let classes = if call_first { [Class::Call, Class::Message] } else { [Class::Message, Class::Call] };
        for class in classes {
            wakes.want(&key("a"), class, start);
        }
        let sent = sent(&mut wakes, start);
        let calls = sent.iter().filter(|(_, class)| *class == Class::Call).count();
        assert_eq!((calls, sent.len() - calls), (3, 5), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1].0 >= pair[0].0 + 5), "one after the other: {sent:?}");
        // A service that is down for the call may be there for the message.
        for class in classes {
            wakes.want(&key("a"), class, start);
        }
        let due = wakes.poll(start, 1).remove(0);
        let late = Outcome::Retry { after: Some(seconds(60)), why: String::new() };
        assert!(wakes.answered(&due.key, due.number, &late, start) && wakes.has(&key("a")));
        let due = wakes.poll(start + seconds(30), 1).remove(0);
        assert_eq!(due.class, Class::Message);
        // A token that is dead is dead for both.
        wakes.want(&key("a"), Class::Call, start + seconds(30));
        let due = wakes.poll(start + seconds(30), 1).remove(0);
        assert!(wakes.answered(&due.key, due.number, &Outcome::Gone(String::new()), start) && wakes.is_empty());
    }
}

#[test]
fn what_providers_say() {
    let start = Instant::now();
    let after = |outcome: Outcome| {
        let mut wakes = Wakes::default();
        wakes.want(&key("a"), Class::Message, start);
        let due = wakes.poll(start, 100).remove(0);
        let given_up = wakes.answered(&due.key, due.number, &outcome, start);
        assert_eq!(given_up, wakes.is_empty());
        wakes.next_deadline().map(|at| (at - start).as_secs())
    };
    let retry = |after: Option<u64>| Outcome::Retry { after: after.map(seconds), why: String::new() };
    assert_eq!(after(Outcome::Accepted), Some(30));
    assert_eq!(after(retry(None)), Some(2));
    assert_eq!(after(retry(Some(0))), Some(2));
    assert_eq!(after(retry(Some(60))), Some(60));
    assert_eq!(after(retry(Some(u64::from(u32::MAX)))), Some(3600));
    assert_eq!(after(Outcome::Gone(String::new())), None);
    assert_eq!(after(Outcome::Misconfigured(String::new())), None);
    let mut wakes = Wakes::default();
    wakes.want(&key("a"), Class::Message, start);
    wakes.poll(start, 100);
    assert_eq!(wakes.next_deadline(), Some(start + PATIENCE), "a provider that never answers holds nothing up");
}

/// A service that is down for `down` seconds from the first push on: when pushes were tried, and whether one was taken.
fn outage(class: Class, down: u64) -> (Vec<u64>, bool) {
    let (mut wakes, start) = (Wakes::default(), Instant::now());
    wakes.want(&key("a"), class, start);
    let mut tried = Vec::new();
    while let Some(at) = wakes.next_deadline() {
        for due in wakes.poll(at, 100) {
            tried.push((at - start).as_secs());
            let outcome = match at < start + seconds(down) {
                true => Outcome::Retry { after: None, why: String::new() },
                false => Outcome::Accepted,
            };
            wakes.answered(&due.key, due.number, &outcome, at);
            if outcome == Outcome::Accepted {
                return (tried, true);
            }
        }
    }
    (tried, false)
}

#[test]
fn an_outage_of_the_service_is_waited_for_as_long_as_a_push_is_of_use() {
    let (tried, taken) = outage(Class::Message, 3600);
    assert!(taken, "an hour is outlived: {tried:?}");
    assert!(tried.len() < 20 && tried.windows(2).all(|pair| pair[1] - pair[0] <= 750), "without haste: {tried:?}");
    assert!(tried[1] >= 2 && tried[2] - tried[1] >= 4, "and more and more slowly: {tried:?}");
    let (tried, taken) = outage(Class::Message, 25 * 3600);
    assert!(!taken && *tried.last().unwrap() < 24 * 3600, "a day is not");
    let (tried, taken) = outage(Class::Call, 60);
    assert!(!taken && *tried.last().unwrap() < 30, "nor a minute, for a call: {tried:?}");
    assert!(outage(Class::Call, 10).1);
}

/// A generator of numbers, so that a schedule can be told by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Five devices of one user and 1,000 random schedules of wishes, pushes, answers, losses and registrations: a device is never
/// pushed to while a push is under way, nor after it came, and one that is wanted and stays away is pushed to until it is
/// given up.
#[test]
fn a_thousand_schedules_of_five_devices() {
    for seed in 0..1000 {
        let (mut dice, mut wakes, start) = (Dice(seed), Wakes::default(), Instant::now());
        let mut now = start;
        let mut flying: Vec<Due> = Vec::new();
        let (mut pushes, mut wanted) = ([0_u32; 5], [false; 5]);
        let at = |key: &Key| key.1.parse::<usize>().unwrap();
        for _ in 0..300 {
            let n = dice.roll(5) as usize;
            let device = key(&n.to_string());
            match dice.roll(6) {
                0 => {
                    let class = [Class::Call, Class::Message, Class::Refresh][dice.roll(3) as usize];
                    wakes.want(&device, class, now);
                    wanted[n] = true;
                }
                1 => {
                    assert_eq!(wakes.over(&device), wakes_had(wanted[n], &mut pushes[n]), "seed {seed}");
                    wanted[n] = false;
                }
                2 if !flying.is_empty() => {
                    let due = flying.swap_remove(dice.roll(flying.len() as u64) as usize);
                    let outcome = match dice.roll(4) {
                        0 => Outcome::Retry { after: None, why: String::new() },
                        _ => Outcome::Accepted,
                    };
                    wakes.answered(&due.key, due.number, &outcome, now);
                }
                _ => {
                    now += Duration::from_millis(dice.roll(3000));
                    for due in wakes.poll(now, 100) {
                        let n = at(&due.key);
                        assert!(wanted[n], "seed {seed}: a push for a device that nobody wants");
                        pushes[n] += 1;
                        flying.push(due);
                    }
                }
            }
            for (n, wanted) in wanted.iter_mut().enumerate() {
                *wanted &= wakes.has(&key(&n.to_string()));
            }
            assert!(wakes.due.len() == wakes.wakes.len(), "seed {seed}: each wake-up has one time");
        }
        // Whoever is wanted now is pushed to, or was: nobody is forgotten.
        for n in 0..5 {
            let device = key(&n.to_string());
            if wakes.has(&device) {
                assert!(wakes.due.iter().any(|(_, key)| *key == device), "seed {seed}: forgotten");
            }
        }
        sent(&mut wakes, start);
        assert!(wakes.is_empty(), "seed {seed}: a wake-up that never ends");
    }
}

fn wakes_had(wanted: bool, pushes: &mut u32) -> bool {
    *pushes = 0;
    wanted
}
