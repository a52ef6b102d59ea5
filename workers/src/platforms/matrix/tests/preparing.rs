//! A room is found and entered, and what stands in it is uploaded.

use super::*;

fn missing() -> Reply {
    Reply::new(404, refusal("M_NOT_FOUND").to_string())
}

fn membership(membership: &str) -> Reply {
    Reply::new(200, json!({ "membership": membership }).to_string())
}

fn room(id: &str) -> Reply {
    Reply::new(200, json!({ "room_id": id, "servers": ["example.org"] }).to_string())
}

fn kept(image: Option<&str>) -> Prepared {
    let image = image.map(str::to_owned);
    Prepared::of(&Ready { room: "!room:example.org".into(), image }).unwrap()
}

#[tokio::test]
async fn a_room_is_found_entered_and_looked_at_and_the_image_uploaded() {
    let (responder, client, account, secret) = start().await;
    responder.answer_in_turn([
        room("!room:example.org"),
        Reply::new(403, refusal("M_FORBIDDEN").to_string()),
        room("!room:example.org"),
        missing(),
        Reply::new(200, r#"{"content_uri":"mxc://example.org/1"}"#),
    ]);
    let post = Outgoing { images: vec![image("A fox")], ..post() };
    let ready = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    assert_eq!(ready, Preparation::Ready(kept(Some("mxc://example.org/1"))));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/directory/room/%23news%2Fof%20all:example.org
    authorization: Bearer [secret]



    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.member/@alice:example.org
    authorization: Bearer [secret]



    POST /_matrix/client/v3/join/%23news%2Fof%20all:example.org
    authorization: Bearer [secret]
    content-type: application/json

    {}

    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.encryption/
    authorization: Bearer [secret]



    POST /_matrix/media/v3/upload
    authorization: Bearer [secret]
    content-type: image/png

    png
    ");
}

#[tokio::test]
async fn what_was_prepared_is_not_done_again_but_the_account_must_still_be_in_the_room() {
    let (responder, client, account, secret) = start().await;
    responder.answer_in_turn([membership("join"), missing()]);
    let post = Outgoing { images: vec![image("A fox")], ..post() };
    let before = kept(Some("mxc://example.org/1"));
    let ready = client.prepare(account.with(&secret), &post, before.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(before));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.member/@alice:example.org
    authorization: Bearer [secret]



    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.encryption/
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn a_post_that_was_begun_enters_its_own_room_though_the_account_has_another_by_now() {
    let (responder, client, account, secret) = start().await;
    let account = Account { target: Some("#elsewhere:example.org".into()), ..account };
    responder.answer_in_turn([membership("leave"), room("!room:example.org"), missing()]);
    let ready = client.prepare(account.with(&secret), &post(), kept(None)).await.unwrap();
    assert_eq!(ready, Preparation::Ready(kept(None)));
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.member/@alice:example.org
    authorization: Bearer [secret]



    POST /_matrix/client/v3/join/!room:example.org
    authorization: Bearer [secret]
    content-type: application/json

    {}

    GET /_matrix/client/v3/rooms/!room:example.org/state/m.room.encryption/
    authorization: Bearer [secret]
    ");
}
