//! `chappe backup` and `chappe restore`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use axum::http::Method;
use clap::Args;

use super::output::say;
use super::place::{self, Door};
use super::{OK, Place};

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What `chappe backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn backup(options: Backup) -> anyhow::Result<u8> {
    let file = std::path::absolute(&options.file)?;
    if file.exists() {
        bail!("{} exists", file.display());
    }
    match options.place.door().await? {
        Door::Running(admin) => {
            let body = serde_json::json!({ "file": file });
            admin.call::<()>(Method::POST, "/api/backup", Some(&body)).await?;
        }
        Door::Stopped { stores, .. } => {
            stores.backup(&file).await?;
            stores.close().await?;
        }
    }
    say!("{} written.", file.display())?;
    Ok(OK)
}

pub(super) async fn restore(options: Restore) -> anyhow::Result<u8> {
    let config = options.place.load()?;
    let target =
        config.database().context("only the embedded store is restored; use the tools of the database server")?;
    // Opening it proves that it is a store, of a version that is known, and migrates a scratch copy if need be.
    let scratch = scratch(&options.file, &config.data_dir)?;
    let url = format!("sqlite:{}", scratch.display());
    let opened = chappe_store::Stores::open(&url, &config.data_dir).await;
    let checked = match opened {
        Ok(stores) => stores.close().await.context("cannot close the copy"),
        Err(error) => Err(error).with_context(|| format!("{} is no backup of a store", options.file.display())),
    };
    if let Err(error) = checked {
        remove(&scratch);
        return Err(error);
    }
    // Holding the present store open shows that no server has it.
    if target.exists() {
        match place::open(&config).await {
            Ok(stores) => stores.close().await?,
            Err(error) => {
                remove(&scratch);
                return Err(error.context("stop the server first"));
            }
        }
        let kept = target.with_extension("db.before-restore");
        std::fs::rename(&target, &kept)?;
        say!("The store as it was is kept as {}.", kept.display())?;
    }
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&target, end));
    }
    std::fs::rename(&scratch, &target)?;
    remove(&scratch);
    say!("{} restored from {}.", target.display(), options.file.display())?;
    Ok(OK)
}

fn scratch(file: &Path, data_dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
    let scratch = std::path::absolute(data_dir)?.join("restore.new");
    remove(&scratch);
    std::fs::copy(file, &scratch).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(scratch)
}

fn remove(file: &Path) {
    for end in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(beside(file, end));
    }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}
