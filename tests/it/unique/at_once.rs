//! Many callers and workers at once, on both databases: whoever edits, starts, crashes and repeats at
//! the same moment, what was edited last runs after it was edited.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postworks::job::{JobId, NewJob, State, Timestamp, Token, Uniqueness};
use postworks::ledger::{
    Db, GroupCommit, JobFilter, Ledger, Next, Recorded, SqlLedger, Standing, Verdict,
};
use postworks::testing::ledger::{NOW, unique};
use postworks::testing::postgres_server::PostgresServer;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const KEYS: usize = 3;
const EDITORS: u64 = 6;
const EDITS: usize = 40;
const WORKERS: u64 = 4;

/// What happened, in the order in which it was known.
#[derive(Default)]
struct History {
    /// Every edit that was accepted, and the job that is to run it.
    accepted: Vec<(u64, JobId)>,
    /// Which edit a job's first run began with.
    began: HashMap<JobId, u64>,
}

struct World {
    ledger: Arc<dyn Ledger>,
    /// Moves on with every look at it, a second at a time.
    clock: AtomicI64,
    edits: AtomicU64,
    tokens: AtomicU64,
    history: Mutex<History>,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + self.clock.fetch_add(1_000, Ordering::SeqCst))
    }

    fn edit(&self, key: usize) -> (u64, NewJob) {
        let n = self.edits.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.now();
        let job = NewJob {
            created_at: now,
            run_at: now.after(Duration::from_secs(3)),
            uniqueness: Uniqueness::Debounced { until: now.after(Duration::from_secs(20)) },
            args: n.to_string(),
            expires_at: now.after(Duration::from_secs(86_400)),
            ..unique(&format!("k{key}"))
        };
        (n, job)
    }

    /// Edits at random, alone or several in one call, and sometimes as if an answer had got lost.
    async fn edits(&self, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        for _ in 0..EDITS {
            let edits: Vec<(u64, NewJob)> = (0..dice.random_range(1..4))
                .map(|_| self.edit(dice.random_range(0..KEYS)))
                .collect();
            let jobs: Vec<NewJob> = edits.iter().map(|(_, job)| job.clone()).collect();
            let answers = self.ledger.enqueue(&jobs).await.unwrap();
            for ((n, job), answer) in edits.iter().zip(&answers) {
                let by = match answer {
                    Recorded::Created | Recorded::Waits => job.id,
                    Recorded::Replaced(by) => *by,
                    Recorded::Existing(_) => panic!("every one of them can be replaced"),
                };
                self.history.lock().unwrap().accepted.push((*n, by));
            }
            if dice.random_bool(0.3) {
                assert_eq!(self.ledger.enqueue(&jobs).await.unwrap(), answers, "the same again");
            }
        }
    }

    /// Takes up what there is, as a worker that may vanish at any moment.
    async fn work(&self, seed: u64, until: impl Fn() -> bool) {
        let mut dice = StdRng::seed_from_u64(seed);
        while !until() {
            let open = self.open().await;
            for id in open {
                let sequence = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                let token = Token { generation: 1, sequence };
                let standing =
                    self.ledger.stamp(&[(id, token)], self.now()).await.unwrap().remove(0);
                let Standing::Yours { edit, .. } = standing else { continue };
                self.begins(id, edit.map(|edit| edit.args)).await;
                if dice.random_bool(0.3) {
                    continue;
                }
                let at = self.now();
                let then = if dice.random_bool(0.3) {
                    Next::Waits { until: at, failed_attempts: 1 }
                } else {
                    Next::Completed { at }
                };
                let verdict = Verdict { id, token, then, failed: None };
                self.ledger.settle(&[verdict]).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    /// A run begins, with the edit that the stamp told of or the job was made with.
    async fn begins(&self, id: JobId, edit: Option<String>) {
        let recorded = self.ledger.job(id).await.unwrap().unwrap().job.args;
        let with = edit.unwrap_or_else(|| recorded.clone());
        assert_eq!(with, recorded, "nothing is replaced once a run has begun");
        let with: u64 = with.parse().unwrap();
        let first = *self.history.lock().unwrap().began.entry(id).or_insert(with);
        assert_eq!(with, first, "every run of a job has what the first began with");
    }

    async fn open(&self) -> Vec<JobId> {
        let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
        let rows = self.ledger.jobs(&filter, self.now()).await.unwrap();
        rows.iter().filter(|row| row.state != State::Completed).map(|row| row.job.id).collect()
    }
}

async fn edits_at_once(ledger: SqlLedger, seed: u64) {
    println!("seed {seed}");
    let world = Arc::new(World {
        ledger: Arc::new(GroupCommit::new(Arc::new(ledger))),
        clock: AtomicI64::default(),
        edits: AtomicU64::default(),
        tokens: AtomicU64::default(),
        history: Mutex::default(),
    });
    let editing: Vec<_> = (0..EDITORS)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.edits(seed + n).await })
        })
        .collect();
    let done = tokio_util::sync::CancellationToken::new();
    let working: Vec<_> = (0..WORKERS)
        .map(|n| {
            let (world, done) = (Arc::clone(&world), done.clone());
            tokio::spawn(async move { world.work(seed + 100 + n, || done.is_cancelled()).await })
        })
        .collect();
    for editor in editing {
        editor.await.unwrap();
    }
    done.cancel();
    for worker in working {
        worker.await.unwrap();
    }
    world.clock.fetch_add(3_600_000, Ordering::SeqCst);
    // The last worker does not vanish, and has all that is left.
    for id in world.open().await {
        let sequence = world.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        let token = Token { generation: 1, sequence };
        let standing = world.ledger.stamp(&[(id, token)], world.now()).await.unwrap().remove(0);
        let Standing::Yours { edit, .. } = standing else { panic!("{standing:?}") };
        world.begins(id, edit.map(|edit| edit.args)).await;
        let then = Next::Completed { at: world.now() };
        let verdict = Verdict { id, token, then, failed: None };
        world.ledger.settle(&[verdict]).await.unwrap();
    }
    let History { accepted, began } = &*world.history.lock().unwrap();
    let mut of_job: BTreeMap<JobId, Vec<u64>> = BTreeMap::new();
    for (edit, by) in accepted {
        of_job.entry(*by).or_default().push(*edit);
    }
    assert_eq!(of_job.len(), began.len(), "a run for each job");
    for (job, edits) in &of_job {
        assert!(edits.contains(&began[job]), "{job} began with none of its own edits: {edits:?}");
    }
    assert!(began.len() > KEYS && began.len() < accepted.len(), "{} runs", began.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_edited_by_many_at_once_runs_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    edits_at_once(SqlLedger::new(db), rand::random_range(0..1_000_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_edited_by_many_at_once_runs_on_postgresql() {
    let server = PostgresServer::launch().await;
    edits_at_once(SqlLedger::new(server.db().await), rand::random_range(0..1_000_000)).await;
}
