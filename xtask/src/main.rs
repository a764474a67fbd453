//! Repository chores: `cargo xtask ci` is all that CI runs.

mod ci;
mod compliance;
mod conformance;
mod licences;
mod steps;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

const USAGE: &str = "usage: cargo xtask COMMAND
  ci           format, lints, licences, conformance and every test
  soak         the long tests
  conformance  the black-box suites against a server of their own
  web          the web client, which goes into the binary
  docs         write the generated files anew: examples/server.toml, docs/reference/
  compliance   what the pages of the MSRP documents claim, against the suites
  licences     licences and banned crates of the dependencies";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["ci"] => ci::run(),
        ["soak"] => ci::soak(),
        ["conformance"] => conformance::run(),
        ["conformance", "within"] => conformance::within(),
        ["web"] => web::build(),
        ["docs"] => docs(),
        ["compliance"] => compliance::check(),
        ["licences"] => licences::check().map(|text| println!("{text}")),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the generated files: the tests that compare them do so when they are told to.
fn docs() -> anyhow::Result<()> {
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "--package", "chappe-server", "--lib", "up_to_date"]).env("CHAPPE_BLESS", "1");
    let status = test.current_dir(root()).status().context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "the files are not written: {status}");
    Ok(())
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// This program, or the one that was built anew in its place meanwhile.
fn this_program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find this program")?;
    let path = path.to_string_lossy();
    Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
}

/// Where cargo builds: this program is in `TARGET/PROFILE/`.
fn target_dir() -> anyhow::Result<PathBuf> {
    let program = this_program()?;
    let dir = program.parent().and_then(Path::parent).context("this program is not in a target folder")?;
    Ok(dir.to_owned())
}
