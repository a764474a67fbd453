//! Who is signed in.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};

use super::groups::answer;
use super::writer::Waiting;
use super::{Answer, Op, Sqlite};
use crate::sign_in::{SignIn, SignIns};
use crate::{StoreError, codec};

/// What can be asked.
#[derive(Debug)]
pub(super) enum SignInOp {
    Put { sign_in: SignIn, tx: Answer<()> },
    Remove { aor: Box<str>, id: Option<Box<str>>, tx: Answer<u64> },
}

impl SignInOp {
    /// Answers without having done it.
    pub(super) fn fail(self, error: StoreError) {
        match self {
            SignInOp::Put { tx, .. } => drop(tx.send(Err(error))),
            SignInOp::Remove { tx, .. } => drop(tx.send(Err(error))),
        }
    }
}

/// Does it; the answer is due after the commit.
pub(super) async fn write(conn: &mut SqliteConnection, op: SignInOp) -> Result<Waiting, StoreError> {
    match op {
        SignInOp::Put { sign_in, tx } => answer(put(conn, &sign_in).await.map_err(Into::into), tx),
        SignInOp::Remove { aor, id, tx } => {
            let text = "delete from sign_in where aor = ?1 and (?2 is null or id = ?2)";
            let done = conn.execute(sqlx::query(text).bind(&*aor).bind(id.as_deref())).await;
            answer(done.map(|done| done.rows_affected()).map_err(Into::into), tx)
        }
    }
}

async fn put(conn: &mut SqliteConnection, sign_in: &SignIn) -> Result<(), sqlx::Error> {
    let text = "insert into sign_in (aor, id, data) values (?, ?, ?)
         on conflict (aor, id) do update set data = excluded.data";
    let query = sqlx::query(text).bind(&*sign_in.aor).bind(&*sign_in.id).bind(codec::put_sign_in(sign_in));
    conn.execute(query).await.map(drop)
}

#[async_trait::async_trait]
impl SignIns for Sqlite {
    async fn put(&self, sign_in: SignIn) -> Result<(), StoreError> {
        self.ask(|tx| Op::SignIn(Box::new(SignInOp::Put { sign_in, tx }))).await
    }

    async fn sign_out(&self, aor: &str, id: Option<&str>) -> Result<u64, StoreError> {
        let (aor, id) = (aor.into(), id.map(Into::into));
        self.ask(|tx| Op::SignIn(Box::new(SignInOp::Remove { aor, id, tx }))).await
    }

    async fn sign_ins(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        let (aor, id) = after.unwrap_or_default();
        let text = "select aor, id, data from sign_in where (aor, id) > (?, ?) order by aor, id limit ?";
        let query = sqlx::query(text).bind(aor).bind(id).bind(limit.min(i64::MAX as usize) as i64);
        let rows = self.readers.fetch_all(query).await?;
        rows.iter().map(|row| codec::take_sign_in(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)).collect()
    }
}
