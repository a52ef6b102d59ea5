//! A platform that quotes secrets in its errors: none of them is kept, shown or logged.

use std::fs;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::fleet::{Fleet, LONG, run, secrets_told};

/// What a platform says, and the secret in it.
const SAYINGS: [(&str, &str); 7] = [
    ("not with Bearer sk-live-4f9a8b7c6d5e", "sk-live-4f9a8b7c6d5e"),
    ("GET https://graph.example.com/me?access_token=EAABsbCS1iHg&v=2 failed", "EAABsbCS1iHg"),
    (r#"you sent {"client_secret": "shh-77aa88bb", "v": 2}"#, "shh-77aa88bb"),
    (r#"nested "{\"refresh_token\":\"rt-1234abcd\"}" is old"#, "rt-1234abcd"),
    ("Authorization: Basic YW5uOmh1bnRlcjI was refused", "YW5uOmh1bnRlcjI"),
    ("session eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk ended", "eyJzdWIiOiIxIn0"),
    ("the key Zx9Kq2Lm7Pw4Rt8Yv1Nb6Hc3Jd5Fg0Sa expired", "Zx9Kq2Lm7Pw4Rt8Yv1Nb6Hc3Jd5Fg0Sa"),
];

/// Every row of every table, as text.
pub(crate) async fn rows(fleet: &Fleet) -> String {
    let mut database = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
    let names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut database).await.unwrap();
    assert!(tables.iter().any(|table| table == "dead_letters"), "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let dump = format!("SELECT coalesce(string_agg(t::text, chr(10)), '') FROM {table} AS t");
        let text: String =
            sqlx::query_scalar(AssertSqlSafe(dump)).fetch_one(&mut database).await.unwrap();
        all.push_str(&text);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_platforms_words_is_neither_kept_nor_shown_nor_logged() {
    let log = "info,postworks=debug,postworks_workers=debug,postworks_server=debug";
    let settings = [("POSTWORKS_LOG", log), ("POSTWORKS__RETRY__BASE", "50ms")];
    let fleet = Fleet::start_with(&settings).await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", SAYINGS.len()).await;
    // First it fails, and then it refuses, with the same words.
    let rules = SAYINGS.iter().enumerate().flat_map(|(n, (words, _))| {
        let rule = |status, times| {
            json!({"op": "publish", "account": format!("sandbox-{n}"), "action": "error",
                "status": status, "times": times, "message": format!("sorry: {words}, see you")})
        };
        [rule(503, json!(1)), rule(422, Value::Null)]
    });
    fleet.sandbox.faults(rules.collect()).await;
    let publications = fleet.client.publish("refused", &accounts).await;
    let jobs: Vec<&str> = publications.iter().map(|publication| publication.job.as_str()).collect();
    for job in &jobs {
        fleet.client.until_job(job, "dead", LONG).await;
    }
    // What was put back remembers of what it had died.
    let back = run(&["dlq", "retry", jobs[0], "--reason", "again"], fleet.vars()).await;
    assert_eq!(back.code, 0, "{}", back.stderr);
    fleet.client.until_job(jobs[0], "dead", LONG).await;

    let mut told = vec![("the tables".to_owned(), rows(&fleet).await)];
    for path in ["/api/dlq", "/api/dlq/groups", "/api/dlq/export", "/api/jobs", "/api/audit"] {
        told.push((path.to_owned(), fleet.client.http.get(path).await.expect(200).to_string()));
    }
    for args in [&["dlq", "list"][..], &["dlq", "groups"], &["dlq", "export"], &["job", "list"]] {
        told.push((args.join(" "), run(args, fleet.vars()).await.stdout));
    }
    for job in jobs {
        for path in [format!("/api/dlq/{job}"), format!("/api/jobs/{job}")] {
            told.push((path.clone(), fleet.client.http.get(&path).await.expect(200).to_string()));
        }
        for args in [["dlq", "show", job], ["job", "show", job], ["job", "why", job]] {
            told.push((args.join(" "), run(&args, fleet.vars()).await.stdout));
        }
    }
    told.push(("the worker's log".to_owned(), worker.log()));
    for (place, text) in &told {
        // An audit has no words of platforms.
        assert!(text.contains("sorry: ") || place.contains("audit"), "{place}: {text}");
        for (words, secret) in SAYINGS {
            assert!(!text.contains(secret), "{place} tells the secret of {words:?}: {text}");
        }
    }
    assert!(told[0].1.contains("[redacted]"), "{}", told[0].1);
}

/// Shows that the search at the end of each fleet finds what it looks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_written_in_clear_is_found_wherever_it_is() {
    let (redis, postgres) = (RedisServer::start_durable(), PostgresServer::launch().await);
    let logs = tempfile::tempdir().unwrap();
    let told = || secrets_told(&redis, &postgres, logs.path());
    assert_eq!(told(), [""; 0]);

    let key = format!("pw_{}_{}", "0f".repeat(16), "1e".repeat(32));
    fs::write(logs.path().join("api.log"), format!("{{\"key\":\"{key}\"}}\n")).unwrap();
    assert!(told().iter().any(|file| file.ends_with("api.log")), "{:?}", told());

    redis.command(&format!("SET planted sbx_at_{}", "2d".repeat(16)));
    for place in ["/appendonlydir/", "/dump.rdb"] {
        assert!(told().iter().any(|file| file.contains(place)), "not in {place}: {:?}", told());
    }

    let mut database = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    sqlx::raw_sql("CREATE TABLE planted (told bytea)").execute(&mut database).await.unwrap();
    let token = format!("sbx_rt_{}", "3c".repeat(16));
    let planted = sqlx::query("INSERT INTO planted VALUES ($1)").bind(token.as_bytes());
    planted.execute(&mut database).await.unwrap();
    // What is gone from the rows was on the disk.
    sqlx::raw_sql("DELETE FROM planted").execute(&mut database).await.unwrap();
    assert!(told().iter().any(|file| file.contains("/pg_wal/")), "{:?}", told());
}
