//! Thirty-two worker processes and a real provider that rotates refresh tokens strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::slice::from_ref;
use std::time::{Duration, Instant};

use postworks::clock::{Clock as _, SystemClock};
use postworks_workers::store::Renewed;
use postworks_workers::testing::lossy_proxy::LossyProxy;
use postworks_workers::testing::oidc::{Counts, OidcServer};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, LONG, Process, Publication, until};

/// Worker processes, and jobs of the account.
pub(super) const WORKERS: usize = 32;
/// Where the jobs wait.
const QUEUE: &str = "post_publication.sandbox";
/// How late the provider answers: long enough for every worker to have a job in its hands.
const LATE_MS: u32 = 1_800;
/// So many processes on one server, which allows a hundred connections.
const SMALL: [(&str, &str); 1] = [("POSTWORKS__LEDGER__POOL_SIZE", "2")];

/// Fields are dropped in order: first who needs the others.
pub(super) struct World {
    pub(super) workers: Vec<Process>,
    pub(super) fleet: Fleet,
    pub(super) proxy: LossyProxy,
    pub(super) oidc: OidcServer,
}

/// An account of the provider.
pub(super) struct Owner {
    pub(super) handle: &'static str,
    pub(super) connector: String,
    /// What the provider had been asked before its token ended.
    before: Counts,
}

/// What became of an account's jobs, for the figures.
pub(super) struct Figures {
    pub(super) asked: Counts,
    pub(super) jobs: usize,
    pub(super) took: Duration,
}

impl World {
    /// Starts everything. The workers get their tokens through the proxy.
    pub(super) async fn start() -> Self {
        let oidc = OidcServer::start().await;
        let proxy = LossyProxy::start(oidc.address()).await;
        let profile = oidc.settings(proxy.address());
        let mut settings: Vec<(&str, &str)> = SMALL.to_vec();
        settings.extend(profile.iter().map(|(name, value)| (*name, value.as_str())));
        let fleet = Fleet::start_with(&settings).await;
        let workers = fleet.workers(WORKERS, &["--concurrency", "1"]).await;
        Self { workers, fleet, proxy, oidc }
    }

    /// Connects an account, or connects it again.
    pub(super) async fn connect(&self, handle: &str) -> String {
        let token = self.oidc.mint(handle).await;
        let connector = json!({
            "platform": "sandbox",
            "base_url": self.oidc.url(),
            "identifier": handle,
            "secret": token.expose_secret(),
        });
        let answer = self.fleet.client.http.post("/api/connectors", &connector).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
        answer.body["id"].as_str().expect("an id").to_owned()
    }

    /// Connects an account that has published, and whose access token has ended since: the provider
    /// does not know it any more, and the ledger knows when it ended.
    pub(super) async fn expired(&self, handle: &'static str) -> Owner {
        let connector = self.connect(handle).await;
        let first = self.fleet.client.publish("a first post", from_ref(&connector)).await;
        self.fleet.client.until_published(&first, LONG).await;
        self.oidc.expire(handle).await;
        let (store, id) = (self.fleet.store(), connector.parse().expect("an id"));
        let seen = store.access(id).await.expect("tokens can be read").expect("it is there");
        let now = SystemClock.now();
        let held = store.acquire_refresh(&seen, Uuid::new_v4(), now.after(LONG)).await;
        let held = held.expect("the database answers").expect("nobody else refreshes now");
        let ended = Renewed {
            access: seen.token.expect("it has published"),
            refresh: held.refresh,
            secret: held.secret,
            expires_at: Some(now.before(LONG)),
            remote_id: None,
            signed_in: false,
        };
        let kept = store.commit_refresh(id, seen.version, &ended).await;
        assert!(kept.expect("the database answers"), "somebody was first");
        Owner { handle, connector, before: self.oidc.counts(handle).await }
    }

    /// Enqueues as many jobs of the account as there are workers, and lets go of all of them at
    /// once. From then on the provider takes its time.
    pub(super) async fn storm(&self, owner: &Owner) -> (Vec<Publication>, Instant) {
        self.fleet.client.gate(QUEUE, "pause").await;
        let connector = from_ref(&owner.connector);
        let publications = self.fleet.client.publish_many(WORKERS, connector).await;
        self.oidc.slow_down(LATE_MS).await;
        let started = Instant::now();
        self.fleet.client.gate(QUEUE, "resume").await;
        (publications, started)
    }

    /// Waits until the provider has given new tokens; answers how many workers had jobs of the
    /// account in their hands meanwhile.
    pub(super) async fn holders_until_granted(&self, owner: &Owner) -> usize {
        let key = format!("ZRANGE postworks:{{{QUEUE}}}:leases 0 -1");
        let mut holders = BTreeSet::new();
        until("the provider gives no tokens", LONG, async || {
            // A lease reads job|token|host:pid:boot.
            let leases = self.fleet.redis.command(&key);
            holders.extend(leases.lines().filter_map(|l| Some(l.rsplit_once('|')?.1.to_owned())));
            self.asked(owner).await.granted > 0
        })
        .await;
        holders.len()
    }

    /// Kills the worker that waits for the provider's answer.
    pub(super) async fn kill_who_waits(&mut self) {
        let mut waiting = Vec::new();
        until("nobody is left waiting for tokens", LONG, async || {
            waiting = self.proxy.silenced();
            !waiting.is_empty()
        })
        .await;
        assert_eq!(waiting.len(), 1, "one asks at a time");
        let holds = |worker: &Process| holds_connection(worker.pid(), waiting[0]);
        let found = self.workers.iter().position(holds).expect("a worker of this test has sent it");
        self.workers.swap_remove(found).kill9().await;
    }

    /// What the provider was asked for an account since its token ended.
    pub(super) async fn asked(&self, owner: &Owner) -> Counts {
        let now = self.oidc.counts(owner.handle).await;
        Counts {
            token_requests: now.token_requests - owner.before.token_requests,
            granted: now.granted - owner.before.granted,
            invalid_grant: now.invalid_grant - owner.before.invalid_grant,
        }
    }

    /// Waits until all publications are out; answers what it took.
    pub(super) async fn finish(
        &self,
        owner: &Owner,
        publications: &[Publication],
        started: Instant,
    ) -> Figures {
        self.fleet.client.until_published(publications, 2 * LONG).await;
        let took = started.elapsed();
        self.must_have_each_once(owner).await;
        Figures { asked: self.asked(owner).await, jobs: publications.len(), took }
    }

    /// Fails the test unless each post of a storm is there once.
    async fn must_have_each_once(&self, owner: &Owner) {
        let mut copies = BTreeMap::new();
        for post in self.oidc.posts().await {
            if post.account == owner.handle && post.text != "a first post" {
                *copies.entry(post.text).or_insert(0) += 1;
            }
        }
        // The texts are those of `Client::publish_many`.
        let once = (0..WORKERS).map(|n| (format!("post {n}"), 1)).collect();
        assert_eq!(copies, once);
    }

    /// A connector as the list of them shows it.
    pub(super) async fn connector(&self, id: &str) -> Value {
        let list = self.fleet.client.http.get("/api/connectors").await.expect(200);
        let mut rows = list["items"].as_array().expect("a list").iter();
        rows.find(|row| row["id"] == id).expect("the connector is listed").clone()
    }

    /// Fails the test if a worker has ended that nobody killed.
    pub(super) fn all_must_run(&mut self) {
        self.workers.iter_mut().for_each(Process::must_run);
    }
}

/// Whether a process has this end of a connection open.
fn holds_connection(pid: u32, end: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel tells of connections");
    let port = format!(":{:04X}", end.port());
    let mut sockets = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&port)).then(|| format!("socket:[{}]", fields[9]))
    });
    let Some(socket) = sockets.next() else { return false };
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link == Path::new(&socket))
}
