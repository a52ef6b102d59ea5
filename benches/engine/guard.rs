//! Notices a change that makes the engine slower, on machines of any speed.
//!
//! Nothing here is a time. What the engine carries, and the processor time of a job, are told as parts of what
//! the least scripts ([`limit`]) carry and take in the same minute; what its parts cost is counted in
//! instructions. All are compared with `benches/baseline.json`, which `--write` writes anew after a change
//! that was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::machine::cpu_time;
use crate::report::median;
use crate::world::{World, name};
use crate::{counted, limit};

/// What is lost of a figure before it is a failure.
const LOSS_MAX: f64 = 0.25;
/// Jobs of a backlog, and how often each is drained; the median counts.
const BACKLOG: usize = 40_000;
const ROUNDS: usize = 7;

/// Figures by group and name.
type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// More is better of these; less of all others. The best round counts, in which neighbours and disk had
/// the smallest part.
const SPEED: &str = "jobs a second at best, of what the least scripts carry at best";
/// Of worker and Redis; the median counts.
const WORK: &str = "processor time a job, to that of the least scripts";
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
    let (mut speeds, mut works) = (BTreeMap::new(), BTreeMap::new());
    for durability in [Durability::Broker, Durability::Ledger] {
        let (mut ratios, mut best, mut best_least) = (Vec::new(), 0.0_f64, 0.0_f64);
        for _ in 0..ROUNDS {
            // One after the other, so that both meet the same neighbours.
            let least = limit::drain(BACKLOG).await;
            let world = World::new(&postgres, 0).await;
            world.fill(durability, BACKLOG).await;
            let used = || cpu_time() + world.redis_cpu_time();
            let (start, before) = (Instant::now(), used());
            let working = world.start_worker();
            world.until_settled(BACKLOG).await;
            best = best.max(BACKLOG as f64 / start.elapsed().as_secs_f64());
            best_least = best_least.max(least.speed);
            ratios.push((used() - before).as_secs_f64() / least.cpu.as_secs_f64());
            working.drain().await;
        }
        eprintln!("  {}: {ratios:.2?} times the least", name(durability));
        speeds.insert(name(durability).to_owned(), best / best_least);
        works.insert(name(durability).to_owned(), median(ratios));
    }
    [(SPEED, speeds), (WORK, works), (SCRIPTS, scripts), (PURE, pure)]
        .map(|(group, figures)| (group.to_owned(), figures))
        .into()
}

/// Prints a table; answers how many figures are lost. One that is no longer measured is.
fn compare(measured: &Figures, baseline: &Figures) -> usize {
    let mut lost = 0;
    let groups: BTreeSet<&String> = measured.keys().chain(baseline.keys()).collect();
    for group in groups {
        println!("\n{group}");
        let (now, before) = (measured.get(group), baseline.get(group));
        let names: BTreeSet<&String> =
            [now, before].into_iter().flatten().flat_map(BTreeMap::keys).collect();
        for name in names {
            let figure =
                |of: Option<&BTreeMap<String, f64>>| of.and_then(|of| of.get(name)).copied();
            let (now, before) = (figure(now), figure(before));
            let loss = before.map(|before| loss(group == SPEED, now, before));
            let is_lost = loss.is_some_and(|loss| loss > LOSS_MAX || loss.is_nan());
            lost += usize::from(is_lost);
            let shown = |figure: Option<f64>| {
                figure.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}"))
            };
            let verdict = match loss {
                None => "new".to_owned(),
                Some(loss) if loss > 0.0 => format!("{:>5.1} % worse", loss * 100.0),
                Some(loss) => format!("{:>5.1} % better", -loss * 100.0),
            };
            let mark = if is_lost { "  LOST" } else { "" };
            println!("  {name:<28}{:>12}{:>12}  {verdict}{mark}", shown(now), shown(before));
        }
    }
    lost
}

/// The part of a figure that is lost; endless if it is none.
fn loss(more_is_better: bool, now: Option<f64>, before: f64) -> f64 {
    let Some(now) = now.filter(|now| now.is_finite()) else { return f64::INFINITY };
    if more_is_better { 1.0 - now / before } else { now / before - 1.0 }
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
