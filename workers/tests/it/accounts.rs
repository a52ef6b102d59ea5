//! Nobody refreshes a token twice, and only a platform's own refusal disconnects an account.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, TokenRefresh};
use postworks::ledger::Db;
use postworks_workers::handlers::RefreshTokens;
use postworks_workers::store::ConnectorState;
use uuid::Uuid;

use crate::scripted::{Fault, KEYED, SESSIONS, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    sixteen_callers_with_one_expired_token_make_one_refresh,
    a_refresh_whose_lease_holder_died_is_tried_once_more,
    a_used_up_token_of_a_dead_holder_needs_a_person,
    a_lost_answer_to_a_refresh_is_named_when_its_token_turns_out_used_up,
    a_transient_refresh_failure_never_disconnects,
    a_token_that_is_still_good_is_used_while_refreshing_fails,
    a_revoked_account_answers_without_a_call,
    a_refresh_is_kept_though_its_job_was_cancelled,
    a_refused_token_is_renewed_and_the_call_made_once_more,
    connecting_again_revives_an_account_and_fences_a_refresh_under_way,
    a_password_opens_a_new_session_when_the_old_one_has_ended,
    tokens_that_end_before_they_come_are_not_renewed_without_end,
    an_enqueued_refresh_renews_good_tokens_and_its_repetition_does_not,
}

async fn state(world: &World) -> (ConnectorState, String) {
    let row = world.store.connector(world.account).await.unwrap().unwrap();
    (row.state, row.state_reason.unwrap_or_default())
}

async fn sixteen_callers_with_one_expired_token_make_one_refresh(db: Db) {
    let world = World::new(db, &KEYED).await;
    world.use_token(&world.worker().accounts).await.unwrap();
    for round in 2..5 {
        world.advance(TOKEN_LIFE_S);
        // The refresh is held at the gate until all callers are on their way.
        world.platform.gate.forget_permits(1_000);
        let workers: Vec<_> = (0..4).map(|_| world.worker().accounts).collect();
        let callers = (0..16).map(|n| world.use_token(&workers[n % 4]));
        let open = async {
            world.platform.at_gate.acquire().await.unwrap().forget();
            world.platform.gate.add_permits(1_000);
        };
        world.platform.at_gate.forget_permits(1_000);
        let (tokens, ()) =
            futures_util::future::join(futures_util::future::join_all(callers), open).await;
        for token in tokens {
            assert_eq!(token.unwrap(), format!("access-token-{round}"));
        }
        assert_eq!(world.platform.server().refreshes, round);
    }
    assert_eq!(state(&world).await.0, ConnectorState::Active);
}

/// A process takes the lease and dies; `sent`: its request had reached the platform.
async fn die_with_the_lease(world: &World, sent: bool) {
    let seen = world.store.access(world.account).await.unwrap().unwrap();
    let until = world.clock.now().after(Duration::from_secs(45));
    let held = world.store.acquire_refresh(&seen, Uuid::new_v4(), until).await.unwrap().unwrap();
    if sent {
        use postworks_workers::platforms::Platform as _;
        let account = seen.connector.account();
        world.platform.refresh(&account, &held.refresh.unwrap()).await.unwrap();
    }
}

async fn a_refresh_whose_lease_holder_died_is_tried_once_more(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    die_with_the_lease(&world, false).await;
    // The lease keeps everybody away until it ends.
    let mut caller = Box::pin(world.use_token_in_time(&accounts));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut caller).await;
    assert!(early.is_err());
    assert_eq!(world.platform.server().refreshes, 1);
    world.advance(46);
    assert_eq!(caller.await.unwrap(), "access-token-2");
    assert_eq!(world.platform.server().refreshes, 2);
}

async fn a_used_up_token_of_a_dead_holder_needs_a_person(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    die_with_the_lease(&world, true).await;
    world.advance(46);
    let error = world.use_token_in_time(&accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    let (state, reason) = state(&world).await;
    assert_eq!(state, ConnectorState::NeedsReauth);
    assert!(reason.contains("rotation_lost"), "{reason}");
    assert_eq!(world.platform.server().refreshes, 3, "first tokens, the lost one, once more");
    world.use_token(&accounts).await.unwrap_err();
    assert_eq!(world.platform.server().refreshes, 3);
}

async fn a_lost_answer_to_a_refresh_is_named_when_its_token_turns_out_used_up(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    let faults = [Fault::LosesTheAnswer(ErrorClass::Transient), Fault::Fails(ErrorClass::NotSent)];
    for fault in faults {
        world.platform.server().refresh_faults.push_back(fault);
        world.use_token(&accounts).await.unwrap_err();
        assert_eq!(state(&world).await.0, ConnectorState::Active);
        world.advance(300);
    }
    let error = world.use_token(&accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    let (_, reason) = state(&world).await;
    assert!(reason.contains("rotation_lost"), "{reason}");
}

async fn a_transient_refresh_failure_never_disconnects(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    let faults = [ErrorClass::Transient, ErrorClass::NotSent, ErrorClass::Invalid];
    let unknown = ErrorClass::Unknown { repeatable: false };
    for n in 0..40_u32 {
        let class = *faults.iter().chain([&unknown]).nth(n as usize % 4).unwrap();
        world.platform.server().refresh_faults.push_back(Fault::Fails(class));
        let error = world.use_token(&accounts).await.unwrap_err();
        // Of the job itself nothing has happened, so its outcome is never unknown.
        assert!(!matches!(error.class(), ErrorClass::Unknown { .. }), "{error}");
        // Everybody waits now, without a call and at no attempt's cost.
        let error = world.use_token(&accounts).await.unwrap_err();
        let ErrorClass::Unavailable { until } = error.class() else { panic!("{error}") };
        let wait = until.since(world.clock.now());
        assert!(wait <= Duration::from_secs(300), "{wait:?}");
        assert_eq!(world.platform.server().refreshes, n + 1);
        world.advance(300);
    }
    assert_eq!(state(&world).await.0, ConnectorState::Active);
    world.use_token(&accounts).await.unwrap();
    assert_eq!(world.store.access(world.account).await.unwrap().unwrap().failures, 0);
}

async fn a_token_that_is_still_good_is_used_while_refreshing_fails(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S - 20);
    world.platform.server().refresh_faults.push_back(Fault::Fails(ErrorClass::Transient));
    for _ in 0..3 {
        assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-1");
    }
    assert_eq!(world.platform.server().refreshes, 2, "one attempt, then the cool-down");
}

async fn a_revoked_account_answers_without_a_call(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.platform.forget_grant();
    let error = world.use_token(&accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    let calls = world.platform.server().calls;
    let refreshes = world.platform.server().refreshes;
    for _ in 0..5 {
        let error = world.use_token(&accounts).await.unwrap_err();
        assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
        assert!(error.to_string().contains("invalid_grant"), "{error}");
    }
    assert_eq!(world.platform.server().calls, calls);
    assert_eq!(world.platform.server().refreshes, refreshes);
}

async fn a_refresh_is_kept_though_its_job_was_cancelled(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.platform.gate.forget_permits(1_000);
    let mut caller = Box::pin(world.use_token(&accounts));
    tokio::select! {
        _ = &mut caller => panic!("nothing answers yet"),
        permit = world.platform.at_gate.acquire() => permit.unwrap().forget(),
    }
    drop(caller);
    world.platform.gate.add_permits(1_000);
    accounts.finish().await;
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-1");
    assert_eq!(world.platform.server().refreshes, 1);
}

async fn a_refused_token_is_renewed_and_the_call_made_once_more(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.platform.forget_access();
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-2");
    assert_eq!(world.platform.server().calls, 3);
    // A platform that refuses even new tokens gets no third call.
    let platform = world.platform.clone();
    let result: Result<(), _> = accounts
        .with_access(world.account, |_, _| {
            platform.server().calls += 1;
            async { Err(postworks::job::JobError::new(ErrorClass::AuthExpired, "no")) }
        })
        .await;
    assert!(matches!(result.unwrap_err().class(), ErrorClass::AuthExpired));
    assert_eq!(world.platform.server().calls, 5);
}

async fn connecting_again_revives_an_account_and_fences_a_refresh_under_way(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.platform.forget_grant();
    world.use_token(&accounts).await.unwrap_err();
    assert_eq!(state(&world).await.0, ConnectorState::NeedsReauth);

    world.platform.new_secret("second-secret");
    let again = world.connect("ada", "second-secret").await;
    assert_eq!((again.id, again.again), (world.account, true));
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-1");

    world.advance(TOKEN_LIFE_S);
    world.platform.gate.forget_permits(1_000);
    world.platform.at_gate.forget_permits(1_000);
    let caller = world.use_token(&accounts);
    let meanwhile = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        world.connect("ada", "third-secret").await;
        world.platform.new_secret("third-secret");
        world.platform.server().refresh_faults.push_back(Fault::Fails(ErrorClass::AuthRevoked));
        world.platform.gate.add_permits(1_000);
    };
    // The old refresh is refused, but that says nothing about the new secret.
    let (token, ()) = futures_util::future::join(caller, meanwhile).await;
    assert_eq!(token.unwrap(), "access-token-2");
    assert_eq!(state(&world).await.0, ConnectorState::Active);
}

async fn a_password_opens_a_new_session_when_the_old_one_has_ended(db: Db) {
    let world = World::new(db, &SESSIONS).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    for sign_ins in 2..4 {
        world.platform.forget_grant();
        world.use_token(&accounts).await.unwrap();
        assert_eq!(world.platform.server().sign_ins, sign_ins);
    }
    assert_eq!(state(&world).await.0, ConnectorState::Active);
    world.connect("ada", "a password that is wrong").await;
    let error = world.use_token(&accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    assert_eq!(state(&world).await.1, "wrong password");
}

async fn tokens_that_end_before_they_come_are_not_renewed_without_end(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.platform.server().life_s = 0;
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-1");
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-2");
    assert_eq!(world.platform.server().refreshes, 2);
}

async fn an_enqueued_refresh_renews_good_tokens_and_its_repetition_does_not(db: Db) {
    use postworks::worker::Handler as _;
    let world = World::new(db, &KEYED).await;
    let worker = world.worker();
    world.use_token(&worker.accounts).await.unwrap();
    world.advance(1);
    let (first, again) = (world.context::<TokenRefresh>(), RefreshTokens(worker));
    world.advance(1);
    for _ in 0..3 {
        again.handle(TokenRefresh { connector_id: world.account }, &first).await.unwrap();
    }
    assert_eq!(world.platform.server().refreshes, 2);
}
