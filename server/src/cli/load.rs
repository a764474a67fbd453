//! `chappe load`: makes a load and measures rate and latency, on any SIP server.

use std::time::Duration;

use chappe_conformance::Target;
use chappe_conformance::load::{self, Kind, LoadOptions};
use clap::{Args, Subcommand};

use super::output::{self, say};
use super::{FAILED, OK, Usage};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Registrations with digest
    #[command(
        after_help = "Examples:\n  chappe load register --target sip:127.0.0.1:5060 --domain localhost --users 10"
    )]
    Register(Load),
    /// Messages between registered users
    #[command(
        after_help = "Examples:\n  chappe load message --target 'sip:127.0.0.1:5060;transport=tcp' --domain localhost \\\n      \
                            --users 5 --rate 500 --time 20"
    )]
    Message(Load),
    /// Calls between registered users: INVITE, 200, ACK, BYE, 200
    #[command(
        after_help = "Examples:\n  chappe load call --target sip:127.0.0.1:5060 --domain localhost --users 5 --rate 50"
    )]
    Call(Load),
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// sip:HOST:PORT[;transport=udp|tcp|tls|ws]
    #[arg(long, value_name = "URI")]
    target: String,
    /// Domain of the accounts; by default the host of the target
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Users that act, each over a flow of its own; messages and calls need as many again to receive
    #[arg(long, value_name = "N", default_value_t = 5)]
    users: usize,
    /// Number of the first account
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: usize,
    /// Names of the accounts, {} standing for the number
    #[arg(long, value_name = "PATTERN", default_value = "user{}")]
    user: String,
    /// Their passwords
    #[arg(long, value_name = "PATTERN", default_value = "pass{}")]
    password: String,
    /// Operations a second; 0 for as many as get answered
    #[arg(long, value_name = "R", default_value_t = 0.0)]
    rate: f64,
    /// Seconds
    #[arg(long, value_name = "S", default_value_t = 10)]
    time: u64,
    /// Octets of a message's text
    #[arg(long, value_name = "N", default_value_t = 100)]
    size: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> anyhow::Result<u8> {
    let (kind, load) = match command {
        Command::Register(load) => (Kind::Register, load),
        Command::Message(load) => (Kind::Message, load),
        Command::Call(load) => (Kind::Call, load),
    };
    let target = Target::parse(&load.target).map_err(|error| Usage(error.to_string()))?;
    let options = LoadOptions {
        domain: load.domain,
        user: load.user,
        password: load.password,
        first: load.first,
        users: load.users,
        rate: load.rate,
        time: Duration::from_secs(load.time),
        size: load.size,
        ..LoadOptions::new(target, kind)
    };
    let report = load::run(options).await?;
    if load.json {
        say!("{}", report.to_json())?;
    } else {
        output::print(report.to_text())?;
    }
    Ok(if report.exit_ok() { OK } else { FAILED })
}
