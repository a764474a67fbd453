//! Orders of the operator: versions that switch clients off or have them begin anew (§6.3 of the digest of RCC.14).
//!
//! A wrong one turns off a whole fleet, and clients that were told never to ask again cannot be called back. So an order
//! names its users one by one; one for everybody has to be asked for twice, and nothing ever falls back to one.

use std::collections::HashMap;

use crate::document::Version;

/// What a client is told in the place of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The configuration is deleted; it may ask again (0).
    Reset,
    /// Deleted, and not asked for again by itself (-1).
    Never,
    /// Switched off and kept, until the user turns it on (-2).
    Off,
    /// Off and kept, and asked for again after the validity (-3).
    Dormant,
}

impl Order {
    /// As VERS says it; `validity` in seconds.
    pub fn version(self, validity: u32) -> Version {
        match self {
            Order::Reset => Version::Reset,
            Order::Never => Version::Never,
            Order::Off => Version::Off,
            Order::Dormant => Version::Dormant { validity },
        }
    }

    fn named(name: &str) -> Option<Order> {
        match name {
            "reset" => Some(Order::Reset),
            "never" => Some(Order::Never),
            "off" => Some(Order::Off),
            "dormant" => Some(Order::Dormant),
            _ => None,
        }
    }
}

/// Why orders are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    #[error("{0:?} is not USER=reset|never|off|dormant")]
    Malformed(String),
    #[error("{0:?} is ordered two things")]
    Twice(String),
    #[error("an order for everybody (*) has to be allowed too")]
    Everybody,
}

/// All that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    users: HashMap<Box<str>, Order>,
    everybody: Option<Order>,
}

impl Orders {
    /// Reads `USER=ORDER`, with an AOR, a number with its `+`, or `*` for everybody, where `for_everybody` allows that.
    ///
    /// # Errors
    /// See [`BadOrder`].
    pub fn read<S: AsRef<str>>(entries: &[S], for_everybody: bool) -> Result<Orders, BadOrder> {
        let mut orders = Orders::default();
        for entry in entries.iter().map(AsRef::as_ref) {
            let malformed = || BadOrder::Malformed(entry.to_owned());
            let (user, order) = entry.rsplit_once('=').ok_or_else(malformed)?;
            let (user, order) = (user.trim(), Order::named(order.trim()).ok_or_else(malformed)?);
            let is_number = user.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
            let before = match user {
                "*" if !for_everybody => return Err(BadOrder::Everybody),
                "*" => orders.everybody.replace(order),
                _ if user.contains('@') || is_number => orders.users.insert(user.to_ascii_lowercase().into(), order),
                _ => return Err(malformed()),
            };
            if before.is_some() {
                return Err(BadOrder::Twice(user.to_owned()));
            }
        }
        Ok(orders)
    }

    /// What a user is told, who is known by any of these names. His own order goes before that for everybody.
    pub fn of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<Order> {
        let own = names.into_iter().find_map(|name| self.users.get(&*name.to_ascii_lowercase()));
        own.copied().or(self.everybody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_their_users() {
        let orders = Orders::read(&["bob@Example.com=never", "+15550100002 = reset", "c@d=dormant"], false).unwrap();
        assert_eq!(orders.of(["bob@example.com", "+15550100001"]), Some(Order::Never));
        assert_eq!(orders.of(["x@example.com", "+15550100002"]), Some(Order::Reset));
        assert_eq!(orders.of(["alice@example.com"]), None);
        assert_eq!(Order::Dormant.version(60), Version::Dormant { validity: 60 });
    }

    #[test]
    fn nobody_switches_off_everybody_by_mistake() {
        assert_eq!(Orders::read(&["*=off"], false), Err(BadOrder::Everybody));
        let orders = Orders::read(&["*=off", "bob@example.com=dormant"], true).unwrap();
        assert_eq!(orders.of(["alice@example.com"]), Some(Order::Off));
        assert_eq!(orders.of(["bob@example.com"]), Some(Order::Dormant));
        for wrong in ["bob@example.com", "bob@example.com=", "bob=off", "=off", "bob@example.com=-1", "+=x", "%=off"] {
            assert_eq!(Orders::read(&[wrong], true), Err(BadOrder::Malformed(wrong.to_owned())));
        }
        let twice = Orders::read(&["b@d=off", "B@d=reset"], false);
        assert_eq!(twice, Err(BadOrder::Twice("B@d".to_owned())));
        assert_eq!(Orders::read(&["*=off", "*=reset"], true), Err(BadOrder::Twice("*".to_owned())));
    }
}
