//! A spike of 20,000 jobs on `up --workers auto`: the number of workers over time, and how it ended.
//!
//! `make observe-spike` runs it and prints a table; it fails if a job is lost or published twice, or
//! if the workers do not go again. `--jobs N` makes it smaller, `--csv FILE` keeps the rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench talks, and fails by panicking"
)]

#[path = "../../tests/it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod fleet;
#[path = "../../tests/it/spike.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod spike;

use std::fmt::Write as _;
use std::time::Duration;

use clap::Parser;
use spike::{Row, Spike};

/// The accounts that the jobs are spread over.
const ACCOUNTS: usize = 20;

/// Lets a spike of jobs come, and shows how many workers there are meanwhile.
#[derive(Debug, Parser)]
struct Args {
    /// How many jobs, a multiple of 20
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// How long the platform takes for each, in milliseconds
    #[arg(long, default_value_t = 200)]
    run_ms: u32,
    /// The slots of a worker
    #[arg(long, default_value_t = 10)]
    concurrency: u32,
    /// A file for the rows
    #[arg(long)]
    csv: Option<std::path::PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn settings() -> Vec<(&'static str, &'static str)> {
    vec![
        // More than processors, since the jobs wait for the platform.
        ("POSTWORKS__AUTOSCALE__MAX_WORKERS", "8"),
        ("POSTWORKS__AUTOSCALE__DRAIN_WITHIN", "30s"),
        ("POSTWORKS__AUTOSCALE__COOLDOWN", "20s"),
        ("POSTWORKS__AUTOSCALE__EVERY", "2s"),
        // The spike is the point, not who keeps it out.
        ("POSTWORKS__ADMISSION__DEPTH", "0"),
        ("POSTWORKS__ADMISSION__OLDEST", ""),
        ("POSTWORKS__ADMISSION__POSTGRES_WAIT", ""),
        // Ten processes share a server of a hundred connections; whoever waits for one is in no hurry.
        ("POSTWORKS__LEDGER__POOL_SIZE", "8"),
        ("POSTWORKS__LEDGER__ACQUIRE_TIMEOUT", "30s"),
        ("POSTWORKS_LOG", "warn"),
    ]
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let spike = Spike {
        jobs_each: args.jobs / ACCOUNTS,
        accounts: ACCOUNTS,
        run_ms: args.run_ms,
        concurrency: args.concurrency,
        settings: settings(),
        every: Duration::from_secs(2),
        within: Duration::from_secs(540),
    };
    println!(
        "{} jobs of {} ms; a worker has {} slots; at most 8 workers, the cooldown is 20 s",
        args.jobs, args.run_ms, args.concurrency
    );
    println!(
        "{:>7} {:>8} {:>5} {:>6} {:>8} {:>8} {:>8}",
        "time", "waiting", "busy", "slots", "done", "desired", "workers"
    );
    let mut csv = "seconds,ready,busy,slots,done,desired,workers\n".to_owned();
    let show = |row: &Row| {
        let Row { at, ready, busy, slots, workers, desired, done } = row;
        let at = at.as_secs_f64();
        let bar = "#".repeat(usize::try_from(*workers).unwrap_or(0));
        println!(
            "{at:>5.1} s {ready:>8} {busy:>5} {slots:>6} {done:>8} {desired:>8} {workers:>8} {bar}"
        );
        let _ = writeln!(csv, "{at:.1},{ready},{busy},{slots},{done},{desired},{workers}");
    };
    let seen = spike.run(show).await;
    let most = seen.rows.iter().map(|row| row.workers).max().unwrap_or(0);
    println!(
        "killed a worker after {:.1} s; drained after {:.1} s with up to {most} workers; one worker \
         again after {:.1} s; all of {} jobs completed and were published once",
        seen.killed.as_secs_f64(),
        seen.drained.as_secs_f64(),
        seen.fell_back.as_secs_f64(),
        args.jobs,
    );
    if let Some(file) = args.csv {
        std::fs::write(&file, csv).expect("the rows can be kept");
    }
}
