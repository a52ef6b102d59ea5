//! Between a lease on an account's tokens and the record of what came of it, whatever happens to
//! the worker that has it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use postworks::clock::{Clock, ShiftedClock};
use postworks::job::{ErrorClass, Timestamp};
use postworks::ledger::Db;
use postworks_workers::accounts::Accounts;
use postworks_workers::platforms::{Platform, Platforms};
use postworks_workers::store::ConnectorState;
use tokio::sync::Semaphore;

use crate::scripted::{KEYED, SESSIONS, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    a_holder_that_was_frozen_sends_nothing,
    a_holder_that_was_frozen_does_not_sign_in_either,
}

/// A process's clock. The process stands still when it reads it for the n-th time.
struct Freezing {
    clock: Arc<ShiftedClock>,
    readings_left: AtomicI64,
    /// Released once it stands still.
    frozen: Semaphore,
    goes_on: Mutex<bool>,
    thawed: Condvar,
}

impl Freezing {
    fn at(reading: i64, world: &World) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(&world.clock),
            readings_left: AtomicI64::new(reading),
            frozen: Semaphore::new(0),
            goes_on: Mutex::new(false),
            thawed: Condvar::new(),
        })
    }

    fn thaw(&self) {
        *self.goes_on.lock().unwrap() = true;
        self.thawed.notify_all();
    }
}

impl Clock for Freezing {
    fn now(&self) -> Timestamp {
        if self.readings_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            tokio::task::block_in_place(|| {
                self.frozen.add_permits(1);
                let frozen = self.goes_on.lock().unwrap();
                drop(self.thawed.wait_while(frozen, |goes_on| !*goes_on).unwrap());
            });
        }
        self.clock.now()
    }
}

/// Freezes a worker at each of its readings of the clock in turn, for longer than a lease, while
/// another one renews the tokens. `sent` counts the requests that matter.
async fn freeze_everywhere(world: World, prepare: impl Fn(&World), sent: impl Fn(&World) -> u32) {
    let world = Arc::new(world);
    world.use_token(&world.worker().accounts).await.unwrap();
    for reading in 1.. {
        world.advance(TOKEN_LIFE_S);
        prepare(&world);
        let before = sent(&world);
        let clock = Freezing::at(reading, &world);
        let platforms = Platforms::new([world.platform.clone() as Arc<dyn Platform>]);
        let holder = Accounts::new(world.store.clone(), platforms, clock.clone());
        let job = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.use_token(&holder).await }
        });
        clock.frozen.acquire().await.unwrap().forget();
        if sent(&world) > before {
            // From here on it is the answer that may get lost.
            clock.thaw();
            job.await.unwrap().unwrap();
            assert!(reading > 3, "it was frozen with the lease");
            return;
        }
        world.advance(60);
        world.use_token(&world.worker().accounts).await.unwrap();
        clock.thaw();
        if let Err(error) = job.await.unwrap() {
            let class = error.class();
            assert!(matches!(class, ErrorClass::Unavailable { .. }), "{reading}: {error}");
        }
        assert_eq!(sent(&world), before + 1, "frozen at reading {reading}, it sent one more");
        let account = world.store.connector(world.account).await.unwrap().unwrap();
        assert_eq!(account.state, ConnectorState::Active, "frozen at reading {reading}");
    }
}

async fn a_holder_that_was_frozen_sends_nothing(db: Db) {
    let world = World::new(db, &KEYED).await;
    freeze_everywhere(world, |_| (), |world| world.platform.server().refreshes).await;
}

async fn a_holder_that_was_frozen_does_not_sign_in_either(db: Db) {
    let world = World::new(db, &SESSIONS).await;
    let forget = |world: &World| world.platform.forget_grant();
    freeze_everywhere(world, forget, |world| world.platform.server().sign_ins).await;
}
