//! `chappe config`

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, say};
use super::{FAILED, OK};
use crate::config::{Config, LoadError, example};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether a file is right, and what is wrong with it
    #[command(
        after_help = "Examples:\n  chappe config check server.toml\n\nEach fault is shown under its line, with what \
                            is allowed there. Environment variables CHAPPE__… are checked too."
    )]
    Check {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the faults as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a file with every key, its meaning and its default
    #[command(after_help = "Examples:\n  chappe config example > server.toml")]
    Example,
}

pub(super) fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Check { file, json } => check(file, json),
        Command::Example => {
            output::print(example::toml::<Config>())?;
            Ok(OK)
        }
    }
}

fn check(file: PathBuf, json: bool) -> anyhow::Result<u8> {
    let loaded = Config::load(Some(&file));
    if json {
        return match loaded {
            Ok(_) => output::json(&serde_json::json!({ "file": file, "faults": [] })).map(|()| OK),
            Err(LoadError::Faults(faults)) => output::json(&faults).map(|()| FAILED),
            Err(error) => Err(error.into()),
        };
    }
    loaded?;
    say!("{} is right.", file.display())?;
    Ok(OK)
}
