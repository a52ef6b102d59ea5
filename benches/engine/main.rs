//! What the engine does a second, how soon a job starts, and what it costs when nothing happens.
//!
//! `cargo bench -p postworks --bench engine` (or `make bench`) starts a private Redis and a
//! private PostgreSQL that waits for the disk at every commit, measures the engine on them with
//! handlers that only count, and prints one table with the target beside each figure.
//!
//! `--quick` takes 20 seconds instead of minutes and says little; `--only WORD` measures the
//! groups whose name holds the word; `--json FILE` writes the figures for other programs.
//! `--guard` compares ratios and counts with `benches/baseline.json`, and fails on a loss.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench talks, and fails by panicking"
)]

mod arrivals;
mod backlog;
mod counted;
mod delayed;
mod drain;
mod enqueue;
mod guard;
mod idle;
mod latency;
mod limit;
mod machine;
mod memory;
mod pure;
mod report;
mod spread;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use postworks::testing::postgres_server::PostgresServer;

use postworks::broker::WINDOW;
use report::Report;

/// As in every binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much to measure.
struct Plan {
    /// Jobs of a backlog.
    backlog: usize,
    /// Backlogs, from a small one to one far beyond the broker's window.
    depths: &'static [usize],
    /// Jobs that pass at each of them.
    passing: usize,
    /// Jobs that wait for later.
    delayed: usize,
    /// How often a backlog is drained; the median counts.
    rounds: usize,
    /// How long callers enqueue one by one.
    enqueue_for: Duration,
    /// How long jobs arrive for the latency.
    latency_for: Duration,
    /// How long nothing happens.
    idle_for: Duration,
    /// Jobs whose memory is measured.
    stored: usize,
}

const FULL: Plan = Plan {
    backlog: 200_000,
    depths: &[1_000, WINDOW, 1_000_000, 10_000_000],
    passing: 200_000,
    delayed: 1_000_000,
    rounds: 3,
    enqueue_for: Duration::from_secs(3),
    latency_for: Duration::from_secs(10),
    idle_for: Duration::from_secs(10),
    stored: 100_000,
};

const QUICK: Plan = Plan {
    backlog: 20_000,
    depths: &[1_000, WINDOW, 150_000],
    passing: 20_000,
    delayed: 100_000,
    rounds: 1,
    enqueue_for: Duration::from_millis(500),
    latency_for: Duration::from_secs(2),
    idle_for: Duration::from_secs(4),
    stored: 20_000,
};

/// What the command line says.
#[derive(Default)]
struct Args {
    quick: bool,
    only: String,
    json: Option<PathBuf>,
    guard: bool,
    write: bool,
    /// A pure part, and how often: what the guard lets be counted.
    part: Option<(String, usize)>,
}

impl Args {
    fn read() -> Self {
        let mut read = Self::default();
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            match arg.as_str() {
                "--quick" => read.quick = true,
                "--only" => read.only = given.next().expect("--only needs a word"),
                "--json" => read.json = Some(given.next().expect("--json needs a file").into()),
                "--guard" => read.guard = true,
                "--write" => read.write = true,
                "--part" => {
                    let name = given.next().expect("--part needs a name");
                    let times = given.next().and_then(|times| times.parse().ok());
                    read.part = Some((name, times.expect("--part needs a number")));
                }
                // Cargo says this to every bench.
                "--bench" => {}
                other => panic!(
                    "unknown argument {other}: --quick, --only WORD, --json FILE, --guard [--write]"
                ),
            }
        }
        read
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [word, redis, database, queues] = &given[..]
        && word == spread::WORK
    {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(spread::work(redis, database, queues));
        return ExitCode::SUCCESS;
    }
    let args = Args::read();
    // Before there are threads, whose instructions would be counted as well.
    if let Some((part, times)) = args.part {
        pure::run(&part, times);
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if args.guard {
        return runtime.block_on(guard::run(args.write));
    }
    runtime.block_on(measure(args));
    ExitCode::SUCCESS
}

async fn measure(args: Args) {
    let plan = if args.quick { QUICK } else { FULL };
    let started = Instant::now();
    let postgres = PostgresServer::launch_durable().await;
    let mut report = Report::new(machine::facts(&postgres).await);
    let wanted = |group: &str| group.contains(&args.only);
    // First, since what the others leave the disk to do for minutes would be counted in it.
    if wanted("latency") {
        latency::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("delayed") {
        delayed::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("limit") {
        limit::measure(plan.backlog.min(100_000), plan.rounds, &mut report).await;
    }
    if wanted("throughput") {
        drain::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("backlog") {
        backlog::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("enqueue") {
        enqueue::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("idle") {
        idle::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("memory") {
        memory::measure(&postgres, &plan, &mut report).await;
    }
    if wanted("spread") {
        spread::measure(&postgres, &plan, &mut report).await;
    }
    report.print(started.elapsed());
    if let Some(file) = args.json {
        std::fs::write(&file, report.json()).expect("the file of --json can be written");
    }
}
