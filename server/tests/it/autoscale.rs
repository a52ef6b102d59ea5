//! What those are told who start workers, and those who scrape them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fleet::{ANY, Client, Fleet, LONG, Process, until};
use crate::world::World;

/// What Prometheus finds, by role.
async fn pages(client: &Client, role: &str) -> Vec<String> {
    let groups = client.http.get("/sd/prometheus").await.expect(200);
    let group = groups.as_array().unwrap().iter().find(|group| group["labels"]["role"] == role);
    let targets = group.map_or(Value::Null, |group| group["targets"].clone());
    let targets = targets.as_array().cloned().unwrap_or_default();
    targets.iter().map(|target| target.as_str().unwrap().to_owned()).collect()
}

fn page(process: &Process) -> String {
    process.url().trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn what_nobody_knows_is_null_and_a_queue_that_is_not_there_is_told() {
    let world = World::start().await;
    let answer = world.ask("GET", "/api/autoscale").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({
            "ready": 0, "oldest_age_seconds": null, "mean_run_seconds": null,
            "busy_slots": 0, "slots": 0, "workers": 0, "desired_workers": 1,
        })
    );
    assert_eq!(world.ask("GET", "/api/autoscale?queue=post_publication.*").await.status, 200);
    let answer = world.ask("GET", "/api/autoscale?queue=data_cleanpu").await;
    answer.assert_problem(404);
    assert!(answer.body.to_string().contains("data_cleanup"), "{}", answer.body);
    for wrong in ["queue=a%20b", "queue=data_cleanup**", "queue=", "queu=data_cleanup"] {
        let answer = world.ask("GET", &format!("/api/autoscale?{wrong}")).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields().len(), 1, "{}", answer.body);
    }
    assert_eq!(world.ask("GET", "/sd/prometheus").await.body, json!([]));
    let world = World::without_broker().await;
    world.ask("GET", "/api/autoscale").await.assert_problem(503);
    world.ask("GET", "/sd/prometheus").await.assert_problem(503);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_has_just_started_knows_the_fleets_run_time_and_sends_nobody_home() {
    let fleet = Fleet::start().await;
    let _first = fleet.worker(&["--concurrency", "7"]).await;
    let queues = ["--concurrency", "5", "--queues", "connector_sync.*"];
    let _second = fleet.worker(&queues).await;
    fleet.sandbox.slow_down(300).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let published = fleet.client.publish_many(3, &accounts).await;
    fleet.client.until_published(&published, LONG).await;
    let mut api = fleet.command("api", &["api", "--listen", ANY]);
    let client = Client::new(&api.listening("api").await);
    let mut said = Value::Null;
    // A worker says anew how long its runs took several times in a lease.
    until("the run time is known", LONG, async || {
        said = client.http.get("/api/autoscale?queue=post_publication.sandbox").await.expect(200);
        !said["mean_run_seconds"].is_null()
    })
    .await;
    assert!(said["mean_run_seconds"].as_f64().unwrap() >= 0.3, "{said}");
    assert_eq!((&said["workers"], &said["slots"]), (&json!(1), &json!(7)), "{said}");
    let all = client.http.get("/api/autoscale").await.expect(200);
    assert_eq!((&all["workers"], &all["slots"]), (&json!(2), &json!(12)), "{all}");
    // One would do for what there is, but it has not looked for long enough to say so.
    assert_eq!(all["desired_workers"], 2, "{all}");
    let metric = client.http.metric("postworks_autoscale_running_workers").await;
    assert!((metric - 2.0).abs() < f64::EPSILON, "{metric}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_who_lives_and_loses_who_is_gone() {
    let settings = [("POSTWORKS__LEASE__DURATION", "2s"), ("POSTWORKS__LEASE__RENEW", "200ms")];
    let mut fleet = Fleet::start_with(&settings).await;
    let mut killed = fleet.worker(&[]).await;
    let mut stopped = fleet.worker(&[]).await;
    fleet.set("POSTWORKS__WORKER__ADVERTISE", "worker-3.example:80");
    let _advertised = fleet.worker(&[]).await;
    let mut all = vec![page(&killed), page(&stopped), "worker-3.example:80".to_owned()];
    all.sort();
    // A process says that it lives just after it listens.
    until("all are known", LONG, async || pages(&fleet.client, "worker").await == all).await;
    assert_eq!(pages(&fleet.client, "api").await, [page(&fleet.api)]);
    // A Redis that forgets is told again.
    fleet.redis.command("FLUSHALL");
    let told =
        until("all are known again", LONG, async || pages(&fleet.client, "worker").await == all);
    assert!(told.await < Duration::from_secs(10));
    stopped.signal(Signal::SIGTERM);
    stopped.ended(LONG).await;
    all.retain(|one| *one != page(&stopped));
    assert_eq!(pages(&fleet.client, "worker").await, all);
    killed.kill9().await;
    all.retain(|one| *one != page(&killed));
    let gone =
        until("the dead one is gone", LONG, async || pages(&fleet.client, "worker").await == all);
    println!("a killed worker was no target any more after {:?}", gone.await);
}
