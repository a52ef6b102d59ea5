//! What a load test found: all that its report shows, and what its JSON holds.
//!
//! The measuring half writes it, the reporting half reads it, and neither knows the other.

use serde::{Deserialize, Serialize};

/// The form of the JSON; a report of another form is not compared with.
pub(crate) const FORM: u32 = 2;

/// Everything that one load test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// [`FORM`].
    pub(crate) form: u32,
    /// Postworks' version.
    pub(crate) version: String,
    /// The profile, as it was asked for: a name, or a file.
    pub(crate) profile: String,
    /// SHA-256 of what the profile says, in hexadecimal: a file may be another one by now.
    pub(crate) profile_digest: String,
    /// The file of targets, as it was asked for; `None`: the usual ones.
    pub(crate) targets: Option<String>,
    /// SHA-256 of what the targets say, in hexadecimal.
    pub(crate) targets_digest: String,
    /// The scenarios that were asked for; all of the profile if empty.
    pub(crate) chosen: Vec<String>,
    /// What the load was drawn from; the same seed asks for the same.
    pub(crate) seed: u64,
    /// When it began, RFC 3339.
    pub(crate) started_at: String,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
    /// Somebody stopped it early: what is here was measured, the rest was not.
    pub(crate) interrupted: bool,
    /// The machine and the servers: names ("processor", "Redis") and facts, in the order to show.
    pub(crate) facts: Vec<(String, String)>,
    /// The scenarios in the order in which they ran.
    pub(crate) scenarios: Vec<Scenario>,
    /// What must hold, and whether it did.
    pub(crate) verdicts: Vec<Verdict>,
    /// What the capacity plan goes by, as far as it was measured.
    pub(crate) capacity: Capacity,
}

/// What one scenario found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// `database`, `queue`, `redis`, `api`, `failover` or `breaking-point`.
    pub(crate) name: String,
    /// One sentence: what was done.
    pub(crate) about: String,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
    /// It was stopped early, or broke off for this reason.
    pub(crate) broke_off: Option<String>,
    /// Stretches of it, for the plots: `ramp up`, `sustain`, `ramp down`, `Redis restarts`.
    pub(crate) phases: Vec<Phase>,
    /// How long things took.
    pub(crate) timings: Vec<Timing>,
    /// Figures in tables of their own.
    pub(crate) tables: Vec<Table>,
    /// Titles of tables that could not be there as things were; a note says why.
    pub(crate) unmeasurable: Vec<String>,
    /// Figures over time.
    pub(crate) series: Vec<Series>,
    /// What the figures do not say.
    pub(crate) notes: Vec<String>,
}

/// A stretch of a scenario, in seconds since it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// What happened in it.
    pub(crate) name: String,
    /// When it began.
    pub(crate) from_s: f64,
    /// When it ended.
    pub(crate) to_s: f64,
}

/// How long one sort of thing took, counted from when it was due (so that a system that stalls is
/// not asked less, and its stall counts).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// What the rows of one table have in common: `query`, `command`, `job start`, `job end`, `endpoint`.
    pub(crate) group: String,
    /// `SELECT`, `ZADD`, `post_publication`, `POST /api/publish`.
    pub(crate) name: String,
    /// Other rows of its group count in it: whoever adds rows up leaves it out.
    pub(crate) is_sum: bool,
    /// How many.
    pub(crate) count: u64,
    /// How many of them failed, beyond the faults that were asked for.
    pub(crate) failed: u64,
    /// Milliseconds.
    pub(crate) mean_ms: f64,
    /// Milliseconds.
    pub(crate) p50_ms: f64,
    /// Milliseconds.
    pub(crate) p95_ms: f64,
    /// Milliseconds.
    pub(crate) p99_ms: f64,
    /// Milliseconds.
    pub(crate) p999_ms: f64,
    /// Milliseconds.
    pub(crate) max_ms: f64,
}

/// A small table: rows of named figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Its heading: `Dead letters by category`, `Pools`, `Failover`.
    pub(crate) title: String,
    /// Its rows, in order.
    pub(crate) rows: Vec<Figure>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What it is of.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what: `ms`, `s`, `jobs`, `bytes`, `%`, `1/s`.
    pub(crate) unit: String,
    /// Which side of it is good; `None` if neither is, as of what was asked for.
    pub(crate) good: Option<Direction>,
}

impl Figure {
    /// The same figure, of which less is better.
    pub(crate) fn better_less(self) -> Self {
        Self { good: Some(Direction::AtMost), ..self }
    }

    /// The same figure, of which more is better.
    pub(crate) fn better_more(self) -> Self {
        Self { good: Some(Direction::AtLeast), ..self }
    }
}

/// Figures over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Which plot it is drawn in: series of one plot share axes.
    pub(crate) plot: Plot,
    /// What the line is called: `asked`, `done`, `p50`, `p99`, `waiting`.
    pub(crate) name: String,
    /// Of what: `1/s`, `ms`, `jobs`, `bytes`.
    pub(crate) unit: String,
    /// Seconds since the scenario began, and the figure; in order of time. `None`: there was none
    /// then, so the line has a gap.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// What a plot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plot {
    /// How much is asked for and done a second.
    Throughput,
    /// Percentiles of each second.
    Latency,
    /// Jobs that wait and run.
    Depth,
    /// Bytes of Redis, of the worker.
    Memory,
    /// Failures a second.
    Errors,
}

/// A bound, and what was measured against it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Which scenario measured it.
    pub(crate) scenario: String,
    /// What is bounded: a table's figure as `TITLE: FIGURE`, a timing's as `GROUP NAME: p99_ms`.
    pub(crate) name: String,
    /// `ms`, `%`, `1/s`.
    pub(crate) unit: String,
    /// The bound.
    pub(crate) bound: f64,
    /// At most, or at least.
    pub(crate) direction: Direction,
    /// `None`: it was not measured, so nothing is said.
    pub(crate) measured: Option<f64>,
}

impl Verdict {
    /// Whether the bound held; `None` if nothing was measured.
    pub(crate) fn held(&self) -> Option<bool> {
        self.measured.map(|measured| match self.direction {
            Direction::AtMost => measured <= self.bound,
            Direction::AtLeast => measured >= self.bound,
        })
    }

    /// Whether nothing was measured, although its scenario could have measured it.
    pub(crate) fn is_open_in(&self, scenario: &Scenario) -> bool {
        let mut titles = scenario.unmeasurable.iter();
        let excused =
            titles.any(|title| self.name.rsplit_once(": ").is_some_and(|of| of.0 == title));
        self.scenario == scenario.name && self.measured.is_none() && !excused
    }
}

/// Which side of a bound, or of a figure, is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// More is bad.
    AtMost,
    /// Less is bad.
    AtLeast,
}

/// What a plan is made from. What is `None` was not measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Capacity {
    /// The highest rate at which the bound on start latency held, in jobs a second.
    pub(crate) sustainable_rate: Option<f64>,
    /// The bound that it was searched for: p99 from due to start, in ms.
    pub(crate) slo_p99_ms: Option<f64>,
    /// The first rate at which it did not hold, and what gave way: `processor`, `Redis`, `PostgreSQL`, `places`.
    pub(crate) gave_way: Option<(f64, String)>,
    /// Workers that ran meanwhile.
    pub(crate) workers: Option<u32>,
    /// Places of each.
    pub(crate) places: Option<u32>,
    /// How long a job keeps a place, all its attempts together, in the mean with the mix and the
    /// platforms of the test, in ms.
    pub(crate) run_mean_ms: Option<f64>,
    /// Bytes of Redis for a job that waits.
    pub(crate) redis_bytes_queued: Option<f64>,
    /// Bytes of Redis left of a job that ended.
    pub(crate) redis_bytes_left: Option<f64>,
    /// Bytes of PostgreSQL for a job that ended, indexes included.
    pub(crate) postgres_bytes: Option<f64>,
    /// Bytes of WAL for a job from enqueue to its end.
    pub(crate) postgres_wal_bytes: Option<f64>,
    /// Processor seconds for 1,000 jobs: of the workers, of Redis, of PostgreSQL.
    pub(crate) cpu_s_per_1000: Option<[f64; 3]>,
    /// The rate that is expected at its highest, in jobs a second; from the profile.
    pub(crate) projected_peak: f64,
    /// How much more there is each month, in parts of one (0.15); from the profile.
    pub(crate) monthly_growth: f64,
}
