//! Tests the suite itself: each deliberate bug is put in, and a row must catch it.

use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use postworks::faults::Plant;

use crate::checker::Invariant;
use crate::report::{Ended, Report};
use crate::run::{Row, Run};
use crate::{AT_ONCE, run_one};

/// Each bug, the row that must catch it, and by what: whatever else the bug breaks proves nothing of
/// that.
pub(crate) const CAUGHT_BY: [(Plant, &str, Invariant); Plant::ALL.len()] = [
    (Plant::AckWithoutToken, "W3", Invariant::I4),
    (Plant::EnqueueBeforeCommit, "P4", Invariant::I3),
    (Plant::BlindResend, "W1", Invariant::I2),
    (Plant::LeaseAsEffectGuard, "W1", Invariant::I2),
    (Plant::UnflaggedSweep, "R2", Invariant::I4),
    (Plant::AckBeforeRun, "W2", Invariant::I1),
    (Plant::ForgetRefill, "R3", Invariant::I9),
    (Plant::NoRenewal, "R7", Invariant::I9),
    (Plant::BurnOnDrain, "W5", Invariant::I5),
    (Plant::CountLostCommitTwice, "P5", Invariant::I5),
    (Plant::TellToken, "W2", Invariant::I12),
];

/// Runs the rows that must catch something; the report is good if all do. A row that broke off
/// has caught nothing: it must say what is wrong.
pub(crate) async fn run(rows: &[&Row], seed: u64, folder: &Path) -> Report {
    let each = CAUGHT_BY.iter().filter_map(|&(plant, id, breaks)| {
        let row = *rows.iter().find(|row| row.id == id)?;
        let folder = folder.join(plant.name());
        let run = Run::new(row.id, seed, folder, Some(plant.name()), Duration::ZERO);
        Some(catch(row, run, plant, breaks))
    });
    let ended: Vec<Ended> = stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
    Report { ended }
}

/// Runs a row with a bug in: good if this is broken.
async fn catch(row: &Row, run: Run, plant: Plant, breaks: Invariant) -> Ended {
    let folder = run.folder.clone();
    let ended = run_one(row, run).await;
    let violations = ended.run.violations();
    let caught = violations.iter().find(|violation| violation.invariant == breaks);
    let verdict = Run::new(row.id, ended.run.seed, folder, Some(plant.name()), Duration::ZERO);
    let broke = match caught {
        Some(violation) => {
            println!("{} catches {}: {violation}", row.id, plant.name());
            None
        }
        None => Some(format!("{} was not caught by {} as {breaks:?}", plant.name(), row.id)),
    };
    Ended { run: verdict, took: ended.took, broke }
}
