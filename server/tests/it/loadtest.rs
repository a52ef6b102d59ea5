//! The load test itself: it finds something in every scenario, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fleet::{LONG, POSTWORKS, Process, run, until};

/// A few seconds of everything: plots are of whole seconds.
const TINY: &str = r#"
[system]
accounts = 120
concurrency = 50
[platform]
publish_p50 = "5ms"
publish_p99 = "10ms"
refresh_p50 = "5ms"
refresh_p99 = "10ms"
list_p50 = "5ms"
list_p99 = "10ms"
transient_percent = 0
limited_percent = 0
permanent_percent = 30
[database]
rate = 60
connections = 4
ramp = "200ms"
sustain = "1500ms"
[queue]
rate = 30
ramp = "200ms"
sustain = "1s"
[redis]
rate = 200
connections = 2
sustain = "1500ms"
[api]
rate = 40
connections = 4
sustain = "1500ms"
[failover]
pool_callers = 30
pool_connections = 20
pool_hold = "50ms"
rate = 20
apart = "400ms"
pending = 60
[breaking_point]
from = 20
to = 30
step = "500ms"
precision_percent = 50
"#;
/// How fast this machine is, is not what is tested.
const TARGETS: &str = r#"
[queue]
"Jobs: lost" = { at_most = 0 }
"Jobs: failed beyond the refusals asked for" = { at_most = 0 }
"Jobs: published twice" = { at_most = 0 }
"Jobs: made" = { at_least = 1 }
[failover]
"Redis restarted: jobs lost" = { at_most = 0 }
"Redis wiped: jobs lost" = { at_most = 0 }
"Redis wiped: published twice" = { at_most = 0 }
"Worker killed: jobs lost" = { at_most = 0 }
"Worker killed: published twice" = { at_most = 0 }
"#;
const SCENARIOS: [&str; 6] = ["database", "queue", "redis", "api", "failover", "breaking-point"];
/// Whatever else runs on this machine.
const PATIENCE: Duration = Duration::from_secs(240);

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Where a load test finds the programs that it starts.
fn path() -> (&'static str, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    ("PATH", format!("{path}:{root}/.tools/bin:{root}/.tools/postgres/bin"))
}

fn findings(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("report/findings.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Processes with these words in their environment.
fn with_in_environment(words: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter_map(|process| {
        let vars = fs::read(process.path().join("environ")).ok()?;
        let has = String::from_utf8_lossy(&vars).contains(words);
        has.then(|| fs::read_to_string(process.path().join("cmdline")).unwrap_or_default())
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_test_finds_something_in_every_scenario_and_ends_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let (profile, targets) =
        (write(folder.path(), "tiny.toml", TINY), write(folder.path(), "t.toml", TARGETS));
    let mark = uuid::Uuid::new_v4().to_string();
    let vars = [path(), ("LOADTEST_MARK", mark.clone())];
    let args = ["loadtest", "--profile", &profile, "--targets", &targets, "--out", "report"];
    let args = [&args[..], &["--seed", "7"]].concat();
    let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
    let (status, said) = test.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{said}{}", test.log());
    assert!(said.contains("9 of 9 targets held"), "{said}");

    let findings = findings(folder.path());
    assert_eq!((&findings["seed"], &findings["interrupted"]), (&7.into(), &false.into()));
    assert_eq!(findings["profile"], profile.as_str());
    assert_eq!((&findings["targets"], &findings["chosen"]), (&targets.as_str().into(), &json!([])));
    assert_eq!(findings["profile_digest"].as_str().map(str::len), Some(64));
    for (page, has) in [("report.md", "# "), ("report.html", "<svg")] {
        let text = fs::read_to_string(folder.path().join("report").join(page)).unwrap();
        assert!(text.contains(has) && text.contains("post_publication"), "{page}");
    }
    let report = folder.path().join("report").display().to_string();
    let compared = run(&["loadtest", "compare", &report, &report], &vars).await;
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    let scenarios = findings["scenarios"].as_array().unwrap();
    let names: Vec<_> = scenarios.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, SCENARIOS);
    for scenario in scenarios {
        assert_eq!(scenario["broke_off"], Value::Null, "{scenario}");
        for part in ["phases", "timings", "tables", "series"] {
            // The failover's phases and tables say what its arrivals do not.
            assert!(!scenario[part].as_array().unwrap().is_empty(), "{part} of {scenario}");
        }
        let counts = scenario["timings"].as_array().unwrap().iter();
        assert!(counts.map(|row| row["count"].as_u64().unwrap()).sum::<u64>() > 0, "{scenario}");
    }
    let capacity = &findings["capacity"];
    for known in [
        "sustainable_rate",
        "run_mean_ms",
        "redis_bytes_queued",
        "postgres_bytes",
        "postgres_wal_bytes",
        "cpu_s_per_1000",
    ] {
        assert!(!capacity[known].is_null(), "{known} is missing in {capacity}");
    }
    assert_eq!(capacity["redis_bytes_left"], 0.0, "{capacity}");
    assert_eq!(with_in_environment(&mark), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_test_reports_what_it_has_and_leaves_given_servers_as_they_were() {
    let redis = RedisServer::start();
    let postgres = PostgresServer::launch().await;
    redis.command("SET somebody.elses data");
    let before = names_on(&redis, &postgres).await;
    let folder = tempfile::tempdir().unwrap();
    // Once the first scenario is over, the second goes on for ever.
    let endless = format!("{TINY}\n").replace("sustain = \"1s\"", "sustain = \"1h\"");
    let profile = write(folder.path(), "endless.toml", &endless);
    let vars = [path(), ("DATABASE_URL", postgres.url("postgres")), ("REDIS_URL", redis.url())];
    let args = ["loadtest", "--profile", &profile, "--out", "report"];
    let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
    // A worker listens before the jobs come: with one that runs some the queue is under way.
    until("the queue is not under way", LONG, async || {
        redis.command("KEYS postworks_loadtest_*:{connector_sync.sandbox}:boot").contains("boot")
    })
    .await;
    assert!(with_in_environment(&redis.url()).len() > 2);
    test.signal(Signal::SIGINT);
    let (status, said) = test.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(75), "{said}{}", test.log());

    let findings = findings(folder.path());
    assert_eq!(findings["interrupted"], true);
    let scenarios = findings["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 2, "{scenarios:?}");
    assert_eq!(
        (&scenarios[0]["broke_off"], &scenarios[1]["broke_off"]),
        (&Value::Null, &"interrupted".into())
    );
    assert_eq!(with_in_environment(&redis.url()), Vec::<String>::new());
    assert_eq!(names_on(&redis, &postgres).await, before);
}

/// Every key, database and role.
async fn names_on(redis: &RedisServer, postgres: &PostgresServer) -> (String, Vec<String>) {
    const SQL: &str = "SELECT datname::text FROM pg_database UNION ALL \
                       SELECT rolname::text FROM pg_roles ORDER BY 1";
    let mut session = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    let names = sqlx::query_scalar(SQL).fetch_all(&mut session).await.unwrap();
    (redis.command("KEYS *"), names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_target_ends_with_1_and_nothing_is_left_on_given_servers() {
    let redis = RedisServer::start();
    // Without the roles that migrations make.
    let postgres = PostgresServer::launch_bare().await;
    redis.command("SET somebody.elses data");
    let before = names_on(&redis, &postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let profile = write(folder.path(), "tiny.toml", TINY);
    let targets = "[redis]\n'command all commands: p50_ms' = { at_most = 0.000001 }\n\
                   [queue]\n'Jobs: lost' = { at_most = 0 }\n'Jobs: found' = { at_most = 0 }";
    let targets = write(folder.path(), "t.toml", targets);
    let vars = [
        path(),
        ("DATABASE_URL", postgres.url("postgres")),
        ("REDIS_URL", redis.url()),
        ("TMPDIR", temporary.display().to_string()),
    ];
    let args = ["loadtest", "redis", "queue", "--profile", &profile, "--targets", &targets];
    let args = [&args[..], &["--out", "report"]].concat();
    let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
    let (status, said) = test.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(1), "{said}{}", test.log());
    assert!(said.contains("missed: redis, command all commands: p50_ms"), "{said}");
    let words = "one target was missed, one target was not measured";
    assert!(test.log().contains(words), "{}", test.log());
    let report = fs::read_to_string(folder.path().join("report/report.md")).unwrap();
    assert!(report.contains("Missed."), "{report}");
    assert_eq!(names_on(&redis, &postgres).await, before);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(with_in_environment(&redis.url()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_go_away_cost_no_findings_and_what_they_keep_is_told() {
    let mut redis = RedisServer::start_durable();
    let postgres = PostgresServer::launch_bare().await;
    let folder = tempfile::tempdir().unwrap();
    let endless = TINY.replace("sustain = \"1s\"", "sustain = \"1h\"");
    let profile = write(folder.path(), "endless.toml", &endless);
    let vars = [path(), ("DATABASE_URL", postgres.url("postgres")), ("REDIS_URL", redis.url())];
    let args = ["loadtest", "queue", "--profile", &profile, "--out", "report"];
    let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
    until("the queue is not under way", LONG, async || {
        redis.command("KEYS postworks_loadtest_*:{connector_sync.sandbox}:boot").contains("boot")
    })
    .await;
    redis.kill9();
    postgres.kill9();
    test.signal(Signal::SIGINT);
    let (status, said) = test.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(75), "{said}{}", test.log());
    let queue = &findings(folder.path())["scenarios"][0];
    assert_eq!(queue["broke_off"], "interrupted");
    for told in [&test.log(), &queue["notes"].to_string()] {
        assert!(told.contains("the database postworks_loadtest_"), "{told}");
        assert!(told.contains(":* are left behind in Redis"), "{told}");
    }
    assert!(test.log().contains("the servers could not be left as they were"), "{}", test.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_load_test_that_is_killed() {
    let redis = RedisServer::start();
    let postgres = PostgresServer::launch().await;
    let folder = tempfile::tempdir().unwrap();
    let endless = TINY.replace("sustain = \"1500ms\"", "sustain = \"1h\"");
    let endless = endless.replace("sustain = \"1s\"", "sustain = \"1h\"");
    assert_eq!(endless.matches("sustain = \"1h\"").count(), 4);
    let profile = write(folder.path(), "endless.toml", &endless);
    let vars = [path(), ("DATABASE_URL", postgres.url("postgres")), ("REDIS_URL", redis.url())];
    for (scenario, roles) in [("queue", ["worker", "sandbox"]), ("api", ["api", "sandbox"])] {
        let args = ["loadtest", scenario, "--profile", &profile, "--out", "report"];
        let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
        until("not all roles are there", LONG, async || {
            let running = with_in_environment(&redis.url());
            let runs =
                |role: &str| running.iter().any(|line| line.contains(&format!("\0{role}\0")));
            roles.into_iter().all(runs)
        })
        .await;
        test.kill9().await;
        until("its processes do not see its end", LONG, async || {
            with_in_environment(&redis.url()).is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_servers_are_neither_restarted_nor_wiped() {
    let redis = RedisServer::start();
    let postgres = PostgresServer::launch().await;
    let run_id = || {
        redis.command("INFO server").lines().find(|l| l.starts_with("run_id")).map(str::to_owned)
    };
    let (before, folder) = (run_id(), tempfile::tempdir().unwrap());
    let profile = write(folder.path(), "tiny.toml", TINY);
    let targets = write(folder.path(), "t.toml", TARGETS);
    let vars = [path()];
    let (database, redis_url) = (postgres.url("postgres"), redis.url());
    let crowd = write(folder.path(), "crowd.toml", "[system]\nworkers = 64\n[queue]\nrate = 1");
    let urls = ["--database-url", &database, "--redis-url", &redis_url];
    let out = folder.path().join("crowd").display().to_string();
    let crowded = [&["loadtest", "--profile", &crowd, "--out", &out][..], &urls].concat();
    let refused = run(&crowded, &vars).await;
    assert_eq!(refused.code, 69, "{}", refused.stderr);
    let words = "the scenario queue opens up to 1302 connections, and there is room for";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    let args = ["loadtest", "failover", "--profile", &profile, "--targets", &targets];
    let servers = ["--out", "report", "--database-url", &database, "--redis-url", &redis_url];
    let args = [&args[..], &servers].concat();
    let mut test = Process::start("loadtest", POSTWORKS, &args, &vars, folder.path());
    let (status, said) = test.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{said}{}", test.log());
    assert!(said.contains("not measured: failover, Redis wiped: jobs lost"), "{said}");
    assert!(before.is_some() && before == run_id());
    let findings = findings(folder.path());
    assert_eq!(findings["chosen"], json!(["failover"]));
    let failover = &findings["scenarios"][0];
    let tables = failover["tables"].as_array().unwrap();
    let killed = tables.iter().find(|table| table["title"] == "Worker killed").unwrap();
    let rows = killed["rows"].as_array().unwrap();
    let pending = rows.iter().find(|row| row["name"] == "jobs waiting").unwrap();
    assert!(pending["value"].as_f64().unwrap() >= 60.0, "{killed}");
    let notes = failover["notes"].to_string();
    assert!(notes.contains("Redis restarted and wiped: not measured"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let profile = write(folder.path(), "p.toml", "[queue]\nrat = 1\n[databse]\n");
    let nothing = || [("PATH", String::new())];
    let refused = run(&["loadtest", "--profile", &profile], &nothing()).await;
    assert_eq!(refused.code, 78, "{}", refused.stderr);
    assert!(refused.stderr.contains("queue.rat is no setting; did you mean rate?"));
    assert!(refused.stderr.contains("[databse] is no section; did you mean database?"));
    let refused = run(&["loadtest", "queu"], &nothing()).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let one = ["loadtest", "--redis-url", "redis://127.0.0.1:1"];
    let refused = run(&one, &nothing()).await;
    assert_eq!(refused.code, 78, "{}", refused.stderr);
    let both = [&one[..], &["--database-url", "postgres://ann:s3cret@127.0.0.1:1/x"]].concat();
    let refused = run(&both, &nothing()).await;
    assert_eq!(refused.code, 69, "{}", refused.stderr);
    assert!(!refused.stderr.contains("s3cret"), "{}", refused.stderr);
    let args = ["loadtest", "redis", "--out", "report"];
    let mut alone = Process::start("alone", POSTWORKS, &args, &nothing(), folder.path());
    assert_eq!(alone.ended(LONG).await.0.code(), Some(69), "{}", alone.log());
    assert!(alone.log().contains("no Redis or Valkey is installed"), "{}", alone.log());
    assert!(alone.log().contains("make setup"), "{}", alone.log());
    assert!(!folder.path().join("report").exists());
    let out = format!("{profile}/report");
    let refused = run(&["loadtest", "redis", "--out", &out], &nothing()).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("no report can be written"), "{}", refused.stderr);
    let missing = run(&["loadtest", "compare", "nowhere", "nowhere"], &nothing()).await;
    assert_eq!(missing.code, 3, "{}", missing.stderr);
}
