//! What an operator does on the command line, over HTTP and on the stores directly: the same
//! words, the same answers, the same exit codes.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::fleet::{Fleet, LONG, Process, Ran, run, until};

const MISSING: &str = "0198f3a0-0000-7000-8000-000000000001";

/// An operator's desk: a fleet with a worker, and how its commands find it.
struct Desk {
    _worker: Process,
    fleet: Fleet,
    vars: Vec<(&'static str, String)>,
}

impl Desk {
    async fn over_http() -> Self {
        let fleet = Fleet::start().await;
        let vars = vec![("POSTWORKS_SERVER", fleet.api.url().to_owned())];
        let worker = fleet.worker(&[]).await;
        Self { _worker: worker, fleet, vars }
    }

    async fn on_the_stores() -> Self {
        let fleet = Fleet::start().await;
        let vars = fleet.vars().to_vec();
        let worker = fleet.worker(&[]).await;
        Self { _worker: worker, fleet, vars }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        run(args, &self.vars).await
    }

    /// A command that must succeed; its answer in JSON.
    async fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["-o", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.json()
    }

    async fn until_job(&self, id: &str, state: &str) -> Value {
        let mut job = Value::Null;
        until(&format!("job {id} is not {state}"), LONG, async || {
            job = self.json(&["job", "show", id]).await;
            job["state"] == state
        })
        .await;
        job
    }

    /// Connects an account with a secret from a file; answers its id.
    async fn connects_an_account(&self) -> String {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), self.fleet.sandbox.account("ann").await).unwrap();
        let file = PathBuf::from(secret.path());
        let add = ["connector", "add", "--platform", "sandbox", "--identifier", "ann"];
        let rest = ["--base-url", self.fleet.sandbox.url(), "--secret-file"];
        let args = [&add[..], &rest[..], &[file.to_str().unwrap()]].concat();
        let id = self.json(&args).await["id"].as_str().unwrap().to_owned();
        let listed = self.json(&["connector", "list"]).await;
        assert_eq!(listed["items"][0]["id"], id.as_str());
        assert_eq!(listed["items"][0]["state"], "active");
        id
    }

    async fn enqueues_and_looks(&self, account: &str) {
        let arg = format!("connector_id={account}");
        let enqueue = ["enqueue", "connector_sync", "--arg", &arg];
        let enqueued = self.json(&[&enqueue[..], &["--unique-key", "now"]].concat()).await;
        assert_eq!(enqueued["created"], true);
        let id = enqueued["id"].as_str().unwrap();
        let job = self.until_job(id, "completed").await;
        assert_eq!(job["queue"], "connector_sync.sandbox");
        let later = self.json(&[&enqueue[..], &["--delay", "1h"]].concat()).await;
        assert_eq!(later["state"], "delayed");
        let delayed = self.json(&["job", "list", "--state", "delayed"]).await;
        assert_eq!(delayed["items"][0]["id"], later["id"]);
        let table = self.run(&["job", "list", "--kind", "connector_sync"]).await;
        assert!(
            table.stdout.contains(id) && table.stdout.contains("completed"),
            "{}",
            table.stdout
        );
        let queues = self.json(&["queue", "list"]).await;
        let queues = queues["items"].as_array().unwrap();
        assert!(queues.iter().any(|queue| queue["queue"] == "connector_sync.sandbox"));
        let ended = self.run(&["job", "cancel", id]).await;
        assert_eq!(ended.code, 4, "{}", ended.stderr);
        let cancelled = self.json(&["job", "cancel", later["id"].as_str().unwrap()]).await;
        assert_eq!(cancelled["state"], "cancelled");
    }

    /// A post that the platform refuses becomes a dead letter, and is put back once it does not.
    async fn puts_a_dead_letter_back(&self, account: &str) {
        let refuse = json!([{ "op": "publish", "action": "error", "status": 422 }]);
        self.fleet.sandbox.faults(refuse).await;
        let publication = self.fleet.client.publish("refused", &[account.to_owned()]).await;
        let id = publication[0].job.as_str();
        let job = self.until_job(id, "dead").await;
        assert_eq!(job["reason"]["category"], "invalid");
        let listed = self.json(&["dlq", "list", "--filter", "category=invalid"]).await;
        assert_eq!(listed["items"][0]["id"], id);
        let letter = self.json(&["dlq", "show", id]).await;
        assert_eq!(letter["attempts"], 1);

        self.fleet.sandbox.faults(json!([])).await;
        let planned = self.json(&["dlq", "retry", id, "--dry-run"]).await;
        assert_eq!(planned["plan"]["runnable"], 1);
        assert_eq!(self.json(&["job", "show", id]).await["state"], "dead");
        let planned = self.json(&["dlq", "retry", id]).await;
        assert_eq!(planned["plan"]["runnable"], 1);
        self.until_job(id, "completed").await;
        self.fleet.client.until_published(&publication, LONG).await;
        self.fleet.sandbox.journal().must_have_each_once(&publication);
        assert_eq!(self.run(&["dlq", "show", id]).await.code, 3);
    }

    async fn is_told_what_is_wrong(&self) {
        for (args, code, words) in [
            (&["job", "show", MISSING][..], 3, "there is no job"),
            (&["job", "cancel", MISSING], 3, "there is no job"),
            (&["dlq", "show", MISSING], 3, "there is no dead letter"),
            (&["dlq", "retry", MISSING], 3, "none of these"),
            (&["enqueue", "data_cleanup", "--arg", "scop=jobs"], 2, "/args/scop"),
            (&["enqueue", "nonsense"], 2, "/kind"),
            (&["job", "list", "--state", "done"], 2, "/state"),
        ] {
            let ran = self.run(args).await;
            assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
            assert_eq!(ran.stdout, "", "{args:?}");
        }
    }

    async fn works(&self) {
        let account = self.connects_an_account().await;
        self.enqueues_and_looks(&account).await;
        self.puts_a_dead_letter_back(&account).await;
        self.is_told_what_is_wrong().await;
        self.sees_who_did_what().await;
    }

    async fn sees_who_did_what(&self) {
        let audit = self.json(&["audit", "list"]).await;
        let rows = audit["items"].as_array().unwrap();
        let actions: Vec<&str> = rows.iter().map(|row| row["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["dlq.retry", "job.cancel", "connector.add"], "{audit}");
        let over_http = self.vars.iter().any(|(name, _)| *name == "POSTWORKS_SERVER");
        let by = if over_http { "api" } else { "cli:" };
        assert!(rows.iter().all(|row| row["actor"].as_str().unwrap().starts_with(by)), "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_over_http() {
    let mut desk = Desk::over_http().await;
    desk.works().await;
    desk.fleet.api.kill9().await;
    let ran = desk.run(&["job", "list"]).await;
    assert_eq!(ran.code, 69, "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_on_the_stores_directly() {
    let mut desk = Desk::on_the_stores().await;
    desk.works().await;
    tokio::task::block_in_place(|| desk.fleet.redis.stop());
    let enqueued = desk.json(&["enqueue", "data_cleanup"]).await;
    assert_eq!(enqueued["created"], true, "the ledger alone accepts jobs");
    tokio::task::block_in_place(|| desk.fleet.postgres.stop());
    let ran = desk.run(&["job", "list"]).await;
    assert_eq!(ran.code, 69, "{}", ran.stderr);
}
