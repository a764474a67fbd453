//! Long runs: `make soak`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chappe_e2e::{Options, Phone, Server, Transport, wait_for};

const SENDERS: usize = 8;
const USERS: usize = 10_000;
const EACH: usize = 10;

/// Store-and-forward of 100,000 messages for 10,000 users, with a kill between the two.
#[test]
#[ignore = "takes minutes; run by make soak"]
fn a_hundred_thousand_messages_for_ten_thousand_users_drain_without_loss() {
    let settings = vec![("LIMITS__USER_RATE", "0".into()), ("LOG__LEVEL", "warn".into())];
    let options = Options { accounts: SENDERS + USERS, settings, ..Options::default() };
    let mut server = Server::start_with(options);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let server = &server;
            scope.spawn(move || {
                let mut phone = Phone::registered(server, sender, Transport::Tcp);
                for number in 0..EACH {
                    for user in (SENDERS..SENDERS + USERS).skip(sender).step_by(SENDERS) {
                        assert_eq!(phone.message(user, &format!("{number} for {user}")).unwrap(), 202);
                    }
                }
            });
        }
    });
    println!("{} messages stored in {:?}", USERS * EACH, begun.elapsed());
    let total = (USERS * EACH) as u64;
    assert_eq!(server.counts(), [total, 0, total, 0, 0]);
    server.kill();
    let begun = Instant::now();
    server.restart();
    println!("started again in {:?}", begun.elapsed());

    let begun = Instant::now();
    std::thread::scope(|scope| {
        for part in 0..SENDERS {
            let server = &server;
            scope.spawn(move || {
                for user in (SENDERS..SENDERS + USERS).skip(part).step_by(SENDERS) {
                    let mut phone = Phone::registered(server, user, Transport::Tcp);
                    let expected: Vec<_> = (0..EACH).map(|number| format!("{number} for {user}")).collect();
                    assert_eq!(phone.texts(EACH), expected);
                }
            });
        }
    });
    println!("drained in {:?}", begun.elapsed());
    wait_for("empty queues", || (server.counts()[2] == 0).then_some(()));
    server.stop();
}

/// Users come, go, write and are killed with the server, by chance and for minutes; every accepted message comes.
#[test]
#[ignore = "takes minutes; run by make soak"]
fn nothing_is_lost_over_many_crashes() {
    const PEOPLE: usize = 6;
    let mut server = Server::with(&[("LIMITS__USER_RATE", "0")]);
    let mut accepted: HashMap<usize, Vec<String>> = HashMap::new();
    let mut came: HashMap<usize, Vec<String>> = HashMap::new();
    for round in 0..20 {
        let answered = AtomicUsize::new(0);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PEOPLE)
                .map(|user| {
                    let transport = [Transport::Tcp, Transport::Ws][(user + round) % 2];
                    let mut phone = Phone::registered(&server, user, transport);
                    let answered = &answered;
                    scope.spawn(move || {
                        let mut sent = Vec::new();
                        let mut got = Vec::new();
                        for number in 0.. {
                            let to = (user + 1 + number % (PEOPLE - 1)) % PEOPLE;
                            let text = format!("{round}.{user}.{number}");
                            match phone.message(to, &text) {
                                Ok(200 | 202) => {
                                    sent.push((to, text));
                                    answered.fetch_add(1, Ordering::Relaxed);
                                }
                                Ok(503) => {}
                                Ok(code) => panic!("{text} got {code}"),
                                Err(_) => break,
                            }
                            match phone.receive(Duration::ZERO) {
                                Ok(message) => got.extend(message.map(|message| message.body)),
                                Err(_) => break,
                            }
                        }
                        while let Ok(Some(message)) = phone.receive(Duration::ZERO) {
                            got.push(message.body);
                        }
                        (user, sent, got)
                    })
                })
                .collect();
            // Every time in another state.
            let enough = 500 + 137 * round;
            wait_for("messages", || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
            server.kill();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        for (user, sent, got) in outcomes {
            came.entry(user).or_default().extend(got);
            for (to, text) in sent {
                accepted.entry(to).or_default().push(text);
            }
        }
        server.restart();
    }
    // Everybody fetches what waits.
    for user in 0..PEOPLE {
        let mut phone = Phone::registered(&server, user, Transport::Tcp);
        while let Some(message) = phone.receive(Duration::from_secs(3)).unwrap() {
            came.entry(user).or_default().push(message.body);
        }
    }
    let total: usize = accepted.values().map(Vec::len).sum();
    for (user, texts) in accepted {
        let got: std::collections::HashSet<_> = came.remove(&user).unwrap_or_default().into_iter().collect();
        let lost: Vec<_> = texts.iter().filter(|text| !got.contains(*text)).collect();
        assert!(lost.is_empty(), "user{user} misses {} of {total}: {lost:?}", lost.len());
    }
    println!("{total} messages over 20 crashes");
}
