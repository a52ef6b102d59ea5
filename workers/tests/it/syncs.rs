//! Accounts are synchronised once a period, and what is built in is made once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::client::Producer;
use postworks::clock::{Clock as _, SharedClock};
use postworks::job::{Catalog, ErrorClass, State, Tenant, Timestamp};
use postworks::ledger::{Db, Holder, JobFilter, Ledger as _, Schedules, SqlLedger};
use postworks_workers::built_in::{BuiltIn, CLEANUP};
use postworks_workers::syncs::Syncs;

use crate::scripted::{FOLLOWED, Fault, SECRET};
use crate::world::{World, on_both};

on_both! {
    accounts_are_due_one_by_one_after_a_period_and_again_after_another,
    an_account_that_needs_a_person_or_whose_job_waits_is_left_alone,
    nodes_that_look_at_once_make_one_job_an_account,
    the_built_in_schedule_is_made_once_and_kept_as_it_is_configured,
}

const EVERY: Duration = Duration::from_secs(900);

impl World {
    fn syncs(&self) -> Syncs {
        let clock: SharedClock = self.clock.clone();
        let producer = Producer::new(
            Arc::new(SqlLedger::new(self.db.clone())),
            Arc::new(MemoryBroker::new(Arc::clone(&clock))),
            Arc::new(Catalog::builtin().unwrap()),
            clock,
        );
        Syncs { store: self.store.clone(), producer, platforms: vec!["followed"], every: EVERY }
    }

    async fn sync_jobs(&self) -> Vec<(uuid::Uuid, Timestamp)> {
        let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
        let rows = self.ledger().jobs(&filter, self.clock.now()).await.unwrap();
        let syncs = rows.into_iter().filter(|row| {
            row.job.kind.as_str() == "connector_sync" && row.state != State::Cancelled
        });
        syncs.map(|row| (row.job.account.unwrap(), row.job.run_at)).collect()
    }
}

/// Looks every four seconds for so many.
async fn look_for(world: &World, syncs: &Syncs, seconds: u64) {
    for _ in 0..seconds / 4 {
        syncs.look().await.unwrap();
        world.advance(4);
    }
}

async fn accounts_are_due_one_by_one_after_a_period_and_again_after_another(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    for n in 0..59 {
        world.connect(&format!("account {n}"), SECRET).await;
    }
    let syncs = world.syncs();
    let started = world.clock.now();
    look_for(&world, &syncs, 880).await;
    assert_eq!(world.sync_jobs().await, [], "none in the first period");
    look_for(&world, &syncs, 940).await;
    let jobs = world.sync_jobs().await;
    let accounts: HashSet<_> = jobs.iter().map(|(account, _)| *account).collect();
    assert_eq!((jobs.len(), accounts.len()), (60, 60));
    // Evenly over the second one: in no tenth of it more than a third.
    let mut tenths = [0; 11];
    for (_, at) in &jobs {
        let passed = at.since(started).saturating_sub(EVERY);
        tenths[usize::try_from(passed.as_secs() / 90).unwrap().min(10)] += 1;
    }
    assert!(tenths.iter().all(|count| *count <= 20), "{tenths:?}");
    assert_eq!(world.store.late_syncs().await.unwrap(), []);
    // Their jobs wait, and each account has one.
    look_for(&world, &syncs, 1_000).await;
    assert_eq!(world.sync_jobs().await.len(), 60);
    // Once nobody looks they are late.
    world.advance(1_300);
    assert_eq!(world.store.late_syncs().await.unwrap(), [("followed".to_owned(), 60)]);
}

async fn an_account_that_needs_a_person_or_whose_job_waits_is_left_alone(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let bob = world.connect("bob", SECRET).await.id;
    let syncs = world.syncs();
    syncs.look().await.unwrap();
    let worker = world.worker();
    let revoked = Fault::Fails(ErrorClass::AuthRevoked);
    world.platform.server().refresh_faults.push_back(revoked);
    world.use_token(&worker.accounts).await.unwrap_err();
    assert!(world.store.sync_due_at(world.account).await.unwrap().is_some());
    look_for(&world, &syncs, 1_850).await;
    let jobs = world.sync_jobs().await;
    assert_eq!(jobs.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [bob]);
    // As soon as it works again it is due.
    world.connect("ada", SECRET).await;
    look_for(&world, &syncs, 8).await;
    assert_eq!(world.sync_jobs().await.len(), 2);
}

async fn nodes_that_look_at_once_make_one_job_an_account(db: Db) {
    let world = Arc::new(World::new(db, &FOLLOWED).await);
    for n in 0..30 {
        world.connect(&format!("account {n}"), SECRET).await;
    }
    world.syncs().look().await.unwrap();
    world.advance(2 * EVERY.as_secs() + 5);
    let nodes = (0..4).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.syncs().look().await.unwrap() })
    });
    let mut taken = 0;
    for node in nodes.collect::<Vec<_>>() {
        taken += node.await.unwrap();
    }
    assert_eq!((taken, world.sync_jobs().await.len()), (31, 31));
}

async fn the_built_in_schedule_is_made_once_and_kept_as_it_is_configured(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let schedules = Schedules::new(world.db.clone());
    let node = |cron: Option<&str>| BuiltIn {
        schedules: schedules.clone(),
        clock: world.clock.clone(),
        cleanup: cron.map(str::to_owned),
    };
    let nightly = Some("10 3 * * *");
    let (one, other) = (node(nightly), node(nightly));
    let (one, other) = tokio::join!(one.keep(), other.keep());
    one.unwrap();
    other.unwrap();
    let list = async || schedules.list(Tenant::DEFAULT, None, None, 9).await.unwrap();
    let made = list().await;
    assert_eq!((made.len(), made[0].name.as_str(), made[0].built_in), (1, CLEANUP, true));
    assert!(made[0].next_at.is_some());
    // A node that starts later changes nothing, also not who paused it.
    let note = world.note("schedule.pause", CLEANUP);
    let holder = Holder { at: world.clock.now(), by: "ann".to_owned(), why: None };
    assert!(schedules.hold(made[0].id, Some(&holder), None, &note).await.unwrap());
    node(nightly).keep().await.unwrap();
    let paused = list().await;
    assert_eq!((paused[0].id, paused[0].next_at), (made[0].id, None));
    assert!(!schedules.remove(made[0].id, &note).await.unwrap(), "it was removed");
    // Another time is taken over, and none takes it away.
    node(Some("30 4 * * *")).keep().await.unwrap();
    let changed = list().await;
    assert_eq!((changed[0].id, changed[0].cron.as_str()), (made[0].id, "30 4 * * *"));
    assert!(changed[0].paused.is_some() && changed[0].next_at.is_none());
    node(None).keep().await.unwrap();
    assert_eq!(list().await, []);
}
