use super::*;
use crate::leg::Action::{Accept, Bye, Cancel, Confirmed, Invite, Page, Return, Send};

mod world;

const SIMPLE: Capabilities = Capabilities { simple_im: true, ..PAGER };
const CPM: Capabilities = Capabilities { cpm_session: true, ..PAGER };
const PAGER: Capabilities = Capabilities {
    simple_im: false,
    cpm_session: false,
    group: false,
    standalone: false,
    large: false,
    pager_large: false,
    deferred: false,
    file_transfer: false,
    ft_http: false,
    geolocation: false,
    group_news: false,
    receipts: false,
    focus: false,
    bot: false,
};
const AWAY: Why = Why::Away;

/// A leg with a clock.
struct Bench {
    leg: Leg,
    now: Instant,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first")]
    fn new(device: Capabilities) -> Bench {
        Bench { leg: Leg::new(device, LegSettings { window: 3, ..LegSettings::default() }), now: Instant::now() }
    }

    fn push(&mut self, ids: impl IntoIterator<Item = u64>) -> Vec<Action> {
        for id in ids {
            self.leg.push(Entry { id, size: 100, waited: false, receipt: false }, self.now);
        }
        self.actions()
    }

    fn push_waited(&mut self, ids: impl IntoIterator<Item = u64>) -> Vec<Action> {
        for id in ids {
            self.leg.push(Entry { id, size: 100, waited: true, receipt: false }, self.now);
        }
        self.actions()
    }

    fn push_receipt(&mut self, id: u64) -> Vec<Action> {
        self.leg.push(Entry { id, size: 100, waited: false, receipt: true }, self.now);
        self.actions()
    }

    fn answered(&mut self, call: u32) -> Vec<Action> {
        self.leg.handle_answered(Call(call), self.now);
        self.actions()
    }

    fn rejected(&mut self, call: u32, status: u16) -> Vec<Action> {
        self.leg.handle_rejected(Call(call), status, None, self.now);
        self.actions()
    }

    fn bound(&mut self, call: u32) -> Vec<Action> {
        self.leg.handle_bound(Call(call), self.now);
        self.actions()
    }

    fn confirmed(&mut self, id: u64) -> Vec<Action> {
        self.leg.handle_confirmed(id, self.now);
        self.actions()
    }

    fn paged(&mut self, id: u64, status: u16) -> Vec<Action> {
        self.leg.handle_paged(id, status, None, self.now);
        self.actions()
    }

    fn ended(&mut self, call: u32) -> Vec<Action> {
        self.leg.handle_ended(Call(call), self.now);
        self.actions()
    }

    fn incoming(&mut self) -> Vec<Action> {
        self.leg.handle_incoming(self.now);
        self.actions()
    }

    fn moved(&mut self) -> Vec<Action> {
        self.leg.handle_moved(self.now);
        self.actions()
    }

    /// Moves time to the next timer, which is to be so many seconds away.
    fn timer(&mut self, after: u64) -> Vec<Action> {
        let due = self.leg.poll_timeout().unwrap();
        assert_eq!(due - self.now, Duration::from_secs(after));
        self.leg.handle_timeout(due - Duration::from_millis(1));
        assert_eq!(self.actions(), [], "too early");
        self.now = due;
        self.leg.handle_timeout(due);
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.leg.poll_action()).collect()
    }

    /// An open session with nothing under way.
    fn open(device: Capabilities) -> Bench {
        let mut bench = Bench::new(device);
        bench.incoming();
        bench.bound(1);
        bench
    }
}

fn invite(call: u32, service: Service, first: Option<u64>) -> Action {
    Invite { call: Call(call), service, first }
}

fn send(call: u32, id: u64) -> Action {
    Send { call: Call(call), id }
}

fn bye(call: u32) -> Action {
    Bye { call: Call(call) }
}

fn later(id: u64, seconds: u64) -> Action {
    Return { id, why: Why::Later(Duration::from_secs(seconds)) }
}

fn away(id: u64) -> Action {
    Return { id, why: AWAY }
}

#[test]
fn the_first_message_of_simple_im_is_in_the_invite() {
    let mut bench = Bench::new(SIMPLE);
    assert_eq!(bench.push(1..=5), [invite(1, Service::Session, Some(1))]);
    assert_eq!(bench.answered(1), [Confirmed { id: 1 }]);
    assert_eq!(bench.bound(1), [send(1, 2), send(1, 3), send(1, 4)], "no more than the window");
    assert_eq!(bench.confirmed(3), [Confirmed { id: 3 }, send(1, 5)]);
    for id in [2, 4, 5] {
        assert_eq!(bench.confirmed(id), [Confirmed { id }]);
    }
    assert_eq!(bench.leg.open_session(), Some(Call(1)));
    assert_eq!(bench.timer(300), [bye(1)]);
    assert_eq!((bench.ended(1), bench.leg.is_done()), (vec![], true));
}

#[test]
fn cpm_sends_once_the_session_is_open() {
    let mut bench = Bench::new(CPM);
    assert_eq!(bench.push([1]), [invite(1, Service::Session, None)]);
    assert_eq!(bench.bound(1), [], "MSRP may be faster than the 2xx");
    assert_eq!(bench.answered(1), [send(1, 1)]);
    assert_eq!(bench.push([1, 2]), [send(1, 2)], "a copy is not taken");
}

#[test]
fn a_large_first_message_waits_for_the_session() {
    let mut bench = Bench::new(SIMPLE);
    bench.leg.push(Entry { id: 1, size: 20_000, waited: false, receipt: false }, bench.now);
    assert_eq!(bench.actions(), [invite(1, Service::Session, None)]);
}

#[test]
fn a_pager_takes_one_after_the_other() {
    let mut bench = Bench::new(PAGER);
    assert_eq!(bench.push(1..=3), [Page { id: 1 }]);
    assert_eq!(bench.paged(1, 200), [Confirmed { id: 1 }, Page { id: 2 }]);
    let refused = Return { id: 2, why: Why::Refused(415) };
    assert_eq!(bench.paged(2, 415), [refused, Page { id: 3 }], "it is about this one only");
    assert_eq!(bench.push([4]), []);
    assert_eq!(bench.paged(3, 408), [away(3), away(4)], "nor will the others arrive");
    assert!(bench.leg.is_done());
    bench.push([5, 6]);
    assert_eq!(bench.paged(5, 486), [later(5, 1), later(6, 1)]);
    bench.push([7]);
    bench.leg.handle_paged(7, 503, Some(Duration::from_secs(40)), bench.now);
    assert_eq!(bench.actions(), [later(7, 40)]);
}

#[test]
fn a_large_message_for_a_pager_has_a_session_of_its_own() {
    let device = Capabilities { standalone: true, large: true, ..PAGER };
    let mut bench = Bench::new(device);
    for id in 1..=2 {
        bench.leg.push(Entry { id, size: 5000, waited: false, receipt: false }, bench.now);
    }
    assert_eq!(bench.actions(), [invite(1, Service::LargeMessage, None)]);
    bench.answered(1);
    assert_eq!(bench.bound(1), [send(1, 1)]);
    assert_eq!(bench.confirmed(1), [Confirmed { id: 1 }, bye(1)]);
    assert_eq!(bench.ended(1), [invite(2, Service::LargeMessage, None)]);
    let mut bench = Bench::new(Capabilities { pager_large: true, ..device });
    bench.leg.push(Entry { id: 1, size: 5000, waited: false, receipt: false }, bench.now);
    assert_eq!(bench.actions(), [Page { id: 1 }]);
}

#[test]
fn what_waited_goes_in_a_session_that_we_end() {
    let mut bench = Bench::new(SIMPLE);
    assert_eq!(bench.push_waited(1..=2), [invite(1, Service::Deferred, Some(1))]);
    bench.answered(1);
    assert_eq!(bench.bound(1), [send(1, 2)]);
    assert_eq!(bench.leg.open_session(), None, "nobody types in it");
    assert_eq!(bench.push_receipt(9), [Page { id: 9 }]);
    assert_eq!(bench.paged(9, 200), [Confirmed { id: 9 }]);
    assert_eq!(bench.confirmed(2), [Confirmed { id: 2 }]);
    assert_eq!(bench.push_waited([3]), [send(1, 3)]);
    assert_eq!(bench.confirmed(3), [Confirmed { id: 3 }]);
    assert_eq!(bench.timer(3), [bye(1)]);
    assert_eq!(bench.ended(1), []);
    // A new message behind old ones ends the session at once.
    bench.push_waited([4]);
    bench.answered(2);
    assert_eq!(bench.push([5]), []);
    assert_eq!(bench.bound(2), [bye(2)]);
    assert_eq!(bench.ended(2), [invite(3, Service::Session, Some(5))]);
}

#[test]
fn what_waited_goes_in_a_session_that_is_open_anyhow() {
    let mut bench = Bench::open(CPM);
    assert_eq!(bench.push_waited([1]), [send(1, 1)]);
}

#[test]
fn a_device_that_turns_the_session_down() {
    let refused = |id, code| Return { id, why: Why::Refused(code) };
    for (status, expected) in [
        (486, vec![later(1, 1), later(2, 1)]),
        (603, vec![away(1), away(2)]),
        (480, vec![away(1), away(2)]),
        (408, vec![away(1), away(2)]),
        (404, vec![refused(1, 404), refused(2, 404)]),
        (403, vec![refused(1, 403), refused(2, 403)]),
        (488, vec![Page { id: 1 }]),
        (606, vec![Page { id: 1 }]),
    ] {
        for device in [SIMPLE, CPM] {
            let mut bench = Bench::new(device);
            bench.push([1, 2]);
            assert_eq!(bench.rejected(1, status), expected, "{status}");
        }
    }
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    bench.rejected(1, 488);
    assert_eq!(bench.paged(1, 200), [Confirmed { id: 1 }, Page { id: 2 }], "no second invitation");
    bench.paged(2, 200);
    bench.leg.set_device(SIMPLE, bench.now);
    assert_eq!(bench.push([3]), [Page { id: 3 }]);
    bench.leg.set_device(CPM, bench.now);
    assert_eq!(bench.paged(3, 200), [Confirmed { id: 3 }]);
    assert_eq!(bench.push([4]), [invite(2, Service::Session, None)], "it says that it is another now");
}

#[test]
fn no_message_overtakes_one_that_goes_by_message() {
    let mut bench = Bench::new(CPM);
    bench.push([1, 2]);
    bench.rejected(1, 488);
    assert_eq!(bench.incoming(), [Accept { call: Call(2) }], "it wants a session after all");
    assert_eq!(bench.bound(2), []);
    assert_eq!(bench.paged(1, 200), [Confirmed { id: 1 }, send(2, 2)]);
}

#[test]
fn the_pause_is_what_the_device_asks_for() {
    for status in [486, 480] {
        let mut bench = Bench::new(SIMPLE);
        bench.push([1]);
        bench.leg.handle_rejected(Call(1), status, Some(Duration::from_secs(17)), bench.now);
        assert_eq!(bench.actions(), [later(1, 17)], "{status}");
        bench.push([1]);
        bench.leg.handle_rejected(Call(2), status, Some(Duration::ZERO), bench.now);
        assert_eq!(bench.actions(), [later(1, 1)], "but never none");
    }
}

#[test]
fn nobody_answers() {
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    assert_eq!(bench.timer(60), [away(2), Cancel { call: Call(1) }]);
    assert_eq!(bench.push([3]), [], "one invitation at a time");
    assert_eq!(bench.rejected(1, 487), [away(1), invite(2, Service::Session, Some(3))]);
    assert_eq!(bench.timer(60), [Cancel { call: Call(2) }]);
    assert_eq!(bench.answered(2), [Confirmed { id: 3 }, bye(2)], "the answer was on its way");
    assert_eq!(bench.ended(2), []);
    bench.push([4]);
    bench.timer(60);
    assert_eq!(bench.timer(32), [away(4)], "no final response at all");
    assert!(bench.leg.is_done());
}

#[test]
fn a_receipt_confirms_before_anything_else_does() {
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    bench.leg.handle_delivered(1, bench.now);
    assert_eq!(bench.actions(), [Confirmed { id: 1 }]);
    assert_eq!(bench.rejected(1, 486), [later(2, 1)], "the user has it, and would not talk");
    let mut bench = Bench::open(CPM);
    bench.push(1..=5);
    for id in [1, 5, 5, 77] {
        bench.leg.handle_delivered(id, bench.now);
    }
    assert_eq!(bench.actions(), [Confirmed { id: 1 }, send(1, 4), Confirmed { id: 5 }]);
    assert_eq!(bench.confirmed(1), [], "it is confirmed once");
}

#[test]
fn of_calls_that_cross_that_of_the_device_lives() {
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    assert_eq!(bench.incoming(), [Cancel { call: Call(1) }, Accept { call: Call(2) }]);
    assert_eq!(bench.rejected(1, 486), []);
    assert_eq!(bench.bound(2), [send(2, 1), send(2, 2)]);
    assert_eq!(bench.answered(1), [bye(1)], "an answer to a call that is given up");
}

#[test]
fn a_device_that_moves_is_called_again_at_once() {
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    assert_eq!(bench.moved(), [Cancel { call: Call(1) }, invite(2, Service::Session, Some(1))]);
    assert_eq!(bench.rejected(1, 408), [], "of the old flow");
    assert_eq!(bench.answered(2), [Confirmed { id: 1 }]);
    assert_eq!(bench.moved(), [bye(2), invite(3, Service::Session, Some(2))], "MSRP is not up");
    bench.answered(3);
    bench.bound(3);
    bench.push([3]);
    assert_eq!(bench.moved(), [], "MSRP has a connection of its own");
    bench.confirmed(3);
    assert_eq!(bench.timer(300), [bye(3)]);
    assert_eq!(bench.push([4]), [], "the old call is being ended");
    assert_eq!(bench.moved(), [invite(4, Service::Session, Some(4))]);
    assert_eq!(bench.timer(60), [Cancel { call: Call(4) }]);
    assert_eq!(bench.moved(), [invite(5, Service::Session, Some(4))], "nor is the end of an invitation waited for");
    let mut bench = Bench::new(CPM);
    bench.incoming();
    bench.push([1]);
    assert_eq!(bench.moved(), [], "it has called over the new flow");
    assert_eq!(bench.bound(1), [send(1, 1)]);
    let mut bench = Bench::new(PAGER);
    bench.push([1]);
    assert_eq!(bench.moved(), [], "a MESSAGE has an end of its own");
}

#[test]
fn a_new_call_takes_the_place_of_the_old_one() {
    let mut bench = Bench::open(CPM);
    bench.push(1..=4);
    bench.confirmed(2);
    assert_eq!(bench.incoming(), [bye(1), Accept { call: Call(2) }]);
    assert_eq!(bench.ended(1), []);
    assert_eq!(bench.bound(2), [send(2, 1), send(2, 3), send(2, 4)], "in their order");
    // What is still heard of the old one says nothing of the new one, but for good news.
    bench.leg.handle_lost(Call(1), 1, bench.now);
    bench.leg.handle_refused(Call(1), 1, 413, bench.now);
    assert_eq!(bench.confirmed(3), [Confirmed { id: 3 }]);
}

#[test]
fn what_was_not_confirmed_is_returned_when_the_session_breaks() {
    let mut bench = Bench::open(CPM);
    bench.push(1..=4);
    assert_eq!(bench.ended(1), (1..=4).map(|id| later(id, 1)).collect::<Vec<_>>());
    // Each time in a row the pause doubles, until something arrives.
    for (call, pause) in [(2, 2), (3, 4), (4, 8)] {
        bench.push([1]);
        bench.answered(call);
        bench.bound(call);
        assert_eq!(bench.ended(call), [later(1, pause)]);
    }
    bench.push([1]);
    bench.answered(5);
    bench.bound(5);
    bench.confirmed(1);
    assert_eq!(bench.ended(5), [], "nothing is lost");
    bench.push([2]);
    assert_eq!(bench.answered(6), []);
    assert_eq!(bench.timer(30), [later(2, 1), bye(6)], "MSRP never came up");
}

#[test]
fn what_msrp_says_of_a_message() {
    for code in [408, 481, 506] {
        let mut bench = Bench::open(CPM);
        bench.push([1, 2]);
        bench.leg.handle_refused(Call(1), 2, code, bench.now);
        assert_eq!(bench.actions(), [later(1, 1), later(2, 1), bye(1)], "{code}");
    }
    let mut bench = Bench::open(CPM);
    bench.push(1..=4);
    bench.leg.handle_refused(Call(1), 2, 413, bench.now);
    assert_eq!(bench.actions(), [Return { id: 2, why: Why::Refused(413) }, send(1, 4)]);
    bench.leg.handle_lost(Call(1), 3, bench.now);
    assert_eq!(bench.actions(), [later(1, 1), later(3, 1), later(4, 1), bye(1)]);
    bench.leg.handle_lost(Call(1), 3, bench.now);
    assert_eq!(bench.actions(), [], "once");
}

#[test]
fn a_session_that_confirms_nothing_is_ended() {
    let mut bench = Bench::open(CPM);
    bench.push([1]);
    assert_eq!(bench.timer(300), [later(1, 1), bye(1)]);
    assert_eq!(bench.timer(32), [], "nor is its end confirmed");
    assert!(bench.leg.is_done());
}

#[test]
fn what_the_device_says_keeps_the_session() {
    let mut bench = Bench::open(CPM);
    bench.now += Duration::from_secs(200);
    bench.leg.handle_activity(Call(1), bench.now);
    assert_eq!(bench.timer(300), [bye(1)]);
}

#[test]
fn receipts_need_no_session_and_wait_for_none() {
    let mut bench = Bench::new(SIMPLE);
    assert_eq!(bench.push_receipt(1), [Page { id: 1 }]);
    assert_eq!(bench.paged(1, 202), [Confirmed { id: 1 }]);
    bench.push([2]);
    assert_eq!(bench.push_receipt(3), [Page { id: 3 }], "while the device rings");
    bench.answered(1);
    bench.bound(1);
    assert_eq!(bench.push_receipt(4), [send(1, 4)], "a session takes them as well");
}

#[test]
fn a_device_that_is_gone_and_one_that_is_left() {
    let mut bench = Bench::new(SIMPLE);
    bench.push([1, 2]);
    bench.leg.handle_gone(bench.now);
    assert_eq!(bench.actions(), [Cancel { call: Call(1) }, away(1), away(2)]);
    assert_eq!(bench.rejected(1, 430), []);
    let mut bench = Bench::open(CPM);
    bench.push([1]);
    bench.leg.close(bench.now);
    assert_eq!(bench.actions(), [bye(1), later(1, 0)]);
}
