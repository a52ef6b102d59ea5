//! A commit whose answer got lost: it is found out, or said to be unknown, and counts once.

use std::sync::Arc;

use postworks::job::{Category, JobId, NewJob, Reason, State, Token, Uniqueness, WorkerId};
use postworks::ledger::{
    Db, DeadFilter, Error, FailedAttempt, Ledger, Next, PostgresOptions, Recorded, Settled,
    SqlLedger, Verdict,
};
use postworks::testing::chaos_proxy::{ChaosProxy, Spring, Target, Trap, Way};
use postworks::testing::ledger::{at, job, unique};
use postworks::testing::postgres_server::PostgresServer;
use tokio::task::block_in_place;

use super::until_ok;

/// The server never hears of the commit, or the client never hears what became of it.
const LOSSES: [Spring; 2] = [Spring::CutBefore, Spring::LoseAnswer];

struct World {
    server: PostgresServer,
    proxy: ChaosProxy,
    /// Through the proxy.
    ledger: SqlLedger,
    /// Past it.
    record: SqlLedger,
}

impl World {
    async fn start() -> Self {
        let server = PostgresServer::launch().await;
        let socket = server.folder().join(".s.PGSQL.5432");
        let proxy = ChaosProxy::start(Target::Unix(socket), 1).await;
        let direct = server.database().await;
        let path = direct.split('?').next().unwrap();
        let through = path.replace("@localhost", &format!("@{}", proxy.address()));
        let options = PostgresOptions { connections_max: 2, ..Default::default() };
        let open = |url: &str| SqlLedger::new(Db::connect_postgres(url, &options).unwrap());
        let ledger = open(&format!("{through}?sslmode=disable"));
        let record = open(&direct);
        Self { server, proxy, ledger, record }
    }

    /// Loses the next commit, or the answer to it.
    fn lose(&self, how: Spring) -> Arc<Trap> {
        self.proxy.set_trap(Trap::new(Way::ToServer, "COMMIT", how))
    }

    /// Loses the next statement that brings a job's arguments, or the answer to it.
    fn lose_arguments(&self, how: Spring) -> Arc<Trap> {
        self.proxy.set_trap(Trap::new(Way::ToServer, "publication_id", how))
    }

    async fn state(&self, id: JobId) -> Option<State> {
        self.record.job(id).await.unwrap().map(|row| row.state)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_finds_out_what_became_of_its_commit() {
    let world = World::start().await;
    for how in LOSSES {
        let (plain, with_key) = (job(), unique(&format!("{how:?}")));
        let lost = world.lose(how);
        let jobs = [plain.clone(), with_key.clone()];
        assert_eq!(world.ledger.enqueue(&jobs).await.unwrap(), [Recorded::Created; 2]);
        assert_eq!(lost.count(), 1, "{how:?}");
        assert_eq!(world.state(plain.id).await, Some(State::Ready), "{how:?}");
        // A caller that repeats it as another job gets the first one's id.
        let again = NewJob { id: job().id, ..with_key.clone() };
        let answers = world.ledger.enqueue(&[again]).await.unwrap();
        assert_eq!(answers, [Recorded::Existing(with_key.id)], "{how:?}");
    }
    assert_eq!(world.record.open_jobs(None, at(99), at(99), 9).await.unwrap().jobs.len(), 4);
}

/// The repetition finds that it was done, also when somebody has replaced the arguments once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_whose_answer_was_lost_is_made_once() {
    let world = World::start().await;
    for how in LOSSES {
        let key = format!("{how:?}");
        let edit = |args: &str| NewJob {
            uniqueness: Uniqueness::Debounced { until: at(30) },
            args: format!("\"{args}\""),
            ..unique(&key)
        };
        let (first, second, third) = (edit("first"), edit("second"), edit("third"));
        let replaced = [Recorded::Replaced(first.id)];
        let asked =
            async |job: &NewJob| world.ledger.enqueue(std::slice::from_ref(job)).await.unwrap();
        assert_eq!(asked(&first).await, [Recorded::Created]);
        let lost = world.lose(how);
        assert_eq!(asked(&second).await, replaced);
        assert_eq!(lost.count(), 1, "{how:?}");
        assert_eq!(asked(&third).await, replaced);
        assert_eq!(asked(&second).await, replaced);
        let row = world.record.job(first.id).await.unwrap().unwrap();
        assert_eq!(row.job.args, third.args, "{how:?}");
    }
    assert_eq!(world.record.open_jobs(None, at(99), at(99), 9).await.unwrap().jobs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_of_one_statement_finds_out_what_became_of_it() {
    let world = World::start().await;
    for how in LOSSES {
        let jobs = [job(), job()];
        let lost = world.lose_arguments(how);
        assert_eq!(world.ledger.enqueue(&jobs).await.unwrap(), [Recorded::Created; 2]);
        assert_eq!(lost.count(), 1, "{how:?}");
        for job in &jobs {
            assert_eq!(world.state(job.id).await, Some(State::Ready), "{how:?}");
        }
    }
    assert_eq!(world.record.open_jobs(None, at(99), at(99), 9).await.unwrap().jobs.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_that_cannot_find_out_does_not_claim_to_be_refused() {
    let world = World::start().await;
    // The connection is open before the server goes.
    world.ledger.check().await.unwrap();
    let lost = world.lose_arguments(Spring::LoseAnswer);
    let job = job();
    let asking = {
        let (ledger, job) = (world.ledger.clone(), job.clone());
        tokio::spawn(async move { ledger.enqueue(&[job]).await })
    };
    lost.sprung().await;
    // Whatever the race between the repetition and the end of the server: never a refusal.
    block_in_place(|| world.server.kill9());
    let answer = asking.await.unwrap();
    assert!(matches!(answer, Ok(_) | Err(Error::Unsure(_))), "{answer:?}");
    block_in_place(|| world.server.start());
    let repeat = async || world.ledger.enqueue(std::slice::from_ref(&job)).await;
    let (repeated, _) = until_ok("the caller repeats it", repeat).await;
    assert_eq!(repeated, [Recorded::Created]);
    let (open, _) = until_ok("it lists its jobs", async || {
        world.record.open_jobs(None, at(99), at(99), 9).await
    })
    .await;
    assert_eq!(open.jobs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_whose_answer_was_lost_counts_once() {
    let world = World::start().await;
    let token = Token { generation: 1, sequence: 1 };
    let failed = |outcome: &str| {
        Some(FailedAttempt {
            n: 1,
            started_at: at(1),
            ended_at: at(2),
            outcome: outcome.to_owned(),
            error: "no answer".to_owned(),
            worker: WorkerId::from_text("w"),
        })
    };
    for how in LOSSES {
        let jobs = [job(), job(), job()];
        world.record.enqueue(&jobs).await.unwrap();
        let reason =
            Reason { category: Category::Invalid, class: "invalid".into(), message: "no".into() };
        let thens = [
            (Next::Completed { at: at(2) }, None),
            (Next::Waits { until: at(60), failed_attempts: 1 }, failed("retry")),
            (Next::Dead { at: at(2), reason, failed_attempts: 1, job: None }, failed("dead")),
        ];
        let verdicts: Vec<Verdict> = jobs
            .iter()
            .zip(thens)
            .map(|(job, (then, failed))| Verdict { id: job.id, token, then, failed })
            .collect();
        world.lose(how);
        let lost = world.ledger.settle(&verdicts).await;
        assert!(matches!(lost, Err(Error::Unsure(_))), "{lost:?}");
        // As the worker does it.
        let (answers, _) =
            until_ok("it settles", async || world.ledger.settle(&verdicts).await).await;
        assert_eq!(answers, [Settled::Done; 3], "{how:?}");
        let attempts = |n: usize| world.record.attempts(jobs[n].id);
        assert_eq!(attempts(0).await.unwrap().len(), 0);
        assert_eq!(attempts(1).await.unwrap().len(), 1);
        assert_eq!(attempts(2).await.unwrap().len(), 1);
        let row = world.record.job(jobs[1].id).await.unwrap().unwrap();
        assert_eq!((row.state, row.job.failed_attempts), (State::Ready, 1));
        assert_eq!(world.state(jobs[0].id).await, Some(State::Completed));
        assert_eq!(world.state(jobs[2].id).await, Some(State::Dead));
    }
    let filter = DeadFilter { limit: 9, ..Default::default() };
    assert_eq!(world.record.dead_letters(&filter).await.unwrap().len(), 2);
}
