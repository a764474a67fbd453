//! Outside programs: found, started, listened to, and ended by their process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Whether a program is on the path.
pub fn found(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(name).is_file())
}

/// A process that ends with this value.
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Child,
    output: PathBuf,
}

impl Program {
    /// Starts it; what it says goes to `NAME.out` in `dir`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Program {
        let output = dir.join(format!("{name}.out"));
        let file = File::create(&output).expect("the folder of a test can be written to");
        let both = file.try_clone().expect("a file can be opened twice");
        let process = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn();
        let process = process.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Program { name: name.to_owned(), process, output }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    /// When it ends before, or after [`PATIENCE`](crate::PATIENCE).
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + crate::PATIENCE;
        while !self.said().contains(text) {
            let ended = self.process.try_wait().expect("a child can be waited for");
            let late = Instant::now() > deadline;
            if (ended.is_some() && !self.said().contains(text)) || late {
                panic!("{} did not say {text:?} ({ended:?}):\n{}", self.name, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How it ended; `None` if it did not within `time`.
    pub fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a good end.
    ///
    /// # Panics
    /// When it fails or takes longer than `time`.
    pub fn succeed(&mut self, time: Duration) {
        match self.wait(time) {
            Some(status) if status.success() => {}
            Some(status) => panic!("{} ended with {status}:\n{}", self.name, self.said()),
            None => panic!("{} did not end within {time:?}:\n{}", self.name, self.said()),
        }
    }

    /// Asks it to end.
    pub fn interrupt(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.process), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // First with grace, so that it ends its own children.
        self.interrupt(Signal::TERM);
        if self.wait(Duration::from_secs(3)).is_none() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
