//! Licences, sources and banned crates of all dependencies, by `deny.toml`.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    #[serde(default)]
    clarify: Vec<Clarify>,
}

/// What a crate is under that does not say so in its manifest.
#[derive(Deserialize)]
struct Clarify {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// Crates that may depend on it.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for crates of this repository.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the tree of the lock file; the answer is a line for the user.
pub(crate) fn check() -> anyhow::Result<String> {
    let rules = std::fs::read_to_string(crate::root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules: Rules = toml::from_str(&rules).context("deny.toml")?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(crate::root())
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let faults = faults(&rules, &metadata);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(format!("{} crates, all as deny.toml allows", metadata.packages.len()))
}

fn faults(rules: &Rules, metadata: &Metadata) -> Vec<String> {
    let names: HashMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Package { name, version, .. } = package;
        let Some(source) = &package.source else { continue };
        if source != CRATES_IO {
            faults.push(format!("{name} {version} comes from {source}"));
        }
        let clear = rules.licenses.clarify.iter().find(|clear| clear.name == *name).map(|clear| &clear.expression);
        match clear.or(package.license.as_ref()) {
            None => faults.push(format!("{name} {version} names no licence")),
            Some(license) if !allowed(license, &rules.licenses.allow) => {
                faults.push(format!("{name} {version} is under {license}"));
            }
            Some(_) => {}
        }
    }
    for node in &metadata.resolve.nodes {
        let user = names.get(node.id.as_str()).copied().unwrap_or(&node.id);
        for dependency in &node.dependencies {
            let Some(name) = names.get(dependency.as_str()) else { continue };
            let banned = rules.bans.deny.iter().find(|ban| ban.name == *name);
            if banned.is_some_and(|ban| !ban.wrappers.iter().any(|wrapper| wrapper == user)) {
                faults.push(format!("{user} uses {name}, which is banned"));
            }
        }
    }
    faults
}

/// Whether an SPDX expression can be met with the allowed licences; `/` is the old form of OR.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    words.reverse();
    let met = either(&mut words, allow);
    met && words.is_empty()
}

/// `a OR b`; the words are taken from the end of the list.
fn either(words: &mut Vec<&str>, allow: &BTreeSet<String>) -> bool {
    let mut met = both(words, allow);
    while words.last() == Some(&"OR") {
        words.pop();
        met |= both(words, allow);
    }
    met
}

/// `a AND b`, which binds more than OR.
fn both(words: &mut Vec<&str>, allow: &BTreeSet<String>) -> bool {
    let mut met = single(words, allow);
    while words.last() == Some(&"AND") {
        words.pop();
        met &= single(words, allow);
    }
    met
}

fn single(words: &mut Vec<&str>, allow: &BTreeSet<String>) -> bool {
    match words.pop() {
        Some("(") => {
            let met = either(words, allow);
            words.pop() == Some(")") && met
        }
        Some(name) if words.last() == Some(&"WITH") => {
            words.pop();
            let exception = words.pop().unwrap_or_default();
            allow.contains(&format!("{name} WITH {exception}")) || allow.contains(name)
        }
        Some(name) => allow.contains(name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allow: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0"].map(String::from).into();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("Unlicense/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("(MIT", false),
            ("MIT)", false),
            ("", false),
        ] {
            assert_eq!(allowed(expression, &allow), expected, "{expression:?}");
        }
    }

    #[test]
    fn bans_and_sources() {
        let rules: Rules = toml::from_str(
            "licenses.allow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"bad\" }, { crate = \"rsip\", wrappers = [\"suite\"] }]",
        )
        .unwrap();
        let package = |name: &str, license: Option<&str>, source: Option<&str>| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(String::from),
            source: source.map(String::from),
        };
        let node = |id: &str, dependencies: &[&str]| Node {
            id: id.to_owned(),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        };
        let metadata = Metadata {
            packages: vec![
                package("suite", None, None),
                package("server", None, None),
                package("rsip", Some("MIT"), Some(CRATES_IO)),
                package("bad", Some("MIT"), Some(CRATES_IO)),
                package("copyleft", Some("GPL-3.0"), Some(CRATES_IO)),
                package("fork", Some("MIT"), Some("git+https://example.com/fork")),
            ],
            resolve: Resolve { nodes: vec![node("suite", &["rsip"]), node("server", &["rsip", "bad", "copyleft"])] },
        };
        assert_eq!(
            faults(&rules, &metadata),
            [
                "copyleft 1.0.0 is under GPL-3.0",
                "fork 1.0.0 comes from git+https://example.com/fork",
                "server uses rsip, which is banned",
                "server uses bad, which is banned",
            ]
        );
    }
}
