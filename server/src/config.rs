//! The configuration: one TOML file, the environment over it, defaults under it.
//!
//! `config/sections.rs` is the list of all keys.

pub mod example;
pub mod network;
pub mod reader;
mod schema;
pub mod sections;
pub mod setting;

use std::path::{Path, PathBuf};

pub use network::{
    Domain, Host, HttpScheme, Listen, ManagementScheme, MediaScheme, MsrpScheme, Network, SipScheme, TurnScheme,
};
pub use reader::{Fault, Faults, Origin};
pub use sections::*;
pub use setting::{Secret, Size};

use reader::Reader;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Faults(Faults),
}

impl Config {
    /// Reads `file`, if there is one, and the environment of the process.
    pub fn load(file: Option<&Path>) -> Result<Config, LoadError> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?
            }
            None => String::new(),
        };
        // A variable that is not Unicode cannot be meant for us.
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Config::parse(file, &text, environment).map_err(LoadError::Faults)
    }

    /// Reads `text`, which came from `file`, under `environment`.
    pub fn parse(
        file: Option<&Path>,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, Faults> {
        let mut reader = Reader::new(file, text, environment);
        let config: Config = reader.load();
        config.validate(&mut reader);
        reader.finish()?;
        Ok(config)
    }

    /// Faults that lie between keys.
    fn validate(&self, reader: &mut Reader<'_>) {
        if self.domains.is_empty() {
            reader.reject("domains", "`domains` is empty: there is nobody to serve", Some("name one domain".into()));
        }
        let registration = &self.sip.registration;
        if registration.min_expires > registration.max_expires {
            let help = format!("`sip.registration.max_expires` is {}", registration.max_expires.as_secs());
            reader.reject("sip.registration.min_expires", "the shortest lifetime is above the longest", help);
        }
        if !(registration.min_expires..=registration.max_expires).contains(&registration.default_expires) {
            let message = "the default lifetime is not between the shortest and the longest";
            reader.reject("sip.registration.default_expires", message, None);
        }
        if self.message.default_expires > self.message.max_expires {
            reader.reject("message.default_expires", "the default lifetime is above `message.max_expires`", None);
        }
        let session = &self.msrp.session;
        if session.min_expires > session.max_expires {
            reader.reject(
                "msrp.session.min_expires",
                "the shortest lifetime is above `msrp.session.max_expires`",
                None,
            );
        } else if !(session.min_expires..=session.max_expires).contains(&session.default_expires) {
            reader.reject("msrp.session.default_expires", "the default lifetime is outside the bounds", None);
        }
        for (have, lack, set, unset) in [
            ("tls.certificate", "tls.key", &self.tls.certificate, &self.tls.key),
            ("tls.key", "tls.certificate", &self.tls.key, &self.tls.certificate),
        ] {
            if set.is_some() && unset.is_none() {
                reader.reject(have, format!("`{have}` is set and `{lack}` is not"), format!("set `{lack}` too"));
            }
        }
        if self.tls.client_auth != ClientAuth::Off && self.tls.client_ca.is_none() {
            let help = "set `tls.client_ca`".to_owned();
            reader.reject("tls.client_auth", "certificates of clients cannot be verified without authorities", help);
        }
        for (index, extra) in self.tls.extra.iter().enumerate() {
            if extra.certificate.is_none() || extra.key.is_none() {
                let key = format!("tls.extra[{index}]");
                reader.reject(&key, format!("`{key}` needs both `certificate` and `key`"), None);
            }
        }
        if !self.management.listen.address.ip().is_loopback() && self.management.token.is_none() {
            let help = "set `management.token` (or `token_file`), or listen on 127.0.0.1".to_owned();
            reader.reject("management.listen", "the management listener is open to the network without a token", help);
        }
        let url = self.store.url.as_str();
        if !["sqlite:", "postgres://", "postgresql://", "memory:"].iter().any(|scheme| url.starts_with(scheme)) {
            let help = r#"expected "sqlite:", "sqlite:PATH", "postgres://…" or "memory:""#.to_owned();
            reader.reject("store.url", "`store.url` names no store that is known", help);
        }
    }

    /// The store's URL with its password.
    pub fn store_url(&self) -> String {
        let url = &self.store.url;
        let Some(password) = &self.store.password else { return url.clone() };
        let Some((scheme, rest)) = url.split_once("://") else { return url.clone() };
        let escaped: String = password
            .expose()
            .bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") })
            .collect();
        match rest.split_once('@') {
            Some((user, host)) => format!("{scheme}://{user}:{escaped}@{host}"),
            None => format!("{scheme}://chappe:{escaped}@{rest}"),
        }
    }

    /// The store's URL as it may be shown: without a password.
    pub fn store_name(&self) -> String {
        let url = &self.store.url;
        match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
            Some((scheme, (login, host))) => {
                let user = login.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}@{host}")
            }
            None => self.database().map_or_else(|| url.clone(), |file| format!("sqlite:{}", file.display())),
        }
    }

    /// The file of the embedded store; `None` where the store is no file.
    pub fn database(&self) -> Option<PathBuf> {
        let file = self.store.url.strip_prefix("sqlite:")?;
        let file = file.strip_prefix("//").unwrap_or(file);
        Some(self.data_dir.join(if file.is_empty() { "chappe.db" } else { file }))
    }

    /// Whether `domain` is ours, in any case.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|own| own.as_str().eq_ignore_ascii_case(domain))
    }
}

#[cfg(test)]
pub(crate) mod tests;
