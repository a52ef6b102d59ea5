//! What Postworks aims at, and whether it was reached.

use crate::metrics::{self, Better};
use crate::ratios::{best, times_better};
use crate::results::Results;
use crate::systems::{Rank, SYSTEMS};

/// What must hold of a figure of ours.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// So many times the best peer's.
    TimesBest(f64),
    /// This share of the minimal loop's.
    OfMinimal(f64),
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost, OfMinimal, TimesBest};

/// System, metric, what is accepted, what is hoped for.
type Aim = (&'static str, &'static str, Bound, Option<Bound>);

const BROKER: &str = "postworks-broker";
const LEDGER: &str = "postworks-ledger";

const AIMS: &[Aim] = &[
    (BROKER, metrics::NOOP, TimesBest(4.0), Some(TimesBest(6.0))),
    (BROKER, metrics::NOOP, OfMinimal(0.6), None),
    (LEDGER, metrics::NOOP, TimesBest(2.0), Some(TimesBest(3.0))),
    (BROKER, metrics::SINGLE, AtLeast(60_000.0), Some(AtLeast(100_000.0))),
    (BROKER, metrics::BULK, AtLeast(120_000.0), Some(AtLeast(170_000.0))),
    (LEDGER, metrics::SINGLE, AtLeast(8_000.0), Some(AtLeast(15_000.0))),
    (LEDGER, metrics::BULK, AtLeast(30_000.0), Some(AtLeast(55_000.0))),
    (BROKER, metrics::START_1000[0], AtMost(0.6), Some(AtMost(0.3))),
    (BROKER, metrics::START_1000[1], AtMost(2.0), Some(AtMost(1.0))),
    (LEDGER, metrics::START_1000[1], AtMost(5.0), None),
    (BROKER, metrics::BYTES_QUEUED, AtMost(500.0), Some(AtMost(350.0))),
    (BROKER, metrics::BYTES_LEFT, AtMost(0.5), None),
    (BROKER, metrics::IDLE_COMMANDS, AtMost(2.0), None),
    (BROKER, metrics::IDLE_CPU, AtMost(0.1), None),
    (BROKER, metrics::RECOVERY, AtMost(1.0), Some(AtMost(0.5))),
    (BROKER, metrics::LOST, AtMost(0.0), None),
    (LEDGER, metrics::RECOVERY, AtMost(1.0), Some(AtMost(0.5))),
    (LEDGER, metrics::LOST, AtMost(0.0), None),
];

/// One aim and what became of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) system: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) aim: String,
    pub(crate) goal: String,
    pub(crate) measured: String,
    pub(crate) word: &'static str,
}

/// Every aim whose figure was measured.
pub(crate) fn verdicts(results: &Results) -> Vec<Verdict> {
    AIMS.iter().filter_map(|aim| verdict(results, aim)).collect()
}

fn verdict(results: &Results, (system, key, bound, goal): &Aim) -> Option<Verdict> {
    let metric = metrics::all().find(|metric| metric.key == *key)?;
    let ours = results.median(system, key)?;
    let scaled = match bound {
        TimesBest(_) => {
            times_better(ours, best_peer(results, key, metric.better)?.1, metric.better)?
        }
        OfMinimal(_) => ours / results.median("minimal", key)?,
        AtLeast(_) | AtMost(_) => ours,
    };
    let word = match goal {
        Some(goal) if goal.holds(scaled) => "goal met",
        _ if bound.holds(scaled) => "met",
        _ => "MISSED",
    };
    let title = SYSTEMS.iter().find(|known| known.id == *system)?.title;
    Some(Verdict {
        system: title,
        metric: metric.title,
        aim: bound.text(bound.value(), true),
        goal: goal.map_or_else(|| "–".to_owned(), |goal| goal.text(goal.value(), true)),
        measured: bound.text(scaled, false),
        word,
    })
}

/// The best figure of a peer, with the peer's title.
pub(crate) fn best_peer(
    results: &Results,
    key: &str,
    better: Better,
) -> Option<(&'static str, f64)> {
    let peers = SYSTEMS.iter().filter(|system| system.rank == Rank::Peer);
    best(peers.filter_map(|peer| Some((peer.title, results.median(peer.id, key)?))), better)
}

impl Bound {
    fn value(self) -> f64 {
        match self {
            TimesBest(value) | OfMinimal(value) | AtLeast(value) | AtMost(value) => value,
        }
    }

    fn holds(self, figure: f64) -> bool {
        match self {
            TimesBest(least) | OfMinimal(least) | AtLeast(least) => figure >= least,
            AtMost(most) => figure <= most,
        }
    }

    /// A figure in the words of this bound.
    fn text(self, figure: f64, is_bound: bool) -> String {
        let figure = match self {
            TimesBest(_) => format!("{figure:.1} × the best peer"),
            OfMinimal(_) => format!("{:.0} % of the minimal loop", figure * 100.0),
            AtLeast(_) => crate::table::number(figure, 0),
            AtMost(_) if figure.fract() == 0.0 => format!("{figure:.0}"),
            AtMost(_) => crate::table::number(figure, if figure < 10.0 { 2 } else { 0 }),
        };
        match self {
            AtMost(_) if is_bound => format!("at most {figure}"),
            _ if is_bound => format!("at least {figure}"),
            _ => figure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Found;

    fn results(ours: f64) -> Results {
        let mut results = Results::default();
        for (system, speed) in
            [(BROKER, ours), ("bullmq", 10.0), ("sidekiq", 20.0), ("minimal", 200.0)]
        {
            let figures = vec![(metrics::NOOP, speed)];
            results.add(system, Found { figures, gaps: Vec::new() });
        }
        results
    }

    fn words(ours: f64) -> Vec<&'static str> {
        verdicts(&results(ours)).iter().map(|verdict| verdict.word).collect()
    }

    #[test]
    fn an_aim_is_missed_met_or_met_to_the_goal() {
        assert_eq!(words(79.0), ["MISSED", "MISSED"]);
        assert_eq!(words(80.0), ["met", "MISSED"]);
        assert_eq!(words(120.0), ["goal met", "met"]);
    }

    #[test]
    fn the_best_peer_is_neither_ours_nor_a_limit() {
        assert_eq!(best_peer(&results(90.0), metrics::NOOP, Better::High), Some(("Sidekiq", 20.0)));
    }

    #[test]
    fn every_aim_is_of_a_figure_and_a_system_that_exist() {
        for (system, key, ..) in AIMS {
            assert!(metrics::all().any(|metric| metric.key == *key), "{key}");
            assert!(SYSTEMS.iter().any(|known| known.id == *system), "{system}");
        }
    }
}
