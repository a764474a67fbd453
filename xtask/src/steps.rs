//! Steps that are run one after the other, and how long each took.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What was run so far.
#[derive(Default)]
pub(crate) struct Steps {
    took: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs one step and notes its time, whether it fails or not.
    pub(crate) fn step(&mut self, name: &'static str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        println!("\n=== {name}");
        let begun = Instant::now();
        let done = run();
        self.took.push((name, begun.elapsed()));
        done.with_context(|| format!("{name} failed"))
    }

    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        for (name, took) in &self.took {
            let _ = writeln!(out, "  {:>7.1} s  {name}", took.as_secs_f64());
        }
        let sum: Duration = self.took.iter().map(|(_, took)| *took).sum();
        let _ = write!(out, "  {:>7.1} s  together", sum.as_secs_f64());
        out
    }
}

/// Runs a program of the repository in sight of the user.
pub(crate) fn program(name: &str, args: &[&str]) -> anyhow::Result<()> {
    println!("$ {name} {}", args.join(" "));
    let status = Command::new(name)
        .args(args)
        .current_dir(crate::root())
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} {}: {status}", args.join(" "));
    }
    Ok(())
}

pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    program("cargo", args)
}

/// Whether a program is there and answers `--version`.
pub(crate) fn there(name: &str, args: &[&str]) -> bool {
    Command::new(name).args(args).output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_in_the_table() {
        let mut steps = Steps::default();
        steps.step("one", || Ok(())).unwrap();
        let error = steps.step("two", || bail!("broken")).unwrap_err();
        assert_eq!(format!("{error:#}"), "two failed: broken");
        let table = steps.table();
        let names: Vec<_> = table.lines().filter_map(|line| line.split("s  ").nth(1)).collect();
        assert_eq!(names, ["one", "two", "together"]);
    }
}
