//! What the pages of the MSRP documents claim, against the documents and the suites.
//!
//! A page has a row for each section that has a MUST, and each case and test that it names is there. Whether the case shows what
//! the row says is left to readers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A page, the suite that its cases are of unless it says otherwise, and the sections of the document that have a MUST, MUST
/// NOT, SHALL or REQUIRED. Left out: the section that says what these words mean, and what a registry asks of other documents.
const PAGES: [(&str, &str, &str); 5] = [
    (
        "rfc4975",
        "msrp",
        "3 5.1 5.3 5.4 6 6.1 6.2 7.1 7.1.1 7.1.2 7.1.3 7.1.4 7.2 7.3 7.3.1 7.3.2 8.1 8.2 8.3 8.4 8.6 10 12 13 14.1 14.2 14.3 14.4",
    ),
    ("rfc4976", "msrp-relay", "3.1 4.2 5.1 5.2 6.3 6.4 6.4.1 6.4.3 8 9.1 9.2 9.4"),
    ("rfc6135", "msrp-endpoint", "4.2.1 4.2.2 4.3 4.4 4.5"),
    ("rfc6714", "msrp-endpoint", "4.2 4.3 4.5"),
    ("rfc7977", "msrp-ws", "4.1 4.2 5.1 5.2.2 5.3.1 6 9"),
];

/// Folders with the tests that pages name.
const CODE: [&str; 4] = ["msrp", "sdp", "net", "server/src/msrp"];

pub(crate) fn check() -> anyhow::Result<()> {
    let known = Known::read(crate::root())?;
    let mut wrong = String::new();
    for (page, suite, sections) in PAGES {
        let path = crate::root().join(format!("docs/compliance/{page}.md"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for fault in faults(&text, suite, sections, &known) {
            let _ = writeln!(wrong, "  {page}: {fault}");
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("compliance pages that do not hold:\n{wrong}") }
}

/// What a page may name.
#[derive(Default)]
struct Known {
    /// Cases by suite.
    suites: BTreeMap<String, BTreeSet<String>>,
    /// Functions of the crates that the pages are about.
    tests: BTreeSet<String>,
}

impl Known {
    fn read(root: &Path) -> anyhow::Result<Known> {
        let mut known = Known::default();
        for file in sources(&root.join("conformance/src/suite"))? {
            known.take_cases(&fs::read_to_string(file)?);
        }
        for folder in CODE {
            for file in sources(&root.join(folder))? {
                known.take_tests(&fs::read_to_string(file)?);
            }
        }
        Ok(known)
    }

    /// `cases! { "suite";` and below it lines of `"section" "case" Must "what it holds" => function;`.
    fn take_cases(&mut self, text: &str) {
        let mut suite = None;
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("cases! { \"") {
                suite = rest.split('"').next();
            }
            let words: Vec<_> = line.trim().splitn(5, '"').collect();
            if let (Some(suite), ["", _, " ", case, rest]) = (suite, &words[..])
                && ["Must", "Should", "May"].iter().any(|level| rest.trim_start().starts_with(level))
            {
                self.suites.entry(suite.to_owned()).or_default().insert((*case).to_owned());
            }
        }
    }

    fn take_tests(&mut self, text: &str) {
        let name = |line: &str| {
            let rest = line.trim().trim_start_matches("async ").strip_prefix("fn ")?;
            rest.split('(').next().map(str::to_owned)
        };
        self.tests.extend(text.lines().filter_map(name));
    }
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

fn faults(page: &str, suite: &str, sections: &str, known: &Known) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<_> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('|').trim()).collect();
        let [section, requirement, .., test] = cells[..] else {
            faults.push(format!("no row: {line}"));
            continue;
        };
        if section == "§" {
            continue;
        }
        // A row of another document counts for nothing here.
        if !section.contains("RFC") {
            seen.extend(section.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned));
        }
        let reason = cells[2..cells.len() - 1].iter().any(|cell| !["", "yes"].contains(cell));
        if test.is_empty() && !reason {
            faults.push(format!("§{section} has neither test nor reason: {requirement}"));
        }
        faults.extend(
            unknown(test, suite, known)
                .into_iter()
                .map(|name| format!("§{section} names `{name}`, which is not there")),
        );
    }
    faults.extend(
        sections.split(' ').filter(|section| !seen.contains(*section)).map(|section| format!("no row for §{section}")),
    );
    faults
}

/// Names of a cell that are neither a suite, nor a case of the suite named before them, nor a test. What is a folder, an
/// argument or an item of the code is no name of a test.
fn unknown(cell: &str, suite: &str, known: &Known) -> Vec<String> {
    let mut suite = suite;
    let mut unknown = Vec::new();
    for name in cell.split('`').skip(1).step_by(2) {
        let test = name.rsplit(": ").next().unwrap_or(name);
        let is_case = known.suites.get(suite).is_some_and(|cases| cases.contains(name));
        if known.suites.contains_key(name) {
            suite = name;
        } else if !is_case && !known.tests.contains(test) && !is_other(name) {
            unknown.push(name.to_owned());
        }
    }
    unknown
}

fn is_other(name: &str) -> bool {
    CODE.contains(&name) || name.contains('/') || name.contains("::") || name.starts_with("--") || name.ends_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_hold() {
        check().unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_page() {
        let mut known = Known::default();
        known.take_cases(
            "cases! { \"one\";\n  \"5.1\" \"first\" Must \"It holds\" => first;\n  \"5.2\" \"no\" => x;\n}\ncases! { \"two\";\n \
             \"7\" \"second\" Should \"It \\\"holds\\\"\" => second;",
        );
        known.take_tests("    #[test]\n    fn a_rule_holds() {\n    async fn waits(x: u8) {");
        let row = |row: &str| {
            let page = format!("| § | requirement | met | test |\n| --- | --- | --- | --- |\n{row}");
            faults(&page, "one", "5", &known).join("; ")
        };
        for (given, expected) in [
            ("| 5 | it does | yes | `first` |", ""),
            ("| 4, 5 | it does | | `first`, `two` `second`; `file: a_rule_holds`, `waits`, `--flag`, `a/b` |", ""),
            ("| 5 | it does | left to clients | |", ""),
            ("| 5 | it does | yes | |", "§5 has neither test nor reason: it does"),
            ("| 5 | it does | | |", "§5 has neither test nor reason: it does"),
            ("| 5 | it does | yes | `second` |", "§5 names `second`, which is not there"),
            ("| 5 | it does | yes | `two` `first` |", "§5 names `first`, which is not there"),
            (
                "| 5 | it does | yes | `no`, `file: a_rule` |",
                "§5 names `no`, which is not there; §5 names `file: a_rule`, which is not there",
            ),
            ("| 5.1 | it does | yes | `first` |", "no row for §5"),
            ("| RFC 9 5 | it does | yes | `first` |", "no row for §5"),
        ] {
            assert_eq!(row(given), expected, "{given}");
        }
    }
}
