//! Latencies in logarithmic buckets: 32 to each power of two of a microsecond, so within 3 % of the truth.

use std::time::Duration;

const SUB: u32 = 5;
const BUCKETS: usize = ((64 - SUB as usize) + 1) << SUB;

/// A set of latencies; merging two loses nothing.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

fn bucket(micros: u64) -> usize {
    if micros < 1 << SUB {
        return micros as usize;
    }
    let shift = 63 - micros.leading_zeros() - SUB;
    (((shift + 1) as usize) << SUB) + ((micros >> shift) as usize & ((1 << SUB) - 1))
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    let (row, column) = (bucket >> SUB, bucket as u64 & ((1 << SUB) - 1));
    match row {
        0 => column,
        row => ((((1 << SUB) + column + 1) as u128) << (row - 1)).saturating_sub(1).min(u128::from(u64::MAX)) as u64,
    }
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that a share `q` (0 to 1) of all does not exceed; zero when empty.
    pub fn quantile(&self, q: f64) -> Duration {
        let wanted = ((self.total as f64 * q).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(top(at).min(self.max));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_three_percent() {
        let mut previous = 0;
        for micros in (0..64).chain((6..63).flat_map(|n| [1u64 << n, (1 << n) + 1, (1 << n) * 3 / 2])).chain([u64::MAX])
        {
            let at = bucket(micros);
            assert!(at >= previous || micros < 1 << 40, "order at {micros}");
            previous = at.max(previous);
            assert!(at < BUCKETS && top(at) >= micros, "{micros} in {at} up to {}", top(at));
            assert!(top(at) as f64 <= micros as f64 * 1.04 + 1.0, "{micros} in {at} up to {}", top(at));
        }
    }

    #[test]
    fn quantiles() {
        let mut all = Histogram::default();
        for n in 1..=1000 {
            all.record(Duration::from_micros(n * 100));
        }
        for (q, micros) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let got = all.quantile(q).as_micros() as f64;
            assert!((got - micros).abs() <= micros * 0.04, "{q}: {got}");
        }
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
