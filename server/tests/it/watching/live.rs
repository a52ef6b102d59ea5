//! Dashboards and rules over processes that live and work: everything that is asked has an answer.

use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::dashboards;
use crate::fleet::{Fleet, LONG, until};
use crate::prometheus::Prometheus;

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "a time of this century")]
fn now() -> f64 {
    SystemClock.now().as_millis() as f64 / 1_000.0
}

/// A little of everything that is counted.
async fn work(fleet: &Fleet, accounts: &[String]) {
    for account in accounts {
        let path = format!("/api/connectors/{account}/sync");
        let asked = fleet.client.http.post(&path, &json!({})).await;
        assert!(asked.status < 300, "{}", asked.body);
    }
    let refused = json!([{"op": "publish", "action": "error", "status": 422, "times": 2}]);
    fleet.sandbox.faults(refused).await;
    let dead = fleet.client.publish("what the platform will not have", accounts).await;
    for publication in dead {
        fleet.client.until_job(&publication.job, "dead", LONG).await;
    }
    let published = fleet.client.publish_many(20, accounts).await;
    fleet.client.until_published(&published, LONG).await;
    for page in ["/api/jobs", "/api/dlq", "/health"] {
        fleet.client.http.get(page).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_alert_has_an_answer_from_a_fleet_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let prometheus = Prometheus::start(folder.path(), 1).await;
    prometheus.scrape(&[("api", fleet.api.url()), ("worker", worker.url())]);
    until("nothing is scraped", LONG, async || {
        let up = prometheus.now("sum(up)").await.unwrap();
        up.first().is_some_and(|series| series.points[0].1 > 1.5)
    })
    .await;
    let from = now();
    let mut left = Vec::new();
    until("panels without data", LONG, async || {
        work(&fleet, &accounts).await;
        left.clear();
        for dashboard in dashboards::all() {
            let answers = dashboard.ask(&prometheus, (from, now()), 1.0).await;
            for answer in answers {
                let error = answer.series.as_ref().err();
                assert!(error.is_none(), "{answer:?}");
                if !answer.has_data() {
                    left.push(format!(
                        "{} / {}: {}",
                        answer.dashboard, answer.title, answer.expression
                    ));
                }
            }
        }
        println!("{} expressions without data yet:\n{}", left.len(), left.join("\n"));
        left.is_empty()
    })
    .await;
    alerts_are_sound(&prometheus).await;
}

/// Each rule was evaluated without an error, and says nothing that its template could not fill in.
async fn alerts_are_sound(prometheus: &Prometheus) {
    let mut rules = Vec::new();
    until("rules that were never looked at", Duration::from_secs(30), async || {
        rules = prometheus.alerts().await;
        rules.iter().all(|rule| rule["health"] != "unknown")
    })
    .await;
    assert!(rules.len() > 30, "{}", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        for alert in rule["alerts"].as_array().unwrap() {
            let words: Vec<&Value> = alert["annotations"].as_object().unwrap().values().collect();
            assert!(!words.iter().any(|text| text.as_str().unwrap().contains("<error")), "{alert}");
        }
    }
}
