//! Delivery of one pager-mode MESSAGE to every device of its recipient (RFC 3428 §7).
//!
//! The sender gets one final answer: the first device's 2xx, or 202 once the message is stored because nobody took
//! it, or the best refusal. Devices that may miss it while another takes it are not served so: what they get goes through
//! the queue (decision 0046).

use std::collections::VecDeque;

use smallvec::SmallVec;

/// What one device made of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Took,
    /// It may take it later: 408, 430, 480, most 5xx, timeouts and dead flows.
    Away,
    /// It will not take it: any other final response.
    Refused,
}

impl Outcome {
    /// Reads a final response code; a timeout counts as 408, a dead flow as 430.
    pub fn of(status: u16) -> Outcome {
        match status {
            200..300 => Outcome::Took,
            // 491 and 486 are answers of phones that are busy right now.
            408 | 430 | 480 | 486 | 491 => Outcome::Away,
            501 | 505 | 513 | 580 => Outcome::Refused,
            500..600 => Outcome::Away,
            _ => Outcome::Refused,
        }
    }
}

/// What the caller has to do; see [`Delivery::poll_action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pass the final response of this device to the sender.
    Forward { device: usize },
    /// Answer the sender with a code of our own.
    Answer { status: u16 },
    /// Keep the message for whichever device of the recipient comes next, then call [`Delivery::stored`].
    Store,
    /// The message was stored, and this device took it after all: remove it from the store as delivered.
    Withdraw { device: usize },
}

/// ```text
/// Trying ──a 2xx──▶ Taken
///    ├──nobody took it, one is away; or the deadline──▶ Storing ──on disk──▶ Stored ──late 2xx──▶ Withdrawn
///    │                                               ┌────▲└──store failed──▶ Failed
///    └──all refuse──▶ Failed                         │    │
///            Storing, for several ──on disk──▶ Waiting ───┴──one took it from the queue, or the deadline──▶ Stored
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    Taken,
    Storing,
    /// It is in the queue; the answer waits for the first device that takes it from there.
    Waiting,
    Stored,
    Withdrawn,
    Failed,
}

/// The devices of one recipient and what they said.
#[derive(Debug)]
pub struct Delivery {
    state: State,
    /// What each said.
    devices: SmallVec<[Option<(Outcome, u16)>; 2]>,
    /// Whether the message may be kept at all.
    storable: bool,
    /// A device that took the message while the write was under way.
    late: Option<usize>,
    /// Somebody is there to take it from the queue soon.
    awaited: bool,
    actions: VecDeque<Action>,
}

impl Delivery {
    /// To so many devices. Without any the message is stored, or refused with 480 where it is not `storable`.
    pub fn new(devices: usize, storable: bool) -> Delivery {
        let devices = std::iter::repeat_n(None, devices).collect();
        let actions = VecDeque::new();
        let mut delivery = Delivery { state: State::Trying, devices, storable, late: None, awaited: false, actions };
        delivery.conclude();
        delivery
    }

    /// By way of the queue, whose order is that of each device. `awaited`: one that is there is about to take it; then the
    /// answer waits for [`Delivery::taken`] until the deadline.
    pub fn queued(awaited: bool) -> Delivery {
        Delivery { awaited, ..Delivery::new(0, true) }
    }

    /// Whether [`Delivery::taken`] is waited for.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// A device has taken it from the queue, or none will soon.
    pub fn taken(&mut self, is_taken: bool) {
        if self.state == State::Waiting {
            self.state = State::Stored;
            self.actions.push_back(Action::Answer { status: if is_taken { 200 } else { 202 } });
        }
    }

    /// Takes the final response of a device, or 408 and 430 for a timeout and a dead flow.
    pub fn handle_response(&mut self, device: usize, status: u16) {
        let Some(entry) = self.devices.get_mut(device).filter(|said| said.is_none()) else { return };
        let outcome = Outcome::of(status);
        *entry = Some((outcome, status));
        match (self.state, outcome) {
            (State::Trying, Outcome::Took) => {
                self.state = State::Taken;
                self.actions.push_back(Action::Forward { device });
            }
            (State::Trying, _) => self.conclude(),
            (State::Storing, Outcome::Took) => self.late = self.late.or(Some(device)),
            (State::Stored, Outcome::Took) => {
                self.state = State::Withdrawn;
                self.actions.push_back(Action::Withdraw { device });
            }
            _ => {}
        }
    }

    /// The sender must be answered now, before its transaction ends; devices that have not answered count as away.
    pub fn handle_deadline(&mut self) {
        if self.state == State::Trying {
            self.give_up_waiting();
        }
        // A write that takes so long is answered when it ends.
        self.awaited = false;
        self.taken(false);
    }

    /// The write asked for by [`Action::Store`] has ended: `Ok`, or the code that says why not.
    pub fn stored(&mut self, result: Result<(), u16>) {
        if self.state != State::Storing {
            return;
        }
        match (result, self.late) {
            (Ok(()), _) if self.awaited => self.state = State::Waiting,
            (Ok(()), late) => {
                self.state = State::Stored;
                self.actions.push_back(Action::Answer { status: 202 });
                if let Some(device) = late {
                    self.state = State::Withdrawn;
                    self.actions.push_back(Action::Withdraw { device });
                }
            }
            (Err(_), Some(device)) => {
                self.state = State::Taken;
                self.actions.push_back(Action::Forward { device });
            }
            (Err(status), None) => {
                self.state = State::Failed;
                self.actions.push_back(Action::Answer { status });
            }
        }
    }

    /// What to do next; call until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Every device has answered and the sender has too.
    pub fn is_done(&self) -> bool {
        !matches!(self.state, State::Trying | State::Storing | State::Waiting)
            && self.actions.is_empty()
            && self.devices.iter().all(Option::is_some)
    }

    /// Once no device is left to wait for: store, or pass the best refusal on.
    fn conclude(&mut self) {
        if self.devices.iter().any(Option::is_none) {
            return;
        }
        let away = self.devices.is_empty() || self.devices.iter().flatten().any(|(said, _)| *said == Outcome::Away);
        if away {
            self.give_up_waiting();
            return;
        }
        self.state = State::Failed;
        // The lowest class wins, 6xx before all (RFC 3261 §16.7 step 6).
        let best = (0..self.devices.len()).min_by_key(|i| {
            let status = self.devices[*i].map_or(0, |(_, status)| status);
            if status >= 600 { 0 } else { status }
        });
        if let Some(device) = best {
            self.actions.push_back(Action::Forward { device });
        }
    }

    fn give_up_waiting(&mut self) {
        if self.storable {
            self.state = State::Storing;
            self.actions.push_back(Action::Store);
        } else {
            self.state = State::Failed;
            self.actions.push_back(Action::Answer { status: 480 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(delivery: &mut Delivery) -> Vec<Action> {
        std::iter::from_fn(|| delivery.poll_action()).collect()
    }

    #[test]
    fn the_first_device_answers_the_sender() {
        let mut delivery = Delivery::new(2, true);
        delivery.handle_response(1, 200);
        assert_eq!(actions(&mut delivery), [Action::Forward { device: 1 }]);
        assert!(!delivery.is_done());
        delivery.handle_response(0, 200);
        assert!(delivery.is_done());
    }

    #[test]
    fn nobody_there_means_stored_before_the_answer() {
        for statuses in [vec![], vec![408], vec![480, 415], vec![503, 430]] {
            let mut delivery = Delivery::new(statuses.len(), true);
            for (device, status) in statuses.iter().enumerate() {
                delivery.handle_response(device, *status);
            }
            assert_eq!(actions(&mut delivery), [Action::Store], "{statuses:?}");
            delivery.stored(Ok(()));
            assert_eq!(actions(&mut delivery), [Action::Answer { status: 202 }]);
            assert!(delivery.is_done());
        }
    }

    #[test]
    fn a_write_that_fails_is_never_accepted() {
        let mut delivery = Delivery::new(0, true);
        assert_eq!(actions(&mut delivery), [Action::Store]);
        delivery.stored(Err(500));
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 500 }]);
    }

    #[test]
    fn all_refuse() {
        for (statuses, best) in [([415, 403], 1), ([404, 603], 1), ([488, 488], 0)] {
            let mut delivery = Delivery::new(2, true);
            delivery.handle_response(0, statuses[0]);
            delivery.handle_response(1, statuses[1]);
            assert_eq!(actions(&mut delivery), [Action::Forward { device: best }], "{statuses:?}");
        }
    }

    #[test]
    fn a_late_answer_takes_the_message_out_of_the_store() {
        let mut delivery = Delivery::new(1, true);
        delivery.handle_deadline();
        assert_eq!(actions(&mut delivery), [Action::Store]);
        delivery.stored(Ok(()));
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 202 }]);
        delivery.handle_response(0, 200);
        assert_eq!(actions(&mut delivery), [Action::Withdraw { device: 0 }]);

        let mut delivery = Delivery::new(1, true);
        delivery.handle_deadline();
        delivery.handle_response(0, 200);
        delivery.stored(Ok(()));
        assert_eq!(
            actions(&mut delivery),
            [Action::Store, Action::Answer { status: 202 }, Action::Withdraw { device: 0 }]
        );

        let mut delivery = Delivery::new(1, true);
        delivery.handle_deadline();
        delivery.handle_response(0, 200);
        delivery.stored(Err(500));
        assert_eq!(actions(&mut delivery), [Action::Store, Action::Forward { device: 0 }]);
    }

    #[test]
    fn the_answer_waits_for_the_first_of_several_devices() {
        let stored = |awaited| {
            let mut delivery = Delivery::queued(awaited);
            assert_eq!(actions(&mut delivery), [Action::Store]);
            delivery.stored(Ok(()));
            delivery
        };
        assert_eq!(actions(&mut stored(false)), [Action::Answer { status: 202 }]);
        for (taken, status) in [(Some(true), 200), (Some(false), 202), (None, 202)] {
            let mut delivery = stored(true);
            assert!(actions(&mut delivery).is_empty() && delivery.is_waiting() && !delivery.is_done());
            match taken {
                Some(taken) => delivery.taken(taken),
                None => delivery.handle_deadline(),
            }
            delivery.taken(true);
            assert_eq!(actions(&mut delivery), [Action::Answer { status }], "{taken:?}");
            assert!(delivery.is_done());
        }
        // A write that ends behind the deadline.
        for (written, status) in [(Ok(()), 202), (Err(503), 503)] {
            let mut delivery = Delivery::queued(true);
            delivery.handle_deadline();
            delivery.stored(written);
            assert_eq!(actions(&mut delivery), [Action::Store, Action::Answer { status }]);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let mut delivery = Delivery::new(0, false);
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 480 }]);
        let mut delivery = Delivery::new(2, false);
        delivery.handle_response(0, 200);
        delivery.handle_response(1, 408);
        assert_eq!(actions(&mut delivery), [Action::Forward { device: 0 }]);
    }
}
