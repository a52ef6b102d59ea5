//! What keeps broker and ledger in step when workers, pushes and servers get lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Lease, Place};
use postworks::chore::{Reaper, Relay};
use postworks::clock::{Clock, SharedClock, SystemClock};
use postworks::job::{
    Durability, JobId, Kind, NewJob, Queue, Tenant, Timestamp, Uniqueness, WorkerId,
};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::testing::broker::{envelope, fresh, queue, worker};
use postworks::testing::redis_server::RedisServer;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; leases last longer still.
const PATIENCE: Duration = Duration::from_secs(60);
/// What "within a second" may take on a machine that is busy with other tests.
const SECOND: Duration = Duration::from_secs(3);

fn connect(server: &RedisServer, id: &WorkerId) -> Arc<dyn Broker> {
    Arc::new(RedisBroker::connect(RedisOptions::new(server.url(), id.clone())).unwrap())
}

async fn claim(broker: &dyn Broker, queue: &Queue, id: &WorkerId, jobs: usize) -> Vec<Lease> {
    let now = SystemClock.now();
    let pushes: Vec<_> = (0..jobs).map(|_| fresh(envelope(now, 0), now)).collect();
    broker.push(queue, &pushes).await.unwrap();
    let claimed = broker.claim(queue, id, jobs, PATIENCE).await.unwrap();
    assert_eq!(claimed.deliveries.len(), jobs);
    claimed.deliveries.into_iter().map(|delivery| delivery.lease).collect()
}

async fn embedded_ledger(folder: &std::path::Path) -> Arc<dyn Ledger> {
    let db = Db::open_sqlite(&folder.join("ledger.db")).await.unwrap();
    db.migrate().await.unwrap();
    Arc::new(SqlLedger::new(db))
}

/// Starts a reaper over a ledger that knows none of the jobs.
async fn reap(broker: Arc<dyn Broker>, queues: Vec<Queue>) -> CancellationToken {
    let folder = tempfile::tempdir().unwrap();
    let ledger = embedded_ledger(folder.path()).await;
    let (lease, renew) = (Duration::from_secs(10), Duration::from_secs(2));
    let reaper = Reaper { broker, ledger, queues, lease, renew };
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        reaper.run(stopped).await;
        drop(folder);
    });
    stop
}

async fn until_ready(broker: &dyn Broker, queue: &Queue, jobs: u64, limit: Duration) {
    let start = Instant::now();
    while broker.depth(std::slice::from_ref(queue)).await.unwrap()[0].unwrap().ready < jobs {
        assert!(start.elapsed() < limit, "the jobs are still with the dead");
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_dead_workers_jobs_are_due_again_within_a_second_and_nobody_elses() {
    let server = RedisServer::start();
    let (living, dead, queue) = (worker("living"), worker("dead"), queue("connector_sync"));
    let (ours, theirs) = (connect(&server, &living), connect(&server, &dead));
    ours.open(&queue, 1).await.unwrap();
    let kept = claim(&*ours, &queue, &living, 3).await;
    let stop = reap(Arc::clone(&ours), vec![queue.clone()]).await;
    claim(&*theirs, &queue, &dead, 5).await;
    drop(theirs);
    until_ready(&*ours, &queue, 5, SECOND).await;
    let held = ours.renew(&queue, &kept, PATIENCE).await.unwrap().held;
    assert_eq!(held, [true; 3]);
    stop.cancel();
}

#[tokio::test]
async fn a_worker_that_died_before_anybody_looked_is_noticed_all_the_same() {
    let server = RedisServer::start();
    let (dead, queue) = (worker("dead"), queue("connector_sync"));
    let theirs = connect(&server, &dead);
    theirs.open(&queue, 1).await.unwrap();
    claim(&*theirs, &queue, &dead, 2).await;
    drop(theirs);
    let ours = connect(&server, &worker("successor"));
    let stop = reap(Arc::clone(&ours), vec![queue.clone()]).await;
    until_ready(&*ours, &queue, 2, SECOND).await;
    stop.cancel();
}

#[tokio::test]
async fn a_queue_with_broken_keys_does_not_leave_the_others_with_the_dead() {
    let server = RedisServer::start();
    let (dead, queue, broken) = (worker("dead"), queue("connector_sync"), queue("a_broken_one"));
    let theirs = connect(&server, &dead);
    for queue in [&queue, &broken] {
        theirs.open(queue, 1).await.unwrap();
    }
    for part in ["leases", "ready", "jobs"] {
        server.command(&format!("SADD postworks:{{a_broken_one}}:{part} garbage"));
    }
    claim(&*theirs, &queue, &dead, 2).await;
    drop(theirs);
    let ours = connect(&server, &worker("successor"));
    let stop = reap(Arc::clone(&ours), vec![broken, queue.clone()]).await;
    until_ready(&*ours, &queue, 2, SECOND).await;
    stop.cancel();
}

#[tokio::test]
async fn many_reapers_look_no_more_often_than_one() {
    let server = RedisServer::start();
    let (living, queue) = (worker("living"), queue("connector_sync"));
    let ours = connect(&server, &living);
    ours.open(&queue, 1).await.unwrap();
    claim(&*ours, &queue, &living, 1).await;
    let start = Instant::now();
    let reapers = (0..10).map(|n| connect(&server, &worker(&format!("reaper{n}"))));
    let mut stops = Vec::new();
    for broker in reapers {
        stops.push(reap(broker, vec![queue.clone()]).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stats = server.command("INFO commandstats");
    let looks = stats.lines().find_map(|line| line.strip_prefix("cmdstat_client|list:calls="));
    let looks: u32 = looks.and_then(|line| line.split(',').next()?.parse().ok()).unwrap();
    // One more, since the term is told by Redis' clock, and its start by ours.
    let most = 2 + u32::try_from(start.elapsed().as_millis() / 200).unwrap();
    assert!((1..=most).contains(&looks), "{looks} looks in {:?}", start.elapsed());
    stops.iter().for_each(CancellationToken::cancel);
}

#[tokio::test]
async fn an_idle_reaper_sends_one_command_a_look() {
    let server = RedisServer::start();
    let queues = ["connector_sync", "data_cleanup", "post_publication"].map(queue).to_vec();
    let ours = connect(&server, &worker("idle"));
    ours.ping().await.unwrap();
    let processed = || {
        let stats = server.command("INFO stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = processed();
    let start = Instant::now();
    let stop = reap(ours, queues).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // Our own looks are two commands each, INFO and QUIT.
    let sent = processed() - before - 2;
    let most = 1 + u64::try_from(start.elapsed().as_millis() / 650).unwrap();
    assert!(sent <= most, "{sent} commands");
    stop.cancel();
}

fn row(number: u32, now: Timestamp) -> NewJob {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&number.to_be_bytes());
    NewJob {
        id: JobId::at(now, random),
        kind: Kind::parse("connector_sync").unwrap(),
        kind_version: 1,
        queue: queue("connector_sync"),
        args: "{}".to_owned(),
        failed_attempts: 0,
        max_attempts: 3,
        priority_s: 0,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: None,
        run_at: now,
        created_at: now,
        expires_at: now.after(PATIENCE),
        durability: Durability::Ledger,
        tenant: Tenant::DEFAULT,
        trace: None,
        waits: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_push_was_lost_is_found_behind_a_long_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = embedded_ledger(folder.path()).await;
    let clock: SharedClock = SystemClock::shared();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let queue = queue("connector_sync");
    // Old enough that no enqueuer's push is on its way any more.
    let made = clock.now().before(Duration::from_secs(10));
    let jobs: Vec<NewJob> = (0..21_500).map(|number| row(number, made)).collect();
    let lost = jobs.last().unwrap().id;
    for batch in jobs.chunks(1_000) {
        ledger.enqueue(batch).await.unwrap();
    }
    let calls = Arc::default();
    let relay = Relay { ledger, broker: Arc::clone(&broker), clock, calls };
    let stop = CancellationToken::new();
    tokio::spawn(relay.run(stop.clone()));
    let start = Instant::now();
    while broker.find(&queue, &[lost]).await.unwrap() != [Some(Place::Ready)] {
        assert!(start.elapsed() < PATIENCE, "the relay never came to the end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
}
