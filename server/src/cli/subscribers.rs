//! The table of subscribers of Kamailio and OpenSIPS, as dumps and CSV have it.

use std::collections::HashMap;

use anyhow::{Context, bail};
use chappe_api::{Ha1, NewAccount};

use super::csv::fields;

/// The table in dumps.
const TABLE: &str = "subscriber";

/// Subscribers, each with its line. A row that cannot be an account is passed on as it is, for the server to refuse.
///
/// # Errors
/// A file of another kind, or one without the columns that are needed.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<(usize, NewAccount)>> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let is_heading = first.split([',', ';']).any(|name| unquoted(name) == "username") && !first.contains('(');
    if is_heading { csv(text) } else { dump(text) }
}

fn csv(text: &str) -> anyhow::Result<Vec<(usize, NewAccount)>> {
    let mut columns: Option<Columns> = None;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let values = fields(line.trim_end_matches('\r')).with_context(|| format!("line {}", index + 1))?;
        match &columns {
            None => columns = Some(Columns::new(values.iter().map(String::as_str))?),
            Some(columns) => found.push((index + 1, columns.account(&values))),
        }
    }
    Ok(found)
}

/// `INSERT INTO subscriber … VALUES` of mysqldump, `COPY subscriber … FROM stdin` of pg_dump.
fn dump(text: &str) -> anyhow::Result<Vec<(usize, NewAccount)>> {
    let mut found = Vec::new();
    let mut created: Vec<String> = Vec::new();
    let (mut creating, mut copying) = (false, None::<Columns>);
    let mut seen = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(columns) = &copying {
            if line == "\\." {
                copying = None;
            } else {
                let values: Vec<String> = line.split('\t').map(copied).collect();
                found.push((number, columns.account(&values)));
            }
            continue;
        }
        let lower = line.trim_start().to_ascii_lowercase();
        if creating {
            // Columns come first, one on a line.
            let name = unquoted(lower.split_whitespace().next().unwrap_or_default());
            let is_key = ["primary", "unique", "key", "constraint", "index"].contains(&name.as_str());
            match line.trim_start().starts_with(')') {
                true => creating = false,
                false if !is_key => created.push(name),
                false => {}
            }
        } else if is_about(&lower, "create table") {
            (creating, created) = (true, Vec::new());
        } else if is_about(&lower, "copy") && lower.contains("from stdin") {
            seen = true;
            copying = Some(Columns::new(listed(&lower).iter().map(String::as_str))?);
        } else if is_about(&lower, "insert into") {
            seen = true;
            let at = lower.find("values").with_context(|| format!("line {number}: INSERT without VALUES"))?;
            let (head, rows) = (&lower[..at], line.trim_start().get(at + 6..).unwrap_or_default());
            let names = if head.contains('(') { listed(head) } else { created.clone() };
            let columns = Columns::new(names.iter().map(String::as_str)).with_context(|| format!("line {number}"))?;
            for values in tuples(rows).with_context(|| format!("line {number}"))? {
                found.push((number, columns.account(&values)));
            }
        }
    }
    if !seen {
        bail!("neither CSV with a column `username` nor a dump with a table `{TABLE}`");
    }
    Ok(found)
}

/// Whether a statement begins so and is about the table of subscribers.
fn is_about(statement: &str, begin: &str) -> bool {
    let Some(rest) = statement.strip_prefix(begin) else { return false };
    let rest = rest.trim_start().trim_start_matches("if not exists").trim_start();
    let name = rest.split([' ', '(']).next().unwrap_or_default();
    name.split('.').next_back().is_some_and(|name| unquoted(name) == TABLE)
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches(['`', '"', '\'', '[', ']']).to_ascii_lowercase()
}

/// The names in the first parentheses.
fn listed(text: &str) -> Vec<String> {
    let inside = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').map(unquoted).collect()
}

/// A value of COPY (PostgreSQL, "Text Format").
fn copied(value: &str) -> String {
    match value {
        "\\N" => String::new(),
        value => value.replace("\\t", "\t").replace("\\n", "\n").replace("\\\\", "\\"),
    }
}

/// The rows of VALUES: `(1,'a','b''c',NULL),(…);`
fn tuples(text: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '(' => rows.push(tuple(&mut chars)?),
            ';' => break,
            _ => {}
        }
    }
    Ok(rows)
}

/// One row, up to its closing parenthesis.
fn tuple(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> anyhow::Result<Vec<String>> {
    let mut values = vec![String::new()];
    let (mut quoted, mut was_quoted) = (false, false);
    while let Some(c) = chars.next() {
        let value = values.last_mut().context("a row without values")?;
        match c {
            '\\' if quoted => value.extend(chars.next()),
            '\'' if quoted && chars.peek() == Some(&'\'') => value.extend(chars.next()),
            '\'' => {
                quoted = !quoted;
                was_quoted = true;
            }
            c if quoted => value.push(c),
            ',' | ')' => {
                if !was_quoted && value.trim().eq_ignore_ascii_case("null") {
                    value.clear();
                }
                if c == ')' {
                    return Ok(values);
                }
                was_quoted = false;
                values.push(String::new());
            }
            c if c.is_whitespace() => {}
            c => value.push(c),
        }
    }
    bail!("a row is not closed")
}

/// Where the columns are.
struct Columns(HashMap<String, usize>);

impl Columns {
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> anyhow::Result<Columns> {
        let columns = Columns(names.enumerate().map(|(at, name)| (unquoted(name), at)).collect());
        for needed in ["username", "domain"] {
            if !columns.0.contains_key(needed) {
                bail!("there is no column `{needed}`");
            }
        }
        Ok(columns)
    }

    fn get<'v>(&self, values: &'v [String], name: &str) -> &'v str {
        self.0.get(name).and_then(|at| values.get(*at)).map_or("", |value| value.trim())
    }

    fn account(&self, values: &[String]) -> NewAccount {
        let get = |name: &str| self.get(values, name);
        let some = |name: &str| Some(get(name)).filter(|value| !value.is_empty()).map(str::to_owned);
        let (user, domain) = (get("username"), get("domain"));
        let is_number = user.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        // OpenSIPS has MD5 in ha1 and no ha1b; both keep a password in the clear only where they are told to.
        let ha1 = Ha1 {
            md5: some("ha1"),
            md5_at_domain: some("ha1b"),
            sha256: some("ha1_sha256"),
            sha512_256: some("ha1_sha512t256"),
        };
        let password = get("password").to_owned();
        NewAccount {
            aor: format!("{user}@{domain}"),
            ha1: Some(ha1).filter(|ha1| password.is_empty() && *ha1 != Ha1::default()),
            password,
            tel: is_number.then(|| user.to_owned()).into_iter().collect(),
            display_name: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "0e8359df8d2ad12d237d275cce1c7ab2";

    fn shown(text: &str) -> Vec<(usize, String, String, Option<String>)> {
        let rows = read(text).unwrap();
        let md5 = |account: &NewAccount| account.ha1.as_ref().and_then(|ha1| ha1.md5.clone());
        rows.into_iter().map(|(line, one)| (line, one.aor.clone(), one.password.clone(), md5(&one))).collect()
    }

    #[test]
    fn a_dump_of_mysql() {
        let text = format!(
            "-- MySQL dump\nDROP TABLE IF EXISTS `subscriber`;\nCREATE TABLE `subscriber` (\n  `id` int unsigned NOT NULL,\n  \
             `username` varchar(64) NOT NULL,\n  `domain` varchar(64) NOT NULL,\n  `password` varchar(64),\n  `ha1` \
             varchar(128),\n  `ha1b` varchar(128),\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `account_idx` (`username`,`domain`)\n) \
             ENGINE=InnoDB;\nINSERT INTO `location` VALUES (1,'x');\nINSERT INTO `subscriber` VALUES \
             (1,'bob','example.com','','{MD5}','{MD5}'),(2,'o\\'neil','example.com','it''s','',NULL);\n"
        );
        assert_eq!(
            shown(&text),
            [
                (14, "bob@example.com".into(), "".into(), Some(MD5.into())),
                (14, "o'neil@example.com".into(), "it's".into(), None),
            ]
        );
    }

    #[test]
    fn a_dump_of_postgresql_and_one_with_columns() {
        let copy = format!(
            "COPY public.subscriber (id, username, domain, password, ha1, ha1_sha256) FROM stdin;\n\
             1\t+15550001\texample.com\t\\N\t{MD5}\tab\n\\.\nCOPY public.other (id) FROM stdin;\n9\n\\.\n"
        );
        assert_eq!(shown(&copy), [(2, "+15550001@example.com".into(), "".into(), Some(MD5.into()))]);
        let account = read(&copy).unwrap().remove(0).1;
        assert_eq!((account.tel, account.ha1.unwrap().sha256), (vec!["+15550001".to_owned()], Some("ab".into())));
        let insert = "INSERT INTO subscriber (username, domain, password) VALUES ('a', 'd', 'p');";
        assert_eq!(shown(insert), [(1, "a@d".into(), "p".into(), None)]);
    }

    #[test]
    fn csv_with_a_heading() {
        let text =
            format!("id,username,domain,password,ha1\n1,bob,example.com,,{MD5}\n\n2,\"eve\",example.com,secret,\n");
        assert_eq!(
            shown(&text),
            [
                (2, "bob@example.com".into(), "".into(), Some(MD5.into())),
                (4, "eve@example.com".into(), "secret".into(), None),
            ]
        );
    }

    #[test]
    fn what_is_none() {
        for (text, fault) in [
            ("", "neither CSV"),
            ("user,password\na@d,b\n", "neither CSV"),
            ("username,password\nbob,b\n", "no column `domain`"),
            ("INSERT INTO subscriber (username, domain) VALUES ('a', 'd'", "not closed"),
            ("INSERT INTO subscriber VALUES ('a', 'd');", "no column `username`"),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.contains(fault), "{text}: {error}");
        }
    }
}
