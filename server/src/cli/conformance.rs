//! `chappe conformance`: judges any SIP server or MSRP relay by the rules of the RFCs.

use std::path::PathBuf;

use anyhow::Context;
use chappe_conformance::{Account, Options, Target};
use clap::{Args, Subcommand};

use super::output::{self, Table, say};
use super::{FAILED, OK, Usage};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the rules that can be tested
    #[command(after_help = "Examples:\n  chappe conformance list\n  chappe conformance list --suite rfc3261 --json")]
    List {
        /// Only this suite; may be repeated
        #[arg(long, value_name = "NAME")]
        suite: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Test a server; the exit status is 0 only if every MUST holds
    #[command(after_help = "Two accounts let most rules be tested, three let all.\n\nExamples:\n  \
        chappe conformance run --target sip:127.0.0.1:5060 --domain localhost \\\n      \
        --user user0 --password pass0 --user user1 --password pass1 --html report.html\n  \
        chappe conformance run --target 'sip:127.0.0.1:5061;transport=tls' --suite rfc3261\n  \
        chappe conformance run --msrp localhost:2855 --http http://localhost:8080 --user user0 --password pass0")]
    Run(Box<Run>),
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// sip:HOST:PORT[;transport=udp|tcp|tls|ws]; without it only MSRP is tested, at --msrp or --msrp-tls
    #[arg(long, value_name = "URI")]
    target: Option<String>,
    /// Only this suite; may be repeated
    #[arg(long, value_name = "NAME")]
    suite: Vec<String>,
    /// Only rules whose name holds this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Domain of the accounts; by default the host of the target
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// User that may be used; may be repeated, each with its --password
    #[arg(long, value_name = "U")]
    user: Vec<String>,
    /// Password of the user before it
    #[arg(long, value_name = "P")]
    password: Vec<String>,
    /// Address of the MSRP relay over TCP
    #[arg(long, value_name = "HOST:PORT")]
    msrp: Option<String>,
    /// Address of the MSRP relay over TLS; its clients authenticate there when it is given
    #[arg(long, value_name = "HOST:PORT")]
    msrp_tls: Option<String>,
    /// http://HOST:PORT[/PATH] of the WebSocket; the path is /ws where none is given
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// Number of an account, for the suite provisioning; the target has to believe what this run says as a gateway
    #[arg(long, value_name = "NUMBER")]
    msisdn: Option<String>,
    /// Where the run is a Web Push service for the suite push, which the target has to trust (http://HOST:PORT)
    #[arg(long, value_name = "HOST:PORT")]
    push: Option<String>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the results as a page to read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep the exchanges of rules that hold, too
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List { suite, json } => list(&suite, json),
        Command::Run(options) => judge(*options).await,
    }
}

fn list(suites: &[String], json: bool) -> anyhow::Result<u8> {
    let mut rules = chappe_conformance::list();
    rules.retain(|rule| suites.is_empty() || suites.iter().any(|suite| suite == rule.suite));
    if json {
        let rule = |rule: &chappe_conformance::Listed| {
            serde_json::json!({
                "suite": rule.suite, "section": rule.section, "name": rule.name, "level": rule.level.name(),
                "rule": rule.rule,
            })
        };
        return output::json(&rules.iter().map(rule).collect::<Vec<_>>()).map(|()| OK);
    }
    let mut table = Table::new(["suite", "section", "name", "level"]);
    for rule in &rules {
        table.row([rule.suite.into(), rule.section.clone(), rule.name.clone(), rule.level.name().into()]);
    }
    output::print(&table)?;
    Ok(OK)
}

async fn judge(run: Run) -> anyhow::Result<u8> {
    if run.user.len() != run.password.len() {
        return Err(Usage("each --user needs a --password".into()).into());
    }
    let usage = |error: chappe_conformance::TargetError| Usage(error.to_string());
    let options = match (&run.target, &run.msrp, &run.msrp_tls) {
        (Some(target), _, _) => Target::parse(target).map(Options::new),
        (None, Some(at), _) => Options::relay(at, false),
        (None, None, Some(at)) => Options::relay(at, true),
        (None, None, None) => return Err(Usage("--target, --msrp or --msrp-tls is needed".into()).into()),
    };
    let mut options = options.map_err(usage)?;
    let accounts = run.user.into_iter().zip(run.password);
    options.accounts = accounts.map(|(user, password)| Account { user, password }).collect();
    options.suites = run.suite;
    options.filter = run.filter;
    options.domain = run.domain;
    options.msrp = run.msrp;
    options.msrp_tls = run.msrp_tls;
    options.http = run.http;
    options.push = run.push;
    options.msisdn = run.msisdn;
    options.keep_transcripts = run.keep;
    let report = chappe_conformance::run(options).await.map_err(usage)?;
    for (file, text) in [(run.junit, report.to_junit()), (run.html, report.to_html())] {
        if let Some(file) = file {
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    if run.json {
        say!("{}", report.to_json())?;
    } else {
        output::print(report.to_text())?;
    }
    Ok(if report.exit_ok() { OK } else { FAILED })
}
