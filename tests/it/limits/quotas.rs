//! Workers keep an operator's quotas together, and nothing is lost by it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::clock::{Clock, SystemClock};
use postworks::gate::quota::{QueueQuotas, Quotas};
use postworks::job::{
    Job, JobError, JobId, Queue, Quota, Request, RequestPolicy, RetryPolicy, Timestamp, WorkerId,
};
use postworks::testing::broker::queue;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{World, until};

const ANN: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {
    account: Uuid,
    urgent: bool,
}

impl Job for Post {
    const KIND: &'static str = "post";
    /// One is enough: to wait for room is no failure.
    const RETRY: RetryPolicy = RetryPolicy { max_attempts: 1, ..RetryPolicy::DEFAULT };
}

/// Notes when it was called for whom.
#[derive(Clone, Default)]
struct Platform(Arc<Mutex<Vec<(Post, Timestamp)>>>);

#[async_trait]
impl Handler<Post> for Platform {
    async fn handle(&self, post: Post, _: &JobContext) -> Result<(), JobError> {
        self.0.lock().unwrap().push((post, SystemClock.now()));
        Ok(())
    }
}

impl Platform {
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<Post>(self.clone(), [posts()]).unwrap();
        registry
    }

    fn calls(&self, which: impl Fn(&Post) -> bool) -> Vec<Timestamp> {
        let calls = self.0.lock().unwrap();
        let mut times: Vec<_> =
            calls.iter().filter(|(post, _)| which(post)).map(|(_, at)| *at).collect();
        times.sort_unstable();
        times
    }
}

fn posts() -> Queue {
    queue(Post::KIND)
}

fn post(account: Uuid) -> Request {
    Request::of(&Post { account, urgent: false }).unwrap()
}

fn urgent(account: Uuid) -> Request {
    let policy = RequestPolicy { priority_s: Some(60), ..RequestPolicy::default() };
    Request { policy, ..Request::of(&Post { account, urgent: true }).unwrap() }
}

/// The most calls in any span of this length.
fn most_within(span: Duration, calls: &[Timestamp]) -> usize {
    let within = |from: &Timestamp| {
        calls.iter().filter(|at| **at >= *from && **at < from.after(span)).count()
    };
    calls.iter().map(within).max().unwrap_or(0)
}

/// A quota of each account's calls, a tenth of it for urgent ones.
fn quota_of_accounts(text: &str) -> Quotas {
    let account = Some(text.parse::<Quota>().unwrap().flow(10));
    Quotas::new([(posts(), QueueQuotas { account, ..QueueQuotas::default() })])
}

impl World {
    /// Starts two workers that know of each other only what the broker says.
    fn work_within(&self, quotas: &Quotas) {
        for _ in 0..2 {
            self.run(self.worker(20).within(quotas.clone()));
        }
    }

    async fn nothing_was_burnt(&self, ids: &[JobId]) {
        for id in ids {
            assert!(self.ledger.attempts(*id).await.unwrap().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_keep_an_accounts_quota_together_and_hold_up_nobody_else() {
    const PER: Duration = Duration::from_secs(2);
    let platform = Platform::default();
    let world = World::start(platform.registry()).await;
    let anns = world.enqueue_for(Some(ANN), (0..30).map(|_| post(ANN))).await;
    let bobs = world.enqueue_for(Some(BOB), [post(BOB)]).await;
    world.work_within(&quota_of_accounts("10/2s"));
    world.all_completed(&bobs).await;
    world.all_completed(&anns).await;
    let (ann, bob) =
        (platform.calls(|post| post.account == ANN), platform.calls(|post| post.account == BOB));
    assert_eq!((ann.len(), bob.len()), (30, 1));
    assert!(most_within(PER, &ann) <= 10, "{ann:?}");
    assert!(bob[0] < ann[3], "{bob:?} waited for {ann:?}");
    // A tenth at one stroke and the rest over nine tenths of the time; twice that on a busy machine.
    let took = ann[29].since(ann[0]);
    assert!(took < PER * 30 / 10 * 5 / 2, "{took:?}: room was left idle");
    world.nothing_was_burnt(&anns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_job_uses_what_is_kept_for_it_while_others_wait() {
    let platform = Platform::default();
    let world = World::start(platform.registry()).await;
    let anns = world.enqueue_for(Some(ANN), (0..6).map(|_| post(ANN))).await;
    // One at once, one more kept, and another every 1.32 s.
    world.work_within(&quota_of_accounts("6/6s"));
    until("the first is called", async || !platform.calls(|_| true).is_empty()).await;
    let before = platform.calls(|_| true).len();
    let urgents = world.enqueue_for(Some(ANN), [urgent(ANN)]).await;
    world.all_completed(&urgents).await;
    let at = platform.calls(|post| post.urgent)[0];
    world.all_completed(&anns).await;
    let ordinary = platform.calls(|post| !post.urgent);
    let overtook = ordinary.iter().filter(|call| **call > at).count();
    assert!(overtook >= 6 - before - 1, "{at} came late: {ordinary:?}");
    assert!(most_within(Duration::from_secs(6), &platform.calls(|_| true)) <= 6);
    world.nothing_was_burnt(&anns).await;
}

/// More than a window holds wait for one account, and each is put off: none of them may be lost to
/// the ledger, and another account's job must not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_beyond_the_window_drains_within_its_quota() {
    let platform = Platform::default();
    let clock = SystemClock::shared();
    let broker = Arc::new(MemoryBroker::new(Arc::clone(&clock)).with_window(40));
    let world = World::over(platform.registry(), broker, clock).await;
    let anns = world.enqueue_for(Some(ANN), (0..80).map(|_| post(ANN))).await;
    world.work_within(&quota_of_accounts("10/1s"));
    let bobs = world.enqueue_for(Some(BOB), [post(BOB)]).await;
    world.all_completed(&bobs).await;
    let before = platform.calls(|post| post.account == ANN).len();
    assert!(before < 60, "Bob waited for {before} of Ann's");
    world.all_completed(&anns).await;
    assert!(most_within(Duration::from_secs(1), &platform.calls(|post| post.account == ANN)) <= 10);
    world.nothing_was_burnt(&anns).await;
}

/// This Redis user may do all that jobs need, and not what room in quotas needs.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_although_the_broker_cannot_be_asked_for_room() {
    let server = RedisServer::start();
    assert!(!server.command("ACL SETUSER ann on >secret ~* +@all -set").starts_with('-'));
    let url = format!("{}?user=ann&pass=secret", server.url());
    let options = RedisOptions::new(url, WorkerId::new("test", 1, Uuid::now_v7()));
    let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
    let quotas = quota_of_accounts("1/1h");
    let refused = broker.take_room(&[quotas.call(&posts(), Some(ANN), 0)]).await;
    assert!(refused.is_err(), "{refused:?}");
    let platform = Platform::default();
    let world = World::over(platform.registry(), broker, SystemClock::shared()).await;
    let anns = world.enqueue_for(Some(ANN), (0..5).map(|_| post(ANN))).await;
    world.run(world.worker(20).within(quotas));
    world.all_completed(&anns).await;
    world.nothing_was_burnt(&anns).await;
}
