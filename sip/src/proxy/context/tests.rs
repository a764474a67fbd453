use proptest::prelude::*;

use super::*;

/// A context driven by a transcript, with the actions as text.
struct Run {
    context: ResponseContext,
    start: Instant,
}

fn epoch() -> Instant {
    // Only differences count; a pure crate's tests have no other way to make one.
    #[expect(clippy::disallowed_methods, reason = "a starting point for virtual time")]
    Instant::now()
}

fn parallel(count: u16) -> Vec<Candidate> {
    (0..count).map(|instance| Candidate { group: 0, instance }).collect()
}

fn response(status: u16, extra: &str) -> Message {
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP us;branch=z9hG4bKn1\r\nVia: SIP/2.0/UDP client;branch=z9hG4bKc\r\n\
         From: <sip:b@h>;tag=1\r\nTo: <sip:a@h>;tag={status}\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{extra}\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.into(), &Limits::default()).unwrap()
}

fn show(actions: &Actions) -> String {
    let text: Vec<String> = actions
        .iter()
        .map(|action| match action {
            Action::Start { branch, max_breadth: 60 } => format!("start {branch}"),
            Action::Start { branch, max_breadth } => format!("start {branch}/{max_breadth}"),
            Action::Cancel { branch, reason } => {
                let reason = match reason {
                    CancelReason::Answered => "answered",
                    CancelReason::Declined(_) => "declined",
                    CancelReason::Upstream => "upstream",
                    CancelReason::TimedOut => "late",
                };
                format!("cancel {branch} {reason}")
            }
            Action::Abandon { branch } => format!("abandon {branch}"),
            Action::Forward => "forward".into(),
            Action::Final(Final::Response { status, .. }) => format!("final {status}"),
            Action::Final(Final::Generate(status)) => format!("make {status}"),
            Action::Final(Final::Silent) => "silent".into(),
        })
        .collect();
    text.join(", ")
}

impl Run {
    fn new(method: Method, candidates: &[Candidate], policy: ForkPolicy) -> Run {
        Run { context: ResponseContext::new(method, candidates, policy), start: epoch() }
    }

    /// Each step is `seconds: what => actions`; what: `start`, `N STATUS`, `N timeout|transport|flow`, `cancel`,
    /// `timer`.
    fn play(&mut self, transcript: &str) {
        for line in transcript.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (step, expected) = line.split_once("=>").unwrap();
            let (seconds, what) = step.split_once(':').unwrap();
            let now = self.start + Duration::from_secs(seconds.trim().parse().unwrap());
            let words: Vec<&str> = what.split_whitespace().collect();
            let got = match words[..] {
                ["start"] => self.context.start(now),
                ["cancel"] => self.context.handle_cancel(now),
                ["timer"] => self.context.handle_timeout(now),
                ["release"] => self.context.release(now),
                [branch, what] => {
                    let branch = branch.parse().unwrap();
                    let failed = match what {
                        "timeout" => Some(Failure::Timeout),
                        "transport" => Some(Failure::Transport),
                        "flow" => Some(Failure::FlowFailed),
                        _ => None,
                    };
                    match failed {
                        Some(failure) => self.context.handle_branch_failed(branch, failure, now),
                        None => self.context.handle_response(branch, &response(what.parse().unwrap(), ""), now),
                    }
                }
                _ => panic!("{line}"),
            };
            assert_eq!(show(&got), expected.trim(), "{line}");
        }
    }
}

/// Plays a transcript over devices in one group.
fn invite(devices: u16, transcript: &str) -> Run {
    let mut run = Run::new(Method::Invite, &parallel(devices), ForkPolicy::default());
    run.play(transcript);
    run
}

fn message(devices: u16, transcript: &str) -> Run {
    let mut run = Run::new(Method::Message, &parallel(devices), ForkPolicy::default());
    run.play(transcript);
    run
}

#[test]
fn one_target() {
    let run = invite(
        1,
        "0: start => start 0
         0: 0 100 =>
         1: 0 180 => forward
         5: 0 200 => forward
         6: 0 200 => forward",
    );
    assert!(run.context.is_done());
    assert!(invite(1, "0: start => start 0\n 1: 0 404 => final 404").context.is_done());
    message(1, "0: start => start 0\n 1: 0 183 =>\n 1: 0 202 => forward\n 2: 0 202 =>");
}

#[test]
fn one_of_three_devices_is_busy_one_answers_one_is_cancelled() {
    let run = invite(
        3,
        "0: start => start 0/20, start 1/20, start 2/20
         1: 0 180 => forward
         1: 1 180 => forward
         1: 2 100 =>
         2: 0 486 =>
         3: 1 200 => forward, cancel 2 answered
         3: 2 180 =>
         4: 2 487 =>",
    );
    assert!(run.context.is_done());
}

#[test]
fn a_second_2xx_is_forwarded_too() {
    let run = invite(
        2,
        "0: start => start 0/30, start 1/30
         2: 0 200 => forward, cancel 1 answered
         2: 1 200 => forward",
    );
    assert!(run.context.is_done());
}

#[test]
fn a_2xx_from_a_branch_that_was_given_up_ends_the_rest() {
    invite(
        2,
        "0: start => start 0/30, start 1/30
         32: 0 timeout =>
         33: 0 200 => forward, cancel 1 answered
         34: 1 487 =>",
    );
}

#[test]
fn a_6xx_cancels_the_rest_and_waits_for_them() {
    invite(
        3,
        "0: start => start 0/20, start 1/20, start 2/20
         1: 1 180 => forward
         2: 0 603 => cancel 1 declined, cancel 2 declined
         3: 1 487 =>
         3: 2 487 => final 603",
    );
    // The one who picked up before the CANCEL reached it wins.
    invite(
        2,
        "0: start => start 0/30, start 1/30
         2: 0 600 => cancel 1 declined
         2: 1 200 => forward",
    );
}

#[test]
fn the_best_response_is_chosen() {
    for (statuses, outcome) in [
        (&["486", "480"][..], "final 486"),
        (&["480", "486"], "final 486"),
        (&["404", "407"], "final 407"),
        (&["503", "407", "501", "404"], "final 407"),
        (&["486", "420"], "final 420"),
        (&["500", "302", "404"], "final 302"),
        (&["404", "606"], "final 606"),
        (&["503", "500"], "final 500"),
        (&["503", "503"], "make 500"),
        (&["503", "timeout"], "make 500"),
        (&["486", "408"], "final 486"),
        (&["486", "487"], "final 486"),
        (&["408", "500"], "final 408"),
        // A dead contact does not hide what a live one said (JsSIP and others keep stale bindings for an hour).
        (&["timeout", "486"], "final 486"),
        (&["timeout", "500"], "final 500"),
        (&["transport", "480"], "final 480"),
        (&["flow", "404"], "final 404"),
        (&["430", "404"], "final 404"),
        (&["timeout", "transport"], "make 408"),
        (&["timeout", "timeout"], "make 408"),
        (&["transport", "transport"], "make 500"),
        (&["flow", "flow"], "make 480"),
        (&["430", "430"], "make 480"),
    ] {
        let mut run = Run::new(Method::Invite, &parallel(statuses.len() as u16), ForkPolicy::default());
        run.context.start(run.start);
        let last = statuses.len() - 1;
        for (branch, status) in statuses.iter().enumerate() {
            let expected = if branch == last { outcome } else { "" };
            run.play(&format!("1: {branch} {status} => {expected}"));
        }
    }
}

#[test]
fn a_message_is_not_cancelled_and_never_answered_with_408() {
    message(
        3,
        "0: start => start 0/20, start 1/20, start 2/20
         1: 0 200 => forward
         1: 1 200 =>
         32: 2 timeout =>",
    );
    message(2, "0: start => start 0/30, start 1/30\n 32: 0 timeout =>\n 32: 1 timeout => silent");
    message(2, "0: start => start 0/30, start 1/30\n 9: 0 408 =>\n 9: 1 408 => silent");
    message(2, "0: start => start 0/30, start 1/30\n 9: 0 404 =>\n 32: 1 timeout => final 404");
    message(2, "0: start => start 0/30, start 1/30\n 9: cancel =>\n 9: 0 603 =>\n 9: 1 404 => final 603");
}

#[test]
fn cancel_from_upstream() {
    let run = invite(
        2,
        "0: start => start 0/30, start 1/30
         1: 0 180 => forward
         3: cancel => cancel 0 upstream, cancel 1 upstream
         3: cancel =>
         3: 0 487 =>
         4: 1 487 => final 487",
    );
    assert!(run.context.is_done());
    // A real answer that crosses is heard, but the client asked for 487.
    invite(
        2,
        "0: start => start 0/30, start 1/30\n 3: 0 486 =>\n 3: cancel => cancel 1 upstream\n 4: 1 487 => final 487",
    );
    invite(1, "0: start => start 0\n 3: cancel => cancel 0 upstream\n 4: 0 200 => forward");
    invite(1, "0: start => start 0\n 3: cancel => cancel 0 upstream\n 35: 0 timeout => make 487");
    invite(1, "0: start => start 0\n 3: 0 200 => forward\n 3: cancel =>");
}

#[test]
fn serial_by_group() {
    let candidates = [(0, 0), (1, 1), (1, 2), (2, 3)].map(|(group, instance)| Candidate { group, instance });
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy::default());
    run.play(
        "0: start => start 0
         1: 0 486 => start 1/30, start 2/30
         2: 1 480 =>
         3: 2 timeout => start 3
         4: 3 404 => final 486",
    );
    // 6xx and CANCEL keep the rest from being tried.
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy::default());
    run.play("0: start => start 0\n 1: 0 603 => final 603");
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy::default());
    run.play("0: start => start 0\n 1: cancel => cancel 0 upstream\n 1: 0 487 => final 487");
}

#[test]
fn a_group_that_rings_too_long_gives_way() {
    let candidates = [(0, 0), (1, 1)].map(|(group, instance)| Candidate { group, instance });
    let policy = ForkPolicy { group_timeout: Some(Duration::from_secs(20)), ..ForkPolicy::default() };
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy { max_breadth: 2, ..policy });
    run.play(
        "0: start => start 0/2
         1: 0 180 => forward
         19: timer =>",
    );
    assert_eq!(run.context.poll_timeout(), Some(run.start + Duration::from_secs(20)));
    // The breadth of the first is still in use, so the second waits for its end.
    run.play(
        "20: timer => cancel 0 late
         21: 0 487 => start 1/2
         22: 1 180 => forward
         60: timer =>
         70: 1 486 => final 486",
    );
}

#[test]
fn timer_c() {
    let mut run = invite(
        2,
        "0: start => start 0/30, start 1/30
         10: 0 180 => forward
         10: 1 100 =>
         185: timer => cancel 1 late
         186: 1 487 =>
         195: timer => cancel 0 late
         196: 0 487 => make 408",
    );
    assert_eq!(run.context.poll_timeout(), None);
    // No word at all: as a 408, and the transaction goes.
    run = invite(1, "0: start => start 0\n 185: timer => abandon 0, make 408");
    assert!(run.context.is_done());
}

#[test]
fn another_way_to_the_same_device() {
    let candidates = [(0, 0), (0, 0), (0, 0), (0, 1)].map(|(group, instance)| Candidate { group, instance });
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy::default());
    run.play(
        "0: start => start 0/30, start 3/30
         1: 0 430 => start 1/30
         2: 1 flow => start 2/30
         3: 2 486 =>
         4: 3 404 => final 486",
    );
    // Any other answer is the device's own.
    let mut run = Run::new(Method::Invite, &candidates, ForkPolicy::default());
    run.play("0: start => start 0/30, start 3/30\n 1: 0 480 =>\n 2: 3 404 => final 480");
}

#[test]
fn breadth_is_shared_and_used_again() {
    let mut run = Run::new(Method::Invite, &parallel(3), ForkPolicy { max_breadth: 2, ..ForkPolicy::default() });
    run.play(
        "0: start => start 0/1, start 1/1
         1: 0 486 => start 2/1
         2: 1 486 =>
         3: 2 486 => final 486",
    );
    let mut run = Run::new(Method::Invite, &parallel(2), ForkPolicy { max_breadth: 1, ..ForkPolicy::default() });
    run.play("0: start => start 0/1\n 1: 0 486 => start 1/1\n 2: 1 200 => forward");
    let mut run = Run::new(Method::Invite, &parallel(3), ForkPolicy { max_breadth: 5, ..ForkPolicy::default() });
    run.play("0: start => start 0/2, start 1/2, start 2/1");
}

#[test]
fn challenges_of_all_branches_are_collected() {
    let mut run = Run::new(Method::Invite, &parallel(3), ForkPolicy::default());
    let now = run.start;
    run.context.start(now);
    let answers = [
        response(407, "Proxy-Authenticate: Digest realm=\"a\"\r\nProxy-Authenticate: Digest realm=\"a2\"\r\n"),
        response(486, ""),
        response(401, "WWW-Authenticate: Digest realm=\"b\"\r\n"),
    ];
    let mut last = Actions::new();
    for (branch, answer) in answers.iter().enumerate() {
        last = run.context.handle_response(branch, answer, now);
    }
    let [Action::Final(Final::Response { status: 407, bytes })] = &last[..] else { panic!("{last:?}") };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let found: Vec<_> = text.split("\r\n").filter(|l| l.contains("Authenticate") || l.starts_with("Via")).collect();
    assert_eq!(
        found,
        [
            "Via: SIP/2.0/UDP client;branch=z9hG4bKc",
            "Proxy-Authenticate: Digest realm=\"a\"",
            "Proxy-Authenticate: Digest realm=\"a2\"",
            "WWW-Authenticate: Digest realm=\"b\"",
        ]
    );
}

#[test]
fn two_identical_challenges_both_count() {
    let mut run = Run::new(Method::Invite, &parallel(2), ForkPolicy::default());
    run.context.start(run.start);
    let challenge = response(401, "WWW-Authenticate: Digest realm=\"b\"\r\n");
    run.context.handle_response(0, &challenge, run.start);
    let last = run.context.handle_response(1, &challenge, run.start);
    let [Action::Final(Final::Response { bytes, .. })] = &last[..] else { panic!("{last:?}") };
    assert_eq!(String::from_utf8(bytes.to_vec()).unwrap().matches("WWW-Authenticate").count(), 2);
}

#[test]
fn redirects_may_be_followed() {
    let mut run = invite(2, "0: start => start 0/30, start 1/30\n 1: 1 486 =>");
    let now = run.start;
    let (first, actions) = run.context.redirect(0, 2, now).unwrap();
    assert_eq!((first, show(&actions).as_str()), (2, "start 2/30, start 3/30"));
    run.play("2: 2 404 =>\n 3: 3 480 => final 486");
    assert!(run.context.redirect(0, 1, now).is_none());
}

#[test]
fn devices_that_wake_up_are_added() {
    let mut run = Run::new(Method::Invite, &[], ForkPolicy::default());
    let at = |s| run.start + Duration::from_secs(s);
    let (now, until) = (at(2), at(10));
    run.context.hold(until, 1);
    run.play("0: start =>");
    assert_eq!(run.context.poll_timeout(), Some(until));
    let (first, actions) = run.context.add(&[Candidate { group: 0, instance: 0 }], now).unwrap();
    assert_eq!((first, show(&actions).as_str()), (0, "start 0"));
    run.play("3: 0 486 =>\n 10: timer => final 486");

    let mut run = Run::new(Method::Invite, &[], ForkPolicy::default());
    run.context.hold(until, 1);
    run.play("0: start =>\n 5: cancel => make 487");
    let mut run = Run::new(Method::Invite, &[], ForkPolicy::default());
    run.play("0: start => make 480");
}

/// Whoever wakes first must not take all the breadth: the others would not ring before it has ended.
#[test]
fn devices_that_wake_one_after_the_other_ring_at_one_time() {
    let mut run = Run::new(Method::Invite, &parallel(1), ForkPolicy::default());
    let (start, until) = (run.start, run.start + Duration::from_secs(10));
    run.context.hold(until, 4);
    run.play("0: start => start 0/12");
    let added: Vec<String> = (1..5)
        .map(|instance| {
            let (_, actions) = run.context.add(&[Candidate { group: 0, instance }], start).unwrap();
            show(&actions)
        })
        .collect();
    assert_eq!(added, ["start 1/12", "start 2/12", "start 3/12", "start 4/12"]);
    assert_eq!(run.context.running(), 5);
    // With little breadth as many ring as may, and the others after them.
    let policy = ForkPolicy { max_breadth: 2, ..ForkPolicy::default() };
    let mut run = Run::new(Method::Invite, &parallel(1), policy);
    run.context.hold(until, 4);
    run.play("0: start => start 0/1");
    let mut add =
        |instance| run.context.add(&[Candidate { group: 0, instance }], start).map(|(_, a)| show(&a)).unwrap();
    assert_eq!([add(1), add(2)], ["start 1/1", ""]);
    run.play("3: 0 486 => start 2/1");
}

#[test]
fn no_cancel_leaves_the_others_alone() {
    let policy = ForkPolicy { cancel_on_answer: false, ..ForkPolicy::default() };
    let mut run = Run::new(Method::Invite, &parallel(2), policy);
    run.play(
        "0: start => start 0/30, start 1/30
         1: 0 200 => forward
         2: 1 486 =>",
    );
    assert!(run.context.is_done());
}

#[test]
fn a_response_without_our_clients_via_is_not_passed_on() {
    let mut run = Run::new(Method::Invite, &parallel(1), ForkPolicy::default());
    run.context.start(run.start);
    let text = String::from_utf8(response(404, "").bytes().to_vec()).unwrap();
    let text = text.replace("Via: SIP/2.0/UDP client;branch=z9hG4bKc\r\n", "");
    let alone = Message::parse(text.into(), &Limits::default()).unwrap();
    assert_eq!(show(&run.context.handle_response(0, &alone, run.start)), "make 404");
    assert_eq!(show(&run.context.handle_response(9, &alone, run.start)), "");
}

#[test]
fn a_context_is_small() {
    assert!(std::mem::size_of::<Branch>() <= 32, "{}", std::mem::size_of::<Branch>());
    assert!(std::mem::size_of::<ResponseContext>() <= 320, "{}", std::mem::size_of::<ResponseContext>());
}

/// What may befall a branch, `None` being time that passes.
fn happening() -> impl Strategy<Value = (usize, Option<u16>)> {
    let statuses = [100, 180, 183, 200, 200, 302, 401, 407, 408, 430, 480, 486, 487, 503, 603];
    (0usize..6, proptest::option::weighted(0.9, proptest::sample::select(statuses.to_vec())))
}

proptest! {
    /// Whatever comes in whatever order: one outcome, within the breadth, each branch once, and an end.
    #[test]
    fn rules_that_always_hold(
        shape in proptest::collection::vec((0u16..3, 0u16..4), 1..6),
        invite in any::<bool>(),
        max_breadth in 1u32..7,
        group_timeout in proptest::option::of(5u64..40),
        events in proptest::collection::vec(happening(), 0..40),
        cancel_at in 0usize..80,
    ) {
        // Candidates of one device share a group.
        let candidates: Vec<Candidate> =
            shape.iter().map(|(g, i)| Candidate { group: *g, instance: g * 8 + i }).collect();
        let policy =
            ForkPolicy { max_breadth, group_timeout: group_timeout.map(Duration::from_secs), ..ForkPolicy::default() };
        let method = if invite { Method::Invite } else { Method::Message };
        let mut context = ResponseContext::new(method, &candidates, policy);
        let mut now = epoch();
        let mut running = vec![0u32; candidates.len()];
        let mut started = vec![false; candidates.len()];
        let (mut finals, mut answers) = (0, 0);
        let mut take = |actions: Actions, running: &mut Vec<u32>, status: u16| {
            for action in actions {
                match action {
                    Action::Start { branch, max_breadth } => {
                        prop_assert!(!std::mem::replace(&mut started[branch], true), "twice: {branch}");
                        prop_assert!(max_breadth > 0 && finals == 0 && answers == 0);
                        let twin = |o: usize| candidates[o].instance == candidates[branch].instance && running[o] > 0;
                        prop_assert!(!(0..running.len()).any(twin), "two ways to one device");
                        running[branch] = max_breadth;
                    }
                    Action::Cancel { branch, .. } => prop_assert!(invite && running[branch] > 0),
                    Action::Abandon { branch } => running[branch] = 0,
                    Action::Forward if status >= 200 => {
                        answers += 1;
                        prop_assert!(invite || answers == 1);
                    }
                    Action::Forward => prop_assert!(invite && finals == 0 && answers == 0),
                    Action::Final(_) => {
                        finals += 1;
                        prop_assert!(finals == 1 && (answers == 0) && running.iter().all(|b| *b == 0));
                    }
                }
            }
            prop_assert!(running.iter().sum::<u32>() <= max_breadth);
            Ok(())
        };
        take(context.start(now), &mut running, 0)?;
        for (step, (branch, what)) in events.into_iter().enumerate() {
            if step == cancel_at {
                take(context.handle_cancel(now), &mut running, 0)?;
            }
            match what {
                Some(status) => {
                    if status >= 200 && branch < running.len() {
                        running[branch] = 0;
                    }
                    take(context.handle_response(branch, &response(status, ""), now), &mut running, status)?;
                }
                None => {
                    now += Duration::from_secs(30);
                    take(context.handle_timeout(now), &mut running, 0)?;
                }
            }
        }
        // Every transaction ends some day.
        for _ in 0..candidates.len() {
            for branch in 0..candidates.len() {
                if std::mem::take(&mut running[branch]) > 0 {
                    take(context.handle_branch_failed(branch, Failure::Timeout, now), &mut running, 0)?;
                }
            }
        }
        prop_assert!(context.is_done());
        prop_assert_eq!(context.poll_timeout(), None);
    }
}
