//! One statement for many rows.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Connection, Executor};

/// A statement whose text repeats a group of parameters, in the sizes 128, 64, … 1, so that few texts are prepared and any
/// number of rows takes few statements. Measured: 128 rows cost a quarter of 128 statements.
pub(crate) struct Bulk {
    texts: [Arc<str>; 8],
    columns: usize,
}

impl Bulk {
    /// `before (group), (group), … after`.
    pub(crate) fn new(before: &str, group: &str, after: &str) -> Bulk {
        let text = |at: usize| [before, &vec![group; 128 >> at].join(","), after].concat().into();
        Bulk { texts: std::array::from_fn(text), columns: group.matches('?').count() }
    }

    /// The pieces of `rows` rows: text, number of rows.
    pub(crate) fn pieces(&self, mut rows: usize) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, usize)> {
        std::iter::from_fn(move || {
            let (at, size) = (0..8).map(|at| (at, 128usize >> at)).find(|(_, size)| *size <= rows)?;
            rows -= size;
            // Built from literals above.
            Some((AssertSqlSafe(self.texts[at].clone()), size))
        })
    }

    /// Runs the statement for all rows; gives the number of rows touched.
    pub(crate) async fn run<R>(
        &self,
        conn: &mut SqliteConnection,
        rows: impl ExactSizeIterator<Item = R>,
        bind: impl Fn(&mut SqliteArguments, R) -> Result<(), BoxDynError>,
    ) -> Result<u64, sqlx::Error> {
        let mut touched = 0;
        let mut rows = rows;
        for (text, size) in self.pieces(rows.len()) {
            let args = self.arguments(rows.by_ref().take(size), size, &bind)?;
            touched += conn.execute(sqlx::query_with(text, args)).await?.rows_affected();
        }
        Ok(touched)
    }

    pub(crate) fn arguments<R>(
        &self,
        rows: impl Iterator<Item = R>,
        size: usize,
        bind: impl Fn(&mut SqliteArguments, R) -> Result<(), BoxDynError>,
    ) -> Result<SqliteArguments, sqlx::Error> {
        let mut args = SqliteArguments::default();
        args.reserve(size * self.columns, 0);
        for row in rows {
            bind(&mut args, row).map_err(sqlx::Error::Encode)?;
        }
        Ok(args)
    }
}

/// Whether the connection itself is lost, so that a new one is needed.
pub(crate) async fn is_lost(conn: &mut SqliteConnection) -> bool {
    conn.ping().await.is_err()
}
