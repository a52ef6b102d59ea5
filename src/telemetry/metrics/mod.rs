//! Every metric: its name, its labels, what it means, and the buckets of the histograms.
//!
//! Labels come from closed sets only, never an account or a job. Nothing else in the workspace
//! spells a metric's name or a label's; `docs/metrics.md` says what operators may rely on.

mod api;
mod jobs;
mod platforms;
mod process;
mod queues;
mod readings;
mod stores;

use std::collections::BTreeMap;

use ::metrics::{
    Counter, Gauge, Histogram, Label as Pair, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

use crate::job::{Kind, NewJob, Queue};

pub use api::{
    ADMISSION_REFUSED, ADMISSION_STATE, AUTOSCALE_DESIRED_WORKERS, AUTOSCALE_RUNNING_WORKERS,
    HEALTH_CACHE, HTTP_REQUEST_DURATION, RATE_LIMITED,
};
pub(crate) use jobs::OUTCOMES;
pub use jobs::{
    BREAKER_TRANSITIONS, DEAD_LETTERED, DLQ_ACTIONS, JOB_ATTEMPTS, JOB_RETRIES, JOB_RUN, JOB_TOTAL,
    JOB_WAIT, JOBS_ENQUEUED, JOBS_RECLAIMED, JOBS_SNOOZED, LEASES_LOST, RELAY_PUSHED,
    STALE_SETTLES,
};
pub use platforms::{
    ACCOUNTS, EFFECTS, PLATFORM_CONNECTIONS, PLATFORM_REQUEST, SYNCS_LATE, TOKEN_REFRESHES,
    TOKENS_LATE,
};
pub use process::{BUILD_INFO, LONGEST_RUN, WORKER_SLOTS};
pub use queues::{
    BREAKER_STATE, COLLECTOR_LAST_SUCCESS, DLQ_JOBS, DLQ_OLDEST_AGE, QUEUE_GENERATION, QUEUE_JOBS,
    QUEUE_OLDEST_READY_AGE, QUEUE_PAUSED, QUEUE_WINDOW, QUEUE_WORKERS, RELAY_LAG, SCHEDULE_LAG,
};
pub use readings::{Known, Reading};
pub use stores::{
    BROKER_ERRORS, BROKER_OPERATION, CLEANUP_ROWS, DB_ACQUIRE, DB_ERRORS, DB_POOL_CONNECTIONS,
    DB_POOL_MAX, DB_QUERY, REDIS_CLIENTS, REDIS_EVICTED, REDIS_FRAGMENTATION, REDIS_MEMORY,
};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// A sum that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// How values are distributed over these buckets.
    Histogram(&'static [f64]),
}

impl Form {
    /// Its name in the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a label may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// A queue, which is also a breaker.
    Queues,
    /// A kind of jobs.
    Kinds,
    /// A platform.
    Platforms,
    /// A route of the API as its table writes it, or `unmatched`.
    Routes,
    /// A status of HTTP.
    Statuses,
    /// The version of this program.
    Versions,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// A label and what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it may say.
    pub values: Values,
}

impl Label {
    const fn of(name: &'static str, values: Values) -> Self {
        Self { name, values }
    }

    const fn words(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, values: Values::Words(words) }
    }
}

const QUEUE: Label = Label::of("queue", Values::Queues);
const KIND: Label = Label::of("kind", Values::Kinds);
const PLATFORM: Label = Label::of("platform", Values::Platforms);
const BREAKER: Label = Label::of("breaker", Values::Queues);

/// Who writes a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Every process, of itself: sums over processes are right.
    Process,
    /// Every process with workers, of itself.
    Worker,
    /// Every process with an API, of itself.
    Api,
    /// One process of the fleet for all, which holds the office; nobody else shows the metric.
    Collector,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with the unit where it has one.
    pub name: &'static str,
    /// What it is.
    pub form: Form,
    /// Its labels, in order.
    pub labels: &'static [Label],
    /// What it means, for a person.
    pub help: &'static str,
    /// Who writes it.
    pub writer: Writer,
}

impl Metric {
    const fn counter(
        writer: Writer,
        name: &'static str,
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        Self { name, form: Form::Counter, labels, help, writer }
    }

    const fn gauge(
        writer: Writer,
        name: &'static str,
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        Self { name, form: Form::Gauge, labels, help, writer }
    }

    const fn histogram(
        writer: Writer,
        name: &'static str,
        buckets: &'static [f64],
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        Self { name, form: Form::Histogram(buckets), labels, help, writer }
    }

    /// The counter with these values of its labels, in order. A hot path asks once and keeps it.
    pub fn count(&self, values: &[&str]) -> Counter {
        counter!(self.name, self.pairs(values))
    }

    /// The gauge with these values of its labels, in order.
    pub fn level(&self, values: &[&str]) -> Gauge {
        gauge!(self.name, self.pairs(values))
    }

    /// The histogram with these values of its labels, in order. A hot path asks once and keeps it.
    pub fn spread(&self, values: &[&str]) -> Histogram {
        histogram!(self.name, self.pairs(values))
    }

    fn pairs(&self, values: &[&str]) -> Vec<Pair> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        pairs.map(|(label, value)| Pair::new(label.name, (*value).to_owned())).collect()
    }

    fn describe(&self) {
        match self.form {
            Form::Counter => describe_counter!(self.name, self.help),
            Form::Gauge => describe_gauge!(self.name, self.help),
            Form::Histogram(_) => describe_histogram!(self.name, self.help),
        }
    }
}

/// Every metric of ours.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    [jobs::ALL, queues::ALL, platforms::ALL, stores::ALL, api::ALL, process::ALL]
        .into_iter()
        .flatten()
}

/// Tells the installed recorder what each metric means.
pub fn describe() {
    all().for_each(Metric::describe);
}

/// Starts the counters of this process at zero, so that a first failure is a rise and not a series'
/// birth. Those that only an API has, it starts itself.
pub fn start_at_zero(known: &Known) {
    let counters = all().filter(|metric| metric.form == Form::Counter);
    for metric in
        counters.filter(|metric| matches!(metric.writer, Writer::Process | Writer::Worker))
    {
        for values in known.combinations(metric.labels) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            metric.count(&values).absolute(0);
        }
    }
}

/// Counts jobs that were recorded.
pub(crate) fn count_enqueued(jobs: &[NewJob]) {
    let mut counts: BTreeMap<(&Queue, &Kind), u64> = BTreeMap::new();
    for job in jobs {
        *counts.entry((&job.queue, &job.kind)).or_default() += 1;
    }
    for ((queue, kind), count) in counts {
        JOBS_ENQUEUED.count(&[queue.as_str(), kind.as_str()]).increment(count);
    }
}

/// The words of an enum, as an array that is made at compile time.
macro_rules! words {
    ($of:ty) => {{
        const WORDS: [&str; <$of>::ALL.len()] = {
            let mut words = [""; <$of>::ALL.len()];
            let mut at = 0;
            while at < words.len() {
                words[at] = <$of>::ALL[at].as_str();
                at += 1;
            }
            words
        };
        &WORDS
    }};
}
use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_prefix_and_the_ending_of_its_type() {
        let mut names = std::collections::BTreeSet::new();
        for Metric { name, form, .. } in all() {
            assert!(names.insert(name), "{name} is there twice");
            let suffix = name.strip_prefix("postworks_").expect("the prefix of all our metrics");
            assert_eq!(suffix.ends_with("_total"), *form == Form::Counter, "{name}");
            if let Form::Histogram(buckets) = form {
                assert!(suffix.ends_with("_seconds"), "{name}");
                assert!(buckets.len() >= 8 && buckets.is_sorted(), "{name}");
            }
        }
    }
}
