//! `chappe load`: makes a load and measures rate and latency, on any SIP server, MSRP relay, XCAP server or
//! content server.

use std::time::Duration;

use chappe_conformance::load::chat::group::{self, GroupOptions};
use chappe_conformance::load::chat::{self, ChatOptions};
use chappe_conformance::load::ft::{self, FtOptions};
use chappe_conformance::load::msrp::{self, MsrpOptions};
use chappe_conformance::load::xcap::{self, Operation, XcapOptions};
use chappe_conformance::load::{self, Kind, LoadOptions};
use chappe_conformance::{Proto, Target};
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
    /// Chat sessions that end at the server: some users write, as many others read
    #[command(
        after_help = "Examples:\n  chappe load chat --target 'sip:127.0.0.1:5060;transport=tcp' --domain localhost --rate 100 --receipts\n  \
                            chappe load chat --target 'sip:127.0.0.1:5060;transport=tcp' --domain localhost --absent"
    )]
    Chat(Chat),
    /// Group chats: in each one member writes, and all others get it over sessions of their own
    #[command(
        after_help = "Every member of every group is an account of its own. With --rate the messages of all groups together count.\n\n\
                      Examples:\n  chappe load group --target 'sip:127.0.0.1:5060;transport=tcp' --domain localhost --members 20\n  \
                      chappe load group --target 'sip:127.0.0.1:5060;transport=tcp' --domain localhost --groups 10 --members 100 --rate 50 --pid 4711 --json"
    )]
    Group(Group),
    /// Fetches of the presence of users that have published: SUBSCRIBE, 200, NOTIFY, 200
    #[command(
        after_help = "Examples:\n  chappe load presence --target sip:127.0.0.1:5060 --domain localhost --users 5 --rate 500"
    )]
    Presence(Load),
    /// MSRP sessions through a relay: both ends of each authenticate, one sends to the other
    #[command(
        after_help = "Examples:\n  chappe load msrp --target msrp:localhost:2855 --sessions 10 --size 1000 --reports\n  \
                            chappe load msrp --target ws://localhost:8080/ws --size 1000000 --chunk 16384"
    )]
    Msrp(Msrp),
    /// XML documents: each user reads, replaces or edits lists of its own
    #[command(
        after_help = "Examples:\n  chappe load xcap --target http://localhost:8080/xcap-root --operation put --users 10"
    )]
    Xcap(Xcap),
    /// Files over HTTP: each user uploads, or downloads, again and again
    #[command(after_help = "What was uploaded is deleted again. The quota of a user has to hold one file.\n\n\
                      Examples:\n  chappe load ft --target http://localhost:8080/ft --size 10000000 --pid 4711\n  \
                            chappe load ft --target http://localhost:8080/ft --operation download --users 20")]
    Ft(Ft),
}

// What every load has.
#[derive(Debug, Args)]
struct Common {
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Xcap {
    /// The XCAP root; /xcap-root where there is no path
    #[arg(long, value_name = "URL")]
    target: String,
    /// get, put (of the whole document) or element (one entry is put)
    #[arg(long, value_name = "WHAT", default_value = "get")]
    operation: String,
    /// Domain of the accounts; by default the host of the target
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Users that act, each over a connection of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    users: usize,
    #[command(flatten)]
    common: Common,
    /// Entries of a list
    #[arg(long, value_name = "N", default_value_t = 8)]
    entries: usize,
}

#[derive(Debug, Args)]
pub(super) struct Ft {
    /// The content server; /ft where there is no path
    #[arg(long, value_name = "URL")]
    target: String,
    /// upload or download
    #[arg(long, value_name = "WHAT", default_value = "upload")]
    operation: String,
    /// Users that act, each over a connection of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    users: usize,
    #[command(flatten)]
    common: Common,
    /// Octets of a file
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    size: u64,
    /// Process of the server on this machine, whose CPU time is measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Msrp {
    /// msrp:HOST:PORT[;transport=tcp|tls|ws], msrps:HOST:PORT, or the URL of the WebSocket
    #[arg(long, value_name = "URI")]
    target: String,
    /// Domain of the accounts, for AUTH to a target that is named by its address
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Sessions
    #[arg(long, value_name = "N", default_value_t = 5)]
    sessions: usize,
    /// Connections of the senders, and as many of the receivers, each of one account; by default one a session
    #[arg(long, value_name = "N", default_value_t = 0)]
    connections: usize,
    #[command(flatten)]
    common: Common,
    /// Octets of a message
    #[arg(long, value_name = "N", default_value_t = 1000)]
    size: usize,
    /// Octets of a chunk; 0 for one SEND a message, over WebSocket for 16384
    #[arg(long, value_name = "N", default_value_t = 0)]
    chunk: usize,
    /// Ask for responses and success REPORTs, and wait for the REPORT
    #[arg(long)]
    reports: bool,
}

#[derive(Debug, Args)]
pub(super) struct Chat {
    #[command(flatten)]
    load: Load,
    /// Conversations, spread over the users; by default one for each that writes
    #[arg(long, value_name = "N", default_value_t = 0)]
    conversations: usize,
    /// Ask for delivery notifications, and measure when they come
    #[arg(long)]
    receipts: bool,
    /// The readers are absent, and come when the time is over: what is kept for them, and how fast they get it
    #[arg(long)]
    absent: bool,
}

#[derive(Debug, Args)]
pub(super) struct Group {
    #[command(flatten)]
    load: Load,
    /// Groups; each is written to by the member who made it
    #[arg(long, value_name = "N", default_value_t = 1)]
    groups: usize,
    /// Members of each group, the writer among them (instead of --users)
    #[arg(long, value_name = "N", default_value_t = 3)]
    members: usize,
    /// Members of each group that are in the session and read nothing; nobody waits for them
    #[arg(long, value_name = "N", default_value_t = 0)]
    stalled: usize,
    /// Process of the server on this machine, whose CPU time is measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// sip:HOST:PORT[;transport=udp|tcp|tls|ws]
    #[arg(long, value_name = "URI")]
    target: String,
    /// Domain of the accounts; by default the host of the target
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// Users that act, each over a flow of its own; messages, calls and chats need as many again to receive
    #[arg(long, value_name = "N", default_value_t = 5)]
    users: usize,
    #[command(flatten)]
    common: Common,
    /// Octets of a message's text
    #[arg(long, value_name = "N", default_value_t = 100)]
    size: usize,
}

pub(super) async fn run(command: Command) -> anyhow::Result<u8> {
    let (kind, load) = match command {
        Command::Register(load) => (Kind::Register, load),
        Command::Message(load) => (Kind::Message, load),
        Command::Call(load) => (Kind::Call, load),
        Command::Chat(load) => return chat(load).await,
        Command::Group(load) => return group(load).await,
        Command::Presence(load) => (Kind::Presence, load),
        Command::Msrp(load) => return msrp(load).await,
        Command::Xcap(load) => return xcap(load).await,
        Command::Ft(load) => return ft(load).await,
    };
    let json = load.common.json;
    let report = load::run(options(load, kind)?).await?;
    say_report(json, report.exit_ok(), || report.to_json(), || report.to_text())
}

fn options(load: Load, kind: Kind) -> Result<LoadOptions, Usage> {
    let target = Target::parse(&load.target).map_err(|error| Usage(error.to_string()))?;
    Ok(LoadOptions {
        domain: load.domain,
        user: load.common.user,
        password: load.common.password,
        first: load.common.first,
        users: load.users,
        rate: load.common.rate,
        time: Duration::from_secs(load.common.time),
        size: load.size,
        ..LoadOptions::new(target, kind)
    })
}

async fn chat(chat: Chat) -> anyhow::Result<u8> {
    let json = chat.load.common.json;
    let conversations = if chat.conversations == 0 { chat.load.users } else { chat.conversations };
    let load = options(chat.load, Kind::Message)?;
    if load.target.proto == Proto::Udp {
        return Err(Usage("chat sessions want a connection: give the target ;transport=tcp, tls or ws".into()).into());
    }
    let options = ChatOptions { load, conversations, receipts: chat.receipts, absent: chat.absent };
    let report = chat::run(options).await?;
    say_report(json, report.exit_ok(), || report.to_json(), || report.to_text())
}

async fn group(group: Group) -> anyhow::Result<u8> {
    let Group { load, groups, members, stalled, pid } = group;
    let json = load.common.json;
    if members < stalled + 2 {
        return Err(Usage("a group wants a member who writes and one who reads".into()).into());
    }
    let load = options(load, Kind::Message)?;
    if load.target.proto == Proto::Udp {
        return Err(Usage("group chats want a connection: give the target ;transport=tcp, tls or ws".into()).into());
    }
    let report = group::run(GroupOptions { load, groups, members, stalled, pid }).await?;
    say_report(json, report.exit_ok(), || report.to_json(), || report.to_text())
}

async fn msrp(load: Msrp) -> anyhow::Result<u8> {
    let options = MsrpOptions {
        domain: load.domain,
        user: load.common.user,
        password: load.common.password,
        first: load.common.first,
        sessions: load.sessions,
        connections: load.connections,
        rate: load.common.rate,
        time: Duration::from_secs(load.common.time),
        size: load.size,
        chunk: load.chunk,
        reports: load.reports,
        ..MsrpOptions::new(&load.target)
    };
    match msrp::run(options).await {
        Err(load::LoadError::Target(error)) => Err(Usage(error.to_string()).into()),
        report => {
            let report = report?;
            say_report(load.common.json, report.exit_ok(), || report.to_json(), || report.to_text())
        }
    }
}

async fn xcap(load: Xcap) -> anyhow::Result<u8> {
    let operation =
        Operation::parse(&load.operation).ok_or_else(|| Usage("--operation is get, put or element".into()))?;
    let options = XcapOptions {
        domain: load.domain,
        user: load.common.user,
        password: load.common.password,
        first: load.common.first,
        users: load.users,
        rate: load.common.rate,
        time: Duration::from_secs(load.common.time),
        entries: load.entries,
        ..XcapOptions::new(&load.target, operation)
    };
    match xcap::run(options).await {
        Err(load::LoadError::Target(error)) => Err(Usage(error.to_string()).into()),
        report => {
            let report = report?;
            say_report(load.common.json, report.exit_ok(), || report.to_json(), || report.to_text())
        }
    }
}

async fn ft(load: Ft) -> anyhow::Result<u8> {
    let operation =
        ft::Operation::parse(&load.operation).ok_or_else(|| Usage("--operation is upload or download".into()))?;
    let options = FtOptions {
        user: load.common.user,
        password: load.common.password,
        first: load.common.first,
        users: load.users,
        rate: load.common.rate,
        time: Duration::from_secs(load.common.time),
        size: load.size,
        pid: load.pid,
        // Large files take their time.
        timeout: Duration::from_secs(60 + load.size / 1_000_000),
        ..FtOptions::new(&load.target, operation)
    };
    match ft::run(options).await {
        Err(load::LoadError::Target(error)) => Err(Usage(error.to_string()).into()),
        report => {
            let report = report?;
            say_report(load.common.json, report.exit_ok(), || report.to_json(), || report.to_text())
        }
    }
}

fn say_report(
    json: bool,
    ok: bool,
    to_json: impl FnOnce() -> String,
    to_text: impl FnOnce() -> String,
) -> anyhow::Result<u8> {
    if json {
        say!("{}", to_json())?;
    } else {
        output::print(to_text())?;
    }
    Ok(if ok { OK } else { FAILED })
}
