//! A platform that hangs keeps the places it has, and gets none of the others'.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postworks::job::{Job, JobError, Queue, Request};
use postworks::testing::broker::queue;
use postworks::worker::{Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{World, until};

/// A job whose platform may hang.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fickle {}

impl Job for Fickle {
    const KIND: &'static str = "fickle";
    const TIMEOUT: Duration = Duration::from_secs(600);
}

/// A job of another platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sound {}

impl Job for Sound {
    const KIND: &'static str = "sound";
}

/// What the platforms do, and what they saw.
#[derive(Clone)]
struct Platforms {
    hangs: Arc<AtomicBool>,
    /// A permit ends one hung call.
    release: Arc<Semaphore>,
    hung: Arc<AtomicU32>,
    hung_most: Arc<AtomicU32>,
}

impl Platforms {
    fn hanging(hangs: bool) -> Self {
        Self {
            hangs: Arc::new(AtomicBool::new(hangs)),
            release: Arc::new(Semaphore::new(0)),
            hung: Arc::default(),
            hung_most: Arc::default(),
        }
    }

    fn hung(&self) -> u32 {
        self.hung.load(Ordering::SeqCst)
    }

    fn release_all(&self) {
        self.hangs.store(false, Ordering::SeqCst);
        self.release.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<Fickle>(self.clone(), [queue(Fickle::KIND)]).unwrap();
        registry.add::<Sound>(self.clone(), [queue(Sound::KIND)]).unwrap();
        registry
    }
}

#[async_trait]
impl Handler<Fickle> for Platforms {
    async fn handle(&self, _: Fickle, _: &JobContext) -> Result<(), JobError> {
        if self.hangs.load(Ordering::SeqCst) {
            let hung = self.hung.fetch_add(1, Ordering::SeqCst) + 1;
            self.hung_most.fetch_max(hung, Ordering::SeqCst);
            self.release.acquire().await.unwrap().forget();
            self.hung.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[async_trait]
impl Handler<Sound> for Platforms {
    async fn handle(&self, _: Sound, _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

fn fickle(count: usize) -> impl Iterator<Item = Request> {
    std::iter::repeat_with(|| Request::of(&Fickle {}).unwrap()).take(count)
}

fn sound(count: usize) -> impl Iterator<Item = Request> {
    std::iter::repeat_with(|| Request::of(&Sound {}).unwrap()).take(count)
}

fn no_slots() -> HashMap<Queue, usize> {
    HashMap::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_hangs_leaves_the_others_their_places() {
    let platforms = Platforms::hanging(true);
    let world = World::start(platforms.registry()).await;
    world.work(10, no_slots());
    let hung = world.enqueue(fickle(50)).await;
    until("it has all it can get", async || platforms.hung() == 9).await;
    let others = world.enqueue(sound(200)).await;
    world.all_completed(&others).await;
    assert_eq!(platforms.hung_most.load(Ordering::SeqCst), 9, "one of ten was kept");
    platforms.release_all();
    world.all_completed(&hung).await;
}

/// What is claimed ahead of quick jobs must not fill the places either, once they are quick no
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_hangs_after_a_good_time_leaves_the_others_their_places() {
    let platforms = Platforms::hanging(false);
    let world = World::start(platforms.registry()).await;
    world.work(10, no_slots());
    let quick = world.enqueue(fickle(1_000)).await;
    until("it is quick", async || {
        let mut ended = 0;
        for id in &quick[..100] {
            ended += u32::from(world.ledger.job(*id).await.unwrap().unwrap().state.has_ended());
        }
        ended == 100
    })
    .await;
    platforms.hangs.store(true, Ordering::SeqCst);
    let hung = world.enqueue(fickle(500)).await;
    until("it has all it can get", async || platforms.hung() == 9).await;
    let others = world.enqueue(sound(500)).await;
    world.all_completed(&others).await;
    assert_eq!(platforms.hung_most.load(Ordering::SeqCst), 9);
    platforms.release_all();
    world.all_completed(&quick).await;
    world.all_completed(&hung).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_no_more_than_its_slots_and_the_rest_goes_to_others() {
    let platforms = Platforms::hanging(true);
    let world = World::start(platforms.registry()).await;
    world.work(10, HashMap::from([(queue(Fickle::KIND), 3)]));
    let limited = world.enqueue(fickle(30)).await;
    until("it has its slots", async || platforms.hung() == 3).await;
    let others = world.enqueue(sound(200)).await;
    world.all_completed(&others).await;
    assert_eq!(platforms.hung_most.load(Ordering::SeqCst), 3);
    platforms.release.add_permits(10);
    until("places that were freed are taken", async || {
        platforms.release.available_permits() == 0 && platforms.hung() == 3
    })
    .await;
    assert_eq!(platforms.hung_most.load(Ordering::SeqCst), 3);
    platforms.release_all();
    world.all_completed(&limited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_one_queue_keeps_all_its_places() {
    let platforms = Platforms::hanging(true);
    let mut registry = Registry::default();
    registry.add::<Fickle>(platforms.clone(), [queue(Fickle::KIND)]).unwrap();
    let world = World::start(registry).await;
    world.work(10, no_slots());
    let jobs = world.enqueue(fickle(20)).await;
    until("every place is taken", async || platforms.hung() == 10).await;
    platforms.release_all();
    world.all_completed(&jobs).await;
}
