use super::*;
use crate::Receipt;
use proptest::prelude::*;

#[expect(clippy::disallowed_methods, reason = "some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn document(from: &str, disposition: Disposition, status: Status) -> Vec<u8> {
    let receipt = Receipt::new(from, "sip:s@b", "M", "2026", (disposition, status)).unwrap();
    receipt.notification().to_xml().into_bytes()
}

const DELIVERED: (Disposition, Status) = (Disposition::Delivery, Status::Delivered);
const FAILED: (Disposition, Status) = (Disposition::Delivery, Status::Failed);
const DISPLAYED: (Disposition, Status) = (Disposition::Display, Status::Displayed);

/// A message to a, b and c, and what came of it.
struct Bench {
    start: Instant,
    aggregator: Aggregator,
}

impl Bench {
    fn new(wanted: &str, disclosure: Disclosure) -> Self {
        let mut asked = Dispositions::default();
        asked.add(wanted);
        let config = AggregatorConfig { batch: secs(5), lifetime: secs(100), max_waiting: 2000, disclosure };
        let start = epoch();
        let aggregator = Aggregator::new(("M", "2026"), asked, ["a", "b", "c"], config, start);
        Self { start, aggregator }
    }

    fn hear(&mut self, second: u64, from: &str, (disposition, status): (Disposition, Status)) -> Taken {
        let document = document(from, disposition, status);
        self.aggregator.handle_notification(from, &document, self.start + secs(second)).unwrap()
    }

    fn wait(&mut self, second: u64) -> &mut Self {
        self.aggregator.handle_timeout(self.start + secs(second));
        self
    }

    /// The batches that are due, each as `who status`.
    fn batches(&mut self) -> Vec<Vec<String>> {
        let batches = std::iter::from_fn(|| self.aggregator.poll_batch());
        let say = |document: Vec<u8>| {
            let seen = Notification::parse(&document).unwrap();
            format!("{} {}", seen.recipient.as_deref().unwrap_or("?"), seen.status.element())
        };
        batches.map(|batch| batch.into_iter().map(say).collect()).collect()
    }
}

#[test]
fn all_together_when_all_have_told() {
    let mut bench = Bench::new("positive-delivery, display", Disclosure::Members);
    assert_eq!(bench.aggregator.poll_timeout(), Some(bench.start + secs(100)));
    assert_eq!(bench.hear(1, "a", DELIVERED), Taken::Kept);
    assert_eq!(bench.aggregator.poll_timeout(), Some(bench.start + secs(6)));
    bench.hear(2, "b", DELIVERED);
    assert!(bench.batches().is_empty());
    bench.hear(3, "c", DELIVERED);
    assert_eq!(bench.batches(), [["a delivered", "b delivered", "c delivered"]]);
    assert!(!bench.aggregator.is_complete());
    for name in ["c", "b", "a"] {
        bench.hear(4, name, DISPLAYED);
    }
    assert_eq!(bench.batches(), [["c displayed", "b displayed", "a displayed"]]);
    assert!(bench.aggregator.is_complete() && !bench.aggregator.is_over());
}

#[test]
fn the_first_timer_sends_what_there_is() {
    let mut bench = Bench::new("positive-delivery, display", Disclosure::Members);
    bench.hear(1, "a", DELIVERED);
    bench.hear(3, "a", DISPLAYED);
    assert!(bench.wait(5).batches().is_empty());
    assert_eq!(bench.wait(6).batches(), [["a delivered", "a displayed"]]);
    assert!(bench.wait(20).batches().is_empty());
    bench.hear(30, "b", DELIVERED);
    assert_eq!(bench.wait(35).batches(), [["b delivered"]]);
}

#[test]
fn the_second_timer_forgets_the_message() {
    let mut bench = Bench::new("positive-delivery", Disclosure::Members);
    bench.hear(98, "a", DELIVERED);
    assert_eq!(bench.aggregator.poll_timeout(), Some(bench.start + secs(100)));
    assert_eq!(bench.wait(100).batches(), [["a delivered"]]);
    assert!(bench.aggregator.is_over());
    assert_eq!(bench.aggregator.poll_timeout(), None);
    assert_eq!(bench.hear(101, "b", DELIVERED), Taken::Late);
    assert!(bench.batches().is_empty());
}

#[test]
fn a_late_word_is_late_also_when_no_timer_fired() {
    let mut bench = Bench::new("positive-delivery", Disclosure::Members);
    assert_eq!(bench.hear(100, "a", DELIVERED), Taken::Late);
}

#[test]
fn who_never_got_it_will_not_display_it() {
    let mut bench = Bench::new("negative-delivery, display", Disclosure::Members);
    bench.hear(1, "a", FAILED);
    bench.hear(1, "b", DISPLAYED);
    bench.hear(2, "c", DISPLAYED);
    assert_eq!(bench.batches(), [["a failed", "b displayed", "c displayed"]]);
    assert!(bench.aggregator.is_complete());
}

#[test]
fn what_is_swallowed() {
    let mut bench = Bench::new("display, negative-delivery", Disclosure::Members);
    assert_eq!(bench.hear(1, "a", DELIVERED), Taken::Unasked);
    assert_eq!(bench.hear(1, "a", FAILED), Taken::Repeated, "one of each kind");
    assert_eq!(bench.hear(1, "a", DISPLAYED), Taken::Kept);
    assert_eq!(bench.hear(1, "a", DISPLAYED), Taken::Repeated);
    assert_eq!(bench.hear(1, "d", DISPLAYED), Taken::Foreign);
    let other = Receipt::displayed("b", "sip:s@b", "N", "2026").notification().to_xml();
    let now = bench.start + secs(1);
    assert_eq!(bench.aggregator.handle_notification("b", other.as_bytes(), now), Ok(Taken::Foreign));
    assert_eq!(bench.aggregator.handle_notification("b", b"<imdn/>", now), Err(XmlError::Missing("message-id")));
    assert_eq!(bench.wait(6).batches(), [["a displayed"]]);
}

#[test]
fn no_more_waits_than_allowed() {
    let mut bench = Bench::new("positive-delivery", Disclosure::Members);
    let long = document(&"x".repeat(1500), Disposition::Delivery, Status::Delivered);
    bench.aggregator.handle_notification("a", &long, bench.start).unwrap();
    assert_eq!(bench.batches().len(), 1);
}

#[test]
fn members_are_not_told_of() {
    let mut bench = Bench::new("positive-delivery", Disclosure::Count);
    for name in ["a", "b", "c"] {
        bench.hear(1, name, DELIVERED);
    }
    assert_eq!(bench.batches(), [["? delivered", "? delivered", "? delivered"]]);
}

#[test]
fn nor_is_their_number() {
    let mut bench = Bench::new("positive-delivery, negative-delivery", Disclosure::Nothing);
    bench.hear(1, "a", DELIVERED);
    bench.hear(2, "b", DELIVERED);
    assert!(bench.wait(50).batches().is_empty());
    bench.hear(60, "c", FAILED);
    assert_eq!(bench.batches(), [["? delivered", "? failed"]]);
    assert!(bench.aggregator.is_over());

    let mut bench = Bench::new("positive-delivery", Disclosure::Nothing);
    bench.hear(1, "a", DELIVERED);
    assert_eq!(bench.wait(100).batches(), [["? delivered"]]);
}

proptest! {
    /// Whatever comes in whatever order, each thing that was kept is sent once.
    #[test]
    fn nothing_is_lost_or_doubled(words in proptest::collection::vec((0_usize..4, 0_usize..3, 0_u64..6), 0..40)) {
        let mut bench = Bench::new("positive-delivery, negative-delivery, display", Disclosure::Members);
        let (mut second, mut kept, mut sent) = (0, Vec::new(), Vec::new());
        for (who, what, later) in words {
            second += later;
            let (name, what) = (["a", "b", "c", "d"][who], [DELIVERED, FAILED, DISPLAYED][what]);
            if bench.hear(second, name, what) == Taken::Kept {
                kept.push(format!("{name} {}", what.1.element()));
            }
            sent.extend(bench.batches().concat());
        }
        sent.extend(bench.wait(1000).batches().concat());
        prop_assert_eq!(&sent, &kept);
        let mut kinds: Vec<_> = kept.iter().map(|one| one.replace("failed", "delivered")).collect();
        kinds.sort();
        kinds.dedup();
        prop_assert_eq!(kinds.len(), kept.len());
    }
}
