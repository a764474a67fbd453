//! Whether content is harmful, as a command says that the operator has named.
//!
//! The path of the file is put behind its arguments. It ends with 0 for what is harmless and with 1 for what is not, as
//! ClamAV's programs do; anything else says that it could not tell.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chappe_api::files::FileError;
use rustix::process::{Pid, Signal, kill_process_group};

/// Longest pause between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What is configured of it.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Program and arguments; empty: nothing is checked.
    pub command: Vec<String>,
    pub timeout: Duration,
    /// Whether what could not be checked is taken all the same.
    pub accept_unchecked: bool,
}

impl Scan {
    /// Blocks until the command has spoken, or its time is over.
    pub(super) fn check(&self, file: &Path) -> Result<(), FileError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        match self.run(program, arguments, file) {
            Ok(Some(status)) if status.code() == Some(0) => return Ok(()),
            Ok(Some(status)) if status.code() == Some(1) => return Err(FileError::Harmful),
            Ok(Some(status)) => tracing::error!(%status, "files: the scan could not tell"),
            Ok(None) => tracing::error!("files: the scan took too long"),
            Err(error) => tracing::error!(%error, "files: the scan could not be run"),
        }
        if self.accept_unchecked { Ok(()) } else { Err(FileError::Unchecked) }
    }

    /// `None`: it was ended, for it took too long.
    fn run(&self, program: &str, arguments: &[String], file: &Path) -> io::Result<Option<ExitStatus>> {
        let mut command = Command::new(program);
        command.args(arguments).arg(file);
        // In a group of its own, so that what it has started ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + self.timeout;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                end(&mut child)?;
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK);
        }
    }
}

fn end(child: &mut Child) -> io::Result<()> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL)?;
    }
    child.wait().map(drop)
}
