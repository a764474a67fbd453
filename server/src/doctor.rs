//! `chappe doctor`: looks at what a server needs, and says of each fault what to do.

mod certificate;
mod dns;
mod machine;
mod relay;

use std::fmt;

use serde::Serialize;

use crate::cli::output::say;
use crate::config::Config;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Good,
    /// It works, yet not as well or as safely as it should.
    Warning,
    /// Something will not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub message: String,
    /// What to do; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, level: Level::Good, message: message.into(), remedy: None }
    }

    fn warning(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warning, message: message.into(), remedy: Some(remedy.into()) }
    }

    fn fault(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, level: Level::Fault, message: message.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Good => "ok     ",
            Level::Warning => "warning",
            Level::Fault => "FAULT  ",
        };
        write!(f, "{mark}  {:<12} {}", self.check, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:22} → {remedy}", ""),
            None => Ok(()),
        }
    }
}

/// Looks at everything.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = machine::examine(config);
    findings.extend(certificate::examine(config));
    findings.extend(relay::examine(config));
    findings.extend(dns::examine(config).await);
    findings
}

/// Prints what [`examine`] finds; the exit code is 1 where there is a fault.
pub async fn run(config: Config, json: bool) -> anyhow::Result<u8> {
    let findings = examine(&config).await;
    let faults = findings.iter().filter(|finding| finding.level == Level::Fault).count();
    let warnings = findings.iter().filter(|finding| finding.level == Level::Warning).count();
    if json {
        crate::cli::output::json(&findings)?;
    } else {
        for finding in &findings {
            say!("{finding}")?;
        }
        say!("\n{} looked at: {faults} faults, {warnings} warnings.", findings.len())?;
    }
    Ok(u8::from(faults > 0))
}
