//! How far messages got: a row for each message and recipient, by hash.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ahash::AHashMap;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Arguments, Executor, Row};

use super::Sqlite;
use super::bulk::Bulk;
use super::chat::ChatOp;
use crate::reached::{News, Reached, ReceiptStates, ReceiptStatus, Step, Way};
use crate::{MessageQueue, StoreError, Write};

/// Rows looked at in one commit of the forgetting.
const LOOK: i64 = 5000;

/// A report as the writer takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    key: u64,
    step: Step,
    at_ms: u64,
}

impl Report {
    pub(super) fn new(reached: &Reached) -> Report {
        Report { key: reached.way.key(), step: reached.step, at_ms: reached.at_ms }
    }
}

/// Keys as SQLite reads them.
fn signed(keys: impl Iterator<Item = u64>) -> String {
    let list: Vec<String> = keys.map(|key| (key as i64).to_string()).collect();
    format!("[{}]", list.join(","))
}

const READ: &str = "select key, delivered, displayed, failed from way where key in (select value from json_each(?))";

fn status(row: &sqlx::sqlite::SqliteRow) -> Result<(u64, ReceiptStatus), sqlx::Error> {
    let columns = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
    Ok((row.try_get::<i64, _>(0)? as u64, ReceiptStatus::of_columns(columns)))
}

/// Takes the reports of many callers in, in their order.
pub(super) async fn apply(
    conn: &mut SqliteConnection,
    reports: impl Iterator<Item = Report> + Clone,
) -> Result<Vec<News>, sqlx::Error> {
    static WRITE: LazyLock<Bulk> = LazyLock::new(|| {
        Bulk::new(
            "insert into way (key, delivered, displayed, failed) values ",
            "(?,?,?,?)",
            " on conflict (key) do update set delivered = excluded.delivered, displayed = excluded.displayed,
              failed = excluded.failed",
        )
    });
    let mut known: BTreeMap<i64, ReceiptStatus> = BTreeMap::new();
    for row in conn.fetch_all(sqlx::query(READ).bind(signed(reports.clone().map(|report| report.key)))).await? {
        let (key, status) = status(&row)?;
        known.insert(key as i64, status);
    }
    let before = known.clone();
    let take = |report: Report| known.entry(report.key as i64).or_default().take(report.step, report.at_ms);
    let news = reports.map(take).collect();
    // By rising key, so that neighbours share a page.
    known.retain(|key, status| before.get(key) != Some(status));
    WRITE
        .run(conn, known.into_iter(), |args, (key, status)| {
            args.add(key)?;
            status.columns().into_iter().try_for_each(|column| args.add(column))
        })
        .await?;
    Ok(news)
}

#[async_trait::async_trait]
impl ReceiptStates for Sqlite {
    async fn apply(&self, reports: Vec<Reached>) -> Result<Vec<News>, StoreError> {
        Ok(self.write(Write { reached: reports, ..Write::default() }).await?.news)
    }

    async fn status(&self, ways: &[Way]) -> Result<Vec<ReceiptStatus>, StoreError> {
        let keys: Vec<u64> = ways.iter().map(Way::key).collect();
        let rows = self.readers.fetch_all(sqlx::query(READ).bind(signed(keys.iter().copied()))).await?;
        let found = rows.iter().map(status).collect::<Result<AHashMap<_, _>, _>>()?;
        Ok(keys.iter().map(|key| found.get(key).copied().unwrap_or_default()).collect())
    }

    async fn forget_status(&self, before_ms: u64) -> Result<u64, StoreError> {
        let (mut gone, mut above) = (0, i64::MIN);
        let before_ms = before_ms.min(i64::MAX as u64);
        loop {
            // Read beside the writer, so that it has no more to do than to remove.
            let text = "select max(key) from (select key from way where key > ? order by key limit ?)";
            let row = self.readers.fetch_one(sqlx::query(text).bind(above).bind(LOOK)).await?;
            let Some(upto) = row.try_get::<Option<i64>, _>(0)? else { return Ok(gone) };
            gone += self.ask_chat(|tx| ChatOp::ForgetWays { above, upto, before_ms, tx }).await?;
            above = upto;
        }
    }
}
