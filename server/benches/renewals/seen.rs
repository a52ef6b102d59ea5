//! What the platform's journal and the workers' counters say of a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use postworks_server::sandbox::Op;

use crate::fleet::{Http, Journal, Process, Publication};

/// What is in a run's columns.
pub(crate) const COLUMNS: &str = "plan      refreshes  most in 1 s  most in 10 s  seconds with any  on \
     demand  refused posts  post p50  post p99  slowest";

/// What became of a run.
pub(crate) struct Seen {
    /// Refreshes in each second, from the first job on, without each account's first.
    by_second: BTreeMap<i64, u64>,
    /// Refreshes that a post waited for, without each account's first.
    pub(crate) on_demand: u64,
    /// Posts that the platform refused since their token had ended.
    pub(crate) refused: u64,
    /// How long each post took from the beginning of its round, without the first round; sorted.
    took: Vec<Duration>,
}

impl Seen {
    pub(crate) fn of(journal: &Journal, published: &[Vec<Publication>], rounds: &[i64]) -> Self {
        let at = |ts: &str| ts.parse::<Timestamp>().expect("a time").as_millisecond();
        let began = rounds[0];
        let round_of: HashMap<&str, usize> = (0..)
            .zip(published)
            .flat_map(|(round, posts)| posts.iter().map(move |post| (post.id.as_str(), round)))
            .collect();
        let (mut by_second, mut first, mut took) = (BTreeMap::new(), HashSet::new(), Vec::new());
        for entry in &journal.0 {
            match entry.op {
                Op::Refresh => {
                    if !first.insert(&entry.account) {
                        *by_second.entry((at(&entry.ts) - began) / 1_000).or_default() += 1;
                    }
                }
                Op::Publish => {
                    let reference = entry.client_ref.as_deref().expect("we send a reference");
                    let round = round_of[reference];
                    if round > 0 {
                        let span = u64::try_from(at(&entry.ts) - rounds[round]).unwrap_or(0);
                        took.push(Duration::from_millis(span));
                    }
                }
            }
        }
        took.sort_unstable();
        Self { by_second, on_demand: 0, refused: 0, took }
    }

    /// A line for each second that had any refresh.
    pub(crate) fn seconds(&self) -> String {
        let line = |(second, count): (&i64, &u64)| {
            let bar = "#".repeat(usize::try_from(count.div_ceil(4)).unwrap_or(0));
            format!("{second:>5} s {count:>5} {bar}")
        };
        self.by_second.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn most_within(&self, seconds: i64) -> u64 {
        let within = |from: &i64| self.by_second.range(from..&(from + seconds));
        self.by_second.keys().map(|from| within(from).map(|(_, n)| n).sum()).max().unwrap_or(0)
    }

    fn quantile(&self, hundredth: usize) -> f64 {
        let place = (self.took.len() * hundredth / 100).min(self.took.len().saturating_sub(1));
        self.took.get(place).map_or(0.0, Duration::as_secs_f64)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum: u64 = self.by_second.values().sum();
        let (one, ten) = (self.most_within(1), self.most_within(10));
        let (p50, p99, slowest) = (self.quantile(50), self.quantile(99), self.quantile(100));
        let (busy, on_demand, refused) = (self.by_second.len(), self.on_demand, self.refused);
        write!(
            f,
            "{sum:>9}  {one:>11}  {ten:>12}  {busy:>16}  {on_demand:>9}  {refused:>13}  {p50:>6.2} s  \
             {p99:>6.2} s  {slowest:>5.2} s"
        )
    }
}

/// Refreshes of a worker that a job waited for.
pub(crate) async fn refreshes_on_demand(worker: &Process) -> u64 {
    let labels = ["reason=\"on_demand\"", "outcome=\"refreshed\""];
    sum(worker, "postworks_token_refreshes_total", &labels).await
}

/// A worker's posts that were refused since their token had ended.
pub(crate) async fn refused_posts(worker: &Process) -> u64 {
    let labels = ["operation=\"publish\"", "class=\"auth_expired\""];
    sum(worker, "postworks_platform_request_seconds_count", &labels).await
}

/// The sum of a worker's counters of that name and with these labels.
async fn sum(worker: &Process, name: &str, labels: &[&str]) -> u64 {
    let page = Http::new(worker.url()).get("/metrics").await.expect(200);
    let lines = page.as_str().expect("a page of text").lines();
    let found = lines.filter(|line| {
        let (series, rest) = line.split_once('{').unwrap_or((line, ""));
        series == name && labels.iter().all(|label| rest.contains(label))
    });
    found.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}
