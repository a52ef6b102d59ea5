//! A spike of jobs on `up --workers auto`: how many workers there are while it drains and after, and
//! whether each job was done once although one of them was killed meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

use crate::fleet::{ANY, Client, Fleet, LONG, Process, Publication, until};

/// What is asked of it.
pub(crate) struct Spike {
    /// Jobs on each account.
    pub(crate) jobs_each: usize,
    /// Accounts.
    pub(crate) accounts: usize,
    /// How long the platform takes for each job, in milliseconds.
    pub(crate) run_ms: u32,
    /// The slots of a worker.
    pub(crate) concurrency: u32,
    /// Settings of every process.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// Between two looks.
    pub(crate) every: Duration,
    /// The longest that it may take, from the first job to the last worker that goes.
    pub(crate) within: Duration,
}

/// How things were at one time.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) at: Duration,
    pub(crate) ready: u64,
    pub(crate) busy: u64,
    pub(crate) slots: u64,
    pub(crate) workers: u64,
    pub(crate) desired: u64,
    /// Posts that the platform has.
    pub(crate) done: usize,
}

/// What is in a row's columns.
pub(crate) const COLUMNS: &str = "   time  waiting  busy  slots     done  desired  workers";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, ready, busy, slots, workers, desired, done } = self;
        let at = at.as_secs_f64();
        let bar = "#".repeat(usize::try_from(*workers).unwrap_or(0));
        write!(
            f,
            "{at:>5.1} s {ready:>8} {busy:>5} {slots:>6} {done:>8} {desired:>8} {workers:>8} {bar}"
        )
    }
}

/// What was seen; all jobs completed and were published once, else there is nothing to tell.
pub(crate) struct Seen {
    pub(crate) rows: Vec<Row>,
    /// When a worker was killed.
    pub(crate) killed: Duration,
    /// When the last job had ended.
    pub(crate) drained: Duration,
    /// When there was one worker again.
    pub(crate) fell_back: Duration,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.rows.iter().map(|row| row.workers).max().unwrap_or(0);
        write!(
            f,
            "killed a worker after {:.1} s; drained after {:.1} s with up to {most} workers; one \
             worker again after {:.1} s; every job completed and was published once",
            self.killed.as_secs_f64(),
            self.drained.as_secs_f64(),
            self.fell_back.as_secs_f64(),
        )
    }
}

/// The accounts that many jobs are spread over.
const ACCOUNTS: usize = 20;

impl Spike {
    /// So many jobs, a multiple of twenty, on at most eight workers.
    pub(crate) fn of(jobs: usize, run_ms: u32, concurrency: u32) -> Self {
        Self {
            jobs_each: jobs / ACCOUNTS,
            accounts: ACCOUNTS,
            run_ms,
            concurrency,
            settings: vec![
                // More than processors, since the jobs wait for the platform.
                ("POSTWORKS__AUTOSCALE__MAX_WORKERS", "8"),
                ("POSTWORKS__AUTOSCALE__DRAIN_WITHIN", "30s"),
                ("POSTWORKS__AUTOSCALE__COOLDOWN", "20s"),
                ("POSTWORKS__AUTOSCALE__EVERY", "2s"),
                // The spike is the point, not who keeps it out.
                ("POSTWORKS__ADMISSION__DEPTH", "0"),
                ("POSTWORKS__ADMISSION__OLDEST", ""),
                ("POSTWORKS__ADMISSION__POSTGRES_WAIT", ""),
                // Ten processes share a server of a hundred connections; whoever waits for one is in
                // no hurry.
                ("POSTWORKS__LEDGER__POOL_SIZE", "8"),
                ("POSTWORKS__LEDGER__ACQUIRE_TIMEOUT", "30s"),
                ("POSTWORKS_LOG", "warn"),
            ],
            every: Duration::from_secs(2),
            within: Duration::from_secs(540),
        }
    }

    /// Lets it happen; tells `show` of each look.
    pub(crate) async fn run(&self, mut show: impl FnMut(&Row)) -> Seen {
        let (redis, postgres) = (RedisServer::start(), PostgresServer::launch().await);
        let fleet = Fleet::build(redis, postgres, &self.settings).await;
        let concurrency = self.concurrency.to_string();
        let args = ["up", "--listen", ANY, "--workers", "auto", "--concurrency", &concurrency];
        let mut up = fleet.command("up", &args);
        let client = Client::new(&up.listening("api").await);
        let accounts = fleet.connect("sandbox", self.accounts).await;
        let before = fleet.sandbox.journal().posts();
        fleet.sandbox.slow_down(self.run_ms).await;
        let start = Instant::now();
        let watching = self.watch(&fleet, &client, &up, start, before, &mut show);
        let enqueuing = client.publish_many(self.jobs_each, &accounts);
        let (publications, seen) = tokio::join!(enqueuing, watching);
        assert_eq!(publications.len(), self.jobs_each * self.accounts);
        must_have_done_each_once(&fleet, &publications).await;
        must_end_with_its_workers(&mut up).await;
        seen
    }

    async fn watch(
        &self,
        fleet: &Fleet,
        client: &Client,
        up: &Process,
        start: Instant,
        before: usize,
        show: &mut impl FnMut(&Row),
    ) -> Seen {
        let (mut rows, mut killed, mut drained) = (Vec::new(), None, None);
        loop {
            let row = look(fleet, client, start, before).await;
            show(&row);
            assert!(row.at < self.within, "it is not over after {:?}: {row:?}", self.within);
            if killed.is_none() && row.workers >= 3 && row.ready > 0 {
                let victim = *children(up.pid()).first().expect("workers are its children");
                kill(Pid::from_raw(victim), Signal::SIGKILL).expect("our own process");
                killed = Some(row.at);
            }
            let jobs = self.jobs_each * self.accounts;
            if drained.is_none() && row.done >= jobs && (row.ready, row.busy) == (0, 0) {
                drained = Some(row.at);
            }
            let over = drained.filter(|_| row.workers == 1 && row.desired == 1);
            let at = row.at;
            rows.push(row);
            if let Some(drained) = over {
                let killed = killed.expect("the spike took more than two workers");
                return Seen { rows, killed, drained, fell_back: at };
            }
            // The fleet gives no signal when it changes.
            tokio::time::sleep(self.every).await;
        }
    }
}

async fn look(fleet: &Fleet, client: &Client, start: Instant, before: usize) -> Row {
    let said = client.http.get("/api/autoscale").await.expect(200);
    let number = |name: &str| said[name].as_u64().unwrap_or_else(|| panic!("{name}: {said}"));
    Row {
        at: start.elapsed(),
        ready: number("ready"),
        busy: number("busy_slots"),
        slots: number("slots"),
        workers: number("workers"),
        desired: number("desired_workers"),
        done: fleet.sandbox.journal().posts() - before,
    }
}

/// The processes that a process has started and not waited for.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Fails the test unless each was published once and its job has completed.
async fn must_have_done_each_once(fleet: &Fleet, publications: &[Publication]) {
    fleet.sandbox.journal().must_have_each_once(publications);
    let completed = fleet.client.jobs("completed").await;
    let done: BTreeSet<&str> = completed.iter().filter_map(|job| job["id"].as_str()).collect();
    let open = publications.iter().filter(|wanted| !done.contains(wanted.job.as_str())).count();
    assert_eq!(open, 0, "jobs have not completed");
}

/// Told to stop, it lets its workers drain first.
async fn must_end_with_its_workers(up: &mut Process) {
    let workers = children(up.pid());
    assert_eq!(workers.len(), 1, "one worker is left: {workers:?}");
    up.signal(Signal::SIGTERM);
    let (status, _) = up.ended(LONG).await;
    assert_eq!(status.code(), Some(0), "{}", up.log());
    let gone = |pid: &i32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(workers.iter().all(gone), "a worker outlives who started it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spike_raises_the_workers_and_they_go_after_the_cooldown_and_nothing_runs_twice() {
    let spike = Spike {
        jobs_each: 60,
        accounts: 5,
        settings: vec![
            ("POSTWORKS__AUTOSCALE__MAX_WORKERS", "4"),
            ("POSTWORKS__AUTOSCALE__DRAIN_WITHIN", "3s"),
            ("POSTWORKS__AUTOSCALE__WAIT", "1s"),
            ("POSTWORKS__AUTOSCALE__COOLDOWN", "3s"),
            ("POSTWORKS__AUTOSCALE__EVERY", "250ms"),
            ("POSTWORKS__LEASE__DURATION", "3s"),
            ("POSTWORKS__LEASE__RENEW", "500ms"),
        ],
        every: Duration::from_millis(250),
        within: LONG,
        ..Spike::of(300, 200, 4)
    };
    println!("{COLUMNS}");
    let seen = spike.run(|row| println!("{row}")).await;
    println!("{seen}");
    assert_eq!(seen.rows[0].workers, 1, "{:?}", seen.rows[0]);
    assert!(seen.rows.iter().all(|row| row.busy <= row.slots), "{:?}", seen.rows);
    assert!(seen.rows.iter().all(|row| (1..=4).contains(&row.desired)), "{:?}", seen.rows);
    let after_the_kill = seen.rows.iter().filter(|row| row.at > seen.killed);
    assert!(after_the_kill.map(|row| row.workers).max() >= Some(3), "{:?}", seen.rows);
    assert!(seen.fell_back - seen.drained >= Duration::from_secs(1), "{:?}", seen.rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_drain_when_whoever_started_them_is_killed() {
    let fleet = Fleet::start_with(&[("POSTWORKS__AUTOSCALE__MIN_WORKERS", "2")]).await;
    let mut up = fleet.command("up", &["up", "--listen", ANY, "--workers", "auto"]);
    let client = Client::new(&up.listening("api").await);
    until("two workers", LONG, async || {
        client.http.get("/api/autoscale").await.expect(200)["workers"] == 2
    })
    .await;
    let workers = children(up.pid());
    assert_eq!(workers.len(), 2);
    // One that dies is followed by another.
    kill(Pid::from_raw(workers[0]), Signal::SIGKILL).expect("our own process");
    let mut now = workers.clone();
    until("another worker", LONG, async || {
        now = children(up.pid());
        now.len() == 2 && !now.contains(&workers[0])
    })
    .await;
    up.kill9().await;
    until("its workers are gone", LONG, async || {
        now.iter().all(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Nobody may be there to wait for it.
            stat.rsplit_once(") ").is_none_or(|(_, after)| after.starts_with('Z'))
        })
    })
    .await;
    // The one that was killed is believed for as long as a lease.
    until("nobody is believed to work", LONG, async || {
        fleet.client.http.get("/api/autoscale").await.expect(200)["workers"] == 0
    })
    .await;
}
