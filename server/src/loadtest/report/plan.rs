//! The capacity plan: what a rate of jobs needs, and when to add what.

mod rules;

use postworks::broker;
use postworks::telemetry::metrics;

use super::document::{Block, Cell, Grid, Tone};
use super::growth::after;
use super::numbers::{NOT_MEASURED, bytes, number, rate, roughly};
use super::sizing::{self, BUSY_MAX};
use crate::loadtest::findings::{Capacity, Findings};

/// Days for which ended jobs are kept, if nobody sets another.
const KEPT_DAYS: f64 = 30.0;
/// Jobs of a queue that Redis holds, if nobody sets another.
const WINDOW: f64 = broker::WINDOW as f64;

/// Jobs that wait, in the table of Redis' memory, besides a queue's whole window.
const WAITING: [f64; 3] = [1_000.0, 10_000.0, 1_000_000.0];

/// The chapter.
pub(super) fn chapter(findings: &Findings) -> Vec<Block> {
    let capacity = &findings.capacity;
    let mut blocks = vec![Block::Heading(2, "Capacity plan".to_owned())];
    blocks.push(Block::Words(
        "What the figures above come to, on this machine and with the mix of this test. No more \
         than 70 % of anything is to be busy: above that, queues grow faster than the load."
            .to_owned(),
    ));
    let missing = missing(capacity);
    if !missing.is_empty() {
        blocks.push(Block::Bullets(missing));
    }
    blocks.push(Block::Heading(3, "Workers and processors for a rate".to_owned()));
    blocks.push(Block::Words(how_reckoned(capacity)));
    blocks.push(Block::Grid(workers(capacity)));
    blocks.push(Block::Heading(3, "Memory of Redis".to_owned()));
    blocks.extend(redis(capacity));
    blocks.push(Block::Heading(3, "Room in PostgreSQL".to_owned()));
    blocks.extend(postgres(capacity));
    blocks.push(Block::Heading(3, "When to scale what".to_owned()));
    blocks.extend(rules::blocks(capacity));
    blocks
}

/// What was not measured, and what cannot be said for want of it.
fn missing(capacity: &Capacity) -> Vec<String> {
    let known = [
        (capacity.run_mean_ms.is_some(), "The mean run of a job", "how many places a rate needs"),
        (
            capacity.places.is_some(),
            "The number of a worker's places",
            "how many workers those are",
        ),
        (
            capacity.cpu_s_per_1000.is_some(),
            "Processor time a job",
            "how many processors a rate needs",
        ),
        (
            capacity.redis_bytes_queued.is_some(),
            "Redis' bytes a job",
            "how much memory a backlog takes",
        ),
        (capacity.postgres_bytes.is_some(), "PostgreSQL's bytes a job", "how fast the disk fills"),
    ];
    let unknown = known.iter().filter(|(known, ..)| !known);
    unknown
        .map(|(_, what, so)| format!("{what} was {NOT_MEASURED}, so nobody can say {so}."))
        .collect()
}

fn how_reckoned(capacity: &Capacity) -> String {
    let mut sentences = Vec::new();
    if let Some(run) = capacity.run_mean_ms {
        sentences
            .push(format!("A job runs {} ms in the mean, all its attempts together.", number(run)));
    }
    sentences.push(
        "The rate times the mean run is how many places are busy at the same time (Little's law); \
         places to have are those by 70 %."
            .to_owned(),
    );
    if let Some(bound) = capacity.slo_p99_ms {
        sentences.push(format!(
            "Where places are few more are needed, so that 99 of 100 jobs start within {} ms though \
             they come by chance (Erlang's C).",
            number(bound)
        ));
    }
    sentences.push(
        "Processors are what 1,000 jobs used, times the rate; those to have are their sum by 70 %."
            .to_owned(),
    );
    sentences.join(" ")
}

/// The rates of the tables, each with what it is.
fn rates(capacity: &Capacity) -> Vec<(String, f64)> {
    let peak = capacity.projected_peak;
    let mut rates = vec![
        ("a quarter of the peak".to_owned(), peak / 4.0),
        ("half of the peak".to_owned(), peak / 2.0),
        ("the projected peak".to_owned(), peak),
        ("the peak in 6 months".to_owned(), after(peak, capacity.monthly_growth, 6.0)),
        ("the peak in 12 months".to_owned(), after(peak, capacity.monthly_growth, 12.0)),
    ];
    rates.extend(
        capacity.sustainable_rate.map(|rate| ("the most that was sustained".to_owned(), rate)),
    );
    rates.retain(|(_, rate)| rate.is_finite() && *rate > 0.0);
    rates.sort_by(|a, b| a.1.total_cmp(&b.1));
    // A peak that does not grow is one row.
    rates.dedup_by(|a, b| a.1 == b.1);
    rates
}

fn workers(capacity: &Capacity) -> Grid {
    let mut grid = Grid::new(&[
        "rate",
        ">jobs",
        ">places busy",
        ">places to have",
        ">workers",
        ">processors: workers",
        ">Redis",
        ">PostgreSQL",
        ">all, to have",
        "tried",
    ]);
    for (what, jobs) in rates(capacity) {
        let places =
            capacity.run_mean_ms.and_then(|run| sizing::places(jobs, run, capacity.slo_p99_ms));
        let workers = places.and_then(|places| sizing::workers(places.wanted, capacity.places?));
        let used = capacity.cpu_s_per_1000.map(|each| each.map(|s| sizing::processors(jobs, s)));
        let to_have = used.map(|used| (used.iter().sum::<f64>() / BUSY_MAX).ceil());
        let tried = match capacity.sustainable_rate {
            Some(sustained) if jobs <= sustained => Cell::of(Tone::Good, "sustained"),
            Some(_) => Cell::of(Tone::Unknown, "reckoned, not tried"),
            None => Cell::of(Tone::Unknown, NOT_MEASURED),
        };
        grid.row([
            what.into(),
            rate(jobs).into(),
            or_dash(places.map(|places| places.busy)),
            or_dash(places.map(|places| places.wanted)),
            or_dash(workers),
            or_dash(used.map(|used| used[0])),
            or_dash(used.map(|used| used[1])),
            or_dash(used.map(|used| used[2])),
            or_dash(to_have),
            tried,
        ]);
    }
    grid
}

fn or_dash(figure: Option<f64>) -> Cell {
    figure.map_or_else(|| "–".to_owned(), number).into()
}

fn redis(capacity: &Capacity) -> Vec<Block> {
    let Some(each) = capacity.redis_bytes_queued else {
        return vec![Block::Words(format!("Redis' bytes for a job that waits: {NOT_MEASURED}."))];
    };
    let left = match capacity.redis_bytes_left {
        Some(left) if left >= 1.0 => format!("{} stay of a job that ended", bytes(left)),
        Some(_) => "nothing stays of a job that ended".to_owned(),
        None => format!("what stays of a job that ended was {NOT_MEASURED}"),
    };
    let words = format!(
        "A job that waits takes {}; {left}. Redis holds no more than {} jobs of a queue \
         (`broker.window`), whatever the backlog: the rest waits in PostgreSQL. Give Redis twice of \
         what its queues need at their fullest.",
        bytes(each),
        number(WINDOW)
    );
    let mut waiting: Vec<f64> = WAITING.into_iter().chain([WINDOW]).collect();
    waiting.sort_by(f64::total_cmp);
    let mut grid = Grid::new(&[">jobs that wait", ">memory", ">to give Redis", "is"]);
    for jobs in waiting {
        let what = match jobs {
            _ if jobs == WINDOW => "one queue, full",
            _ if jobs > WINDOW => "several queues, full",
            _ => "",
        };
        grid.row([
            number(jobs).into(),
            bytes(jobs * each).into(),
            bytes(jobs * each * 2.0).into(),
            what.into(),
        ]);
    }
    vec![Block::Words(words), Block::Grid(grid)]
}

fn postgres(capacity: &Capacity) -> Vec<Block> {
    let Some(each) = capacity.postgres_bytes else {
        return vec![Block::Words(format!("PostgreSQL's bytes for a job: {NOT_MEASURED}."))];
    };
    let wal = match capacity.postgres_wal_bytes {
        Some(wal) => format!("writes {} of WAL from enqueue to end", bytes(wal)),
        None => format!("writes WAL that was {NOT_MEASURED}"),
    };
    let words = format!(
        "A job that ended takes {}, indexes included, and {wal}. It is kept for {KEPT_DAYS} days \
         (`retention.jobs`); after that the tables grow no more. A rate here is the mean of a whole \
         day: at the peak all day it is an upper bound.",
        bytes(each)
    );
    let mut grid = Grid::new(&[
        "rate",
        ">jobs a day",
        ">a day",
        ">a month, kept 30 days",
        ">kept 90 days",
        ">WAL a day",
        ">left in Redis a day",
    ]);
    for (what, jobs) in rates(capacity) {
        let day = sizing::jobs_a_day(jobs);
        let times_day = |bytes_each: Option<f64>| -> Cell {
            bytes_each.map_or_else(|| "–".to_owned(), |each| bytes(each * day)).into()
        };
        grid.row([
            what.into(),
            roughly(day).into(),
            bytes(day * each).into(),
            bytes(day * each * KEPT_DAYS).into(),
            bytes(day * each * 3.0 * KEPT_DAYS).into(),
            times_day(capacity.postgres_wal_bytes),
            times_day(capacity.redis_bytes_left),
        ]);
    }
    vec![Block::Words(words), Block::Grid(grid)]
}

#[cfg(test)]
mod tests {
    use postworks::config::{Config, Sources};

    use super::super::{fixture, markdown};
    use super::*;

    #[test]
    fn the_plan_goes_by_the_defaults_of_the_configuration() {
        let config = Config::load(&Sources::default()).unwrap();
        assert_eq!(config.retention.jobs.as_secs_f64() / 86_400.0, KEPT_DAYS);
        assert_eq!(f64::from(config.broker.window), WINDOW);
    }

    #[test]
    fn each_rate_has_its_workers_and_processors() {
        insta::assert_snapshot!(markdown::grid(&workers(&fixture::whole().capacity)));
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_a_sentence() {
        let capacity = fixture::interrupted().capacity;
        let grid = workers(&capacity);
        assert!(grid.rows.iter().all(|row| row[2..9].iter().all(|cell| cell.text == "–")));
        assert_eq!(missing(&capacity).len(), 5);
        assert_eq!(missing(&fixture::whole().capacity), [""; 0]);
    }

    #[test]
    fn a_peak_that_does_not_grow_is_one_row() {
        let mut capacity = fixture::whole().capacity;
        capacity.monthly_growth = 0.0;
        let names: Vec<_> = rates(&capacity).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "a quarter of the peak",
                "half of the peak",
                "the projected peak",
                "the most that was sustained"
            ]
        );
    }
}
