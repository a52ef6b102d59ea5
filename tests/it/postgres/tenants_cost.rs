//! What tenants cost: the engine's statements use their indexes as before, a small tenant's lists have
//! one of their own, and no row was rewritten when tenants came.

use std::fs;
use std::path::Path;

use postworks::testing::postgres_server::PostgresServer;
use sqlx::{AssertSqlSafe, PgConnection};

use super::operator;

/// The migration that brought them.
const TENANTS: &str = "0014_tenants.sql";

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

/// How the server would do it, if it had to use an index.
async fn plan(conn: &mut PgConnection, sql: &'static str) -> String {
    run(conn, "SET enable_seqscan = off; SET enable_bitmapscan = off").await;
    let lines: Vec<String> = sqlx::query_scalar(sql).fetch_all(conn).await.unwrap();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_keep_neither_the_engine_nor_a_tenant_from_their_indexes() {
    const WINDOW: &str = "EXPLAIN SELECT * FROM jobs WHERE queue = 'q' AND state = 'open' \
         AND (run_at - priority_s * 1000, id) < (7, gen_random_uuid()) \
         ORDER BY run_at - priority_s * 1000, id LIMIT 9";
    const SETTLE: &str = "EXPLAIN UPDATE jobs SET state = 'completed' \
         FROM unnest(ARRAY[gen_random_uuid()]) AS u (id) WHERE jobs.id = u.id";
    const LIST: &str = "EXPLAIN SELECT * FROM jobs \
         WHERE jobs.tenant_id <> '00000000-0000-0000-0000-000000000001' \
             AND id < '00000000-0000-0000-0000-000000000009' ORDER BY id DESC LIMIT 9";
    let server = PostgresServer::launch().await;
    server.database().await;
    let mut conn = operator(&server, "test_0").await;
    // An owner that is no superuser, so that every policy counts.
    run(&mut conn, "CREATE ROLE plain; GRANT postworks_engine TO plain").await;
    run(&mut conn, "ALTER TABLE jobs OWNER TO plain; SET ROLE plain").await;
    let window = plan(&mut conn, WINDOW).await;
    assert!(window.contains("using jobs_turn on jobs"), "{window}");
    let settle = plan(&mut conn, SETTLE).await;
    assert!(settle.contains("using jobs_pkey on jobs"), "{settle}");
    for plan in [window, settle] {
        assert!(!plan.contains("tenant") && !plan.contains("SubPlan"), "{plan}");
    }
    let acme = "SET postworks.tenant = '00000000-0000-0000-0000-00000000ac4e'";
    run(&mut conn, &format!("RESET ROLE; SET ROLE postworks_tenant; {acme}")).await;
    let list = plan(&mut conn, LIST).await;
    assert!(list.contains("Backward using jobs_tenant on jobs"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_there_were_tenants_are_the_houses_and_stay_where_they_are() {
    const FILES: &str = "SELECT relname::text || ' ' || relfilenode FROM pg_class \
         WHERE relkind = 'r' AND relname IN ('jobs', 'dead_letters', 'publications') ORDER BY 1";
    let server = PostgresServer::launch().await;
    let mut conn = operator(&server, "postgres").await;
    run(&mut conn, "CREATE DATABASE old").await;
    let mut conn = operator(&server, "old").await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let before: Vec<_> = files.iter().take_while(|path| !path.ends_with(TENANTS)).collect();
    assert!(before.len() >= 13, "{files:?}");
    for path in before {
        run(&mut conn, &fs::read_to_string(path).unwrap()).await;
    }
    let job = "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, max_attempts, \
         priority_s, run_at, created_at, expires_at) \
         VALUES (gen_random_uuid(), 'k', 1, 'k', '{}', 0, 1, 0, 0, 0, 1)";
    run(&mut conn, job).await;
    run(
        &mut conn,
        "INSERT INTO users (id, email, password, role, created_at) \
         VALUES (gen_random_uuid(), 'ann@example.org', '', 'admin', 0)",
    )
    .await;
    let files: Vec<String> = sqlx::query_scalar(FILES).fetch_all(&mut conn).await.unwrap();
    run(&mut conn, &fs::read_to_string(folder.join(TENANTS)).unwrap()).await;
    let after: Vec<String> = sqlx::query_scalar(FILES).fetch_all(&mut conn).await.unwrap();
    assert_eq!(files, after, "a table was rewritten");
    // A program of before goes on enqueuing for the house.
    run(&mut conn, job).await;
    let of_house = "SELECT count(*) FROM jobs JOIN tenants ON tenants.id = tenant_id \
         WHERE tenants.name = 'default'";
    let of_house: i64 = sqlx::query_scalar(of_house).fetch_one(&mut conn).await.unwrap();
    assert_eq!(of_house, 2);
}
