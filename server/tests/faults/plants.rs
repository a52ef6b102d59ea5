//! Tests the suite itself: each deliberate bug is put in, and a row must catch it.

use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use postworks::faults::Plant;

use crate::report::{Ended, Report};
use crate::run::{Row, Run};
use crate::{AT_ONCE, run_one};

/// Each bug, and the row that must catch it.
pub(crate) const CAUGHT_BY: [(Plant, &str); Plant::ALL.len()] = [
    (Plant::AckWithoutToken, "W3"),
    (Plant::EnqueueBeforeCommit, "P4"),
    (Plant::BlindResend, "W1"),
    (Plant::LeaseAsEffectGuard, "W1"),
    (Plant::UnflaggedSweep, "R2"),
    (Plant::AckBeforeRun, "W2"),
    (Plant::ForgetRefill, "R3"),
    (Plant::NoRenewal, "R7"),
    (Plant::BurnOnDrain, "W5"),
    (Plant::CountLostCommitTwice, "P5"),
    (Plant::TellToken, "W2"),
];

/// Runs the rows that must catch something; the report is good if all do. A row that broke off
/// has caught nothing: it must say what is wrong.
pub(crate) async fn run(rows: &[&Row], seed: u64, folder: &Path) -> Report {
    let each = CAUGHT_BY.iter().filter_map(|&(plant, id)| {
        let row = *rows.iter().find(|row| row.id == id)?;
        let folder = folder.join(plant.name());
        let run = Run::new(row.id, seed, folder, Some(plant.name()), Duration::ZERO);
        Some(catch(row, run, plant))
    });
    let ended: Vec<Ended> = stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
    Report { ended }
}

/// Runs a row with a bug in: good if it is broken.
async fn catch(row: &Row, run: Run, plant: Plant) -> Ended {
    let folder = run.folder.clone();
    let ended = run_one(row, run).await;
    let caught = ended.run.violations().into_iter().next();
    let verdict = Run::new(row.id, ended.run.seed, folder, Some(plant.name()), Duration::ZERO);
    let broke = match &caught {
        Some(violation) => {
            println!("{} catches {}: {violation}", row.id, plant.name());
            None
        }
        None => Some(format!("{} was not caught by {}", plant.name(), row.id)),
    };
    Ended { run: verdict, took: ended.took, broke }
}
