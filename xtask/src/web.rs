//! What npm does: the packages of the browser tests, and the web client.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::root;
use crate::steps::{program, there};

/// Checks, tests and builds the web client into `web/dist`, from where it goes into the binary. Without Node the binary has
/// a page instead that says so.
pub(crate) fn build() -> anyhow::Result<()> {
    let web = root().join("web");
    let built = modified(&web.join("dist/app/index.html"));
    if built.is_some() && newest(&web) <= built {
        println!("nothing has changed");
        return Ok(());
    }
    install("web")?;
    if !web.join("node_modules/vite").exists() {
        return Ok(());
    }
    npm(&["run", "--silent", "test"], "web")?;
    npm(&["run", "--silent", "build"], "web")
}

/// Installs the packages of a folder as its lock file has them, unless they are there. Where they cannot be had, what needs
/// them is skipped with a word.
pub(crate) fn install(folder: &str) -> anyhow::Result<()> {
    if !there("npm", &["--version"]) {
        println!("SKIPPED: no npm");
        return Ok(());
    }
    let dir = root().join(folder);
    // npm writes its own copy of the lock file when it is done.
    let installed = modified(&dir.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&dir.join("package-lock.json")) {
        println!("as the lock file has it");
        return Ok(());
    }
    if let Err(error) = npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder) {
        println!("SKIPPED: {error:#}");
    }
    Ok(())
}

fn npm(arguments: &[&str], folder: &str) -> anyhow::Result<()> {
    let dir = root().join(folder).to_string_lossy().into_owned();
    program("npm", &[&["--prefix", &dir], arguments].concat())
}

/// When a source of the client was changed last.
fn newest(web: &Path) -> Option<SystemTime> {
    let mut newest = None;
    let mut folders = vec![web.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                if !path.ends_with("node_modules") && !path.ends_with("dist") {
                    folders.push(path);
                }
            } else {
                newest = newest.max(modified(&path));
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}
