//! What a load test found, in a few sentences, and what was asked of it.

use super::document::{Block, Cell, Grid, Tone};
use super::growth::{Reached, reaches};
use super::numbers::{NOT_MEASURED, count, number, of_things, rate, stretch, with_unit};
use super::{limit, sizing};
use crate::loadtest::findings::{Capacity, Direction, Findings, Timing, Verdict};

/// The summary and the table of verdicts.
pub(super) fn chapter(findings: &Findings) -> Vec<Block> {
    let mut blocks = Vec::new();
    if findings.interrupted {
        let text = format!(
            "Somebody stopped this test after {}. What is here was measured; the rest was not.",
            stretch(findings.took_s)
        );
        blocks.push(Block::Notice(Tone::Bad, "Interrupted.".to_owned(), text));
    }
    blocks.push(Block::Heading(2, "Summary".to_owned()));
    blocks.push(outcome(&findings.verdicts));
    blocks.push(Block::Bullets(in_short(findings)));
    blocks.push(Block::Heading(2, "Verdicts".to_owned()));
    blocks.push(match findings.verdicts.is_empty() {
        true => {
            Block::Words("The profile sets no bounds, so there is nothing to judge.".to_owned())
        }
        false => Block::Grid(verdicts(&findings.verdicts)),
    });
    blocks
}

fn outcome(verdicts: &[Verdict]) -> Block {
    let missed: Vec<&Verdict> = verdicts.iter().filter(|one| one.held() == Some(false)).collect();
    let held = verdicts.iter().filter(|one| one.held() == Some(true)).count();
    let unknown = verdicts.len() - held - missed.len();
    let but = match unknown {
        0 => "",
        1 => " 1 bound was not measured, so nothing is said about it.",
        n => &format!(" {n} bounds were not measured, so nothing is said about them."),
    };
    if !missed.is_empty() {
        let each: Vec<String> = missed.iter().map(|verdict| sentence(verdict)).collect();
        let of = of_things(verdicts.len(), "bound");
        let text = format!("{} of {of} did not hold: {}.{but}", missed.len(), each.join("; "));
        return Block::Notice(Tone::Bad, "Missed.".to_owned(), text);
    }
    let (tone, first, text) = match held {
        0 => {
            let text = "No bound was measured, so nothing is said.".to_owned();
            return Block::Notice(Tone::Unknown, "Not judged.".to_owned(), text);
        }
        1 => (Tone::Good, "Passed.", "The one bound that was measured held.".to_owned()),
        n => (Tone::Good, "Passed.", format!("All {n} bounds that were measured held.")),
    };
    Block::Notice(tone, first.to_owned(), format!("{text}{but}"))
}

fn sentence(verdict: &Verdict) -> String {
    let Verdict { scenario, name, unit, .. } = verdict;
    let measured = with_unit(verdict.measured.unwrap_or(f64::NAN), unit);
    format!("{name} ({scenario}) was {measured}, {} was wanted", bound(verdict))
}

fn bound(verdict: &Verdict) -> String {
    let side = match verdict.direction {
        Direction::AtMost => "at most",
        Direction::AtLeast => "at least",
    };
    format!("{side} {}", with_unit(verdict.bound, &verdict.unit))
}

fn verdicts(verdicts: &[Verdict]) -> Grid {
    let mut grid = Grid::new(&["scenario", "what", "wanted", ">measured", "verdict"]);
    for verdict in verdicts {
        let measured = verdict.measured.map(|value| with_unit(value, &verdict.unit));
        grid.row([
            verdict.scenario.as_str().into(),
            verdict.name.as_str().into(),
            bound(verdict).into(),
            measured.unwrap_or_else(|| "–".to_owned()).into(),
            match verdict.held() {
                Some(true) => Cell::of(Tone::Good, "pass"),
                Some(false) => Cell::of(Tone::Bad, "FAIL"),
                None => Cell::of(Tone::Unknown, NOT_MEASURED),
            },
        ]);
    }
    grid
}

fn in_short(findings: &Findings) -> Vec<String> {
    let capacity = &findings.capacity;
    let mut lines = vec![gave_way(capacity), head_room(capacity), workers(capacity)];
    lines.push(failures(findings));
    for scenario in &findings.scenarios {
        if let Some(why) = &scenario.broke_off {
            lines.push(format!("Scenario {} broke off: {why}.", scenario.name));
        }
    }
    lines
}

fn gave_way(capacity: &Capacity) -> String {
    match &capacity.gave_way {
        Some((at, what)) => format!("What gave way first: {what}, at {}.", rate(*at)),
        None => "What gives way first was not measured.".to_owned(),
    }
}

fn head_room(capacity: &Capacity) -> String {
    let Some(sustained) = capacity.sustainable_rate else {
        return "The highest sustainable rate was not measured, so head room is unknown."
            .to_owned();
    };
    if sustained <= 0.0 {
        return "No rate that was tried was sustained.".to_owned();
    }
    let peak = capacity.projected_peak;
    let held = format!("{} are sustained{}", rate(sustained), limit::within_bound(capacity));
    if peak <= 0.0 {
        return format!("{held}.");
    }
    let of_peak =
        format!("{} times the projected peak of {}", number(sustained / peak), rate(peak));
    let growth = number(capacity.monthly_growth * 100.0);
    match reaches(peak, sustained, capacity.monthly_growth) {
        Reached::Already => format!("{held}: {of_peak}, which is not enough."),
        Reached::In(months) => format!(
            "{held}: {of_peak}. At {growth} % growth a month that is reached in {} months.",
            number(months)
        ),
        Reached::Never => format!("{held}: {of_peak}. At {growth} % growth a month that lasts."),
    }
}

fn workers(capacity: &Capacity) -> String {
    let Capacity { projected_peak: peak, slo_p99_ms, .. } = *capacity;
    let needed = capacity.run_mean_ms.and_then(|run| sizing::places(peak, run, slo_p99_ms));
    let Some(needed) = needed else {
        return "How many workers the projected peak needs was not measured.".to_owned();
    };
    let places = of_things(needed.wanted as usize, "place");
    let each = capacity.places.and_then(|each| Some((sizing::workers(needed.wanted, each)?, each)));
    match each {
        Some((workers, each)) => {
            let workers = of_things(workers as usize, "worker");
            format!("The projected peak needs {places}: {workers} with {each} each.")
        }
        None => format!("The projected peak needs {places}."),
    }
}

fn failures(findings: &Findings) -> String {
    let timings = findings.scenarios.iter().flat_map(|scenario| &scenario.timings);
    let sum = |(all, failed), one: &Timing| (all + one.count, failed + one.failed);
    match timings.fold((0, 0), sum) {
        (0, _) => "Nothing was timed.".to_owned(),
        (_, 0) => "Nothing failed beyond the faults that were asked for.".to_owned(),
        (all, failed) => format!(
            "{} of {} operations failed beyond the faults that were asked for.",
            count(failed),
            count(all)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn said(block: &Block) -> (Tone, String) {
        match block {
            Block::Notice(tone, first, text) => (*tone, format!("{first} {text}")),
            _ => panic!("no notice"),
        }
    }

    #[test]
    fn bounds_that_nobody_measured_neither_pass_nor_fail() {
        let mut verdicts = fixture::whole().verdicts;
        verdicts.retain(|verdict| verdict.held() != Some(false));
        let (tone, text) = said(&outcome(&verdicts));
        assert_eq!(tone, Tone::Good);
        assert_eq!(
            text,
            "Passed. All 4 bounds that were measured held. 1 bound was not measured, so nothing is \
             said about it."
        );
        for verdict in &mut verdicts {
            verdict.measured = None;
        }
        let (tone, text) = said(&outcome(&verdicts));
        assert_eq!(tone, Tone::Unknown);
        assert_eq!(text, "Not judged. No bound was measured, so nothing is said.");
    }

    #[test]
    fn one_miss_is_a_missed_test() {
        let (tone, text) = said(&outcome(&fixture::whole().verdicts));
        assert_eq!(tone, Tone::Bad);
        assert!(text.starts_with("Missed. 1 of 6 bounds did not hold: "), "{text}");
    }
}
