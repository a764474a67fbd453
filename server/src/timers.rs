//! The thread that visits shards when their timers are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::Core;

/// Timers may be late by this much, so that a burst of them costs one visit.
const GRAIN_MS: u64 = 10;

/// Tells the thread when the next visit is wanted.
#[derive(Default)]
pub struct Alarm {
    /// When the thread will wake by itself, in milliseconds since the start.
    planned: AtomicU64,
    thread: Mutex<Option<Thread>>,
    stop: AtomicBool,
}

impl Alarm {
    /// A shard is due at `at`; wakes the thread only if it would come more than a grain late.
    pub fn wanted(&self, at: u64) {
        if at.saturating_add(GRAIN_MS) < self.planned.load(Ordering::Relaxed) {
            self.planned.store(at, Ordering::Relaxed);
            if let Some(thread) = &*self.thread.lock() {
                thread.unpark();
            }
        }
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }
}

/// Runs until [`Alarm::stop`].
pub fn spawn(core: Arc<Core>) -> std::io::Result<JoinHandle<()>> {
    let context = core.runtime.clone();
    std::thread::Builder::new().name("chappe-timers".into()).spawn(move || {
        let _context = context.enter();
        let alarm = core.alarm();
        *alarm.thread.lock() = Some(std::thread::current());
        while !alarm.stop.load(Ordering::Relaxed) {
            alarm.planned.store(0, Ordering::Relaxed);
            let wait = core.fire_due();
            let now = core.uptime_ms();
            let wait = wait.map(|w| w.max(Duration::from_millis(GRAIN_MS)));
            let planned = wait.map_or(u64::MAX, |w| now.saturating_add(w.as_millis() as u64));
            alarm.planned.store(planned, Ordering::SeqCst);
            // A shard may have asked for an earlier visit between `fire_due` and the store: look again.
            if core.next_due().saturating_add(GRAIN_MS) < planned {
                continue;
            }
            match wait {
                Some(wait) => std::thread::park_timeout(wait),
                None => std::thread::park(),
            }
        }
    })
}
