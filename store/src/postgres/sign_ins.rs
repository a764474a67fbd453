//! Who is signed in.

use sqlx::{Executor, Row};

use super::{Postgres, shard};
use crate::sign_in::{SignIn, SignIns};
use crate::{StoreError, codec};

#[async_trait::async_trait]
impl SignIns for Postgres {
    async fn put(&self, sign_in: SignIn) -> Result<(), StoreError> {
        let text = "insert into sign_in (shard, aor, id, data) values ($1, $2, $3, $4)
             on conflict (shard, aor, id) do update set data = excluded.data";
        let query = sqlx::query(text).bind(shard(&sign_in.aor)).bind(&*sign_in.aor).bind(&*sign_in.id);
        self.pool.execute(query.bind(codec::put_sign_in(&sign_in))).await?;
        Ok(())
    }

    async fn sign_out(&self, aor: &str, id: Option<&str>) -> Result<u64, StoreError> {
        let text = "delete from sign_in where shard = $1 and aor = $2 and ($3::text is null or id = $3)";
        let query = sqlx::query(text).bind(shard(aor)).bind(aor).bind(id);
        Ok(self.pool.execute(query).await?.rows_affected())
    }

    async fn sign_ins(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        let (aor, id) = after.unwrap_or_default();
        let place = after.map_or(-1, |(aor, _)| shard(aor));
        let text = "select aor, id, data from sign_in where (shard, aor, id) > ($1, $2, $3)
             order by shard, aor, id limit $4";
        let query = sqlx::query(text).bind(place).bind(aor).bind(id).bind(limit.min(i64::MAX as usize) as i64);
        let rows = self.pool.fetch_all(query).await?;
        rows.iter().map(|row| codec::take_sign_in(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)).collect()
    }
}
