//! The fault suite: real processes and servers, broken on purpose, judged by what they left behind.
//!
//! `make faults` runs it. Each row of the fault matrix is a function in `rows`; each run has a
//! seed that is printed, and a folder with the journals of everything it did. `docs/reliability.md`
//! says what is promised, how it is attacked, and what came out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod checker;
mod evidence;
#[path = "../it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod fleet;
mod history;
mod load;
mod plants;
mod report;
mod rows;
mod run;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::{StreamExt as _, stream};

use crate::report::{Ended, Report};
use crate::run::{Row, Run};

/// Breaks things on purpose, and checks what is left.
#[derive(Debug, Parser)]
struct Args {
    /// Rows to run; all of them if none is named
    rows: Vec<String>,
    /// What all randomness comes from; printed at every run
    #[arg(long)]
    seed: Option<u64>,
    /// How long X1 goes on
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many jobs E1 runs
    #[arg(long, default_value_t = run::JOBS)]
    jobs: usize,
    /// Put each deliberate bug in instead, and see that a row catches it
    #[arg(long)]
    plants: bool,
    /// Fail also on a time that is missed: for a quiet machine
    #[arg(long)]
    strict: bool,
    /// Say what there is, and run nothing
    #[arg(long)]
    list: bool,
    /// Write the tables to this file as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// A row that takes longer hangs.
const ROW_MAX: Duration = Duration::from_secs(300);
/// Rows that measure nothing run beside each other.
const AT_ONCE: usize = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let rows = rows::all();
    if args.list {
        report::list(&rows);
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.rows.iter().find(|name| !rows.iter().any(|row| row.id == **name)) {
        eprintln!("there is no row {unknown}; --list shows what there is");
        return ExitCode::from(2);
    }
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let folder = folder().join(seed.to_string());
    println!("seed {seed}; journals in {}", folder.display());
    let named = |row: &&Row| args.rows.is_empty() || args.rows.iter().any(|id| id == row.id);
    let chosen: Vec<&Row> = rows.iter().filter(named).collect();
    let report = if args.plants {
        plants::run(&chosen, seed, &folder).await
    } else {
        let span = Duration::from_secs_f64(60.0 * args.minutes);
        let runs = chosen
            .into_iter()
            .map(|row| (row, Run::new(row.id, seed, folder.join(row.id), None, span)))
            .map(|(row, run)| (row, run.with_jobs(args.jobs)));
        run_all(runs.collect()).await
    };
    report.print(seed, &folder);
    if let Some(file) = args.report {
        std::fs::write(file, report.markdown()).expect("a file that can be written");
    }
    if report.is_good(args.strict || args.plants) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where journals are kept: below the build, so that cleaning the build cleans them too.
fn folder() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a build folder");
    build.join("faults")
}

/// Runs rows: those that measure times alone, the others two at a time.
async fn run_all(runs: Vec<(&Row, Run)>) -> Report {
    let (alone, beside): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(row, _)| row.alone);
    let mut ended = Vec::new();
    for (row, run) in alone {
        ended.push(run_one(row, run).await);
    }
    // The longest first, so that nobody waits for it alone.
    let (long, short): (Vec<_>, Vec<_>) = beside.into_iter().partition(|(row, _)| row.id == "X1");
    let each = long.into_iter().chain(short).map(|(row, run)| run_one(row, run));
    ended.extend(stream::iter(each).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
    Report { ended }
}

/// Runs one row to its end, or to its limit. A row that panics has failed, and no other with it.
async fn run_one(row: &Row, run: Run) -> Ended {
    let start = Instant::now();
    let (act, acting, limit) = (row.act, run.clone(), ROW_MAX + run.span + run.load());
    // A runtime of its own: a panic ends nothing else, nor does what a row leaves running.
    let acting = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(limit, act(acting)).await })
    });
    let broke = match acting.await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(format!("still not at its end after {limit:?}")),
        Err(error) => Some(panic_words(error)),
    };
    let ended = Ended { run, took: start.elapsed(), broke };
    ended.print();
    ended
}

fn panic_words(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
        .unwrap_or_else(|| "no words".to_owned())
}
