//! Jobs in the transaction of a program that has a pool, rows and perhaps a login of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::{Broker, memory::MemoryBroker};
use postworks::chore::Refiller;
use postworks::client::Producer;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{
    Job, JobError, JobId, Kind, NewJob, Queue, Request, State, Tenant, Token, Uniqueness, WorkerId,
};
use postworks::ledger::{Error, Ledger, Recorded, SqlLedger, Standing};
use postworks::testing::ledger::{NOW, job, unique};
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::{Calls, Drained, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{LONG, ledger, operator};

const ACME: Tenant = Tenant::from_uuid(Uuid::from_u128(0xac4e));
const BOLT: Tenant = Tenant::from_uuid(Uuid::from_u128(0xb017));

/// An order is to be confirmed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Confirm {
    order: i64,
}

impl Job for Confirm {
    const KIND: &'static str = "confirm";
}

/// Tells the test which orders it was given.
struct Tells(mpsc::UnboundedSender<(JobId, i64)>);

#[async_trait]
impl Handler<Confirm> for Tells {
    async fn handle(&self, job: Confirm, cx: &JobContext) -> Result<(), JobError> {
        self.0.send((cx.id, job.order)).unwrap();
        Ok(())
    }
}

fn queue() -> Queue {
    Queue::of_kind(&Kind::parse(Confirm::KIND).unwrap())
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

/// A worker of these kinds, and a refiller that opens their queue.
fn worker(
    registry: Registry,
    broker: &Arc<dyn Broker>,
    ledger: &Arc<dyn Ledger>,
    clock: SharedClock,
) -> (Stop, JoinHandle<Drained>) {
    let calls = Arc::<Calls>::default();
    let refiller = Refiller {
        ledger: Arc::clone(ledger),
        broker: Arc::clone(broker),
        clock: Arc::clone(&clock),
        calls: Arc::clone(&calls),
        queues: vec![queue()],
    };
    tokio::spawn(refiller.run(CancellationToken::new()));
    let options = Options {
        id: WorkerId::new("test", 1, Uuid::now_v7()),
        queues: vec![queue()],
        concurrency: 5,
        lease: Duration::from_secs(10),
        renew: Duration::from_secs(2),
        grace: Duration::from_secs(5),
    };
    let worker =
        Worker::new(registry, Arc::clone(broker), Arc::clone(ledger), clock, options, calls);
    let stop = Stop::default();
    (stop.clone(), tokio::spawn(async move { worker.run(stop).await.unwrap() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_callers_own_transaction_is_there_if_and_only_if_its_rows_are() {
    let server = PostgresServer::launch().await;
    let (recorded_in, _db) = ledger(&server, 4).await;
    let ledger: Arc<dyn Ledger> = Arc::new(recorded_in);
    let pool = PgPool::connect(&server.url("test_0")).await.unwrap();
    run(&pool, "CREATE TABLE orders (number bigint PRIMARY KEY)").await;

    let clock: SharedClock = SystemClock::shared();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let (told, mut runs) = mpsc::unbounded_channel();
    let mut registry = Registry::default();
    registry.add::<Confirm>(Tells(told), [queue()]).unwrap();
    let catalog = Arc::new(registry.catalog().clone());
    let producer =
        Producer::new(Arc::clone(&ledger), Arc::clone(&broker), catalog, Arc::clone(&clock));

    let record = async |order: i64| {
        let mut request = Request::of(&Confirm { order }).unwrap();
        request.policy.unique_key = Some("one at a time".to_owned());
        let job = producer.prepare(request).unwrap();
        let mut tx = pool.begin().await.unwrap();
        let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order);
        insert.execute(&mut *tx).await.unwrap();
        let recorded = SqlLedger::enqueue_on(&mut tx, std::slice::from_ref(&job)).await.unwrap();
        (tx, job, recorded)
    };
    let (tx, lost, recorded) = record(1).await;
    assert_eq!(recorded, [Recorded::Created]);
    tx.rollback().await.unwrap();
    assert!(ledger.job(lost.id).await.unwrap().is_none());

    let (tx, kept, recorded) = record(2).await;
    assert_eq!(recorded, [Recorded::Created], "the key of what was rolled back is free");
    tx.commit().await.unwrap();
    let (tx, _, existing) = record(3).await;
    assert_eq!(existing, [Recorded::Existing(kept.id)]);
    tx.commit().await.unwrap();
    assert!(Recorded::made(std::slice::from_ref(&kept), &existing).is_empty());
    let orders: Vec<i64> = sqlx::query_scalar("SELECT number FROM orders ORDER BY number")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(orders, [2, 3]);

    let (stop, working) = worker(registry, &broker, &ledger, clock);
    producer.dispatch(Recorded::made(std::slice::from_ref(&kept), &recorded));
    let run = tokio::time::timeout(LONG, runs.recv()).await.expect("a worker gets it");
    assert_eq!(run, Some((kept.id, 2)));
    // What comes later comes through; had the others a job, it would have run before.
    let later = producer.enqueue_one(&Confirm { order: 4 }, queue()).await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, runs.recv()).await.unwrap(), Some((later.id, 4)));
    stop.drain.cancel();
    working.await.unwrap();
    assert_eq!(ledger.job(kept.id).await.unwrap().unwrap().state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_another_open_transaction_has_is_waited_for() {
    let server = PostgresServer::launch().await;
    let (ledger, _db) = ledger(&server, 4).await;
    let pool = PgPool::connect(&server.url("test_0")).await.unwrap();
    for commits in [false, true] {
        let (first, second) = (unique("order"), unique("order"));
        let mut tx = pool.begin().await.unwrap();
        SqlLedger::enqueue_on(&mut tx, std::slice::from_ref(&first)).await.unwrap();
        let waiting = tokio::spawn({
            let (ledger, second) = (ledger.clone(), second.clone());
            async move { ledger.enqueue(&[second]).await }
        });
        let mut eye = operator(&server, "test_0").await;
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut eye).await.unwrap() == 0 {
            assert!(!waiting.is_finished(), "it did not wait");
        }
        let expected = if commits {
            tx.commit().await.unwrap();
            Recorded::Existing(first.id)
        } else {
            tx.rollback().await.unwrap();
            Recorded::Created
        };
        assert_eq!(waiting.await.unwrap().unwrap(), [expected]);
        ledger.cancel(second.id, postworks::testing::ledger::NOW, None).await.unwrap();
    }
}

/// What a transaction has written, and not committed, must be there for the run that it was told of.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_does_not_start_before_the_transaction_ends_that_was_told_it_waits() {
    let server = PostgresServer::launch().await;
    let (ledger, _db) = ledger(&server, 4).await;
    let pool = PgPool::connect(&server.url("test_0")).await.unwrap();
    let until_started = || NewJob { uniqueness: Uniqueness::UntilStarted, ..unique("order") };
    let first = until_started();
    ledger.enqueue(std::slice::from_ref(&first)).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let told = SqlLedger::enqueue_on(&mut tx, &[until_started()]).await.unwrap();
    assert_eq!(told, [Recorded::Existing(first.id)]);
    let token = Token { generation: 1, sequence: 1 };
    let starting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.stamp(&[(first.id, token)], NOW).await }
    });
    let mut eye = operator(&server, "test_0").await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut eye).await.unwrap() == 0 {
        assert!(!starting.is_finished(), "it did not wait");
    }
    tx.commit().await.unwrap();
    let started = starting.await.unwrap().unwrap();
    assert!(matches!(started[..], [Standing::Yours { .. }]), "{started:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_its_own_may_enqueue_for_whom_it_was_granted_and_nobody_else() {
    let server = PostgresServer::launch().await;
    let (ledger, _db) = ledger(&server, 2).await;
    let of = |tenant: Tenant, job: NewJob| NewJob { tenant, ..job };
    let admin = PgPool::connect(&server.url("test_0")).await.unwrap();
    run(
        &admin,
        "CREATE ROLE stranger; GRANT USAGE ON SCHEMA public TO stranger; \
         GRANT SELECT, INSERT ON jobs TO stranger; \
         CREATE ROLE shop; GRANT USAGE ON SCHEMA public TO shop; \
         GRANT SELECT, INSERT ON jobs TO shop; GRANT postworks_engine TO shop; \
         CREATE ROLE branch; GRANT USAGE ON SCHEMA public TO branch; \
         GRANT postworks_tenant TO branch",
    )
    .await;
    let record = async |login: &str, acting: Option<Tenant>, job: &NewJob| {
        let mut tx = admin.begin().await.unwrap();
        let acting = acting.map(|of| format!("SET LOCAL postworks.tenant = '{of}'"));
        let sql = format!("SET LOCAL ROLE {login}; {}", acting.unwrap_or_default());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        let recorded = SqlLedger::enqueue_on(&mut tx, std::slice::from_ref(job)).await?;
        tx.commit().await.unwrap();
        Ok::<_, Error>(recorded)
    };
    for (login, acting) in
        [("stranger", None), ("branch", None), ("branch", Some(BOLT)), ("stranger", Some(ACME))]
    {
        let job = of(ACME, unique("daily"));
        let refused = record(login, acting, &job).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{login} {acting:?}: {refused:?}");
        assert!(ledger.job(job.id).await.unwrap().is_none());
    }
    let (own, house) = (of(ACME, unique("daily")), unique("daily"));
    assert_eq!(record("branch", Some(ACME), &own).await.unwrap(), [Recorded::Created]);
    assert_eq!(record("shop", None, &house).await.unwrap(), [Recorded::Created]);
    let again = of(ACME, unique("daily"));
    let existing = [Recorded::Existing(own.id)];
    assert_eq!(record("shop", None, &again).await.unwrap(), existing, "a key is its tenant's");
    assert_eq!(record("branch", Some(ACME), &again).await.unwrap(), existing);
    let plain = of(BOLT, job());
    assert_eq!(record("shop", None, &plain).await.unwrap(), [Recorded::Created]);
    assert_eq!(ledger.job(plain.id).await.unwrap().unwrap().job.tenant, BOLT);
}
