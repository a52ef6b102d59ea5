//! Requests that cannot be taken back, and whose outcome somebody knows, or nobody.

use postworks_server::sandbox::Op;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::task::block_in_place;

use crate::fleet::{Fleet, LONG, Process, Publication, Ran, run, until};

const MISSING: &str = "0198f3a0-0000-7000-8000-000000000001";
/// How long the platform keeps its answer back, in milliseconds: longer than a store takes to die.
const LATENCY_MS: u32 = 3_000;

/// How often the platform has a post with this text.
fn copies(fleet: &Fleet, text: &str) -> usize {
    let journal = fleet.sandbox.journal().0;
    let found = journal
        .iter()
        .filter(|entry| entry.op == Op::Publish && entry.text.as_deref() == Some(text));
    found.count()
}

/// What the platform has answered is known to the worker alone while the ledger is away, and is
/// neither lost nor asked again: also not where nothing could be asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_came_while_the_ledger_was_away_is_recorded_when_it_is_back() {
    let fleet = Fleet::start().await;
    let mut worker = fleet.worker(&[]).await;
    let mut accounts = Vec::new();
    for platform in ["sandbox", "sandbox_lookup", "sandbox_blind"] {
        accounts.extend(fleet.connect(platform, 1).await);
    }
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let words = "answered while the ledger was away";
    let publications = fleet.client.publish(words, &accounts).await;
    until("the platform has too few", LONG, async || copies(&fleet, words) == 3).await;
    block_in_place(|| fleet.postgres.kill9());
    let waiting = "cannot settle now";
    until("the answers are not kept", LONG, async || worker.log().matches(waiting).count() >= 3)
        .await;
    block_in_place(|| fleet.postgres.start());
    fleet.client.until_published(&publications, LONG).await;
    for publication in &publications {
        let job = fleet.client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "it was not run again: {job}");
    }
    assert_eq!(copies(&fleet, words), 3);
    worker.must_run();
}

/// An operator in the night, with a fleet in which two answers were lost on a platform that cannot
/// be asked: one post is out, the other is not.
struct Night {
    fleet: Fleet,
    vars: Vec<(&'static str, String)>,
    there: Publication,
    absent: Publication,
    _worker: Process,
}

impl Night {
    async fn begin(over_http: bool) -> Self {
        let fleet = Fleet::start().await;
        let worker = fleet.worker(&[]).await;
        let account = fleet.connect("sandbox_blind", 1).await;
        let mut lost = Vec::new();
        for (text, action) in [("there", "drop_after"), ("absent", "drop_before")] {
            fleet.sandbox.faults(json!([{ "op": "publish", "action": action }])).await;
            let publication = fleet.client.publish(text, &account).await.remove(0);
            let job = fleet.client.until_job(&publication.job, "dead", LONG).await;
            assert_eq!(job["reason"]["category"], "unknown_outcome");
            lost.push(publication);
        }
        fleet.sandbox.faults(json!([])).await;
        let api = vec![("POSTWORKS_SERVER", fleet.api.url().to_owned())];
        let vars = if over_http { api } else { fleet.vars().to_vec() };
        let (absent, there) = (lost.remove(1), lost.remove(0));
        Self { fleet, vars, there, absent, _worker: worker }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        run(args, &self.vars).await
    }

    async fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["-o", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.json()
    }

    /// Lets the requests' time pass.
    async fn goes_on(&self) {
        const SQL: &str = "UPDATE publications SET begun_at = begun_at - 60000, \
             send_by = send_by - 60000 WHERE state = 'sending'";
        let url = self.fleet.postgres.url("postgres");
        let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
        let aged = sqlx::query(SQL).execute(&mut conn).await.unwrap();
        assert_eq!(aged.rows_affected(), 2);
    }

    async fn too_early(&self) {
        let none = self.json(&["effects", "list"]).await;
        assert_eq!(none, json!({ "items": [], "next": null }));
        let early = self.run(&["effects", "resolve", &self.there.id, "--as", "published"]).await;
        assert_eq!(early.code, 4, "{}", early.stderr);
        assert!(early.stderr.contains("may be under way"), "{}", early.stderr);
    }

    async fn sees_what_is_open(&self) {
        let open = self.json(&["effects", "list"]).await;
        let ids = open["items"].as_array().unwrap().iter().map(|item| &item["id"]);
        assert_eq!(ids.collect::<Vec<_>>(), [self.absent.id.as_str(), self.there.id.as_str()]);
        let item = &open["items"][1];
        for (field, value) in [
            ("job_id", self.there.job.as_str()),
            ("job_state", "dead"),
            ("platform", "sandbox_blind"),
            ("identifier", "sandbox_blind-0"),
            ("needs", "person"),
        ] {
            assert_eq!(item[field], value, "{item}");
        }
        assert!(item["begun_at"].is_string() && item["send_by"].is_string(), "{item}");
        assert!(item["worker"].as_str().unwrap().contains(':'), "{item}");
        assert!(item["error"].as_str().unwrap().contains("connection"), "{item}");
        let table = self.run(&["effects", "list"]).await.stdout;
        assert!(table.contains("effects resolve ID") && table.contains(&self.there.id), "{table}");
        for args in [&["dlq", "list"][..], &["dlq", "show", &self.there.job]] {
            let hinted = self.run(args).await.stdout;
            assert!(hinted.contains("postworks effects list"), "{hinted}");
        }
        // Putting them back would not help, whoever asks.
        for args in [&["dlq", "retry", &self.there.job][..], &["dlq", "retry", "--all", "--yes"]] {
            let plan = &self.json(args).await["plan"];
            assert_eq!((&plan["runnable"], plan["unknown"] == plan["matched"]), (&json!(0), true));
        }
    }

    async fn settles_what_is_there(&self) {
        let (id, job) = (self.there.id.as_str(), self.there.job.as_str());
        // As it is copied from a page.
        let resolve = ["effects", "resolve", id, "--as", "published", "--remote-id", " seen\n"];
        let resolved = self.json(&resolve).await;
        assert_eq!(
            (&resolved["state"], &resolved["job_state"]),
            (&json!("published"), &json!("completed"),)
        );
        assert_eq!(self.run(&["dlq", "show", job]).await.code, 3, "its letter is gone");
        let path = format!("/api/publications/{id}");
        let shown = self.fleet.client.http.get(&path).await.expect(200);
        assert_eq!(shown["remote_id"], "seen");
        let again = self.run(&resolve).await;
        assert_eq!(again.code, 4, "{}", again.stderr);
        assert!(again.stderr.contains("it is published"), "{}", again.stderr);
    }

    /// The post of one is not the other's, too.
    async fn looks_at_the_same_post_twice(&self) {
        let open = self.json(&["effects", "list"]).await;
        let words = format!("post seen is publication {}'s already", self.there.id);
        let resolve = ["effects", "resolve", &self.absent.id, "--as", "published", "--remote-id"];
        let refused = self.run(&[&resolve[..], &["seen"]].concat()).await;
        assert_eq!(refused.code, 4, "{}", refused.stderr);
        for part in [words.as_str(), "say --as absent"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
        let path = format!("/api/effects/{}/resolve", self.absent.id);
        let body = json!({ "as": "published", "remote_id": "\tseen " });
        let refused = self.fleet.client.http.post(&path, &body).await.expect(409);
        assert!(refused["detail"].as_str().unwrap().contains(&words), "{refused}");
        assert_eq!(self.json(&["effects", "list"]).await, open);
        let noted = self.json(&["audit", "list", "--action", "effects.resolve"]).await;
        assert_eq!(noted["items"].as_array().unwrap().len(), 1, "what was settled: {noted}");
    }

    async fn settles_what_is_absent(&self, in_one_step: bool) {
        let resolve = ["effects", "resolve", &self.absent.id, "--as", "absent"];
        if in_one_step {
            let resolved = self.json(&[&resolve[..], &["--retry"]].concat()).await;
            assert_eq!(resolved["state"], "scheduled");
        } else {
            let resolved = self.run(&resolve).await;
            let next = format!("postworks dlq retry {}", self.absent.job);
            assert!(resolved.stdout.contains(&next), "{}{}", resolved.stdout, resolved.stderr);
            let planned = self.json(&["dlq", "retry", "--all", "--yes"]).await;
            assert_eq!(planned["plan"]["runnable"], 1, "nothing is unknown about it any more");
        }
        self.fleet.client.until_published(std::slice::from_ref(&self.absent), LONG).await;
        assert_eq!((copies(&self.fleet, "there"), copies(&self.fleet, "absent")), (1, 1));
        assert!(self.fleet.client.jobs("dead").await.is_empty());
    }

    async fn is_told_what_is_wrong(&self) {
        for (args, code, words) in [
            (&["effects", "resolve", MISSING, "--as", "absent"][..], 3, "no publication"),
            (&["effects", "resolve", &self.absent.id, "--as", "absent"], 4, "it is published"),
            (&["effects", "resolve", MISSING, "--as", "gone"], 2, "possible values"),
            (&["effects", "resolve", MISSING], 2, "--as"),
            (&["effects", "resolve", MISSING, "--as", "published", "--retry"], 2, "/retry"),
            (&["effects", "resolve", MISSING, "--as", "absent", "--remote-id", "x"], 2, "/remote"),
            (
                &["effects", "resolve", MISSING, "--as", "published", "--remote-id", " "],
                2,
                "/remote",
            ),
            (&["effects", "list", "--cursor", "x"], 2, "/cursor"),
        ] {
            let ran = self.run(args).await;
            assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
        }
    }

    async fn ends(&self, in_one_step: bool) {
        self.too_early().await;
        self.goes_on().await;
        self.sees_what_is_open().await;
        self.settles_what_is_there().await;
        self.looks_at_the_same_post_twice().await;
        self.settles_what_is_absent(in_one_step).await;
        self.is_told_what_is_wrong().await;
        assert_eq!(self.json(&["effects", "list"]).await["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_settled_over_http() {
    Night::begin(true).await.ends(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_settled_on_the_stores_directly() {
    Night::begin(false).await.ends(false).await;
}

/// The worker dies with the answer: who takes over asks where it can, repeats where the platform
/// knows the key, and leaves the rest to a person.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_died_with_its_worker_is_found_out_where_that_can_be() {
    let fleet = Fleet::start().await;
    let mut doomed = fleet.worker(&[]).await;
    let mut accounts = Vec::new();
    for platform in ["sandbox", "sandbox_lookup", "sandbox_blind"] {
        accounts.extend(fleet.connect(platform, 1).await);
    }
    fleet.sandbox.faults(json!([{ "op": "publish", "action": "hang" }])).await;
    let words = "its worker died";
    let publications = fleet.client.publish(words, &accounts).await;
    until("the platform has too few", LONG, async || copies(&fleet, words) == 3).await;
    doomed.kill9().await;
    fleet.sandbox.faults(json!([])).await;
    let mut successor = fleet.worker(&[]).await;
    fleet.client.until_published(&publications[..2], LONG).await;
    let job = fleet.client.until_job(&publications[2].job, "dead", LONG).await;
    assert_eq!(job["reason"]["category"], "unknown_outcome");
    assert_eq!(copies(&fleet, words), 3);
    successor.must_run();
}
