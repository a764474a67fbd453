//! The push services that are configured.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use chappe_push::{Apns, ApnsAuth, ApnsSettings, Fcm, Provider, Tls, VapidKey, WebPush, Webhook, Wns, WnsSettings};

use super::PushSettings;
use crate::config::{Config, Push};

/// The services of a configuration. One whose credentials cannot be used is an error, and said by its key.
pub fn services(config: &Config) -> anyhow::Result<PushSettings> {
    let settings = &config.push;
    let mut tls = Tls::default();
    if let Some(path) = &settings.ca {
        tls = tls.trusting(&read(path)?).with_context(|| format!("push.ca: {}", path.display()))?;
    }
    let mut providers: HashMap<String, Arc<dyn Provider>> = HashMap::new();
    if let Some(url) = &settings.webhook {
        let secret = settings.webhook_secret.as_ref().map(|secret| secret.expose());
        let hook = Webhook::new(url, secret, &tls).map_err(|why| anyhow::anyhow!("push.webhook: {why}"))?;
        let hook: Arc<dyn Provider> = Arc::new(hook);
        for name in &settings.webhook_for {
            providers.insert(name.to_ascii_lowercase(), Arc::clone(&hook));
        }
    }
    if let Some(subject) = &settings.webpush_subject {
        let key = VapidKey::load(&config.data_dir.join("vapid.key")).context("the key of Web Push")?;
        let push = WebPush::new(key, subject, &settings.webpush_trusted, &tls);
        providers.insert("webpush".to_owned(), Arc::new(push.map_err(|why| anyhow::anyhow!("Web Push: {why}"))?));
    }
    if let Some(path) = &settings.fcm_account {
        let fcm = Fcm::new(&read(path)?, settings.fcm_url.as_deref(), &tls);
        providers
            .insert("fcm".to_owned(), Arc::new(fcm.with_context(|| format!("push.fcm_account: {}", path.display()))?));
    }
    if let Some(apns) = apns(settings, &tls)? {
        providers.insert("apns".to_owned(), Arc::new(apns));
    }
    if let Some(client_id) = &settings.wns_client_id {
        let Some(secret) = &settings.wns_secret else { bail!("push.wns_client_id needs push.wns_secret") };
        let wns = WnsSettings {
            client_id: client_id.clone(),
            secret: secret.expose().to_owned(),
            tenant: settings.wns_tenant.clone(),
            token_url: settings.wns_token_url.clone(),
            trusted: settings.wns_trusted.clone(),
        };
        providers.insert("wns".to_owned(), Arc::new(Wns::new(wns, &tls).context("push.wns_client_id")?));
    }
    Ok(PushSettings { wait: settings.wait, providers })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn apns(settings: &Push, tls: &Tls) -> anyhow::Result<Option<Apns>> {
    let (auth, named) = match (&settings.apns_key, &settings.apns_certificate) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => bail!("push.apns_key and push.apns_certificate exclude each other"),
        (Some(path), None) => {
            let Some(key_id) = &settings.apns_key_id else { bail!("push.apns_key needs push.apns_key_id") };
            (ApnsAuth::Token { key: read(path)?, key_id: key_id.clone() }, ("apns_key", path))
        }
        (None, Some(path)) => (ApnsAuth::Certificate(read(path)?), ("apns_certificate", path)),
    };
    let (key, path) = named;
    let Some(team) = &settings.apns_team else { bail!("push.{key} needs push.apns_team") };
    let apns =
        ApnsSettings { auth, team: team.clone(), sandbox: settings.apns_sandbox, url: settings.apns_url.clone() };
    Apns::new(apns, tls).map(Some).with_context(|| format!("push.{key}: {}", path.display()))
}
