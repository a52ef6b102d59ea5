//! Documents, fields, queries and ids that do not fit.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::world::{Answer, NOBODY, World};

#[track_caller]
fn assert_fault(answer: &Answer, field: &str, words: &str) {
    answer.assert_problem(422);
    assert_eq!(answer.fields(), [field], "{}", answer.body);
    let message = answer.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(words), "{field}: {message}");
}

#[tokio::test]
async fn text_that_no_database_takes_is_refused_wherever_it_stands() {
    let world = World::start().await;
    for (path, field) in [
        ("/api/audit?actor=a%00", "/actor"),
        ("/api/audit?action=%00", "/action"),
        ("/api/audit?subject=%00b", "/subject"),
        ("/api/dlq/export?reason=a%00b", "/reason"),
    ] {
        assert_fault(&world.ask("GET", path).await, field, "U+0000");
    }
    let pause = "/api/queues/data_cleanup/pause";
    let answer = world.post(pause, json!({"reason": "a\0b"})).await;
    assert_fault(&answer, "/reason", "U+0000");
    let answer = world.post(pause, json!({"reason": "é".repeat(1_001)})).await;
    assert_fault(&answer, "/reason", "at most 1000 characters");
}

#[tokio::test]
async fn every_wrong_value_is_named_in_words_that_say_what_would_be_right() {
    let world = World::start().await;
    let cleanup = |field: &str, value: Value| json!({"kind": "data_cleanup", field: value});
    let keyed = |field: &str, value: Value| json!({"kind": "data_cleanup", "unique_key": "k", field: value});
    for (body, field, words) in [
        (json!({"kind": "post_publicaton"}), "/kind", "did you mean post_publication?"),
        (json!({"kind": "a:{b}\n"}), "/kind", "the kinds are"),
        (json!({"kind": ""}), "/kind", "the kinds are"),
        (json!({"kind": "DATA_CLEANUP"}), "/kind", "did you mean data_cleanup?"),
        (json!({"kind": ["data_cleanup"]}), "/kind", "must be a string, not a list"),
        (cleanup("args", json!(null)), "/args", "must be an object"),
        (cleanup("args", json!([])), "/args", "must be an object"),
        (cleanup("args", json!("{}")), "/args", "must be an object"),
        (cleanup("args", json!({"dry_run": 1})), "/args/dry_run", "must be true or false"),
        (cleanup("args", json!({"dry_run": null})), "/args/dry_run", "not null"),
        (cleanup("args", json!({"scope": "all"})), "/args/scope", "unknown variant"),
        (cleanup("run_at", json!("soon")), "/run_at", "RFC 3339"),
        (cleanup("run_at", json!(1_700_000_000)), "/run_at", "must be a string"),
        (cleanup("run_at", json!("1970-01-01T00:00:00Z")), "/run_at", "24 hours in the past"),
        (cleanup("run_at", json!("0000-01-01T00:00:00Z")), "/run_at", "in the past"),
        (cleanup("run_at", json!("9999-12-30T22:00:00Z")), "/run_at", "366 days ahead"),
        (cleanup("run_at", json!("10000-01-01T00:00:00Z")), "/run_at", "RFC 3339"),
        (cleanup("run_at", json!("2026-02-30T00:00:00Z")), "/run_at", "RFC 3339"),
        (cleanup("delay_ms", json!(u64::MAX)), "/delay_ms", "366 days ahead"),
        (cleanup("delay_ms", json!(-1)), "/delay_ms", "0 or more, not -1"),
        (cleanup("delay_ms", json!(1.5)), "/delay_ms", "whole number"),
        (cleanup("delay_ms", json!("5m")), "/delay_ms", "must be a whole number"),
        (cleanup("priority", json!(3_601)), "/priority", "0 to 3600"),
        (cleanup("priority", json!(4_294_967_296_u64)), "/priority", "not 4294967296"),
        (cleanup("max_attempts", json!(0)), "/max_attempts", "1 to 100"),
        (cleanup("max_attempts", json!(4_000_000_000_u32)), "/max_attempts", "1 to 100"),
        (cleanup("unique_key", json!("k".repeat(256))), "/unique_key", "1 to 255 bytes"),
        (cleanup("unique_key", json!("é".repeat(128))), "/unique_key", "1 to 255 bytes"),
        (cleanup("unique_key", json!("a\0b")), "/unique_key", "U+0000"),
        (cleanup("unique_until", json!("started")), "/unique_until", "needs a unique_key"),
        (cleanup("unique_until", json!("soon")), "/unique_until", "ended or started"),
        (cleanup("unique_until", json!(1)), "/unique_until", "must be a string"),
        (keyed("unique_for_ms", json!(u64::MAX)), "/unique_for_ms", "1 second to 30 days"),
        (cleanup("unique_for_ms", json!(-1)), "/unique_for_ms", "0 or more, not -1"),
        (keyed("debounce_ms", json!(u64::MAX)), "/debounce_ms", "100 milliseconds to 24 hours"),
        (cleanup("debounce_ms", json!("1s")), "/debounce_ms", "must be a whole number"),
        (keyed("max_delay_ms", json!(100)), "/max_delay_ms", "no use without debounce_ms"),
        (cleanup("expires_at", json!("1999-01-01T00:00:00Z")), "/expires_at", "later than"),
        // What only the service may set.
        (cleanup("state", json!("completed")), "/state", "unknown field"),
        (cleanup("id", json!(NOBODY)), "/id", "unknown field"),
        (cleanup("queue", json!("data_cleanup")), "/queue", "unknown field"),
        (cleanup("attempt", json!(3)), "/attempt", "unknown field; there are kind, args"),
        (cleanup("__proto__", json!({})), "/__proto__", "unknown field"),
        (
            json!({"kind": "post_publication", "args": {"publication_id": NOBODY}}),
            "/args/publication_id",
            "no publication with this id",
        ),
        (
            json!({"kind": "token_refresh", "args": {"connector_id": "0198"}}),
            "/args/connector_id",
            "must be a UUID",
        ),
    ] {
        assert_fault(&world.post("/api/jobs", body).await, field, words);
    }
    for number in ["1e400", "-0.0", "9007199254740993.5", "18446744073709551616", "1e3"] {
        let body = format!(r#"{{"kind":"data_cleanup","priority":{number}}}"#);
        let answer = world.post_text("/api/jobs", body).await;
        let expected: &[u16] = if number == "1e400" { &[400] } else { &[422] };
        assert!(expected.contains(&answer.status.as_u16()), "{number}: {}", answer.body);
    }
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn a_document_that_is_no_object_is_never_taken_for_one() {
    let world = World::start().await;
    for body in ["[]", "null", "7", "\"data_cleanup\"", "true", r#"["data_cleanup"]"#] {
        for path in ["/api/jobs", "/api/jobs/bulk", "/api/posts", "/api/publish", "/api/dlq/retry"]
        {
            let answer = world.post_text(path, body).await;
            assert_fault(&answer, "", "must be an object");
        }
    }
    let bulk = world.post("/api/jobs/bulk", json!({"jobs": [["data_cleanup"]]})).await;
    assert_fault(&bulk, "/jobs/0", "must be an object");
    let retry = world.post("/api/dlq/retry", json!({"filter": []})).await;
    assert_fault(&retry, "/filter", "must be an object");
    for body in ["", " ", "{", "}", "\u{feff}{}", "{\"kind\":\"a\",}", "{'kind':'a'}", "NaN"] {
        world.post_text("/api/jobs", body).await.assert_problem(400);
    }
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused_whatever_it_says() {
    let world = World::start().await;
    let twice = r#"{"kind":"data_cleanup","kind":"data_cleanup"}"#;
    assert_fault(&world.post_text("/api/jobs", twice).await, "/kind", "is there twice");
    let twice = r#"{"kind":"data_cleanup","args":{"dry_run":true,"dry_run":false}}"#;
    assert_fault(&world.post_text("/api/jobs", twice).await, "/args/dry_run", "is there twice");
    let many: String = (0..8_000).map(|n| format!(r#","k{n}":0"#)).collect();
    let body =
        format!(r#"{{"kind":"data_cleanup"{}}}"#, &many[..60_000].rsplit_once(',').unwrap().0);
    world.post_text("/api/jobs", body).await.assert_problem(422);
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn text_that_is_no_text_is_refused_before_it_reaches_a_store() {
    let world = World::start().await;
    for bytes in [
        &b"{\"text\":\"\xff\"}"[..],
        b"{\"text\":\"\xc0\xaf\"}",
        b"{\"text\":\"\xed\xa0\x80\"}",
        br#"{"text":"\ud800"}"#,
        br#"{"text":"\udc00\ud800"}"#,
        b"{\"text\":\"\x00\"}",
    ] {
        world.post_text("/api/posts", bytes.to_vec()).await.assert_problem(400);
    }
    let nul = world.post("/api/posts", json!({"text": "a\0b"})).await;
    assert_fault(&nul, "/text", "U+0000");
    for odd in ["\u{202e}abc", "a\u{200b}b", "🙂", "'; DROP TABLE jobs; --", "\u{1b}[2J"] {
        let kept = world.post("/api/posts", json!({"text": odd})).await;
        assert_eq!(kept.status, StatusCode::CREATED, "{odd:?}");
    }
    let posts = world.ask("GET", "/api/posts").await;
    assert_eq!(posts.body["items"][1]["text"], "'; DROP TABLE jobs; --", "kept as it came");
    let body = "{\"kind\":\"data_cleanup\",\"args\":{\"scope\":\"\\ud800\"}}";
    world.post_text("/api/jobs", body).await.assert_problem(422);
}

#[tokio::test]
async fn depth_without_end_is_refused_and_overflows_no_stack() {
    let world = World::start().await;
    for depth in [64, 128, 129, 30_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        for body in [
            format!(r#"{{"kind":"data_cleanup","args":{{"scope":{open}{close}}}}}"#),
            format!(r#"{{"kind":{open}{close}}}"#),
            format!("{open}{close}"),
        ] {
            world.post_text("/api/jobs", body).await.assert_problem(422);
        }
        world.post_text("/api/jobs", open).await.assert_problem(400);
    }
}

#[tokio::test]
async fn one_bad_job_in_a_bulk_keeps_all_of_it_out() {
    let world = World::start().await;
    let good = json!({"kind": "data_cleanup"});
    let mut jobs = vec![good.clone(); 999];
    jobs.insert(500, json!({"kind": "connector_sync", "args": {"connector_id": NOBODY}}));
    let refused = world.post("/api/jobs/bulk", json!({"jobs": jobs})).await;
    assert_fault(&refused, "/jobs/500/args/connector_id", "no connector");
    jobs[500] = json!({"kind": "data_cleanup", "unique_key": "k".repeat(1_000)});
    let refused = world.post("/api/jobs/bulk", json!({"jobs": jobs})).await;
    assert_fault(&refused, "/jobs/500/unique_key", "255 bytes");
    let refused = world.post("/api/jobs/bulk", json!({"jobs": vec![good; 1_001]})).await;
    assert_fault(&refused, "/jobs", "1 to 1000");
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn a_cursor_or_filter_that_was_tampered_with_is_refused() {
    let world = World::start().await;
    world.enqueue().await;
    for path in ["/api/jobs", "/api/dlq", "/api/connectors", "/api/posts"] {
        for (query, field) in [
            ("cursor=", "/cursor"),
            ("cursor=b", "/cursor"),
            ("cursor=bzz", "/cursor"),
            ("cursor=c0198f3a000007000800000000000000", "/cursor"),
            ("cursor=%00", "/cursor"),
            ("cursor=' OR 1=1", "/cursor"),
            ("limit=0", "/limit"),
            ("limit=-1", "/limit"),
            ("limit=1000000000", "/limit"),
            ("limit=99999999999999999999", "/limit"),
            ("limit=5&limit=6", "/limit"),
            ("offset=1", "/offset"),
        ] {
            let answer = world.ask("GET", &format!("{path}?{}", query.replace(' ', "%20"))).await;
            answer.assert_problem(422);
            assert_eq!(answer.fields(), [field], "{path}?{query}");
        }
    }
    for query in ["fingerprint=%00", "fingerprint=x", "category=nothing", "queue=%7B%7D"] {
        world.ask("GET", &format!("/api/dlq?{query}")).await.assert_problem(422);
    }
    let retry = world.post("/api/dlq/retry", json!({"filter": {"fingerprint": "\0"}})).await;
    assert_fault(&retry, "/filter/fingerprint", "16 hexadecimal digits");
    let retry = world.post("/api/dlq/retry", json!({"filter": {"ids": ["x"]}})).await;
    assert_fault(&retry, "/filter/ids/0", "must be a UUID");
    let long = format!("/api/jobs?kind={}", "k".repeat(5_000));
    world.ask("GET", &long).await.assert_problem(414);
}

#[tokio::test]
async fn an_id_of_another_form_finds_the_same_job_or_none() {
    let world = World::start().await;
    let id = world.enqueue().await.to_string();
    for same in [id.to_uppercase(), id.replace('-', "")] {
        assert_eq!(world.ask("GET", &format!("/api/jobs/{same}")).await.body["id"], id.as_str());
    }
    for other in ["1", "x", "%00", "%ff", "..%2f..", "null", "-1", &"9".repeat(5_000), "🙂"] {
        let path = format!("/api/jobs/{}", other.replace('🙂', "%F0%9F%99%82"));
        world.ask("GET", &path).await.assert_problem(404);
        world.ask("DELETE", &path).await.assert_problem(404);
    }
    let v4 = "2c5ea4c0-4067-41fe-8bad-9b1deb4d3b7d";
    world.ask("GET", &format!("/api/jobs/{v4}")).await.assert_problem(404);
    world.ask("GET", &format!("/api/dlq/{v4}")).await.assert_problem(404);
}

#[tokio::test]
async fn an_account_is_refused_whose_address_is_none_of_a_platform() {
    let world = World::start().await;
    let account = |platform: &str, url: &str| json!({"platform": platform, "base_url": url, "identifier": "ann", "secret": "hush"});
    for url in [
        "",
        "x",
        "ftp://h",
        "gopher://127.0.0.1:6379",
        "http://",
        "https://u:p@h",
        "https://h?q",
        "https://h#f",
        "http://bsky.social",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::]",
        "https://0",
        "https://localhost.",
        "https://10.1.2.3",
        "https://169.254.169.254",
        "https://[::ffff:127.0.0.1]",
    ] {
        let answer = world.post("/api/connectors", account("bluesky", url)).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), ["/base_url"], "{url}");
        assert!(!answer.body.to_string().contains("hush"), "{url}");
    }
    let unknown = world.post("/api/connectors", account("blusky", "https://h")).await;
    assert_fault(&unknown, "/platform", "blusky");
    let mut wrong = account("bluesky", "https://bsky.social");
    wrong["secret"] = json!({"password": "hush"});
    let refused = world.post("/api/connectors", wrong).await;
    assert_fault(&refused, "/secret", "must be a string, not an object");
    let connectors = world.ask("GET", "/api/connectors").await;
    assert_eq!(connectors.body["items"], json!([]), "nothing was kept");
}

#[tokio::test]
async fn a_publication_that_names_missing_rows_leaves_nothing_behind() {
    let world = World::start().await;
    let connector = world.connector().await;
    let post = world.post("/api/posts", json!({"text": "hello"})).await.body["id"].clone();
    let publish = |post: &Value, ids: Value| json!({"post_id": post, "connector_ids": ids});
    for (body, fields) in [
        (publish(&json!(NOBODY), json!([connector])), vec!["/post_id"]),
        (publish(&post, json!([connector, NOBODY])), vec!["/connector_ids/1"]),
        (publish(&post, json!(connector)), vec!["/connector_ids"]),
        (publish(&post, json!([connector, 7])), vec!["/connector_ids/1"]),
        (publish(&json!("x"), json!([])), vec!["/post_id"]),
        (json!({}), vec!["/post_id"]),
    ] {
        let answer = world.post("/api/publish", body).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), fields);
    }
    let mut late = publish(&post, json!([connector]));
    late["at"] = json!("2999-01-01T00:00:00Z");
    assert_fault(&world.post("/api/publish", late).await, "/at", "366 days ahead");
    assert_eq!(world.jobs().await, 0, "no job without its publication");
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused() {
    let world = World::start().await;
    let post = |name: &'static str, value: &str| {
        let request = Request::builder().method("POST").uri("/api/jobs").header(name, value);
        request.body(Body::from(r#"{"kind":"data_cleanup"}"#)).unwrap()
    };
    for key in ["", &"k".repeat(256), "schl\u{fc}ssel"] {
        let mut request = post("idempotency-key", key);
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let answer = world.send(request).await;
        assert_fault(&answer, "Idempotency-Key", "1 to 255 bytes");
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        world.send(post("content-type", media)).await.assert_problem(415);
    }
    for host in ["evil.example", "127.0.0.1.evil.example:7000", "10.0.0.1", "", "a:b:c", "[::2]"] {
        let request = Request::builder().uri("/api/jobs").header(header::HOST, host);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        answer.assert_problem(403);
    }
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn no_part_of_a_good_request_is_taken_for_one_and_a_damaged_one_breaks_nothing() {
    let world = World::start().await;
    let good = r#"{"kind":"data_cleanup","args":{"scope":"jobs","dry_run":true},"priority":60,"#
        .to_owned()
        + r#""unique_key":"clé","run_at":"2100-01-01T00:00:00Z"}"#;
    for end in 0..good.len() {
        let part = good.as_bytes()[..end].to_vec();
        world.post_text("/api/jobs", part).await.assert_problem(400);
    }
    // Any bytes anywhere: what is refused is a problem, and what is accepted can be read again.
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let good = good.replace(r#","run_at":"2100-01-01T00:00:00Z""#, "");
    for _ in 0..500 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.random_range(0x20..0x7f)),
            }
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = world.post_text("/api/jobs", bytes).await;
        match answer.status.as_u16() {
            status @ (400 | 422) => answer.assert_problem(status),
            200 | 202 => {
                let path = format!("/api/jobs/{}", answer.body["id"].as_str().unwrap());
                assert_eq!(world.ask("GET", &path).await.status, StatusCode::OK, "{shown}");
            }
            status => panic!("{status} for {shown}: {}", answer.body),
        }
    }
}
