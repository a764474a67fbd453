//! What a run found, as text, JSON and JUnit XML; `html.rs` has the page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::case::Level;

/// How one case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Passed,
    /// A SHOULD is not held.
    Warned,
    /// A MUST is not held, or a practice of RCS.
    Failed,
    /// The target lacks it, or an option is missing.
    Skipped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Passed => "passed",
            Status::Warned => "warned",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
    }
}

/// One case and its result.
#[derive(Debug, Clone)]
pub struct Tested {
    pub suite: &'static str,
    pub name: String,
    /// Of the suite's document.
    pub section: String,
    pub level: Level,
    pub rule: String,
    pub status: Status,
    /// Empty for a case that passed.
    pub why: String,
    pub took: Duration,
    /// The exchange, kept for what failed or warned.
    pub transcript: String,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Report {
    pub target: String,
    pub took: Duration,
    pub cases: Vec<Tested>,
}

impl Report {
    /// True if nothing failed and something was tested.
    pub fn exit_ok(&self) -> bool {
        self.count(Status::Failed) == 0 && self.cases.iter().any(|case| case.status != Status::Skipped)
    }

    pub fn count(&self, status: Status) -> usize {
        self.cases.iter().filter(|case| case.status == status).count()
    }

    /// The suites in order, each with its cases.
    pub fn suites(&self) -> Vec<(&'static str, Vec<&Tested>)> {
        let mut suites: Vec<(&'static str, Vec<&Tested>)> = Vec::new();
        for case in &self.cases {
            match suites.last_mut() {
                Some((name, cases)) if *name == case.suite => cases.push(case),
                _ => suites.push((case.suite, vec![case])),
            }
        }
        suites
    }

    fn totals(&self) -> String {
        let [passed, warned, failed, skipped] =
            [Status::Passed, Status::Warned, Status::Failed, Status::Skipped].map(|status| self.count(status));
        format!("{passed} passed, {warned} warned, {failed} failed, {skipped} skipped")
    }

    /// A summary for the terminal: a line a suite, then what did not pass.
    pub fn to_text(&self) -> String {
        let mut out = format!("{:<20} {:>6} {:>6} {:>6} {:>7}\n", "suite", "passed", "warned", "failed", "skipped");
        for (name, cases) in self.suites() {
            let count = |status| cases.iter().filter(|case| case.status == status).count();
            let _ = writeln!(
                out,
                "{name:<20} {:>6} {:>6} {:>6} {:>7}",
                count(Status::Passed),
                count(Status::Warned),
                count(Status::Failed),
                count(Status::Skipped),
            );
        }
        for status in [Status::Skipped, Status::Warned, Status::Failed] {
            for case in self.cases.iter().filter(|case| case.status == status) {
                let (word, suite) = (status.name(), case.suite);
                let _ = writeln!(out, "\n{word}: {suite} §{} {} ({})", case.section, case.name, case.level.name());
                let _ = writeln!(out, "  rule: {}\n  {}", case.rule, case.why);
            }
        }
        let _ = writeln!(out, "\n{}: {} in {:.1} s", self.target, self.totals(), self.took.as_secs_f64());
        out
    }

    /// One JSON object with every case and its transcript.
    pub fn to_json(&self) -> String {
        let case = |case: &Tested| {
            serde_json::json!({
                "suite": case.suite, "name": case.name, "section": case.section, "level": case.level.name(),
                "rule": case.rule, "status": case.status.name(), "why": case.why,
                "milliseconds": case.took.as_millis() as u64, "transcript": case.transcript,
            })
        };
        serde_json::json!({
            "target": self.target,
            "ok": self.exit_ok(),
            "milliseconds": self.took.as_millis() as u64,
            "passed": self.count(Status::Passed), "warned": self.count(Status::Warned),
            "failed": self.count(Status::Failed), "skipped": self.count(Status::Skipped),
            "cases": self.cases.iter().map(case).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// JUnit XML as CI systems read it; a warning is a passed case with a note on its output.
    pub fn to_junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
        let _ = writeln!(
            out,
            "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{}\">",
            escape(&self.target),
            self.cases.len(),
            self.count(Status::Failed),
            self.count(Status::Skipped),
            seconds(self.took),
        );
        for (name, cases) in self.suites() {
            let count = |status| cases.iter().filter(|case| case.status == status).count();
            let _ = writeln!(
                out,
                " <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
                cases.len(),
                count(Status::Failed),
                count(Status::Skipped),
                seconds(cases.iter().map(|case| case.took).sum()),
            );
            for case in cases {
                let _ = write!(
                    out,
                    "  <testcase classname=\"{name}\" name=\"{}\" time=\"{}\"",
                    escape(&format!("{} {} {}", case.section, case.name, case.level.name())),
                    seconds(case.took),
                );
                let why = escape(&case.why);
                let exchange = escape(&format!("{}\n\n{}", case.rule, case.transcript));
                let _ = match case.status {
                    Status::Passed => writeln!(out, "/>"),
                    Status::Skipped => writeln!(out, "><skipped message=\"{why}\"/></testcase>"),
                    Status::Failed => writeln!(out, "><failure message=\"{why}\">{exchange}</failure></testcase>"),
                    Status::Warned => {
                        writeln!(out, "><system-out>SHOULD not held: {why}\n{exchange}</system-out></testcase>")
                    }
                };
            }
            out += " </testsuite>\n";
        }
        out += "</testsuites>\n";
        out
    }

    /// A page of its own: no script, style or font from elsewhere.
    pub fn to_html(&self) -> String {
        crate::html::page(self)
    }
}

/// Text for XML and HTML; characters XML cannot hold become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Status) -> Report {
        let case = Tested {
            suite: "rfc0000",
            name: "a-case".into(),
            section: "1.2".into(),
            level: Level::Must,
            rule: "say <nothing> & listen".into(),
            status,
            why: "got \"x\"\u{0}".into(),
            took: Duration::from_millis(5),
            transcript: "> \u{1b}[0m".into(),
        };
        Report { target: "127.0.0.1:5060/udp".into(), took: Duration::from_secs(1), cases: vec![case] }
    }

    #[test]
    fn only_a_failed_must_or_nothing_tested_is_not_ok() {
        for (status, ok) in
            [(Status::Passed, true), (Status::Warned, true), (Status::Failed, false), (Status::Skipped, false)]
        {
            assert_eq!(report(status).exit_ok(), ok, "{status:?}");
        }
    }

    #[test]
    fn markup_in_a_transcript_stays_text() {
        let report = report(Status::Failed);
        for text in [report.to_junit(), report.to_html()] {
            assert!(text.contains("say &lt;nothing&gt; &amp; listen"), "{text}");
            assert!(!text.contains('\u{0}') && !text.contains('\u{1b}'));
        }
    }
}
