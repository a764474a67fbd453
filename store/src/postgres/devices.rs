//! Known devices, a row each.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{Executor, Row};

use super::{PIECE, Postgres, shard};
use crate::device::{Device, Devices, KEPT, Seen};
use crate::{StoreError, codec};

fn device_of(row: &PgRow) -> Result<Device, StoreError> {
    let (params, user_agent) = codec::take_device(row.try_get(3)?)?;
    Ok(Device {
        device: row.try_get::<&str, _>(0)?.into(),
        first_seen: row.try_get::<i64, _>(1)? as u64,
        last_seen: row.try_get::<i64, _>(2)? as u64,
        params,
        user_agent,
    })
}

#[async_trait::async_trait]
impl Devices for Postgres {
    async fn seen(&self, batch: Vec<Seen>) -> Result<(), StoreError> {
        // In the order of the key, each once: a statement touches no row twice.
        let mut rows: BTreeMap<(i32, Box<str>, Box<str>), (u64, Seen)> = BTreeMap::new();
        for seen in batch {
            let key = (shard(&seen.aor), seen.aor.clone(), seen.device.clone());
            let (first, last) = rows.entry(key).or_insert_with(|| (seen.at, seen.clone()));
            *first = seen.at.min(*first);
            if seen.at >= last.at {
                *last = seen;
            }
        }
        let rows: Vec<_> = rows.into_iter().collect();
        for piece in rows.chunks(PIECE) {
            let shards: Vec<i32> = piece.iter().map(|((shard, _, _), _)| *shard).collect();
            let aors: Vec<&str> = piece.iter().map(|((_, aor, _), _)| &**aor).collect();
            let devices: Vec<&str> = piece.iter().map(|((_, _, device), _)| &**device).collect();
            let firsts: Vec<i64> = piece.iter().map(|(_, (first, _))| *first as i64).collect();
            let lasts: Vec<i64> = piece.iter().map(|(_, (_, last))| last.at as i64).collect();
            let data: Vec<Vec<u8>> =
                piece.iter().map(|(_, (_, last))| codec::put_device(&last.params, &last.user_agent)).collect();
            let query = || {
                let text = "insert into device (shard, aor, device, first_seen, last_seen, data)
                     select * from unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])
                     on conflict (shard, aor, device) do update
                     set first_seen = least(device.first_seen, excluded.first_seen),
                         data = case when excluded.last_seen >= device.last_seen then excluded.data else device.data end,
                         last_seen = greatest(device.last_seen, excluded.last_seen)";
                sqlx::query(text).bind(&shards).bind(&aors).bind(&devices).bind(&firsts).bind(&lasts).bind(&data)
            };
            self.relaxed(query).await?;
            let query = || {
                let text = "delete from device where (shard, aor, device) in (
                         select shard, aor, device from (
                             select d.shard, d.aor, d.device,
                                 row_number() over (partition by d.aor order by d.last_seen desc, d.device) as n
                             from device d join (select distinct * from unnest($1::integer[], $2::text[])) as k (shard, aor)
                                 on d.shard = k.shard and d.aor = k.aor) as o
                         where n > $3)";
                sqlx::query(text).bind(&shards).bind(&aors).bind(KEPT as i64)
            };
            self.relaxed(query).await?;
        }
        Ok(())
    }

    async fn of(&self, aor: &str) -> Result<Vec<Device>, StoreError> {
        let text = "select device, first_seen, last_seen, data from device where shard = $1 and aor = $2
             order by last_seen desc, device";
        let rows = self.pool.fetch_all(sqlx::query(text).bind(shard(aor)).bind(aor)).await?;
        rows.iter().map(device_of).collect()
    }

    async fn all(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<(Box<str>, Device)>, StoreError> {
        let text =
            "select device, first_seen, last_seen, data, aor from device where (shard, aor, device) > ($1, $2, $3)
             order by shard, aor, device limit $4";
        let (from, (aor, device)) = (after.map_or(i32::MIN, |(aor, _)| shard(aor)), after.unwrap_or_default());
        let query = sqlx::query(text).bind(from).bind(aor).bind(device).bind(limit as i64);
        let rows = self.pool.fetch_all(query).await?;
        rows.iter().map(|row| Ok((row.try_get::<&str, _>(4)?.into(), device_of(row)?))).collect()
    }

    async fn remove(&self, aor: &str, device: Option<&str>) -> Result<u64, StoreError> {
        let text = "delete from device where shard = $1 and aor = $2 and ($3::text is null or device = $3)";
        let query = sqlx::query(text).bind(shard(aor)).bind(aor).bind(device);
        Ok(self.pool.execute(query).await?.rows_affected())
    }

    async fn forget(&self, before: u64) -> Result<u64, StoreError> {
        let before = before.min(i64::MAX as u64) as i64;
        let text = "delete from device where (shard, aor, device) in (
                 select shard, aor, device from device where last_seen < $1 limit 10000)";
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
