//! One run: everything that was asked for, round after round, until it is done or interrupted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use postworks::testing::postgres_server::PostgresServer;
use tokio::signal::unix::{SignalKind, signal};

use crate::document;
use crate::machine;
use crate::measure::{FULL, Plan, QUICK, measure, redis_benchmark};
use crate::metrics::{GROUPS, Group, RECOVERY};
use crate::results::Results;
use crate::systems::{SYSTEMS, System, home};
use crate::table;

/// A crash that is recovered from later than this is measured once.
const LONG_RECOVERY_S: f64 = 30.0;
/// Operations of one command of redis-benchmark.
const OPERATIONS: usize = 200_000;
/// What the measurement by redis-benchmark is called.
const LIMIT: &str = "limit";

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measures only these systems and groups of figures, parted by commas
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    only: Vec<String>,
    /// How often each measurement is made; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Only to see that everything works: small, once
    #[arg(long)]
    quick: bool,
}

/// What is to be measured.
struct Wanted {
    systems: Vec<&'static System>,
    groups: Vec<Group>,
    limit: bool,
}

impl Wanted {
    fn of(only: &[String]) -> Result<Self> {
        let is_system = |word: &&String| SYSTEMS.iter().any(|system| system.id == **word);
        let is_group =
            |word: &&String| **word == LIMIT || GROUPS.iter().any(|group| group.name() == **word);
        if let Some(word) = only.iter().find(|word| !is_system(word) && !is_group(word)) {
            let systems: Vec<&str> = SYSTEMS.iter().map(|system| system.id).collect();
            let groups: Vec<&str> = GROUPS.iter().map(|group| group.name()).collect();
            bail!(
                "nothing is called {word}; systems are {}; groups of figures are {}, {LIMIT}",
                systems.join(", "),
                groups.join(", ")
            );
        }
        let some_system = only.iter().any(|word| is_system(&word));
        let some_group = only.iter().any(|word| is_group(&word));
        let named = |name: &str| only.iter().any(|word| word == name);
        Ok(Self {
            systems: SYSTEMS.iter().filter(|s| !some_system || named(s.id)).collect(),
            groups: GROUPS.into_iter().filter(|g| !some_group || named(g.name())).collect(),
            limit: named(LIMIT) || only.is_empty(),
        })
    }
}

/// Measures, prints and writes. On a signal everything that was started ends, and what was measured
/// until then is for who made it.
pub(crate) async fn run(args: Args) -> Result<()> {
    let wanted = Wanted::of(&args.only)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut results = Results::default();
    let cut_short = tokio::select! {
        end = Box::pin(rounds(&args, &wanted, &mut results)) => end.map(|()| None)?,
        // What was measured on is dropped with the measurement: servers and processes end.
        _ = interrupt.recv() => Some("interrupted"),
        _ = terminate.recv() => Some("terminated"),
        _ = hang_up.recv() => Some("the terminal was closed"),
    };
    results.whole = cut_short.is_none() && !args.quick && args.only.is_empty();
    for sheet in table::sheets(&results) {
        println!("{}", sheet.terminal());
    }
    for note in document::notes(&results) {
        println!("- {note}");
    }
    keep(&results)?;
    match cut_short {
        None => Ok(()),
        Some(how) => bail!("{how}; what was measured until then is above"),
    }
}

/// A full run is the repository's; any other one is for who made it.
fn keep(results: &Results) -> Result<()> {
    let folder = if results.whole { home().join("../../docs") } else { home().join("target") };
    std::fs::create_dir_all(&folder).context("the folder of the report")?;
    let folder = folder.canonicalize().context("the folder of the report")?;
    let (figures, report) = (folder.join("benchmarks.json"), folder.join("benchmarks.md"));
    results.write(&figures)?;
    std::fs::write(&report, document::write(results)?)?;
    println!("\nwritten: {}, {}", shown(&report), shown(&figures));
    Ok(())
}

fn shown(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let file: PathBuf = file.strip_prefix(here).unwrap_or(file).into();
    file.display().to_string()
}

async fn rounds(args: &Args, wanted: &Wanted, results: &mut Results) -> Result<()> {
    let start = Instant::now();
    let (plan, runs) = if args.quick { (QUICK, 1) } else { (FULL, usize::from(args.runs)) };
    *results = Results {
        date: jiff::Zoned::now().date().to_string(),
        runs,
        quick: args.quick,
        only: args.only.clone(),
        machine: machine::facts(),
        ..Results::default()
    };
    let postgres = PostgresServer::launch_durable().await.version().await;
    let postgres = format!("{postgres}, waits for the disk at every commit");
    results.machine.push(("PostgreSQL".to_owned(), postgres));
    for system in &wanted.systems {
        results.versions.insert(system.id.to_owned(), system.version());
    }
    for round in 0..runs {
        if wanted.limit {
            eprintln!("round {} of {runs}: redis-benchmark", round + 1);
            let requests = if args.quick { OPERATIONS / 20 } else { OPERATIONS };
            results.add_limits(redis_benchmark(requests).await?);
        }
        // Systems take turns, so that what changes on the machine meanwhile meets all of them.
        for group in &wanted.groups {
            for system in &wanted.systems {
                one(results, system, *group, &plan, round).await;
                results.minutes = start.elapsed().as_secs_f64() / 60.0;
            }
        }
    }
    Ok(())
}

async fn one(
    results: &mut Results,
    system: &'static System,
    group: Group,
    plan: &Plan,
    round: usize,
) {
    // Minutes of waiting for the same answer teach nothing.
    let slow = results.median(system.id, RECOVERY).is_none_or(|s| s > LONG_RECOVERY_S);
    if group == Group::Crash && round > 0 && slow {
        return;
    }
    let start = Instant::now();
    let found = measure(system, group, plan).await;
    let figures: Vec<String> = found
        .figures
        .iter()
        .map(|(key, value)| format!("{key} {}", table::number(*value, 2)))
        .collect();
    let took = start.elapsed().as_secs_f64();
    eprintln!("{} {} ({took:.0} s): {}", system.id, group.name(), figures.join(", "));
    results.add(system.id, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Wanted {
        Wanted::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn without_words_everything_is_wanted() {
        let all = wanted(&[]);
        assert_eq!((all.systems.len(), all.groups.len()), (SYSTEMS.len(), GROUPS.len()));
        assert!(all.limit);
    }

    #[test]
    fn words_limit_what_they_name_and_nothing_else() {
        let some = wanted(&["bullmq", "sidekiq"]);
        assert_eq!((some.systems.len(), some.groups.len(), some.limit), (2, GROUPS.len(), false));
        let some = wanted(&["idle"]);
        assert_eq!((some.systems.len(), some.groups), (SYSTEMS.len(), vec![Group::Idle]));
        assert!(wanted(&["limit"]).groups.is_empty());
    }

    #[test]
    fn a_word_that_names_nothing_is_refused_with_those_that_do() {
        let error = Wanted::of(&["bull".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("bullmq") && error.contains("drain"), "{error}");
    }
}
