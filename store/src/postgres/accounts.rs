//! Accounts and their numbers.

use std::collections::HashSet;

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::{PIECE, Postgres, TRIES, again, past, shard};
use crate::account::{Account, AccountError, AccountStore, Failed, Imported, Secrets};
use crate::{StoreError, codec};

/// What is done in one transaction.
enum Change<'a> {
    Add(&'a Account),
    Update(&'a Account),
    SetSecrets(&'a str, &'a Secrets),
    Remove(&'a str),
}

impl Postgres {
    async fn change(&self, change: Change<'_>) -> Result<(), AccountError> {
        for _ in 0..TRIES {
            let mut tx = self.pool.begin().await.map_err(StoreError::from)?;
            let done = match &change {
                Change::Add(account) => add(&mut tx, account).await,
                Change::Update(account) => update(&mut tx, account).await,
                Change::SetSecrets(aor, secrets) => set_secrets(&mut tx, aor, **secrets).await,
                Change::Remove(aor) => remove(&mut tx, aor).await,
            };
            let done = match done {
                Ok(()) => tx.commit().await.map_err(Failed::Sql),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => return Ok(()),
                Err(Failed::Account(error)) => return Err(error),
                Err(Failed::Sql(error)) if again(&error) => {}
                Err(Failed::Sql(error)) => return Err(StoreError::from(error).into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Adds what is free of a piece; `None` where somebody else wrote in between.
    async fn import_piece(&self, accounts: &[(usize, Account)]) -> Result<Option<Imported>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let aors: Vec<&str> = accounts.iter().map(|(_, account)| &*account.aor).collect();
        let tels: Vec<&str> = accounts.iter().flat_map(|(_, account)| account.tel.iter().map(|tel| &**tel)).collect();
        let mut taken_aors = taken(
            &mut tx,
            "select a.aor from account a join unnest($1::integer[], $2::text[]) as w (shard, aor)
             on a.shard = w.shard and a.aor = w.aor",
            &aors,
        )
        .await?;
        let mut taken_tels = taken(
            &mut tx,
            "select t.tel from tel t join unnest($1::integer[], $2::text[]) as w (shard, tel)
             on t.shard = w.shard and t.tel = w.tel",
            &tels,
        )
        .await?;
        let mut imported = Imported::default();
        let mut fresh = Vec::with_capacity(accounts.len());
        for (at, account) in accounts {
            if taken_aors.contains(&*account.aor) || account.tel.iter().any(|tel| taken_tels.contains(&**tel)) {
                imported.refused.push((*at, account.aor.clone()));
            } else {
                taken_aors.insert(account.aor.to_string());
                taken_tels.extend(account.tel.iter().map(|tel| tel.to_string()));
                fresh.push(account);
            }
        }
        imported.added = fresh.len() as u64;
        fresh.sort_by_key(|account| (shard(&account.aor), &account.aor));
        let text = "insert into account (shard, aor, data) select * from unnest($1::integer[], $2::text[], $3::bytea[])
             on conflict (shard, aor) do nothing";
        let query = sqlx::query(text)
            .bind(fresh.iter().map(|account| shard(&account.aor)).collect::<Vec<_>>())
            .bind(fresh.iter().map(|account| &*account.aor).collect::<Vec<_>>())
            .bind(fresh.iter().map(|account| codec::put_account(account)).collect::<Vec<_>>());
        if tx.execute(query).await?.rows_affected() != imported.added {
            return Ok(None);
        }
        let mut pairs: Vec<(i32, &str, &str)> = fresh
            .iter()
            .flat_map(|account| account.tel.iter().map(|tel| (shard(tel), &**tel, &*account.aor)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let text = "insert into tel (shard, tel, aor) select * from unnest($1::integer[], $2::text[], $3::text[])
             on conflict (shard, tel) do nothing";
        let query = sqlx::query(text)
            .bind(pairs.iter().map(|(shard, _, _)| *shard).collect::<Vec<_>>())
            .bind(pairs.iter().map(|(_, tel, _)| *tel).collect::<Vec<_>>())
            .bind(pairs.iter().map(|(_, _, aor)| *aor).collect::<Vec<_>>());
        if tx.execute(query).await?.rows_affected() != pairs.len() as u64 {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(imported))
    }
}

/// Which of the keys are there.
async fn taken(tx: &mut PgConnection, text: &'static str, keys: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let shards: Vec<i32> = keys.iter().map(|key| shard(key)).collect();
    let rows = tx.fetch_all(sqlx::query(text).bind(shards).bind(keys)).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn add(tx: &mut PgConnection, account: &Account) -> Result<(), Failed> {
    let text = "insert into account (shard, aor, data) values ($1, $2, $3) on conflict (shard, aor) do nothing";
    let query = sqlx::query(text).bind(shard(&account.aor)).bind(&*account.aor).bind(codec::put_account(account));
    if tx.execute(query).await?.rows_affected() == 0 {
        return Err(AccountError::Exists.into());
    }
    claim(tx, account).await
}

async fn update(tx: &mut PgConnection, account: &Account) -> Result<(), Failed> {
    let old = lock(tx, &account.aor).await?;
    for tel in old.tel.iter().filter(|tel| !account.tel.contains(tel)) {
        free(tx, tel).await?;
    }
    put(tx, &Account { created: old.created, ..account.clone() }).await?;
    claim(tx, account).await
}

async fn set_secrets(tx: &mut PgConnection, aor: &str, secrets: Secrets) -> Result<(), Failed> {
    let old = lock(tx, aor).await?;
    put(tx, &Account { secrets, ..old }).await
}

async fn remove(tx: &mut PgConnection, aor: &str) -> Result<(), Failed> {
    let old = lock(tx, aor).await?;
    for tel in &old.tel {
        free(tx, tel).await?;
    }
    tx.execute(sqlx::query("delete from account where shard = $1 and aor = $2").bind(shard(aor)).bind(aor)).await?;
    Ok(())
}

/// Reads an account that nobody else may change until the transaction ends.
async fn lock(tx: &mut PgConnection, aor: &str) -> Result<Account, Failed> {
    let query = sqlx::query("select data from account where shard = $1 and aor = $2 for update");
    let row = tx.fetch_optional(query.bind(shard(aor)).bind(aor)).await?.ok_or(AccountError::NotFound)?;
    Ok(codec::take_account(aor, row.try_get(0)?)?)
}

async fn put(tx: &mut PgConnection, account: &Account) -> Result<(), Failed> {
    let query = sqlx::query("update account set data = $3 where shard = $1 and aor = $2");
    tx.execute(query.bind(shard(&account.aor)).bind(&*account.aor).bind(codec::put_account(account))).await?;
    Ok(())
}

async fn free(tx: &mut PgConnection, tel: &str) -> Result<(), Failed> {
    tx.execute(sqlx::query("delete from tel where shard = $1 and tel = $2").bind(shard(tel)).bind(tel)).await?;
    Ok(())
}

/// Takes the numbers of an account; the transaction ends without effect where one is another's.
async fn claim(tx: &mut PgConnection, account: &Account) -> Result<(), Failed> {
    // In the order of the key: two that want the same numbers do not wait for each other in a circle.
    let mut tels: Vec<_> = account.tel.iter().map(|tel| (shard(tel), tel)).collect();
    tels.sort_unstable();
    for (shard, tel) in tels {
        let text = "insert into tel (shard, tel, aor) values ($1, $2, $3) on conflict (shard, tel) do nothing";
        let query = sqlx::query(text).bind(shard).bind(&**tel).bind(&*account.aor);
        if tx.execute(query).await?.rows_affected() == 1 {
            continue;
        }
        let query = sqlx::query("select aor from tel where shard = $1 and tel = $2").bind(shard).bind(&**tel);
        let row = tx.fetch_optional(query).await?;
        if row.map(|row| row.try_get::<&str, _>(0).map(|aor| aor == &*account.aor)).transpose()? != Some(true) {
            return Err(AccountError::TelTaken { tel: tel.clone() }.into());
        }
    }
    Ok(())
}

#[async_trait::async_trait]
impl AccountStore for Postgres {
    async fn add(&self, account: Account) -> Result<(), AccountError> {
        self.change(Change::Add(&account)).await
    }

    async fn import(&self, accounts: Vec<Account>) -> Result<Imported, StoreError> {
        let mut imported = Imported::default();
        let mut accounts = accounts.into_iter().enumerate();
        loop {
            let piece: Vec<_> = accounts.by_ref().take(PIECE).collect();
            if piece.is_empty() {
                return Ok(imported);
            }
            let mut tries = 0;
            let done = loop {
                match self.import_piece(&piece).await {
                    Ok(Some(done)) => break done,
                    Err(error) if !again(&error) => return Err(error.into()),
                    _ if tries == TRIES => return Err(StoreError::Conflict),
                    _ => tries += 1,
                }
            };
            imported.added += done.added;
            imported.refused.extend(done.refused);
        }
    }

    async fn update(&self, account: Account) -> Result<(), AccountError> {
        self.change(Change::Update(&account)).await
    }

    async fn set_secrets(&self, aor: &str, secrets: Secrets) -> Result<(), AccountError> {
        self.change(Change::SetSecrets(aor, &secrets)).await
    }

    async fn remove(&self, aor: &str) -> Result<(), AccountError> {
        self.change(Change::Remove(aor)).await
    }

    async fn account(&self, aor: &str) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("select data from account where shard = $1 and aor = $2");
        let row = self.pool.fetch_optional(query.bind(shard(aor)).bind(aor)).await?;
        row.map(|row| codec::take_account(aor, row.try_get(0)?)).transpose()
    }

    async fn aor_of(&self, tel: &str) -> Result<Option<Box<str>>, StoreError> {
        let query = sqlx::query("select aor from tel where shard = $1 and tel = $2");
        let row = self.pool.fetch_optional(query.bind(shard(tel)).bind(tel)).await?;
        row.map(|row| Ok(row.try_get::<&str, _>(0)?.into())).transpose()
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, StoreError> {
        let text = "select aor, data from account where (shard, aor) > ($1, $2) order by shard, aor limit $3";
        let rows = self.pool.fetch_all(past(text, after, limit)).await?;
        rows.iter().map(|row| codec::take_account(row.try_get(0)?, row.try_get(1)?)).collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.pool.fetch_one("select count(*) from account").await?.try_get::<i64, _>(0)? as u64)
    }
}
