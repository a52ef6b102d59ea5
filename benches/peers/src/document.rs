//! `docs/benchmarks.md`: written whole from the figures, and from `reading.md`, which people write.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::measure::NOT_THERE;
use crate::metrics;
use crate::results::Results;
use crate::systems::{Rank, SYSTEMS, home};
use crate::table;

/// The part that people write.
const READING: &str = "reading.md";

const METHOD: &str = "\
Each measurement has a fresh Redis with nothing on disk (and `latency-tracking` off) and, for Postworks, a fresh PostgreSQL that waits
for the disk at every commit; both listen on sockets in a folder of their own. Each system has one process
that enqueues and one that works (Postworks embedded: one for both), written as the system's documentation
says, on this machine's cores together with the servers. Postworks is used through the engine's public
interface, with the worker, relay, refiller, reaper and renewals that every role of the product has. Rust programs
share one binary, with the allocator of Postworks' binaries. Systems take turns measurement by
measurement; a cell is the median of the runs, and the least and the greatest of them between brackets; a dash
has its reason below, unless the system has no such server.

- **Jobs**: 200 bytes of JSON arguments; the handler counts, and no more than that where it says \"no-op\".
- **Enqueue**: 20,000 jobs by calls of one job with 50 calls in flight (Sidekiq: 50 threads), after 500 that
  do not count; 50,000 jobs by calls of 1,000, one after the other. A call is over when the system has
  accepted the job; for Postworks' ledger that is after the commit.
- **No-op jobs**: the 50,000 wait already when the worker starts. From the first start to the last end; for
  Postworks on to the moment at which the broker holds nothing any more, so with the last settle (and in
  the ledger, the last commit). Jobs at the same time: what suits the system best, see the notes.
- **5 ms jobs**: the same with 10,000 jobs that sleep 5 ms, 100 at the same time. More than 20,000 a second
  is impossible; timers of a millisecond's grain make it some 16,000.
- **From enqueue to start**: jobs arrive evenly for 10 seconds, whatever becomes of those before, after 100
  that do not count; from just before the call to the first line of the handler, 100 places. \"Mixed\": jobs of four
  kinds, 40, 35, 20 and 5 of a hundred: for Postworks four queues, for the others four handlers of one.
- **Redis bytes**: `used_memory` without clients' buffers and scripts' texts, over what the empty server
  used, for each of the 50,000 jobs: when all wait, and when all have run and both processes are gone.
- **Redis commands**: `INFO commandstats`, so what scripts call counts as well: for each job enqueued one by
  one, and for each no-op job that is run.
- **CPU**: of the programs while they enqueue (in bulk) and run the no-op jobs, of the servers throughout.
- **Idle**: ten seconds, three seconds after the start.
- **Kill**: 50 jobs of 4 s run, the worker gets SIGKILL, another one that is ready starts at once. Measured once
  where it takes more than half a minute. A job that ended neither before nor after is lost.
";

const REPEAT: &str = "\
```text
make bench-peers                              # all of it; writes this file and benchmarks.json
make bench-peers QUICK=1                      # small and once, to see it work; writes nothing here
make bench-peers ONLY=bullmq,sidekiq,drain    # some systems, some groups of figures
make bench-peers RUNS=5
```

It installs what it needs (Redis, PostgreSQL, Ruby's Sidekiq; Node 20 must be there). Leave the machine
alone meanwhile: two cores show everything else that runs. `benches/peers` holds all programs.
";

/// The whole document.
pub(crate) fn write(results: &Results) -> Result<String> {
    let mut text = String::from("# Beside other job queues\n\n");
    let runs = if results.runs == 1 {
        "one run".into()
    } else {
        format!("median of {} runs", results.runs)
    };
    writeln!(
        text,
        "Written by `make bench-peers` on {} in {:.0} minutes ({runs} of each measurement); do not edit it. \
         A figure is worth something beside others of the same run only.\n",
        results.date, results.minutes
    )?;
    if results.quick {
        text += "**A quick run: it shows that everything works, and its figures say nothing.**\n\n";
    } else if !results.whole {
        text += "**A part of a run.**\n\n";
    }
    text += "| on | |\n|---|---|\n";
    for (name, value) in &results.machine {
        writeln!(text, "| {name} | {value} |")?;
    }
    let sheets = table::sheets(results);
    let (first, rest) = sheets.split_at(sheets.len().min(2));
    for sheet in first {
        writeln!(text, "\n## {}\n\n{}", sheet.title, sheet.markdown().trim_end())?;
    }
    let reading = std::fs::read_to_string(home().join(READING))?;
    writeln!(text, "\n## Reading the table\n\n{}", reading.trim())?;
    for sheet in rest {
        writeln!(text, "\n## {}\n\n{}", sheet.title, sheet.markdown().trim_end())?;
    }
    writeln!(text, "\n## What differs, and what is missing\n")?;
    for note in notes(results) {
        writeln!(text, "- {note}")?;
    }
    write!(text, "\n## How it was measured\n\n{METHOD}\n## How to repeat it\n\n{REPEAT}")?;
    Ok(text)
}

/// What must be known of each system, with its version, and why figures of it are missing.
pub(crate) fn notes(results: &Results) -> Vec<String> {
    let took_part = SYSTEMS.iter().filter(|system| results.versions.contains_key(system.id));
    let notes = took_part.map(|system| {
        let version = results.versions.get(system.id).map_or("", String::as_str);
        let gaps = gaps(results, system.id);
        let gaps: String = gaps.into_iter().map(|gap| format!(" {gap}")).collect();
        let places = match system.rank {
            Rank::Limit => String::new(),
            _ => format!(" No-op jobs: {} at the same time.", system.concurrency),
        };
        format!("**{}** ({version}): {}{places}{gaps}", system.title, system.note)
    });
    notes.collect()
}

/// Reasons, each with the figures that are missing for it.
fn gaps(results: &Results, system: &str) -> Vec<String> {
    let mut by_reason: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    for metric in metrics::all() {
        let runs = results.spread(system, metric.key).map_or(0, |spread| spread.runs);
        if let Some(why) = results.gap(system, metric.key).filter(|why| *why != NOT_THERE)
            && runs < results.runs
        {
            by_reason.entry((runs, why)).or_default().push(metric.title);
        }
    }
    let all = results.runs;
    let told = by_reason.into_iter().map(|((runs, why), titles)| match runs {
        0 => format!("No figure for {}: {why}.", titles.join("; ")),
        _ => format!("{runs} of {all} runs for {}: {why}.", titles.join("; ")),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Found;

    fn results() -> Results {
        let mut results = Results { runs: 3, date: "2026-01-02".into(), ..Results::default() };
        results.versions.insert("sidekiq".into(), "Sidekiq 6".into());
        let figures = vec![(metrics::NOOP, 10.0)];
        let gaps = vec![(metrics::BULK, "no such call".into()), (metrics::NOOP, "once".into())];
        results.add("sidekiq", Found { figures, gaps });
        results
    }

    #[test]
    fn a_missing_figure_has_its_reason_and_so_has_one_of_fewer_runs() {
        let notes = notes(&results());
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].contains("No figure for enqueue, 1,000 a call: no such call."),
            "{}",
            notes[0]
        );
        assert!(notes[0].contains("1 of 3 runs for no-op jobs: once."), "{}", notes[0]);
    }

    #[test]
    fn the_document_holds_what_people_wrote_and_what_was_measured() {
        let text = write(&results()).unwrap();
        let reading = include_str!("../reading.md");
        assert!(text.contains(reading.trim()));
        assert!(text.contains("2026-01-02") && text.contains("| Sidekiq | 10 |"), "{text}");
    }
}
