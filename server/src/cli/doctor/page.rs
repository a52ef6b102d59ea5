//! Findings for a person: a table that fits the terminal.

use std::io::IsTerminal as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use postworks::finding::{Finding, Status};

use crate::cli::output::plain;

/// Columns of a terminal that nobody asked, and the most that are easy to read.
const WIDTH: u16 = 80;
const WIDTH_MAX: u16 = 110;

/// Every finding, and how many there are of which kind.
pub(super) fn of(findings: &[&Finding]) -> String {
    let told = if std::io::stdout().is_terminal() { Table::new().width() } else { None };
    in_columns(findings, told.unwrap_or(WIDTH).min(WIDTH_MAX))
}

fn in_columns(findings: &[&Finding], width: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(["", "WHAT", "DETAIL"]);
    for found in findings {
        let mark = match found.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let advice = found.advice.as_ref().map(|advice| format!("\n-> {}", plain(advice)));
        let detail = format!("{}{}", plain(&found.detail), advice.unwrap_or_default());
        table.add_row([mark, found.check, &detail]);
    }
    // Only the last column gives way.
    for column in table.column_iter_mut().take(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let count = |status| findings.iter().filter(|found| found.status == status).count();
    let (ok, warn, fail) = (count(Status::Ok), count(Status::Warn), count(Status::Fail));
    format!("{}\n\n{ok} ok, {warn} to know of, {fail} to put right", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_fit_eighty_columns_and_say_what_to_do_on_a_line_of_its_own() {
        let findings = [
            Finding::ok("postgres version", "15.18"),
            Finding::warn(
                "redis persistence",
                "none: nothing is lost, but after a restart everything is pushed again from \
                 PostgreSQL",
                "CONFIG SET appendonly yes, and put it into redis.conf (config/redis.conf has it)",
            ),
            Finding::fail("tables", "three are missing\u{7}", "`postworks migrate`"),
        ];
        let page = in_columns(&findings.iter().collect::<Vec<_>>(), 80);
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        insta::assert_snapshot!(page);
    }
}
