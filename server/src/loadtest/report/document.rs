//! The report as a list of blocks, which Markdown and HTML are made of: both say the same.

use super::svg::Chart;

/// The report, from top to bottom.
pub(super) struct Document {
    /// What it is called.
    pub(super) title: String,
    /// One line on what it is of.
    pub(super) under_title: String,
    /// Everything else.
    pub(super) blocks: Vec<Block>,
}

/// A part of a report. In its texts, what stands between backticks is code; all else is words.
pub(super) enum Block {
    /// A heading of level 2 or 3.
    Heading(u8, String),
    /// A paragraph.
    Words(String),
    /// A paragraph that must be seen, with the words that it opens with.
    Notice(Tone, String, String),
    /// A list.
    Bullets(Vec<String>),
    /// A table.
    Grid(Grid),
    /// A plot.
    Chart(Chart),
    /// Lines to type.
    Command(String),
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Nobody knows.
    Unknown,
}

/// A table.
pub(super) struct Grid {
    /// The heading of each column, and whether its figures stand to the right.
    pub(super) columns: Vec<(String, bool)>,
    /// As many cells a row as there are columns.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
pub(super) struct Cell {
    /// What it says.
    pub(super) text: String,
    /// How it says it.
    pub(super) tone: Tone,
}

impl Grid {
    /// A table without rows. A heading that begins with `>` is of a column of figures.
    pub(super) fn new(columns: &[&str]) -> Self {
        let column = |name: &&str| match name.strip_prefix('>') {
            Some(figures) => (figures.to_owned(), true),
            None => ((*name).to_owned(), false),
        };
        Self { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// One more row.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }
}

impl Cell {
    /// A cell of this tone.
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::of(Tone::Plain, text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::of(Tone::Plain, text)
    }
}

/// A piece of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Span<'a> {
    /// Words, to be escaped.
    Words(&'a str),
    /// What stood between backticks.
    Code(&'a str),
}

/// The pieces of a text. A backtick without its partner is a character like others.
pub(super) fn spans(text: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once('`') {
        let Some((code, after)) = opened.split_once('`') else { break };
        spans.push(Span::Words(before));
        spans.push(Span::Code(code));
        rest = after;
    }
    spans.push(Span::Words(rest));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code() {
        use Span::{Code, Words};
        let of = |text| spans(text);
        assert_eq!(of("ask `SELECT` ` twice"), [Words("ask "), Code("SELECT"), Words(" ` twice")]);
        assert_eq!(of(""), [Words("")]);
    }
}
