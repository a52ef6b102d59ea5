//! Notices a change that makes the engine slower, on machines of any speed.
//!
//! Nothing here is a time. What the engine carries is told as a part of what the least scripts carry
//! ([`limit`]) in the same minute; what its parts cost is counted in instructions. Both are compared
//! with `benches/baseline.json`, which `--write` writes anew after a change that was meant.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::report::median;
use crate::world::{World, name};
use crate::{counted, limit};

/// What is lost of a figure before it is a failure.
const LOSS_MAX: f64 = 0.25;
/// Jobs of a backlog, and how often each is drained; the median counts.
const BACKLOG: usize = 40_000;
const ROUNDS: usize = 3;

/// Figures by group and name.
type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// More is better of these; less of all others.
const SPEED: &str = "jobs a second, of what the least scripts carry";
const SCRIPTS: &str = "instructions of Redis a job, to those of the least scripts";
const PURE: &str = "instructions";

/// Measures, prints and compares; or writes what it measured as what is compared with.
pub(crate) async fn run(write: bool) -> ExitCode {
    let measured = measure().await;
    let all = stored();
    if write {
        let all =
            all.into_iter().chain([(profile().to_owned(), measured)]).collect::<BTreeMap<_, _>>();
        let text = serde_json::to_string_pretty(&all).expect("plain values are JSON");
        std::fs::write(file(), text + "\n").expect("the baseline can be written");
        return ExitCode::SUCCESS;
    }
    let Some(baseline) = all.get(profile()) else {
        eprintln!("no baseline for this profile yet: `--guard --write` writes one");
        return ExitCode::FAILURE;
    };
    let lost = compare(&measured, baseline);
    if lost == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "{lost} lost more than {:.0} %. If that was meant, `make bench-baseline` writes the figures anew; say \
         why in the commit.",
        LOSS_MAX * 100.0
    );
    ExitCode::FAILURE
}

async fn measure() -> Figures {
    let scripts = counted::scripts().await.into_iter().collect();
    let pure = counted::pure_parts().into_iter().collect();
    let postgres = PostgresServer::launch_durable().await;
    let mut speeds = BTreeMap::new();
    for durability in [Durability::Broker, Durability::Ledger] {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            // One after the other, so that both meet the same neighbours.
            let least = median(limit::drain(BACKLOG, 1).await);
            let world = World::new(&postgres, 0).await;
            world.fill(durability, BACKLOG).await;
            let start = Instant::now();
            let working = world.start_worker();
            world.until_settled(BACKLOG).await;
            ratios.push(BACKLOG as f64 / start.elapsed().as_secs_f64() / least);
            working.drain().await;
        }
        eprintln!("  {}: {ratios:.2?} of the least", name(durability));
        speeds.insert(name(durability).to_owned(), median(ratios));
    }
    [(SPEED, speeds), (SCRIPTS, scripts), (PURE, pure)]
        .map(|(group, figures)| (group.to_owned(), figures))
        .into()
}

/// Prints a table; answers how many figures are lost.
fn compare(measured: &Figures, baseline: &Figures) -> usize {
    let mut lost = 0;
    for (group, figures) in measured {
        println!("\n{group}");
        for (name, now) in figures {
            let before = baseline.get(group).and_then(|figures| figures.get(name));
            let verdict = before.map_or_else(
                || "new".to_owned(),
                |before| {
                    let change = if group == SPEED { before / now } else { now / before } - 1.0;
                    let is_lost = change > LOSS_MAX;
                    lost += usize::from(is_lost);
                    let word = if change > 0.0 { "worse" } else { "better" };
                    let mark = if is_lost { "  LOST" } else { "" };
                    format!("{:>5.1} % {word}{mark}", change.abs() * 100.0)
                },
            );
            let before = before.map_or_else(|| "-".to_owned(), |before| format!("{before:.2}"));
            println!("  {name:<28}{now:>12.2}{before:>12}  {verdict}");
        }
    }
    lost
}

fn stored() -> BTreeMap<String, Figures> {
    let text = std::fs::read_to_string(file()).unwrap_or_else(|_| "{}".to_owned());
    serde_json::from_str(&text).expect("the baseline is JSON of this form")
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json")
}

/// Figures of one profile say nothing of another's.
fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
