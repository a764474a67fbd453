//! Passwords of devices: each handset that is configured gets one of its own, made from a key, so that none is stored and
//! the user's own stays the user's.

use chappe_auth::{Form, Ha1Set, Username};

/// Between the user and the mark of the device, in usernames.
pub const SEPARATOR: char = '~';

/// Makes and knows them.
#[derive(Clone)]
pub struct DevicePasswords {
    key: ring::hmac::Key,
}

impl std::fmt::Debug for DevicePasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevicePasswords")
    }
}

/// What a device signs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What tells the device from others of its user.
    pub mark: String,
    /// `user~mark@domain`
    pub username: String,
    pub password: String,
}

impl DevicePasswords {
    /// With a secret key, the same on every node.
    pub fn new(key: &[u8; 32]) -> DevicePasswords {
        DevicePasswords { key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key) }
    }

    /// Of a device of `aor`, the same each time. `device` is its IMEI or whatever tells it from others.
    pub fn login(&self, aor: &str, device: &str) -> Login {
        let (user, domain) = aor.rsplit_once('@').unwrap_or((aor, ""));
        let mark = hex(&self.tag("device", &[aor, device]))[..12].to_owned();
        let local = format!("{user}{SEPARATOR}{mark}");
        Login { mark, password: self.password(&local, domain), username: format!("{local}@{domain}") }
    }

    /// The AOR and the mark behind a username of this kind, and the secrets for that spelling of it.
    pub fn secrets(&self, name: &Username<'_>, realm: &str) -> Option<(String, String, Ha1Set)> {
        let (user, mark) = name.user.rsplit_once(SEPARATOR)?;
        if user.is_empty() || mark.is_empty() {
            return None;
        }
        let written = match name.form {
            Form::Plain => name.user.to_owned(),
            Form::AtDomain => format!("{}@{realm}", name.user),
            Form::Uri => format!("sip:{}@{realm}", name.user),
        };
        let password = self.password(name.user, realm);
        Some((format!("{user}@{realm}"), mark.to_owned(), Ha1Set::from_password(&written, realm, password.as_bytes())))
    }

    fn password(&self, local: &str, domain: &str) -> String {
        hex(&self.tag("password", &[local, domain]))[..32].to_owned()
    }

    fn tag(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(purpose.as_bytes());
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_known_in_every_spelling_and_no_other_password_is() {
        let passwords = DevicePasswords::new(&[7; 32]);
        let login = passwords.login("alice@example.com", "356938035643800");
        assert_eq!(login, passwords.login("alice@example.com", "356938035643800"));
        let local = login.username.strip_suffix("@example.com").unwrap();
        for written in [local.to_owned(), login.username.clone(), format!("sip:{}", login.username)] {
            let name = Username::parse(&written).unwrap();
            let (aor, mark, secrets) = passwords.secrets(&name, "example.com").unwrap();
            assert_eq!((aor.as_str(), &mark), ("alice@example.com", &login.mark));
            assert_eq!(secrets, Ha1Set::from_password(&written, "example.com", login.password.as_bytes()), "{written}");
            assert_ne!(secrets, Ha1Set::from_password(&written, "example.com", b"secret"));
        }
        for other in [passwords.login("alice@example.com", "1"), passwords.login("bob@example.com", "356938035643800")]
        {
            assert_ne!((&other.username, &other.password), (&login.username, &login.password));
            assert_ne!(other.password, login.password);
        }
        assert_ne!(
            DevicePasswords::new(&[8; 32]).login("alice@example.com", "356938035643800").password,
            login.password
        );
    }

    #[test]
    fn ordinary_usernames_are_none_of_it() {
        let passwords = DevicePasswords::new(&[7; 32]);
        for name in ["alice", "~x", "alice~"] {
            assert!(passwords.secrets(&Username::parse(name).unwrap(), "d").is_none(), "{name}");
        }
    }
}
