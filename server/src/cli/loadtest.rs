//! `postworks loadtest`: a load test and its report, and two of them side by side.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use postworks::clock::{Clock as _, SystemClock};
use postworks_workers::role::WorkerArgs;
use postworks_workers::signals::Signals;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::{Format, say};
use super::wiring;
use crate::loadtest::findings::{Direction, Findings, Verdict};
use crate::loadtest::report::{self, Written};
use crate::loadtest::{self, Invalid, Name, NotInstalled, Order, Targets, Unusable};

/// Where reports go unless told otherwise.
const FOLDER: &str = "logs/loadtest";

/// Arguments of `loadtest`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LoadtestArgs {
    /// What to test; all that the profile holds if absent
    #[arg(value_name = "SCENARIO", value_enum)]
    scenarios: Vec<Name>,
    /// How much, and for how long: smoke (a minute), reference (an hour), or a TOML file
    #[arg(long, value_name = "smoke|reference|FILE", default_value = "smoke")]
    profile: String,
    /// Seeds the load and the platform's faults; random if absent, and in the report
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the report goes [default: logs/loadtest/<UTC time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A TOML file of what must hold, in place of the usual targets
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// A PostgreSQL server to work on, in a database of its own, in place of `DATABASE_URL`
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A Redis server to work on, under keys of its own, in place of `REDIS_URL`
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    #[command(subcommand)]
    command: Option<LoadtestCommand>,
}

#[derive(Debug, Subcommand)]
enum LoadtestCommand {
    /// Put two load tests side by side
    #[command(after_help = "\
Example:
  postworks loadtest compare logs/loadtest/2026-01-31T12-00-00Z logs/loadtest/2026-02-28T12-00-00Z")]
    Compare {
        /// The earlier one: its folder, or its findings.json
        a: PathBuf,
        /// The later one
        b: PathBuf,
    },
    /// A worker that says when each attempt starts and ends
    #[command(hide = true)]
    Worker(WorkerArgs),
}

pub(super) async fn run(context: &Context, args: LoadtestArgs) -> Result<(), Failure> {
    match args.command {
        Some(LoadtestCommand::Compare { a, b }) => {
            say(&report::compare(&earlier(&a)?, &earlier(&b)?))
        }
        Some(LoadtestCommand::Worker(args)) => work(context, args).await,
        None => test(context, args).await,
    }
}

/// A worker that is watched.
async fn work(context: &Context, args: WorkerArgs) -> Result<(), Failure> {
    loadtest::install_witness().map_err(failed)?;
    let supervised = args.supervised;
    let (environment, config) = context.settings(|sources| args.over(sources))?;
    environment.stores_for("postworks loadtest worker")?;
    wiring::worker(&config, &environment, supervised).await
}

async fn test(context: &Context, args: LoadtestArgs) -> Result<(), Failure> {
    let quiet = context.format == Format::Json;
    let order = Order {
        profile: loadtest::read_profile(&args.profile)?,
        targets: Targets::read(args.targets.as_deref())?,
        stores: stores(context, args.database_url, args.redis_url)?,
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        scenarios: args.scenarios,
        quiet,
    };
    let folder = args.out.unwrap_or_else(usual_folder);
    make(&folder)?;
    let signals = Signals::listen()?;
    drain_when_the_terminal_goes(&signals)?;
    let findings = Box::pin(loadtest::run(&order, &signals.stop)).await.map_err(|error| {
        // Empty, unless there is an earlier report in it.
        let _ = std::fs::remove_dir(&folder);
        failed(error)
    })?;
    let written = report::write(&findings, &folder).map_err(failed)?;
    context.format.say(&findings, |findings| summary(findings, &written))?;
    wiring::ended(&signals)?;
    judged(&findings, &folder)
}

/// Makes the report's folder, and sees that a file can be made in it: an hour later is too late.
fn make(folder: &Path) -> Result<(), Failure> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop).map_err(|error| {
        let message = format!("no report can be written to {}: {error}", folder.display());
        Failure::new(Exit::Failed, message).advise("choose another folder with --out")
    })
}

/// A closed terminal is an interrupt: nothing may be left running that nobody sees.
fn drain_when_the_terminal_goes(signals: &Signals) -> Result<(), Failure> {
    let mut hangups = signal(SignalKind::hangup())?;
    let drain = signals.stop.drain.clone();
    tokio::spawn(async move {
        hangups.recv().await;
        drain.cancel();
    });
    Ok(())
}

/// The servers to work on: from flags, else from the environment; both, or neither.
fn stores(
    context: &Context,
    database: Option<String>,
    redis: Option<String>,
) -> Result<Option<(SecretString, SecretString)>, Failure> {
    match (database, redis) {
        (Some(database), Some(redis)) => Ok(Some((database.into(), redis.into()))),
        (None, None) => {
            let urls = context.environment()?.stores;
            Ok(urls.map(|urls| (urls.database, urls.redis)))
        }
        _ => Err(Failure::new(Exit::Config, "--database-url and --redis-url belong together")
            .advise("give both, or neither: then the load test starts servers of its own")),
    }
}

/// How it ended: whoever runs it from a script goes by the exit code.
fn judged(findings: &Findings, folder: &Path) -> Result<(), Failure> {
    let folder = folder.display();
    if findings.interrupted {
        let message = format!("stopped early: {folder} holds what was measured until then");
        return Err(Failure::new(Exit::Retry, message).advise("run it again for the rest"));
    }
    let broken: Vec<&str> = findings
        .scenarios
        .iter()
        .filter(|scenario| scenario.broke_off.is_some())
        .map(|scenario| scenario.name.as_str())
        .collect();
    if !broken.is_empty() {
        let message = format!("{} broke off; {folder} says why", broken.join(", "));
        return Err(Failure::new(Exit::Failed, message));
    }
    let missed = findings.verdicts.iter().filter(|verdict| verdict.held() == Some(false)).count();
    let open = |verdict: &&Verdict| findings.scenarios.iter().any(|one| verdict.is_open_in(one));
    let open = findings.verdicts.iter().filter(open).count();
    let said = [targets(missed, "missed"), targets(open, "not measured")];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, said.join(", "))) }
}

fn targets(count: usize, how: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("one target was {how}")),
        more => Some(format!("{more} targets were {how}")),
    }
}

fn summary(findings: &Findings, written: &Written) -> String {
    let all = findings.verdicts.len();
    let held = findings.verdicts.iter().filter(|verdict| verdict.held() == Some(true)).count();
    let mut text = format!("{held} of {all} targets held in {:.0} s\n", findings.took_s);
    for verdict in findings.verdicts.iter().filter(|verdict| verdict.held() != Some(true)) {
        text.push_str(&line_of(verdict));
    }
    let Written { markdown, html, json } = written;
    for (what, file) in [("report", html), ("as text", markdown), ("as data", json)] {
        text.push_str(&format!("{what:8} {}\n", file.display()));
    }
    text
}

fn line_of(verdict: &Verdict) -> String {
    let Verdict { scenario, name, unit, bound, direction, measured } = verdict;
    let bound = match direction {
        Direction::AtMost => format!("at most {bound} {unit}"),
        Direction::AtLeast => format!("at least {bound} {unit}"),
    };
    match measured {
        Some(measured) => {
            format!("  missed: {scenario}, {name} is {measured:.2} {unit}, not {}\n", bound.trim())
        }
        None => format!("  not measured: {scenario}, {name}\n"),
    }
}

/// The findings of an earlier load test.
fn earlier(path: &Path) -> Result<Findings, Failure> {
    report::read(path).map_err(|error| {
        let missing = error.chain().any(|cause| cause.is::<std::io::Error>());
        let exit = if missing { Exit::NotFound } else { Exit::Usage };
        Failure::new(exit, format!("{error:#}"))
    })
}

/// A folder named by the time.
fn usual_folder() -> PathBuf {
    let now = SystemClock.now().to_string();
    // Seconds are enough, and colons are trouble.
    let seconds = now.split_once('.').map_or(now.trim_end_matches('Z'), |(seconds, _)| seconds);
    Path::new(FOLDER).join(format!("{}Z", seconds.replace(':', "-")))
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::new(Exit::Config, invalid.to_string())
    }
}

fn failed(error: anyhow::Error) -> Failure {
    if error.is::<NotInstalled>() {
        return Failure::new(Exit::Unavailable, format!("{error:#}")).advise(
            "run `make setup`, install it yourself, or name servers to work on with \
             --database-url and --redis-url",
        );
    }
    let exit = if error.is::<Unusable>() { Exit::Unavailable } else { Exit::Failed };
    Failure::new(exit, format!("{error:#}"))
}
