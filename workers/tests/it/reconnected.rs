//! No job stays parked behind an account that works.

use std::sync::Arc;

use postworks::clock::Clock as _;
use postworks::job::{JobId, SnoozeReason, State, Token};
use postworks::ledger::{Db, Ledger, Next, SqlLedger, Verdict};
use postworks_workers::reconnected::Reconnected;
use uuid::Uuid;

use crate::scripted::{KEYED, SECRET};
use crate::world::{World, on_both};

on_both! {
    a_job_that_parks_after_its_account_was_connected_again_is_released,
    other_parked_jobs_stay_parked,
}

fn chore(world: &World) -> Reconnected {
    Reconnected {
        store: world.store.clone(),
        ledger: Arc::new(SqlLedger::new(world.db.clone())),
        clock: world.clock.clone(),
    }
}

/// A publication whose job a worker parks; answers the job.
async fn park(world: &World, why: SnoozeReason) -> JobId {
    let publication = world.publication("hello").await;
    let id = JobId::from_uuid(world.row(publication).await.job_id);
    let until = world.clock.now().after(std::time::Duration::from_secs(3600));
    let then = Next::Parked { until, why: why.as_str(), kept_until: None };
    let token = Token { generation: 1, sequence: 1 };
    let verdict = Verdict { id, token, then, failed: None };
    SqlLedger::new(world.db.clone()).settle(&[verdict]).await.unwrap();
    assert_eq!(state(world, id).await, State::Parked);
    id
}

async fn state(world: &World, id: JobId) -> State {
    SqlLedger::new(world.db.clone()).job(id).await.unwrap().unwrap().state
}

async fn revoke(world: &World, account: Uuid) {
    let version = world.store.access(account).await.unwrap().unwrap().version;
    assert!(world.store.revoke(account, None, version, "refused").await.unwrap());
}

async fn a_job_that_parks_after_its_account_was_connected_again_is_released(db: Db) {
    let world = World::new(db, &KEYED).await;
    revoke(&world, world.account).await;
    // Here a worker finds that the account needs a person. Before it parks the job, one comes.
    assert!(world.connect("ada", SECRET).await.again);
    let job = park(&world, SnoozeReason::NeedsReauth).await;

    assert_eq!(chore(&world).release().await.unwrap(), 1);
    assert_eq!(state(&world, job).await, State::Ready);
    assert_eq!(chore(&world).release().await.unwrap(), 0);
}

async fn other_parked_jobs_stay_parked(db: Db) {
    let world = World::new(db, &KEYED).await;
    let newer = park(&world, SnoozeReason::NewerWorker).await;
    assert_eq!(chore(&world).release().await.unwrap(), 0);
    assert_eq!(state(&world, newer).await, State::Parked);

    let refused = park(&world, SnoozeReason::NeedsReauth).await;
    revoke(&world, world.account).await;
    assert_eq!(chore(&world).release().await.unwrap(), 0);
    assert_eq!(state(&world, refused).await, State::Parked);
}
