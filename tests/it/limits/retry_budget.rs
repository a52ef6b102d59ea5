//! When everything fails, retries do not multiply the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::gate::breaker;
use postworks::job::{ErrorClass, Job, JobError, Request, RetryPolicy};
use postworks::testing::broker::queue;
use postworks::worker::{Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};

use super::{World, until};

/// Retries a second that a queue with little to do has.
const PER_SECOND: f64 = 5.0;
const POSTS: u32 = 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Post {}

impl Job for Post {
    const KIND: &'static str = "post";
    /// By itself, each job would be repeated every 25 ms.
    const RETRY: RetryPolicy = RetryPolicy {
        base: Duration::from_millis(50),
        cap: Duration::from_millis(50),
        max_attempts: 100,
    };
}

#[derive(Clone)]
struct Platform {
    is_down: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

#[async_trait]
impl Handler<Post> for Platform {
    async fn handle(&self, _: Post, _: &JobContext) -> Result<(), JobError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(JobError::new(ErrorClass::Transient, "down"));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_down_is_not_stormed_by_retries() {
    let platform = Platform { is_down: Arc::new(AtomicBool::new(true)), calls: Arc::default() };
    let mut registry = Registry::default();
    registry.add::<Post>(platform.clone(), [queue(Post::KIND)]).unwrap();
    let world = World::start(registry).await;
    // The breaker would end the errors before any retry.
    let never = breaker::Settings { calls_min: u32::MAX, ..breaker::Settings::default() };
    world.run(world.worker(20).with_breakers(never));
    let start = Instant::now();
    let posts = (0..POSTS).map(|_| Request::of(&Post {}).unwrap());
    let ids = world.enqueue(posts).await;
    let calls = || platform.calls.load(Ordering::SeqCst);
    until("every first attempt and some retries were made", async || calls() >= POSTS + 10).await;
    let (made, took) = (calls(), start.elapsed().as_secs_f64());
    // One more for the slot at the very start.
    let allowed = f64::from(POSTS) + took * PER_SECOND + 1.0;
    let alone = f64::from(POSTS) * (1.0 + took / 0.025);
    println!(
        "{POSTS} posts in {took:.1} s of errors: {made} calls, amplification {:.2}; \
         without the budget about {:.0}",
        f64::from(made) / f64::from(POSTS),
        alone / f64::from(POSTS)
    );
    assert!(f64::from(made) <= allowed, "{made} calls, {allowed} are allowed");
    platform.is_down.store(false, Ordering::SeqCst);
    world.all_completed(&ids).await;
    // Ledger and broker were told the same times: nothing was pushed a second time.
    let ends = calls();
    assert!(f64::from(ends) <= f64::from(made + POSTS) + 1.0, "{ends} after {made}");
}
