//! Writes to accounts, inside the writer's transaction.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Arguments, Executor, Row};

use super::Answer;
use super::bulk::Bulk;
use crate::account::{Account, AccountError, Failed, Imported, Secrets};
use crate::{StoreError, codec};

/// What can be asked.
#[derive(Debug)]
pub(super) enum AccountOp {
    Add {
        account: Account,
        tx: Answer<Result<(), AccountError>>,
    },
    /// With the position of each in the caller's list.
    Import {
        accounts: Vec<(usize, Account)>,
        tx: Answer<Imported>,
    },
    Update {
        account: Account,
        tx: Answer<Result<(), AccountError>>,
    },
    SetSecrets {
        aor: Box<str>,
        secrets: Secrets,
        tx: Answer<Result<(), AccountError>>,
    },
    Remove {
        aor: Box<str>,
        tx: Answer<Result<(), AccountError>>,
    },
}

impl AccountOp {
    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            AccountOp::Import { tx, .. } => drop(tx.send(Err(error))),
            AccountOp::Add { tx, .. }
            | AccountOp::Update { tx, .. }
            | AccountOp::SetSecrets { tx, .. }
            | AccountOp::Remove { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// The answer as it is after the commit.
type Waiting = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Does it; the answer is due after the commit.
pub(super) async fn write(conn: &mut SqliteConnection, op: AccountOp) -> Result<Waiting, StoreError> {
    let (done, tx) = match op {
        AccountOp::Import { accounts, tx } => {
            let imported = match import(conn, accounts).await.map_err(StoreError::from) {
                Ok(imported) => imported,
                Err(error) => {
                    tx.send(Err(error.clone())).ok();
                    return Err(error);
                }
            };
            return Ok(Box::new(move |end| drop(tx.send(end.map(|()| imported)))));
        }
        AccountOp::Add { account, tx } => (add(conn, account).await, tx),
        AccountOp::Update { account, tx } => (update(conn, account).await, tx),
        AccountOp::SetSecrets { aor, secrets, tx } => (set_secrets(conn, &aor, secrets).await, tx),
        AccountOp::Remove { aor, tx } => (remove(conn, &aor).await, tx),
    };
    let answer = match done {
        Ok(()) => Ok(()),
        Err(Failed::Account(error)) => Err(error),
        Err(Failed::Sql(error)) => {
            let error = StoreError::from(error);
            tx.send(Err(error.clone())).ok();
            return Err(error);
        }
    };
    Ok(Box::new(move |end| drop(tx.send(end.map(|()| answer)))))
}

async fn add(conn: &mut SqliteConnection, account: Account) -> Result<(), Failed> {
    if read(conn, &account.aor).await?.is_some() {
        return Err(AccountError::Exists.into());
    }
    claim(conn, &account).await?;
    put(conn, &account).await
}

async fn update(conn: &mut SqliteConnection, account: Account) -> Result<(), Failed> {
    let old = read(conn, &account.aor).await?.ok_or(AccountError::NotFound)?;
    claim(conn, &account).await?;
    for tel in old.tel.iter().filter(|tel| !account.tel.contains(tel)) {
        conn.execute(sqlx::query("delete from tel where tel = ?").bind(&**tel)).await?;
    }
    put(conn, &Account { created: old.created, ..account }).await
}

async fn set_secrets(conn: &mut SqliteConnection, aor: &str, secrets: Secrets) -> Result<(), Failed> {
    let old = read(conn, aor).await?.ok_or(AccountError::NotFound)?;
    put(conn, &Account { secrets, ..old }).await
}

async fn remove(conn: &mut SqliteConnection, aor: &str) -> Result<(), Failed> {
    let old = read(conn, aor).await?.ok_or(AccountError::NotFound)?;
    for tel in &old.tel {
        conn.execute(sqlx::query("delete from tel where tel = ?").bind(&**tel)).await?;
    }
    conn.execute(sqlx::query("delete from account where aor = ?").bind(aor)).await?;
    Ok(())
}

async fn read(conn: &mut SqliteConnection, aor: &str) -> Result<Option<Account>, Failed> {
    let row = conn.fetch_optional(sqlx::query("select data from account where aor = ?").bind(aor)).await?;
    Ok(row.map(|row| codec::take_account(aor, row.try_get(0)?)).transpose()?)
}

/// Takes the numbers of an account, or none of them.
async fn claim(conn: &mut SqliteConnection, account: &Account) -> Result<(), Failed> {
    for tel in &account.tel {
        let row = conn.fetch_optional(sqlx::query("select aor from tel where tel = ?").bind(&**tel)).await?;
        if row.map(|row| row.try_get::<&str, _>(0).map(|aor| aor != &*account.aor)).transpose()? == Some(true) {
            return Err(AccountError::TelTaken { tel: tel.clone() }.into());
        }
    }
    for tel in &account.tel {
        let query = sqlx::query("insert into tel (tel, aor) values (?, ?) on conflict (tel) do nothing");
        conn.execute(query.bind(&**tel).bind(&*account.aor)).await?;
    }
    Ok(())
}

async fn put(conn: &mut SqliteConnection, account: &Account) -> Result<(), Failed> {
    let query = sqlx::query(
        "insert into account (aor, data) values (?, ?) on conflict (aor) do update set data = excluded.data",
    );
    conn.execute(query.bind(&*account.aor).bind(codec::put_account(account))).await?;
    Ok(())
}

/// Looks up all names and numbers first, then inserts what is free.
async fn import(conn: &mut SqliteConnection, accounts: Vec<(usize, Account)>) -> Result<Imported, sqlx::Error> {
    let names = Bulk::new("select aor from account where aor in (", "?", ")");
    let numbers = Bulk::new("select tel from tel where tel in (", "?", ")");
    let aors: Vec<&str> = accounts.iter().map(|(_, account)| &*account.aor).collect();
    let tels: Vec<&str> = accounts.iter().flat_map(|(_, account)| account.tel.iter().map(|tel| &**tel)).collect();
    let mut taken_aors = taken(conn, &names, &aors).await?;
    let mut taken_tels = taken(conn, &numbers, &tels).await?;
    let mut imported = Imported::default();
    let mut fresh = Vec::with_capacity(accounts.len());
    for (at, account) in accounts {
        let free = !taken_aors.contains(&*account.aor) && !account.tel.iter().any(|tel| taken_tels.contains(&**tel));
        if free {
            taken_aors.insert(account.aor.to_string());
            taken_tels.extend(account.tel.iter().map(|tel| tel.to_string()));
            fresh.push(account);
        } else {
            imported.refused.push((at, account.aor));
        }
    }
    imported.added = fresh.len() as u64;
    fresh.sort_unstable_by(|a, b| a.aor.cmp(&b.aor));
    let insert = Bulk::new("insert into account (aor, data) values ", "(?,?)", "");
    insert
        .run(conn, fresh.iter(), |args, account| {
            args.add(&*account.aor)?;
            args.add(codec::put_account(account))
        })
        .await?;
    let mut pairs: Vec<(&str, &str)> =
        fresh.iter().flat_map(|account| account.tel.iter().map(|tel| (&**tel, &*account.aor))).collect();
    pairs.sort_unstable();
    let insert = Bulk::new("insert into tel (tel, aor) values ", "(?,?)", " on conflict (tel) do nothing");
    insert
        .run(conn, pairs.into_iter(), |args, (tel, aor)| {
            args.add(tel)?;
            args.add(aor)
        })
        .await?;
    Ok(imported)
}

/// Which of the keys are there.
async fn taken(conn: &mut SqliteConnection, bulk: &Bulk, keys: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let mut found = HashSet::new();
    let mut rest = keys.iter();
    for (text, size) in bulk.pieces(keys.len()) {
        let args = bulk.arguments(rest.by_ref().take(size), size, |args, key| args.add(*key))?;
        for row in conn.fetch_all(sqlx::query_with(text, args)).await? {
            found.insert(row.try_get(0)?);
        }
    }
    Ok(found)
}
