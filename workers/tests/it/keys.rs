//! Keys prove themselves before they are used, and a rotation seals everything anew without being in
//! anybody's way.

use std::collections::BTreeSet;

use postworks::clock::{Clock as _, SharedClock};
use postworks::config::{Config, Environment, Sources};
use postworks::job::Tenant;
use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _, Tx};
use postworks::on_tx;
use postworks::worker::Stop;
use postworks_workers::checkup;
use postworks_workers::keys::{Error, KeyFault, Keyholder, Missing, Progress, Rotated, Rotation};
use postworks_workers::node::{self, Node};
use postworks_workers::secrets::KeyRing;
use postworks_workers::store::{ConnectorState, NewConnector, SealingKey, Store};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::scripted::{KEYED, SECRET, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    a_rotation_that_breaks_off_goes_on,
    a_row_that_a_refresh_changed_meanwhile_is_left_to_the_refresh,
    a_refresh_under_way_commits_on_a_row_that_was_sealed_anew,
    a_rotation_leaves_no_living_node_behind,
    every_tenants_rows_are_sealed_anew,
    a_damaged_row_is_named_and_left_alone,
    rows_of_a_time_before_proofs_tell_a_wrong_key,
    a_slip_that_has_sealed_nothing_can_be_put_right,
    what_a_lost_key_has_sealed_waits_for_a_person,
}

const OLD: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
/// Another key of the old one's id.
const WRONG: &str = "test:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

fn store(world: &World, keys: &[&str]) -> Store {
    let clock: SharedClock = world.clock.clone();
    Store::new(world.db.clone(), KeyRing::parse(&keys.join(",")).unwrap(), clock)
}

fn keyholder(world: &World, node: &str, keys: &[&str]) -> Keyholder {
    Keyholder::new(store(world, keys), node)
}

fn note(world: &World) -> AuditEntry {
    world.note("keys.rotate", "new")
}

async fn begin(world: &World) -> Result<Rotation, Error> {
    Rotation::begin(keyholder(world, "rotation:1:x", &[NEW, OLD]), note(world)).await
}

async fn to_the_end(mut rotation: Rotation) -> Rotated {
    while rotation.step().await.unwrap().more {}
    rotation.finish().await.unwrap()
}

async fn key(world: &World, id: &str) -> SealingKey {
    world.store.key_book().await.unwrap().key(id).unwrap().clone()
}

/// What a person entered, as who has only these keys reads it.
async fn secret(world: &World, account: Uuid, keys: &[&str]) -> Option<String> {
    let store = store(world, keys);
    let seen = store.access(account).await.ok()??;
    let held = store.acquire_refresh(&seen, Uuid::new_v4(), world.clock.now()).await.ok()??;
    held.secret.map(|secret| secret.expose_secret().to_owned())
}

fn fault<T>(result: Result<T, Error>) -> KeyFault {
    match result {
        Err(Error::Fault(fault)) => fault,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("nothing was found to be wrong"),
    }
}

async fn a_rotation_that_breaks_off_goes_on(db: Db) {
    let world = World::new(db, &KEYED).await;
    let mut accounts = vec![world.account];
    for n in 0..249 {
        accounts.push(world.connect(&format!("account-{n}"), SECRET).await.id);
    }
    let mut first = begin(&world).await.unwrap();
    assert_eq!(first.step().await.unwrap(), Progress { done: 100, more: true });
    drop(first);
    assert_eq!((key(&world, "test").await.rows, key(&world, "new").await.rows), (150, 100));

    let rotated = to_the_end(begin(&world).await.unwrap()).await;
    let expected =
        Rotated { done: 150, damaged: Vec::new(), retired: vec!["test".to_owned()], left: 0 };
    assert_eq!(rotated, expected);
    assert!(key(&world, "test").await.retired_at.is_some());
    for account in accounts {
        assert_eq!(secret(&world, account, &[NEW]).await.as_deref(), Some(SECRET));
        assert_eq!(secret(&world, account, &[OLD]).await, None);
    }
    let filter = AuditFilter { limit: 10, ..AuditFilter::default() };
    let noted = world.ledger().audits(&filter).await.unwrap();
    assert_eq!(noted.iter().map(|entry| entry.count).sum::<u64>(), 250);
}

async fn a_row_that_a_refresh_changed_meanwhile_is_left_to_the_refresh(db: Db) {
    let mut world = World::new(db, &KEYED).await;
    world.connect("bob", SECRET).await;
    world.store = store(&world, &[OLD, NEW]);
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    let (rotating, note) = (store(&world, &[NEW, OLD]), note(&world));

    let stale = rotating.stale(Uuid::nil()).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    let renewed = world.use_token(&accounts).await.unwrap();
    let page = rotating.reseal(&stale, &note).await.unwrap();
    assert_eq!((page.done, page.changed), (1, 1), "bob's, and not the one that was renewed");
    assert_eq!(world.use_token(&accounts).await.unwrap(), renewed);

    // Done again, since the commit's answer got lost, it does no harm.
    let again = rotating.reseal(&stale, &note).await.unwrap();
    assert_eq!((again.done, again.changed), (0, 2));
    // The next walk reads the row as it is now.
    let rest = rotating.stale(Uuid::nil()).await.unwrap();
    assert_eq!(rest.last(), Some(world.account));
    assert_eq!(rotating.reseal(&rest, &note).await.unwrap().done, 1);
    assert_eq!(rotating.stale(Uuid::nil()).await.unwrap().last(), None);
    assert_eq!(world.use_token(&accounts).await.unwrap(), renewed, "with the same token");
    world.advance(TOKEN_LIFE_S);
    assert_eq!(world.use_token(&accounts).await.unwrap(), "access-token-3");
}

async fn a_refresh_under_way_commits_on_a_row_that_was_sealed_anew(db: Db) {
    let mut world = World::new(db, &KEYED).await;
    world.store = store(&world, &[OLD, NEW]);
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    // The refresh is held at the platform while everything is sealed anew.
    world.platform.gate.forget_permits(1_000);
    world.platform.at_gate.forget_permits(1_000);
    let meanwhile = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        let rotated = to_the_end(begin(&world).await.unwrap()).await;
        world.platform.gate.add_permits(1_000);
        rotated.done
    };
    let (token, done) = futures_util::future::join(world.use_token(&accounts), meanwhile).await;
    assert_eq!((token.unwrap().as_str(), done), ("access-token-2", 1));
    assert_eq!(world.platform.server().refreshes, 2);
    // Whoever refreshed sealed with the old key, as its ring says.
    assert_eq!((key(&world, "test").await.rows, key(&world, "new").await.rows), (1, 0));
}

async fn a_rotation_leaves_no_living_node_behind(db: Db) {
    let world = World::new(db, &KEYED).await;
    let behind = keyholder(&world, "web:7:x", &[OLD]);
    behind.prove().await.unwrap();
    let refused = fault(begin(&world).await);
    let nodes = "web:7".to_owned();
    assert_eq!(refused, KeyFault::NotHeld { id: "new".to_owned(), nodes });
    behind.prove().await.unwrap();

    // It has been silent for too long, and is taken for gone.
    world.advance(61);
    let mut rotation = begin(&world).await.unwrap();
    let missing = vec![Missing { id: "new".to_owned(), rows: 0 }];
    assert_eq!(fault(behind.prove().await), KeyFault::Missing(missing), "it cannot start anew");
    // It was not gone.
    store(&world, &[OLD]).hold_keys("web:7:x").await.unwrap();
    assert!(matches!(fault(rotation.step().await), KeyFault::NotHeld { .. }));
    assert_eq!(key(&world, "test").await.rows, 1, "nothing was sealed that it cannot open");
    keyholder(&world, "web:7:x", &[OLD, NEW]).prove().await.unwrap();
    let rotated = to_the_end(rotation).await;
    assert_eq!((rotated.done, rotated.retired), (1, Vec::new()), "web still seals with it");
}

async fn every_tenants_rows_are_sealed_anew(db: Db) {
    let world = World::new(db, &KEYED).await;
    let acme = world.store.for_tenant(Tenant::from_uuid(Uuid::from_u128(0xac4e)));
    let new = NewConnector {
        platform: KEYED.name.to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        identifier: "theirs".to_owned(),
        target: None,
        secret: SecretString::from("their secret"),
    };
    let theirs = acme.add_connector(new).await.unwrap().id;
    assert_eq!(to_the_end(begin(&world).await.unwrap()).await.done, 2);
    assert_eq!(secret(&world, theirs, &[NEW]).await.as_deref(), Some("their secret"));
}

async fn a_damaged_row_is_named_and_left_alone(db: Db) {
    const SWAP: &str = "UPDATE connector_tokens SET secret_ct = \
         (SELECT secret_ct FROM connector_tokens WHERE connector_id <> $1) \
         WHERE connector_id = $1";
    let world = World::new(db, &KEYED).await;
    let bob = world.connect("bob", SECRET).await.id;
    let mut tx: Tx = world.db.begin().await.unwrap();
    on_tx!(&mut tx, conn => sqlx::query(SWAP).bind(bob).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
    let rotated = to_the_end(begin(&world).await.unwrap()).await;
    let expected = Rotated { done: 1, damaged: vec![bob], retired: Vec::new(), left: 1 };
    assert_eq!(rotated, expected);
}

async fn rows_of_a_time_before_proofs_tell_a_wrong_key(db: Db) {
    let world = World::new(db, &KEYED).await;
    assert_eq!(key(&world, "test").await.proof, None);
    let wrong = fault(keyholder(&world, "web:7:x", &[WRONG]).prove().await);
    assert_eq!(wrong, KeyFault::Wrong("test".to_owned()));
    assert_eq!(key(&world, "test").await.proof, None, "it was not entered");
    keyholder(&world, "web:8:x", &[OLD]).prove().await.unwrap();
    assert!(key(&world, "test").await.proof.is_some());
    let wrong = fault(keyholder(&world, "web:7:x", &[NEW, WRONG]).prove().await);
    assert_eq!(wrong, KeyFault::Wrong("test".to_owned()));
    let nodes: BTreeSet<String> =
        world.store.key_holders().await.unwrap().into_iter().map(|one| one.node).collect();
    assert_eq!(nodes, BTreeSet::from(["web:8:x".to_owned()]), "who did not start holds nothing");
}

async fn a_slip_that_has_sealed_nothing_can_be_put_right(db: Db) {
    const SLIP: &str = "new:BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=";
    let world = World::new(db, &KEYED).await;
    let one = keyholder(&world, "web:7:x", &[OLD, SLIP]);
    one.prove().await.unwrap();
    let other = keyholder(&world, "web:8:x", &[OLD, NEW]);
    assert_eq!(fault(other.prove().await), KeyFault::Wrong("new".to_owned()));
    world.store.leave_keys("web:7:x").await.unwrap();
    other.prove().await.unwrap();
    assert_eq!(fault(one.prove().await), KeyFault::Wrong("new".to_owned()));
}

async fn what_a_lost_key_has_sealed_waits_for_a_person(db: Db) {
    let mut world = World::new(db, &KEYED).await;
    let having = keyholder(&world, "web:7:x", &[OLD]);
    having.prove().await.unwrap();
    let left = keyholder(&world, "web:8:x", &[NEW]);
    assert!(matches!(fault(left.give_up("test", &note(&world)).await), KeyFault::NotLost { .. }));
    assert!(matches!(fault(having.lost_with("test").await), KeyFault::NotLost { .. }));
    world.store.leave_keys("web:7:x").await.unwrap();
    assert!(matches!(fault(left.prove().await), KeyFault::Missing(_)));
    assert_eq!(left.lost_with("test").await.unwrap(), 1);
    assert_eq!(left.give_up("test", &note(&world)).await.unwrap(), 1);
    left.prove().await.unwrap();
    let row = world.store.connector(world.account).await.unwrap().unwrap();
    assert_eq!(row.state, ConnectorState::NeedsReauth);
    assert_eq!(row.state_reason.unwrap(), "the key test that sealed its secrets is lost");
    let told = world.store.events(None, 9).await.unwrap().pop().unwrap();
    assert_eq!((told.kind.as_str(), told.subject), ("connector.needs_reauth", world.account));
    // Connected again, it is as good as new.
    world.store = store(&world, &[NEW]);
    assert_eq!(world.connect("ada", SECRET).await.id, world.account);
    assert_eq!(secret(&world, world.account, &[NEW]).await.as_deref(), Some(SECRET));
}

#[tokio::test]
async fn no_ring_is_invented_beside_sealed_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let open = async || loop {
        let environment = Environment::read(|_| None).unwrap();
        let config = Config::load(&Sources::default()).unwrap();
        match Node::embedded(folder.path(), config, &environment).await {
            // Tasks of a node that was dropped let go of the file when they are run next.
            Err(node::Error::Ledger(postworks::ledger::Error::Locked(_))) => {
                tokio::task::yield_now().await;
            }
            opened => break opened.unwrap(),
        }
    };
    let node = open().await;
    let stop = Stop::default();
    checkup::keys_at_start(&node, &stop).await.unwrap();
    let id = node.key_ids().unwrap()[0].clone();
    let new = NewConnector {
        platform: "sandbox".to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        identifier: "ann".to_owned(),
        target: None,
        secret: SecretString::from(SECRET),
    };
    node.store.add_connector(new).await.unwrap();
    drop(node);
    let ring = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();

    let node = open().await;
    let refused = checkup::keys_at_start(&node, &stop).await.unwrap_err();
    assert!(matches!(&refused, node::Error::Unproved(KeyFault::Missing(_))), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(&id) && said.contains("an account's secrets"), "{said}");
    assert!(!file.exists(), "none was made up");
    drop(node);
    std::fs::write(&file, ring).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    checkup::keys_at_start(&open().await, &stop).await.unwrap();
}
