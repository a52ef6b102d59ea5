//! Logins and their refresh tokens, as the tables keep them.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, Tenant, Timestamp};
use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _, SqlLedger};
use postworks::on_tx;
use postworks_workers::handlers::CleanUp;
use postworks_workers::store::{
    Exchange, Exchanged, NewRefresh, SESSION_KEPT, SESSION_TOKENS_MAX, User,
};
use uuid::Uuid;

use crate::scripted::KEYED;
use crate::world::{World, on_both};

on_both! {
    a_token_is_exchanged_once_however_many_ask_at_once,
    a_transaction_that_is_repeated_finds_its_own_rows,
    a_session_has_no_more_than_so_many_tokens,
    a_cleanup_takes_sessions_that_have_expired,
}

fn token(n: u8) -> NewRefresh {
    NewRefresh { id: Uuid::from_u128(n.into()), hash: [n; 32] }
}

fn note(at: Timestamp) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at,
        actor: "api".to_owned(),
        action: "user.create".to_owned(),
        subject: "ann@example.org".to_owned(),
        detail: None,
        why: None,
        count: 1,
    }
}

fn user(world: &World, email: &str) -> User {
    User {
        tenant: Tenant::DEFAULT,
        id: world.store.new_id(),
        email: email.to_owned(),
        role: "admin".to_owned(),
        created_at: world.clock.now(),
        disabled_at: None,
    }
}

/// A session of a new user; answers the session.
async fn session(world: &World, first: NewRefresh) -> Uuid {
    let user = user(world, &format!("{}@example.org", first.id));
    assert!(world.store.add_user(&user, "hash", &note(world.clock.now())).await.unwrap());
    let id = world.store.new_id();
    world.store.begin_session(id, user.id, first).await.unwrap();
    id
}

async fn a_token_is_exchanged_once_however_many_ask_at_once(db: Db) {
    let world = World::new(db, &KEYED).await;
    let id = session(&world, token(1)).await;
    // Each is another client, so whoever is not the first is a thief.
    let ask = |n: u8| {
        let exchange = Exchange { id: token(1).id, client: [n; 32], next: token(n) };
        let store = world.store.clone();
        tokio::spawn(async move { store.exchange(exchange).await.unwrap() })
    };
    let asked: Vec<_> = (10..30).map(ask).collect();
    let mut done = 0;
    for answer in asked {
        match answer.await.unwrap() {
            Exchanged::Done { session, .. } => {
                assert_eq!(session, id);
                done += 1;
            }
            Exchanged::Reused { session } => assert_eq!(session, id),
            Exchanged::Over => {}
        }
    }
    assert_eq!(done, 1);
    assert_eq!(world.store.session_user(id).await.unwrap(), None, "the session is ended");
}

/// As when the answer to a commit got lost.
async fn a_transaction_that_is_repeated_finds_its_own_rows(db: Db) {
    let world = World::new(db, &KEYED).await;
    let (ann, note) = (user(&world, "ann@example.org"), note(world.clock.now()));
    for _ in 0..2 {
        assert!(world.store.add_user(&ann, "hash", &note).await.unwrap());
    }
    let another = user(&world, "ann@example.org");
    assert!(!world.store.add_user(&another, "hash", &note).await.unwrap());
    let filter = AuditFilter { limit: 9, ..AuditFilter::default() };
    let audits = SqlLedger::new(world.db.clone()).audits(&filter).await.unwrap();
    assert_eq!(audits, [note], "noted once");

    let id = world.store.new_id();
    for _ in 0..2 {
        world.store.begin_session(id, ann.id, token(1)).await.unwrap();
    }
    let exchange = Exchange { id: token(1).id, client: [0; 32], next: token(2) };
    for _ in 0..2 {
        let done = world.store.exchange(exchange).await.unwrap();
        assert_eq!(done, Exchanged::Done { session: id, user: ann.clone() });
        world.advance(11);
    }
    let other = Exchange { next: token(3), ..exchange };
    assert_eq!(world.store.exchange(other).await.unwrap(), Exchanged::Reused { session: id });
}

async fn a_session_has_no_more_than_so_many_tokens(db: Db) {
    let world = World::new(db, &KEYED).await;
    let id = session(&world, token(1)).await;
    let mut tx = world.db.begin().await.unwrap();
    on_tx!(&mut tx, conn => sqlx::query("UPDATE sessions SET tokens = $1 WHERE id = $2")
        .bind(i64::from(SESSION_TOKENS_MAX) - 1)
        .bind(id)
        .execute(conn)
        .await
        .map(drop))
    .unwrap();
    tx.commit().await.unwrap();
    let exchange = |n: u8| Exchange { id: token(1).id, client: [0; 32], next: token(n) };
    let last = world.store.exchange(exchange(2)).await.unwrap();
    assert!(matches!(last, Exchanged::Done { session, .. } if session == id));
    assert_eq!(world.store.exchange(exchange(3)).await.unwrap(), Exchanged::Over);
}

async fn a_cleanup_takes_sessions_that_have_expired(db: Db) {
    let world = World::new(db, &KEYED).await;
    let old = session(&world, token(1)).await;
    for n in 2..5 {
        let exchange = Exchange { id: token(n - 1).id, client: [0; 32], next: token(n) };
        let done = world.store.exchange(exchange).await.unwrap();
        assert!(matches!(done, Exchanged::Done { session, .. } if session == old));
    }
    world.clock.advance(SESSION_KEPT);
    let new = session(&world, token(9)).await;
    world.clock.advance(Duration::from_secs(1));
    let count = async || world.store.prune_sessions(world.clock.now(), 9, true).await.unwrap();
    assert_eq!(count().await, 4);
    let mut worker = world.worker();
    worker.retention.batch = 2;
    let job = DataCleanup { scope: Some(CleanupScope::Sessions), dry_run: false };
    world.attempt(CleanUp(worker), job).await.unwrap();
    assert_eq!(count().await, 0);
    assert_eq!(world.store.refresh_hash(token(1).id).await.unwrap(), None);
    assert_eq!(world.store.refresh_hash(token(9).id).await.unwrap(), Some([9; 32]));
    assert!(world.store.session_user(new).await.unwrap().is_some());
}
