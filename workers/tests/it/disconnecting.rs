//! What happens to an account is told once, in order; a disconnected one leaves nothing behind, and
//! nothing revives it.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, ErrorClass, JobId, SnoozeReason, State};
use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _, Next, Verdict};
use postworks::{on_db, on_tx};
use postworks_workers::handlers::CleanUp;
use postworks_workers::platforms::{Published, RemotePost};
use postworks_workers::store::{
    ConnectorState, Cursor, Disconnected, Earlier, LastTokens, NewConnector, PublicationState,
    ROWS_KEPT, Sender,
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::scripted::{BLIND, KEYED, SECRET, TOKEN_LIFE_S};
use crate::world::{World, on_both};

on_both! {
    an_event_is_there_exactly_when_its_state_is,
    who_reads_on_from_the_last_event_misses_none,
    old_events_are_deleted,
    a_disconnected_accounts_tokens_are_gone_from_every_table,
    a_refresh_under_way_revives_no_disconnected_account,
    a_disconnected_account_is_used_for_nothing_and_can_be_connected_anew,
    the_jobs_of_a_disconnected_account_end_but_not_one_whose_outcome_is_open,
    the_rows_of_a_disconnected_account_go_in_batches_and_nobody_elses,
}

fn note(world: &World) -> AuditEntry {
    world.note("connector.remove", &world.account.to_string())
}

async fn disconnect(world: &World) -> Disconnected {
    world.store.disconnect(world.account, &note(world)).await.unwrap()
}

async fn taken(world: &World) -> LastTokens {
    match disconnect(world).await {
        Disconnected::Now(tokens) => *tokens,
        other => panic!("{other:?}"),
    }
}

/// What was told, and of what.
async fn told(world: &World) -> Vec<String> {
    let events = world.store.events(None, 100).await.unwrap();
    events.iter().for_each(|event| assert_eq!(event.detail["platform"], "keyed", "{event:?}"));
    events.into_iter().map(|event| event.kind).collect()
}

async fn state(world: &World) -> ConnectorState {
    world.store.connector(world.account).await.unwrap().unwrap().state
}

async fn an_event_is_there_exactly_when_its_state_is(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    let mut expected = vec!["connector.connected"];
    assert_eq!(told(&world).await, expected);

    // A refusal of tokens that are not the account's any more changes nothing, and tells nothing.
    world.use_token(&accounts).await.unwrap();
    let version = world.store.access(world.account).await.unwrap().unwrap().version;
    assert!(!world.store.revoke(world.account, None, version - 1, "old").await.unwrap());
    assert_eq!((state(&world).await, told(&world).await.len()), (ConnectorState::Active, 1));

    // However many find out, it is told once, with the first one's reason.
    for reason in ["gone", "gone again"] {
        assert!(world.store.revoke(world.account, None, version, reason).await.unwrap());
    }
    expected.push("connector.needs_reauth");
    assert_eq!(
        (state(&world).await, told(&world).await),
        (ConnectorState::NeedsReauth, expected.iter().map(|&kind| kind.to_owned()).collect())
    );
    let last = world.store.events(None, 100).await.unwrap().pop().unwrap();
    assert_eq!((last.subject, &last.detail["reason"]), (world.account, &"gone".into()));
    assert_eq!(last.detail["identifier"], "ada");

    world.connect("ada", SECRET).await;
    expected.push("connector.reconnected");
    assert_eq!((state(&world).await, told(&world).await.len()), (ConnectorState::Active, 3));

    for _ in 0..2 {
        disconnect(&world).await;
        assert_eq!(state(&world).await, ConnectorState::Disconnecting);
    }
    expected.push("connector.disconnected");
    assert_eq!(told(&world).await, expected);
    let last = world.store.events(None, 100).await.unwrap().pop().unwrap();
    assert_eq!(last.detail["identifier"], "ada", "as a person knows it");
    let all = AuditFilter { limit: 9, ..AuditFilter::default() };
    assert_eq!(world.ledger().audits(&all).await.unwrap().len(), 1, "and it is noted once");
}

async fn who_reads_on_from_the_last_event_misses_none(db: Db) {
    const WRITERS: u32 = 6;
    const EACH: u32 = 8;
    let world = World::new(db, &KEYED).await;
    let writers = async {
        let each = (0..WRITERS).map(|writer| {
            let world = &world;
            async move {
                for n in 0..EACH {
                    world.connect(&format!("{writer}-{n}"), SECRET).await;
                }
            }
        });
        futures_util::future::join_all(each).await;
    };
    // The first is the world's own.
    let all = usize::try_from(WRITERS * EACH + 1).unwrap();
    let reader = async {
        let (mut seen, mut after) = (Vec::new(), None);
        while seen.len() < all {
            let page = world.store.events(after, 3).await.unwrap();
            after = page.last().map(|event| event.id).or(after);
            seen.extend(page.into_iter().map(|event| event.subject));
            tokio::task::yield_now().await;
        }
        seen
    };
    let reading = async { tokio::time::timeout(Duration::from_secs(60), reader).await };
    let (seen, ()) = futures_util::future::join(reading, writers).await;
    // Else an event was committed behind the reader's back.
    let mut seen = seen.unwrap();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

async fn clean(world: &World, scope: CleanupScope) {
    let job = DataCleanup { scope: Some(scope), dry_run: false };
    world.attempt(CleanUp(world.worker()), job).await.unwrap();
}

async fn old_events_are_deleted(db: Db) {
    let world = World::new(db, &KEYED).await;
    world.advance(60 * 24 * 3_600);
    world.connect("bob", SECRET).await;
    clean(&world, CleanupScope::Events).await;
    assert_eq!(told(&world).await.len(), 2);
    world.advance(31 * 24 * 3_600);
    clean(&world, CleanupScope::Events).await;
    assert_eq!(told(&world).await.len(), 1);
}

/// Every value of every table, as text and in hexadecimal.
async fn everything(world: &World) -> String {
    const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
    const COLUMNS: &str = "SELECT name FROM pragma_table_info($1)";
    const OF_POSTGRES: &str = "SELECT string_agg(query_to_xml('SELECT t::text FROM ' || \
         quote_ident(tablename) || ' AS t', true, false, '')::text, '') \
         FROM pg_tables WHERE schemaname = current_schema()";
    let mut all = String::new();
    match &world.db {
        Db::Postgres(_) => {
            let mut tx = world.db.begin().await.unwrap();
            all = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(OF_POSTGRES).fetch_one(conn).await
            })
            .unwrap();
        }
        Db::Sqlite(_) => {
            let tables: Vec<String> = on_db!(&world.db, pool => {
                sqlx::query_scalar(TABLES).fetch_all(pool).await
            })
            .unwrap();
            for table in tables {
                let columns: Vec<String> = on_db!(&world.db, pool => {
                    sqlx::query_scalar(COLUMNS).bind(&table).fetch_all(pool).await
                })
                .unwrap();
                for column in columns {
                    let of = format!(
                        "SELECT coalesce(group_concat(\"{column}\" || ' ' || \
                         lower(hex(\"{column}\"))), '') FROM \"{table}\""
                    );
                    let text: Vec<u8> = on_db!(&world.db, pool => {
                        sqlx::query_scalar(sqlx::AssertSqlSafe(of.clone())).fetch_one(pool).await
                    })
                    .unwrap();
                    all.push_str(&String::from_utf8_lossy(&text));
                }
            }
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn a_disconnected_accounts_tokens_are_gone_from_every_table(db: Db) {
    const SEALED: &str = "SELECT access_ct, refresh_ct FROM connector_tokens";
    let world = World::new(db, &KEYED).await;
    world.use_token(&world.worker().accounts).await.unwrap();
    let mut tx = world.db.begin().await.unwrap();
    let (access, refresh): (Vec<u8>, Vec<u8>) =
        on_tx!(&mut tx, conn => sqlx::query_as(SEALED).fetch_one(conn).await).unwrap();
    drop(tx);
    let traces = [hex(&access), hex(&refresh)];
    let before = everything(&world).await;
    assert!(traces.iter().all(|trace| before.contains(trace)), "the search finds nothing");

    let tokens = taken(&world).await;
    let last = tokens.refresh.unwrap();
    assert_eq!(last.expose_secret(), "refresh-token-1");
    assert_eq!(tokens.account.identifier, "ada");
    assert!(!format!("{last:?}").contains("refresh-token"), "{last:?}");
    let after = everything(&world).await;
    assert!(after.contains("connector.disconnected"), "the search finds nothing");
    let clear = ["access-token-1", "refresh-token-1", SECRET];
    let clear = clear.iter().flat_map(|text| [(*text).to_owned(), hex(text.as_bytes())]);
    for trace in traces.into_iter().chain(clear) {
        assert!(!after.contains(&trace), "{trace} is left");
    }
}

async fn a_refresh_under_way_revives_no_disconnected_account(db: Db) {
    let world = World::new(db, &KEYED).await;
    let accounts = world.worker().accounts;
    world.use_token(&accounts).await.unwrap();
    world.advance(TOKEN_LIFE_S);
    world.platform.gate.forget_permits(1_000);
    world.platform.at_gate.forget_permits(1_000);
    let caller = world.use_token(&accounts);
    let meanwhile = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        // The request has left with the very token that is given back here.
        let tokens = taken(&world).await;
        world.platform.gate.add_permits(1_000);
        tokens
    };
    let (used, _) = futures_util::future::join(caller, meanwhile).await;
    let error = used.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    accounts.finish().await;
    assert_eq!(state(&world).await, ConnectorState::Disconnecting);
    assert!(world.store.access(world.account).await.unwrap().is_none(), "its tokens are back");
    // What the refresh got, nobody has: so it was given back as well.
    assert_eq!(world.platform.server().revoked_tokens, ["refresh-token-2"]);
    assert_eq!(told(&world).await, ["connector.connected", "connector.disconnected"]);
}

async fn a_disconnected_account_is_used_for_nothing_and_can_be_connected_anew(db: Db) {
    let world = World::new(db, &KEYED).await;
    world.use_token(&world.worker().accounts).await.unwrap();
    let old = world.publication("before").await;
    disconnect(&world).await;
    let error = world.use_token(&world.worker().accounts).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    let error = world.publish(old).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::AuthRevoked), "{error}");
    assert!(world.platform.server().sent.is_empty());
    // Nothing new is taken on for it.
    let post_id = world.store.add_post("after").await.unwrap();
    let publish = postworks_workers::store::Publish {
        post_id,
        connector_ids: vec![world.account],
        at: None,
        window: None,
        reply: None,
    };
    let refused = world.store.publish(&publish, |request| world.prepare(request)).await;
    assert!(refused.unwrap_err().to_string().contains("no connector"));

    world.platform.new_secret("second");
    let anew = world.connect("ada", "second").await;
    assert!(!anew.again && anew.id != world.account, "{anew:?}");
    assert_eq!(state(&world).await, ConnectorState::Disconnecting);
    let row = world.store.connector(anew.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.identifier.as_str()), (ConnectorState::Active, "ada"));
    let list = async |state| world.store.connectors(Some(state), None, 9).await.unwrap();
    assert_eq!(list(ConnectorState::Disconnecting).await[0].id, world.account);
    assert_eq!(list(ConnectorState::Disconnecting).await[0].identifier, "ada");
    assert_eq!(list(ConnectorState::Active).await.len(), 1);
    assert!(list(ConnectorState::NeedsReauth).await.is_empty());
    let counted = world.store.account_counts().await.unwrap();
    assert!(counted.iter().all(|(.., state, _)| *state != ConnectorState::NeedsReauth));
    // Not even under the name that its row has now.
    let new = NewConnector {
        platform: KEYED.name.to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        identifier: format!("ada#{}", world.account),
        target: None,
        secret: SECRET.into(),
    };
    assert!(world.store.add_connector(new).await.is_err());
    assert_eq!(state(&world).await, ConnectorState::Disconnecting);
}

/// Makes a publication one whose request may have left.
async fn begin(world: &World, id: Uuid) -> JobId {
    let cx = world.run_of(id).await;
    let sender =
        Sender { job: cx.id, token: cx.token, worker: cx.worker.clone(), run_at: cx.run_at };
    let seen = world.row(id).await.version;
    world.store.begin(id, &sender, seen, Earlier::None).await.unwrap();
    assert_eq!(world.row(id).await.state, PublicationState::Sending);
    cx.id
}

async fn the_jobs_of_a_disconnected_account_end_but_not_one_whose_outcome_is_open(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (sent, parked, waits) = (
        world.publication("sent").await,
        world.publication("parked").await,
        world.publication("waits").await,
    );
    let sending = begin(&world, sent).await;
    let until = world.clock.now().after(Duration::from_secs(60));
    let why = SnoozeReason::NeedsReauth.as_str();
    let id = JobId::from_uuid(world.row(parked).await.job_id);
    let then = Next::Parked { until, why, kept_until: None };
    let verdict = Verdict { id, token: world.claim(), then, failed: None };
    world.ledger().settle(&[verdict]).await.unwrap();
    let other = world.connect("bob", SECRET).await.id;
    let post_id = world.store.add_post("another's").await.unwrap();
    let publish = postworks_workers::store::Publish {
        post_id,
        connector_ids: vec![other],
        at: None,
        window: None,
        reply: None,
    };
    let others = world.store.publish(&publish, |it| world.prepare(it)).await.unwrap();

    disconnect(&world).await;
    let (ended, more) = world.store.cancel_jobs_of(world.account, None, 500).await.unwrap();
    assert_eq!((ended.len(), more), (2, None));
    let state = async |id| world.ledger().job(id).await.unwrap().unwrap().state;
    for id in [parked, waits] {
        let job = JobId::from_uuid(world.row(id).await.job_id);
        assert_eq!(state(job).await, State::Cancelled);
    }
    assert_eq!(state(others[0].job.id).await, State::Ready);
    assert_eq!(state(sending).await, State::Ready);

    // Its next run cannot find out: a person must, once nothing can be under way any more.
    let error = world.publish(sent).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    world.advance(60);
    let error = world.publish(sent).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: false }, "{error}");
    let open = world.store.open_effects(None, 9).await.unwrap();
    assert_eq!((open.len(), open[0].identifier.as_str()), (1, "ada"));
    world.advance(ROWS_KEPT.as_secs() + 1);
    clean(&world, CleanupScope::Connectors).await;
    assert_eq!(world.row(sent).await.state, PublicationState::Sending, "its rows stay till then");

    let published = Published { remote_id: "found".to_owned(), remote_url: None };
    world.store.published(sent, &published).await.unwrap();
    clean(&world, CleanupScope::Connectors).await;
    assert_eq!(world.row(sent).await.state, PublicationState::Published, "its job still says so");
    let cx = world.run_of(sent).await;
    world.publish_in(&cx, sent).await.unwrap();
    let then = Next::Completed { at: world.clock.now() };
    let verdict = Verdict { id: cx.id, token: cx.token, then, failed: None };
    world.ledger().settle(&[verdict]).await.unwrap();
    clean(&world, CleanupScope::Connectors).await;
    assert!(world.store.connector(world.account).await.unwrap().is_none());
}

async fn the_rows_of_a_disconnected_account_go_in_batches_and_nobody_elses(db: Db) {
    let world = World::new(db, &KEYED).await;
    let bob = world.connect("bob", SECRET).await.id;
    let found = |n| RemotePost { remote_id: format!("{n}"), created_at: None, text: "x".into() };
    let posts: Vec<_> = (0..1_203).map(found).collect();
    for id in [world.account, bob] {
        world.store.keep_page(id, &posts, false, &Cursor::default()).await.unwrap();
    }
    let mut publications = Vec::new();
    for n in 0..7 {
        publications.push(world.publication(&format!("post {n}")).await);
    }
    disconnect(&world).await;
    world.store.cancel_jobs_of(world.account, None, 3).await.unwrap();
    clean(&world, CleanupScope::Connectors).await;
    assert!(world.store.connector(world.account).await.unwrap().is_some(), "it is too early");
    assert!(!world.store.has_condemned().await.unwrap());

    world.advance(ROWS_KEPT.as_secs() + 1);
    assert!(world.store.has_condemned().await.unwrap());
    // A job that came late keeps the account's row, until the chore has ended it.
    clean(&world, CleanupScope::Connectors).await;
    assert_eq!(state(&world).await, ConnectorState::Disconnecting);
    let (_, more) = world.store.cancel_jobs_of(world.account, None, 500).await.unwrap();
    assert_eq!(more, None);
    let all = world.store.prune_disconnected(500, true).await.unwrap();
    assert_eq!(all, 5, "four publications whose jobs were live, and the account");
    clean(&world, CleanupScope::Connectors).await;

    assert!(world.store.connector(world.account).await.unwrap().is_none());
    assert_eq!(world.store.remote_posts_count(world.account).await.unwrap(), 0);
    for id in publications {
        assert!(world.store.publication(id).await.unwrap().is_none());
    }
    assert_eq!(world.store.remote_posts_count(bob).await.unwrap(), 1_203);
    assert!(!world.store.has_condemned().await.unwrap());
    assert!(matches!(disconnect(&world).await, Disconnected::Missing));
}
