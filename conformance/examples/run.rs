//! `run TARGET DOMAIN ACCOUNTS(user:password,…) [HTTP|-] [SUITE…|~FILTER]`: a run from the command line, for trials.

use chappe_conformance::{Account, Options, Target, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut options = Options::new(Target::parse(&args.next().ok_or("no target")?)?);
    options.domain = args.next();
    for pair in args.next().unwrap_or_default().split(',') {
        if let Some((user, password)) = pair.split_once(':') {
            options.accounts.push(Account { user: user.to_owned(), password: password.to_owned() });
        }
    }
    options.http = args.next().filter(|url| url != "-");
    for word in args {
        match word.strip_prefix('~') {
            Some(filter) => options.filter = filter.to_owned(),
            None => options.suites.push(word),
        }
    }
    options.keep_transcripts = std::env::var_os("KEEP").is_some();
    let report = run(options).await?;
    if let Ok(path) = std::env::var("REPORT") {
        std::fs::write(format!("{path}.html"), report.to_html())?;
        std::fs::write(format!("{path}.xml"), report.to_junit())?;
        std::fs::write(format!("{path}.json"), report.to_json())?;
    }
    print!("{}", report.to_text());
    std::process::exit(i32::from(!report.exit_ok()));
}
