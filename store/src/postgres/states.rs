//! How far messages got: a row for each message and recipient, by hash.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::{Postgres, SHARDS};
use crate::StoreError;
use crate::queue::{MessageQueue, Write};
use crate::reached::{News, Reached, ReceiptStates, ReceiptStatus, Way};

fn place(key: i64) -> i32 {
    (key as u64 % SHARDS) as i32
}

fn status(row: &PgRow) -> Result<(i64, ReceiptStatus), sqlx::Error> {
    let columns = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
    Ok((row.try_get(0)?, ReceiptStatus::of_columns(columns)))
}

/// Takes reports in, in their order. The rows are made first and then held, so that of two nodes one sees what the other
/// did.
pub(super) async fn apply<'w>(
    tx: &mut PgConnection,
    reports: impl Iterator<Item = &'w Reached>,
) -> Result<Vec<News>, sqlx::Error> {
    let reports: Vec<(i64, &Reached)> = reports.map(|reached| (reached.way.key() as i64, reached)).collect();
    if reports.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: BTreeMap<(i32, i64), ReceiptStatus> =
        reports.iter().map(|(key, _)| ((place(*key), *key), ReceiptStatus::default())).collect();
    let shards: Vec<i32> = known.keys().map(|(shard, _)| *shard).collect();
    let keys: Vec<i64> = known.keys().map(|(_, key)| *key).collect();
    let text = "insert into way (shard, key, delivered, displayed, failed, last)
         select *, 0, 0, 0, 0 from unnest($1::integer[], $2::bigint[]) on conflict (shard, key) do nothing";
    tx.execute(sqlx::query(text).bind(&shards).bind(&keys)).await?;
    let text = "select w.key, w.delivered, w.displayed, w.failed from way w
         join unnest($1::integer[], $2::bigint[]) as k (shard, key) on w.shard = k.shard and w.key = k.key
         order by w.shard, w.key for update of w";
    for row in tx.fetch_all(sqlx::query(text).bind(&shards).bind(&keys)).await? {
        let (key, status) = status(&row)?;
        known.insert((place(key), key), status);
    }
    let news = reports
        .iter()
        .map(|(key, reached)| known.entry((place(*key), *key)).or_default().take(reached.step, reached.at_ms))
        .collect();
    let column = |at: usize| known.values().map(|status| status.columns()[at]).collect::<Vec<i64>>();
    let text = "update way w set delivered = n.delivered, displayed = n.displayed, failed = n.failed, last = n.last
         from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             as n (shard, key, delivered, displayed, failed, last)
         where w.shard = n.shard and w.key = n.key";
    let query = sqlx::query(text).bind(&shards).bind(&keys).bind(column(0)).bind(column(1)).bind(column(2));
    tx.execute(query.bind(known.values().map(|status| status.newest() as i64).collect::<Vec<_>>())).await?;
    Ok(news)
}

#[async_trait::async_trait]
impl ReceiptStates for Postgres {
    async fn apply(&self, reports: Vec<Reached>) -> Result<Vec<News>, StoreError> {
        Ok(self.write(Write { reached: reports, ..Write::default() }).await?.news)
    }

    async fn status(&self, ways: &[Way]) -> Result<Vec<ReceiptStatus>, StoreError> {
        let keys: Vec<i64> = ways.iter().map(|way| way.key() as i64).collect();
        let text = "select w.key, w.delivered, w.displayed, w.failed from way w
             join unnest($1::integer[], $2::bigint[]) as k (shard, key) on w.shard = k.shard and w.key = k.key";
        let query = sqlx::query(text).bind(keys.iter().map(|key| place(*key)).collect::<Vec<_>>()).bind(&keys);
        let rows = self.pool.fetch_all(query).await?;
        let found = rows.iter().map(status).collect::<Result<HashMap<_, _>, _>>()?;
        Ok(keys.iter().map(|key| found.get(key).copied().unwrap_or_default()).collect())
    }

    async fn forget_status(&self, before_ms: u64) -> Result<u64, StoreError> {
        let before = before_ms.min(i64::MAX as u64) as i64;
        let text = "delete from way where (shard, key) in (select shard, key from way where last < $1 limit 10000)";
        let mut gone = 0;
        loop {
            let some = self.relaxed(|| sqlx::query(text).bind(before)).await?;
            gone += some;
            if some < 10_000 {
                return Ok(gone);
            }
        }
    }
}
