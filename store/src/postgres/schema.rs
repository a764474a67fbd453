//! Tables, and how an older database becomes a newer one.
//!
//! Every primary key begins with the shard of its AOR, so that an engine that spreads tables can; numbers are made by us,
//! not by sequences (docs/decisions/0013).

use sqlx::postgres::PgPool;
use sqlx::{Executor, Row};

use crate::StoreError;

/// Step n makes version n + 1 of version n. Steps are never changed once released, only added.
///
/// `seat` says who sees a conversation, `member` which conversations somebody sees; each lies where it is asked for.
pub(crate) const STEPS: &[&str] = &[
    "
    create table account (
        shard integer not null, aor text collate \"C\" not null, data bytea not null, primary key (shard, aor));
    create table tel (
        shard integer not null, tel text collate \"C\" not null, aor text not null, primary key (shard, tel));
    create table location (
        shard integer not null, aor text collate \"C\" not null, revision bigint not null, lapses bigint not null,
        data bytea not null, primary key (shard, aor));
    create table message (
        shard integer not null, id bigint not null, recipient text collate \"C\" not null, device text,
        expires bigint not null, size bigint not null, data bytea not null, primary key (shard, id));
    create index message_recipient on message (shard, recipient, id);
    create index message_expires on message (expires);
    create table depth (
        shard integer not null, recipient text collate \"C\" not null, count bigint not null, bytes bigint not null,
        primary key (shard, recipient));
    create table fate (
        shard integer not null, id bigint not null, message_id text, call_id text not null, at_ms bigint not null,
        data bytea not null, primary key (shard, id));
    create index fate_message_id on fate (message_id);
    create index fate_call_id on fate (call_id);
    create table receipt (
        shard integer not null, key bigint not null, day bigint not null, primary key (shard, key));
    create table tally (
        shard integer primary key, accepted bigint not null, delivered bigint not null, expired bigint not null,
        refused bigint not null);
",
    "
    create table device (
        shard integer not null, aor text collate \"C\" not null, device text collate \"C\" not null,
        first_seen bigint not null, last_seen bigint not null, data bytea not null, primary key (shard, aor, device));
    create table entry (
        shard integer not null, conversation bytea not null, id bigint not null, data bytea not null,
        primary key (shard, conversation, id));
    create index entry_id on entry (id);
    create table seat (
        shard integer not null, conversation bytea not null, aor text collate \"C\" not null,
        primary key (shard, conversation, aor));
    create table member (
        shard integer not null, aor text collate \"C\" not null, conversation bytea not null, place integer not null,
        cleared bigint not null, primary key (shard, aor, conversation));
    create table way (
        shard integer not null, key bigint not null, delivered bigint not null, displayed bigint not null,
        failed bigint not null, last bigint not null, primary key (shard, key));
",
    "
    create table chat_group (
        shard integer not null, id text collate \"C\" not null, thread text not null, revision bigint not null,
        last bigint not null, owner text not null, until bigint not null, token bigint not null, data bytea not null,
        primary key (shard, id));
    create table group_thread (
        shard integer not null, thread text collate \"C\" not null, id text not null, primary key (shard, thread));
    create table group_member (
        shard integer not null, id text collate \"C\" not null, aor text collate \"C\" not null, active boolean not null,
        data bytea not null, primary key (shard, id, aor));
    create table group_of (
        shard integer not null, aor text collate \"C\" not null, id text collate \"C\" not null,
        primary key (shard, aor, id));
    create table group_entry (
        shard integer not null, id text collate \"C\" not null, seq bigint not null, at bigint not null,
        data bytea not null, primary key (shard, id, seq));
    create index group_entry_at on group_entry (at);
    create table group_cursor (
        shard integer not null, id text collate \"C\" not null, aor text collate \"C\" not null,
        device text collate \"C\" not null, upto bigint not null, primary key (shard, id, aor, device));
",
    "
    create table file (
        shard integer not null, id text collate \"C\" not null, owner text collate \"C\" not null, tid text,
        created bigint not null, expires bigint not null, charge bigint not null, hash bytea not null, thumbnail bytea,
        data bytea not null, primary key (shard, id));
    create index file_of_owner on file (owner, charge);
    create index file_tid on file (tid);
    create index file_expires on file (expires);
    create index file_hash on file (hash);
    create index file_thumbnail on file (thumbnail);
    create table file_owner (shard integer not null, owner text collate \"C\" not null, primary key (shard, owner));
",
    "
    create table document (
        shard integer not null, owner text collate \"C\" not null, auid text collate \"C\" not null,
        name text collate \"C\" not null, etag text not null, modified bigint not null, size bigint not null,
        text text not null, primary key (shard, owner, auid, name));
    create index document_name on document (auid, name, owner);
    create table document_version (
        shard integer not null, owner text collate \"C\" not null, auid text collate \"C\" not null,
        name text collate \"C\" not null, number bigint not null, etag text not null, modified bigint not null,
        size bigint not null, text text not null, primary key (shard, owner, auid, name, number));
    create table document_claim (
        shard integer not null, auid text collate \"C\" not null, value text collate \"C\" not null,
        owner text collate \"C\" not null, name text collate \"C\" not null, primary key (shard, auid, value));
    create index document_claim_of on document_claim (owner, auid, name);
",
    "
    create table sign_in (
        shard integer not null, aor text collate \"C\" not null, id text collate \"C\" not null, data bytea not null,
        primary key (shard, aor, id));
",
];

/// Brings the database to the newest version, or refuses one from the future. Of nodes that start at once one does the
/// work and the others wait for it.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let known = STEPS.len() as i64;
    let mut tries = 0;
    // Two that create a table at once can fail each other although each says `if not exists`.
    while let Err(error) = pool
        .execute("create table if not exists chappe_schema (one integer primary key, version bigint not null)")
        .await
    {
        tries += 1;
        if tries == 5 {
            return Err(error.into());
        }
    }
    pool.execute("insert into chappe_schema values (1, 0) on conflict (one) do nothing").await?;
    let mut tx = pool.begin().await?;
    let found: i64 = tx.fetch_one("select version from chappe_schema where one = 1 for update").await?.try_get(0)?;
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { found, known });
    }
    if found < known {
        for step in &STEPS[found as usize..] {
            tx.execute(*step).await?;
        }
        tx.execute(sqlx::query("update chappe_schema set version = $1 where one = 1").bind(known)).await?;
        tracing::info!(from = found, to = known, "store schema migrated");
    }
    tx.commit().await?;
    Ok(())
}
