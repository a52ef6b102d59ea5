//! An account that its platform wants left alone is left alone, and it alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postworks::clock::{Clock, SystemClock};
use postworks::gate::quota::{QueueQuotas, Quotas};
use postworks::job::{
    ErrorClass, Job, JobError, JobId, Queue, Quota, RateScope, Request, RetryPolicy, State,
    Timestamp, TokenRefresh,
};
use postworks::testing::broker::queue;
use postworks::worker::{Blocks, Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{World, until};

const ANN: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);
/// Long enough for the others to be done within it on a busy machine.
const WINDOW: Duration = Duration::from_secs(3);
/// Jobs of one account come so far apart after a window.
const SPACING: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {
    account: Uuid,
}

impl Job for Post {
    const KIND: &'static str = "post";
    /// One is enough: to be told to wait is no failure.
    const RETRY: RetryPolicy = RetryPolicy { max_attempts: 1, ..RetryPolicy::DEFAULT };
}

/// Says "too many requests" to Ann's first call, and notes all calls.
#[derive(Clone)]
struct Platform {
    scope: RateScope,
    calls: Arc<Mutex<HashMap<Uuid, Vec<Timestamp>>>>,
    closed_until: Arc<Mutex<Option<Timestamp>>>,
}

impl Platform {
    fn limiting(scope: RateScope) -> Self {
        Self { scope, calls: Arc::default(), closed_until: Arc::default() }
    }

    fn calls(&self, account: Uuid) -> Vec<Timestamp> {
        self.calls.lock().unwrap().get(&account).cloned().unwrap_or_default()
    }

    fn closed_until(&self) -> Option<Timestamp> {
        *self.closed_until.lock().unwrap()
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<Post>(self.clone(), [posts()]).unwrap();
        registry.add::<TokenRefresh>(self.clone(), [queue(TokenRefresh::KIND)]).unwrap();
        registry
    }
}

#[async_trait]
impl Handler<Post> for Platform {
    async fn handle(&self, post: Post, _: &JobContext) -> Result<(), JobError> {
        let now = SystemClock.now();
        self.calls.lock().unwrap().entry(post.account).or_default().push(now);
        let mut closed_until = self.closed_until.lock().unwrap();
        if post.account != ANN || closed_until.is_some() {
            return Ok(());
        }
        let until = now.after(WINDOW);
        *closed_until = Some(until);
        Err(JobError::new(ErrorClass::RateLimited { until, scope: self.scope }, "slow down"))
    }
}

#[async_trait]
impl Handler<TokenRefresh> for Platform {
    async fn handle(&self, _: TokenRefresh, _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

fn posts() -> Queue {
    queue(Post::KIND)
}

fn post(account: Uuid) -> Request {
    Request::of(&Post { account }).unwrap()
}

fn refresh() -> Request {
    Request::of(&TokenRefresh { connector_id: ANN }).unwrap()
}

async fn nothing_was_burnt(world: &World, ids: &[JobId]) {
    for id in ids {
        assert!(world.ledger.attempts(*id).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_its_window_an_account_is_not_called_while_others_go_on() {
    let platform = Platform::limiting(RateScope::Account);
    let world = World::start(platform.registry()).await;
    let anns = world.enqueue_for(Some(ANN), (0..5).map(|_| post(ANN))).await;
    let bobs = world.enqueue_for(Some(BOB), (0..20).map(|_| post(BOB))).await;
    // One place, so that nothing else is on its way to the platform when it says no.
    world.work(1, HashMap::new());
    world.all_completed(&bobs).await;
    world.all_completed(&anns).await;
    let closed_until = platform.closed_until().unwrap();
    let bob = platform.calls(BOB);
    assert!(bob.iter().all(|call| *call < closed_until), "{bob:?} did not wait");
    let calls = platform.calls(ANN);
    assert_eq!(calls.len(), 6, "one was refused");
    for (n, call) in (0..).zip(&calls[1..]) {
        assert!(*call >= closed_until.after(SPACING * n), "{calls:?}, {closed_until}");
    }
    nothing_was_burnt(&world, &anns).await;
}

/// The second worker is a process of its own: it has only the broker to learn from.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_heeds_a_window_that_another_has_run_into() {
    let platform = Platform::limiting(RateScope::Account);
    let world = World::start(platform.registry()).await;
    world.work(1, HashMap::new());
    world.enqueue_for(Some(ANN), [post(ANN)]).await;
    until("the broker knows", async || {
        world.broker.blocked(&[ANN]).await.unwrap()[0] == platform.closed_until()
            && platform.closed_until().is_some()
    })
    .await;
    let other = World::over(platform.registry(), Arc::clone(&world.broker), world.clock.clone());
    let other = other.await;
    world.stop.drain.cancel();
    other.work(1, HashMap::new());
    let mut more = other.enqueue_for(Some(ANN), [post(ANN)]).await;
    more.extend(other.enqueue_for(Some(BOB), [post(BOB)]).await);
    other.all_completed(&more).await;
    let calls = platform.calls(ANN);
    let closed_until = platform.closed_until().unwrap();
    assert!(calls[1..].iter().all(|call| *call >= closed_until), "{calls:?}, {closed_until}");
    assert!(platform.calls(BOB)[0] < closed_until);
    nothing_was_burnt(&other, &more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_limit_shuts_the_queue_and_blocks_no_account() {
    let platform = Platform::limiting(RateScope::App);
    let world = World::start(platform.registry()).await;
    world.work(1, HashMap::new());
    let ids = world.enqueue_for(Some(ANN), [post(ANN)]).await;
    until("the queue is shut", async || {
        let (gates, _) = world.broker.gates(&[posts()]).await.unwrap();
        let shut_until = gates[0].unwrap().shut_until;
        shut_until.is_some() && shut_until == platform.closed_until()
    })
    .await;
    let others = world.enqueue_for(Some(BOB), [post(BOB), post(BOB)]).await;
    assert_eq!(world.broker.blocked(&[ANN]).await.unwrap(), [None]);
    world.all_completed(&ids).await;
    world.all_completed(&others).await;
    let closed_until = platform.closed_until().unwrap();
    let later = [&platform.calls(ANN)[1..], &platform.calls(BOB)[..]].concat();
    assert!(later.iter().all(|call| *call >= closed_until), "{later:?}, {closed_until}");
    nothing_was_burnt(&world, &others).await;
}

/// Its tokens may end before the window does.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_an_account_does_not_put_its_refresh_off() {
    let account = Some("100/1s".parse::<Quota>().unwrap().flow(10));
    let of_account = QueueQuotas { account, ..QueueQuotas::default() };
    let limited = [posts(), queue(TokenRefresh::KIND)].map(|queue| (queue, of_account));
    // Quotas and windows are asked for in one question, where there are any.
    for quotas in [Quotas::default(), Quotas::new(limited)] {
        let world = World::start(Platform::limiting(RateScope::Account).registry()).await;
        let ends = world.clock.now().after(Duration::from_secs(24 * 3_600));
        let blocks = Blocks::new(Arc::clone(&world.broker), Arc::clone(&world.clock));
        blocks.block(ANN, ends);
        world.broker.block(ANN, ends).await.unwrap();
        let posts = world.enqueue_for(Some(ANN), [post(ANN)]).await;
        let refreshes = world.enqueue_for(Some(ANN), [refresh()]).await;
        world.run(world.worker(1).within(quotas.clone()).heeding(&blocks));
        world.all_completed(&refreshes).await;
        let waits = async || world.ledger.job(posts[0]).await.unwrap().unwrap().state;
        assert_ne!(waits().await, State::Completed, "{quotas:?}");
        // Another process knows of the window from the broker alone.
        let other = world.enqueue_for(Some(ANN), [refresh()]).await;
        world.run(world.worker(1).within(quotas.clone()));
        world.all_completed(&other).await;
        assert_ne!(waits().await, State::Completed, "{quotas:?}");
    }
}
