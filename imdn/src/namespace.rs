//! Namespaces of message headers (RFC 3862 §3.4).

use crate::header::{CORE_NAMESPACE, Header, IMDN_NAMESPACE};

const CORE_NAMES: [&str; 7] = ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"];
const IMDN_NAMES: [&str; 5] =
    ["Message-ID", "Disposition-Notification", "Original-To", "IMDN-Record-Route", "IMDN-Route"];

/// Whether this crate knows what a header means: those of RFC 3862 and RFC 5438.
pub fn is_understood(namespace: &str, name: &str) -> bool {
    match namespace {
        CORE_NAMESPACE => CORE_NAMES.contains(&name),
        IMDN_NAMESPACE => is_imdn_name(name),
        _ => false,
    }
}

/// What the prefixes stand for at some place among the headers.
#[derive(Debug, Default)]
pub(crate) struct Namespaces<'h>(Vec<(Option<&'h str>, &'h str)>);

impl<'h> Namespaces<'h> {
    /// Goes on by one header.
    pub(crate) fn note(&mut self, header: &'h Header<'_>) {
        self.0.extend(header.declaration());
    }

    /// The namespace and the name there. Prefixes count by what they are declared as, the latest first; an undeclared
    /// `imdn.` and bare IMDN names are taken for what they must mean.
    pub(crate) fn resolve<'n>(&self, name: &'n str) -> (&'h str, &'n str) {
        let (prefix, name) = match name.split_once('.') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, name),
        };
        let declared = self.0.iter().rev().find(|(known, _)| *known == prefix).map(|(_, uri)| *uri);
        let namespace = match (prefix, declared) {
            (None, _) if CORE_NAMES.contains(&name) => CORE_NAMESPACE,
            (_, Some(uri)) => uri,
            (None, None) if is_imdn_name(name) => IMDN_NAMESPACE,
            (None, None) => CORE_NAMESPACE,
            (Some(prefix), None) if prefix.eq_ignore_ascii_case("imdn") => IMDN_NAMESPACE,
            (Some(_), None) => "",
        };
        (namespace, name)
    }
}

fn is_imdn_name(name: &str) -> bool {
    IMDN_NAMES.iter().any(|one| one.eq_ignore_ascii_case(name))
}
