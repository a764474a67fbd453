//! The example file and the reference page, written from the declarations of the sections.

use std::fmt::Write;

use super::setting::Section;

/// One key as declared.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub path: &'a str,
    pub name: &'a str,
    pub doc: &'a [&'a str],
}

impl Key<'_> {
    pub fn key(&self) -> String {
        if self.path.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.path, self.name) }
    }
}

/// What is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Toml,
    Markdown,
}

/// A page in the making.
pub struct Page {
    format: Format,
    out: String,
}

/// Every key with its meaning and default, as a file that sets nothing yet.
pub fn toml<T: Section>() -> String {
    let mut page = Page { format: Format::Toml, out: String::new() };
    page.out.push_str(
        "# Configuration of chappe. Every key is here with its meaning; a key that is commented out shows its default\n\
         # (or, where it says so, an example). A key is also set by the environment: CHAPPE__SIP__LISTEN for sip.listen.\n\
         # `chappe config check FILE` says what is wrong with a file.\n\n",
    );
    T::default().describe("", &mut page);
    page.out
}

/// The same as a page of the reference.
pub fn markdown<T: Section>() -> String {
    let mut page = Page { format: Format::Markdown, out: String::new() };
    page.out.push_str(
        "# Configuration reference\n\nGenerated from the source by `cargo xtask docs`. One TOML file; a key is also set by the environment \
         (`CHAPPE__SIP__LISTEN` for `sip.listen`, lists separated by commas), and a secret by a file that `<key>_file` names.\n",
    );
    T::default().describe("", &mut page);
    page.out
}

impl Page {
    pub(super) fn section(&mut self, path: &str, about: &[&str]) {
        let about = about.iter().map(|line| line.trim()).collect::<Vec<_>>();
        match self.format {
            Format::Toml if path.is_empty() => {}
            Format::Toml => {
                self.out.push('\n');
                for line in about {
                    let _ = writeln!(self.out, "# {line}");
                }
                let _ = writeln!(self.out, "[{path}]");
            }
            Format::Markdown => {
                let name = if path.is_empty() { "Top of the file".into() } else { format!("`[{path}]`") };
                let _ = write!(self.out, "\n## {name}\n{}\n\n", about.join(" "));
                self.out.push_str("| key | default | meaning |\n| --- | --- | --- |\n");
            }
        }
    }

    pub(super) fn setting(&mut self, key: Key<'_>, value: &str, unset: bool, allowed: Option<&str>, secret: bool) {
        let mut doc: Vec<String> = key.doc.iter().map(|line| line.trim().to_owned()).collect();
        if let Some(allowed) = allowed {
            push_sentence(&mut doc, &format!("From {allowed}."));
        }
        if secret {
            push_sentence(&mut doc, &format!("Or `{}_file`, the file that holds it.", key.name));
        }
        match self.format {
            Format::Toml => {
                if unset {
                    push_sentence(&mut doc, "Unset; for example:");
                }
                for line in &doc {
                    let _ = writeln!(self.out, "# {line}");
                }
                let _ = writeln!(self.out, "#{} = {value}", key.name);
            }
            Format::Markdown => {
                let value = if unset { "unset".into() } else { format!("`{value}`") };
                let meaning = doc.join(" ").replace('|', "\\|");
                let _ = writeln!(self.out, "| `{}` | {value} | {meaning} |", key.name);
            }
        }
    }

    pub(super) fn tables(&mut self, key: Key<'_>, body: impl FnOnce(&mut Page)) {
        let name = key.key();
        match self.format {
            Format::Toml => {
                self.out.push('\n');
                for line in key.doc {
                    let _ = writeln!(self.out, "# {}", line.trim());
                }
                let _ = writeln!(self.out, "#[[{name}]]");
            }
            Format::Markdown => {
                let about = key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
                let _ = write!(self.out, "\n### `[[{name}]]`\n{about}\n\n");
                self.out.push_str("| key | default | meaning |\n| --- | --- | --- |\n");
            }
        }
        // The heading stands already: only the keys of the table are wanted.
        let mut keys = Page { format: self.format, out: String::new() };
        body(&mut keys);
        let skip = match self.format {
            Format::Toml => 0,
            Format::Markdown => keys.out.find("| --- | --- | --- |\n").map_or(0, |at| at + 20),
        };
        self.out.push_str(&keys.out[skip..]);
    }
}

/// Adds a sentence to the last line if it fits there.
fn push_sentence(doc: &mut Vec<String>, sentence: &str) {
    match doc.last_mut() {
        Some(last) if last.len() + sentence.len() < 116 => {
            last.push(' ');
            last.push_str(sentence);
        }
        _ => doc.push(sentence.to_owned()),
    }
}
