//! `chappe account`: through the running server, or on the store of one that is stopped.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use axum::http::Method;
use chappe_api::{Account, AccountChange, Accounts, Export, Imported, List, NewAccount, Page, SignedOut, UserDevice};
use clap::{Args, Subcommand};

use super::output::{self, Table, say};
use super::place::Door;
use super::{FAILED, OK, Place, Usage, csv, subscribers};
use crate::admin::segment;
use crate::lists;

/// Accounts sent to the server at a time.
const IMPORT_BATCH: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an account
    #[command(after_help = "Examples:\n  chappe account add alice@example.com\n  \
                            chappe account add bob@example.com --password-file bob.txt --tel +15550001 --name \"Bob\"")]
    Add {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        password: Password,
        /// Number that reaches the account, +15550001; may be repeated
        #[arg(long, value_name = "NUMBER")]
        tel: Vec<String>,
        /// Name to show
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// List all accounts
    #[command(after_help = "Examples:\n  chappe account list --json")]
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Show one account
    #[command(after_help = "Examples:\n  chappe account show alice@example.com")]
    Show {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        options: Options,
    },
    /// Set another password
    #[command(after_help = "Examples:\n  chappe account passwd alice@example.com\n  \
                            pass show alice | chappe account passwd alice@example.com --password-file -")]
    Passwd {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        options: Options,
    },
    /// Keep messages of others from a user; who is blocked does not notice
    #[command(after_help = "WHOM is USER@DOMAIN, a number (+15550001), or a whole domain (sip:example.net).\n\n\
                            Examples:\n  chappe account block alice@example.com eve@example.com +15550009")]
    Block {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[arg(value_name = "WHOM", required = true)]
        whom: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Let messages of somebody through again
    #[command(after_help = "Examples:\n  chappe account unblock alice@example.com eve@example.com")]
    Unblock {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[arg(value_name = "WHOM", required = true)]
        whom: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// List whom a user has blocked
    #[command(after_help = "Examples:\n  chappe account blocked alice@example.com")]
    Blocked {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        options: Options,
    },
    /// Whether others hear what a user has read
    #[command(after_help = "Examples:\n  chappe account privacy alice@example.com --hide-displayed true")]
    Privacy {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        /// Tell nobody that a message was displayed
        #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
        hide_displayed: bool,
        #[command(flatten)]
        options: Options,
    },
    /// List what is signed in as a user: handsets that were configured, clients with tokens, devices that registered
    #[command(after_help = "Examples:\n  chappe account devices alice@example.com")]
    Devices {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        options: Options,
    },
    /// Sign a device of a user out
    #[command(
        after_help = "DEVICE is an id that `chappe account devices` shows. Its log-in and its tokens are worth nothing any \
                            more and its registrations end. A device that has the user's own password may register \
                            again: set another with `chappe account passwd`.\n\n\
                            Examples:\n  chappe account signout alice@example.com 5b1f0c77a2e9"
    )]
    Signout {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[arg(value_name = "DEVICE")]
        device: String,
        #[command(flatten)]
        options: Options,
    },
    /// Remove an account, its registrations and the messages that wait for it
    #[command(
        after_help = "With --erase nothing that tells of the user is left in any file of a running server, but what other users \
                            wrote down and what backups hold; a receipt lists what went.\n\n\
                            Examples:\n  chappe account remove alice@example.com\n  \
                            chappe account remove --erase alice@example.com --json > receipt.json"
    )]
    Remove {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        /// Erase all that tells of the user, and print a receipt
        #[arg(long)]
        erase: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Add accounts from a CSV file, or from the subscribers of Kamailio or OpenSIPS
    #[command(
        after_help = "Columns: USER@DOMAIN,password[,numbers separated by blanks[,name]]; a first line that begins \
                            with \"user\" or \"aor\" and has no @ is a heading. Fields may be quoted. Accounts that \
                            exist are left alone and named; the others are added.\n\n\
                            With --subscribers FILE is the table of subscribers of Kamailio or OpenSIPS: a dump by \
                            mysqldump or pg_dump, or CSV with the names of the columns in its first line (sqlite3 -csv -header, \
                            psql --csv). Users keep their passwords: ha1, ha1b, ha1_sha256 and ha1_sha512t256 are taken \
                            over. A user name that is a number gets that number.\n\n\
                            Importing the same file again changes nothing.\n\n\
                            Examples:\n  chappe account import users.csv\n  \
                            mysqldump kamailio subscriber | chappe account import --subscribers -"
    )]
    Import {
        /// "-" reads standard input
        #[arg(value_name = "FILE.csv")]
        file: PathBuf,
        /// FILE is the table of subscribers of another server
        #[arg(long)]
        subscribers: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Print all that is kept of a user as JSON: account, devices, documents, files, messages, groups
    #[command(after_help = "Examples:\n  chappe account export alice@example.com > alice.json")]
    Export {
        #[arg(value_name = "USER@DOMAIN")]
        aor: String,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Password {
    /// The password; others on this machine may see it. Without this and --password-file one is made and printed
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// File that holds the password; "-" reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Password {
    /// The password, and whether it was made here.
    fn get(self) -> anyhow::Result<(String, bool)> {
        match (self.password, self.password_file) {
            (Some(password), _) => Ok((password, false)),
            (None, Some(file)) => Ok((read(&file)?.trim_end_matches(['\r', '\n']).to_owned(), false)),
            (None, None) => Ok((crate::random::password(), true)),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

pub(super) async fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Add { aor, password, tel, name, options } => {
            let (password, made) = password.get()?;
            let new = NewAccount { aor, password: password.clone(), tel, display_name: name, ha1: None };
            let added = options.place.door().await?.add(&new).await?;
            report(&options, &added, made.then_some(password.as_str()), "added")
        }
        Command::Passwd { aor, password, options } => {
            let (password, made) = password.get()?;
            let change = AccountChange { password: Some(password.clone()), ..AccountChange::default() };
            let changed = options.place.door().await?.change(&aor, change).await?;
            report(&options, &changed, made.then_some(password.as_str()), "has a new password")
        }
        Command::List { options } => list(&options).await,
        Command::Show { aor, options } => {
            let account = options.place.door().await?.show(&aor).await?;
            if options.json {
                return output::json(&account).map(|()| OK);
            }
            print_account(&account)?;
            Ok(OK)
        }
        Command::Block { aor, whom, options } => {
            let entries = whom.iter().map(|whom| lists::entry_of(whom));
            block(&aor, &options, |list| list.extend(entries)).await
        }
        Command::Unblock { aor, whom, options } => {
            let entries: Vec<String> = whom.iter().map(|whom| lists::entry_of(whom)).collect();
            block(&aor, &options, |list| list.retain(|entry| !entries.contains(entry))).await
        }
        Command::Blocked { aor, options } => {
            let account = options.place.door().await?.show(&aor).await?;
            print_blocked(&options, &account)
        }
        Command::Privacy { aor, hide_displayed, options } => {
            let change = AccountChange { hides_displayed: Some(hide_displayed), ..AccountChange::default() };
            let changed = options.place.door().await?.change(&aor, change).await?;
            let done = if hide_displayed { "hides what was displayed" } else { "tells what was displayed" };
            report(&options, &changed, None, done)
        }
        Command::Devices { aor, options } => devices(&aor, &options).await,
        Command::Signout { aor, device, options } => {
            let path = format!("{}/devices/{}", path(&aor), segment(&device));
            let done: SignedOut = options.place.running()?.call(Method::DELETE, &path, None::<&()>).await?;
            if options.json {
                return output::json(&done).map(|()| OK);
            }
            say!("{device} is signed out: {} ended.", done.ended)?;
            Ok(OK)
        }
        Command::Remove { aor, erase: true, options } => erase(&aor, &options).await,
        Command::Remove { aor, erase: false, options } => {
            options.place.door().await?.remove(&aor).await?;
            if !options.json {
                say!("{aor} removed.")?;
            }
            Ok(OK)
        }
        Command::Import { file, subscribers, options } => import(&file, subscribers, &options).await,
        Command::Export { aor, options } => {
            output::json(&options.place.door().await?.export(&aor).await?)?;
            Ok(OK)
        }
    }
}

async fn devices(aor: &str, options: &Options) -> anyhow::Result<u8> {
    let devices: Vec<UserDevice> = options.place.running()?.get(&format!("{}/devices", path(aor))).await?;
    if options.json {
        return output::json(&devices).map(|()| OK);
    }
    let mut table = Table::new(["device", "kind", "name", "last seen (UTC)", ""]);
    for device in devices {
        let registered = if device.registered { "registered" } else { "" };
        table.row([device.id, device.kind, device.name, output::date(device.last_seen), registered.into()]);
    }
    match table.is_empty() {
        true => say!("Nothing is signed in as {aor}.")?,
        false => output::print(&table)?,
    }
    Ok(OK)
}

async fn erase(aor: &str, options: &Options) -> anyhow::Result<u8> {
    // Sessions, files and groups belong to the server that runs.
    let receipt = options.place.running()?.erase(aor).await?;
    if options.json {
        return output::json(&receipt).map(|()| OK);
    }
    say!("{} erased at {} UTC.", receipt.aor, output::date(receipt.at))?;
    let mut table = Table::new(["gone", "count"]);
    for gone in receipt.gone.iter().filter(|gone| gone.count > 0) {
        table.row([gone.what.clone(), gone.count.to_string()]);
    }
    output::print(&table)?;
    for kept in &receipt.kept {
        say!("Kept: {}: {}.", kept.what, kept.why)?;
    }
    Ok(OK)
}

fn report(options: &Options, account: &Account, password: Option<&str>, done: &str) -> anyhow::Result<u8> {
    if options.json {
        let mut value = serde_json::to_value(account)?;
        if let Some(password) = password {
            value["password"] = password.into();
        }
        return output::json(&value).map(|()| OK);
    }
    say!("{} {done}.", account.aor)?;
    if let Some(password) = password {
        say!("Password: {password}")?;
    }
    Ok(OK)
}

/// Changes the block list of a user, as a whole.
async fn block(aor: &str, options: &Options, change: impl FnOnce(&mut Vec<String>)) -> anyhow::Result<u8> {
    let mut list = options.place.door().await?.show(aor).await?.blocked;
    change(&mut list);
    let change = AccountChange { blocked: Some(list), ..AccountChange::default() };
    let changed = options.place.door().await?.change(aor, change).await?;
    print_blocked(options, &changed)
}

/// The whole list: the account's, and what the user's phone has written.
fn print_blocked(options: &Options, account: &Account) -> anyhow::Result<u8> {
    let by_phone: Vec<String> = blocked_by_phone(account).collect();
    if options.json {
        let all: Vec<&String> = account.blocked.iter().chain(&by_phone).collect();
        return output::json(&all).map(|()| OK);
    }
    if account.blocked.is_empty() && by_phone.is_empty() {
        say!("{} blocks nobody.", account.aor)?;
    }
    for entry in &account.blocked {
        say!("{entry}")?;
    }
    for entry in by_phone {
        say!("{entry}  (by the user's phone)")?;
    }
    Ok(OK)
}

fn blocked_by_phone(account: &Account) -> impl Iterator<Item = String> {
    let entries = account.blocked_contacts.iter().map(|entry| lists::entry_of(entry));
    entries.filter(|entry| !account.blocked.contains(entry))
}

fn print_account(account: &Account) -> std::io::Result<()> {
    say!("{}{}", account.aor, if account.disabled { "  (disabled)" } else { "" })?;
    if !account.display_name.is_empty() {
        say!("  name     {}", account.display_name)?;
    }
    for tel in &account.tel {
        say!("  number   {tel}")?;
    }
    for entry in &account.blocked {
        say!("  blocks   {entry}")?;
    }
    for entry in blocked_by_phone(account) {
        say!("  blocks   {entry}  (by the user's phone)")?;
    }
    if account.hides_displayed {
        say!("  hides    what was displayed")?;
    }
    say!("  created  {} UTC", output::date(account.created))
}

async fn list(options: &Options) -> anyhow::Result<u8> {
    let door = options.place.door().await?;
    let mut page = Page { after: None, limit: Page::MAX };
    let mut accounts = Vec::new();
    loop {
        let List { items, next } = door.list(&page).await?;
        accounts.extend(items);
        match next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    if options.json {
        return output::json(&accounts).map(|()| OK);
    }
    let mut table = Table::new(["user", "name", "numbers", "created", ""]);
    for account in &accounts {
        let disabled = if account.disabled { "disabled" } else { "" };
        let created = output::date(account.created);
        table.row([account.aor.clone(), account.display_name.clone(), account.tel.join(" "), created, disabled.into()]);
    }
    match table.is_empty() {
        true => say!("No accounts. Add one with `chappe account add USER@DOMAIN`.")?,
        false => output::print(&table)?,
    }
    Ok(OK)
}

async fn import(file: &Path, subscribers: bool, options: &Options) -> anyhow::Result<u8> {
    let text = read(file)?;
    let rows = if subscribers { subscribers::read(&text) } else { csv::read(&text) };
    let rows = rows.map_err(|fault| Usage(format!("{}: {fault}", file.display())))?;
    let door = options.place.door().await?;
    let mut total = Imported::default();
    let mut offset = 0;
    for batch in rows.chunks(IMPORT_BATCH) {
        let done = door.import(batch.iter().map(|(_, account)| account.clone()).collect()).await?;
        total.added += done.added;
        total.unchanged += done.unchanged;
        total.refused.extend(done.refused.into_iter().map(|mut refused| {
            refused.index += offset;
            refused
        }));
        offset += batch.len();
    }
    let code = if total.refused.is_empty() { OK } else { FAILED };
    if options.json {
        return output::json(&total).map(|()| code);
    }
    for refused in &total.refused {
        let line = rows.get(refused.index).map_or(0, |(line, _)| *line);
        eprintln!("{}:{line}: {}: {}", file.display(), refused.aor, refused.reason);
    }
    let unchanged = if total.unchanged > 0 { format!(", {} were there", total.unchanged) } else { String::new() };
    say!("{} added{unchanged}, {} refused.", total.added, total.refused.len())?;
    Ok(code)
}

impl Door {
    async fn add(&self, new: &NewAccount) -> anyhow::Result<Account> {
        match self {
            Door::Running(admin) => admin.call(Method::POST, "/api/accounts", Some(new)).await,
            Door::Stopped { accounts, stores } => closing(stores, accounts.add(new.clone()).await).await,
        }
    }

    async fn list(&self, page: &Page) -> anyhow::Result<List<Account>> {
        match self {
            Door::Running(admin) => {
                let after = page.after.as_deref().map(|after| format!("&after={}", segment(after))).unwrap_or_default();
                admin.get(&format!("/api/accounts?limit={}{after}", page.limit)).await
            }
            // More pages may follow: the store closes with the process.
            Door::Stopped { accounts, .. } => Ok(accounts.list(page.clone()).await?),
        }
    }

    async fn show(&self, aor: &str) -> anyhow::Result<Account> {
        match self {
            Door::Running(admin) => admin.get(&path(aor)).await,
            Door::Stopped { accounts, stores } => closing(stores, accounts.show(aor).await).await,
        }
    }

    async fn change(&self, aor: &str, change: AccountChange) -> anyhow::Result<Account> {
        match self {
            Door::Running(admin) => admin.call(Method::PATCH, &path(aor), Some(&change)).await,
            Door::Stopped { accounts, stores } => closing(stores, accounts.change(aor, change).await).await,
        }
    }

    async fn export(&self, aor: &str) -> anyhow::Result<Export> {
        match self {
            Door::Running(admin) => admin.get(&format!("{}/export", path(aor))).await,
            Door::Stopped { accounts, stores } => closing(stores, accounts.export(aor).await).await,
        }
    }

    async fn remove(&self, aor: &str) -> anyhow::Result<()> {
        match self {
            Door::Running(admin) => admin.call(Method::DELETE, &path(aor), None::<&()>).await,
            Door::Stopped { accounts, stores } => closing(stores, accounts.remove(aor).await).await,
        }
    }

    async fn import(&self, batch: Vec<NewAccount>) -> anyhow::Result<Imported> {
        match self {
            Door::Running(admin) => admin.call(Method::POST, "/api/accounts/import", Some(&batch)).await,
            Door::Stopped { accounts, .. } => Ok(accounts.import(batch).await?),
        }
    }
}

/// Closes the store before its answer is shown.
async fn closing<T>(stores: &chappe_store::Stores, answer: Result<T, chappe_api::NodeError>) -> anyhow::Result<T> {
    let closed = stores.close().await;
    let answer = answer?;
    closed?;
    Ok(answer)
}

fn path(aor: &str) -> String {
    format!("/api/accounts/{}", segment(aor))
}
