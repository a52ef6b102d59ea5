//! Windows of publications and moving them, as people and programs see it, and with real processes:
//! the platform's journal says what went out, and when.

mod asked;
mod windows;

use std::time::Duration;

use futures_util::future::join_all;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Timestamp;
use postworks::ledger::AuditEntry;
use postworks_server::sandbox::Op;
use postworks_workers::store::{Move, Which};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::fleet::{Fleet, LONG, Publication, now_ms, run, until};

const QUEUE: &str = "post_publication.sandbox";
const HOUR: Duration = Duration::from_secs(3_600);

/// A time so many milliseconds from now, as callers write it.
pub(crate) fn from_now(ms: i64) -> String {
    Timestamp::from_millis(now_ms() + ms).to_string()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// A publication on these accounts with these times.
async fn publish(fleet: &Fleet, connectors: &[String], times: Value) -> Vec<Publication> {
    let http = &fleet.client.http;
    let post = http.post("/api/posts", &json!({"text": "hello"})).await.expect(201);
    let mut publish = json!({"post_id": post["id"], "connector_ids": connectors});
    publish.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
    let accepted = http.post("/api/publish", &publish).await.expect(202);
    let rows = accepted["publications"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| Publication { id: text(&row["id"]), job: text(&row["job_id"]) }).collect()
}

/// When the platform accepted a publication.
fn sent_at(fleet: &Fleet, publication: &Publication) -> Timestamp {
    let journal = fleet.sandbox.journal();
    let reference = Some(publication.id.clone());
    let entry = journal.0.iter().find(|entry| entry.client_ref == reference).expect("it is out");
    entry.ts.parse().unwrap()
}

/// Whether the broker holds a job for a later time.
fn is_delayed(fleet: &Fleet, publication: &Publication) -> bool {
    let id = publication.job.replace('-', "");
    !fleet.redis.command(&format!("ZSCORE postworks:{{{QUEUE}}}:delayed {id}")).is_empty()
}

async fn show(fleet: &Fleet, publication: &Publication) -> Value {
    fleet.client.http.get(&format!("/api/publications/{}", publication.id)).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_moved_goes_out_at_its_new_time() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let earlier = publish(&fleet, &accounts, json!({"at": from_now(1_800_000)})).await;
    let later = publish(&fleet, &accounts, json!({"at": from_now(3_000)})).await;
    until("the broker does not hold them", LONG, async || {
        is_delayed(&fleet, &earlier[0]) && is_delayed(&fleet, &later[0])
    })
    .await;
    // From within the broker's horizon, and into it.
    let far = publish(&fleet, &accounts, json!({"at": from_now(7_200_000)})).await;
    let (soon, then) = (from_now(1_500), from_now(6_000));
    for (publication, at) in [(&earlier[0], &soon), (&later[0], &then), (&far[0], &soon)] {
        let moved = http.patch(&publication.id, &json!({"at": at})).await.expect(200);
        assert_eq!(&moved["at"], at);
    }
    let all = [earlier.clone(), later.clone(), far.clone()].concat();
    fleet.client.until_published(&all, LONG).await;
    worker.must_run();
    fleet.sandbox.journal().must_have_each_once(&all);
    for (publication, at) in [(&earlier[0], &soon), (&later[0], &then), (&far[0], &soon)] {
        let (at, sent) = (at.parse::<Timestamp>().unwrap(), sent_at(&fleet, publication));
        assert!(sent >= at, "sent at {sent}, before {at}");
        println!("sent {} ms after its new time", sent.since(at).as_millis());
    }
    let refused = http.patch(&earlier[0].id, &json!({"at": then})).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("published"), "{refused}");
}

/// The broker is told by whoever is there: here nobody who moved it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_mover_died_is_told_by_a_worker() {
    let fleet = Fleet::start().await;
    let _worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let waiting = publish(&fleet, &accounts, json!({"at": from_now(1_800_000)})).await;
    until("the broker does not hold it", LONG, async || is_delayed(&fleet, &waiting[0])).await;
    let note = AuditEntry {
        id: Uuid::new_v4(),
        at: SystemClock.now(),
        actor: "test".to_owned(),
        action: "publication.move".to_owned(),
        subject: waiting[0].id.clone(),
        detail: None,
        why: None,
        count: 1,
    };
    let at = Some(SystemClock.now());
    let (which, to) = (Which::One(waiting[0].id.parse().unwrap()), Move { at, ..Move::default() });
    let moved = fleet.store().move_publications(which, &to, 24 * HOUR, &note).await.unwrap();
    assert_eq!(moved.moved.len(), 1);
    fleet.client.until_published(&waiting, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&waiting);
    until("it is told again and again", LONG, async || {
        fleet.store().untold(None).await.unwrap().is_empty()
    })
    .await;
}

/// Whoever begins to publish waits for whoever has this lock, with the row in hand.
const HELD_UP: &str = "CREATE FUNCTION held_up() RETURNS trigger AS \
     $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$ LANGUAGE plpgsql; \
     CREATE TRIGGER held_up BEFORE UPDATE ON publications FOR EACH ROW \
     WHEN (OLD.frozen_at IS NULL AND NEW.frozen_at IS NOT NULL) EXECUTE FUNCTION held_up()";

/// How many sessions wait for a lock of this kind.
async fn waiting(conn: &mut PgConnection, kind: &'static str) -> i64 {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND wait_event = $1";
    sqlx::query_scalar(SQL).bind(kind).fetch_one(conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_worker_has_claimed_is_not_sent_at_its_old_time() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let url = fleet.postgres.url("postgres");
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut looker = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(HELD_UP).execute(&mut looker).await.unwrap();
    for _ in 0..3 {
        sqlx::raw_sql("SELECT pg_advisory_lock(7)").execute(&mut holder).await.unwrap();
        let claimed = publish(&fleet, &accounts, json!({})).await;
        until("nobody claims it", LONG, async || waiting(&mut looker, "advisory").await > 0).await;
        let at = from_now(4_000);
        let to = json!({"at": at});
        // It waits for the worker, who has read the post and is about to send it.
        let (moved, ()) = tokio::join!(http.patch(&claimed[0].id, &to), async {
            let asked = async || waiting(&mut looker, "transactionid").await > 0;
            until("the move does not wait", LONG, asked).await;
            sqlx::raw_sql("SELECT pg_advisory_unlock(7)").execute(&mut holder).await.unwrap();
        });
        assert_eq!(moved.expect(200)["at"], at);
        fleet.client.until_published(&claimed, LONG).await;
        let (at, sent) = (at.parse::<Timestamp>().unwrap(), sent_at(&fleet, &claimed[0]));
        assert!(sent >= at, "sent at {sent}, before {at}");
        fleet.sandbox.journal().must_have_each_once(&claimed);
        let job = fleet.client.until_job(&claimed[0].job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "a move costs no attempt: {job}");
    }
    worker.must_run();
}

/// Publications, and as many people who move them to and fro.
const MOVED: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_are_moved_to_and_fro_go_out_once_and_never_before_their_time() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut workers = fleet.workers(2, &[]).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let mut all = Vec::new();
    for _ in 0..MOVED / 2 {
        all.extend(publish(&fleet, &accounts, json!({"at": from_now(2_000)})).await);
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let ends = now_ms() + 12_000;
    let people = all.iter().enumerate().map(|(n, publication)| async move {
        let mut dice = rand::rngs::StdRng::seed_from_u64(seed.wrapping_add(n as u64));
        let (mut promised, mut moves) = (None, 0);
        loop {
            let over = now_ms() > ends;
            let far = !over && dice.random_bool(0.3);
            let ms = if far { 1_800_000 } else { dice.random_range(-500..1_500) };
            let at = from_now(if over { 200 } else { ms });
            let answer = http.patch(&publication.id, &json!({"at": at})).await;
            match answer.status {
                // What is past means now.
                200 => promised = Some(time(&answer.body["at"])),
                409 => break,
                _ => panic!("{}", answer.body),
            }
            moves += 1;
            if over {
                break;
            }
            let pause = Duration::from_millis(dice.random_range(0..900));
            // People take their time: that is what is tried out here.
            tokio::time::sleep(pause).await;
        }
        (promised, moves)
    });
    let outcomes: Vec<(Option<Timestamp>, u32)> = join_all(people).await;
    fleet.client.until_published(&all, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&all);
    let mut latest = Duration::ZERO;
    for (publication, (promised, _)) in all.iter().zip(&outcomes) {
        let Some(at) = promised else { continue };
        let sent = sent_at(&fleet, publication);
        assert!(sent >= *at, "{} was sent at {sent}, before {at}", publication.id);
        latest = latest.max(sent.since(*at));
    }
    workers.iter_mut().for_each(crate::fleet::Process::must_run);
    let moves: u32 = outcomes.iter().map(|(_, moves)| moves).sum();
    println!("{moves} moves of {MOVED} posts; the latest was {} ms late", latest.as_millis());
    assert!(fleet.client.jobs("dead").await.is_empty());
    assert_eq!(
        fleet.sandbox.journal().0.iter().filter(|entry| entry.op == Op::Publish).count(),
        MOVED + 2,
        "and the first posts"
    );
}
