//! What the system allows the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files to what the process may have: one connection is one file.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// Files that may be open after [`raise_open_files`]; `None`: any number.
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}
