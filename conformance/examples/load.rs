//! `load KIND TARGET DOMAIN USERS RATE SECONDS [PASSWORD-PATTERN]`: a load from the command line, for trials.

use std::time::Duration;

use chappe_conformance::Target;
use chappe_conformance::load::{Kind, LoadOptions, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let get = |n: usize| args.get(n).map(String::as_str).ok_or("usage: KIND TARGET DOMAIN USERS RATE SECONDS");
    let kind = Kind::parse(get(0)?).ok_or("register, message or call")?;
    let mut options = LoadOptions::new(Target::parse(get(1)?)?, kind);
    options.domain = Some(get(2)?.to_owned());
    options.users = get(3)?.parse()?;
    options.rate = get(4)?.parse()?;
    options.time = Duration::from_secs_f64(get(5)?.parse()?);
    if let Ok(password) = get(6) {
        options.password = password.to_owned();
    }
    let report = run(options).await?;
    print!("{}", report.to_text());
    println!("{}", report.to_json());
    std::process::exit(i32::from(!report.exit_ok()));
}
