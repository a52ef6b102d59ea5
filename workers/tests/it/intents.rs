//! The effect ledger: which run may write what over what.

use postworks::clock::Clock as _;
use postworks::job::{Category, JobId, PostPublication, Reason, Request, State};
use postworks::ledger::{Db, Ledger as _, Next, Verdict};
use postworks::worker::JobContext;
use postworks_workers::platforms::Published;
use postworks_workers::store::{Begun, Earlier, PublicationState, Resolution, Resolved, Sender};
use uuid::Uuid;

use crate::scripted::BLIND;
use crate::world::{World, on_both};

on_both! {
    an_intent_is_recorded_only_on_the_row_as_it_was_read,
    a_run_that_lost_its_job_records_no_intent,
    a_run_whose_job_was_cancelled_records_no_intent,
    only_the_sender_can_say_that_its_request_was_not_applied,
    two_jobs_of_one_claim_are_two_senders,
    a_repeat_keeps_the_time_of_the_first_request,
    what_is_published_counts_from_anybody_and_for_good,
    a_person_cannot_resolve_what_may_be_under_way,
    a_resolved_publication_is_closed_to_whoever_read_it_before,
    a_job_that_died_of_not_knowing_ends_with_the_answer,
}

fn sender(cx: &JobContext) -> Sender {
    let (worker, run_at) = (cx.worker.clone(), cx.run_at);
    Sender { job: cx.id, token: cx.token, worker, run_at }
}

fn published(remote_id: &str) -> Published {
    Published { remote_id: remote_id.to_owned(), remote_url: None }
}

async fn begin(world: &World, id: Uuid, run: &Sender, seen: i64, earlier: Earlier) -> Option<i64> {
    match world.store.begin(id, run, seen, earlier).await.unwrap() {
        Begun::Recorded { version, .. } => Some(version),
        Begun::Published | Begun::Overtaken => None,
        other @ (Begun::NotYet(_) | Begun::Missed) => {
            panic!("it is due, and has no window: {other:?}")
        }
    }
}

async fn new(world: &World) -> (Uuid, Sender) {
    let id = world.publication("hello").await;
    (id, sender(&world.run_of(id).await))
}

async fn state(world: &World, id: Uuid) -> PublicationState {
    world.row(id).await.state
}

async fn job_state(world: &World, job: JobId) -> State {
    world.ledger().job(job).await.unwrap().unwrap().state
}

async fn dies_of_not_knowing(world: &World, run: &Sender) {
    let reason = Reason {
        category: Category::UnknownOutcome,
        class: "unknown".to_owned(),
        message: "no answer".to_owned(),
    };
    let then = Next::Dead { at: world.clock.now(), reason, failed_attempts: 1, job: None };
    let verdict = Verdict { id: run.job, token: run.token, then, failed: None };
    world.ledger().settle(&[verdict]).await.unwrap();
    assert_eq!(job_state(world, run.job).await, State::Dead);
}

async fn an_intent_is_recorded_only_on_the_row_as_it_was_read(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, run) = new(&world).await;
    let seen = world.row(id).await.version;
    for earlier in [Earlier::Open, Earlier::Absent] {
        assert_eq!(begin(&world, id, &run, seen, earlier).await, None, "nothing was begun");
    }
    let version = begin(&world, id, &run, seen, Earlier::None).await.unwrap();
    let row = world.row(id).await;
    assert_eq!((row.state, row.version), (PublicationState::Sending, version));
    assert_eq!(row.worker.as_deref(), Some(run.worker.as_str()));
    assert!(row.begun_at.unwrap() < row.send_by.unwrap());
    for earlier in [Earlier::None, Earlier::Open, Earlier::Absent] {
        assert_eq!(begin(&world, id, &run, seen, earlier).await, None, "it has changed");
    }
    assert_eq!(begin(&world, id, &run, version, Earlier::None).await, None, "it is open");
    assert!(begin(&world, id, &run, version, Earlier::Absent).await.is_some());
}

async fn a_run_that_lost_its_job_records_no_intent(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, zombie) = new(&world).await;
    let seen = world.row(id).await.version;
    let successor = sender(&world.run_of(id).await);
    assert_eq!(begin(&world, id, &zombie, seen, Earlier::None).await, None);
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
    assert!(begin(&world, id, &successor, seen, Earlier::None).await.is_some());
}

async fn a_run_whose_job_was_cancelled_records_no_intent(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, run) = new(&world).await;
    world.ledger().cancel(run.job, world.clock.now(), None).await.unwrap();
    assert_eq!(begin(&world, id, &run, 0, Earlier::None).await, None);
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
}

async fn only_the_sender_can_say_that_its_request_was_not_applied(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, first) = new(&world).await;
    let one = begin(&world, id, &first, 0, Earlier::None).await.unwrap();
    let second = sender(&world.run_of(id).await);
    let two = begin(&world, id, &second, one, Earlier::Absent).await.unwrap();
    for finally in [false, true] {
        world.store.not_published(id, &first, one, finally).await.unwrap();
        assert_eq!(state(&world, id).await, PublicationState::Sending);
    }
    // Twice, as after an answer that was lost.
    for _ in 0..2 {
        world.store.not_published(id, &second, two, false).await.unwrap();
        assert_eq!(state(&world, id).await, PublicationState::Scheduled);
    }
    // The answer to the intent was lost, and it was not recorded: there is nothing to withdraw.
    let third = sender(&world.run_of(id).await);
    let seen = world.row(id).await.version;
    world.store.not_published(id, &third, seen, false).await.unwrap();
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
}

async fn two_jobs_of_one_claim_are_two_senders(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, first) = new(&world).await;
    // Somebody enqueued the publication once more by hand, and a worker claimed both at once.
    let by_hand = Request::of(&PostPublication { publication_id: id }).unwrap();
    let job = world.prepare(by_hand).unwrap();
    let second = Sender { job: job.id, ..first.clone() };
    world.ledger().enqueue(&[job]).await.unwrap();
    world.ledger().stamp(&[(second.job, second.token)], world.clock.now()).await.unwrap();
    let version = begin(&world, id, &first, 0, Earlier::None).await.unwrap();
    assert_eq!(begin(&world, id, &second, 0, Earlier::None).await, None);
    world.store.not_published(id, &second, 0, false).await.unwrap();
    assert_eq!(world.row(id).await.version, version);
}

async fn a_repeat_keeps_the_time_of_the_first_request(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, run) = new(&world).await;
    let mut version = begin(&world, id, &run, 0, Earlier::None).await.unwrap();
    let first = world.row(id).await;
    world.advance(60);
    version = begin(&world, id, &run, version, Earlier::Open).await.unwrap();
    let again = world.row(id).await;
    assert_eq!(again.begun_at, first.begun_at);
    assert!(again.send_by > first.send_by);
    begin(&world, id, &run, version, Earlier::Absent).await.unwrap();
    assert!(world.row(id).await.begun_at > first.begun_at, "the first was not applied");
}

async fn what_is_published_counts_from_anybody_and_for_good(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, first) = new(&world).await;
    let one = begin(&world, id, &first, 0, Earlier::None).await.unwrap();
    let second = sender(&world.run_of(id).await);
    let two = begin(&world, id, &second, one, Earlier::Absent).await.unwrap();
    // The first run's answer comes now. It stays, whatever is said later.
    for remote_id in ["seen", "seen", "other"] {
        world.store.published(id, &published(remote_id)).await.unwrap();
        world.store.not_published(id, &second, two, true).await.unwrap();
        let row = world.row(id).await;
        assert_eq!((row.state, row.remote_id), (PublicationState::Published, Some("seen".into())));
    }
    let begun = world.store.begin(id, &second, two, Earlier::Absent).await.unwrap();
    assert_eq!(begun, Begun::Published);
}

async fn a_person_cannot_resolve_what_may_be_under_way(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, run) = new(&world).await;
    let absent = Resolution::Absent;
    let resolve = async |id| world.store.resolve(id, &absent, None).await.unwrap();
    assert!(matches!(resolve(Uuid::nil()).await, Resolved::Missing));
    assert!(matches!(resolve(id).await, Resolved::NotOpen(_)));
    begin(&world, id, &run, 0, Earlier::None).await.unwrap();
    let open = async || world.store.open_effects(None, 10).await.unwrap();
    assert!(open().await.is_empty());
    let Resolved::InFlight(until) = resolve(id).await else { panic!("it may be under way") };
    assert_eq!(Some(until), world.row(id).await.proof_from());
    world.clock.advance(until.since(world.clock.now()));
    let listed = open().await;
    assert_eq!(listed.iter().map(|open| open.publication.id).collect::<Vec<_>>(), [id]);
    assert_eq!((listed[0].platform.as_str(), listed[0].identifier.as_str()), ("blind", "ada"));
    assert!(world.store.open_effects(Some(id), 10).await.unwrap().is_empty());
    assert!(matches!(resolve(id).await, Resolved::Done(_)));
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
    assert!(open().await.is_empty());
}

async fn a_resolved_publication_is_closed_to_whoever_read_it_before(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (id, first) = new(&world).await;
    let version = begin(&world, id, &first, 0, Earlier::None).await.unwrap();
    world.advance(60);
    let second = sender(&world.run_of(id).await);
    world.store.resolve(id, &Resolution::Absent, None).await.unwrap();
    for earlier in [Earlier::None, Earlier::Absent, Earlier::Open] {
        assert_eq!(begin(&world, id, &second, version, earlier).await, None, "{earlier:?}");
    }
    let now = world.row(id).await.version;
    assert!(begin(&world, id, &second, now, Earlier::None).await.is_some());
}

async fn a_job_that_died_of_not_knowing_ends_with_the_answer(db: Db) {
    let world = World::new(db, &BLIND).await;
    for answer in ["late", "person", "absent"] {
        let (id, run) = new(&world).await;
        begin(&world, id, &run, 0, Earlier::None).await.unwrap();
        dies_of_not_knowing(&world, &run).await;
        world.advance(60);
        let seen = Resolution::Published { remote_id: None };
        match answer {
            "late" => world.store.published(id, &published("seen")).await.unwrap(),
            "person" => drop(world.store.resolve(id, &seen, None).await.unwrap()),
            _ => drop(world.store.resolve(id, &Resolution::Absent, None).await.unwrap()),
        }
        let expected = if answer == "absent" { State::Dead } else { State::Completed };
        assert_eq!(job_state(&world, run.job).await, expected, "{answer}");
    }
    let letters: u64 =
        world.ledger().dead_counts().await.unwrap().iter().map(|count| count.count).sum();
    assert_eq!(letters, 1, "the one that can be put back");
}
