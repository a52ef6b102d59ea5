//! A message that may have been sent is looked for in the room.

use super::*;

const ROOM: &str = "!room:example.org";
const SINCE: &str = "2026-03-01T09:30:00Z";

/// What is found of this publication, and what was asked.
async fn found<const N: usize>(id: &str, pages: [Value; N]) -> (Reconciled, String) {
    let (responder, client, account, secret) = start().await;
    responder.answer_in_turn(pages.map(|page| Reply::new(200, page.to_string())));
    let post = Outgoing { publication_id: id.parse().unwrap(), ..post() };
    let prepared = Prepared::of(&Ready { room: ROOM.to_owned(), image: None }).unwrap();
    let sought = Sought::alone(SINCE.parse().unwrap(), SINCE.parse().unwrap());
    let found = client.reconcile(account.with(&secret), &post, &prepared, sought).await.unwrap();
    (found, responder.take_requests())
}

fn id(number: u8) -> String {
    format!("0198f2a0-7c3e-7000-8000-{number:012}")
}

/// A message of the account, so many minutes before or after the first attempt.
fn message(event_id: &str, minutes: i64, content: &Value) -> Value {
    let since: Timestamp = SINCE.parse().unwrap();
    json!({
        "type": "m.room.message",
        "event_id": event_id,
        "sender": "@alice:example.org",
        "origin_server_ts": since.as_millis() + minutes * 60_000,
        "content": content,
    })
}

fn text() -> Value {
    json!({ "msgtype": "m.text", "body": "Hello" })
}

fn ours(number: u8) -> Value {
    json!({ "msgtype": "m.text", "body": "Hello", "org.postworks.publication_id": id(number) })
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/messages.json")).unwrap()
}

fn event(found: Reconciled) -> String {
    let Reconciled::There(there) = found else { panic!("{found:?}") };
    let encoded = there.remote_id.replace('$', "%24");
    let url = format!("https://matrix.to/#/%21room%3Aexample.org/{encoded}?via=example.org");
    assert_eq!(there.remote_url, Some(url));
    there.remote_id
}

#[tokio::test]
async fn it_is_found_by_our_field_and_failing_that_by_its_key_whatever_was_removed() {
    for (number, expected) in [(1, "$ours"), (2, "$sent")] {
        let (found, requests) = found(&id(number), [fixture()]).await;
        assert_eq!(event(found), expected);
        assert_eq!(requests.matches("GET ").count(), 1);
    }
}

#[tokio::test]
async fn it_is_looked_for_page_by_page_and_an_empty_page_is_not_the_last() {
    let first = json!({ "chunk": [], "end": "t2-2_0" });
    let other = message("$later", 3, &ours(9));
    let second = json!({ "chunk": [other, message("$event", 2, &ours(1))], "end": "t1-1_0" });
    let (found, requests) = found(&id(1), [first, second]).await;
    assert_eq!(event(found), "$event");
    insta::assert_snapshot!(requests, @r"
    GET /_matrix/client/v3/rooms/!room:example.org/messages?dir=b&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%2C%22senders%22%3A%5B%22%40alice%3Aexample.org%22%5D%7D&limit=15
    authorization: Bearer [secret]



    GET /_matrix/client/v3/rooms/!room:example.org/messages?dir=b&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%2C%22senders%22%3A%5B%22%40alice%3Aexample.org%22%5D%7D&limit=15&from=t2-2_0
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn it_is_absent_once_the_room_ends_or_messages_are_an_hour_older_than_its_first_attempt() {
    let later = message("$later", 3, &text());
    let last = json!({ "chunk": [later] });
    let (told, _) = found(&id(1), [last]).await;
    assert_eq!(told, Reconciled::Absent, "no page follows");

    let early = json!({ "chunk": [message("$early", -59, &text())], "end": "t2" });
    let old = json!({ "chunk": [message("$old", -61, &text())], "end": "t1" });
    let (told, requests) = found(&id(1), [early, old]).await;
    assert_eq!(told, Reconciled::Absent);
    assert_eq!(requests.matches("GET ").count(), 2, "no further back than that");
}

#[tokio::test]
async fn a_message_that_was_removed_since_may_have_been_it() {
    let (told, _) = found(&id(3), [json!({ "chunk": fixture()["chunk"] })]).await;
    let Reconciled::Unsure(words) = told else { panic!("{told:?}") };
    assert!(words.contains("a message of the account was removed since"), "{words}");

    // Not one that was removed before it could have been sent, nor somebody else's.
    let mut other = message("$other", 1, &json!({}));
    other["sender"] = json!("@bob:example.org");
    let before = message("$before", -61, &json!({}));
    let (told, _) = found(&id(3), [json!({ "chunk": [other, before] })]).await;
    assert_eq!(told, Reconciled::Absent);
}

#[tokio::test]
async fn a_room_without_end_is_not_read_for_ever() {
    let page = json!({ "chunk": [message("$later", 3, &text())], "end": "t1" });
    let (told, requests) = found(&id(1), [page]).await;
    let words = "not among the account's last 3000 messages".to_owned();
    assert_eq!(told, Reconciled::Unsure(words));
    assert_eq!(requests.matches("GET ").count(), 200);
}
