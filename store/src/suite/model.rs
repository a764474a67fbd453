//! Random operations on a store and on plain maps that say what should come of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{binding, message, queue::wanted};
use crate::{DeviceCopy, NewMessage, Outcome, QueuedMessage, Receipt, ReceiptState, Revision, Stores, Write};

const USERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Recipient, device, expiry in hours from the start.
    Append(Vec<(usize, Option<u8>, u64)>),
    /// Which of those that wait (by position, wrapping), how, and whether a receipt is appended with it.
    Settle(Vec<usize>, Outcome, bool),
    Pending(usize, Option<u8>, usize),
    Expire(u64),
    Bind(usize, Vec<u8>, bool),
    Save(Vec<(usize, Vec<u8>)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || prop::option::of(0..3u8);
    let outcome = prop_oneof![Just(Outcome::Delivered), Just(Outcome::Refused)];
    let bindings = || prop::collection::vec(0..5u8, 0..3);
    prop::collection::vec(
        prop_oneof![
            3 => prop::collection::vec((0..USERS, device(), 1..50u64), 1..40).prop_map(Step::Append),
            3 => (prop::collection::vec(any::<usize>(), 1..20), outcome, any::<bool>())
                .prop_map(|(which, outcome, receipt)| Step::Settle(which, outcome, receipt)),
            2 => (0..USERS, device(), 1..10usize).prop_map(|(user, device, limit)| Step::Pending(user, device, limit)),
            1 => (1..50u64).prop_map(Step::Expire),
            2 => (0..USERS, bindings(), any::<bool>()).prop_map(|(user, to, stale)| Step::Bind(user, to, stale)),
            1 => prop::collection::vec((0..USERS, bindings()), 1..5).prop_map(Step::Save),
        ],
        1..60,
    )
}

#[derive(Default)]
struct Model {
    queue: BTreeMap<u64, QueuedMessage>,
    bindings: BTreeMap<usize, (Revision, Vec<u8>)>,
    receipts: BTreeSet<Box<str>>,
    accepted: u64,
}

fn user(n: usize) -> String {
    format!("user{n}@d")
}

fn bound(to: &[u8]) -> Vec<chappe_sip::registrar::Binding> {
    to.iter().map(|n| binding(&n.to_string(), 2_000)).collect()
}

pub(super) async fn random_operations_agree_with_the_model(stores: &Stores) {
    let seed = std::env::var("CHAPPE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64));
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let steps = steps().new_tree(&mut TestRunner::new(config)).unwrap().current();
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        model.take(stores, step).await;
        let depth: u64 = model.queue.len() as u64;
        let counts = stores.fates.counts().await.unwrap();
        let context = format!("CHAPPE_SEED={seed}, step {at} {step:?}: {counts:?}");
        assert!(counts.balanced() && counts.stored == depth && counts.accepted == model.accepted, "{context}");
        for n in 0..USERS {
            let mine = || model.queue.values().filter(|message| *message.recipient == *user(n));
            let depth = stores.queue.depth(&user(n)).await.unwrap();
            let bytes: usize = mine().map(QueuedMessage::size).sum();
            assert_eq!((depth.count, depth.bytes), (mine().count() as u64, bytes as u64), "{context}");
        }
    }
}

impl Model {
    async fn take(&mut self, stores: &Stores, step: &Step) {
        match step {
            Step::Append(batch) => {
                let one = |(n, device, hours): &(usize, Option<u8>, u64)| {
                    let device = device.map(|device| device.to_string());
                    let text = format!("text {n} {hours}");
                    NewMessage { expires_at: hours * 3600, ..message(&user(*n), device.as_deref(), &text) }
                };
                self.append(stores, Write { append: batch.iter().map(one).collect(), ..Write::default() }).await;
            }
            Step::Settle(which, outcome, receipt) => {
                let waiting: Vec<u64> = self.queue.keys().copied().collect();
                if waiting.is_empty() {
                    return;
                }
                let chosen = which.iter().map(|at| &self.queue[&waiting[at % waiting.len()]]);
                let settle: Vec<_> = chosen.map(|message| message.settled(*outcome, None, 200, 1)).collect();
                let append = settle.iter().filter(|_| *receipt).map(|settlement| NewMessage {
                    once: Some(Receipt {
                        message_id: settlement.id.to_string().into(),
                        sender: "alice@d".into(),
                        recipient: settlement.recipient.clone(),
                        state: ReceiptState::Delivered,
                    }),
                    ..message(&user(0), None, "receipt")
                });
                let append = append.collect();
                // What waits for any device stays for two more; some are settled twice, and have their copies once.
                let originals = settle.iter().filter(|settled| self.queue[&settled.id].device.is_none());
                let copies = originals.flat_map(|settled| {
                    ["0", "1"].map(|device| DeviceCopy {
                        of: settled.id,
                        message: NewMessage {
                            expires_at: self.queue[&settled.id].expires_at,
                            ..message(&settled.recipient, Some(device), "copy")
                        },
                    })
                });
                let copies = copies.filter(|_| *receipt).collect();
                self.append(stores, Write { append, settle, copies, ..Write::default() }).await;
            }
            Step::Pending(n, device, limit) => {
                let device = device.map(|device| device.to_string());
                let asked = wanted(&user(*n), device.as_deref(), 0);
                let found = stores.queue.pending(&[asked], *limit).await.unwrap().remove(0);
                let fits = |message: &&QueuedMessage| {
                    *message.recipient == *user(*n)
                        && (device.is_none()
                            || message.device.is_none()
                            || message.device.as_deref() == device.as_deref())
                };
                let expected: Vec<_> = self.queue.values().filter(fits).take(*limit).cloned().collect();
                assert_eq!(found, expected);
            }
            Step::Expire(hours) => {
                let mut due = stores.queue.expired(hours * 3600, 1_000_000).await.unwrap();
                due.sort_by_key(|message| message.id);
                let over = self.queue.values().filter(|message| message.expires_at <= hours * 3600);
                assert_eq!(due, over.cloned().collect::<Vec<_>>());
                let settle = due.iter().map(|message| message.settled(Outcome::Expired, None, 0, 1)).collect();
                self.append(stores, Write { settle, ..Write::default() }).await;
            }
            Step::Bind(n, to, stale) => {
                let (seen, bindings) = stores.locations.bindings(&user(*n)).await.unwrap();
                let expected = self.bindings.get(n).cloned().unwrap_or_default();
                assert_eq!(bindings, bound(&expected.1));
                let seen = if *stale { Revision(seen.0 + 1) } else { seen };
                match stores.locations.replace(&user(*n), seen, &bound(to)).await {
                    Ok(revision) => {
                        assert!(!stale && (revision > seen || to.is_empty()));
                        self.bindings.insert(*n, (revision, to.clone()));
                    }
                    Err(_) => assert!(stale),
                }
            }
            Step::Save(batch) => {
                let rows = batch.iter().map(|(n, to)| (user(*n).into(), bound(to))).collect();
                stores.locations.save(rows).await.unwrap();
                self.bindings.extend(batch.iter().map(|(n, to)| (*n, (Revision::NONE, to.clone()))));
            }
        }
    }

    async fn append(&mut self, stores: &Stores, write: Write) {
        let written = stores.queue.write(write.clone()).await.unwrap();
        for (settlement, there) in write.settle.iter().zip(written.settled) {
            assert_eq!(self.queue.remove(&settlement.id).is_some(), there);
        }
        for (copy, id) in write.copies.into_iter().zip(written.copies) {
            let id = id.expect("what it is a copy of was there");
            // Behind its original, and before what came after that.
            assert!(copy.of < id && self.queue.range(copy.of..id).all(|(_, other)| *other.body == *b"copy"));
            self.accepted += 1;
            assert_eq!(self.queue.insert(id, queued(id, copy.message)), None);
        }
        for (new, id) in write.append.into_iter().zip(written.ids) {
            let fresh = new.once.as_ref().is_none_or(|receipt| self.receipts.insert(receipt.message_id.clone()));
            assert_eq!(id.is_some(), fresh);
            let Some(id) = id else { continue };
            self.accepted += 1;
            assert!(self.queue.keys().next_back().is_none_or(|last| *last < id));
            self.queue.insert(id, queued(id, new));
        }
    }
}

/// What is to wait.
pub(super) fn queued(id: u64, new: NewMessage) -> QueuedMessage {
    QueuedMessage {
        id,
        recipient: new.recipient,
        device: new.device,
        sender: new.sender,
        message_id: new.message_id,
        call_id: new.call_id,
        headers: new.headers,
        body: new.body,
        accepted_ms: new.accepted_ms,
        expires_at: new.expires_at,
        wants: new.wants,
    }
}
