//! A fleet and a real Bluesky server with one account on it.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::time::Duration;

use nix::sys::signal::Signal;
use postworks::clock::{Clock as _, SystemClock};
use postworks_workers::store::{Access, Renewed};
use postworks_workers::testing::pds::{PdsAccount, PdsServer};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, LONG, Process, Publication, until};

/// Where the publications for this platform wait.
pub(super) const QUEUE: &str = "post_publication.bluesky";

/// No account's password.
pub(super) const WRONG: &str = "wrong horse";

/// Fields are dropped in order: the fleet speaks to the platform while it runs.
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) pds: PdsServer,
    pub(super) owner: PdsAccount,
}

impl World {
    /// Starts everything but workers, with these settings in the environment of every process.
    pub(super) async fn start(settings: &[(&'static str, &str)]) -> Self {
        let fleet = Fleet::start_with(settings).await;
        let pds = PdsServer::start().await;
        let owner = pds.create_account("alice.test").await;
        Self { fleet, pds, owner }
    }

    /// Connects the account at this address with this secret; answers the connector's id.
    pub(super) async fn connect(&self, base_url: &str, secret: &str) -> String {
        self.connect_as(&self.owner.handle, base_url, secret).await
    }

    /// Connects another account of the server as its owner does.
    pub(super) async fn connect_other(&self, account: &PdsAccount) -> String {
        let (base_url, secret) = (self.pds.url(), account.exposed_password());
        self.connect_as(&account.handle, base_url.as_str(), secret).await
    }

    async fn connect_as(&self, identifier: &str, base_url: &str, secret: &str) -> String {
        let connector = json!({
            "platform": "bluesky",
            "base_url": base_url,
            "identifier": identifier,
            "secret": secret,
        });
        let created = self.fleet.client.http.post("/api/connectors", &connector).await.expect(201);
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Connects the account as its owner does.
    pub(super) async fn connect_owner(&self) -> String {
        self.connect(self.pds.url().as_str(), self.owner.exposed_password()).await
    }

    /// Connects the account with a wrong password and publishes on it; answers the connector and
    /// the publications, whose jobs will park.
    pub(super) async fn publish_in_vain(&self, posts: usize) -> (String, Vec<Publication>) {
        let connector = self.connect(self.pds.url().as_str(), WRONG).await;
        let publications = self.fleet.client.publish_many(posts, from_ref(&connector)).await;
        (connector, publications)
    }

    /// Waits until the jobs of all these publications, and no others, are parked.
    pub(super) async fn until_parked(&self, publications: &[Publication]) {
        until("the jobs are not parked", LONG, async || {
            self.fleet.client.jobs("parked").await.len() == publications.len()
        })
        .await;
    }

    /// The state of a connector, as the list of them says.
    pub(super) async fn connector_state(&self, id: &str) -> Value {
        let list = self.fleet.client.http.get("/api/connectors").await.expect(200);
        let mut rows = list["items"].as_array().expect("a list").iter();
        rows.find(|row| row["id"] == id).expect("the connector is listed")["state"].clone()
    }

    /// Enqueues a job about a connector, and waits until it is completed.
    pub(super) async fn run_job(&self, kind: &str, connector: &str) {
        let job = json!({ "kind": kind, "args": { "connector_id": connector } });
        let accepted = self.fleet.client.http.post("/api/jobs", &job).await.expect(202);
        let id = accepted["id"].as_str().expect("an id");
        self.fleet.client.until_job(id, "completed", LONG).await;
    }

    /// Waits until the server has this many posts. It must be up.
    pub(super) async fn until_records(&self, count: usize) {
        until(&format!("the server does not have {count} posts"), LONG, async || {
            self.pds.records(&self.owner.did).await.len() >= count
        })
        .await;
    }

    /// Fails the test unless the server has exactly these publications' texts, each once.
    pub(super) async fn must_have_each_once(&self, publications: &[Publication]) {
        let mut copies = BTreeMap::new();
        for record in self.pds.records(&self.owner.did).await {
            *copies.entry(record.text).or_insert(0) += 1;
        }
        // The texts are those of `Client::publish_many`.
        let once = (0..publications.len()).map(|n| (format!("post {n}"), 1)).collect();
        assert_eq!(copies, once);
    }

    /// Kills a worker in the middle of its work; answers how many jobs it held.
    pub(super) async fn kill_worker(&self, mut worker: Process) -> usize {
        // Frozen first, so that what it holds is what it holds when it dies.
        worker.signal(Signal::SIGSTOP);
        let held = self.fleet.held_by(&worker, QUEUE).len();
        worker.kill9().await;
        held
    }

    /// The account's tokens, as the database has them.
    pub(super) async fn access(&self, connector: &str) -> Access {
        let found = self.fleet.store().access(id(connector)).await.expect("tokens can be read");
        found.expect("the connector is there")
    }

    /// Puts an access token in place that the server calls expired, and that claims to be good
    /// for an hour: only the server's refusal can lead to a refresh. Answers the tokens' version.
    pub(super) async fn expire_access(&self, connector: &str) -> i64 {
        let (store, connector, owner) = (self.fleet.store(), id(connector), Uuid::new_v4());
        let now = SystemClock.now();
        let hour = Duration::from_secs(3600);
        let seen = store.access(connector).await.expect("tokens can be read");
        let seen = seen.expect("the connector is there");
        let held = store.acquire_refresh(&seen, owner, now.after(LONG)).await;
        let held = held.expect("the database answers").expect("nobody else refreshes now");
        let expired = Renewed {
            access: self.pds.expired_access(&self.owner.did, now.before(hour)),
            refresh: held.refresh,
            secret: held.secret,
            expires_at: Some(now.after(hour)),
            remote_id: None,
            signed_in: false,
        };
        let kept = store.commit_refresh(connector, seen.version, &expired).await;
        assert!(kept.expect("the database answers"), "somebody was first");
        seen.version + 1
    }

    /// What the account's session is renewed with, as the database has it.
    pub(super) async fn refresh_token(&self, connector: &str) -> SecretString {
        let store = self.fleet.store();
        let seen = store.access(id(connector)).await.expect("tokens can be read");
        let seen = seen.expect("the connector is there");
        let held = store.acquire_refresh(&seen, Uuid::new_v4(), SystemClock.now()).await;
        let held = held.expect("the database answers").expect("nobody else refreshes now");
        held.refresh.expect("there is a session")
    }

    /// How many of the server's posts were found by syncing.
    pub(super) async fn synced(&self, connector: &str) -> u64 {
        let count = self.fleet.store().remote_posts_count(id(connector)).await;
        count.expect("posts can be counted")
    }
}

fn id(text: &str) -> Uuid {
    text.parse().expect("an id")
}
