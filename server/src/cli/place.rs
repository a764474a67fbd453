//! From the options to a configuration, a running server, or the store of one that is stopped.

use std::path::Path;

use anyhow::{Context, bail};
use chappe_store::{StoreError, Stores};

use super::Place;
use crate::accounts::StoredAccounts;
use crate::admin::Admin;
use crate::config::Config;
use crate::run_file::RunFile;

/// Who answers questions about accounts.
#[expect(clippy::large_enum_variant, reason = "there is one for each run of a command")]
pub(super) enum Door {
    Running(Admin),
    Stopped { accounts: StoredAccounts, stores: Stores },
}

impl Place {
    /// The configuration, with the data directory that the command line names.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(dir) = &self.data_dir {
            config.data_dir = dir.clone();
        }
        Ok(config)
    }

    /// The server that runs there.
    pub(super) fn running(&self) -> anyhow::Result<Admin> {
        let dir = self.load()?.data_dir;
        match self.find(&dir)? {
            Some(run) => Admin::new(&run),
            None => bail!(
                "no server runs on {} (start it with `chappe serve`, or name its directory with --data-dir)",
                dir.display()
            ),
        }
    }

    fn find(&self, dir: &Path) -> anyhow::Result<Option<RunFile>> {
        RunFile::find(dir).with_context(|| format!("cannot read run.json in {}", dir.display()))
    }

    /// The running server, or else its store.
    pub(super) async fn door(&self) -> anyhow::Result<Door> {
        let config = self.load()?;
        if let Some(run) = self.find(&config.data_dir)? {
            return Ok(Door::Running(Admin::new(&run)?));
        }
        let stores = open(&config).await?;
        let domains = config.domains.iter().map(ToString::to_string).collect();
        Ok(Door::Stopped { accounts: StoredAccounts::new(stores.clone(), domains, |_| {}), stores })
    }
}

/// Opens the store of a server that is stopped.
pub(super) async fn open(config: &Config) -> anyhow::Result<Stores> {
    if config.store.url == "memory:" {
        bail!("the store is kept in memory only, and no server runs on {}", config.data_dir.display());
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create the data directory {}", config.data_dir.display()))?;
    match Stores::open(&config.store_url(), &config.data_dir).await {
        Ok(stores) => Ok(stores),
        Err(error @ StoreError::InUse { .. }) => {
            Err(error).context("another process has the store open, and it left no run.json to reach it by")
        }
        Err(error) => Err(error).context("cannot open the store"),
    }
}
