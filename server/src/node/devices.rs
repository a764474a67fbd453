//! What is signed in as a user, as the operator sees it.

use std::collections::BTreeMap;

use chappe_api::UserDevice;
use chappe_store::{SignIn, SignInKind, StoreError};

use crate::core::Core;

/// Sign-ins and devices, those seen last first.
pub(super) async fn of(core: &Core, aor: &str) -> Result<Vec<UserDevice>, StoreError> {
    let mut found: Vec<UserDevice> = core.sign_ins.of(aor).into_iter().map(sign_in).collect();
    let mut devices: BTreeMap<String, UserDevice> = BTreeMap::new();
    for known in core.stores.devices.of(aor).await? {
        let device = UserDevice {
            id: known.device.to_string(),
            kind: "sip".into(),
            name: known.user_agent.into(),
            first_seen: known.first_seen,
            last_seen: known.last_seen,
            registered: false,
            by: None,
        };
        devices.insert(device.id.clone(), device);
    }
    core.location.with(aor, |bindings| {
        for binding in bindings {
            let device = devices.entry(binding.device().to_owned()).or_insert_with(|| UserDevice {
                id: binding.device().to_owned(),
                kind: "sip".into(),
                name: binding.user_agent().to_owned(),
                first_seen: binding.registered(),
                last_seen: binding.registered(),
                registered: true,
                by: None,
            });
            device.registered = true;
            device.last_seen = device.last_seen.max(binding.registered());
            device.by = core.sign_ins.behind(aor, binding.device()).map(Into::into);
        }
    });
    for sign_in in &mut found {
        sign_in.registered = devices.values().any(|device| device.by.as_ref() == Some(&sign_in.id));
    }
    found.extend(devices.into_values());
    found.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.id.cmp(&b.id)));
    Ok(found)
}

fn sign_in(sign_in: SignIn) -> UserDevice {
    let kind = match sign_in.kind {
        SignInKind::Device => "login",
        SignInKind::Token => "token",
    };
    UserDevice {
        id: sign_in.id.into(),
        kind: kind.into(),
        name: sign_in.name.into(),
        first_seen: sign_in.created,
        last_seen: sign_in.last_seen,
        registered: false,
        by: None,
    }
}
