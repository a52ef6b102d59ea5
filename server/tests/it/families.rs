//! Jobs that wait for others, and publication sets, as people and programs handle them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Category;
use postworks::ledger::Families;
use serde_json::{Value, json};

use crate::cli::postworks;
use crate::fleet::{Fleet, LONG, run, until};
use crate::world::{NOBODY, World};

fn cleanup(change: &Value) -> Value {
    let mut job = json!({"kind": "data_cleanup", "args": {"dry_run": true}});
    job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    job
}

/// How often each word stands in this field of a list's items.
fn counted<'a>(list: &'a Value, field: &str) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for item in list.as_array().unwrap() {
        *counts.entry(item[field].as_str().unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn jobs_of_one_request_know_each_other_by_name() {
    let world = World::start().await;
    let first = world.enqueue().await;
    let bulk = json!({"jobs": [
        cleanup(&json!({"ref": "last", "after": ["left", "right"], "on_failure": "continue"})),
        cleanup(&json!({"ref": "left", "after": ["top"]})),
        cleanup(&json!({"ref": "right", "after": ["top", first]})),
        cleanup(&json!({"ref": "top"})),
    ]});
    let made = world.post("/api/jobs/bulk", bulk).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.body);
    let job = |n: usize| made.body["jobs"][n]["id"].as_str().unwrap().to_owned();
    let shown = world.ask("GET", &format!("/api/jobs/{}", job(2))).await.body;
    assert_eq!((&shown["state"], &shown["parked_for"]), (&"parked".into(), &"parents".into()));
    assert_eq!(shown["parents"].as_array().unwrap().len(), 2, "{shown}");
    let why = world.ask("GET", &format!("/api/jobs/{}/why", job(2))).await.body;
    assert_eq!(why["reason"], "parents");
    let said = why["detail"].as_str().unwrap();
    assert!(said.contains("2 of 2 parents") && said.contains(&first.to_string()), "{said}");

    world.complete(first).await;
    let families = Families::new(world.node.store.db().clone());
    families.tell(world.node.clock.now(), 100).await.unwrap();
    let why = world.ask("GET", &format!("/api/jobs/{}/why", job(2))).await.body;
    assert!(why["detail"].as_str().unwrap().contains("1 of 2 parents"), "{why}");
    let shown = world.ask("GET", &format!("/api/jobs/{}", job(2))).await.body;
    assert_eq!(counted(&shown["parents"], "state")["completed"], 1);
    assert!(world.ask("GET", "/api/jobs").await.body["items"][0].get("parents").is_none());
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused_with_its_place_and_a_reason() {
    let world = World::start().await;
    let dead = world.enqueue().await;
    world.kill(dead, Category::Invalid).await;
    let named = |name: &str, after: Value| cleanup(&json!({"ref": name, "after": after}));
    let many: Vec<Value> = (0..101).map(|n| json!(uuid::Uuid::from_u128(n))).collect();
    for (jobs, field, words) in [
        (json!([named("a", json!(["b"])), named("b", json!(["a"]))]), "/jobs/0/after", "a → b → a"),
        (json!([named("a", json!(["a"]))]), "/jobs/0/after/0", "the job itself"),
        (json!([named("a", json!(["c"]))]), "/jobs/0/after/0", "called so"),
        (json!([named("a", json!([])), named("a", json!([]))]), "/jobs/1/ref", "already"),
        (json!([named(&NOBODY.to_string(), json!([]))]), "/jobs/0/ref", "like an id"),
        (json!([named("a", json!([])), named("b", json!(["a", "a"]))]), "/jobs/1/after/1", "twice"),
        (json!([{}, named("b", json!([NOBODY]))]), "/jobs/1/after/0", "no job"),
        (json!([{}, named("b", json!([dead]))]), "/jobs/1/after/0", "dead already"),
        (json!([cleanup(&json!({"on_failure": "fail"}))]), "/jobs/0/on_failure", "after"),
        (json!([named("a", json!(many))]), "/jobs/0/after", "at most 100"),
    ] {
        let mut jobs = jobs;
        for job in jobs.as_array_mut().unwrap().iter_mut().filter(|job| *job == &json!({})) {
            *job = cleanup(&json!({}));
        }
        let before = world.jobs().await;
        let refused = world.post("/api/jobs/bulk", json!({ "jobs": jobs })).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
        let said = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(words), "{said}");
        assert_eq!(world.jobs().await, before, "all or nothing");
    }
    let refused = world.post("/api/jobs", cleanup(&json!({"after": [dead]}))).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/after/0"]);
    let unclear = world.post("/api/jobs", cleanup(&json!({"on_failure": "ignore"}))).await;
    unclear.assert_problem(422);
    let brave = cleanup(&json!({"after": [dead], "on_failure": "continue"}));
    let brave = world.post("/api/jobs", brave).await;
    assert_eq!((brave.status, &brave.body["state"]), (StatusCode::ACCEPTED, &"ready".into()));
}

#[tokio::test]
async fn a_job_waits_for_others_from_the_command_line() {
    let world = World::start().await;
    let (url, _stop) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let (one, two) = (world.enqueue().await.to_string(), world.enqueue().await.to_string());
    let enqueue = ["enqueue", "data_cleanup", "--after", &one, &two, "--on-failure", "continue"];
    let made = postworks(&[&["-o", "json"][..], &enqueue].concat(), &vars).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made = made.json();
    assert_eq!(made["state"], "parked");
    let id = made["id"].as_str().unwrap();
    let why = postworks(&["job", "why", id], &vars).await;
    assert!(why.stdout.contains("2 of 2 parents"), "{}", why.stdout);
    let shown = postworks(&["job", "show", id], &vars).await.stdout;
    assert!(shown.contains("PARENT") && shown.contains(&one) && shown.contains(&two), "{shown}");
    let nobody =
        postworks(&["enqueue", "data_cleanup", "--after", &NOBODY.to_string()], &vars).await;
    assert_eq!(nobody.code, 2, "{}", nobody.stderr);
    assert!(nobody.stderr.contains("no job"), "{}", nobody.stderr);
    assert_eq!(
        postworks(&["enqueue", "data_cleanup", "--on-failure", "fail"], &vars).await.code,
        2
    );
}

impl Fleet {
    /// Publishes on these accounts with a callback; answers what the API does.
    async fn publish_set(&self, accounts: &[String], at: Option<&str>) -> Value {
        let http = &self.client.http;
        let post = http.post("/api/posts", &json!({"text": "for everybody"})).await.expect(201);
        let mut publish = json!({"post_id": post["id"], "connector_ids": accounts,
            "callback": {"kind": "data_cleanup", "args": {"dry_run": true}}});
        if let Some(at) = at {
            publish["at"] = at.into();
        }
        http.post("/api/publish", &publish).await.expect(202)
    }

    /// How often the platform has the post.
    fn out(&self) -> usize {
        let journal = self.sandbox.journal().0;
        journal.iter().filter(|entry| entry.text.as_deref() == Some("for everybody")).count()
    }

    async fn shown_set(&self, id: &Value) -> Value {
        let path = format!("/api/sets/{}", id.as_str().unwrap());
        self.client.http.get(&path).await.expect(200)
    }

    async fn until_called_back(&self, id: &Value) -> Value {
        until("the callback has not run", LONG, async || {
            self.shown_set(id).await["callback"]["state"] == "completed"
        })
        .await;
        let job = self.shown_set(id).await["callback"]["job_id"].as_str().unwrap().to_owned();
        self.client.job(&job).await
    }
}

/// One account of five refuses the post: the set is partly published, its callback runs once and sees
/// what became of each. Put back once the account is well again, it is complete, and is called back
/// once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_set_is_called_back_once_and_sees_how_each_ended() {
    let fleet = Fleet::start().await;
    let _workers = fleet.workers(2, &[]).await;
    let accounts = fleet.connect("sandbox", 5).await;
    let refuses =
        json!([{ "op": "publish", "account": "sandbox-3", "action": "error", "status": 422 }]);
    fleet.sandbox.faults(refuses).await;
    let made = fleet.publish_set(&accounts, None).await;
    let set_id = &made["set_id"];

    let first = fleet.until_called_back(set_id).await;
    assert_eq!(
        counted(&first["parents"], "state"),
        BTreeMap::from([("completed", 4), ("dead", 1)])
    );
    assert_eq!(first["attempt"], 1, "{first}");
    let set = fleet.shown_set(set_id).await;
    assert_eq!(set["state"], "partly", "{set}");
    assert!(set["finished_at"].is_string());
    let publications = &set["publications"];
    assert_eq!(counted(publications, "state"), BTreeMap::from([("failed", 1), ("published", 4)]));
    let vars = [("POSTWORKS_SERVER", fleet.api.url().to_owned())];
    let shown = run(&["set", "show", set_id.as_str().unwrap()], &vars).await;
    assert!(shown.stdout.contains("partly") && shown.stdout.contains("failed"), "{}", shown.stdout);

    fleet.sandbox.faults(json!([])).await;
    let retry = ["set", "retry", set_id.as_str().unwrap(), "--reason", "it is well", "-o", "json"];
    let retried = run(&retry, &vars).await.json();
    assert_eq!(retried["plan"]["runnable"], 1, "{retried}");
    let second = retried["callback_job_id"].as_str().unwrap();
    assert_ne!(first["id"], second);
    let second = fleet.client.until_job(second, "completed", LONG).await;
    assert_eq!(counted(&second["parents"], "state"), BTreeMap::from([("completed", 5)]));
    let set = fleet.shown_set(set_id).await;
    assert_eq!((&set["state"], &set["callback"]["job_id"]), (&"completed".into(), &second["id"]));
    // Nothing is dead any more, so nothing happens.
    let again = run(&retry, &vars).await.json();
    assert_eq!((&again["plan"]["matched"], &again["callback_job_id"]), (&json!(0), &Value::Null));
    assert_eq!(fleet.out(), 5, "each is there once");
    let audit = fleet.client.http.get("/api/audit?action=set.retry").await.expect(200);
    assert_eq!(audit["items"][0]["count"], 1, "{audit}");
}

/// A set that is cancelled before its time sends nothing, and its callback sees that.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_set_sends_nothing_and_is_called_back() {
    let fleet = Fleet::start().await;
    let _worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 5).await;
    let later = an_hour_ahead();
    let made = fleet.publish_set(&accounts, Some(&later)).await;
    let set_id = &made["set_id"];
    let set = fleet.shown_set(set_id).await;
    assert_eq!((&set["state"], &set["callback"]["state"]), (&"open".into(), &"parked".into()));
    assert_eq!(set["finished_at"], Value::Null);
    let vars = [("POSTWORKS_SERVER", fleet.api.url().to_owned())];
    let cancel = ["set", "cancel", set_id.as_str().unwrap(), "-o", "json"];
    let cancelled = run(&cancel, &vars).await.json();
    assert_eq!(cancelled["cancelled"].as_array().unwrap().len(), 5, "{cancelled}");
    let callback = fleet.until_called_back(set_id).await;
    assert_eq!(counted(&callback["parents"], "state"), BTreeMap::from([("cancelled", 5)]));
    assert_eq!(fleet.shown_set(set_id).await["state"], "failed");
    let again = run(&cancel, &vars).await.json();
    assert_eq!(again["ended"].as_array().unwrap().len(), 5, "{again}");
    assert_eq!(fleet.out(), 0);
    assert_eq!(run(&["set", "show", &NOBODY.to_string()], &vars).await.code, 3);
}

/// An hour from now.
fn an_hour_ahead() -> String {
    SystemClock.now().after(Duration::from_secs(3_600)).to_string()
}

#[tokio::test]
async fn a_callback_that_makes_no_sense_is_refused() {
    let world = World::start().await;
    let connector = world.connector().await;
    let post = world.post("/api/posts", json!({"text": "hello"})).await.body["id"].clone();
    for (callback, field) in [
        (json!({"kind": "data_cleanp"}), "/callback/kind"),
        (json!({"kind": "data_cleanup", "args": {"colour": 1}}), "/callback/args/colour"),
        (
            json!({"kind": "connector_sync", "args": {"connector_id": NOBODY}}),
            "/callback/args/connector_id",
        ),
    ] {
        let publish = json!({"post_id": post, "connector_ids": [connector], "callback": callback});
        let refused = world.post("/api/publish", publish).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
    }
    assert_eq!(world.jobs().await, 0);
    world.ask("GET", &format!("/api/sets/{NOBODY}")).await.assert_problem(404);
}
