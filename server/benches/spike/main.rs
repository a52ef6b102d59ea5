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

use clap::Parser;
use spike::{COLUMNS, Row, Spike};

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

#[tokio::main]
async fn main() {
    let args = Args::parse();
    println!(
        "{} jobs of {} ms; a worker has {} slots; at most 8 workers, the cooldown is 20 s",
        args.jobs, args.run_ms, args.concurrency
    );
    println!("{COLUMNS}");
    let mut csv = "seconds,ready,busy,slots,done,desired,workers\n".to_owned();
    let show = |row: &Row| {
        let Row { at, ready, busy, slots, workers, desired, done } = row;
        let at = at.as_secs_f64();
        println!("{row}");
        let _ = writeln!(csv, "{at:.1},{ready},{busy},{slots},{done},{desired},{workers}");
    };
    let seen = Spike::of(args.jobs, args.run_ms, args.concurrency).run(show).await;
    println!("{seen}");
    if let Some(file) = args.csv {
        std::fs::write(&file, csv).expect("the rows can be kept");
    }
}
