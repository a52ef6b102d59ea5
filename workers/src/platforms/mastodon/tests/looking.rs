//! What is asked of a server that has statuses of the account.

use super::*;

#[tokio::test]
async fn a_status_that_may_be_there_is_looked_for_page_by_page() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let first = Reply::new(200, STATUSES).header("link", NEXT);
    responder.answer_in_turn([first, Reply::new(200, "[]")]);
    let sought = Sought::alone(
        "2019-12-08T03:00:00Z".parse().unwrap(),
        "2019-12-08T03:00:00Z".parse().unwrap(),
    );
    let post = Outgoing { text: "Something else".into(), ..post() };
    let nothing = Prepared::NOTHING;
    let told = client.reconcile(account.with(&secret), &post, &nothing, sought).await.unwrap();
    assert_eq!(told, Reconciled::Absent);
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /api/v1/accounts/103641/statuses?limit=40&exclude_reblogs=true
    authorization: Bearer [secret]



    GET /api/v1/accounts/103641/statuses?limit=40&exclude_reblogs=true&max_id=103270115826048975
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn numbers_are_read_singly_where_a_server_cannot_be_asked_for_several() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let statuses: Vec<Value> = serde_json::from_str(STATUSES).unwrap();
    let missing = || Reply::new(404, r#"{"error":"Record not found"}"#);
    let ids: Vec<String> = (0..3).map(|id| id.to_string()).collect();
    responder.answer_in_turn([
        missing(),
        Reply::new(200, statuses[0].to_string()),
        missing(),
        Reply::new(200, statuses[1].to_string()),
    ]);
    let numbers = client.numbers(account.with(&secret), &ids).await.unwrap();
    let read: Vec<_> = numbers.iter().map(|(id, of)| (id.as_str(), of.likes)).collect();
    let expected = [("108880211901672326", Some(112)), ("103270115826048975", Some(11))];
    assert_eq!(read, expected, "the one that is gone is left out");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /api/v1/statuses?id%5B%5D=0&id%5B%5D=1&id%5B%5D=2
    authorization: Bearer [secret]



    GET /api/v1/statuses/0
    authorization: Bearer [secret]



    GET /api/v1/statuses/1
    authorization: Bearer [secret]



    GET /api/v1/statuses/2
    authorization: Bearer [secret]
    ");
    responder.answer_in_turn([missing(), Reply::new(503, "")]);
    let error = client.numbers(account.with(&secret), &ids).await.unwrap_err();
    assert_eq!(error.class(), TRANSIENT, "what was not told is not gone");
}

#[tokio::test]
async fn a_status_is_not_sent_without_all_of_its_images() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image("A chart"), image("")], ..post() };
    let upload = |id| json!({ "id": id, "ends": "2026-03-01T09:30:00Z", "ready": true });
    let three = [upload("7"), upload("8"), upload("9")];
    for kept in [&three[..0], &three[..1], &three[..]] {
        let prepared = Prepared::of(&json!({ "media": kept })).unwrap();
        let error = client.commit(account.with(&secret), &post, &prepared).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{} uploads", kept.len());
    }
    assert_eq!(responder.take_requests(), "", "nothing is sent");
}
