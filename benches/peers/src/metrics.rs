//! The figures that there are: one row each.

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    High,
    Low,
}

/// The tables of the report, which are also what can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Enqueue,
    Drain,
    Jobs,
    Latency,
    Idle,
    Crash,
}

/// All, in the order in which they are measured.
pub(crate) const GROUPS: [Group; 6] =
    [Group::Enqueue, Group::Drain, Group::Jobs, Group::Latency, Group::Idle, Group::Crash];

impl Group {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Drain => "drain",
            Self::Jobs => "jobs",
            Self::Latency => "latency",
            Self::Idle => "idle",
            Self::Crash => "crash",
        }
    }
}

/// One kind of figure.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) better: Better,
    pub(crate) decimals: usize,
}

const fn metric(key: &'static str, title: &'static str, better: Better, decimals: usize) -> Metric {
    Metric { key, title, better, decimals }
}

use Better::{High, Low};

pub(crate) const SINGLE: &str = "enqueue_single";
pub(crate) const BULK: &str = "enqueue_bulk";
pub(crate) const NOOP: &str = "noop";
pub(crate) const JOBS_5MS: &str = "jobs_5ms";
pub(crate) const START_500: [&str; 3] = ["start_500_p50", "start_500_p99", "start_500_max"];
pub(crate) const START_1000: [&str; 3] = ["start_1000_p50", "start_1000_p99", "start_1000_max"];
pub(crate) const BYTES_QUEUED: &str = "bytes_queued";
pub(crate) const BYTES_LEFT: &str = "bytes_left";
pub(crate) const COMMANDS_ENQUEUE: &str = "commands_enqueue";
pub(crate) const COMMANDS_WORK: &str = "commands_work";
pub(crate) const CPU_PROGRAMS: &str = "cpu_programs";
pub(crate) const CPU_REDIS: &str = "cpu_redis";
pub(crate) const CPU_POSTGRES: &str = "cpu_postgres";
pub(crate) const IDLE_COMMANDS: &str = "idle_commands";
pub(crate) const IDLE_CPU: &str = "idle_cpu";
pub(crate) const RSS_IDLE: &str = "rss_idle";
pub(crate) const RSS_BUSY: &str = "rss_busy";
pub(crate) const RECOVERY: &str = "recovery";
pub(crate) const LOST: &str = "lost";
pub(crate) const TWICE: &str = "twice";

/// All figures, by the tables in which they are shown.
pub(crate) const TABLES: [(&str, &[Metric]); 5] = [
    (
        "Throughput, jobs a second",
        &[
            metric(SINGLE, "enqueue, 50 in flight", High, 0),
            metric(BULK, "enqueue, 1,000 a call", High, 0),
            metric(NOOP, "no-op jobs", High, 0),
            metric(JOBS_5MS, "5 ms jobs, 100 at once", High, 0),
        ],
    ),
    (
        "From enqueue to start, ms",
        &[
            metric(START_500[0], "start at 500/s, p50", Low, 2),
            metric(START_500[1], "start at 500/s, p99", Low, 2),
            metric(START_500[2], "start at 500/s, max", Low, 1),
            metric(START_1000[0], "start at 1,000/s mixed, p50", Low, 2),
            metric(START_1000[1], "start at 1,000/s mixed, p99", Low, 2),
            metric(START_1000[2], "start at 1,000/s mixed, max", Low, 1),
        ],
    ),
    (
        "What a job costs",
        &[
            metric(BYTES_QUEUED, "Redis bytes a job, queued", Low, 0),
            metric(BYTES_LEFT, "Redis bytes a job, left", Low, 0),
            metric(COMMANDS_ENQUEUE, "Redis commands a job, enqueue", Low, 1),
            metric(COMMANDS_WORK, "Redis commands a job, work", Low, 1),
            metric(CPU_PROGRAMS, "CPU s per 1,000, producer and worker", Low, 4),
            metric(CPU_REDIS, "CPU s per 1,000, Redis", Low, 4),
            metric(CPU_POSTGRES, "CPU s per 1,000, PostgreSQL", Low, 4),
        ],
    ),
    (
        "A worker that has nothing to do, and its memory",
        &[
            metric(IDLE_COMMANDS, "idle, Redis commands/s", Low, 1),
            metric(IDLE_CPU, "idle, CPU, % of a core", Low, 2),
            metric(RSS_IDLE, "idle, memory, MB", Low, 0),
            metric(RSS_BUSY, "no-op jobs, memory at most, MB", Low, 0),
        ],
    ),
    (
        "A worker is killed with 50 jobs running",
        &[
            metric(RECOVERY, "killed, all run again after, s", Low, 2),
            metric(LOST, "killed, lost", Low, 0),
            metric(TWICE, "killed, ended twice", Low, 0),
        ],
    ),
];

/// All figures.
pub(crate) fn all() -> impl Iterator<Item = &'static Metric> {
    TABLES.iter().flat_map(|(_, metrics)| metrics.iter())
}

/// The figures that a group measures.
pub(crate) fn of(group: Group) -> Vec<&'static str> {
    match group {
        Group::Enqueue => vec![SINGLE, COMMANDS_ENQUEUE],
        Group::Drain => vec![
            BULK,
            NOOP,
            BYTES_QUEUED,
            BYTES_LEFT,
            COMMANDS_WORK,
            CPU_PROGRAMS,
            CPU_REDIS,
            CPU_POSTGRES,
            RSS_BUSY,
        ],
        Group::Jobs => vec![JOBS_5MS],
        Group::Latency => [START_500, START_1000].concat(),
        Group::Idle => vec![IDLE_COMMANDS, IDLE_CPU, RSS_IDLE],
        Group::Crash => vec![RECOVERY, LOST, TWICE],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_figure_is_shown_once_and_measured_by_one_group() {
        let shown: Vec<&str> = all().map(|metric| metric.key).collect();
        let measured: Vec<&str> = GROUPS.into_iter().flat_map(of).collect();
        assert_eq!(shown.len(), measured.len());
        assert_eq!(shown.iter().collect::<BTreeSet<_>>(), measured.iter().collect());
    }
}
