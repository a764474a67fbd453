//! The profiles of RCS, by the names that clients send as `rcs_profile`.

/// Which form of document a client understands. Later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// RCS-e 1.2.2 and the joyn profiles: hotfixes, blackbird, crane, dragonstone.
    Joyn,
    /// Universal Profile.
    Universal { major: u8, minor: u8 },
}

impl Default for Profile {
    /// (u) A client that names none is taken for the newest.
    fn default() -> Profile {
        Profile::Universal { major: 2, minor: 4 }
    }
}

impl Profile {
    /// `joyn_blackbird`, `UP_2.4`, `UP_T`, `enriched_call`; `None` for what is not known.
    pub fn named(name: &str) -> Option<Profile> {
        let lower = name.trim().to_ascii_lowercase();
        if lower.starts_with("joyn_") || lower.starts_with("rcs-e") {
            return Some(Profile::Joyn);
        }
        match lower.strip_prefix("up_") {
            Some("t") => Some(Profile::Universal { major: 1, minor: 0 }),
            Some(version) => {
                let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
                Some(Profile::Universal { major: major.parse().ok()?, minor: minor.parse().ok()? })
            }
            // The trial of what became Universal Profile.
            None => (lower == "enriched_call").then_some(Profile::Universal { major: 1, minor: 0 }),
        }
    }

    pub fn is_universal(self) -> bool {
        matches!(self, Profile::Universal { .. })
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Profile::Joyn => f.write_str("joyn"),
            Profile::Universal { major, minor } => write!(f, "UP_{major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_by_their_names() {
        for (name, expected) in [
            ("joyn_hotfixes", Some("joyn")),
            ("JOYN_Blackbird", Some("joyn")),
            ("UP_1.0", Some("UP_1.0")),
            ("UP_T", Some("UP_1.0")),
            ("UP_2.7", Some("UP_2.7")),
            ("UP_3", Some("UP_3.0")),
            ("enriched_call", Some("UP_1.0")),
            ("UP_x", None),
            ("", None),
        ] {
            assert_eq!(Profile::named(name).map(|profile| profile.to_string()).as_deref(), expected, "{name}");
        }
        assert!(Profile::named("UP_2.4") > Profile::named("UP_1.0") && Profile::named("UP_1.0") > Some(Profile::Joyn));
    }
}
