//! The table, and the same for programs.

use std::time::Duration;

use serde::Serialize;

use crate::machine::Facts;

/// What must hold of a figure.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Over(f64),
    AtMost(f64),
}

#[derive(Serialize)]
struct Line {
    group: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

impl Line {
    fn met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            Target::Over(least) => self.value > least,
            Target::AtMost(most) => self.value <= most,
        })
    }
}

/// The figures in the order in which they were measured.
pub(crate) struct Report {
    facts: Facts,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(facts: Facts) -> Self {
        Self { facts, lines: Vec::new(), notes: Vec::new() }
    }

    /// A figure without a target.
    pub(crate) fn figure(
        &mut self,
        group: &'static str,
        name: &str,
        value: f64,
        unit: &'static str,
    ) {
        self.add(group, name, value, unit, None);
    }

    /// A figure that must be over its target.
    pub(crate) fn at_least(
        &mut self,
        group: &'static str,
        name: &str,
        value: f64,
        unit: &'static str,
        target: f64,
    ) {
        self.add(group, name, value, unit, Some(Target::Over(target)));
    }

    /// A figure that must not be over its target.
    pub(crate) fn at_most(
        &mut self,
        group: &'static str,
        name: &str,
        value: f64,
        unit: &'static str,
        target: f64,
    ) {
        self.add(group, name, value, unit, Some(Target::AtMost(target)));
    }

    fn add(
        &mut self,
        group: &'static str,
        name: &str,
        value: f64,
        unit: &'static str,
        target: Option<Target>,
    ) {
        eprintln!("  {group}: {name}: {} {unit}", number(value));
        self.lines.push(Line { group, name: name.to_owned(), value, unit, target });
    }

    /// What the table has no column for.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints everything.
    pub(crate) fn print(&self, took: Duration) {
        println!();
        for (name, value) in &self.facts {
            println!("{name:<12} {value}");
        }
        println!();
        println!("{:<12}{:<42}{:>12} {:<8}{:>14}", "", "", "measured", "", "target");
        let mut group = "";
        for line in &self.lines {
            let heading = if line.group == group { "" } else { line.group };
            group = line.group;
            let target = match line.target {
                None => String::new(),
                Some(Target::Over(least)) => format!("over {}", number(least)),
                Some(Target::AtMost(most)) => format!("at most {}", number(most)),
            };
            let verdict = line.met().map_or("", |met| if met { "met" } else { "MISSED" });
            println!(
                "{heading:<12}{:<42}{:>12} {:<8}{target:>14}  {verdict}",
                line.name,
                number(line.value),
                line.unit,
            );
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
        println!("- measured in {} s", took.as_secs());
    }

    /// The figures as JSON.
    pub(crate) fn json(&self) -> String {
        let machine: serde_json::Map<_, _> = self
            .facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
            .collect();
        let report = serde_json::json!({
            "machine": machine, "figures": self.lines, "notes": self.notes,
        });
        serde_json::to_string_pretty(&report).expect("plain values are JSON")
    }
}

/// Whole numbers with thousands parted, small ones with two digits.
fn number(value: f64) -> String {
    if value.fract() != 0.0 && value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut parted = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            parted.push(',');
        }
        parted.push(digit);
    }
    parted
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
