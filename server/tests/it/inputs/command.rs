//! Client commands that cannot do what they were told: the exit code, the reason, the way out.

use std::process::Stdio;

use postworks::testing::postgres_server::PostgresServer;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cli::{Ran, postworks};
use crate::world::World;

/// A command's variables of the environment.
type Vars<'a> = &'a [(&'a str, &'a str)];

#[track_caller]
fn assert_refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "", "answers only on stdout");
    assert!(ran.stderr.starts_with("error: ") || ran.stderr.contains("Usage"), "{}", ran.stderr);
    for words in words {
        assert!(ran.stderr.contains(words), "{words:?} is missing in {}", ran.stderr);
    }
    for leak in ["hush", "panicked", "/src/"] {
        assert!(!ran.stderr.contains(leak), "{leak:?} is in {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_command_line_that_is_wrong_says_which_part_and_what_would_be_right() {
    for (args, words) in [
        (&["enqueue"][..], &["<KIND>"][..]),
        (&["enqueue", "data_cleanup", "--arg", "foo"], &["'foo'", "name=value"]),
        (&["enqueue", "data_cleanup", "--arg", "=x"], &["'=x'", "name=value"]),
        (
            &["enqueue", "data_cleanup", "--arg", "scope=jobs", "--arg", "scope=jobs"],
            &["--arg scope", "twice"],
        ),
        (&["enqueue", "data_cleanup", "--json", "{"], &["--json is no JSON"]),
        (&["enqueue", "data_cleanup", "--json", "[]"], &["--json", "an object"]),
        (&["enqueue", "data_cleanup", "--json", ""], &["--json is no JSON"]),
        (&["enqueue", "data_cleanup", "--json", "{}", "--arg", "a=b"], &["cannot be used with"]),
        (&["enqueue", "data_cleanup", "--run-at", "tomorrow"], &["RFC 3339"]),
        (&["enqueue", "data_cleanup", "--delay", "5x"], &["no duration such as"]),
        (&["enqueue", "data_cleanup", "--priority", "-1"], &["-1"]),
        (&["enqueue", "data_cleanup", "--max-attempts", "many"], &["'many'", "--max-attempts"]),
        (&["job", "list", "--limit", "x"], &["'x'", "--limit", "whole number"]),
        (&["job", "show", "1"], &["a UUID"]),
        (&["dlq", "retry", "--filter", "colour=red"], &["category, fingerprint, queue, kind"]),
        (&["dlq", "retry", "--filter", "category=nothing"], &["category", "use timeout, auth"]),
        (&["dlq", "discard", "--filter", "knd=x"], &["no such filter", "did you mean kind?"]),
        (&["dlq", "retry", "--filter", "kind=x", "--canary", "0"], &["--canary", "from 1 to 1000"]),
        (&["dlq", "retry", "--filter", "kind=x", "--rate", "0"], &["--rate", "from 1 to 10000"]),
        (&["dlq", "retry", "--filter", "kind=x", "--rate=-1"], &["--rate", "from 1 to 10000"]),
        (&["dlq", "retry", "--filter", "kind=x", "--rate", "1000000000"], &["from 1 to 10000"]),
        (&["dlq", "discard"], &["required"]),
        (&["dlq", "retry", "--filter", "kind=x", "--arg", "a=b"], &["cannot be used with"]),
        (&["dlq", "retry", "--filter", "kind=data_cleanup", "--filter", "kind=x"], &["twice"]),
        (&["job", "list", "--server", "ftp://x"], &["--server", "http://127.0.0.1:7000"]),
        (&["demo", "--jobs", "0"], &["1..=100000"]),
        (&["completions", "tcl"], &["bash"]),
    ] {
        assert_refused(&postworks(args, &[]).await, 2, words);
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("binary"), b"hush\xff").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    for (file, code, words) in [
        (path("missing"), 1, "No such file"),
        (folder.path().to_str().unwrap().to_owned(), 1, "directory"),
        (path("binary"), 1, "UTF-8"),
        (path("empty"), 2, "/secret: must not be empty"),
    ] {
        let args =
            ["connector", "add", "--platform", "sandbox", "--base-url", "http://127.0.0.1:1"];
        let more = ["--identifier", "ann", "--secret-file", &file, "--server", &url];
        let ran = postworks(&[&args[..], &more[..]].concat(), &[]).await;
        assert_refused(&ran, code, &[words]);
        assert!(code == 2 || ran.stderr.contains("--secret-file"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn arguments_from_stdin_that_are_no_text_are_refused() {
    for bytes in [&b"\xff\xfe"[..], b"", b"{\"scope\":"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postworks"))
            .args(["enqueue", "data_cleanup", "--json", "-"])
            .env_clear()
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--json"), "{stderr}");
    }
}

#[tokio::test]
async fn every_fault_of_environment_and_configuration_is_told_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[lease]\nrenew = \"1h\"\n[worker]\nconcurency = 3\n").unwrap();
    let vars = [
        ("POSTWORKS_CONFIG", file.path().to_str().unwrap()),
        ("DATABASE_URL", "mysql://u:hush@h/d"),
        ("REDIS_URL", "http://:hush@h"),
        ("POSTWORKS_KEYS", "k1:hush"),
        ("POSTWORKS_AUTH", "perhaps"),
        ("POSTWORKS__WORKER__GRACE", "soon"),
        ("POSTWORKS__RETENTION__JOBS_FILE", "/none"),
    ];
    let words = [
        "DATABASE_URL: must be an address that starts with postgres://",
        "REDIS_URL: must be an address that starts with redis://",
        "POSTWORKS_KEYS: key 1 (\"k1\")",
        "POSTWORKS_AUTH: must be on or off",
        "lease.renew",
        ":2)",
        "worker.concurency",
        "did you mean concurrency?",
        "worker.grace (POSTWORKS__WORKER__GRACE): \"soon\" is no duration",
        "POSTWORKS__RETENTION__JOBS_FILE",
    ];
    for args in [&["config", "check"][..], &["worker"], &["api"], &["up"], &["migrate"]] {
        let ran = postworks(args, &vars).await;
        assert_refused(&ran, 78, &words);
    }
    let doctor = postworks(&["doctor"], &vars).await;
    assert_eq!(doctor.code, 78);
    // Its lines are broken to fit a terminal.
    let told = doctor.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in words {
        assert!(told.contains(words), "{words:?} is missing in {}", doctor.stdout);
    }
    assert!(!doctor.stdout.contains("hush") && !doctor.stdout.contains("all right"));
}

#[tokio::test]
async fn one_address_without_the_other_or_of_another_scheme_is_a_fault_of_configuration() {
    for (vars, words) in [
        (&[("DATABASE_URL", "postgres://u:hush@h/d")][..], "REDIS_URL is not: set both"),
        (&[("REDIS_URL", "redis://h")], "DATABASE_URL is not: set both"),
        (&[("DATABASE_URL", "h:5432"), ("REDIS_URL", "redis://h")], "DATABASE_URL: must be"),
        (&[("DATABASE_URL", "postgres://h:99999/d"), ("REDIS_URL", "redis://h")], "DATABASE_URL"),
        (&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "h:6379")], "REDIS_URL: must be"),
        (&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h/x")], "REDIS_URL"),
        (&[("POSTWORKS_SERVER", "h:7000")], "POSTWORKS_SERVER: must be"),
    ] as [(Vars<'_>, &str); 7]
    {
        for args in [&["job", "list"][..], &["worker"]] {
            let keys = ("POSTWORKS_KEYS", "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
            let vars = [vars, &[keys]].concat();
            assert_refused(&postworks(args, &vars).await, 78, &[words]);
        }
    }
}

#[tokio::test]
async fn stores_that_cannot_be_reached_are_unavailable_and_no_keys_are_asked_for() {
    let vars = [
        ("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/d"),
        ("REDIS_URL", "redis://:hush@127.0.0.1:1"),
        ("POSTWORKS__LEDGER__ACQUIRE_TIMEOUT", "100ms"),
    ];
    let id = "0198f3a0-0000-7000-8000-000000000001";
    for args in [
        &["job", "list"][..],
        &["job", "show", id],
        &["job", "cancel", id],
        &["dlq", "list"],
        &["dlq", "retry", "--all", "--yes"],
        &["queue", "list"],
        &["connector", "list"],
        &["enqueue", "data_cleanup"],
        &["migrate"],
    ] {
        let ran = postworks(args, &vars).await;
        assert_refused(&ran, 69, &["ledger is unavailable", "DATABASE_URL"]);
    }
    let ran = postworks(&["queue", "list", "--server", "http://127.0.0.1:1"], &[]).await;
    assert_refused(&ran, 69, &["no answer from http://127.0.0.1:1", "postworks up"]);
}

#[tokio::test]
async fn missing_tables_and_keys_are_told_with_what_to_run_or_set() {
    let server = PostgresServer::launch().await;
    let (empty, full) = (server.url("postgres"), server.database().await);
    let redis = ("REDIS_URL", "redis://127.0.0.1:1");
    let keys = ("POSTWORKS_KEYS", "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let vars = [("DATABASE_URL", empty.as_str()), redis, keys];
    for args in [&["job", "list"][..], &["enqueue", "data_cleanup"], &["worker"], &["api"]] {
        assert_refused(&postworks(args, &vars).await, 78, &["run `postworks migrate`"]);
    }
    let vars = [("DATABASE_URL", full.as_str()), redis];
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush").unwrap();
    let args = ["connector", "add", "--platform", "bluesky", "--base-url", "https://bsky.social"];
    let more = ["--identifier", "ann", "--secret-file", secret.path().to_str().unwrap()];
    let ran = postworks(&[&args[..], &more[..]].concat(), &vars).await;
    assert_refused(&ran, 78, &["POSTWORKS_KEYS"]);
    let listed = postworks(&["job", "list", "-o", "json"], &vars).await;
    assert_eq!(listed.json()["items"], serde_json::json!([]), "who looks needs no keys");
    let accepted = postworks(&["enqueue", "data_cleanup", "-o", "json"], &vars).await;
    assert_eq!(accepted.json()["created"], true, "without Redis: the relay pushes it later");
}
