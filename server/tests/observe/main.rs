//! A fleet under five minutes of mixed load, on whose bad moments dashboards and alerts are proven.
//!
//! `make observe` runs it: PostgreSQL, Redis, two APIs, workers, the sandbox platform and a real
//! Prometheus with our rules, on loopback. `steps` is what happens and when. At the end every panel
//! must have had something to show, every alert that the steps provoke must have fired and, but for
//! those that outlast the run by design, have ended; each dashboard is drawn into `target/observe`.
//! Then a fleet of its own, which scales itself, takes a spike of jobs. Ctrl-C ends everything that was started.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod alarms;
mod dashboards;
#[path = "../it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod fleet;
mod load;
mod picture;
#[allow(dead_code, reason = "the other tests use the rest")]
mod prometheus;
mod scene;
#[path = "../it/spike.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod spike;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use postworks::clock::{Clock as _, SystemClock};

use crate::alarms::Alarms;
use crate::dashboards::Answer;
use crate::prometheus::Prometheus;
use crate::scene::Scene;
use crate::spike::{COLUMNS, Spike};

/// How much sooner than in production an alert fires that must hold for a time, and ends that goes on
/// for a time; expressions and thresholds are those of production.
const HASTE: u32 = 12;
/// How long the load goes on.
const LOAD: Duration = Duration::from_secs(300);
/// The longest window of an alert that must end within the run, and some time for it to be seen.
const CALM_MAX: Duration = Duration::from_secs(360);
/// The jobs of the spike, how long the platform takes for each, in milliseconds, and the slots of a
/// worker. Fewer than in `make observe-spike`, since nothing here was built to be fast.
const SPIKE: (usize, u32, u32) = (4_000, 200, 10);

/// Watches a fleet in good and bad moments.
#[derive(Debug, Parser)]
struct Args {
    /// Draw no pictures: needs no browser
    #[arg(long)]
    no_pictures: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    tokio::select! {
        // What was started ends with its values, which are dropped with the future of the run.
        _ = tokio::signal::ctrl_c() => {
            println!("stopped");
            ExitCode::from(130)
        }
        good = Box::pin(observe(&args)) => if good { ExitCode::SUCCESS } else { ExitCode::FAILURE },
    }
}

/// Where pictures and figures are left.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a build folder").join("observe")
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemClock.now().as_millis() as f64 / 1_000.0
}

async fn observe(args: &Args) -> bool {
    let folder = folder();
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for what is found");
    println!("starting PostgreSQL, Redis, two APIs, two workers, a platform, Prometheus");
    let mut scene = Scene::start(&folder, HASTE).await;
    println!("Prometheus answers at {}; the API at {}", scene.prometheus.url(), scene.api());
    let (begun, from) = (Instant::now(), now());
    scene.begin_load();
    for step in steps::all() {
        tokio::time::sleep_until((begun + step.at).into()).await;
        println!("{:>4} s  {}", begun.elapsed().as_secs(), step.says);
        (step.act)(&mut scene).await;
    }
    tokio::time::sleep_until((begun + LOAD).into()).await;
    println!("{:>4} s  the rest is calm, until what can end has ended", begun.elapsed().as_secs());
    let calm_until = Instant::now() + CALM_MAX;
    while Instant::now() < calm_until
        && scene.prometheus.firing().await.keys().any(|name| alarms::ends(name))
    {
        // Prometheus looks once a second, and tells nobody by itself.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // An alert that has just ended must be seen to have.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let span = (from, now());
    let alarms = Alarms::read(&scene.prometheus, span).await;
    let answers = ask_all(&scene.prometheus, span).await;
    report(&folder, begun.elapsed(), &alarms, &answers);
    if !args.no_pictures {
        picture::draw_all(&folder, span, &answers).await;
    }
    drop(scene);
    take_a_spike(&folder).await;
    alarms.are_good() && answers.iter().all(Answer::has_data)
}

async fn ask_all(prometheus: &Prometheus, span: (f64, f64)) -> Vec<Answer> {
    let mut answers = Vec::new();
    for dashboard in dashboards::all() {
        answers.extend(dashboard.ask(prometheus, span, 2.0).await);
    }
    answers
}

/// Lets many jobs come at once to workers that are started as they are needed, and shows these over
/// time.
///
/// # Panics
/// If a job is lost or published twice, or the workers do not go again.
async fn take_a_spike(folder: &Path) {
    let (jobs, run_ms, concurrency) = SPIKE;
    let mut text = format!(
        "a spike of {jobs} jobs of {run_ms} ms; a worker has {concurrency} slots\n{COLUMNS}\n"
    );
    print!("{text}");
    let spike = Spike::of(jobs, run_ms, concurrency);
    let seen = spike
        .run(|row| {
            println!("{row}");
            text += &format!("{row}\n");
        })
        .await;
    println!("{seen}");
    text += &format!("{seen}\n");
    std::fs::write(folder.join("spike.txt"), text).expect("a report");
}

fn report(folder: &Path, took: Duration, alarms: &Alarms, answers: &[Answer]) {
    let mut text = format!("after {} s\n\n", took.as_secs());
    let mut names: Vec<&str> = answers.iter().map(|answer| answer.dashboard.as_str()).collect();
    names.dedup();
    let (mut good, mut all) = (0, 0);
    for name in names {
        let of: Vec<&Answer> = answers.iter().filter(|answer| answer.dashboard == name).collect();
        let mut panels: Vec<u64> = of.iter().map(|answer| answer.panel).collect();
        panels.dedup();
        let whole = |panel: &&u64| {
            of.iter().filter(|answer| answer.panel == **panel).all(|answer| answer.has_data())
        };
        let whole = panels.iter().filter(whole).count();
        text += &format!("{name:<14} panels with data {whole}/{}\n", panels.len());
        (good, all) = (good + whole, all + panels.len());
        for answer in of.iter().filter(|answer| !answer.has_data()) {
            let why = answer.series.as_ref().err().map_or("nothing", String::as_str);
            text += &format!("    {}: {why}: {}\n", answer.title, answer.expression);
        }
    }
    text += &format!("all dashboards panels with data {good}/{all}\n\n{alarms}");
    println!("\n{text}");
    std::fs::write(folder.join("report.txt"), text).expect("a report");
}
