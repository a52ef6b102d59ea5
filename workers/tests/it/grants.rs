//! Accounts that are connected over OAuth, as the tables keep what is begun and what is granted.

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, Tenant};
use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _};
use postworks_workers::handlers::CleanUp;
use postworks_workers::secrets::KeyRing;
use postworks_workers::store::{
    Connector, ConnectorState, Grant, Granted, NewOAuthState, OAUTH_STATE_KEPT, OAUTH_STATES_MAX,
    OAuthProof, OAuthState, Renewed, Store,
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::scripted::KEYED;
use crate::world::{World, on_both};

on_both! {
    a_state_is_taken_once_however_many_ask_at_once,
    a_state_is_theirs_who_began_and_of_ten_minutes,
    a_state_whose_key_is_gone_counts_as_too_old,
    an_actor_begins_no_more_than_so_many,
    a_cleanup_takes_states_that_nobody_came_back_with,
    a_grant_becomes_an_account_and_one_that_is_known_keeps_its_id,
    a_grant_of_another_account_changes_nothing,
    a_name_gives_nobody_another_ones_account,
    a_grant_goes_before_a_refresh_that_is_under_way,
    a_grant_without_a_refresh_token_keeps_one_that_nobody_refused,
    a_grant_that_is_kept_again_is_noted_once,
    a_grant_revives_no_disconnected_account_and_is_told_of_as_others_are,
}

fn new(n: u32) -> NewOAuthState {
    let mut state_hash = [0; 32];
    state_hash[..4].copy_from_slice(&n.to_le_bytes());
    NewOAuthState {
        state_hash,
        cookie_hash: [7; 32],
        actor: "user:ann@example.org".to_owned(),
        platform: KEYED.name.to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        verifier: format!("verifier {n}").into(),
        redirect_uri: "https://app.example/callback".parse().unwrap(),
        connector_id: None,
        target: None,
        why: Some("she asked".to_owned()),
    }
}

const ANN: OAuthProof<'_> = OAuthProof::Actor("user:ann@example.org");

async fn take(store: &Store, n: u32, proof: OAuthProof<'_>) -> Option<OAuthState> {
    store.take_oauth_state(KEYED.name, &new(n).state_hash, proof).await.unwrap()
}

async fn a_state_is_taken_once_however_many_ask_at_once(db: Db) {
    let world = World::new(db, &KEYED).await;
    assert!(world.store.add_oauth_state(&new(1)).await.unwrap());
    let asked: Vec<_> = (0..20)
        .map(|n| {
            let store = world.store.clone();
            let proof = if n % 2 == 0 { ANN } else { OAuthProof::Cookie([7; 32]) };
            tokio::spawn(async move { take(&store, 1, proof).await })
        })
        .collect();
    let mut taken = Vec::new();
    for answer in asked {
        taken.extend(answer.await.unwrap());
    }
    assert_eq!(taken.len(), 1);
    let state = &taken[0];
    assert_eq!((state.tenant, state.connector_id), (Tenant::DEFAULT, None));
    assert_eq!(state.verifier.expose_secret(), "verifier 1");
    assert_eq!(
        (state.actor.as_str(), state.why.as_deref()),
        ("user:ann@example.org", Some("she asked"))
    );
    assert_eq!(state.redirect_uri.as_str(), "https://app.example/callback");
}

async fn a_state_is_theirs_who_began_and_of_ten_minutes(db: Db) {
    let world = World::new(db, &KEYED).await;
    for n in 1..=2 {
        assert!(world.store.add_oauth_state(&new(n)).await.unwrap());
    }
    for proof in [OAuthProof::Actor("user:bob@example.org"), OAuthProof::Cookie([8; 32])] {
        assert!(take(&world.store, 1, proof).await.is_none(), "{proof:?}");
    }
    let of_another = world.store.take_oauth_state("another", &new(1).state_hash, ANN).await;
    assert!(of_another.unwrap().is_none());
    // None of them cost whose it is anything, for as long as it is good.
    world.clock.advance(OAUTH_STATE_KEPT - std::time::Duration::from_secs(1));
    assert!(take(&world.store, 1, ANN).await.is_some());
    world.advance(1);
    assert!(take(&world.store, 2, ANN).await.is_none());
}

async fn a_state_whose_key_is_gone_counts_as_too_old(db: Db) {
    const OTHER: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    const BOTH: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=,\
         test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let world = World::new(db.clone(), &KEYED).await;
    for n in 1..=2 {
        assert!(world.store.add_oauth_state(&new(n)).await.unwrap());
    }
    let with = |keys| Store::new(db.clone(), KeyRing::parse(keys).unwrap(), world.clock.clone());
    assert!(take(&with(BOTH), 1, ANN).await.is_some(), "an old key opens it");
    assert!(take(&with(OTHER), 2, ANN).await.is_none());
    assert!(take(&world.store, 2, ANN).await.is_none(), "it is used up");
}

async fn an_actor_begins_no_more_than_so_many(db: Db) {
    let world = World::new(db, &KEYED).await;
    for n in 0..OAUTH_STATES_MAX {
        assert!(world.store.add_oauth_state(&new(n)).await.unwrap());
    }
    assert!(!world.store.add_oauth_state(&new(OAUTH_STATES_MAX)).await.unwrap());
    // A commit whose answer got lost is made again.
    assert!(world.store.add_oauth_state(&new(0)).await.unwrap());
    let bob = NewOAuthState { actor: "user:bob@example.org".to_owned(), ..new(OAUTH_STATES_MAX) };
    assert!(world.store.add_oauth_state(&bob).await.unwrap());
    world.clock.advance(OAUTH_STATE_KEPT);
    assert!(world.store.add_oauth_state(&new(OAUTH_STATES_MAX + 1)).await.unwrap());
}

async fn a_cleanup_takes_states_that_nobody_came_back_with(db: Db) {
    let world = World::new(db, &KEYED).await;
    for n in 0..5 {
        assert!(world.store.add_oauth_state(&new(n)).await.unwrap());
    }
    world.clock.advance(OAUTH_STATE_KEPT);
    world.advance(1);
    assert!(world.store.add_oauth_state(&new(9)).await.unwrap());
    let now = world.clock.now().after(OAUTH_STATE_KEPT + OAUTH_STATE_KEPT);
    let count = async || world.store.prune_oauth_states(now, 9, true).await.unwrap();
    assert_eq!(count().await, 6);
    let mut worker = world.worker();
    worker.retention.batch = 2;
    let job = DataCleanup { scope: Some(CleanupScope::OauthStates), dry_run: false };
    world.attempt(CleanUp(worker), job).await.unwrap();
    assert_eq!(count().await, 1);
    assert!(take(&world.store, 9, ANN).await.is_some());
}

pub(crate) fn grant(remote_id: &str, access: &str) -> Grant {
    Grant {
        platform: KEYED.name.to_owned(),
        base_url: "http://127.0.0.1:9/".parse().unwrap(),
        connector_id: None,
        target: None,
        remote_id: remote_id.to_owned(),
        name: None,
        tokens: Renewed {
            access: access.into(),
            refresh: Some(format!("{access} refresh").into()),
            secret: None,
            expires_at: None,
            remote_id: None,
            signed_in: false,
        },
    }
}

fn note(world: &World) -> AuditEntry {
    world.note("connector.add", "")
}

pub(crate) async fn keep(world: &World, grant: &Grant) -> Granted {
    world.store.keep_grant(grant, &note(world)).await.unwrap()
}

/// The account, if the grant was kept, and whether it was known.
pub(crate) fn kept(granted: Granted) -> (Uuid, bool) {
    let Granted::Kept(connected) = granted else { panic!("{granted:?}") };
    (connected.id, connected.again)
}

async fn token(world: &World, account: Uuid) -> Option<String> {
    let access = world.store.access(account).await.unwrap().unwrap();
    access.token.map(|token| token.expose_secret().to_owned())
}

async fn row(world: &World, account: Uuid) -> Connector {
    world.store.connector(account).await.unwrap().unwrap()
}

async fn a_grant_becomes_an_account_and_one_that_is_known_keeps_its_id(db: Db) {
    let world = World::new(db, &KEYED).await;
    let named = Grant { name: Some("Ann".to_owned()), ..grant("17", "one") };
    let (account, again) = kept(keep(&world, &named).await);
    assert!(!again);
    let connector = row(&world, account).await;
    assert_eq!(
        (connector.identifier.as_str(), connector.remote_id.as_deref()),
        ("Ann", Some("17"))
    );
    assert_eq!(connector.base_url.as_str(), "http://127.0.0.1:9/");
    assert_eq!(token(&world, account).await.as_deref(), Some("one"));
    let version = world.store.access(account).await.unwrap().unwrap().version;
    assert!(world.store.revoke(account, None, version, "refused").await.unwrap());

    // Under whichever name, with whichever slashes, and whether it is said which it should be.
    let renamed = Grant { name: Some("Annie".to_owned()), ..grant("17", "two") };
    let asked = Grant { connector_id: Some(account), ..grant("17", "three") };
    for (grant, access) in [(renamed, "two"), (asked, "three")] {
        assert_eq!(kept(keep(&world, &grant).await), (account, true));
        let connector = row(&world, account).await;
        assert_eq!((connector.state.as_str(), connector.identifier.as_str()), ("active", "Ann"));
        assert_eq!(token(&world, account).await.as_deref(), Some(access));
    }
    // The account that was added by hand says who it is when it is first worked for.
    let by_hand = Grant { connector_id: Some(world.account), ..grant("ada's", "four") };
    assert_eq!(kept(keep(&world, &by_hand).await), (world.account, true));
    assert_eq!(row(&world, world.account).await.remote_id.as_deref(), Some("ada's"));
    // Another server's 17 is another account.
    let elsewhere = Grant { base_url: "http://127.0.0.1:10".parse().unwrap(), ..grant("17", "x") };
    let (other, again) = kept(keep(&world, &elsewhere).await);
    assert!(other != account && !again);
}

async fn a_grant_of_another_account_changes_nothing(db: Db) {
    let world = World::new(db, &KEYED).await;
    let (ann, _) = kept(keep(&world, &grant("17", "ann's")).await);
    let (bob, _) = kept(keep(&world, &grant("18", "bob's")).await);
    let version = world.store.access(ann).await.unwrap().unwrap().version;
    assert!(world.store.revoke(ann, None, version, "refused").await.unwrap());
    let before = (row(&world, ann).await, row(&world, bob).await);
    for asked_for in [ann, world.account] {
        let wrong = Grant { connector_id: Some(asked_for), ..grant("18", "stray") };
        assert_eq!(keep(&world, &wrong).await, Granted::OfAnother);
    }
    let gone = Grant { connector_id: Some(Uuid::from_u128(5)), ..grant("18", "stray") };
    assert_eq!(keep(&world, &gone).await, Granted::Gone);
    let after = (row(&world, ann).await, row(&world, bob).await);
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(token(&world, ann).await.as_deref(), Some("ann's"));
    assert_eq!(token(&world, bob).await.as_deref(), Some("bob's"));
    assert_eq!(world.store.access(ann).await.unwrap().unwrap().version, version);
    assert_eq!(row(&world, world.account).await.remote_id, None);
}

async fn a_name_gives_nobody_another_ones_account(db: Db) {
    let world = World::new(db, &KEYED).await;
    // The account that a person added by hand is called so too.
    let eve = Grant { name: Some("ada".to_owned()), ..grant("66", "eve's") };
    let (account, again) = kept(keep(&world, &eve).await);
    assert!(account != world.account && !again);
    assert_eq!(row(&world, account).await.identifier, "66");
    assert_eq!(row(&world, world.account).await.remote_id, None);
    // Who has a name that is another one's id is somebody else.
    let (first, _) =
        kept(keep(&world, &Grant { name: Some("99".into()), ..grant("1", "a") }).await);
    let (second, again) = kept(keep(&world, &grant("99", "b")).await);
    assert!(second != first && !again);
    assert_eq!(row(&world, second).await.identifier, "id 99");
    assert_eq!(token(&world, first).await.as_deref(), Some("a"));
    assert_eq!(kept(keep(&world, &grant("99", "b")).await), (second, true));
    // What was added by hand under its own id is it.
    assert_eq!(kept(keep(&world, &grant("ada", "c")).await), (world.account, true));
}

async fn a_grant_goes_before_a_refresh_that_is_under_way(db: Db) {
    let world = World::new(db, &KEYED).await;
    let (account, _) = kept(keep(&world, &grant("17", "one")).await);
    let seen = world.store.access(account).await.unwrap().unwrap();
    let (owner, until) = (Uuid::from_u128(3), world.clock.now().after(OAUTH_STATE_KEPT));
    let held = world.store.acquire_refresh(&seen, owner, until).await.unwrap().unwrap();
    assert_eq!(held.refresh.unwrap().expose_secret(), "one refresh");
    assert!(held.secret.is_none());
    kept(keep(&world, &grant("17", "two")).await);
    let late = grant("17", "late").tokens;
    assert!(!world.store.commit_refresh(account, seen.version, &late).await.unwrap());
    assert_eq!(token(&world, account).await.as_deref(), Some("two"));
    assert!(world.store.renewal(account).await.unwrap().is_none(), "nobody waits for it");
}

async fn a_grant_without_a_refresh_token_keeps_one_that_nobody_refused(db: Db) {
    let world = World::new(db, &KEYED).await;
    let alone = |access| {
        let mut grant = grant("17", access);
        grant.tokens.refresh = None;
        grant
    };
    let (account, _) = kept(keep(&world, &grant("17", "one")).await);
    kept(keep(&world, &alone("two")).await);
    let seen = world.store.access(account).await.unwrap().unwrap();
    assert!(seen.renewable);
    let (owner, until) = (Uuid::from_u128(3), world.clock.now().after(OAUTH_STATE_KEPT));
    let held = world.store.acquire_refresh(&seen, owner, until).await.unwrap().unwrap();
    assert_eq!(held.refresh.unwrap().expose_secret(), "one refresh");
    // The platform refuses it.
    assert!(world.store.revoke(account, Some(owner), seen.version, "refused").await.unwrap());
    kept(keep(&world, &alone("three")).await);
    assert!(!world.store.access(account).await.unwrap().unwrap().renewable);
    assert_eq!(token(&world, account).await.as_deref(), Some("three"));
}

/// As when the answer to a commit got lost.
async fn a_grant_that_is_kept_again_is_noted_once(db: Db) {
    let world = World::new(db, &KEYED).await;
    let (grant, note) = (grant("17", "one"), note(&world));
    let (account, _) = kept(world.store.keep_grant(&grant, &note).await.unwrap());
    let version = world.store.access(account).await.unwrap().unwrap().version;
    let again = kept(world.store.keep_grant(&grant, &note).await.unwrap());
    assert_eq!(again.0, account);
    assert_eq!(world.store.access(account).await.unwrap().unwrap().version, version);
    let filter = AuditFilter { limit: 9, ..AuditFilter::default() };
    let audits = world.ledger().audits(&filter).await.unwrap();
    assert_eq!(audits, [AuditEntry { subject: account.to_string(), ..note }]);
}

async fn a_grant_revives_no_disconnected_account_and_is_told_of_as_others_are(db: Db) {
    let world = World::new(db, &KEYED).await;
    let named = Grant { name: Some("Ann".to_owned()), ..grant("17", "one") };
    let (account, _) = kept(keep(&world, &named).await);
    assert_eq!(kept(keep(&world, &named).await), (account, true));
    world.store.disconnect(account, &note(&world)).await.unwrap();

    let asked = Grant { connector_id: Some(account), ..grant("17", "two") };
    assert_eq!(keep(&world, &asked).await, Granted::Gone);
    let (anew, again) = kept(keep(&world, &named).await);
    assert!(anew != account && !again, "{anew} {again}");
    assert_eq!(row(&world, account).await.state, ConnectorState::Disconnecting);
    assert_eq!(row(&world, anew).await.identifier, "Ann");
    assert_eq!(token(&world, anew).await.as_deref(), Some("one"));

    let events = world.store.events(None, 9).await.unwrap().into_iter();
    let of_grants = events.filter(|event| event.subject != world.account);
    let told: Vec<(String, Uuid)> = of_grants.map(|event| (event.kind, event.subject)).collect();
    let told: Vec<(&str, Uuid)> = told.iter().map(|(kind, of)| (kind.as_str(), *of)).collect();
    assert_eq!(
        told,
        [
            ("connector.connected", account),
            ("connector.reconnected", account),
            ("connector.disconnected", account),
            ("connector.connected", anew),
        ]
    );
}
