//! Real stores, a few workers and a platform's real server behind a proxy that loses requests and
//! answers, while workers and the server are killed: at random, the same for the same seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postworks_workers::testing::lossy_proxy::{LossyProxy, Odds};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::fleet::{Fleet, Process, Publication, seconds};

const POSTS: usize = 200;
const WORKERS: usize = 3;
/// Few at once, so that the work is not done before anything can be killed.
const PLACES: [&str; 2] = ["--concurrency", "2"];
const WORKER_KILLS: usize = 6;
const SERVER_KILLS: usize = 2;
/// One post in eight meets a loss, however many requests it takes: much more opens the breaker.
const ODDS: Odds = Odds { requests: 0.06, answers: 0.06 };
/// A job that was under way in two crashes runs alone, and one more is its end: that is how a job
/// that takes workers down is told from one that has bad luck. Ours have no worse luck than this.
const CRASHES_MAX: u32 = 2;
/// From the first worker's start until all is published. A post that is looked up is sent again
/// once its request cannot be under way any more, which takes 45 seconds.
const LIMIT: Duration = Duration::from_secs(180);
/// Shorter waits than a product wants, so that a test ends soon, and more attempts for them.
const IMPATIENT: [(&str, &str); 3] = [
    ("POSTWORKS__RETRY__CAP", "2s"),
    ("POSTWORKS__BREAKER__COOLDOWN", "2s"),
    ("POSTWORKS__KINDS__POST_PUBLICATION__MAX_ATTEMPTS", "40"),
];
const QUOTAS: [&str; 3] = ["APP", "ACCOUNT", "ENDPOINTS__POST_PUBLICATION"];

/// What a person connects an account with.
pub(super) struct Login {
    pub(super) identifier: String,
    pub(super) secret: String,
    /// Where on the account it posts, on platforms that ask.
    pub(super) target: Option<String>,
}

/// A platform's real server with an account on it.
pub(super) trait RealServer: Sized {
    /// As connectors name it.
    const PLATFORM: &'static str;
    /// Answers of the server that publishing one post takes, at the least.
    const ANSWERS: usize = 1;

    async fn start() -> Self;

    /// Where it listens, the same after a restart.
    fn address(&self) -> SocketAddr;

    fn login(&self) -> Login;

    /// Ends it at once, as `kill -9` does.
    async fn kill(&mut self);

    /// Starts it again on its data, and returns when it answers.
    async fn restart(&mut self);

    /// The texts of all posts of the account, as they were sent.
    async fn texts(&self) -> Vec<String>;

    /// Something that befalls accounts of this platform only, once in the middle of the work;
    /// answers whether the account must be connected again then.
    async fn disturb(&mut self) -> bool {
        false
    }
}

/// What happens in the middle of the work.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Worker,
    Server,
    OfItsOwn,
}

/// Blows in random order, each after so many answers of the server in all. The last comes while
/// posts are left: each takes an answer.
fn plan(dice: &mut StdRng, answers: usize) -> Vec<(usize, Blow)> {
    let mut blows = vec![Blow::OfItsOwn];
    blows.extend([Blow::Worker; WORKER_KILLS]);
    blows.extend([Blow::Server; SERVER_KILLS]);
    blows.shuffle(dice);
    let part = answers / (blows.len() + 1);
    let parts = blows.into_iter().zip(1..);
    parts.map(|(blow, n)| (n * part - dice.random_range(0..part / 2), blow)).collect()
}

/// The odds of one of so many requests that a post takes.
fn odds(requests: usize) -> Odds {
    let part = 1.0 / f64::from(u32::try_from(requests).expect("few requests"));
    Odds { requests: ODDS.requests * part, answers: ODDS.answers * part }
}

/// A story of a platform's server, and what was done to it.
struct Rig<S> {
    // Workers first: nobody misses who ends before them.
    workers: Vec<Process>,
    fleet: Fleet,
    proxy: LossyProxy,
    server: S,
    dice: StdRng,
    queue: String,
    /// How often each job was under way when its worker was killed.
    crashes: BTreeMap<String, u32>,
}

/// The test: 200 publications are accepted, everything goes wrong, and 200 posts are there.
pub(super) async fn each_post_is_there_once<S: RealServer>() {
    let seed = std::env::var("POSTWORKS_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    let mut dice = StdRng::seed_from_u64(seed);
    let plan = plan(&mut dice, POSTS * S::ANSWERS);
    println!("POSTWORKS_SEED={seed}: {plan:?}");
    let mut rig = Rig::<S>::start(dice).await;
    let connector = rig.connect().await;
    let publications = rig.fleet.client.publish_many(POSTS, &[connector]).await;
    rig.proxy.lose_by_chance(odds(S::ANSWERS), seed);
    let started = Instant::now();
    let story = async {
        for _ in 0..WORKERS {
            rig.start_worker().await;
        }
        for (answers, blow) in plan {
            rig.proxy.until_answered(answers).await;
            rig.strike(blow).await;
        }
        rig.proxy.calm();
        rig.fleet.client.until_published(&publications, LIMIT).await;
    };
    let ended = tokio::time::timeout(LIMIT, story).await;
    assert!(ended.is_ok(), "seed {seed}: posts are left after {LIMIT:?}");
    rig.must_have_each_once(&publications).await;
    let attempts = rig.must_have_tried_sensibly(&publications).await;
    println!(
        "{}: {POSTS} posts, each once, in {}: {WORKER_KILLS} workers killed with {} jobs in their \
         hands, the server {SERVER_KILLS} times; {} requests failed, {attempts} attempts",
        S::PLATFORM,
        seconds(started.elapsed()),
        rig.orphans(),
        rig.proxy.failed(),
    );
}

impl<S: RealServer> Rig<S> {
    async fn start(dice: StdRng) -> Self {
        let server = S::start().await;
        let proxy = LossyProxy::start(server.address()).await;
        // Our own quotas would spread 200 posts over minutes.
        let platform = S::PLATFORM.to_uppercase();
        let quota =
            |name| (&*format!("POSTWORKS__PLATFORMS__{platform}__QUOTAS__{name}").leak(), "");
        let settings = [&IMPATIENT[..], &QUOTAS.map(quota)].concat();
        let fleet = Fleet::start_with(&settings).await;
        let queue = format!("post_publication.{}", S::PLATFORM);
        let (workers, crashes) = (Vec::new(), BTreeMap::new());
        Self { workers, fleet, proxy, server, dice, queue, crashes }
    }

    /// Connects the account, behind the proxy; answers the connector's id.
    async fn connect(&self) -> String {
        let login = self.server.login();
        let mut connector = json!({
            "platform": S::PLATFORM,
            "base_url": format!("http://{}", self.proxy.address()),
            "identifier": login.identifier,
            "secret": login.secret,
        });
        if let Some(target) = login.target {
            connector["target"] = target.into();
        }
        let client = &self.fleet.client;
        let created = client.http.post("/api/connectors", &connector).await.expect(201);
        created["id"].as_str().expect("an id").to_owned()
    }

    async fn start_worker(&mut self) {
        self.workers.push(self.fleet.worker(&PLACES).await);
    }

    async fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Worker => self.kill_worker().await,
            Blow::Server => {
                self.server.kill().await;
                self.server.restart().await;
            }
            Blow::OfItsOwn => {
                if self.server.disturb().await {
                    self.connect().await;
                }
            }
        }
    }

    /// Kills a worker in the middle of its work, and starts another.
    async fn kill_worker(&mut self) {
        let first = self.dice.random_range(0..WORKERS);
        for n in 0..WORKERS {
            let victim = (first + n) % WORKERS;
            // Frozen first, so that what it holds is what it holds when it dies.
            self.workers[victim].signal(Signal::SIGSTOP);
            let held = self.fleet.held_by(&self.workers[victim], &self.queue);
            let crashes = |job| self.crashes.get(job).copied().unwrap_or(0);
            if held.iter().all(|job| crashes(job) < CRASHES_MAX) {
                self.workers.swap_remove(victim).kill9().await;
                for job in held {
                    *self.crashes.entry(job).or_default() += 1;
                }
                return self.start_worker().await;
            }
            self.workers[victim].signal(Signal::SIGCONT);
        }
        panic!("every worker holds a job whose third crash this would be");
    }

    /// How many times a job lost its worker.
    fn orphans(&self) -> usize {
        self.crashes.values().map(|times| *times as usize).sum()
    }

    async fn must_have_each_once(&mut self, publications: &[Publication]) {
        self.workers.iter_mut().for_each(Process::must_run);
        let mut copies = BTreeMap::new();
        for text in self.server.texts().await {
            *copies.entry(text).or_insert(0) += 1;
        }
        // The texts are those of `Client::publish_many`.
        let once = (0..publications.len()).map(|n| (format!("post {n}"), 1)).collect();
        assert_eq!(copies, once);
        assert_eq!(self.fleet.client.jobs("dead").await, [serde_json::Value::Null; 0]);
    }

    /// An attempt is spent on a request that failed, and on a worker that died, and on nothing
    /// else; answers how many there were.
    async fn must_have_tried_sensibly(&self, publications: &[Publication]) -> usize {
        let mut attempts = 0;
        for publication in publications {
            let job = self.fleet.client.until_job(&publication.job, "completed", LIMIT).await;
            let spent = job["attempt"].as_u64().expect("a number");
            attempts += usize::try_from(spent).expect("few attempts");
        }
        let excused = self.proxy.failed() + self.orphans();
        assert!(attempts <= POSTS + excused, "{attempts} attempts, {excused} of them in vain");
        attempts
    }
}
