//! `postworks demo`: what it says at the end adds up.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fleet::{LONG, POSTWORKS, Process, run, seconds, until};

/// A demo that was told to stop is gone within this: its jobs take 60 ms.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Sums a field over all kinds.
fn over_kinds(report: &Value, field: &str) -> u64 {
    let kinds = report["kinds"].as_object().expect("kinds").values();
    kinds.map(|kind| kind[field].as_u64().expect("a number")).sum()
}

/// Jobs that died, over all kinds and categories.
fn dead(report: &Value) -> u64 {
    let kinds = report["kinds"].as_object().expect("kinds").values();
    let categories = kinds.flat_map(|kind| kind["dead"].as_object().expect("dead").values());
    categories.map(|dead| dead.as_u64().expect("a number")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_ends_with_every_job_accounted_for() {
    let ran = run(&["demo", "--jobs", "200", "--seed", "7", "-o", "json"], &[]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let report = ran.json();
    println!("200 jobs of the demo took {} s", report["seconds"]);
    assert_eq!((&report["jobs"], &report["seed"]), (&200.into(), &7.into()));
    assert_eq!(report["interrupted"], false);
    assert_eq!(over_kinds(&report, "jobs"), 200, "{report}");
    let ended = over_kinds(&report, "completed") + over_kinds(&report, "parked") + dead(&report);
    assert_eq!(
        (ended, &report["left"]["open"], &report["left"]["not_enqueued"]),
        (200, &0.into(), &0.into()),
        "{report}"
    );
    assert_eq!(report["kinds"]["post_publication"]["jobs"], 70);
    let journal = &report["journal"];
    assert_eq!(journal["twice"], 0);
    assert_eq!(journal["publishes"], journal["published"], "{report}");
    assert!(over_kinds(&report, "retried") > 0, "no fault hit: {report}");
}

/// Lines in the journal of a demo whose folders for a time are made in `folder`.
fn journalled(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let journals = entries.map(|entry| entry.path().join("journal.ndjson"));
    let texts = journals.filter_map(|journal| std::fs::read_to_string(journal).ok());
    texts.map(|text| text.lines().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_stopped_half_way_drains_and_says_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let vars = [("TMPDIR", folder.path().display().to_string())];
    let args = ["demo", "--jobs", "20000", "-o", "json"];
    let mut demo = Process::start("demo", POSTWORKS, &args, &vars, folder.path());
    until("the demo publishes nothing", LONG, async || journalled(folder.path()) >= 50).await;
    demo.signal(Signal::SIGINT);
    let told = Instant::now();
    let (status, said) = demo.ended(LONG).await;
    println!("the demo ended {} after it was told to", seconds(told.elapsed()));
    assert!(told.elapsed() < AT_ONCE, "it went on for {:?}", told.elapsed());
    assert_eq!(status.code(), Some(0), "{}", demo.log());
    let report: Value = serde_json::from_str(&said).expect("a report");
    assert_eq!(report["interrupted"], true);
    let left = |what: &str| report["left"][what].as_u64().expect("a number");
    let ended = over_kinds(&report, "completed") + over_kinds(&report, "parked") + dead(&report);
    let unended = left("open") + left("not_enqueued");
    println!(
        "stopped half-way: {ended} of {} jobs ended, left: {}",
        report["jobs"], report["left"]
    );
    assert!(ended > 0 && unended > 0, "{report}");
    assert_eq!(ended + unended, report["jobs"].as_u64().unwrap(), "{report}");
    assert_eq!(report["left"]["unsettled"], 0, "{report}");
    assert_eq!(report["journal"]["twice"], 0);
    assert_eq!(journalled(folder.path()), 0, "its folder is left behind");
}
