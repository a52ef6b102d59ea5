//! Tenants: PostgreSQL itself keeps their rows apart, whatever happens to calls and connections.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postworks::job::{Category, JobId, NewJob, Reason, Tenant};
use postworks::ledger::{
    Db, DeadFilter, Error, JobFilter, Ledger, Next, PostgresOptions, Recorded, Settled, SqlLedger,
    Verdict,
};
use postworks::testing::ledger::{NOW, at, job, token, unique};
use postworks::testing::postgres_server::PostgresServer;
use postworks::{on_db, on_tx};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{ledger, operator};

const ACME: Tenant = Tenant::from_uuid(Uuid::from_u128(0xac4e));
const BOLT: Tenant = Tenant::from_uuid(Uuid::from_u128(0xb017));
/// The database that a server's others are copied from.
const TEMPLATE: &str = "postworks_template";

async fn run(conn: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

fn of(tenant: Tenant, job: NewJob) -> NewJob {
    NewJob { tenant, ..job }
}

fn all() -> JobFilter {
    JobFilter { limit: 1_000, ..JobFilter::default() }
}

/// The tenants of the jobs that a ledger shows, and how many there are.
async fn shown(ledger: &SqlLedger) -> Result<(HashSet<Tenant>, usize), Error> {
    let rows = ledger.jobs(&all(), NOW).await?;
    Ok((rows.iter().map(|row| row.job.tenant).collect(), rows.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenants_role_without_a_tenant_sees_nothing_and_writes_nothing() {
    let server = PostgresServer::launch().await;
    let (ledger, _db) = ledger(&server, 2).await;
    ledger.enqueue(&[job(), of(ACME, job())]).await.unwrap();
    let mut conn = operator(&server, "test_0").await;
    let count = async |conn: &mut PgConnection| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(conn).await.unwrap()
    };
    run(&mut conn, "SET ROLE postworks_tenant").await.unwrap();
    assert_eq!(count(&mut conn).await, 0);
    // What a transaction leaves behind is an empty text, not nothing.
    run(&mut conn, &format!("BEGIN; SET LOCAL postworks.tenant = '{ACME}'")).await.unwrap();
    assert_eq!(count(&mut conn).await, 1);
    run(&mut conn, "COMMIT").await.unwrap();
    assert_eq!(count(&mut conn).await, 0);
    let insert = "INSERT INTO posts (id, text, created_at) VALUES (gen_random_uuid(), 'x', 0)";
    assert!(run(&mut conn, insert).await.is_err(), "a row of nobody who is set was written");
    for table in [
        "users",
        "api_keys",
        "sessions",
        "refresh_tokens",
        "tenants",
        "queue_holds",
        "sealing_keys",
        "key_holders",
    ] {
        assert!(run(&mut conn, &format!("SELECT FROM {table}")).await.is_err(), "{table}");
    }
    run(&mut conn, "RESET ROLE").await.unwrap();
    assert_eq!(count(&mut conn).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_can_neither_see_nor_change_anothers_jobs() {
    let server = PostgresServer::launch().await;
    let (ledger, db) = ledger(&server, 2).await;
    let (theirs, own) = (of(ACME, job()), of(BOLT, job()));
    ledger.enqueue(&[theirs.clone(), own.clone()]).await.unwrap();
    let dies = Next::Dead { at: at(1), reason: reason(), failed_attempts: 1, job: None };
    let dead = of(ACME, job());
    ledger.enqueue(std::slice::from_ref(&dead)).await.unwrap();
    let verdict = Verdict { id: dead.id, token: token(1), then: dies, failed: None };
    assert_eq!(ledger.settle(&[verdict]).await.unwrap(), [Settled::Done]);

    let bolt = SqlLedger::new(db.for_tenant(BOLT));
    assert!(bolt.job(theirs.id).await.unwrap().is_none());
    assert_eq!(
        bolt.cancel(theirs.id, NOW, None).await.unwrap(),
        postworks::ledger::Cancel::Unknown
    );
    let filter = DeadFilter { limit: 10, ..DeadFilter::default() };
    assert!(bolt.dead_letters(&filter).await.unwrap().is_empty());
    assert_eq!(bolt.discard(&filter, NOW, None).await.unwrap(), 0);
    assert!(bolt.dead_counts().await.unwrap().is_empty());
    assert!(bolt.cancel(own.id, NOW, None).await.is_ok());
    // It cannot enqueue for another one either.
    assert!(bolt.enqueue(&[of(ACME, job())]).await.is_err());

    let acme = SqlLedger::new(db.for_tenant(ACME));
    assert_eq!(acme.dead_letters(&filter).await.unwrap().len(), 1);
    assert_eq!(shown(&acme).await.unwrap(), (HashSet::from([ACME]), 2));
    assert_eq!(shown(&ledger).await.unwrap(), (HashSet::from([ACME, BOLT]), 3));
}

fn reason() -> Reason {
    Reason { category: Category::Invalid, class: "invalid".into(), message: "no".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_is_a_tenants_own() {
    let server = PostgresServer::launch().await;
    let (ledger, _db) = ledger(&server, 2).await;
    let (house, acme) = (unique("daily"), of(ACME, unique("daily")));
    let recorded = ledger.enqueue(&[house.clone(), acme.clone()]).await.unwrap();
    assert_eq!(recorded, [Recorded::Created, Recorded::Created]);
    let again = ledger.enqueue(&[of(ACME, unique("daily")), unique("daily")]).await.unwrap();
    assert_eq!(again, [Recorded::Existing(acme.id), Recorded::Existing(house.id)]);
    // Nor does another's live job keep a dead one from being put back.
    let dies = Next::Dead { at: at(1), reason: reason(), failed_attempts: 1, job: None };
    let verdict = Verdict { id: acme.id, token: token(1), then: dies, failed: None };
    assert_eq!(ledger.settle(&[verdict]).await.unwrap(), [Settled::Done]);
    let subjects = ledger.dead_subjects(&[acme.id], &[]).await.unwrap();
    assert_eq!(subjects[0].superseded_by, None);
}

/// What one caller does in between, at random.
async fn one(db: &Db, tenant: Tenant, random: u32) {
    let ledger = SqlLedger::new(db.for_tenant(tenant));
    let reads = async {
        let (tenants, _) = shown(&ledger).await?;
        assert!(tenants.iter().all(|found| *found == tenant), "{tenant} sees {tenants:?}");
        Ok::<_, Error>(())
    };
    match random % 4 {
        0 => drop(reads.await),
        1 => drop(ledger.enqueue(&[of(tenant, job())]).await),
        2 => {
            let mut tx = db.for_tenant(tenant).begin().await.unwrap();
            let broken =
                on_tx!(&mut tx, conn => sqlx::query("SELECT 1/0").execute(conn).await.map(drop));
            assert!(broken.is_err());
        }
        // Cut off at any point between BEGIN and the end: that point is the subject.
        _ => {
            let cut = Duration::from_micros(u64::from(random / 4 % 1_500));
            let _ = tokio::time::timeout(cut, reads).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_take_turns_on_one_connection_never_see_each_others_rows() {
    for connections in [1, 3] {
        let server = PostgresServer::launch().await;
        let (engine, db) = ledger(&server, connections).await;
        let engine = Arc::new(engine);
        engine.enqueue(&[of(ACME, job()), of(BOLT, job())]).await.unwrap();
        let callers = (0..4_u64).map(|n| {
            let (db, engine) = (db.clone(), Arc::clone(&engine));
            tokio::spawn(async move {
                let mut random = SmallRng::seed_from_u64(n);
                for _ in 0..150 {
                    let tenant = if random.random() { ACME } else { BOLT };
                    one(&db, tenant, random.random()).await;
                    // A connection that came back from a tenant is nobody's.
                    let (tenants, _) = shown(&engine).await.unwrap();
                    assert_eq!(tenants, HashSet::from([ACME, BOLT]));
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let who: String = on_db!(&db, pool => {
            sqlx::query_scalar("SELECT current_user::text").fetch_one(pool).await
        })
        .unwrap();
        assert_eq!(who, "postworks");
    }
}

/// Tables that hold no tenant's rows, or that only the engine touches.
const ENGINES_OWN: [&str; 11] = [
    "_sqlx_migrations",
    "api_keys",
    "generations",
    "key_holders",
    "queue_holds",
    "refresh_tokens",
    "remote_posts",
    "sealing_keys",
    "sessions",
    "tenants",
    "users",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_guarded_or_out_of_a_tenants_reach() {
    const TABLES: &str = "SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity, \
             (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid \
                 AND p.polname = 'tenant' AND p.polroles = ARRAY['postworks_tenant'::regrole::oid]), \
             (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid \
                 AND p.polname = 'engine' AND p.polroles = ARRAY['postworks_engine'::regrole::oid]), \
             (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid), \
             has_any_column_privilege('postworks_tenant', c.oid, 'SELECT, INSERT, UPDATE') \
                 OR has_table_privilege('postworks_tenant', c.oid, 'DELETE, TRUNCATE') \
         FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm') \
             AND c.relnamespace = 'public'::regnamespace ORDER BY 1";
    let server = PostgresServer::launch().await;
    let url = server.database().await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    type Row = (String, bool, i64, i64, i64, bool);
    let tables: Vec<Row> = sqlx::query_as(TABLES).fetch_all(&mut conn).await.unwrap();
    let (own, guarded): (Vec<Row>, Vec<Row>) =
        tables.into_iter().partition(|row| ENGINES_OWN.contains(&row.0.as_str()));
    assert_eq!(own.len(), ENGINES_OWN.len(), "{own:?}");
    for (table, .., reached) in own {
        assert!(!reached, "a tenant reaches {table}, which has no policies");
    }
    assert!(guarded.len() >= 11, "{guarded:?}");
    for (table, forced, tenant, engine, policies, _) in guarded {
        assert!(forced, "{table} needs ENABLE and FORCE ROW LEVEL SECURITY");
        assert_eq!((tenant, engine, policies), (1, 1, 2), "{table} needs its two policies");
    }
    let weak: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'postworks\\_%' \
         AND (rolsuper OR rolbypassrls OR rolcanlogin)",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(weak, 0);
}

/// A login of its own that owns an empty database; answers the database's address.
async fn plain_login(server: &PostgresServer, name: &str, rights: &str) -> String {
    let mut conn = operator(server, "postgres").await;
    run(&mut conn, &format!("CREATE ROLE {name} LOGIN {rights}")).await.unwrap();
    run(&mut conn, &format!("CREATE DATABASE {name} OWNER {name}")).await.unwrap();
    // From 15 on nobody but its owner makes tables in the schema public.
    let mut inside = operator(server, name).await;
    run(&mut inside, &format!("ALTER SCHEMA public OWNER TO {name}")).await.unwrap();
    server.url(name).replace("postgres://postworks@", &format!("postgres://{name}@"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_make_no_roles_is_told_what_to_ask_for_and_is_held_to_the_policies() {
    let server = PostgresServer::launch().await;
    let url = plain_login(&server, "plain", "").await;
    let db = Db::connect_postgres(&url, &PostgresOptions::default()).unwrap();
    let error = db.migrate().await.unwrap_err();
    let Error::Refused(cause) = &error else { panic!("{error:?}") };
    let words = cause.to_string();
    let (_, advice) = words.split_once("let an administrator run: ").unwrap_or_else(|| {
        panic!("no advice in {words}");
    });
    let grant = advice.split(';').find(|sql| sql.contains("GRANT")).unwrap();
    run(&mut operator(&server, "postgres").await, grant).await.unwrap();
    db.migrate().await.unwrap();

    // It owns the tables, and no policy is bypassed.
    let engine = SqlLedger::new(db.clone());
    let (house, acme) = (job(), of(ACME, job()));
    engine.enqueue(&[house.clone(), acme.clone()]).await.unwrap();
    assert_eq!(shown(&engine).await.unwrap().1, 2);
    assert_eq!(shown(&SqlLedger::new(db.for_tenant(ACME))).await.unwrap().1, 1);
    let completed = |id: JobId| Verdict {
        id,
        token: token(1),
        then: Next::Completed { at: at(1) },
        failed: None,
    };
    let settled = engine.settle(&[completed(house.id), completed(acme.id)]).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done]);
    assert!(
        engine.examine().await.unwrap().iter().all(|found| found.check != "postgres tenants"
            || found.status == postworks::finding::Status::Ok)
    );

    let mut conn = operator(&server, "postgres").await;
    run(&mut conn, "REVOKE postworks_engine FROM plain").await.unwrap();
    let found = engine.examine().await.unwrap();
    assert!(found.iter().any(|found| found.unfit && found.detail.contains("plain")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_of_many_databases_at_once_agree_about_the_roles() {
    const ROLES: &str = "postworks_tenant, postworks_engine";
    let server = PostgresServer::launch().await;
    let mut conn = operator(&server, TEMPLATE).await;
    run(&mut conn, &format!("DROP OWNED BY {ROLES}")).await.unwrap();
    run(&mut conn, &format!("DROP ROLE {ROLES}")).await.unwrap();
    let mut migrations = Vec::new();
    for n in 0..6 {
        let url = plain_login(&server, &format!("plain{n}"), "CREATEROLE").await;
        let db = Db::connect_postgres(&url, &PostgresOptions::default()).unwrap();
        migrations.push(tokio::spawn(async move { db.migrate().await.map(|()| db) }));
    }
    for migration in migrations {
        let db = migration.await.unwrap().unwrap();
        SqlLedger::new(db.for_tenant(ACME)).enqueue(&[of(ACME, job())]).await.unwrap();
        assert_eq!(shown(&SqlLedger::new(db)).await.unwrap().1, 1);
    }
}
