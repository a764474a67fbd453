//! What CI runs, in the order in which a fault is found soonest.

use std::process::Command;

use crate::steps::{Steps, cargo, there};
use crate::{conformance, licences, web};

pub(crate) fn run() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let done = before_tests(&mut steps);
    if done.is_err() {
        println!("\n{}", steps.table());
        return done;
    }
    // The tests come last, so that their runner has the last word; the time they take is in it.
    println!("\n{}", steps.table());
    wanting();
    println!("\n=== tests");
    tests()
}

fn before_tests(steps: &mut Steps) -> anyhow::Result<()> {
    steps.step("format", || cargo(&["fmt", "--all", "--check"]))?;
    steps.step("web client", web::build)?;
    steps.step("licences", || {
        println!("{}", licences::check()?);
        Ok(())
    })?;
    steps.step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"])
    })?;
    steps.step("build", || {
        cargo(&["build", "--workspace", "--bins", "--locked", "--quiet"])?;
        cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-run", "--locked", "--quiet"])
    })?;
    steps.step("browser tests", || web::install("e2e/js"))?;
    steps.step("examples in the documentation", || cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"]))?;
    steps.step("conformance", conformance::run)
}

fn tests() -> anyhow::Result<()> {
    if there("cargo-nextest", &["nextest", "--version"]) {
        return cargo(&["nextest", "run", "--workspace", "--locked"]);
    }
    // Slower, since it takes one test program after the other, but it comes with Rust.
    cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--locked"])
}

pub(crate) fn soak() -> anyhow::Result<()> {
    cargo(&["build", "--release", "--bin", "chappe", "--locked"])?;
    if there("cargo-nextest", &["nextest", "--version"]) {
        return cargo(&["nextest", "run", "--release", "-p", "chappe-e2e", "--run-ignored", "only", "--locked"]);
    }
    cargo(&["test", "--release", "-p", "chappe-e2e", "--locked", "--", "--ignored"])
}

/// Says which outside programs are not there: the tests that use them are skipped.
fn wanting() {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    for (name, what) in [
        ("sipp", "calls and messages between sipp and the server"),
        ("socat", "sipp over TLS"),
        ("tshark", "the look at what went over the wire"),
        ("baresip", "baresip"),
        ("chromium", "the web client, and JsSIP in a browser"),
        ("node", "the web client, and JsSIP in a browser"),
        ("linphone-daemon", "linphone"),
    ] {
        let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", name]).env("PATH", &path).status();
        if !found.is_ok_and(|status| status.success()) {
            println!("SKIPPED for want of {name}: {what}");
        }
    }
}
