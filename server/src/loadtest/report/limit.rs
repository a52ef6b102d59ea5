//! The breaking point, and how far it is from the peak that is expected, now and as it grows.

use super::document::{Block, Cell, Grid, Tone};
use super::growth::{Reached, after, day, reaches};
use super::numbers::{NOT_MEASURED, number, of_things, rate};
use super::sizing::BUSY_MAX;
use crate::loadtest::findings::{Capacity, Findings};

/// Months that the table looks ahead.
const AHEAD: [f64; 5] = [0.0, 3.0, 6.0, 12.0, 24.0];

/// Both chapters.
pub(super) fn chapters(findings: &Findings) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "Breaking point".to_owned())];
    blocks.push(Block::Words(breaking_point(&findings.capacity)));
    blocks.push(Block::Heading(2, "Projected peak".to_owned()));
    blocks.extend(peak(findings));
    blocks
}

/// ` with p99 of 50 ms from due to start`, or nothing.
pub(super) fn within_bound(capacity: &Capacity) -> String {
    let bound = |ms: f64| format!(" with a p99 of at most {} ms from due to start", number(ms));
    capacity.slo_p99_ms.map(bound).unwrap_or_default()
}

fn breaking_point(capacity: &Capacity) -> String {
    let Some(sustained) = capacity.sustainable_rate else {
        return format!(
            "The highest sustainable rate was {NOT_MEASURED}. Head room and the time to scale are \
             reckoned from it: let the scenario `breaking-point` run to its end."
        );
    };
    let by = match (capacity.workers, capacity.places) {
        (Some(workers), Some(places)) => {
            let (workers, places) =
                (of_things(workers as usize, "worker"), of_things(places as usize, "place"));
            let each = if capacity.workers == Some(1) { "" } else { " each" };
            format!(", by {workers} with {places}{each}")
        }
        _ => String::new(),
    };
    let held = match sustained > 0.0 {
        true => format!("{} were sustained{}{by}.", rate(sustained), within_bound(capacity)),
        false => format!("No rate that was tried was sustained{}{by}.", within_bound(capacity)),
    };
    match &capacity.gave_way {
        Some((at, what)) => format!(
            "{held} At {} that did not hold any more. What gave way first: {what}. {}",
            rate(*at),
            advice(what)
        ),
        None => format!(
            "{held} It held at every rate that was tried, so what gives way first was \
             {NOT_MEASURED}."
        ),
    }
}

/// What helps against what gave way.
fn advice(what: &str) -> &'static str {
    match what.to_lowercase().as_str() {
        what if what.contains("redis") => {
            "Redis runs commands on one processor: spread the queues over a Cluster."
        }
        what if what.contains("postgres") => {
            "Give PostgreSQL a faster disk and more processors, and a machine of its own."
        }
        what if what.contains("place") => "More workers, or more places to each, carry more.",
        what if what.contains("processor") || what.contains("cpu") => {
            "More machines for workers carry more, and servers of their own for Redis and \
             PostgreSQL."
        }
        _ => "",
    }
}

fn peak(findings: &Findings) -> Vec<Block> {
    let Capacity { projected_peak: peak, monthly_growth: growth, .. } = findings.capacity;
    if peak <= 0.0 {
        return vec![Block::Words(
            "The profile names no projected peak, so there is nothing to compare with.".to_owned(),
        )];
    }
    let expected = format!(
        "The profile expects {} at the peak, growing by {} % a month.",
        rate(peak),
        number(growth * 100.0)
    );
    let Some(sustained) = findings.capacity.sustainable_rate else {
        let missing = format!(
            "{expected} Whether there is room for it is unknown, since the sustainable rate was \
             {NOT_MEASURED}."
        );
        return vec![Block::Words(missing)];
    };
    if sustained <= 0.0 {
        let none = format!("{expected} No rate that was tried was sustained: that is too little.");
        return vec![Block::Words(none)];
    }
    let room = format!(
        "{expected} {} are sustained: head room is {} times the peak, a safety margin of {} %. {} \
         {}",
        rate(sustained),
        number(sustained / peak),
        number((sustained / peak - 1.0) * 100.0),
        reached(findings, sustained * BUSY_MAX, "70 % of the sustainable rate, when to scale,"),
        reached(findings, sustained, "The sustainable rate itself"),
    );
    vec![Block::Words(room), Block::Grid(ahead(findings, sustained))]
}

fn reached(findings: &Findings, bound: f64, what: &str) -> String {
    let Capacity { projected_peak: peak, monthly_growth: growth, .. } = findings.capacity;
    let on = |months| day(&findings.started_at, months).map(|day| format!(" ({day})"));
    match reaches(peak, bound, growth) {
        Reached::Already => format!("{what} has been reached."),
        Reached::In(months) => {
            format!(
                "{what} is reached in {} months{}.",
                number(months),
                on(months).unwrap_or_default()
            )
        }
        Reached::Never => format!("{what} is not reached within ten years."),
    }
}

fn ahead(findings: &Findings, sustained: f64) -> Grid {
    let Capacity { projected_peak: peak, monthly_growth: growth, .. } = findings.capacity;
    let mut grid =
        Grid::new(&["in", "on", ">peak", ">of what is sustained", ">safety margin", "verdict"]);
    for months in AHEAD {
        let then = after(peak, growth, months);
        let used = then / sustained;
        let verdict = match used {
            used if used > 1.0 => Cell::of(Tone::Bad, "too little"),
            used if used > BUSY_MAX => Cell::of(Tone::Unknown, "scale before"),
            _ => Cell::of(Tone::Good, "enough"),
        };
        grid.row([
            if months > 0.0 { format!("{months} months").into() } else { "now".into() },
            day(&findings.started_at, months).unwrap_or_else(|| "–".to_owned()).into(),
            rate(then).into(),
            format!("{} %", number(used * 100.0)).into(),
            format!("{} %", number((1.0 / used - 1.0) * 100.0)).into(),
            verdict,
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, markdown};
    use super::*;

    #[test]
    fn the_margin_shrinks_as_the_peak_grows() {
        let findings = fixture::whole();
        let sustained = findings.capacity.sustainable_rate.unwrap();
        insta::assert_snapshot!(markdown::grid(&ahead(&findings, sustained)));
    }

    #[test]
    fn a_peak_beyond_what_is_sustained_is_said_to_be() {
        let mut findings = fixture::whole();
        findings.capacity.projected_peak = 9_000.0;
        let [Block::Words(words), Block::Grid(grid)] = &peak(&findings)[..] else { panic!() };
        assert!(words.contains("The sustainable rate itself has been reached."), "{words}");
        assert!(grid.rows.iter().all(|row| row[5].text == "too little"));
        findings.capacity.sustainable_rate = Some(0.0);
        let [Block::Words(words)] = &peak(&findings)[..] else { panic!() };
        assert!(words.ends_with("No rate that was tried was sustained: that is too little."));
    }
}
