//! `postworks demo`: everything in one process and a temporary folder, a platform that fails, and
//! at the end a count of what the platform saw against what the ledger says.

mod recorder;
mod report;
mod watch;
mod world;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::output::Format;
use report::Report;
use world::World;

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Jobs to run: 40 % syncs, 35 % publications, 20 % token refreshes, 5 % clean-ups
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) jobs: u32,
    /// Seeds the order of the jobs and the dice of the faults; random if absent, and printed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// Runs the demo; a cancelled `stop` drains it.
pub(crate) async fn run(
    args: &DemoArgs,
    format: Format,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let times = recorder::install()?;
    let world = World::start(seed).await?;
    if format == Format::Table {
        eprintln!(
            "{} jobs on a sandbox platform that fails 5 % of the requests (seed {seed})",
            args.jobs
        );
    }
    let watched = watch::run(&world, args.jobs, seed, format, stop).await?;
    let report = Report::make(&world, args.jobs, seed, watched, &times).await?;
    world.end().await;
    format.say(&report, Report::table)?;
    match report.fault() {
        Some(fault) => Err(Failure::new(Exit::Failed, fault)),
        None => Ok(()),
    }
}
