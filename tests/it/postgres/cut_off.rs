//! A worker that is cut off from its ledger: what need not ask it runs, and the rest waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::{Depth, Reap, Settlement, Then};
use postworks::job::{Durability, Job, JobError, JobId, Queue, State};
use postworks::testing::broker::{queue, worker};
use postworks::worker::{Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

use super::node::{LEASE, Node, until};
use super::{LONG, until_ok};

/// The ledger is asked before each run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {}

impl Job for Post {
    const KIND: &'static str = "post";
    const EFFECT: bool = true;
}

/// The ledger knows nothing of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {}

impl Job for Note {
    const KIND: &'static str = "note";
    const DURABILITY: Durability = Durability::Broker;
}

#[derive(Clone, Default)]
struct Count {
    posts: Arc<Mutex<HashMap<JobId, u32>>>,
    notes: Arc<AtomicUsize>,
}

#[async_trait]
impl Handler<Post> for Count {
    async fn handle(&self, _: Post, cx: &JobContext) -> Result<(), JobError> {
        *self.posts.lock().unwrap().entry(cx.id).or_default() += 1;
        Ok(())
    }
}

#[async_trait]
impl Handler<Note> for Count {
    async fn handle(&self, _: Note, _: &JobContext) -> Result<(), JobError> {
        self.notes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct World {
    node: Node,
    count: Count,
}

impl World {
    /// Stores with open queues; nobody works.
    async fn start(posts: &Queue, notes: &Queue) -> Self {
        let count = Count::default();
        let mut registry = Registry::default();
        registry.add::<Post>(count.clone(), [posts.clone()]).unwrap();
        registry.add::<Note>(count.clone(), [notes.clone()]).unwrap();
        Self { node: Node::start(registry).await, count }
    }

    async fn posts(&self, count: usize, to: &Queue) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.node.producer.enqueue_one(&Post {}, to.clone()).await.unwrap().id);
        }
        self.node.producer.flush().await;
        ids
    }

    /// Runs notes one after the other.
    async fn run_notes(&self, count: usize, to: &Queue) {
        for _ in 0..count {
            let done = self.count.notes.load(Ordering::SeqCst);
            self.node.producer.enqueue_one(&Note {}, to.clone()).await.unwrap();
            until("a note runs", async || self.count.notes.load(Ordering::SeqCst) > done).await;
        }
    }

    async fn until_claimed(&self, jobs: u64, of: &Queue) {
        self.node.until_depth("they are claimed", of, |depth| depth.running == jobs).await;
    }

    /// Each ran once, at no attempt's cost.
    async fn all_ran(&self, posts: &[JobId]) {
        for id in posts {
            until("a post is completed", async || {
                let (row, _) = until_ok("read", async || self.node.ledger.job(*id).await).await;
                let row = row.unwrap();
                row.state == State::Completed && row.job.failed_attempts == 0
            })
            .await;
        }
        let runs = self.count.posts.lock().unwrap();
        assert!(posts.iter().all(|id| runs.get(id) == Some(&1)), "{runs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_jobs_go_on_while_others_wait_for_the_ledger_and_keep_their_leases() {
    let (posts, notes) = (queue("post"), queue("note"));
    let world = World::start(&posts, &notes).await;
    let ids = world.posts(5, &posts).await;
    block_in_place(|| world.node.server.freeze());
    world.node.work(20);
    world.until_claimed(5, &posts).await;
    let start = Instant::now();
    while start.elapsed() < LEASE * 3 {
        world.run_notes(1, &notes).await;
        assert_eq!(world.node.depth(&posts).await.running, 5, "they are held");
        assert_eq!(world.node.broker.reap(&posts, Reap::Expired).await.unwrap(), []);
    }
    block_in_place(|| world.node.server.thaw());
    world.all_ran(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_for_the_ledger_do_not_starve_those_behind_them() {
    const PLACES: usize = 2;
    let mixed = queue("mixed");
    let world = World::start(&mixed, &mixed).await;
    let ids = world.posts(6, &mixed).await;
    block_in_place(|| world.node.server.kill9());
    world.node.work(PLACES);
    world.run_notes(20, &mixed).await;
    let jobs = ids.len() as u64;
    let most_wait =
        |depth: Depth| depth.running == PLACES as u64 && depth.delayed == jobs - depth.running;
    world.node.until_depth("most wait in the broker", &mixed, most_wait).await;
    block_in_place(|| world.node.server.start());
    world.all_ran(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_leaves_most_jobs_to_the_others() {
    const JOBS: usize = 500;
    let posts = queue("post");
    let world = World::start(&posts, &queue("note")).await;
    let ids = world.posts(JOBS, &posts).await;
    block_in_place(|| world.node.server.kill9());
    world.node.work(2);
    world.node.until_depth("it is cut off", &posts, |depth| depth.delayed > 0).await;
    // Time is the subject: it could claim all of them in that of one claim.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let depth = world.node.depth(&posts).await;
    assert!(depth.ready > JOBS as u64 / 2, "{depth:?}");
    block_in_place(|| world.node.server.start());
    world.all_ran(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_for_the_ledger_are_handed_back_when_the_worker_stops() {
    let (posts, notes) = (queue("post"), queue("note"));
    let world = World::start(&posts, &notes).await;
    world.posts(5, &posts).await;
    block_in_place(|| world.node.server.freeze());
    let working = world.node.work(20);
    world.until_claimed(5, &posts).await;
    world.run_notes(1, &notes).await;
    world.node.stop.drain.cancel();
    let drained = tokio::time::timeout(LONG, working).await.expect("it stops").unwrap();
    assert_eq!(drained.unsettled, 0);
    let depth = world.node.depth(&posts).await;
    assert_eq!((depth.ready, depth.delayed, depth.running), (5, 0, 0));
    block_in_place(|| world.node.server.thaw());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_job_that_waits_for_the_ledger_keeps_nobody_waiting() {
    let mixed = queue("mixed");
    let world = World::start(&mixed, &mixed).await;
    let ids = world.posts(1, &mixed).await;
    let claimed = world.node.broker.claim(&mixed, &worker("other"), 1, LEASE).await.unwrap();
    let lease = claimed.deliveries[0].lease.clone();
    let quarantined = [Settlement { lease, then: Then::Quarantine }];
    world.node.broker.settle(&mixed, &quarantined).await.unwrap();
    block_in_place(|| world.node.server.freeze());
    world.node.work(2);
    // It has nothing in hand, so it takes that job first.
    world.run_notes(20, &mixed).await;
    block_in_place(|| world.node.server.thaw());
    world.all_ran(&ids).await;
}
