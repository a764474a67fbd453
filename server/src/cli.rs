//! The command line.

// `println!` panics where the reader is gone: `output::print` does not.
#![deny(clippy::print_stdout)]

mod account;
mod backup;
mod config;
mod conformance;
mod csv;
mod inspect;
mod load;
mod media;
pub mod output;
mod place;
mod serve;
mod subscribers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Done.
const OK: u8 = 0;
/// Refused or failed.
const FAILED: u8 = 1;
/// The command line is wrong; clap ends the process with the same.
const USAGE: u8 = 2;

/// An open RCS and SIP messaging server in one binary.
#[derive(Debug, Parser)]
#[command(name = "chappe", version, propagate_version = true, after_help = FIRST_STEPS, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  chappe testbed                               a server to try, with accounts user0 to user9
  chappe config example > server.toml          every setting with its meaning
  chappe serve --config server.toml            run
  chappe account add alice@example.com         an account; its password is made and printed
  chappe status                                what the server does

Exit status: 0 done, 1 refused or failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = "Examples:\n  chappe serve --config /etc/chappe/server.toml\n  \
                            CHAPPE__DOMAINS=example.com chappe serve --data-dir /var/lib/chappe")]
    Serve(Place),
    /// Run a server to try things with: test accounts, everything on this machine
    #[command(after_help = "Examples:\n  chappe testbed\n  chappe testbed --accounts 100 --domain test.example\n\n\
                            Accounts are user0 with password pass0, user1 with pass1, …; user0 has the number \
                            +15550000000. Without --data-dir all is forgotten at the end.")]
    Testbed(serve::Testbed),
    /// Add, list, change and remove accounts
    #[command(subcommand)]
    Account(account::Command),
    /// Check a configuration file, or print one with everything in it
    #[command(subcommand)]
    Config(config::Command),
    /// Show what the running server does
    #[command(after_help = "Examples:\n  chappe status\n  chappe status --json | jq .listeners")]
    Status(Inspect),
    /// Show who is registered, and from where
    #[command(after_help = "Examples:\n  chappe registrations\n  chappe registrations alice@example.com --json")]
    Registrations(OfUser),
    /// Show the messages that wait for their recipients
    #[command(after_help = "Examples:\n  chappe queue\n  chappe queue alice@example.com")]
    Queue(OfUser),
    /// Show the group chats, or one with its members and its last messages
    #[command(after_help = "Examples:\n  chappe groups\n  chappe groups g0123456789abcdef0123456789abcdef\n\n\
                            A group is named by its id or its Contribution-ID.")]
    Groups(OfGroup),
    /// Show the sessions of the MSRP relay, or end one
    #[command(subcommand)]
    Msrp(MsrpCommand),
    /// Show the calls whose media goes through the server
    #[command(subcommand)]
    Media(MediaCommand),
    /// Show what the devices of a user have published, and who watches
    #[command(after_help = "Examples:\n  chappe presence bob@example.com\n  chappe presence bob@example.com --json")]
    Presence(Presence),
    /// Show why the devices of a user were pushed to or not, or push to them
    #[command(subcommand)]
    Push(PushCommand),
    /// Show the files that users have uploaded, or remove one
    #[command(subcommand)]
    Files(FilesCommand),
    /// Tell what became of a message
    #[command(
        after_help = "Examples:\n  chappe explain 34jk324j\n\nThe ID is the Message-ID of the message (CPIM, IMDN) \
                            or its Call-ID."
    )]
    Explain(Explain),
    /// Show what happens about one user from now on, until Ctrl-C
    #[command(after_help = "Examples:\n  chappe trace alice@example.com")]
    Trace(Trace),
    /// Print the address of the operator's console, with the token of this start
    #[command(
        after_help = "Examples:\n  chappe console\n\nWhoever has the address has the console: the token is behind \
                            its #, where neither a server nor a log sees it."
    )]
    Console(Inspect),
    /// Look for faults of the set-up: DNS, certificates, ports, clock, disk
    #[command(after_help = "Examples:\n  chappe doctor --config /etc/chappe/server.toml")]
    Doctor(Inspect),
    /// Write a copy of the embedded store to a new file, while the server runs or not
    #[command(after_help = "Examples:\n  chappe backup /backup/chappe-$(date +%F).db")]
    Backup(backup::Backup),
    /// Put a copy of the embedded store in place; the server must be stopped
    #[command(after_help = "Examples:\n  chappe restore /backup/chappe-2026-11-24.db")]
    Restore(backup::Restore),
    /// Judge any SIP server or MSRP relay by the rules of the RFCs
    #[command(subcommand)]
    Conformance(conformance::Command),
    /// Make a load on any SIP server or MSRP relay and measure it
    #[command(subcommand)]
    Load(load::Command),
}

/// Which server: its configuration and data.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Configuration file; without it the defaults, for the domain localhost
    #[arg(long, value_name = "FILE", env = "CHAPPE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Directory for all that is kept, before that of the configuration
    #[arg(long, value_name = "DIR", env = "CHAPPE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Inspect {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OfUser {
    /// Only this user, USER@DOMAIN
    #[arg(value_name = "AOR")]
    aor: Option<String>,
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    inspect: Inspect,
}

#[derive(Debug, Args)]
struct OfGroup {
    /// Only this group, with its members
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    inspect: Inspect,
}

#[derive(Debug, Subcommand)]
enum MediaCommand {
    /// Show the calls with their parties, codecs, packets and losses
    #[command(after_help = "Examples:\n  chappe media list\n  chappe media list --json")]
    List {
        /// Print at most this many
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        inspect: Inspect,
    },
}

#[derive(Debug, Subcommand)]
enum MsrpCommand {
    /// Show the sessions with what they have transferred
    #[command(after_help = "Examples:\n  chappe msrp list\n  chappe msrp list --json")]
    List {
        /// Print at most this many
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        inspect: Inspect,
    },
    /// End a session: what comes for it is refused from then on
    #[command(after_help = "Examples:\n  chappe msrp kill 17\n\nThe ID is that of `chappe msrp list`.")]
    Kill {
        #[arg(value_name = "ID")]
        id: u64,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum FilesCommand {
    /// Show files: whose, what, how large, how long they are kept
    #[command(after_help = "Examples:\n  chappe files list\n  chappe files list alice@example.com --json")]
    List(OfUser),
    /// Remove a file: its links lead nowhere from then on
    #[command(
        after_help = "Examples:\n  chappe files remove 0abdd29b1e2f4c5b4bc510403a87a94337202395c3ffebb3\n\nThe ID is that of `chappe files list`, and the end of the file's link."
    )]
    Remove {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum PushCommand {
    /// Show what was decided about each device lately, and what the services said
    #[command(after_help = "Examples:\n  chappe push log bob@example.com\n  chappe push log bob@example.com --json")]
    Log(Presence),
    /// Push to each device of a user that can be pushed to
    #[command(after_help = "Examples:\n  chappe push test bob@example.com")]
    Test(Presence),
}

#[derive(Debug, Args)]
struct Explain {
    #[arg(value_name = "MESSAGE-ID")]
    id: String,
    #[command(flatten)]
    inspect: Inspect,
}

#[derive(Debug, Args)]
struct Presence {
    /// USER@DOMAIN
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    inspect: Inspect,
}

#[derive(Debug, Args)]
struct Trace {
    /// USER@DOMAIN
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    place: Place,
}

/// A fault of usage that only shows after the command line was read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command that the process was given.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", complaint(&error));
            ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
        }
    }
}

/// The error with its causes on one line; faults of a configuration file as they are, with their lines.
fn complaint(error: &anyhow::Error) -> String {
    if error.is::<crate::config::LoadError>() {
        let text = error.to_string();
        return if text.starts_with("error: ") { text } else { format!("error: {text}") };
    }
    format!("error: {error:#}")
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Serve(place) => serve::serve(place),
        Command::Testbed(testbed) => serve::testbed(testbed),
        Command::Config(command) => config::run(command),
        Command::Account(command) => soon(account::run(command)),
        Command::Status(inspect) => soon(inspect::status(inspect)),
        Command::Registrations(of) => soon(inspect::registrations(of)),
        Command::Queue(of) => soon(inspect::queue(of)),
        Command::Groups(of) => soon(inspect::groups(of)),
        Command::Msrp(command) => soon(inspect::msrp(command)),
        Command::Media(command) => soon(media::run(command)),
        Command::Presence(presence) => soon(inspect::presence(presence)),
        Command::Push(command) => soon(inspect::push(command)),
        Command::Files(command) => soon(inspect::files(command)),
        Command::Explain(explain) => soon(inspect::explain(explain)),
        Command::Trace(trace) => soon(inspect::trace(trace)),
        Command::Console(inspect) => inspect::console(&inspect),
        Command::Doctor(inspect) => soon(crate::doctor::run(inspect.place.load()?, inspect.json)),
        Command::Backup(backup) => soon(backup::backup(backup)),
        Command::Restore(restore) => soon(backup::restore(restore)),
        Command::Conformance(command) => soon(conformance::run(command)),
        Command::Load(command) => soon(load::run(command)),
    }
}

/// Runs a command that is done soon: one thread is enough.
fn soon(command: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

#[cfg(test)]
mod tests;
