//! Repository chores that are more than shell: `cargo xtask TASK`.

use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask docs    write the generated files anew: examples/server.toml, docs/reference/";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("docs") => docs(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tests that compare the files write them when they are told to.
fn docs() -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut test = Command::new(cargo);
    test.args(["test", "--quiet", "--package", "chappe-server", "--lib", "up_to_date"]).env("CHAPPE_BLESS", "1");
    test.status().is_ok_and(|status| status.success())
}
