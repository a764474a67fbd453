//! Metrics in the Prometheus text format (version 0.0.4): typed, with help, in base units.
//!
//! What is counted here are plain atomics; what other parts count for themselves is written at scrape time through
//! [`Exposition`].

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

mod list;
mod process;

pub use list::*;

/// Type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The page in the making. A family begins with [`family`](Exposition::family); its samples follow.
#[derive(Default)]
pub struct Exposition {
    out: String,
    name: &'static str,
}

impl Exposition {
    pub fn new() -> Self {
        Exposition { out: String::with_capacity(16 * 1024), name: "" }
    }

    /// Begins a family. Names end in `_total` for counters, and before that in the unit where there is one.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        let help = help.trim().replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) -> &mut Self {
        self.write("", labels, value);
        self
    }

    fn write(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.out, "{}{name}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    pub fn finish(self) -> String {
        self.out
    }
}

/// Something that has samples.
pub trait Metric {
    const KIND: Kind;

    fn samples(&self, labels: &[(&str, &str)], out: &mut Exposition);
}

/// Only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Metric for Counter {
    const KIND: Kind = Kind::Counter;

    fn samples(&self, labels: &[(&str, &str)], out: &mut Exposition) {
        out.sample(labels, self.value());
    }
}

/// Rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Metric for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn samples(&self, labels: &[(&str, &str)], out: &mut Exposition) {
        out.sample(labels, self.value());
    }
}

/// Times, in buckets from 100 µs to 30 s, about three to each power of ten.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// Upper bounds in microseconds, and as they are printed, in seconds.
const BOUNDS: [(u64, &str); 17] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

impl Histogram {
    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| us <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

impl Metric for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn samples(&self, labels: &[(&str, &str)], out: &mut Exposition) {
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            sum += bucket.load(Relaxed);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
            out.write("_bucket", &labels, sum);
        }
        out.write("_sum", labels, self.sum_us.load(Relaxed) as f64 / 1e6);
        out.write("_count", labels, sum);
    }
}

/// The values of a label: an enum, so that no peer can make series.
pub trait Label: Copy + 'static {
    const NAME: &'static str;
    const VALUES: &'static [&'static str];

    fn index(self) -> usize;
}

/// One metric for each value of a label; all are there from the start, so that a first increase is seen as one.
#[derive(Debug)]
pub struct By<L, M> {
    metrics: Box<[M]>,
    label: std::marker::PhantomData<fn(L)>,
}

impl<L: Label, M: Default> Default for By<L, M> {
    fn default() -> Self {
        By { metrics: L::VALUES.iter().map(|_| M::default()).collect(), label: std::marker::PhantomData }
    }
}

impl<L: Label, M> By<L, M> {
    pub fn with(&self, label: L) -> &M {
        &self.metrics[label.index()]
    }
}

impl<L: Label, M: Metric> Metric for By<L, M> {
    const KIND: Kind = M::KIND;

    fn samples(&self, labels: &[(&str, &str)], out: &mut Exposition) {
        for (metric, value) in self.metrics.iter().zip(L::VALUES) {
            let labels: Vec<_> = labels.iter().copied().chain([(L::NAME, *value)]).collect();
            metric.samples(&labels, out);
        }
    }
}

/// Declares a label: `label! { pub enum Direction as "direction" { In = "in", Out = "out" } }`.
macro_rules! label {
    ($(#[$about:meta])* pub enum $name:ident as $label:literal { $( $(#[$doc:meta])* $variant:ident = $value:literal ),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$doc])* $variant, )* }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[ $( $value, )* ];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// Declares a set of metrics with their help.
macro_rules! metrics {
    ($(#[$about:meta])* pub struct $set:ident { $( #[doc = $help:literal] $name:literal $field:ident : $type:ty ),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct $set { $( #[doc = $help] pub $field: $type, )* }

        impl $set {
            /// Writes every metric of the set.
            pub fn write(&self, out: &mut $crate::metrics::Exposition) {
                $(
                    out.family($name, <$type as $crate::metrics::Metric>::KIND, $help);
                    $crate::metrics::Metric::samples(&self.$field, &[], out);
                )*
            }
        }
    };
}

pub(crate) use {label, metrics};

#[cfg(test)]
mod tests;
