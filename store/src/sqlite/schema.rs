//! Tables, and how an older file becomes a newer one.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor, Row};

use crate::StoreError;

/// Step n makes version n + 1 of version n. Steps are never changed once released, only added.
///
/// Bodies lie in the order of their arrival with no index beside them; `Backlog` finds them (docs/decisions/0010). A row of
/// `log` is what one commit did to the queue: fates, ids settled, counts after it (docs/decisions/0011). Entries of the
/// history lie like bodies; those up to `tally.placed` are found by `place` (docs/decisions/0015). An entry of a group has
/// the number of the group in its upper and its sequence in its lower 32 bits (docs/decisions/0042).
pub(crate) const STEPS: &[&str] = &[
    "
    create table account (aor text primary key, data blob not null) strict, without rowid;
    create table tel (tel text primary key, aor text not null) strict, without rowid;
    create table location (
        aor text primary key, revision integer not null, lapses integer not null, data blob not null
    ) strict, without rowid;
    create table message (id integer primary key, data blob not null) strict;
    create table log (
        id integer primary key, hints blob not null, fates blob not null, settled blob not null, tally blob not null
    ) strict;
    create table receipt (id integer primary key, day integer not null, keys blob not null) strict;
    create table tally (
        one integer primary key check (one = 1), accepted integer not null, delivered integer not null,
        expired integer not null, refused integer not null, swept integer not null
    ) strict;
    insert into tally values (1, 0, 0, 0, 0, 0);
",
    "
    create table device (
        aor text not null, device text not null, first_seen integer not null, last_seen integer not null,
        data blob not null, primary key (aor, device)
    ) strict, without rowid;
    create table conversation (id blob primary key, members blob not null) strict, without rowid;
    create table member (
        aor text not null, conversation blob not null, cleared integer not null, primary key (aor, conversation)
    ) strict, without rowid;
    create table entry (id integer primary key, conversation blob not null, data blob not null) strict;
    create table place (
        conversation blob not null, id integer not null, primary key (conversation, id)
    ) strict, without rowid;
    create table way (
        key integer primary key, delivered integer not null, displayed integer not null, failed integer not null
    ) strict;
    alter table tally add column placed integer not null default 0;
    alter table tally add column erased integer not null default 0;
",
    "
    create table chat_group (
        number integer primary key, id text not null unique, thread text not null unique, revision integer not null,
        last integer not null, owner text not null, until integer not null, token integer not null
    ) strict;
    create table group_state (number integer primary key, data blob not null) strict;
    create table group_member (
        number integer not null, user text not null, active integer not null, data blob not null,
        primary key (number, user)
    ) strict, without rowid;
    create index group_member_user on group_member (user, number) where active;
    create table group_entry (id integer primary key, at integer not null, data blob not null) strict;
    create table group_cursor (
        number integer not null, user text not null, device text not null, upto integer not null,
        primary key (number, user, device)
    ) strict, without rowid;
",
    "
    create table file (
        id text primary key, owner text not null, tid text, created integer not null, expires integer not null,
        charge integer not null, hash blob not null, thumbnail blob, data blob not null
    ) strict, without rowid;
    create index file_owner on file (owner, charge);
    create index file_tid on file (tid) where tid is not null;
    create index file_expires on file (expires);
    create index file_hash on file (hash);
    create index file_thumbnail on file (thumbnail) where thumbnail is not null;
",
    "
    create table document (
        id integer primary key, owner text not null, auid text not null, name text not null, etag text not null,
        modified integer not null, size integer not null, text text not null
    ) strict;
    create unique index document_key on document (owner, auid, name);
    create index document_name on document (auid, name, owner);
    create table document_version (
        id integer primary key, owner text not null, auid text not null, name text not null, etag text not null,
        modified integer not null, size integer not null, text text not null
    ) strict;
    create index document_version_key on document_version (owner, auid, name);
    create table document_claim (
        auid text not null, value text not null, owner text not null, name text not null, primary key (auid, value)
    ) strict, without rowid;
    create index document_claim_of on document_claim (owner, auid, name);
",
    "
    create table sign_in (
        aor text not null, id text not null, data blob not null, primary key (aor, id)
    ) strict, without rowid;
",
];

/// Brings the file to the newest version, or refuses one from the future, in one transaction.
pub(crate) async fn migrate(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut tx = conn.begin_with("begin immediate").await?;
    tx.execute("create table if not exists chappe_schema (version integer not null) strict").await?;
    let found = tx.fetch_optional("select version from chappe_schema").await?;
    let found: i64 = found.map_or(Ok(0), |row| row.try_get(0))?;
    let known = STEPS.len() as i64;
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { found, known });
    }
    if found < known {
        for step in &STEPS[found as usize..] {
            tx.execute(*step).await?;
        }
        tx.execute("delete from chappe_schema").await?;
        tx.execute(sqlx::query("insert into chappe_schema values (?)").bind(known)).await?;
        tracing::info!(from = found, to = known, "store schema migrated");
    }
    tx.commit().await?;
    Ok(())
}
