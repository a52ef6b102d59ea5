//! Something else is where a post was to be written.

use super::*;

const TAKEN: &str = r#"{"error":"InvalidSwap","message":"Record was at bafyreiold"}"#;
const KEPT: &str = "at://did:plc:1/app.bsky.feed.post/3mfygiomvtf5u";

/// What a commit comes to if the place is taken, and this is said of what is there.
async fn committed(there: Reply) -> (Result<Committed, JobError>, String) {
    let (responder, client, account, secret) = start().await;
    responder.answer_in_turn([Reply::new(400, TAKEN), there]);
    let committed = client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await;
    (committed, responder.take_requests())
}

fn record(value: &Value) -> Reply {
    let found = json!({ "uri": KEPT, "cid": "bafyreiold", "value": value });
    Reply::new(200, found.to_string())
}

#[tokio::test]
async fn the_same_record_is_the_post_of_an_earlier_attempt() {
    // Written by a release that marked it up otherwise.
    let value = json!({
        "$type": "app.bsky.feed.post",
        "text": "Hello",
        "facets": [],
        "createdAt": "2026-03-01T09:30:00.250Z",
    });
    let (committed, requests) = committed(record(&value)).await;
    let there = published(committed.unwrap());
    assert_eq!(there.remote_id, KEPT);
    let url = "https://bsky.app/profile/did:plc:1/post/3mfygiomvtf5u";
    assert_eq!(there.remote_url.as_deref(), Some(url));
    insta::assert_snapshot!(requests, @r#"
    POST /xrpc/com.atproto.repo.putRecord
    authorization: Bearer [secret]
    content-type: application/json

    {"repo":"did:plc:1","collection":"app.bsky.feed.post","rkey":"3mfygiomvtf5u","record":{"$type":"app.bsky.feed.post","text":"Hello","createdAt":"2026-03-01T09:30:00.250Z"},"swapRecord":null}

    GET /xrpc/com.atproto.repo.getRecord?repo=did%3Aplc%3A1&collection=app.bsky.feed.post&rkey=3mfygiomvtf5u
    authorization: Bearer [secret]
    "#);
}

#[tokio::test]
async fn another_record_is_left_alone_and_a_person_is_told_of_it() {
    let embed =
        json!({ "$type": "app.bsky.embed.external", "external": { "uri": "https://a.example" } });
    for value in [
        json!({ "$type": "app.bsky.feed.post", "text": "Something else" }),
        json!({ "$type": "app.bsky.feed.post", "text": "Hello", "embed": embed }),
        json!({ "text": 5 }),
        Value::Null,
    ] {
        let (committed, requests) = committed(record(&value)).await;
        let error = committed.unwrap_err();
        assert_eq!(error.class(), INVALID, "{value}");
        assert!(error.to_string().contains(&format!("another record is there: {KEPT}")), "{error}");
        assert_eq!(requests.matches("POST ").count(), 1, "nothing is written over it");
    }
}

#[tokio::test]
async fn what_cannot_be_read_of_it_leaves_the_outcome_unknown() {
    for there in [
        Reply::new(400, r#"{"error":"RecordNotFound","message":"Could not locate record"}"#),
        Reply::new(500, r#"{"error":"InternalServerError","message":"Internal Server Error"}"#),
        Reply::new(200, "<html>"),
    ] {
        let (committed, _) = committed(there).await;
        assert_eq!(committed.unwrap_err().class(), UNKNOWN);
    }
}
