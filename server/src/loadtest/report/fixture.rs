//! What load tests might have found, for tests and for looking at a page: made up, not measured.

use std::f64::consts::TAU;
use std::ops::Range;

use crate::loadtest::findings::{
    Capacity, Direction, FORM, Figure, Findings, Phase, Plot, Scenario, Series, Table, Timing,
    Verdict,
};

/// A whole test by the profile `reference`, with one bound missed and one not measured.
pub(super) fn whole() -> Findings {
    Findings {
        form: FORM,
        version: "0.1.0".to_owned(),
        profile: "reference".to_owned(),
        profile_digest: "5f".repeat(32),
        targets: None,
        targets_digest: "a9".repeat(32),
        chosen: Vec::new(),
        seed: 42,
        started_at: "2026-11-29T09:00:00Z".to_owned(),
        took_s: 5_430.0,
        interrupted: false,
        facts: [
            ("processor", "AMD EPYC, 2 processors"),
            ("memory", "8 GiB"),
            ("system", "Linux 6.18"),
            ("Redis", "7.0.15, nothing on disk"),
            ("PostgreSQL", "15.18, synchronous_commit on"),
        ]
        .map(|(name, fact)| (name.to_owned(), fact.to_owned()))
        .into(),
        scenarios: vec![database(), queue(), redis(), api(), failover(), breaking_point()],
        verdicts: vec![
            at_most("database", "query INSERT: p99_ms", "ms", 50.0, Some(10.56)),
            at_most("queue", "job start all kinds: p99_ms", "ms", 10.0, Some(17.6)),
            at_most("queue", "Jobs: lost", "jobs", 0.0, Some(0.0)),
            Verdict {
                direction: Direction::AtLeast,
                ..at_most("queue", "Jobs: done", "jobs", 1_000_000.0, Some(1_570_861.0))
            },
            at_most("failover", "Worker killed: orphans run again within", "s", 1.0, Some(0.62)),
            at_most("api", "endpoint POST /api/publish: p99_ms", "ms", 25.0, None),
        ],
        capacity: capacity(),
    }
}

/// A test by the profile `smoke` that somebody stopped soon.
pub(super) fn interrupted() -> Findings {
    let database = Scenario {
        broke_off: Some("stopped by a person after 9 s".to_owned()),
        took_s: 9.0,
        phases: phases(&[("ramp up", 0.0, 9.0)]),
        timings: vec![timing("query", "SELECT", 1_830, 0, 1.1)],
        tables: Vec::new(),
        series: vec![Series {
            plot: Plot::Throughput,
            name: "done".to_owned(),
            unit: "1/s".to_owned(),
            points: vec![(0.5, Some(203.0))],
        }],
        unmeasurable: Vec::new(),
        notes: Vec::new(),
        ..database()
    };
    Findings {
        profile: "smoke".to_owned(),
        profile_digest: "68".repeat(32),
        chosen: ["database", "queue"].map(str::to_owned).into(),
        took_s: 11.2,
        interrupted: true,
        scenarios: vec![database],
        verdicts: vec![at_most("queue", "job start all kinds: p99_ms", "ms", 10.0, None)],
        capacity: Capacity { projected_peak: 1_050.0, monthly_growth: 0.15, ..Capacity::default() },
        ..whole()
    }
}

fn capacity() -> Capacity {
    Capacity {
        sustainable_rate: Some(4_000.0),
        slo_p99_ms: Some(50.0),
        gave_way: Some((4_600.0, "processor".to_owned())),
        workers: Some(4),
        places: Some(250),
        run_mean_ms: Some(187.0),
        redis_bytes_queued: Some(341.0),
        redis_bytes_left: Some(0.0),
        postgres_bytes: Some(612.0),
        postgres_wal_bytes: Some(1_480.0),
        cpu_s_per_1000: Some([0.19, 0.06, 0.14]),
        projected_peak: 1_050.0,
        monthly_growth: 0.15,
    }
}

fn database() -> Scenario {
    let timings =
        [("SELECT", 40, 0.9), ("INSERT", 35, 2.4), ("UPDATE", 20, 2.1), ("DELETE", 5, 1.8)];
    Scenario {
        about: "Queries of the real tables, 40 % SELECT, 35 % INSERT, 20 % UPDATE, 5 % DELETE."
            .to_owned(),
        timings: with_sum(
            timings.map(|(name, part, p50)| timing("query", name, part * 4_200, 0, p50)),
            "all statements",
        ),
        tables: vec![table(
            "Pools",
            &[("connections", 32.0, ""), ("waited for one, p99", 0.8, "ms")],
        )],
        series: vec![
            ramped(Plot::Throughput, "asked", "1/s", 600.0, 900, 0.0),
            ramped(Plot::Throughput, "done", "1/s", 598.0, 900, 0.03),
            around(Plot::Latency, "p50", "ms", 1.6, 900),
            around(Plot::Latency, "p99", "ms", 14.0, 900),
        ],
        ..scenario("database", 900.0)
    }
}

fn queue() -> Scenario {
    let kinds = [
        ("post_publication", 40, 3.1),
        ("connector_sync", 35, 2.9),
        ("token_refresh", 20, 2.2),
        ("data_cleanup", 5, 4.0),
    ];
    let starts = kinds.map(|(name, part, p50)| timing("job start", name, part * 15_000, 0, p50));
    let ends = kinds
        .map(|(name, part, p50)| timing("job end", name, part * 15_000, part % 3, p50 + 180.0));
    let megabytes = 1024.0 * 1024.0;
    let mut spiked = around(Plot::Latency, "p99.9", "ms", 21.0, 1_500);
    for (at, value) in &mut spiked.points {
        if (700.0..705.0).contains(at) {
            *value = value.map(|value| short(value * 60.0));
        }
    }
    Scenario {
        about: "Jobs come at 1,050 a second whether or not they are done; a sandbox platform \
                answers, and spoils 0.3 % of the posts."
            .to_owned(),
        timings: [starts, ends].into_iter().flat_map(|rows| with_sum(rows, "all kinds")).collect(),
        tables: vec![
            table(
                "Dead letters by category",
                &[("invalid", 4_102.0, "jobs"), ("unknown_outcome", 37.0, "jobs")],
            ),
            table(
                "Jobs",
                &[
                    ("accepted", 1_575_000.0, "jobs"),
                    ("refused by the platform, as asked for", 4_102.0, "jobs"),
                    ("done", 1_570_861.0, "jobs"),
                    ("lost", 0.0, "jobs"),
                ],
            ),
        ],
        series: vec![
            ramped(Plot::Throughput, "asked", "1/s", 1_050.0, 1_500, 0.0),
            ramped(Plot::Throughput, "done", "1/s", 1_049.0, 1_500, 0.04),
            around(Plot::Latency, "p50", "ms", 2.9, 1_500),
            around(Plot::Latency, "p95", "ms", 6.4, 1_500),
            around(Plot::Latency, "p99", "ms", 13.0, 1_500),
            spiked,
            ramped(Plot::Depth, "waiting", "jobs", 6.0, 1_500, 0.6),
            ramped(Plot::Depth, "running", "jobs", 196.0, 1_500, 0.1),
            around(Plot::Memory, "Redis", "bytes", 9.0 * megabytes, 1_500),
            ramped(Plot::Memory, "workers", "bytes", 71.0 * megabytes, 1_500, 0.01),
            ramped(Plot::Errors, "asked for", "1/s", 3.1, 1_500, 0.5),
            ramped(Plot::Errors, "others", "1/s", 0.0, 1_500, 0.0),
        ],
        unmeasurable: Vec::new(),
        notes: vec!["Load, workers, Redis and PostgreSQL share two processors.".to_owned()],
        ..scenario("queue", 1_500.0)
    }
}

fn redis() -> Scenario {
    let commands = [
        ("EVALSHA claim", 30, 0.31),
        ("EVALSHA settle", 30, 0.28),
        ("ZADD", 30, 0.09),
        ("INFO", 1, 0.2),
    ];
    Scenario {
        about: "The commands of a worker, each by itself.".to_owned(),
        phases: Vec::new(),
        timings: with_sum(
            commands.map(|(name, part, p50)| timing("command", name, part * 9_000, 0, p50)),
            "all commands",
        ),
        tables: vec![table(
            "Memory",
            &[("used", 41_300_000.0, "bytes"), ("fragmentation", 1.08, "")],
        )],
        ..scenario("redis", 120.0)
    }
}

fn api() -> Scenario {
    Scenario {
        about: "Requests of the product's front end, each on a connection that is there."
            .to_owned(),
        broke_off: Some("the API took longer than 30 s to start".to_owned()),
        phases: Vec::new(),
        timings: vec![timing("endpoint", "POST /api/publish", 0, 0, 0.0)],
        ..scenario("api", 30.0)
    }
}

fn failover() -> Scenario {
    Scenario {
        about: "500 jobs run while Redis restarts, forgets everything, and a worker is killed."
            .to_owned(),
        phases: phases(&[
            ("pool exhausted", 20.0, 50.0),
            ("Redis restarts", 80.0, 81.5),
            ("Redis forgets", 90.0, 90.4),
            ("worker killed", 110.0, 110.0),
        ]),
        timings: Vec::new(),
        tables: vec![
            table(
                "Redis restarted",
                &[
                    ("first start after it was back", 0.84, "s"),
                    ("jobs lost", 0.0, "jobs"),
                    ("published twice", 0.0, "posts"),
                ],
            ),
            table("Worker killed", &[("orphans run again within", 0.62, "s")]),
        ],
        series: vec![
            // While Redis is down nobody knows.
            without(80.0..90.0, around(Plot::Depth, "waiting", "jobs", 220.0, 140)),
            without(80.0..90.0, around(Plot::Depth, "running", "jobs", 500.0, 140)),
        ],
        ..scenario("failover", 140.0)
    }
}

fn breaking_point() -> Scenario {
    let step = |n: u32| (format!("{}/s", 1_000 + 600 * n), f64::from(n) * 60.0);
    let steps: Vec<Phase> = (0..7)
        .map(step)
        .map(|(name, from_s)| Phase { name, from_s, to_s: from_s + 60.0 })
        .collect();
    let at = |s: f64| 1_000.0 + 600.0 * (s / 60.0).floor().min(6.0);
    let series = |plot, name: &str, unit: &str, value: &dyn Fn(f64) -> f64| Series {
        plot,
        name: name.to_owned(),
        unit: unit.to_owned(),
        points: (0..420).map(f64::from).map(|s| (s, Some(short(value(s))))).collect(),
    };
    Scenario {
        about: "More jobs a second, step by step, until p99 from due to start leaves its bound."
            .to_owned(),
        phases: steps,
        timings: Vec::new(),
        series: vec![
            series(Plot::Throughput, "asked", "1/s", &at),
            series(Plot::Throughput, "done", "1/s", &|s| at(s).min(4_210.0 + wave(s) * 60.0)),
            series(Plot::Latency, "p99", "ms", &|s| match at(s) > 4_300.0 {
                true => 40.0 + (s - 360.0) * 25.0,
                false => 4.0 + 27.0 * (at(s) / 4_000.0).powi(4) * (1.0 + 0.25 * wave(s)),
            }),
        ],
        ..scenario("breaking-point", 420.0)
    }
}

fn scenario(name: &str, took_s: f64) -> Scenario {
    Scenario {
        name: name.to_owned(),
        about: String::new(),
        took_s,
        broke_off: None,
        phases: phases(&[
            ("ramp up", 0.0, took_s * 0.2),
            ("sustain", took_s * 0.2, took_s * 0.8),
            ("ramp down", took_s * 0.8, took_s),
        ]),
        timings: Vec::new(),
        tables: Vec::new(),
        series: Vec::new(),
        unmeasurable: Vec::new(),
        notes: Vec::new(),
    }
}

fn phases(phases: &[(&str, f64, f64)]) -> Vec<Phase> {
    let phase = |(name, from_s, to_s): &(&str, f64, f64)| Phase {
        name: (*name).to_owned(),
        from_s: *from_s,
        to_s: *to_s,
    };
    phases.iter().map(phase).collect()
}

fn timing(group: &str, name: &str, count: u64, failed: u64, p50_ms: f64) -> Timing {
    Timing {
        group: group.to_owned(),
        name: name.to_owned(),
        is_sum: false,
        count,
        failed,
        mean_ms: short(p50_ms * 1.2),
        p50_ms,
        p95_ms: short(p50_ms * 2.1),
        p99_ms: short(p50_ms * 4.4),
        p999_ms: short(p50_ms * 8.7),
        max_ms: short(p50_ms * 31.0),
    }
}

/// Rows, and the row of all of them, which is as slow as the slowest.
fn with_sum(rows: impl IntoIterator<Item = Timing>, name: &str) -> Vec<Timing> {
    let mut rows: Vec<Timing> = rows.into_iter().collect();
    let slowest = rows.iter().max_by(|a, b| a.p50_ms.total_cmp(&b.p50_ms)).cloned();
    let (count, failed) =
        rows.iter().fold((0, 0), |(all, failed), row| (all + row.count, failed + row.failed));
    let sum = |row| Timing { name: name.to_owned(), is_sum: true, count, failed, ..row };
    rows.extend(slowest.map(sum));
    rows
}

fn table(title: &str, rows: &[(&str, f64, &str)]) -> Table {
    let figure = |(name, value, unit): &(&str, f64, &str)| Figure {
        name: (*name).to_owned(),
        value: *value,
        unit: (*unit).to_owned(),
        good: matches!(*unit, "ms" | "s" | "bytes").then_some(Direction::AtMost),
    };
    Table { title: title.to_owned(), rows: rows.iter().map(figure).collect() }
}

/// A bound, named as it is in a file of targets.
fn at_most(scenario: &str, name: &str, unit: &str, bound: f64, measured: Option<f64>) -> Verdict {
    let [scenario, name, unit] = [scenario, name, unit].map(str::to_owned);
    Verdict { scenario, name, unit, bound, direction: Direction::AtMost, measured }
}

/// Three decimals: what JSON keeps to the last digit.
fn short(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Something between -1 and 1 that looks like chance and is none.
fn wave(s: f64) -> f64 {
    let [slow, fast, faster] = [97.0, 11.3, 3.7].map(|period| (s / period * TAU).sin());
    0.3 * slow + 0.4 * fast + 0.3 * faster
}

/// Up to `top`, along it and down again, a figure a second.
fn ramped(plot: Plot, name: &str, unit: &str, top: f64, seconds: u32, noise: f64) -> Series {
    let end = f64::from(seconds);
    let ramp = |s: f64| (s / (end * 0.2)).min((end - s) / (end * 0.2)).clamp(0.0, 1.0);
    let points = (0..=seconds).map(f64::from);
    let points =
        points.map(|s| (s, Some(short(top * ramp(s) * (1.0 + noise * wave(s)))))).collect();
    Series { plot, name: name.to_owned(), unit: unit.to_owned(), points }
}

/// The same, with nothing known for a while.
fn without(gap: Range<f64>, mut series: Series) -> Series {
    let within = series.points.iter_mut().filter(|(at, _)| gap.contains(at));
    within.for_each(|(_, value)| *value = None);
    series
}

/// Around `middle`, a figure a second.
fn around(plot: Plot, name: &str, unit: &str, middle: f64, seconds: u32) -> Series {
    let value = |s: f64| short(middle * (1.0 + 0.3 * wave(s * 1.3)));
    let points = (0..=seconds).map(f64::from).map(|s| (s, Some(value(s)))).collect();
    Series { plot, name: name.to_owned(), unit: unit.to_owned(), points }
}
