//! The product's rows: what belongs together is committed together, and what is old goes.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{
    CleanupScope, DataCleanup, Kind, PostPublication, Request, RequestPolicy, State,
};
use postworks::ledger::{AuditEntry, AuditFilter, Db, JobFilter, Ledger as _, SqlLedger};
use postworks::on_tx;
use postworks_workers::handlers::CleanUp;
use postworks_workers::platforms::RemotePost;
use postworks_workers::registry::registry;
use postworks_workers::store::{Cursor, Error, NewConnector, PublicationState, Publish};
use uuid::Uuid;

use crate::scripted::{BLIND, Fault, KEYED, SECRET};
use crate::world::{World, embedded, on_both};

on_both! {
    a_post_is_published_with_its_jobs_or_not_at_all,
    a_job_goes_to_the_queue_of_its_accounts_platform,
    a_server_is_one_with_and_without_a_slash_at_its_end,
    pages_are_newest_first_and_end,
    a_cleanup_takes_what_is_old_and_leaves_what_is_open,
    a_dry_run_only_counts,
}

async fn a_server_is_one_with_and_without_a_slash_at_its_end(db: Db) {
    const OLD: &str = "UPDATE connectors SET base_url = $1 WHERE id = $2 RETURNING id";
    let world = World::new(db, &KEYED).await;
    let connect = async |base_url: &str, identifier: &str| {
        let new = NewConnector {
            platform: KEYED.name.to_owned(),
            base_url: base_url.parse().unwrap(),
            identifier: identifier.to_owned(),
            target: None,
            secret: SECRET.into(),
        };
        world.store.add_connector(new).await.unwrap()
    };
    let first = connect("https://pds.example/a/", "bob").await;
    assert!(!first.again);
    for same in ["https://pds.example/a", "https://pds.example/a//", "https://PDS.example:443/a/"] {
        let again = connect(same, "bob").await;
        assert_eq!((again.id, again.again), (first.id, true), "{same}");
    }
    let kept = world.store.connector(first.id).await.unwrap().unwrap().base_url;
    assert_eq!(kept.as_str(), "https://pds.example/a");
    for other in ["https://pds.example/", "https://pds.example/a/b", "http://pds.example/a"] {
        assert!(!connect(other, "bob").await.again, "{other}");
    }
    assert!(!connect("https://pds.example/a", "eve").await.again);

    // A row of before.
    let mut tx = world.db.begin().await.unwrap();
    let old: Uuid = on_tx!(&mut tx, conn => sqlx::query_scalar(OLD)
        .bind("https://pds.example/a/")
        .bind(first.id)
        .fetch_one(conn)
        .await)
    .unwrap();
    assert_eq!(old, first.id);
    tx.commit().await.unwrap();
    for same in ["https://pds.example/a", "https://pds.example/a/"] {
        assert_eq!(connect(same, "bob").await.id, first.id, "{same}");
    }
}

const DAY_S: u64 = 24 * 3_600;

fn faults(error: Error) -> Vec<String> {
    let Error::Fields(faults) = error else { panic!("{error}") };
    faults.iter().map(ToString::to_string).collect()
}

async fn a_post_is_published_with_its_jobs_or_not_at_all(db: Db) {
    let world = World::new(db, &KEYED).await;
    let bob = world.connect("bob", SECRET).await.id;
    let post_id = world.store.add_post("hello").await.unwrap();
    let at = world.clock.now().after(Duration::from_secs(3_600));
    let ask = Publish {
        post_id,
        connector_ids: vec![world.account, bob],
        at: Some(at),
        window: None,
        reply: None,
    };
    let publish = async |ask: &Publish| {
        world.store.publish(ask, |request: Request| world.prepare(request)).await
    };
    let made = publish(&ask).await.unwrap();
    let ledger = SqlLedger::new(world.db.clone());
    for row in &made {
        let publication = world.row(row.publication_id).await;
        assert_eq!(
            (publication.state, publication.scheduled_at),
            (PublicationState::Scheduled, at)
        );
        assert_eq!(publication.job_id, row.job.id.as_uuid());
        let job = ledger.job(row.job.id).await.unwrap().unwrap().job;
        assert_eq!(job.queue.as_str(), "post_publication.keyed");
        assert_eq!((job.account, job.run_at), (Some(row.connector_id), at));
    }
    let nobody = Uuid::nil();
    for (ask, expected) in [
        (
            Publish {
                post_id: nobody,
                connector_ids: vec![bob, nobody],
                at: None,
                window: None,
                reply: None,
            },
            vec!["/post_id: no post with this id", "/connector_ids/1: no connector with this id"],
        ),
        (
            Publish { connector_ids: vec![bob, bob], ..ask.clone() },
            vec!["/connector_ids/1: is the same account as /connector_ids/0"],
        ),
        (
            Publish { connector_ids: vec![], ..ask.clone() },
            vec!["/connector_ids: must name 1 to 100 accounts"],
        ),
        (
            Publish { at: Some(at.after(Duration::from_secs(400 * DAY_S))), ..ask.clone() },
            vec!["/at: is more than 366 days ahead"],
        ),
    ] {
        assert_eq!(faults(publish(&ask).await.unwrap_err()), expected);
    }
    let all = JobFilter { limit: 100, ..JobFilter::default() };
    assert_eq!(ledger.jobs(&all, world.clock.now()).await.unwrap().len(), 2);
    // Publishing a post again is a decision of its own.
    assert_eq!(publish(&ask).await.unwrap().len(), 2);
}

async fn a_job_goes_to_the_queue_of_its_accounts_platform(db: Db) {
    let world = World::new(db, &KEYED).await;
    let publication = world.publication("hello").await;
    let (account, nobody) = (world.account, Uuid::nil());
    for (kind, args, queue) in [
        (
            "post_publication",
            format!(r#"{{"publication_id":"{publication}"}}"#),
            "post_publication.keyed",
        ),
        ("connector_sync", format!(r#"{{"connector_id":"{account}"}}"#), "connector_sync.keyed"),
        ("token_refresh", format!(r#"{{"connector_id":"{account}"}}"#), "token_refresh.keyed"),
        ("data_cleanup", "{}".to_owned(), "data_cleanup"),
    ] {
        let route = world.store.route(&Kind::parse(kind).unwrap(), &args).await.unwrap();
        assert_eq!(route.queue.as_str(), queue);
        assert_eq!(route.account, (kind != "data_cleanup").then_some(account));
    }
    for (kind, key) in [("post_publication", "publication_id"), ("token_refresh", "connector_id")] {
        let args = format!(r#"{{"{key}":"{nobody}"}}"#);
        let error = world.store.route(&Kind::parse(kind).unwrap(), &args).await.unwrap_err();
        let row = key.trim_end_matches("_id");
        assert_eq!(faults(error), [format!("/args/{key}: no {row} with this id")]);
    }
    let request = |id| {
        let mut request = Request::of(&PostPublication { publication_id: id }).unwrap();
        request.policy = RequestPolicy::default();
        world.prepare(request).unwrap()
    };
    let mut jobs = [request(publication), request(nobody), request(publication)];
    let faults = world.store.route_jobs(&mut jobs).await.unwrap();
    assert_eq!(faults.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1]);
    assert_eq!(jobs[2].queue.as_str(), "post_publication.keyed");
    assert_eq!(jobs[2].account, Some(account));

    let registry = registry(world.worker()).unwrap();
    let queues: Vec<&str> = registry.queues().map(|queue| queue.as_str()).collect();
    let expected =
        ["connector_sync.keyed", "data_cleanup", "post_publication.keyed", "token_refresh.keyed"];
    assert_eq!(queues, expected);
}

async fn pages_are_newest_first_and_end(db: Db) {
    let world = World::new(db, &KEYED).await;
    let mut ids = vec![world.account];
    for name in ["bob", "eve", "dan", "zoe"] {
        ids.insert(0, world.connect(name, SECRET).await.id);
    }
    let mut seen = Vec::new();
    loop {
        let page = world.store.connectors(None, seen.last().copied(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|row| row.id));
    }
    ids.sort_unstable_by(|left, right| right.cmp(left));
    assert_eq!(seen, ids);
    assert!(world.store.posts(None, 2).await.unwrap().is_empty());
    let id = world.store.add_post("hello").await.unwrap();
    assert_eq!(world.store.posts(None, 2).await.unwrap()[0].id, id);
    assert!(world.store.posts(Some(id), 2).await.unwrap().is_empty());
}

/// A published, a failed, a sending and a scheduled publication, and five found posts.
async fn fill(world: &World) -> [Uuid; 4] {
    let mut ids = [Uuid::nil(); 4];
    for (n, text) in ["published", "failed", "sending", "scheduled"].into_iter().enumerate() {
        ids[n] = world.publication(text).await;
        let fault = match text {
            "failed" => Some(Fault::INVALID),
            "sending" => Some(Fault::LOST),
            _ => None,
        };
        world.platform.server().publish_faults.extend(fault);
        if text != "scheduled" {
            let _ = world.publish(ids[n]).await;
        }
    }
    let posts: Vec<RemotePost> = (0..5)
        .map(|n| RemotePost { remote_id: n.to_string(), created_at: None, text: String::new() })
        .collect();
    let next = Cursor::default();
    assert!(world.store.keep_page(world.account, &posts, false, &next).await.unwrap());
    ids
}

async fn a_cleanup_takes_what_is_old_and_leaves_what_is_open(db: Db) {
    let world = World::new(db, &BLIND).await;
    let ids = fill(&world).await;
    let draft = world.store.add_post("a draft").await.unwrap();
    let ledger = SqlLedger::new(world.db.clone());
    ledger.audit(&something_done(&world)).await.unwrap();
    let mut worker = world.worker();
    worker.retention.batch = 2;
    let clean = async |job: DataCleanup| {
        world.attempt(CleanUp(worker.clone()), job).await.unwrap();
    };
    clean(DataCleanup::default()).await;
    assert_eq!(world.store.remote_posts_count(world.account).await.unwrap(), 5);
    world.advance(100 * DAY_S);
    clean(DataCleanup { scope: Some(CleanupScope::Publications), dry_run: false }).await;
    assert_eq!(world.store.remote_posts_count(world.account).await.unwrap(), 5);
    clean(DataCleanup::default()).await;
    assert_eq!(world.store.remote_posts_count(world.account).await.unwrap(), 0);
    assert_eq!(world.row(ids[0]).await.state, PublicationState::Published);
    world.advance(100 * DAY_S);
    clean(DataCleanup::default()).await;
    assert!(world.store.publication(ids[0]).await.unwrap().is_none());
    assert!(world.store.publication(ids[1]).await.unwrap().is_none());
    assert_eq!(world.row(ids[2]).await.state, PublicationState::Sending);
    assert_eq!(world.row(ids[3]).await.state, PublicationState::Scheduled);
    let posts = world.store.posts(None, 10).await.unwrap();
    let texts: Vec<&str> = posts.iter().map(|post| post.content.text.as_str()).collect();
    assert_eq!(texts, ["a draft", "scheduled", "sending"]);
    assert_eq!(posts[0].id, draft);
    let open = JobFilter { state: Some(State::Ready), limit: 9, ..JobFilter::default() };
    assert_eq!(ledger.jobs(&open, world.clock.now()).await.unwrap().len(), 4);
    let audits = async || {
        let all = AuditFilter { limit: 9, ..AuditFilter::default() };
        ledger.audits(&all).await.unwrap().len()
    };
    assert_eq!(audits().await, 1);
    world.advance(201 * DAY_S);
    clean(DataCleanup { scope: Some(CleanupScope::Audit), dry_run: false }).await;
    assert_eq!(audits().await, 0);
}

fn something_done(world: &World) -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(1),
        at: world.clock.now(),
        actor: "api".to_owned(),
        action: "job.cancel".to_owned(),
        subject: "a job".to_owned(),
        detail: None,
        why: None,
        count: 1,
    }
}

async fn a_dry_run_only_counts(db: Db) {
    let world = World::new(db, &BLIND).await;
    let ids = fill(&world).await;
    world.advance(200 * DAY_S);
    let job = DataCleanup { scope: None, dry_run: true };
    world.attempt(CleanUp(world.worker()), job).await.unwrap();
    assert_eq!(world.store.remote_posts_count(world.account).await.unwrap(), 5);
    assert_eq!(world.row(ids[0]).await.state, PublicationState::Published);
    assert_eq!(world.row(ids[1]).await.state, PublicationState::Failed);
}

#[tokio::test]
async fn tokens_appear_in_no_debug_output_and_not_in_the_database_file() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(embedded(folder.path()).await, &KEYED).await;
    let worker = world.worker();
    let printed = async || {
        let access = world.store.access(world.account).await.unwrap().unwrap();
        let until = world.clock.now();
        let held = world.store.acquire_refresh(&access, Uuid::new_v4(), until).await.unwrap();
        format!("{access:?} {held:?} {:?}", access.connector)
    };
    let mut debug = printed().await;
    world.advance(1);
    world.use_token_in_time(&worker.accounts).await.unwrap();
    debug += &printed().await;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        files.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |text: &str| files.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("remote-7"), "what is no secret is found");
    for secret in [SECRET, "access-token-1", "refresh-token-1"] {
        assert!(!holds(secret), "{secret}");
        assert!(!debug.contains(secret), "{secret}");
    }
    assert!(debug.contains("REDACTED"), "{debug}");
}
