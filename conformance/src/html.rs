//! The report as one page.

use std::fmt::Write as _;

use crate::report::{Report, Status, Tested, escape};

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fbfbf9;--card:#fff;--ink:#1d2327;--dim:#68737d;--line:#e3e3dd;
--passed:#1a7f4b;--warned:#a66a00;--failed:#c02a2a;--skipped:#77808a;--code:#f4f4ef}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1c2024;--ink:#e5e8ea;--dim:#98a2ab;--line:#30363c;
--passed:#4cc38a;--warned:#e2a336;--failed:#ff7b72;--skipped:#8b949e;--code:#111417}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:2rem 1rem 4rem}h1{font-size:1.6rem;margin:0}p.sub{color:var(--dim);margin:.2rem 0 1.4rem}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin-bottom:1rem}.tile{background:var(--card);border:1px solid var(--line);
border-radius:.6rem;padding:.6rem 1.2rem;min-width:8rem}.tile b{display:block;font-size:1.7rem;line-height:1.2}
.bar{display:flex;height:.5rem;border-radius:.25rem;overflow:hidden;background:var(--line)}.bar i{display:block}
nav{display:flex;flex-wrap:wrap;gap:.4rem;margin:1.2rem 0}nav a{color:inherit;text-decoration:none;border:1px solid var(--line);
background:var(--card);border-radius:1rem;padding:.1rem .7rem;font-size:.85rem}
a{color:inherit}section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;margin:1rem 0;padding:1rem 1.2rem}
h2{font-size:1.1rem;margin:0 0 .6rem;display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}
h2 small{color:var(--dim);font-weight:400}table{width:100%;border-collapse:collapse}
td{border-top:1px solid var(--line);padding:.4rem .6rem .4rem 0;vertical-align:top}td.s{white-space:nowrap;color:var(--dim);width:6rem}
td.l{color:var(--dim);font-size:.75rem;width:4.5rem;padding-top:.6rem}td.r{width:6rem;white-space:nowrap;font-weight:600}
code{font:13px/1.45 ui-monospace,monospace}.why{color:var(--dim)}details{margin-top:.3rem}summary{cursor:pointer;color:var(--dim)}
pre{background:var(--code);border:1px solid var(--line);border-radius:.4rem;padding:.8rem;overflow:auto;max-height:32rem;
font:12px/1.45 ui-monospace,monospace}
.passed{color:var(--passed)}.warned{color:var(--warned)}.failed{color:var(--failed)}.skipped{color:var(--skipped)}
.bar .passed{background:var(--passed)}.bar .warned{background:var(--warned)}.bar .failed{background:var(--failed)}
.bar .skipped{background:var(--skipped)}";

const ORDER: [Status; 4] = [Status::Passed, Status::Warned, Status::Failed, Status::Skipped];

fn bar<'a>(cases: impl Iterator<Item = &'a Tested> + Clone) -> String {
    let total = cases.clone().count().max(1);
    let part = |status: Status| {
        let share = cases.clone().filter(|case| case.status == status).count() as f64 * 100.0 / total as f64;
        format!("<i class=\"{}\" style=\"width:{share:.2}%\"></i>", status.name())
    };
    format!("<div class=\"bar\" role=\"presentation\">{}</div>", ORDER.map(part).concat())
}

pub(crate) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>SIP conformance of {0}</title><style>{STYLE}</style></head><body><main>\
         <h1>SIP conformance</h1><p class=\"sub\">{0} · {1} cases in {2:.1} s · {3}</p><div class=\"tiles\">",
        escape(&report.target),
        report.cases.len(),
        report.took.as_secs_f64(),
        if report.exit_ok() { "every MUST tested holds" } else { "not every MUST holds" },
    );
    for status in ORDER {
        let _ =
            write!(out, "<div class=\"tile\"><b class=\"{0}\">{1}</b>{0}</div>", status.name(), report.count(status));
    }
    let _ = write!(out, "</div>{}<nav>", bar(report.cases.iter()));
    let suites = report.suites();
    for (name, cases) in &suites {
        let bad = cases.iter().any(|case| case.status == Status::Failed);
        let class = if bad { "failed" } else { "" };
        let _ = write!(out, "<a class=\"{class}\" href=\"#{name}\">{name}</a>");
    }
    out += "</nav>";
    findings(&mut out, report);
    for (name, cases) in &suites {
        let passed = cases.iter().filter(|case| case.status == Status::Passed).count();
        let _ = write!(out, "<section id=\"{name}\"><h2>{name}<small>{passed} of {} passed</small></h2>", cases.len());
        out += &bar(cases.iter().copied());
        out += "<table>";
        for case in cases {
            row(&mut out, case);
        }
        out += "</table></section>";
    }
    out += "</main></body></html>\n";
    out
}

/// What did not hold, the failures first, each with a way to its exchange.
fn findings(out: &mut String, report: &Report) {
    let of = |status: Status| report.cases.iter().filter(move |case| case.status == status);
    let mut found = of(Status::Failed).chain(of(Status::Warned)).peekable();
    if found.peek().is_none() {
        return;
    }
    *out += "<section><h2>What did not hold</h2><table>";
    for case in found {
        let _ = write!(
            out,
            "<tr><td class=\"r {0}\">{0}</td><td><a href=\"#{1}-{2}\">{1} §{3} <code>{2}</code></a><br>{4}\
             <div class=\"why\">{5}</div></td></tr>",
            case.status.name(),
            escape(case.suite),
            escape(&case.name),
            escape(&case.section),
            escape(&case.rule),
            escape(&case.why),
        );
    }
    *out += "</table></section>";
}

fn row(out: &mut String, case: &Tested) {
    let _ = write!(
        out,
        "<tr id=\"{}-{}\"><td class=\"s\">§{}</td><td class=\"l\">{}</td><td><code>{}</code><br>{}",
        escape(case.suite),
        escape(&case.name),
        escape(&case.section),
        case.level.name(),
        escape(&case.name),
        escape(&case.rule),
    );
    if !case.why.is_empty() {
        let _ = write!(out, "<div class=\"why\">{}</div>", escape(&case.why));
    }
    if !case.transcript.is_empty() {
        let _ = write!(out, "<details><summary>exchange</summary><pre>{}</pre></details>", escape(&case.transcript));
    }
    let _ = write!(out, "</td><td class=\"r {0}\">{0}</td></tr>", case.status.name());
}
