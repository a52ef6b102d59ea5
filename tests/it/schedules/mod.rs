//! Schedules on both databases: each time is had once, and what was missed as the policy says.

mod lost_answer;
mod simulated;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postworks::broker::memory::MemoryBroker;
use postworks::chore::{LateSchedules, Scheduler, Source as _};
use postworks::client::Producer;
use postworks::clock::{Clock, SharedClock};
use postworks::job::schedule::{CATCH_UP_MAX, Cron, Missed, Overlap};
use postworks::job::{Catalog, JobId, Kind, Queue, Tenant, Timestamp, Token};
use postworks::ledger::{
    Added, AuditEntry, AuditFilter, Db, Fire, Holder, Ledger as _, Next, RanNow, Schedule,
    Schedules, SqlLedger, Verdict,
};
use postworks::on_db;
use postworks::telemetry::metrics::{Reading, SCHEDULE_LAG};
use postworks::testing::postgres_server::PostgresServer;
use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that stands still until it is set.
#[derive(Default)]
struct Hand(AtomicI64);

impl Hand {
    fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A node's scheduler, and its clock.
fn node(db: &Db) -> (Arc<Scheduler>, Arc<Hand>) {
    let hand = Arc::<Hand>::default();
    let clock: SharedClock = hand.clone();
    let broker = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let ledger = Arc::new(SqlLedger::new(db.clone()));
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let producer = Producer::new(ledger, broker.clone(), catalog, Arc::clone(&clock));
    let schedules = Schedules::new(db.clone());
    (Arc::new(Scheduler { schedules, broker, producer, clock }), hand)
}

fn note(action: &str, at: Timestamp) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at,
        actor: "cli:ann@desk".to_owned(),
        action: action.to_owned(),
        subject: "nightly".to_owned(),
        detail: None,
        why: None,
        count: 1,
    }
}

/// A schedule whose jobs are told from others' by their head start.
fn schedule(number: u32, cron: &str, zone: &str, from: Timestamp) -> Schedule {
    let kind = Kind::parse("data_cleanup").unwrap();
    Schedule {
        id: Uuid::now_v7(),
        tenant: Tenant::DEFAULT,
        name: format!("schedule-{number}"),
        cron: cron.to_owned(),
        zone: zone.to_owned(),
        queue: Queue::of_kind(&kind),
        kind,
        args: r#"{"dry_run":true}"#.to_owned(),
        account: None,
        priority_s: number,
        max_attempts: None,
        missed: Missed::Once,
        overlap: Overlap::Allow,
        jitter: Duration::ZERO,
        created_at: from,
        next_at: Cron::parse(cron, zone).unwrap().next_after(from),
        paused: None,
        fires: 0,
        built_in: false,
    }
}

async fn add(schedules: &Schedules, new: &Schedule) {
    let added = schedules.add(new, &note("schedule.add", new.created_at)).await.unwrap();
    assert_eq!(added, Added::Now);
}

/// Every job there is: its schedule's number, and when it was to run; in order.
async fn jobs(db: &Db) -> Vec<(u32, Timestamp)> {
    const SQL: &str = "SELECT priority_s, run_at FROM jobs ORDER BY priority_s, run_at";
    let rows: Vec<(i32, i64)> = on_db!(db, pool => sqlx::query_as(SQL).fetch_all(pool).await)
        .map_err(|error: sqlx::Error| error)
        .unwrap();
    let row = |(number, at)| (u32::try_from(number).unwrap(), Timestamp::from_millis(at));
    rows.into_iter().map(row).collect()
}

async fn complete(db: &Db, job: JobId, at: Timestamp) {
    let token = Token { generation: 1, sequence: 1 };
    let verdict = Verdict { id: job, token, then: Next::Completed { at }, failed: None };
    SqlLedger::new(db.clone()).settle(&[verdict]).await.unwrap();
}

async fn fires(schedules: &Schedules, of: &Schedule) -> Vec<Fire> {
    schedules.fires(of.id, 1_000).await.unwrap()
}

macro_rules! on_both {
    ($($name:ident,)*) => {
        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let server = PostgresServer::launch().await;
                    super::$name(&server.db().await).await;
                }
            )*
        }

        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
                    db.migrate().await.unwrap();
                    super::$name(&db).await;
                }
            )*
        }
    };
}

on_both! {
    what_was_missed_is_had_as_the_policy_says_and_floods_nobody,
    a_time_that_comes_while_the_last_job_is_not_done_makes_none,
    a_paused_schedule_waits_for_a_person_and_runs_for_one,
    a_schedule_that_can_fire_no_more_is_paused_and_says_why,
    a_name_is_taken_once_and_what_people_do_is_noted,
    only_the_newest_fires_are_kept,
    jobs_are_spread_and_late_clocks_make_nothing_twice,
    how_late_schedules_are_is_told,
}

async fn what_was_missed_is_had_as_the_policy_says_and_floods_nobody(db: &Db) {
    let (node, hand) = node(db);
    let start = time("2026-05-01T00:00:30Z");
    let policies = [Missed::Skip, Missed::Once, Missed::All];
    for (number, missed) in (0..).zip(policies) {
        let new = Schedule { missed, ..schedule(number, "* * * * *", "UTC", start) };
        add(&node.schedules, &new).await;
    }
    // Nobody was there for a week.
    let now = start.after(Duration::from_secs(7 * 24 * 3600));
    hand.set(now);
    node.look().await.unwrap();
    let made = jobs(db).await;
    let of = |number: u32| made.iter().filter(move |job| job.0 == number).map(|job| job.1);
    // The last minute is on time for all of them.
    let last = now.before(Duration::from_secs(30));
    assert_eq!(of(0).collect::<Vec<_>>(), [last]);
    assert_eq!(of(1).collect::<Vec<_>>(), [last]);
    let caught_up: Vec<Timestamp> = of(2).collect();
    assert_eq!(caught_up.len(), CATCH_UP_MAX);
    assert_eq!(caught_up[0], last);
    let late = &caught_up[1..];
    assert_eq!(late[0], now, "the first runs at once");
    let second = Duration::from_secs(1);
    assert!(late.windows(2).all(|pair| pair[1].since(pair[0]) == second), "{late:?}");
    hand.set(now.after(Duration::from_secs(20)));
    node.look().await.unwrap();
    assert_eq!(jobs(db).await.len(), made.len(), "nothing is had again");
}

async fn a_time_that_comes_while_the_last_job_is_not_done_makes_none(db: &Db) {
    let (node, hand) = node(db);
    let start = time("2026-05-01T00:00:00Z");
    let one = Schedule { overlap: Overlap::Skip, ..schedule(0, "* * * * *", "UTC", start) };
    add(&node.schedules, &one).await;
    for minute in 1..=2 {
        hand.set(start.after(MINUTE * minute));
        node.look().await.unwrap();
    }
    let seen = fires(&node.schedules, &one).await;
    assert_eq!(seen.iter().map(|fire| fire.job.is_some()).collect::<Vec<_>>(), [false, true]);
    let job = seen[1].job.unwrap();
    let again = node.producer.scheduled(&one, None).unwrap();
    let ran = node.schedules.run_now(one.id, &again, &note("schedule.run_now", start)).await;
    assert_eq!(ran.unwrap(), RanNow::Overlaps(Some(job)));
    complete(db, job, start.after(MINUTE * 2)).await;
    hand.set(start.after(MINUTE * 3));
    node.look().await.unwrap();
    assert!(fires(&node.schedules, &one).await[0].job.is_some());
    assert_eq!(jobs(db).await.len(), 2);
}

async fn a_paused_schedule_waits_for_a_person_and_runs_for_one(db: &Db) {
    let (node, hand) = node(db);
    let start = time("2026-05-01T00:00:00Z");
    let one = schedule(0, "* * * * *", "UTC", start);
    add(&node.schedules, &one).await;
    let holder = Holder { at: start, by: "cli:ann".to_owned(), why: None };
    let paused = note("schedule.pause", start);
    assert!(node.schedules.hold(one.id, Some(&holder), None, &paused).await.unwrap());
    hand.set(start.after(MINUTE * 5));
    node.look().await.unwrap();
    assert_eq!(jobs(db).await, []);
    let job = node.producer.scheduled(&one, None).unwrap();
    let ran = note("schedule.run_now", hand.now());
    for _ in 0..2 {
        // Said again, as after a lost answer, it is done once.
        assert_eq!(node.schedules.run_now(one.id, &job, &ran).await.unwrap(), RanNow::Made);
    }
    assert_eq!(jobs(db).await.len(), 1);
    let seen = fires(&node.schedules, &one).await;
    assert_eq!((seen.len(), seen[0].by_hand, seen[0].job), (1, true, Some(job.id)));
    let next = Some(start.after(MINUTE * 6));
    let resumed = note("schedule.resume", hand.now());
    assert!(node.schedules.hold(one.id, None, next, &resumed).await.unwrap());
    hand.set(start.after(MINUTE * 6));
    node.look().await.unwrap();
    assert_eq!(jobs(db).await.len(), 2, "what fell into the pause is not made up for");
    assert!(node.schedules.remove(one.id, &note("schedule.remove", start)).await.unwrap());
    assert!(!node.schedules.remove(one.id, &note("schedule.remove", start)).await.unwrap());
    hand.set(start.after(MINUTE * 9));
    node.look().await.unwrap();
    assert_eq!(jobs(db).await.len(), 2);
    let gone = node.schedules.run_now(one.id, &job, &ran).await.unwrap();
    assert_eq!(gone, RanNow::Missing);
}

async fn a_schedule_that_can_fire_no_more_is_paused_and_says_why(db: &Db) {
    let (node, hand) = node(db);
    let start = time("2026-05-01T00:00:00Z");
    let good = schedule(0, "* * * * *", "UTC", start);
    let args = r#"{"colour":"red"}"#.to_owned();
    let bad = Schedule { args, ..schedule(1, "* * * * *", "UTC", start) };
    add(&node.schedules, &bad).await;
    add(&node.schedules, &good).await;
    hand.set(start.after(MINUTE));
    node.look().await.unwrap();
    assert_eq!(jobs(db).await, [(0, start.after(MINUTE))], "others go on");
    let paused = node.schedules.one(bad.id).await.unwrap().unwrap();
    let holder = paused.paused.expect("it is paused");
    assert_eq!((paused.next_at, holder.by.as_str()), (None, "postworks"));
    assert!(holder.why.unwrap().contains("/args/colour: unknown field"));
}

async fn a_name_is_taken_once_and_what_people_do_is_noted(db: &Db) {
    let schedules = Schedules::new(db.clone());
    let start = time("2026-05-01T00:00:00Z");
    let one = schedule(7, "30 2 * * *", "Europe/Berlin", start);
    let added = note("schedule.add", start);
    for _ in 0..2 {
        assert_eq!(schedules.add(&one, &added).await.unwrap(), Added::Now);
    }
    let other = Schedule { id: Uuid::now_v7(), ..one.clone() };
    assert_eq!(schedules.add(&other, &added).await.unwrap(), Added::NameTaken);
    let ours = schedules.list(Tenant::DEFAULT, None, None, 10).await.unwrap();
    assert_eq!(ours, std::slice::from_ref(&one));
    let named = |name| schedules.list(Tenant::DEFAULT, Some(name), None, 10);
    assert_eq!(named("schedule-7").await.unwrap(), ours);
    assert_eq!(named("schedule-8").await.unwrap(), []);
    assert_eq!(schedules.list(Tenant::DEFAULT, None, Some(one.id), 10).await.unwrap(), []);
    let of_others = Tenant::from_uuid(Uuid::now_v7());
    assert_eq!(schedules.list(of_others, None, None, 10).await.unwrap(), []);
    let filter = AuditFilter { limit: 10, ..AuditFilter::default() };
    let noted = SqlLedger::new(db.clone()).audits(&filter).await.unwrap();
    assert_eq!(noted, [added], "once, and not what failed");
}

async fn only_the_newest_fires_are_kept(db: &Db) {
    let (node, hand) = node(db);
    let start = time("2026-05-01T00:00:00Z");
    let one = schedule(0, "* * * * *", "UTC", start);
    add(&node.schedules, &one).await;
    for minute in 1..=320 {
        hand.set(start.after(MINUTE * minute));
        node.look().await.unwrap();
    }
    let kept = fires(&node.schedules, &one).await;
    assert!((100..=150).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept[0].at, start.after(MINUTE * 320));
    assert_eq!(node.schedules.one(one.id).await.unwrap().unwrap().fires, 320);
    assert_eq!(jobs(db).await.len(), 320);
}

async fn jobs_are_spread_and_late_clocks_make_nothing_twice(db: &Db) {
    let ((node, hand), (other, behind)) = (node(db), node(db));
    let start = time("2026-05-01T00:00:00Z");
    let jitter = Duration::from_secs(600);
    for number in 0..40 {
        let new = Schedule { jitter, ..schedule(number, "0 * * * *", "UTC", start) };
        add(&node.schedules, &new).await;
    }
    let due = start.after(MINUTE * 60);
    hand.set(due);
    node.look().await.unwrap();
    // Put back by one whose clock is behind: it finds that the time was had.
    let all = node.schedules.list(Tenant::DEFAULT, None, None, 100).await.unwrap();
    for one in &all {
        let again = note("schedule.resume", start);
        assert!(node.schedules.hold(one.id, None, Some(due), &again).await.unwrap());
    }
    behind.set(due);
    other.look().await.unwrap();
    let made = jobs(db).await;
    assert_eq!(made.len(), 40);
    assert!(made.iter().all(|(_, at)| *at >= due && at.since(due) < jitter));
    let early = made.iter().filter(|(_, at)| at.since(due) < jitter / 2).count();
    assert!((8..=32).contains(&early), "{early} of 40 in the first half");
}

async fn how_late_schedules_are_is_told(db: &Db) {
    let (node, hand) = node(db);
    let late = LateSchedules { schedules: node.schedules.clone(), clock: node.clock.clone() };
    let tells = async || late.read().await.unwrap();
    let seconds = |seconds: f64| [Reading::new(SCHEDULE_LAG, &[], seconds)];
    assert_eq!(tells().await, seconds(0.0), "there is none");
    let start = time("2026-05-01T00:00:00Z");
    hand.set(start);
    let one = schedule(0, "*/5 * * * *", "UTC", start);
    let rare = schedule(1, "0 0 * * *", "UTC", start);
    // No worker has ever heard of it.
    let kind = Kind::parse("of_tomorrow").unwrap();
    let unknown = Schedule { kind, ..schedule(2, "0 1 * * *", "UTC", start) };
    for one in [&one, &rare, &unknown] {
        add(&node.schedules, one).await;
    }
    assert_eq!(tells().await, seconds(0.0), "none is due");
    hand.set(start.after(MINUTE * 7));
    assert_eq!(tells().await, seconds(120.0));
    node.look().await.unwrap();
    assert_eq!(tells().await, seconds(0.0));
    hand.set(start.after(MINUTE * 61));
    node.look().await.unwrap();
    assert_eq!(tells().await, seconds(60.0), "that of which nobody knows");
    let holder = Holder { at: hand.now(), by: "cli:ann".to_owned(), why: None };
    let paused = note("schedule.pause", hand.now());
    assert!(node.schedules.hold(unknown.id, Some(&holder), None, &paused).await.unwrap());
    assert_eq!(tells().await, seconds(0.0), "a paused one is not late");
}
