//! What a command says on stdout: a table for a person, or JSON for a program.

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    Table,
    /// For a program; stable.
    Json,
}

impl Format {
    /// Says `answer`: as JSON, or as the text that `table` makes of it.
    pub(crate) fn say<T: Serialize>(
        self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Table => say(&table(answer)),
            Self::Json => {
                let json = serde_json::to_string_pretty(answer).map_err(io::Error::from)?;
                say(&json)
            }
        }
    }
}

/// Writes a text and an end of line to stdout. Who reads it may have gone: that is no failure.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// What is not known, since the broker's node is away, is a question mark.
pub(crate) fn told(known: Option<impl ToString>) -> String {
    known.map_or_else(|| "?".to_owned(), |known| known.to_string())
}

/// A table of columns without lines; `none` if there are no rows.
pub(crate) fn table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    none: &str,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    let mut empty = true;
    for row in rows {
        empty = false;
        table.add_row(row.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    }
    if empty { none.to_owned() } else { table.trim_fmt() }
}

/// A list of names and values.
pub(crate) fn list(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name:width$}  {}", plain(value))).collect();
    lines.join("\n")
}

/// Text from elsewhere must not move the cursor or ring the bell.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A value that may be missing.
pub(crate) fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_plain_text() {
        let rows = [vec!["1".to_owned(), "a\u{1b}[2Jb".to_owned()]];
        assert_eq!(table(&["ID", "TEXT"], rows, "none"), " ID  TEXT\n 1   a [2Jb");
        assert_eq!(table(&["ID"], [], "none"), "none");
        assert_eq!(list(&[("id", "1".into()), ("kind", "x".into())]), "id    1\nkind  x");
    }
}
