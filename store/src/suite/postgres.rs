//! The suite on PostgreSQL: a private server from Debian's package, on a socket in a temporary folder, without a port. Where
//! there is none the test says so and passes.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::{ALL, binding, message, queue::wanted};
use crate::{Outcome, Revision, StoreError, Stores};

/// A server that ends with this value.
struct Server {
    process: Child,
    folder: tempfile::TempDir,
    binaries: PathBuf,
}

impl Server {
    /// `None` where PostgreSQL is not installed.
    fn start() -> Option<Server> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let binaries =
            versions.flatten().map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())?;
        let folder = tempfile::tempdir().unwrap();
        // The server refuses to run as root; the package made a user for it.
        if belongs_to_root(folder.path()) {
            let (user, group) = postgres_user()?;
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let data = folder.path().join("data");
        let made = command(folder.path(), &binaries.join("initdb"))
            .args(["--username=chappe", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // Nothing here outlives the test, so nothing waits for the disk.
        let process = command(folder.path(), &binaries.join("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=100", "-D"])
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Server { process, folder, binaries })
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new().host(self.folder.path().to_str().unwrap()).username("chappe").database("postgres")
    }

    async fn connect(&mut self) -> PgConnection {
        for _ in 0..300 {
            match self.options().connect().await {
                Ok(conn) => return conn,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
            assert!(self.process.try_wait().unwrap().is_none(), "the server ended");
        }
        panic!("the server does not answer");
    }

    /// An empty database within the database.
    async fn schema(&self, conn: &mut PgConnection, name: &str) -> String {
        conn.execute(sqlx::AssertSqlSafe(format!("create schema {name}"))).await.unwrap();
        let folder = self.folder.path().display();
        format!("postgres://chappe@localhost/postgres?host={folder}&options[search_path]={name}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stop = command(self.folder.path(), &self.binaries.join("pg_ctl"))
            .args(["stop", "--mode=immediate", "-D"])
            .arg(data)
            .output();
        if stop.is_err() {
            self.process.kill().ok();
        }
        self.process.wait().ok();
    }
}

/// Whether what this process makes belongs to root.
fn belongs_to_root(made: &Path) -> bool {
    std::fs::metadata(made).unwrap().uid() == 0
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A command run as the owner of the folder.
fn command(folder: &Path, program: &Path) -> Command {
    let owner = std::fs::metadata(folder).unwrap();
    let this = std::fs::metadata("/proc/self").unwrap().uid();
    let mut command = match owner.uid() == this {
        true => Command::new(program),
        false => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", owner.uid()))
                .arg(format!("--regid={}", owner.gid()))
                .args(["--clear-groups", "--pdeathsig=INT"])
                .arg(program);
            command
        }
    };
    command.current_dir(folder);
    command
}

#[tokio::test]
async fn the_whole_suite() {
    let Some(mut server) = Server::start() else {
        println!("skipped: PostgreSQL is not installed (Debian: postgresql)");
        return;
    };
    let mut conn = server.connect().await;
    for (n, (name, case)) in ALL.iter().enumerate() {
        println!("{name}");
        let url = server.schema(&mut conn, &format!("case{n}")).await;
        let stores = Stores::open(&url, Path::new("/")).await.unwrap();
        case(stores.clone()).await;
        stores.close().await.unwrap();
    }
    println!("two nodes");
    let url = server.schema(&mut conn, "nodes").await;
    two_nodes(&url).await;
    println!("older schema");
    let old = server.schema(&mut conn, "old").await;
    conn.execute("set search_path = old").await.unwrap();
    conn.execute(crate::postgres::schema::STEPS[0]).await.unwrap();
    conn.execute("create table chappe_schema (one integer primary key, version bigint not null)").await.unwrap();
    conn.execute("insert into chappe_schema values (1, 1)").await.unwrap();
    conn.execute("set search_path = public").await.unwrap();
    let stores = Stores::open(&old, Path::new("/")).await.unwrap();
    super::conversations::lists_by_the_last_entry(&stores).await;
    stores.close().await.unwrap();
    println!("newer schema");
    conn.execute("update nodes.chappe_schema set version = 99").await.unwrap();
    let newest = crate::postgres::schema::STEPS.len() as i64;
    let refused = Stores::open(&url, Path::new("/")).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 99, known }) if known == newest), "{refused:?}");
    conn.close().await.unwrap();
}

/// Two processes on one database, migrating, writing and settling at once.
async fn two_nodes(url: &str) {
    let (one, two) = tokio::join!(Stores::open(url, Path::new("/")), Stores::open(url, Path::new("/")));
    let nodes = [one.unwrap(), two.unwrap()];
    let writers = (0..16usize).map(|n| {
        let node = nodes[n % 2].clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let batch = (0..10).map(|k| message(&format!("u{}@d", (n + k) % 7), None, &format!("{n}-{round}-{k}")));
                node.queue.append(batch.collect()).await.unwrap();
            }
        })
    });
    for writer in futures_util::future::join_all(writers).await {
        writer.unwrap();
    }
    // What the engine cannot keep harms nobody else in the same transaction.
    let mut odd = message("odd@d", None, "odd");
    odd.message_id = Some("\0".into());
    let all =
        (0..20).map(|n| nodes[0].queue.append(vec![if n == 7 { odd.clone() } else { message("odd@d", None, "x") }]));
    let stored = futures_util::future::join_all(all).await.iter().filter(|stored| stored.is_ok()).count();
    assert_eq!(stored, 19);
    let odd = nodes[0].queue.pending(&[wanted("odd@d", None, 0)], 100).await.unwrap().remove(0);
    let settle = odd.iter().map(|m| m.settled(Outcome::Refused, None, 0, 1)).collect();
    assert_eq!(nodes[1].queue.settle(settle).await.unwrap(), [true; 19]);
    let asked: Vec<_> = (0..7).map(|n| wanted(&format!("u{n}@d"), None, 0)).collect();
    let found: Vec<_> = nodes[1].queue.pending(&asked, 10_000).await.unwrap().into_iter().flatten().collect();
    assert_eq!(found.len(), 3200);
    // Both settle everything, in opposite orders.
    let settle = |node: usize| {
        let node_stores = nodes[node].clone();
        let mut all: Vec<_> = found.iter().map(|m| m.settled(Outcome::Delivered, None, 200, 1)).collect();
        if node == 1 {
            all.reverse();
        }
        tokio::spawn(async move {
            let mut told = 0;
            for some in all.chunks(50) {
                let there = node_stores.queue.settle(some.to_vec()).await.unwrap();
                told += there.into_iter().filter(|there| *there).count();
            }
            told
        })
    };
    let (first, second) = (settle(0), settle(1));
    assert_eq!(first.await.unwrap() + second.await.unwrap(), 3200);
    let counts = nodes[0].fates.counts().await.unwrap();
    assert!(counts.balanced() && counts.delivered == 3200 && counts.stored == 0, "{counts:?}");
    assert_eq!(nodes[0].queue.depths(None, 10).await.unwrap(), []);

    // A device on each node registers at once: both are bound in the end.
    let bind = |node: usize| {
        let locations = nodes[node].locations.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                loop {
                    let (seen, mut bindings) = locations.bindings("u@d").await.unwrap();
                    bindings.push(binding(&format!("{node}-{n}"), 2_000));
                    match locations.replace("u@d", seen, &bindings).await {
                        Ok(_) => break,
                        Err(StoreError::Conflict) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    };
    let (first, second) = (bind(0), bind(1));
    first.await.unwrap();
    second.await.unwrap();
    let (revision, bindings) = nodes[0].locations.bindings("u@d").await.unwrap();
    assert_eq!(bindings.len(), 40);
    assert_ne!(revision, Revision::NONE);
    for node in nodes {
        node.close().await.unwrap();
    }
}
