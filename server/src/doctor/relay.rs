//! The MSRP relay: what it calls itself in the URIs that it hands out.

use super::Finding;
use crate::config::Config;

const CHECK: &str = "msrp";

pub(super) fn examine(config: &Config) -> Option<Finding> {
    let msrp = &config.msrp;
    let any = msrp.listen.iter().find(|listen| listen.address.ip().is_unspecified())?;
    Some(match &msrp.advertised {
        Some(host) => Finding::good(CHECK, format!("URIs of sessions name {}", host.as_str())),
        None => Finding::warning(
            CHECK,
            format!("URIs of sessions name whatever address a client has reached by {}", any.address),
            "set msrp.advertised to the name that everybody reaches it by, the one of its certificate",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::setting::Setting;
    use crate::config::{Host, Listen, MsrpScheme};

    #[test]
    fn all_addresses_want_a_name() {
        for (name, address, advertised, expected) in [
            ("all addresses", "0.0.0.0:2855", None, Some(Level::Warning)),
            ("all of both families", "[::]:2855", None, Some(Level::Warning)),
            ("with a name", "0.0.0.0:2855", Some("msrp.example.com"), Some(Level::Good)),
            ("one address", "192.0.2.1:2855", None, None),
        ] {
            let mut config = Config::default();
            config.msrp.listen = vec![Listen { scheme: MsrpScheme::Tcp, address: address.parse().unwrap() }];
            config.msrp.advertised = advertised.and_then(Host::from_text);
            assert_eq!(examine(&config).map(|finding| finding.level), expected, "{name}");
        }
        let mut none = Config::default();
        none.msrp.listen.clear();
        assert_eq!(examine(&none), None);
    }
}
