//! Reads sections from a TOML file and from the environment, and keeps every fault with its place.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::{Hint, Section, Setting};

/// Marks the environment variables that are ours.
const PREFIX: &str = "CHAPPE__";

/// A value of the file with its place.
pub type Node<'a> = &'a Spanned<DeValue<'a>>;

/// The key that is read now.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub table: Option<&'a DeTable<'a>>,
    /// Of the section, `sip.limits`; empty at the root.
    pub path: &'a str,
    pub name: &'a str,
}

impl<'a> Place<'a> {
    pub fn key(&self) -> String {
        joined(self.path, self.name)
    }

    pub fn node(&self) -> Option<Node<'a>> {
        self.table?.get(self.name)
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Where a fault is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Both count from 1; columns count characters.
    File {
        line: usize,
        column: usize,
        length: usize,
    },
    Environment {
        variable: String,
    },
    /// Nowhere: a default, or the command line.
    Default,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub origin: Origin,
    /// With its section: `sip.listen`; empty where the file is not TOML at all.
    pub key: String,
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// All that is wrong with the configuration; `Display` shows each fault under its line.
#[derive(Debug, Clone, Serialize)]
pub struct Faults {
    pub file: Option<PathBuf>,
    #[serde(skip)]
    text: String,
    pub faults: Vec<Fault>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f, "\n")?;
            }
            write!(f, "error: {}", fault.message)?;
            match &fault.origin {
                Origin::File { line, column, length } => {
                    let name = self.file.as_deref().unwrap_or(Path::new("configuration"));
                    let shown: String = self
                        .text
                        .lines()
                        .nth(line - 1)
                        .unwrap_or_default()
                        .replace('\t', " ")
                        .chars()
                        .take(160)
                        .collect();
                    let margin = line.to_string().len();
                    // A fault that runs over the end of its line is marked up to there.
                    let marks = (*length).min(shown.chars().count().saturating_sub(column - 1)).max(1);
                    write!(f, "\n{:margin$}--> {}:{line}:{column}", "", name.display())?;
                    write!(f, "\n{:margin$} |", "")?;
                    write!(f, "\n{line} | {shown}")?;
                    write!(f, "\n{:margin$} | {:>indent$}{}", "", "", "^".repeat(marks), indent = column - 1)?;
                    if let Some(help) = &fault.help {
                        write!(f, " {help}")?;
                    }
                }
                Origin::Environment { variable } => {
                    write!(f, "\n --> environment variable {variable}")?;
                    if let Some(help) = &fault.help {
                        write!(f, "\n  = {help}")?;
                    }
                }
                Origin::Default => {
                    if let Some(help) = &fault.help {
                        write!(f, "\n  = {help}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

struct Variable {
    name: String,
    /// `sip.listen`
    key: String,
    value: String,
    used: bool,
}

/// Collects what is read and what is wrong.
pub struct Reader<'a> {
    file: Option<PathBuf>,
    text: &'a str,
    variables: Vec<Variable>,
    known: Vec<String>,
    origins: HashMap<String, Origin>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub fn new(file: Option<&Path>, text: &'a str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = environment
            .into_iter()
            .filter_map(|(name, value)| {
                let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
                Some(Variable { name, key, value, used: false })
            })
            .collect();
        Reader {
            file: file.map(Path::to_owned),
            text,
            variables,
            known: Vec::new(),
            origins: HashMap::new(),
            faults: Vec::new(),
        }
    }

    /// Reads a whole configuration.
    pub fn load<T: Section>(&mut self) -> T {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let origin = self.origin(error.span().unwrap_or_default());
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            self.faults.push(Fault { origin, key: String::new(), message, help: None });
        }
        let span = root.span();
        let root = Spanned::new(span, DeValue::Table(root.into_inner()));
        // A file that is not TOML would give faults that only follow from the first one.
        let loaded = T::load(errors.is_empty().then_some(&root), "", self);
        self.unused_variables();
        loaded
    }

    /// The outcome: `Err` if anything was wrong.
    pub fn finish(mut self) -> Result<(), Faults> {
        if self.faults.is_empty() {
            return Ok(());
        }
        self.faults.sort_by_key(|fault| match fault.origin {
            Origin::File { line, column, .. } => (line, column),
            _ => (usize::MAX, 0),
        });
        Err(Faults { file: self.file, text: self.text.to_owned(), faults: self.faults })
    }

    /// Adds a fault found after reading, at the place where `key` was set.
    pub fn reject(&mut self, key: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.faults.push(Fault { origin, key: key.to_owned(), message: message.into(), help: help.into() });
    }

    /// The table of a section, after every key in it was found to be known.
    pub(super) fn table<'n, T: Section>(&mut self, node: Option<Node<'n>>, path: &str) -> Option<&'n DeTable<'n>> {
        let node = node?;
        let Some(table) = node.get_ref().as_table() else {
            let origin = self.origin(node.span());
            let message = format!("`{path}` is a section, not {}", shown(node.get_ref()));
            self.faults.push(Fault { origin, key: path.to_owned(), message, help: Some(format!("write [{path}]")) });
            return None;
        };
        for name in table.keys() {
            let text: &str = name.get_ref();
            let secret = text.strip_suffix("_file");
            if T::KEYS.iter().any(|(key, is_secret)| *key == text || (*is_secret && secret == Some(*key))) {
                continue;
            }
            let place = if path.is_empty() { "at the top of the file".to_owned() } else { format!("in [{path}]") };
            let help = nearest(text, T::KEYS.iter().map(|(key, _)| *key)).map_or_else(
                || format!("allowed: {}", T::KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let origin = self.origin(name.span());
            let key = joined(path, text);
            self.faults.push(Fault { origin, key, message: format!("unknown key `{text}` {place}"), help: Some(help) });
        }
        Some(table)
    }

    /// The tables of a list of sections.
    pub(super) fn list<'n>(&mut self, place: Place<'n>) -> Vec<Node<'n>> {
        let Some(node) = place.node() else { return Vec::new() };
        match node.get_ref().as_array() {
            Some(items) => items.iter().collect(),
            None => {
                let key = place.key();
                let origin = self.origin(node.span());
                let message = format!("`{key}` is a list of sections, not {}", shown(node.get_ref()));
                self.faults.push(Fault { origin, help: Some(format!("write [[{key}]]")), key, message });
                Vec::new()
            }
        }
    }

    /// Reads one key: the environment wins over the file.
    pub(super) fn setting<T: Setting>(&mut self, place: Place<'_>, hint: &dyn Hint<T>) -> Option<T> {
        let key = place.key();
        self.known.push(key.clone());
        if let Some(value) = self.overridden(&key, hint) {
            return value;
        }
        if T::SECRET {
            let file_key = format!("{key}_file");
            self.known.push(file_key.clone());
            if let Some(path) = self.variable(&file_key) {
                return self.secret_in_file(&file_key, &path.1, Origin::Environment { variable: path.0 });
            }
            let name = format!("{}_file", place.name);
            if let Some(node) = place.table.and_then(|table| table.get(name.as_str())) {
                let origin = self.origin(node.span());
                let Some(path) = node.get_ref().as_str() else {
                    return self.wrong::<T>(origin, file_key, shown(node.get_ref()), None, "a path".into());
                };
                if place.node().is_some() {
                    let message = format!("`{key}` and `{file_key}` are both set");
                    let help = Some("keep one of them".into());
                    self.faults.push(Fault { origin, key, message, help });
                    return None;
                }
                return self.secret_in_file(&file_key, path, origin);
            }
        }
        let node = place.node()?;
        let origin = self.origin(node.span());
        self.origins.insert(key.clone(), origin.clone());
        match T::from_toml(node.get_ref()) {
            Some(value) => self.within(origin, key, value, &shown(node.get_ref()), hint),
            None => {
                let why = T::complaint(node.get_ref());
                self.wrong(origin, key, shown(node.get_ref()), why, T::expected())
            }
        }
    }

    /// The variable for `key`: its name and value.
    fn variable(&mut self, key: &str) -> Option<(String, String)> {
        let variable = self.variables.iter_mut().find(|variable| variable.key == key)?;
        variable.used = true;
        Some((variable.name.clone(), variable.value.clone()))
    }

    fn overridden<T: Setting>(&mut self, key: &str, hint: &dyn Hint<T>) -> Option<Option<T>> {
        let (variable, text) = self.variable(key)?;
        let origin = Origin::Environment { variable };
        self.origins.insert(key.to_owned(), origin.clone());
        // As TOML first, so that lists and quoted strings work; else the text itself.
        let parsed = DeValue::parse(&text).ok();
        let value = parsed.as_ref().and_then(|value| T::from_toml(value.get_ref())).or_else(|| T::from_text(&text));
        let shown = if T::SECRET { "that value".into() } else { quoted_short(&text) };
        Some(match value {
            Some(value) => self.within(origin, key.to_owned(), value, &shown, hint),
            None => self.wrong(origin, key.to_owned(), shown, None, T::expected()),
        })
    }

    fn secret_in_file<T: Setting>(&mut self, key: &str, path: &str, origin: Origin) -> Option<T> {
        match std::fs::read_to_string(path) {
            Ok(text) => match T::from_text(text.trim_end_matches(['\r', '\n'])) {
                Some(value) => Some(value),
                None => self.wrong(origin, key.to_owned(), format!("the content of {path}"), None, T::expected()),
            },
            Err(error) => {
                let message = format!("`{key}`: cannot read {path}: {error}");
                self.faults.push(Fault { origin, key: key.to_owned(), message, help: None });
                None
            }
        }
    }

    fn within<T>(&mut self, origin: Origin, key: String, value: T, shown: &str, hint: &dyn Hint<T>) -> Option<T> {
        if hint.permits(&value) {
            return Some(value);
        }
        let help = hint.allowed().map(|allowed| format!("allowed: {allowed}"));
        let message = format!("`{key}` cannot be {shown}");
        self.faults.push(Fault { origin, key, message, help });
        None
    }

    fn wrong<T>(
        &mut self,
        origin: Origin,
        key: String,
        shown: String,
        why: Option<String>,
        expected: String,
    ) -> Option<T> {
        let message = match why {
            Some(why) => format!("`{key}`: {why}"),
            None => format!("`{key}` cannot be {shown}"),
        };
        self.faults.push(Fault { origin, key, message, help: Some(format!("expected {expected}")) });
        None
    }

    fn unused_variables(&mut self) {
        for variable in self.variables.iter().filter(|variable| !variable.used) {
            let near = nearest(&variable.key, self.known.iter().map(String::as_str));
            self.faults.push(Fault {
                origin: Origin::Environment { variable: variable.name.clone() },
                key: variable.key.clone(),
                message: format!("no configuration key `{}`", variable.key),
                help: near
                    .map(|near| format!("did you mean {PREFIX}{}?", near.replace('.', "__").to_ascii_uppercase())),
            });
        }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let start = span.start.min(self.text.len());
        let before = &self.text[..self.text.floor_char_boundary(start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let marked = self.text.get(start..span.end.min(self.text.len())).unwrap_or_default();
        Origin::File {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            length: marked.lines().next().unwrap_or_default().chars().count(),
        }
    }
}

/// A value as an error names it.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted_short(text),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

fn quoted_short(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("\"{}…\"", text[..at].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// The candidate that a typing error away gives `name`: at most a third of the letters differ.
fn nearest<'k>(name: &str, candidates: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with the next one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
