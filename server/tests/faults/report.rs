//! What the suite says: a line a row, then what held and what was measured.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::checker::Invariant;
use crate::run::{Figure, Row, Run};

/// A row's end.
pub(crate) struct Ended {
    pub(crate) run: Run,
    pub(crate) took: Duration,
    /// What kept the row from its end.
    pub(crate) broke: Option<String>,
}

impl Ended {
    /// Whether everything held that the row looks at.
    pub(crate) fn is_good(&self) -> bool {
        self.broke.is_none()
            && self.run.violations().is_empty()
            && self.run.figures().iter().all(Figure::holds)
    }

    /// Whether a promise is broken, rather than a figure missed that the machine has a part in.
    pub(crate) fn is_broken(&self) -> bool {
        self.broke.is_some()
            || !self.run.violations().is_empty()
            || self.run.figures().iter().any(Figure::is_inexcusable)
    }

    fn verdict(&self) -> &'static str {
        match (self.is_good(), self.is_broken()) {
            (true, _) => "holds",
            (false, false) => "is SLOW",
            (false, true) => "BROKEN",
        }
    }

    /// Says how it went.
    pub(crate) fn print(&self) {
        let verdict = self.verdict();
        let bug = self.run.plant.map(|plant| format!(" with {plant}")).unwrap_or_default();
        println!("{:4}{bug} {verdict} after {:.1} s", self.run.row, self.took.as_secs_f64());
        self.print_faults();
        for figure in self.run.figures().iter().filter(|figure| figure.holds()) {
            println!("      {}", words(figure));
        }
        for note in self.run.notes() {
            println!("      {note}");
        }
    }

    /// Says what kept the row from its end, and what it found broken.
    fn print_faults(&self) {
        if let Some(broke) = &self.broke {
            println!("      did not end: {broke}");
        }
        for violation in self.run.violations() {
            println!("      {violation}");
        }
        for figure in self.run.figures().iter().filter(|figure| !figure.holds()) {
            println!("      {}", words(figure));
        }
    }
}

fn words(figure: &Figure) -> String {
    let Figure { name, measured, target, unit, .. } = figure;
    let verdict = if figure.holds() { "" } else { "  MISSED" };
    format!("{name}: {measured:.2} {unit} (at most {target} {unit}){verdict}")
}

/// All rows' ends.
pub(crate) struct Report {
    pub(crate) ended: Vec<Ended>,
}

impl Report {
    /// Whether every promise was kept, with `strictly` also every figure.
    pub(crate) fn is_good(&self, strictly: bool) -> bool {
        self.ended.iter().all(|row| if strictly { row.is_good() } else { !row.is_broken() })
    }

    fn rows(&self, which: impl Fn(&Ended) -> bool) -> String {
        let rows = self.ended.iter().filter(|row| which(row)).map(|row| row.run.row);
        rows.collect::<Vec<_>>().join(", ")
    }

    /// Prints the invariants and the figures.
    pub(crate) fn print(&self, seed: u64, folder: &Path) {
        println!("\n{}", self.markdown());
        // Once more: often the end is all that is kept of a long output.
        for row in self.ended.iter().filter(|row| !row.is_good()) {
            println!("{}:", row.run.row);
            row.print_faults();
        }
        let slow = self.rows(|row| !row.is_good() && !row.is_broken());
        if !slow.is_empty() {
            println!("slower than promised: {slow} (--strict fails on this)");
        }
        let broken = self.rows(Ended::is_broken);
        if broken.is_empty() {
            println!("{} rows kept every promise, seed {seed}", self.ended.len());
        } else {
            println!("BROKEN: {broken}; again with --seed {seed}");
            println!("the journals are in {}", folder.display());
        }
    }

    /// The two tables, as `docs/reliability.md` has them.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| invariant | what must hold | found |\n|---|---|---|\n");
        for (invariant, about) in Invariant::ALL {
            let violations = self.ended.iter().flat_map(|ended| ended.run.violations());
            let broken = violations.filter(|violation| violation.invariant == invariant).count();
            let found = if broken == 0 { "holds".to_owned() } else { format!("{broken} BROKEN") };
            let _ = writeln!(text, "| {invariant:?} | {about} | {found} |");
        }
        text.push_str("\n| row | figure | measured | at most |\n|---|---|---|---|\n");
        for figure in self.ended.iter().flat_map(|ended| ended.run.figures()) {
            let Figure { row, name, measured, target, unit } = &figure;
            let mark = if figure.holds() { "" } else { " MISSED" };
            let _ =
                writeln!(text, "| {row} | {name} | {measured:.2} {unit}{mark} | {target} {unit} |");
        }
        text
    }
}

/// Says what rows and bugs there are.
pub(crate) fn list(rows: &[Row]) {
    for row in rows {
        println!("{:4} {}", row.id, row.about);
    }
    println!();
    for (plant, caught_by, _) in crate::plants::CAUGHT_BY {
        println!("{:24} {} ({caught_by})", plant.name(), plant.about());
    }
}
