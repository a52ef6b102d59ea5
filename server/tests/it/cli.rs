//! The command line from outside: exit codes, what is on stdout, and the API as its target.

use std::process::Stdio;

use postworks::job::Category;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{NOBODY, World};

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}", self.stderr))
    }
}

/// Runs the command with nothing in its environment but what is given.
pub(crate) async fn postworks(args: &[&str], vars: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_postworks"))
        .args(args)
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn a_command_that_cannot_work_says_why_and_what_to_do() {
    for (args, vars, code, words) in [
        (&["nonsense"][..], &[][..], 2, "unrecognized"),
        (&["job", "show", "x"], &[], 2, "a UUID"),
        (&["dlq", "retry"], &[], 2, "required"),
        (&["job", "list", "--server", "http://127.0.0.1:1"], &[], 69, "postworks up"),
        (&["job", "list"], &[("DATABASE_URL", "postgres://u:hush@h/d")], 78, "set both"),
        (&["api"], &[], 78, "postworks up"),
        (&["worker"], &[], 78, "DATABASE_URL"),
        (&["migrate"], &[], 78, "DATABASE_URL"),
        (&["up", "--listen", "0.0.0.0:7000"], &[], 78, "POSTWORKS_AUTH=on"),
        (&["apikey", "create", "--role", "root"], &[], 2, "readonly, producer, operator, admin"),
        (&["user", "list", "--server", "http://127.0.0.1:1"], &[], 2, "leave --server out"),
        (&["apikey", "revoke", "pw_1"], &[], 2, "invalid"),
        (&["worker", "--concurrency", "0"], &[], 78, "worker.concurrency (--concurrency)"),
        (&["config", "check"], &[("POSTWORKS__WORKR__GRACE", "1s")], 78, "did you mean worker?"),
        (&["--config", "/none", "config", "print"], &[], 78, "cannot be read"),
    ] {
        let ran = postworks(args, vars).await;
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(!ran.stderr.contains("hush"), "{args:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn the_configuration_is_printed_as_a_file_that_can_be_used() {
    let vars = [
        ("POSTWORKS__WORKER__CONCURRENCY", "7"),
        ("DATABASE_URL", "postgres://u:hush@h/d"),
        ("REDIS_URL", "redis://h"),
    ];
    let printed = postworks(&["config", "print"], &vars).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(printed.stdout.contains("concurrency = 7"), "{}", printed.stdout);
    assert!(!printed.stdout.contains("hush"), "{}", printed.stdout);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), printed.stdout).unwrap();
    let path = file.path().to_str().unwrap();
    let json = postworks(&["config", "print", "-o", "json"], &[("POSTWORKS_CONFIG", path)]).await;
    assert_eq!(json.json()["worker"]["concurrency"], 7);
}

#[tokio::test]
async fn jobs_are_handled_over_http() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let (connector, nobody) = (world.connector().await.to_string(), NOBODY.to_string());
    let arg = format!("connector_id={connector}");
    let args = ["enqueue", "connector_sync", "--arg", &arg, "--delay", "5m", "-o", "json"];
    let enqueued = postworks(&args, &vars).await;
    assert_eq!(enqueued.code, 0, "{}", enqueued.stderr);
    assert_eq!(enqueued.json()["state"], "delayed");
    let id = enqueued.json()["id"].as_str().unwrap().to_owned();
    let shown = postworks(&["job", "show", &id], &vars).await;
    assert!(shown.stdout.contains("connector_sync.sandbox"), "{}", shown.stdout);
    let listed = postworks(&["-o", "json", "job", "list", "--state", "delayed"], &vars).await;
    assert_eq!(listed.json()["items"][0]["args"], json!({"connector_id": connector}));
    let cancelled = postworks(&["job", "cancel", &id, "-o", "json"], &vars).await;
    assert_eq!(cancelled.json(), json!({"state": "cancelled"}));
    for (args, code, words) in [
        (&["job", "show", &nobody][..], 3, "there is no job"),
        (&["dlq", "show", &nobody], 3, "there is no dead letter"),
        (&["dlq", "retry", &nobody], 3, "none of these"),
        (&["enqueue", "data_cleanup", "--arg", "scop=jobs"], 2, "/args/scop"),
        (&["enqueue", "data_cleanup", "--json", "{"], 2, "no JSON"),
        (&["enqueue", "data_cleanup", "--debounce", "5s"], 2, "--unique-key"),
        (
            &["enqueue", "data_cleanup", "--unique-key", "k", "--unique-until", "now"],
            2,
            "ended or started",
        ),
        (&["enqueue", "data_cleanup", "--unique-key", "k", "--max-delay", "5s"], 2, "--debounce"),
        (
            &["enqueue", "data_cleanup", "--unique-key", "k", "--unique-for", "31d"],
            2,
            "/unique_for_ms",
        ),
        (&["job", "list", "--state", "done"], 2, "/state"),
    ] {
        let ran = postworks(args, &vars).await;
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    let dead = world.enqueue().await;
    world.complete(dead).await;
    let ended = postworks(&["job", "cancel", &dead.to_string()], &vars).await;
    assert_eq!(ended.code, 4, "{}", ended.stderr);
}

#[tokio::test]
async fn dead_letters_and_queues_are_handled_over_http() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str()), ("POSTWORKS_API_KEY", "hush")];
    let dead = world.enqueue().await;
    world.kill(dead, Category::Invalid).await;
    let listed = postworks(&["dlq", "list", "--filter", "category=invalid"], &vars).await;
    assert!(listed.stdout.contains(&dead.to_string()), "{}{}", listed.stdout, listed.stderr);
    for (args, state) in [
        (&["dlq", "retry", "--all", "--dry-run", "-o", "json"][..], "dead"),
        (&["dlq", "retry", "--filter", "kind=data_cleanup", "-o", "json"], "ready"),
    ] {
        let planned = postworks(args, &vars).await;
        assert_eq!(planned.json()["plan"]["runnable"], 1, "{args:?}: {}", planned.stderr);
        let shown = postworks(&["job", "show", &dead.to_string(), "-o", "json"], &vars).await;
        assert_eq!(shown.json()["state"], state, "{args:?}");
    }
    let queues = postworks(&["queue", "list"], &vars).await;
    assert!(queues.stdout.contains("connector_sync.sandbox"), "{}", queues.stderr);
    let doctor = postworks(&["doctor"], &vars).await;
    assert_eq!(doctor.code, 0, "{}{}", doctor.stdout, doctor.stderr);
}

#[tokio::test]
async fn an_account_is_connected_with_a_secret_from_a_file() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush\n").unwrap();
    let path = secret.path().to_str().unwrap();
    let add = |platform| {
        let url = url.clone();
        async move {
            let args = ["--server", &url, "connector", "add", "--platform", platform, "--base-url"];
            let more = ["http://127.0.0.1:1", "--identifier", "ann", "--secret-file", path];
            postworks(&[&args[..], &more[..]].concat(), &[]).await
        }
    };
    let added = add("sandbox").await;
    assert_eq!(added.code, 0, "{}", added.stderr);
    let listed = world.ask("GET", "/api/connectors").await;
    assert_eq!(listed.body["items"][0]["id"], added.stdout.trim());
    let refused = add("nothing").await;
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("/platform"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_postworks"))
        .args(["completions", "bash"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
