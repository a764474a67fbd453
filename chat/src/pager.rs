//! Delivery of one pager-mode MESSAGE to every device of its recipient (RFC 3428 §7).
//!
//! The sender gets one final answer: the first device's 2xx, or 202 once the message is stored because nobody took
//! it, or the best refusal. Each device has an outcome of its own; one that is away while another took the message
//! gets a copy kept for it.

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

#[derive(Debug, Clone, Copy)]
struct Device {
    /// Whether a copy may wait for it: it has a name that outlives its address.
    keeps: bool,
    outcome: Option<(Outcome, u16)>,
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
    /// Keep a copy for this device.
    StoreFor { device: usize },
    /// The message was stored, and this device took it after all: remove it from the store as delivered.
    Withdraw { device: usize },
}

/// ```text
/// Trying ──a 2xx──▶ Taken
///    ├──nobody took it, one is away; or the deadline──▶ Storing ──on disk──▶ Stored ──late 2xx──▶ Withdrawn
///    │                                                    └──store failed──▶ Failed
///    └──all refuse──▶ Failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    Taken,
    Storing,
    Stored,
    Withdrawn,
    Failed,
}

/// The devices of one recipient and what they said.
#[derive(Debug)]
pub struct Delivery {
    state: State,
    devices: SmallVec<[Device; 2]>,
    /// Whether the message may be kept at all.
    storable: bool,
    /// A device that took the message while the write was under way.
    late: Option<usize>,
    actions: VecDeque<Action>,
}

impl Delivery {
    /// `keeps` has a value for each device: whether a copy may wait for it by name. Without any device the message is
    /// stored, or refused with 480 where it is not `storable`.
    pub fn new(keeps: impl IntoIterator<Item = bool>, storable: bool) -> Delivery {
        let devices = keeps.into_iter().map(|keeps| Device { keeps, outcome: None }).collect();
        let mut delivery = Delivery { state: State::Trying, devices, storable, late: None, actions: VecDeque::new() };
        delivery.conclude();
        delivery
    }

    /// Takes the final response of a device, or 408 and 430 for a timeout and a dead flow.
    pub fn handle_response(&mut self, device: usize, status: u16) {
        let Some(entry) = self.devices.get_mut(device).filter(|d| d.outcome.is_none()) else { return };
        let outcome = Outcome::of(status);
        entry.outcome = Some((outcome, status));
        match (self.state, outcome) {
            (State::Trying, Outcome::Took) => {
                self.state = State::Taken;
                self.actions.push_back(Action::Forward { device });
                self.keep_for_the_others();
            }
            (State::Trying, _) => self.conclude(),
            (State::Taken | State::Withdrawn, Outcome::Away) if entry.keeps && self.storable => {
                self.actions.push_back(Action::StoreFor { device });
            }
            (State::Storing, Outcome::Took) => self.late = self.late.or(Some(device)),
            (State::Stored, Outcome::Took) => {
                self.state = State::Withdrawn;
                self.actions.push_back(Action::Withdraw { device });
                self.keep_for_the_others();
            }
            _ => {}
        }
    }

    /// The sender must be answered now, before its transaction ends; devices that have not answered count as away.
    pub fn handle_deadline(&mut self) {
        if self.state == State::Trying {
            self.give_up_waiting();
        }
    }

    /// The write asked for by [`Action::Store`] has ended: `Ok`, or the code that says why not.
    pub fn stored(&mut self, result: Result<(), u16>) {
        if self.state != State::Storing {
            return;
        }
        match (result, self.late) {
            (Ok(()), late) => {
                self.state = State::Stored;
                self.actions.push_back(Action::Answer { status: 202 });
                if let Some(device) = late {
                    self.state = State::Withdrawn;
                    self.actions.push_back(Action::Withdraw { device });
                    self.keep_for_the_others();
                }
            }
            (Err(_), Some(device)) => {
                self.state = State::Taken;
                self.actions.push_back(Action::Forward { device });
                self.keep_for_the_others();
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
        !matches!(self.state, State::Trying | State::Storing)
            && self.actions.is_empty()
            && self.devices.iter().all(|d| d.outcome.is_some())
    }

    /// One device has the message; those that are away and have a name get a copy each.
    fn keep_for_the_others(&mut self) {
        for (device, other) in self.devices.iter().enumerate() {
            if matches!(other.outcome, Some((Outcome::Away, _))) && other.keeps && self.storable {
                self.actions.push_back(Action::StoreFor { device });
            }
        }
    }

    /// Once no device is left to wait for: store, or pass the best refusal on.
    fn conclude(&mut self) {
        if self.devices.iter().any(|d| d.outcome.is_none()) {
            return;
        }
        let away =
            self.devices.is_empty() || self.devices.iter().any(|d| matches!(d.outcome, Some((Outcome::Away, _))));
        if away {
            self.give_up_waiting();
            return;
        }
        self.state = State::Failed;
        // The lowest class wins, 6xx before all (RFC 3261 §16.7 step 6).
        let best = (0..self.devices.len()).min_by_key(|i| {
            let status = self.devices[*i].outcome.map_or(0, |(_, status)| status);
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
        let mut delivery = Delivery::new([true, true], true);
        delivery.handle_response(1, 200);
        assert_eq!(actions(&mut delivery), [Action::Forward { device: 1 }]);
        assert!(!delivery.is_done());
        delivery.handle_response(0, 200);
        assert!(delivery.is_done());
    }

    #[test]
    fn a_device_that_is_away_gets_a_copy_when_another_took_it() {
        for order in [[0, 1], [1, 0]] {
            let mut delivery = Delivery::new([true, true], true);
            for device in order {
                delivery.handle_response(device, if device == 0 { 200 } else { 408 });
            }
            assert_eq!(actions(&mut delivery), [Action::Forward { device: 0 }, Action::StoreFor { device: 1 }]);
            assert!(delivery.is_done());
        }
        let mut delivery = Delivery::new([true, false], true);
        delivery.handle_response(0, 200);
        delivery.handle_response(1, 430);
        assert_eq!(actions(&mut delivery), [Action::Forward { device: 0 }], "a contact without a name gets none");
    }

    #[test]
    fn nobody_there_means_stored_before_the_answer() {
        for statuses in [vec![], vec![408], vec![480, 415], vec![503, 430]] {
            let mut delivery = Delivery::new(statuses.iter().map(|_| true), true);
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
        let mut delivery = Delivery::new([], true);
        assert_eq!(actions(&mut delivery), [Action::Store]);
        delivery.stored(Err(500));
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 500 }]);
    }

    #[test]
    fn all_refuse() {
        for (statuses, best) in [([415, 403], 1), ([404, 603], 1), ([488, 488], 0)] {
            let mut delivery = Delivery::new([true, true], true);
            delivery.handle_response(0, statuses[0]);
            delivery.handle_response(1, statuses[1]);
            assert_eq!(actions(&mut delivery), [Action::Forward { device: best }], "{statuses:?}");
        }
    }

    #[test]
    fn a_late_answer_takes_the_message_out_of_the_store() {
        let mut delivery = Delivery::new([true], true);
        delivery.handle_deadline();
        assert_eq!(actions(&mut delivery), [Action::Store]);
        delivery.stored(Ok(()));
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 202 }]);
        delivery.handle_response(0, 200);
        assert_eq!(actions(&mut delivery), [Action::Withdraw { device: 0 }]);

        let mut delivery = Delivery::new([true], true);
        delivery.handle_deadline();
        delivery.handle_response(0, 200);
        delivery.stored(Ok(()));
        assert_eq!(
            actions(&mut delivery),
            [Action::Store, Action::Answer { status: 202 }, Action::Withdraw { device: 0 }]
        );

        let mut delivery = Delivery::new([true], true);
        delivery.handle_deadline();
        delivery.handle_response(0, 200);
        delivery.stored(Err(500));
        assert_eq!(actions(&mut delivery), [Action::Store, Action::Forward { device: 0 }]);
    }

    #[test]
    fn a_late_answer_leaves_copies_for_the_devices_that_are_away() {
        let mut delivery = Delivery::new([true, true, true], true);
        delivery.handle_response(0, 480);
        delivery.handle_deadline();
        delivery.stored(Ok(()));
        delivery.handle_response(1, 200);
        delivery.handle_response(2, 408);
        let expected = [
            Action::Store,
            Action::Answer { status: 202 },
            Action::Withdraw { device: 1 },
            Action::StoreFor { device: 0 },
            Action::StoreFor { device: 2 },
        ];
        assert_eq!(actions(&mut delivery), expected);
        assert!(delivery.is_done());
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let mut delivery = Delivery::new([], false);
        assert_eq!(actions(&mut delivery), [Action::Answer { status: 480 }]);
        let mut delivery = Delivery::new([true, true], false);
        delivery.handle_response(0, 200);
        delivery.handle_response(1, 408);
        assert_eq!(actions(&mut delivery), [Action::Forward { device: 0 }]);
    }
}
