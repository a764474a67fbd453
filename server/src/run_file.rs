//! `run.json` in the data directory: how the command line finds the server that runs there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const NAME: &str = "run.json";

/// The running server.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunFile {
    pub pid: u32,
    /// `http://127.0.0.1:9090`
    pub management: String,
    /// Bearer token of the admin API, made anew at each start.
    pub token: String,
}

impl RunFile {
    /// Reads the file of the server that runs on `data_dir`; `None` if there is no file, or its process is gone.
    pub fn find(data_dir: &Path) -> io::Result<Option<RunFile>> {
        let text = match fs::read_to_string(data_dir.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found: RunFile = serde_json::from_str(&text).map_err(io::Error::other)?;
        Ok(found.lives().then_some(found))
    }

    /// Whether the process is there still; after a crash the file stays behind.
    fn lives(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// Writes the file, readable by its owner only, in one step.
    pub fn write(&self, data_dir: &Path) -> io::Result<Written> {
        let (path, draft) = (data_dir.join(NAME), data_dir.join("run.json.new"));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&draft, &path)?;
        Ok(Written { path })
    }
}

/// Removes the file at the end.
pub struct Written {
    path: PathBuf,
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_private_and_ends_with_the_server() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RunFile::find(dir.path()).unwrap().is_none());
        let file = RunFile { pid: std::process::id(), management: "http://127.0.0.1:9".into(), token: "t".into() };
        let written = file.write(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(RunFile::find(dir.path()).unwrap().unwrap().management, "http://127.0.0.1:9");
        drop(written);
        assert!(RunFile::find(dir.path()).unwrap().is_none());
        // What a crash leaves behind names a process that is gone.
        let stale = RunFile { pid: u32::MAX, ..file }.write(dir.path()).unwrap();
        assert!(RunFile::find(dir.path()).unwrap().is_none());
        drop(stale);
    }
}
