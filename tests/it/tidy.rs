//! The house rules of `ARCHITECTURE.md` that a machine can see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library and the folders that may name it.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("apalis", &["src/worker", "server/tests/it/ingress.rs", "benches/peers"]),
    (
        "redis",
        &[
            "src/broker/redis",
            "src/testing",
            "tests",
            "benches",
            "server/src/ingress",
            "server/src/loadtest",
            "server/tests",
        ],
    ),
    (
        "sqlx",
        &[
            "src/ledger",
            "src/testing",
            "workers/src/store",
            "workers/tests",
            "tests",
            "server/src/loadtest",
            "server/tests",
        ],
    ),
    (
        "reqwest",
        &[
            "src/client/http",
            "workers/src/platforms",
            "workers/src/testing",
            "workers/tests",
            "server/src/cli",
            "server/src/loadtest",
            "server/tests",
        ],
    ),
    ("croner", &["src/job/schedule"]),
    ("schemars", &["server/src/app/types", "server/src/api"]),
    ("zip", &["server/src/api"]),
    ("argon2", &["server/src/auth"]),
    ("jsonwebtoken", &["server/src/auth"]),
    ("ratatui", &["server/src/cli/top"]),
    ("crossterm", &["server/src/cli/top"]),
    ("opentelemetry", &["workers/src/telemetry"]),
    ("opentelemetry_otlp", &["workers/src/telemetry"]),
    ("opentelemetry_sdk", &["workers/src/telemetry"]),
    ("tracing_opentelemetry", &["workers/src/telemetry"]),
];

/// A folder and the modules of ours that it must not name.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    ("src/job", &["crate::broker", "crate::ledger", "crate::worker", "crate::clock", "tokio::"]),
    ("src/broker", &["crate::ledger", "crate::worker", "crate::chore", "crate::client"]),
    ("src/ledger", &["crate::broker", "crate::worker", "crate::chore", "crate::client"]),
    ("src", &["postworks_workers", "postworks_server"]),
    ("workers/src", &["postworks_server"]),
    ("workers/src/platforms", &["crate::store", "crate::handlers"]),
    ("server/src/auth", &["axum", "crate::api", "crate::cli"]),
    ("server/src/api", &["node()"]),
    ("workers/src/handlers", &["tokio::time::sleep", "tracing::error", "tracing::warn"]),
];

/// What the application may ask of the node's own stores, which show every tenant's rows; everything
/// else it asks of its tenant's.
const OF_ALL_TENANTS: &[(&str, &[&str])] = &[
    // The fleet's, or the house's.
    (
        "mod.rs",
        &["node.ledger_of(", "node.producer.for_tenant(", "node.store.for_tenant(", "flush()"],
    ),
    ("access.rs", &["node.store."]),
    ("tenants.rs", &["node.store."]),
    ("gates.rs", &["node.ledger.wish(", "queue_holds()", "hold_applied("]),
    // A browser that comes back brings nothing that says whose it is.
    ("oauth.rs", &["node.store.take_oauth_state("]),
    // Nor does a platform that fetches an image, whose address we signed.
    ("media.rs", &["node.store.media("]),
    ("queues.rs", &["queue_holds()", "node.ledger.dead_counts()", "node.ledger.as_ref()"]),
    ("why.rs", &["queue_holds()"]),
    ("redrives.rs", &["node.ledger.redrives(true"]),
];

const LINES_MAX: usize = 450;
const BANNED_NAMES: &[&str] = &["manager", "helper", "util", "common", "misc"];
const SOURCES: &[&str] = &[
    "src",
    "tests",
    "benches",
    "examples",
    "workers/src",
    "workers/tests",
    "server/src",
    "server/tests",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let is_ours = !path.ends_with("node_modules") && !path.ends_with("target");
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 20, "found too few files to judge: {}", files.len());
    files
}

/// Lines of code: no comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether `line` names the crate `name` (`redis::`, `use redis`), not a module or word like it.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        // `broker::redis` is our own module.
        let starts = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        // apalis_core and apalis_redis count as apalis.
        let ends = after.starts_with("::") || after.starts_with('_') && name == "apalis";
        starts && ends
    })
}

fn within(file: &str, folder: &str) -> bool {
    Path::new(file).starts_with(folder)
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn each_library_is_named_only_where_it_belongs() {
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        for (library, folders) in NAMED_ONLY_IN {
            if folders.iter().any(|folder| within(&file, folder)) {
                continue;
            }
            for (at, _) in code(&text).filter(|(_, line)| names_crate(line, library)) {
                faults.push(format!("{file}:{}: names {library}", at + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_engine_speaks_no_http_unless_it_is_asked_to() {
    let libraries = |features: &[&str]| {
        let tree = ["tree", "--offline", "--package", "postworks", "--edges", "normal"];
        let mut cargo = Command::new(env!("CARGO"));
        let ran = cargo.args(tree).args(features).current_dir(root()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(!libraries(&[]).contains("reqwest v"));
    assert!(libraries(&["--features", "http-client"]).contains("reqwest v"));
}

#[test]
fn nothing_points_against_the_direction() {
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        for (folder, words) in MUST_NOT_KNOW.iter().filter(|(folder, _)| within(&file, folder)) {
            for (at, line) in code(&text) {
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    faults.push(format!("{file}:{}: {folder} must not know {word}", at + 1));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn the_application_asks_its_tenants_stores_and_not_the_nodes() {
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        let Some(name) = file.strip_prefix("server/src/app/") else { continue };
        let allowed = OF_ALL_TENANTS.iter().find(|(file, _)| *file == name);
        for (at, line) in code(&text) {
            let asks = ["node.ledger", "node.store", "node.producer"];
            let asks = asks.iter().any(|store| line.contains(store));
            let may = allowed.is_some_and(|(_, calls)| calls.iter().any(|c| line.contains(c)));
            if asks && !may {
                faults.push(format!("{file}:{}: asks for every tenant's rows", at + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn only_the_table_spells_a_metrics_name() {
    let mut faults = Vec::new();
    let names: Vec<&str> = postworks::telemetry::metrics::all().map(|metric| metric.name).collect();
    let of_programs = ["src", "workers/src", "server/src"];
    for (file, text) in rust_files() {
        if within(&file, "src/telemetry") || !of_programs.iter().any(|part| within(&file, part)) {
            continue;
        }
        for (at, line) in code(&text) {
            if let Some(name) = names.iter().find(|name| line.contains(&format!("\"{name}\""))) {
                faults.push(format!("{file}:{}: spells {name}", at + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn files_stay_small_and_are_named_for_what_they_do() {
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{file}: {lines} lines; divide it by responsibility"));
        }
        let stem = Path::new(&file).file_stem().unwrap().to_string_lossy().into_owned();
        if let Some(word) = BANNED_NAMES.iter().find(|word| stem.contains(**word)) {
            faults.push(format!("{file}: {word} says nothing; name what it does"));
        }
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") {
            faults.push(format!("{file}: must open with what it is for"));
        }
    }
    report(&faults);
}

#[test]
fn nothing_is_left_unfinished_or_skipped() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
        concat!("dbg", "!("),
    ];
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        for (at, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                faults.push(format!("{file}:{}: {mark}", at + 1));
            }
        }
    }
    report(&faults);
}
