//! Metrics of the process, under the names that all exporters use.

use std::fs;

use super::{Exposition, Kind};

/// Ticks a second in `/proc/self/stat`; 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Writes what `/proc` tells; nothing where it tells nothing.
pub(super) fn write(out: &mut Exposition) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Stat::parse(&stat)) {
        out.family("process_cpu_seconds_total", Kind::Counter, "Processor time, user and system.")
            .sample(&[], stat.cpu_s);
        out.family("process_resident_memory_bytes", Kind::Gauge, "Memory in RAM.").sample(&[], stat.resident);
        out.family("process_threads", Kind::Gauge, "Threads.").sample(&[], stat.threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory that is being read is one of them.
        out.family("process_open_fds", Kind::Gauge, "Open file descriptors.")
            .sample(&[], open.count().saturating_sub(1));
    }
    if let Some(max) = max_open_files() {
        out.family("process_max_fds", Kind::Gauge, "File descriptors that may be open.").sample(&[], max);
    }
}

/// The soft limit on open files.
pub(crate) fn max_open_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

struct Stat {
    cpu_s: f64,
    resident: u64,
    threads: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Stat> {
        // The name in parentheses may itself hold blanks and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Counted from the state, which is field 3 of proc(5).
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_s: (number(14)? + number(15)?) as f64 / TICKS,
            threads: number(20)?,
            resident: number(24)? * 4096,
        })
    }
}
