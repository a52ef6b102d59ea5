//! Every worker is replaced under load, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::fleet::{Client, Fleet, LONG, Process, Publication, seconds, until};

const WORKERS: usize = 3;
const ROUNDS: usize = 2;
const ACCOUNTS: usize = 10;
/// How long a publish takes, in milliseconds: at any moment there is one to be cut short.
const LATENCY_MS: u32 = 100;
/// A worker may take this long to finish what it has.
const GRACE: &str = "25s";
/// What replaces a worker's way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is told to stop, and does.
    Drain,
    /// It is told to stop, and killed before it has.
    KilledInDrain,
}

/// A fleet at work, and somebody who publishes all the time.
struct Load {
    fleet: Fleet,
    workers: Vec<Process>,
    stop: Arc<AtomicBool>,
    publishing: tokio::task::JoinHandle<Vec<Publication>>,
}

impl Load {
    async fn start() -> Self {
        let fleet = Fleet::start().await;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(worker(&fleet).await);
        }
        let accounts = fleet.connect("sandbox", ACCOUNTS).await;
        fleet.sandbox.slow_down(LATENCY_MS).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (client, told) = (Client::new(fleet.api.url()), Arc::clone(&stop));
        let publishing = tokio::spawn(async move {
            let mut published = Vec::new();
            while !told.load(Ordering::Relaxed) {
                published.extend(client.publish("all the time", &accounts).await);
            }
            published
        });
        Self { fleet, workers, stop, publishing }
    }

    fn published(&self) -> usize {
        self.fleet.sandbox.journal().0.len()
    }

    /// Replaces each worker once.
    async fn round(&mut self, way: Way) {
        for n in 0..WORKERS {
            let before = self.published();
            until("nothing is published", LONG, async || self.published() > before).await;
            let successor = worker(&self.fleet).await;
            let mut worker = std::mem::replace(&mut self.workers[n], successor);
            let told = Instant::now();
            worker.signal(Signal::SIGTERM);
            if way == Way::KilledInDrain {
                until("it does not drain", LONG, async || worker.log().contains("draining")).await;
                worker.kill9().await;
                continue;
            }
            let (status, _) = worker.ended(LONG).await;
            println!("a worker drained in {}", seconds(told.elapsed()));
            assert_eq!(status.code(), Some(0));
            assert!(told.elapsed().as_secs() < 25, "it used up its grace");
        }
    }

    /// Stops publishing and looks at everything that was published meanwhile.
    async fn ends_well(self) {
        self.stop.store(true, Ordering::Relaxed);
        let publications = self.publishing.await.expect("the publisher");
        self.fleet.client.until_published(&publications, LONG).await;
        self.fleet.sandbox.journal().must_have_each_once(&publications);
        println!("{} publications, each once", publications.len());
        let mut burnt = 0;
        for publication in &publications {
            let job = self.fleet.client.until_job(&publication.job, "completed", LONG).await;
            burnt += u32::from(job["attempt"] != 1);
        }
        assert_eq!(burnt, 0, "attempts were burnt");
        assert!(self.fleet.client.jobs("dead").await.is_empty());
    }
}

async fn worker(fleet: &Fleet) -> Process {
    fleet.worker(&["--concurrency", "10", "--grace", GRACE]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_every_worker_under_load_doubles_nothing_and_burns_no_attempt() {
    let mut load = Load::start().await;
    for _ in 0..ROUNDS {
        load.round(Way::Drain).await;
    }
    load.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_while_they_drain_double_nothing_and_burn_no_attempt() {
    let mut load = Load::start().await;
    load.round(Way::KilledInDrain).await;
    load.ends_well().await;
}
