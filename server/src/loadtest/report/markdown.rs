//! The report as Markdown whose tables are also read without a program that draws them.

use std::fmt::Write as _;

use super::document::{Block, Cell, Document, Grid, Span, Tone, spans};
use super::plots;

/// The whole document.
pub(super) fn page(document: &Document) -> String {
    let mut page = format!("# {}\n\n{}\n", words(&document.title), words(&document.under_title));
    for block in &document.blocks {
        page.push('\n');
        page.push_str(&part(block));
        page.push('\n');
    }
    page
}

fn part(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => {
            format!("{} {}", "#".repeat(usize::from(*level)), words(text))
        }
        Block::Words(text) => words(text),
        Block::Notice(_, first, text) => format!("> **{}** {}", words(first), words(text)),
        Block::Bullets(texts) => {
            let lines: Vec<String> =
                texts.iter().map(|text| format!("- {}", words(text))).collect();
            lines.join("\n")
        }
        Block::Grid(rows) => grid(rows),
        Block::Chart(chart) => {
            format!("**{}**\n\n{}", words(&chart.title), grid(&plots::overview(chart)))
        }
        Block::Command(lines) => format!("```sh\n{lines}\n```"),
    }
}

/// A table whose columns stand under each other.
pub(super) fn grid(grid: &Grid) -> String {
    let head = grid.columns.iter().map(|(name, _)| in_cell(name)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> =
        grid.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|at| {
            let cells = rows.iter().map(|row| &row[at]).chain([&head[at]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        })
        .collect();
    let mut text = String::new();
    let line = |cells: &[String], text: &mut String| {
        for (at, cell) in cells.iter().enumerate() {
            let width = widths[at];
            let _ = match grid.columns[at].1 {
                true => write!(text, "| {cell:>width$} "),
                false => write!(text, "| {cell:width$} "),
            };
        }
        text.push_str("|\n");
    };
    line(&head, &mut text);
    for (at, (_, figures)) in grid.columns.iter().enumerate() {
        let dashes = "-".repeat(widths[at] + 1);
        let _ = match figures {
            true => write!(text, "|{dashes}:"),
            false => write!(text, "|{dashes}-"),
        };
    }
    text.push_str("|\n");
    for row in &rows {
        line(row, &mut text);
    }
    text.trim_end().to_owned()
}

fn cell(cell: &Cell) -> String {
    let text = in_cell(&cell.text);
    match cell.tone {
        Tone::Bad => format!("**{text}**"),
        Tone::Unknown if !text.is_empty() => format!("*{text}*"),
        _ => text,
    }
}

fn in_cell(text: &str) -> String {
    words(text).replace('|', "\\|")
}

/// A text whose words are no marks of Markdown, on one line.
fn words(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let span = |span: &Span<'_>| match span {
        Span::Code(code) => format!("`{code}`"),
        Span::Words(words) => {
            let mut text = String::new();
            for letter in words.chars() {
                if matches!(letter, '\\' | '*' | '<' | '[' | '`') {
                    text.push('\\');
                }
                text.push(letter);
            }
            text
        }
    };
    spans(&line).iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_no_text_breaks_them() {
        let mut rows = Grid::new(&["what", ">figure"]);
        rows.row(["a|b\nc".into(), "1,050".into()]);
        rows.row([Cell::of(Tone::Bad, "`ZADD`"), Cell::of(Tone::Unknown, "–")]);
        insta::assert_snapshot!(grid(&rows), @r"
        | what       | figure |
        |------------|-------:|
        | a\|b c     |  1,050 |
        | **`ZADD`** |    *–* |
        ");
    }

    #[test]
    fn what_was_measured_is_no_mark_up() {
        assert_eq!(
            words("5 * <b> [x](y) `a*b` post_publication"),
            r"5 \* \<b> \[x](y) `a*b` post_publication"
        );
    }
}
