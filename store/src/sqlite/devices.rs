//! Known devices, a row each.

use std::sync::LazyLock;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Arguments, Executor, Row};

use super::bulk::Bulk;
use super::chat::ChatOp;
use super::writer::SLICE;
use super::{PIECE, Sqlite};
use crate::device::{Device, Devices, KEPT, Seen};
use crate::{StoreError, codec};

pub(super) async fn note(conn: &mut SqliteConnection, mut batch: Vec<Seen>) -> Result<(), sqlx::Error> {
    static WRITE: LazyLock<Bulk> = LazyLock::new(|| {
        Bulk::new(
            "insert into device (aor, device, first_seen, last_seen, data) values ",
            "(?,?,?,?,?)",
            // What is older than what is there tells only when the device was first seen.
            " on conflict (aor, device) do update set first_seen = min(first_seen, excluded.first_seen),
              data = iif(excluded.last_seen >= last_seen, excluded.data, data),
              last_seen = max(last_seen, excluded.last_seen)",
        )
    });
    // In the order of the key; of one device the later report last.
    batch.sort_by(|a, b| (&a.aor, &a.device, a.at).cmp(&(&b.aor, &b.device, b.at)));
    let mut aors: Vec<Box<str>> = batch.iter().map(|seen| seen.aor.clone()).collect();
    aors.dedup();
    WRITE
        .run(conn, batch.into_iter(), |args, seen| {
            args.add(seen.aor.into_string())?;
            args.add(seen.device.into_string())?;
            args.add(seen.at as i64)?;
            args.add(seen.at as i64)?;
            args.add(codec::put_device(&seen.params, &seen.user_agent))
        })
        .await?;
    static CROWDED: LazyLock<Bulk> = LazyLock::new(|| {
        let most = format!(") group by aor having count(*) > {KEPT}");
        Bulk::new("select aor from device where aor in (", "?", &most)
    });
    let mut crowded: Vec<String> = Vec::new();
    let mut names = aors.iter();
    for (text, size) in CROWDED.pieces(aors.len()) {
        let args = CROWDED.arguments(names.by_ref().take(size), size, |args, aor| args.add(&**aor))?;
        for row in conn.fetch_all(sqlx::query_with(text, args)).await? {
            crowded.push(row.try_get(0)?);
        }
    }
    for aor in crowded {
        let text = "delete from device where aor = ?1 and device not in (
                select device from device where aor = ?1 order by last_seen desc, device limit ?2)";
        conn.execute(sqlx::query(text).bind(aor).bind(KEPT as i64)).await?;
    }
    Ok(())
}

fn device_of(row: &SqliteRow) -> Result<Device, StoreError> {
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
impl Devices for Sqlite {
    async fn seen(&self, batch: Vec<Seen>) -> Result<(), StoreError> {
        let mut batch = batch.into_iter();
        loop {
            let piece: Vec<Seen> = batch.by_ref().take(PIECE).collect();
            if piece.is_empty() {
                return Ok(());
            }
            self.ask_chat(|tx| ChatOp::Seen { batch: piece, tx }).await?;
        }
    }

    async fn of(&self, aor: &str) -> Result<Vec<Device>, StoreError> {
        let text =
            "select device, first_seen, last_seen, data from device where aor = ? order by last_seen desc, device";
        let rows = self.readers.fetch_all(sqlx::query(text).bind(aor)).await?;
        rows.iter().map(device_of).collect()
    }

    async fn all(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<(Box<str>, Device)>, StoreError> {
        let text = "select device, first_seen, last_seen, data, aor from device where (aor, device) > (?, ?)
            order by aor, device limit ?";
        let (aor, device) = after.unwrap_or_default();
        let rows = self.readers.fetch_all(sqlx::query(text).bind(aor).bind(device).bind(limit as i64)).await?;
        rows.iter().map(|row| Ok((row.try_get::<&str, _>(4)?.into(), device_of(row)?))).collect()
    }

    async fn remove(&self, aor: &str, device: Option<&str>) -> Result<u64, StoreError> {
        let (aor, device) = (aor.into(), device.map(Into::into));
        self.ask_chat(|tx| ChatOp::RemoveDevices { aor, device, tx }).await
    }

    async fn forget(&self, before: u64) -> Result<u64, StoreError> {
        let before = before.min(i64::MAX as u64);
        let mut gone = 0;
        loop {
            let some = self.ask_chat(|tx| ChatOp::ForgetDevices { before, tx }).await?;
            gone += some;
            if some < SLICE {
                return Ok(gone);
            }
        }
    }
}
