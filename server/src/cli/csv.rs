//! Accounts in CSV files.

use anyhow::{Context, bail};
use chappe_api::NewAccount;

/// Accounts of a CSV file (RFC 4180, without line breaks in fields), each with its line.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<(usize, NewAccount)>> {
    let mut accounts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_end_matches('\r');
        let heading = index == 0 && !line.contains('@') && (line.starts_with("user") || line.starts_with("aor"));
        if heading || line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields = fields(line).with_context(|| format!("line {number}"))?;
        let [aor, password, rest @ ..] = fields.as_slice() else {
            bail!("line {number}: expected USER@DOMAIN,password[,numbers[,name]]");
        };
        let mut rest = rest.iter();
        let tel = rest.next().map(|tel| tel.split_whitespace().map(str::to_owned).collect()).unwrap_or_default();
        let display_name = rest.next().cloned().unwrap_or_default();
        if rest.next().is_some() {
            bail!("line {number}: more than 4 columns");
        }
        accounts
            .push((number, NewAccount { aor: aor.clone(), password: password.clone(), tel, display_name, ha1: None }));
    }
    Ok(accounts)
}

pub(super) fn fields(line: &str) -> anyhow::Result<Vec<String>> {
    let mut fields = vec![];
    let mut rest = line;
    loop {
        let (field, after) = match rest.trim_start().strip_prefix('"') {
            None => match rest.split_once(',') {
                Some((field, after)) => (field.trim().to_owned(), Some(after)),
                None => (rest.trim().to_owned(), None),
            },
            Some(mut quoted) => {
                let mut field = String::new();
                loop {
                    let (part, after) = quoted.split_once('"').context("a quote is not closed")?;
                    field.push_str(part);
                    // Two quotes stand for one.
                    match after.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => {
                            quoted = after.trim_start();
                            break;
                        }
                    }
                }
                match quoted.strip_prefix(',') {
                    Some(after) => (field, Some(after)),
                    None if quoted.is_empty() => (field, None),
                    None => bail!("text behind a closing quote"),
                }
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_files() {
        let text =
            "user,password,tel,name\r\nalice@d,se cret\n\n# a comment\nbob@d,\"a,\"\"b\"\"\",+1 +2,\"Bob, B.\"\n";
        let accounts = read(text).unwrap();
        assert_eq!(accounts.len(), 2);
        let (line, alice) = &accounts[0];
        assert_eq!((*line, alice.aor.as_str(), alice.password.as_str(), alice.tel.len()), (2, "alice@d", "se cret", 0));
        let (line, bob) = &accounts[1];
        assert_eq!((*line, bob.password.as_str(), bob.display_name.as_str()), (5, "a,\"b\"", "Bob, B."));
        assert_eq!(bob.tel, ["+1", "+2"]);
        for (text, fault) in [
            ("alice@d\n", "line 1: expected USER@DOMAIN,password"),
            ("alice@d,\"x\n", "line 1: a quote is not closed"),
            ("alice@d,\"x\"y\n", "line 1: text behind a closing quote"),
            ("\na,b,c,d,e\n", "line 2: more than 4 columns"),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.starts_with(fault), "{error}");
        }
    }
}
