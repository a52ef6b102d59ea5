//! What a load test found, in a few sentences, and what was asked of it.

use super::document::{Block, Cell, Grid, Tone};
use super::growth::{Reached, reaches};
use super::numbers::{NOT_MEASURED, count, number, of_things, rate, stretch, with_unit};
use super::{limit, sizing};
use crate::loadtest::findings::{Capacity, Direction, Findings, Scenario, Timing, Verdict};

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
    blocks.push(outcome(findings));
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

fn outcome(findings: &Findings) -> Block {
    let verdicts = &findings.verdicts;
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
    let text = match held {
        0 => "No bound was measured, so nothing is said.".to_owned(),
        1 => format!("The one bound that was measured held.{but}"),
        n => format!("All {n} bounds that were measured held.{but}"),
    };
    let (tone, first) = match held {
        // What was not done might have missed its bounds.
        _ if !is_complete(findings) => (Tone::Bad, "Not complete."),
        0 => (Tone::Unknown, "Not judged."),
        _ => (Tone::Good, "Passed."),
    };
    Block::Notice(tone, first.to_owned(), text)
}

/// Whether all that was asked for was done to its end, and all measured that should have been.
fn is_complete(findings: &Findings) -> bool {
    let whole = |scenario: &Scenario| {
        let mut verdicts = findings.verdicts.iter();
        scenario.broke_off.is_none() && !verdicts.any(|verdict| verdict.is_open_in(scenario))
    };
    !findings.interrupted && findings.scenarios.iter().all(whole)
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
    if peak <= 0.0 {
        return "The profile names no projected peak, so nothing is said of the workers for it."
            .to_owned();
    }
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
    let timings = timings.filter(|timing| !timing.is_sum);
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

    /// A test that ran to its end, and missed nothing that it measured.
    fn held() -> Findings {
        let mut findings = fixture::whole();
        findings.verdicts.retain(|verdict| verdict.held() != Some(false));
        findings.scenarios.retain(|scenario| scenario.broke_off.is_none());
        findings
    }

    #[test]
    fn a_test_that_did_not_run_to_its_end_has_not_passed() {
        let interrupted = Findings { interrupted: true, ..held() };
        let broken = Findings { scenarios: fixture::whole().scenarios, ..held() };
        for findings in [interrupted, broken] {
            let (tone, text) = said(&outcome(&findings));
            assert_eq!(tone, Tone::Bad);
            let first = "Not complete. All 4 bounds that were measured held. 1 bound was not";
            assert!(text.starts_with(first), "{text}");
        }
    }

    #[test]
    fn bounds_that_nobody_measured_neither_pass_nor_fail() {
        let mut findings = held();
        let (tone, text) = said(&outcome(&findings));
        assert_eq!(tone, Tone::Good);
        assert_eq!(
            text,
            "Passed. All 4 bounds that were measured held. 1 bound was not measured, so nothing is \
             said about it."
        );
        for verdict in &mut findings.verdicts {
            verdict.measured = None;
        }
        let (tone, text) = said(&outcome(&findings));
        assert_eq!(tone, Tone::Bad);
        assert_eq!(text, "Not complete. No bound was measured, so nothing is said.");
        // As of scenarios that can measure nothing on these servers.
        findings.scenarios.clear();
        let (tone, text) = said(&outcome(&findings));
        assert_eq!(tone, Tone::Unknown);
        assert_eq!(text, "Not judged. No bound was measured, so nothing is said.");
    }

    #[test]
    fn a_peak_that_nobody_named_is_not_one_that_nobody_measured() {
        let capacity = Capacity { projected_peak: 0.0, ..fixture::whole().capacity };
        let said = workers(&capacity);
        assert!(said.starts_with("The profile names no projected peak"), "{said}");
    }

    #[test]
    fn one_miss_is_a_missed_test() {
        let (tone, text) = said(&outcome(&fixture::whole()));
        assert_eq!(tone, Tone::Bad);
        let miss =
            "Missed. 1 of 6 bounds did not hold: job start all kinds: p99_ms (queue) was 17.6 ms";
        assert!(text.starts_with(miss), "{text}");
    }

    #[test]
    fn what_counts_in_a_sum_as_well_is_counted_once() {
        let mut findings = fixture::whole();
        findings.scenarios.retain(|scenario| scenario.name == "queue");
        let said = "7 of 3,000,000 operations failed beyond the faults that were asked for.";
        assert_eq!(failures(&findings), said);
    }
}
