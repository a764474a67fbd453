//! What the command line prints: tables and times for people, JSON for programs.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// A table with a heading; columns are as wide as their content.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table { rows: vec![heading.map(str::to_uppercase).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let line: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Prints to standard output. A reader that went away (`| head`) wants no more: that is no fault, and the command goes
/// on to its own exit status.
pub fn print(text: impl std::fmt::Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// [`print`]s a line of formatted text.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::print(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;

/// Prints `value` as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(serde_json::to_string_pretty(value)? + "\n")?)
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A length of time in its two largest units: `2d 3h`.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".into() };
    let (unit, name) = units[first];
    let whole = format!("{}{name}", seconds / unit);
    match units.get(first + 1) {
        Some((next, next_name)) if seconds % unit >= *next => format!("{whole} {}{next_name}", seconds % unit / next),
        _ => whole,
    }
}

/// How far a time lies ahead: `in 5m`, or `over`.
pub fn until(time: u64) -> String {
    time.checked_sub(now()).filter(|left| *left > 0).map_or("over".into(), |left| format!("in {}", span(left)))
}

/// `2026-11-24 15:40:17` in UTC.
pub fn date(seconds: u64) -> String {
    let mut date = date_ms(seconds.saturating_mul(1000));
    date.truncate(date.len() - ".000".len());
    date
}

/// The same with milliseconds.
pub fn date_ms(ms: u64) -> String {
    chappe_imdn::date_time(ms).trim_end_matches('Z').replacen('T', " ", 1)
}

/// `1.5 KiB`
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let mut table = Table::new(["user", "tel"]);
        table.row(["a@b".into(), "+1".into()]);
        table.row(["alice@example.com".into(), String::new()]);
        assert_eq!(table.to_string(), "USER               TEL\na@b                +1\nalice@example.com\n");
    }

    #[test]
    fn times_and_sizes() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3725, "1h 2m"), (3605, "1h"), (90_000, "1d 1h")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date_ms(1_795_534_817_042), "2026-11-24 15:40:17.042");
        assert_eq!(
            (bytes(1023).as_str(), bytes(1536).as_str(), bytes(1 << 30).as_str()),
            ("1023 B", "1.5 KiB", "1.0 GiB")
        );
    }
}
