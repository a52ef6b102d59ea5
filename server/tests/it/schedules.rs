//! Schedules as people and programs handle them, and two workers of which one dies at the tick.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::cli::postworks;
use crate::fleet::{Fleet, LONG, now_ms, until};
use crate::world::World;

fn nightly() -> Value {
    json!({"name": "nightly", "cron": "30 2 * * *", "zone": "Europe/Berlin",
        "kind": "data_cleanup", "args": {"dry_run": true}})
}

#[tokio::test]
async fn a_schedule_that_makes_no_sense_is_refused_with_every_reason() {
    let world = World::start().await;
    let connector = uuid::Uuid::nil();
    for (change, field, words) in [
        (json!({"cron": "0 0 31 2 *"}), "/cron", "never comes"),
        (json!({"cron": "* * * * * *"}), "/cron", "five fields"),
        (json!({"cron": ""}), "/cron", "five fields"),
        (json!({"zone": "Europe/Berln"}), "/zone", "did you mean Europe/Berlin?"),
        (json!({"name": "At Night"}), "/name", "a-z"),
        (json!({"missed": "some"}), "/missed", "skip, once or all"),
        (json!({"missed": "all", "overlap": "skip"}), "/overlap", "must be allow"),
        (json!({"jitter_ms": 86_400_001}), "/jitter_ms", "24 h"),
        (json!({"kind": "data_cleanp"}), "/kind", "did you mean data_cleanup?"),
        (json!({"args": {"colour": 1}}), "/args/colour", "unknown field"),
        (json!({"priority": 9_999}), "/priority", "0 to 3600"),
        (
            json!({"kind": "connector_sync", "args": {"connector_id": connector}}),
            "/args/connector_id",
            "no connector",
        ),
    ] {
        let mut schedule = nightly();
        schedule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = world.post("/api/schedules", schedule).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
        let said = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(words), "{said}");
    }
    let many = json!({"name": "", "cron": "x", "zone": "y", "kind": "z"});
    let refused = world.post("/api/schedules", many).await;
    assert_eq!(refused.fields(), ["/name", "/cron", "/zone", "/kind"]);
    let made = world.post("/api/schedules", nightly()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!((&made.body["missed"], &made.body["overlap"]), (&"once".into(), &"skip".into()));
    world.post("/api/schedules", nightly()).await.assert_problem(409);
    let nobody = format!("/api/schedules/{}/run", uuid::Uuid::nil());
    world.post(&nobody, json!({})).await.assert_problem(404);
}

#[tokio::test]
async fn a_publication_is_not_published_again_and_again() {
    let world = World::start().await;
    let connector = world.connector().await;
    let post = world.post("/api/posts", json!({"text": "hello"})).await.body["id"].clone();
    let publish = json!({"post_id": post, "connector_ids": [connector]});
    let publication =
        world.post("/api/publish", publish).await.body["publications"][0]["id"].clone();
    let schedule = json!({"name": "again", "cron": "@daily", "kind": "post_publication",
        "args": {"publication_id": publication}});
    let refused = world.post("/api/schedules", schedule).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/kind"]);
}

#[tokio::test]
async fn an_account_that_is_given_up_takes_its_schedules_along() {
    let world = World::start().await;
    let connector = world.connector().await;
    let schedule = json!({"name": "sync", "cron": "*/15 * * * *", "kind": "connector_sync",
        "args": {"connector_id": connector}});
    let made = world.post("/api/schedules", schedule).await;
    assert_eq!(made.body["queue"], "connector_sync.sandbox");
    world.post("/api/schedules", nightly()).await;
    world.ask("DELETE", &format!("/api/connectors/{connector}")).await;
    let left = world.ask("GET", "/api/schedules").await.body;
    let names: Vec<&Value> =
        left["items"].as_array().unwrap().iter().map(|schedule| &schedule["name"]).collect();
    assert_eq!(names, ["nightly"]);
}

#[tokio::test]
async fn schedules_are_handled_from_the_command_line() {
    let world = World::start().await;
    let (url, _stop) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let add = [
        "schedule",
        "add",
        "nightly",
        "data_cleanup",
        "--cron",
        "30 2 * * *",
        "--zone",
        "europe/berlin",
        "--arg",
        "dry_run=true",
        "--jitter",
        "5m",
        "--reason",
        "as agreed",
    ];
    let added = postworks(&[&["-o", "json"][..], &add].concat(), &vars).await;
    assert_eq!(added.code, 0, "{}", added.stderr);
    let added = added.json();
    assert_eq!((&added["zone"], &added["jitter_ms"]), (&"Europe/Berlin".into(), &300_000.into()));
    assert_eq!(postworks(&add, &vars).await.code, 4, "the name is taken");
    let never = ["schedule", "add", "never", "data_cleanup", "--cron", "0 0 31 2 *"];
    let never = postworks(&never, &vars).await;
    assert_eq!(never.code, 2);
    assert!(never.stderr.contains("never comes"), "{}", never.stderr);

    let next = postworks(&["-o", "json", "schedule", "next", "nightly", "3"], &vars).await.json();
    let times = next["times"].as_array().unwrap();
    assert_eq!(times.len(), 3);
    assert_eq!(times[0]["at"], added["next_at"]);
    // On a day of change it is three o'clock.
    assert!(times.iter().all(|time| {
        let local = time["local"].as_str().unwrap();
        local.contains("T02:30:00+0") || local.contains("T03:00:00+02:00")
    }));

    let ran = postworks(&["-o", "json", "schedule", "run-now", "nightly"], &vars).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let job = ran.json()["id"].as_str().unwrap().to_owned();
    let again = postworks(&["schedule", "run-now", "nightly"], &vars).await;
    assert_eq!(again.code, 4, "its job is not done");
    assert!(again.stderr.contains(&job), "{}", again.stderr);
    let fires = postworks(&["schedule", "fires", "nightly"], &vars).await;
    assert!(fires.stdout.contains(&job) && fires.stdout.contains("a person"), "{}", fires.stdout);

    let paused = postworks(&["schedule", "pause", "nightly", "--reason", "we move"], &vars).await;
    assert!(paused.stdout.contains("we move"), "{}", paused.stdout);
    let listed = postworks(&["-o", "json", "schedule", "list"], &vars).await.json();
    assert_eq!(listed["items"][0]["next_at"], Value::Null);
    let id = added["id"].as_str().unwrap();
    let resumed = postworks(&["-o", "json", "schedule", "resume", id], &vars).await.json();
    assert_eq!(resumed["paused"], Value::Null);
    assert_eq!(postworks(&["schedule", "remove", "nightly"], &vars).await.code, 0);
    let gone = postworks(&["schedule", "next", "nightly"], &vars).await;
    assert_eq!(gone.code, 3);
    assert!(gone.stderr.contains("schedule list"), "{}", gone.stderr);
    let audit = world.ask("GET", "/api/audit?subject=nightly").await.body;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expected = ["add", "run_now", "pause", "resume", "remove"];
    assert_eq!(actions, expected.map(|action| format!("schedule.{action}")));
}

/// More than a scheduler takes at a time.
const SCHEDULES: usize = 600;

/// How many rows there are.
async fn count(conn: &mut PgConnection, sql: &'static str) -> usize {
    let count: i64 = sqlx::query_scalar(sql).fetch_one(conn).await.unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_the_tick_leaves_each_time_to_be_had_once() {
    const FIRES: &str = "SELECT count(*) FROM schedule_fires";
    // Who has the office is in the middle of its second transaction or a later one.
    const WRITES: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE state = 'active' AND query LIKE 'INSERT INTO schedule_fires%'";
    // The others would leave what is due to it for two seconds.
    const SLOW: &str = "CREATE FUNCTION slow() RETURNS trigger AS \
         $$ BEGIN PERFORM pg_sleep(0.25); RETURN NULL; END $$ LANGUAGE plpgsql; \
         CREATE TRIGGER slow AFTER INSERT ON schedule_fires FOR EACH STATEMENT \
         EXECUTE FUNCTION slow()";
    let fleet = Fleet::start().await;
    let mut workers = [fleet.worker(&[]).await, fleet.worker(&[]).await];
    for n in 0..SCHEDULES {
        // Once a year, on a day that is not this one.
        let schedule = json!({"name": format!("s{n}"), "cron": "0 0 29 2 *", "kind": "data_cleanup",
            "args": {"dry_run": true}, "missed": "skip"});
        fleet.client.http.post("/api/schedules", &schedule).await.expect(201);
    }
    let mut conn = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
    sqlx::raw_sql(SLOW).execute(&mut conn).await.unwrap();
    // Later than each of them looks again, so that both know of it.
    let due = now_ms() + 6_000;
    let tick = sqlx::query("UPDATE schedules SET next_at = $1").bind(due).execute(&mut conn).await;
    assert_eq!(usize::try_from(tick.unwrap().rows_affected()).unwrap(), SCHEDULES);
    until("the tick does not come", LONG, async || {
        let had = count(&mut conn, FIRES).await;
        assert!(had < SCHEDULES, "all were had before anybody was killed");
        had > 0 && count(&mut conn, WRITES).await > 0
    })
    .await;
    let holder = fleet.redis.command("GET postworks:chore:scheduler");
    let is_holder = |pid: u32| holder.contains(&format!(":{pid}:"));
    let at = workers.iter().position(|worker| is_holder(worker.pid())).expect("a holder");
    workers[at].kill9().await;
    let had = count(&mut conn, FIRES).await;
    assert!(had < SCHEDULES, "nothing was left to do");
    until("times are not had", LONG, async || count(&mut conn, FIRES).await == SCHEDULES).await;
    println!(
        "{had} of {SCHEDULES} times were had when a worker was killed, all of them in the end"
    );
    // Each schedule once, each with a job of its own, and no other job.
    let of = "SELECT count(DISTINCT schedule_id) FROM schedule_fires WHERE job_id IS NOT NULL";
    assert_eq!(count(&mut conn, of).await, SCHEDULES);
    let paired = "SELECT count(*) FROM jobs JOIN schedule_fires ON job_id = jobs.id";
    assert_eq!(count(&mut conn, paired).await, SCHEDULES);
    assert_eq!(count(&mut conn, "SELECT count(*) FROM jobs").await, SCHEDULES);
    until("jobs are not done", LONG, async || {
        count(&mut conn, "SELECT count(*) FROM jobs WHERE state = 'completed'").await == SCHEDULES
    })
    .await;
    workers[1 - at].must_run();
}
