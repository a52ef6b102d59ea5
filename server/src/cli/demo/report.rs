//! What the demo says at the end.

use std::collections::{BTreeMap, HashMap};

use postworks::job::{Category, State};
use serde::Serialize;

use super::recorder::{Percentiles, Times};
use super::watch::Watched;
use super::world::World;
use crate::cli::failure::Failure;
use crate::cli::output::table;
use crate::sandbox::{Entry, Op};

/// What the demo found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seed: u64,
    jobs: u32,
    seconds: f64,
    interrupted: bool,
    kinds: BTreeMap<String, KindReport>,
    left: Left,
    journal: Journal,
}

#[derive(Debug, Default, Serialize)]
struct KindReport {
    jobs: u32,
    completed: u32,
    /// Jobs that failed at least once.
    retried: u32,
    dead: BTreeMap<String, u32>,
    parked: u32,
    open: u32,
    /// How long the handler ran, over all attempts.
    run: Option<Percentiles>,
}

/// What an interrupted run leaves.
#[derive(Debug, Clone, Copy, Serialize)]
struct Left {
    /// Enqueued and not ended.
    open: u32,
    not_enqueued: u32,
    handed_back: usize,
    unsettled: usize,
}

/// What the platform saw against what the ledger says.
#[derive(Debug, Serialize)]
struct Journal {
    /// Posts that the platform accepted.
    publishes: u32,
    /// Posts that the ledger has as published.
    published: u32,
    /// Publications that the platform accepted more than once.
    twice: u32,
}

impl Report {
    pub(super) async fn make(
        world: &World,
        jobs: u32,
        seed: u64,
        watched: Watched,
        times: &Times,
    ) -> Result<Self, Failure> {
        let mut kinds: BTreeMap<String, KindReport> = BTreeMap::new();
        for row in &watched.jobs {
            let kind = kinds.entry(row.job.kind.to_string()).or_default();
            kind.jobs += 1;
            kind.retried += u32::from(row.job.failed_attempts > 0);
            match row.state {
                State::Completed => kind.completed += 1,
                State::Parked => kind.parked += 1,
                State::Dead => {
                    let category = row.reason.as_ref().map_or(Category::Bug, |r| r.category);
                    *kind.dead.entry(category.to_string()).or_default() += 1;
                }
                _ => kind.open += 1,
            }
        }
        for (name, kind) in &mut kinds {
            kind.run = times.of(name);
        }
        let published = kinds.get("post_publication").map_or(0, |kind| kind.completed);
        let enqueued: u32 = kinds.values().map(|kind| kind.jobs).sum();
        Ok(Self {
            seed,
            jobs,
            seconds: (watched.took.as_secs_f64() * 10.0).round() / 10.0,
            interrupted: watched.interrupted,
            left: Left {
                open: kinds.values().map(|kind| kind.open).sum(),
                not_enqueued: jobs.saturating_sub(enqueued),
                handed_back: watched.drained.handed_back,
                unsettled: watched.drained.unsettled,
            },
            kinds,
            journal: Journal::read(&world.platform.journal(), published),
        })
    }

    /// Why the run proved nothing good, if it did not.
    pub(super) fn fault(&self) -> Option<String> {
        if self.journal.twice > 0 {
            return Some(format!("{} posts were published twice", self.journal.twice));
        }
        if !self.interrupted && self.journal.publishes < self.journal.published {
            return Some("the ledger has posts as published that the platform never saw".into());
        }
        let missing = self.left.open + self.left.not_enqueued;
        (!self.interrupted && missing > 0).then(|| format!("{missing} jobs are not accounted for"))
    }

    pub(super) fn table(&self) -> String {
        let number = |n: u32| n.to_string();
        let millis = |p: Option<f64>| p.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
        let rows = self.kinds.iter().map(|(name, kind)| {
            let dead = kind.dead.iter().map(|(category, n)| format!("{n} {category}"));
            let dead: Vec<String> = dead.collect();
            vec![
                name.clone(),
                number(kind.jobs),
                number(kind.completed),
                number(kind.retried),
                if dead.is_empty() { "0".into() } else { dead.join(", ") },
                number(kind.parked),
                millis(kind.run.map(|run| run.p50_ms)),
                millis(kind.run.map(|run| run.p95_ms)),
                millis(kind.run.map(|run| run.p99_ms)),
            ]
        });
        let header =
            ["KIND", "JOBS", "COMPLETED", "RETRIED", "DEAD", "PARKED", "RUN P50", "P95", "P99"];
        let mut text = table(&header, rows, "no jobs");
        text.push_str("\n\n");
        text.push_str(&self.verdict());
        text.push_str(NEXT);
        text
    }

    fn verdict(&self) -> String {
        let Journal { publishes, published, twice } = self.journal;
        if self.interrupted {
            let Left { open, not_enqueued, handed_back, .. } = self.left;
            let ended = self.jobs - open - not_enqueued;
            return format!(
                "stopped: {ended} of {} jobs ended, {open} are left unharmed ({handed_back} of \
                 them were handed back by the worker), {not_enqueued} were not enqueued yet.\n\
                 The demo's folder is temporary; with `postworks up` the next start goes on with \
                 what is left.\njournal: {publishes} publishes, {twice} twice\n",
                self.jobs
            );
        }
        let relation = if publishes == published { "=" } else { "≠" };
        format!(
            "{} jobs in {:.1} s, every one accounted for\n{}\njournal {relation} ledger: \
             {publishes} publishes, {twice} twice\n",
            self.jobs,
            self.seconds,
            self.retries()
        )
    }

    /// What became of the jobs that failed at first.
    fn retries(&self) -> String {
        let retried: u32 = self.kinds.values().map(|kind| kind.retried).sum();
        let dead: u32 = self.kinds.values().flat_map(|kind| kind.dead.values()).sum();
        format!("{retried} failed at first, {dead} of them for good")
    }
}

const NEXT: &str = "
Try next:
  postworks demo --seed 7          another run: this order of jobs, these dice
  postworks up                     the API and workers on this machine, with nothing installed
  postworks enqueue data_cleanup   a job of your own, once `up` runs";

impl Journal {
    fn read(entries: &[Entry], published: u32) -> Self {
        let mut copies: HashMap<&str, u32> = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.op == Op::Publish) {
            // Our own reference tells publications apart whatever their text.
            let reference = entry.client_ref.as_deref().unwrap_or(&entry.id);
            *copies.entry(reference).or_default() += 1;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            publishes: copies.values().sum(),
            published,
            twice: count(copies.values().filter(|copies| **copies > 1).count()),
        }
    }
}
