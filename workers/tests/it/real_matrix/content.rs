//! What a message is made of, and what is read of an account.

use http::Method;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, Timestamp};
use postworks_workers::platforms::{Image, ImageKind, Link, Outgoing, Platform as _, Preparation};
use serde_json::json;
use uuid::Uuid;

use super::{World, commit, post};

/// A picture of one black point.
pub(super) const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b,
    0x55, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x60, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x01, 0xe5, 0x27, 0xde, 0xfc, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae,
    0x42, 0x60, 0x82,
];

pub(super) fn with_image(post: &Outgoing, bytes: &'static [u8], alt: &str) -> Outgoing {
    let image = Image {
        id: Uuid::now_v7(),
        kind: ImageKind::Png,
        bytes: bytes.into(),
        width: 1,
        height: 1,
        alt: alt.to_owned(),
        url: None,
    };
    Outgoing { images: vec![image], ..post.clone() }
}

#[tokio::test]
async fn an_image_is_a_message_with_the_text_as_its_caption() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let captioned = with_image(&post("A point"), PNG, "One black\npoint");
    let bare = with_image(&post(""), PNG, "");
    for post in [&captioned, &bare] {
        let prepared = world.prepare(&tokens, post).await.unwrap();
        // Prepared again, it is not uploaded again.
        let again =
            world.client.prepare(world.account.with(&tokens.access), post, prepared.clone());
        let Preparation::Ready(again) = again.await.unwrap() else { panic!("it waits") };
        assert_eq!(again, prepared);
        commit(&world.client, &world.account, &tokens, post, &again).await.unwrap();
    }
    let messages = world.messages().await;
    let [bare, captioned] = messages.as_slice() else { panic!("{messages:?}") };
    let info = json!({ "mimetype": "image/png", "size": PNG.len(), "w": 1, "h": 1 });
    assert_eq!(captioned.content["msgtype"], "m.image");
    assert_eq!(captioned.content["body"], "A point");
    assert_eq!(captioned.content["filename"], "One black point.png");
    assert_eq!(captioned.content["info"], info);
    assert_eq!(bare.content["body"], "image.png", "the name of a file is no caption");
    assert_eq!(bare.content["filename"], "image.png");

    let uri = captioned.content["url"].as_str().unwrap();
    let media = uri.strip_prefix("mxc://").unwrap();
    assert_eq!(world.server.media(&world.owner, media).await, PNG);
    let page = world.client.posts(world.account.with(&tokens.access), None).await.unwrap();
    let texts: Vec<_> = page.posts.into_iter().map(|post| post.text).collect();
    assert_eq!(texts, ["", "A point"]);
}

#[tokio::test]
async fn a_reply_and_a_link_are_what_apps_take_them_for() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let question = world.publish(&tokens, &post("How?")).await.unwrap();
    let url = "https://example.com/so".parse().unwrap();
    let link = Link { url, title: None, description: None };
    let answer =
        Outgoing { reply_to: Some(question.remote_id.clone()), link: Some(link), ..post("So:") };
    world.publish(&tokens, &answer).await.unwrap();
    let newest = world.messages().await.remove(0);
    assert_eq!(newest.text, "So:\n\nhttps://example.com/so");
    assert_eq!(
        newest.content["m.relates_to"],
        json!({ "m.in_reply_to": { "event_id": question.remote_id } })
    );
}

#[tokio::test]
async fn the_longest_post_that_is_let_through_is_taken() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let limits = &world.client.descriptor().limits;
    let longest = |max: usize| "\"".repeat(max / 2);
    let text = longest(limits.text.max);
    assert_eq!((limits.text.count)(&text), limits.text.max);
    let alt = longest(limits.images.as_ref().unwrap().alt.max);
    world.publish(&tokens, &with_image(&post(&text), PNG, &alt)).await.unwrap();

    let beyond = post(&"x".repeat(65_536));
    let error = world.publish(&tokens, &beyond).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("413 M_TOO_LARGE"), "{error}");
}

#[tokio::test]
async fn messages_are_read_newest_first_in_pages() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let before = SystemClock.now();
    for number in 0..40 {
        world.publish(&tokens, &post(&format!("Post {number}"))).await.unwrap();
    }
    // What others say, and new versions of old messages, are no posts of the account.
    let guest = world.server.create_user("bob").await;
    let join = format!("join/{}", world.room);
    assert_eq!(world.server.ask(&guest, Method::POST, &join, &json!({})).await.0, 200);
    let edit = json!({
        "msgtype": "m.text",
        "body": "* Post forty",
        "m.new_content": { "msgtype": "m.text", "body": "Post forty" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": world.messages().await[0].event_id },
    });
    let said = json!({ "msgtype": "m.text", "body": "Indeed" });
    for (user, message) in [(&world.owner, &edit), (&guest, &said)] {
        let path = format!("rooms/{}/send/m.room.message/1", world.room);
        assert_eq!(world.server.ask(user, Method::PUT, &path, message).await.0, 200);
    }

    let mut seen = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let page = world.client.posts(world.account.with(&tokens.access), cursor.as_deref()).await;
        let page = page.unwrap();
        seen.extend(page.posts);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let texts: Vec<_> = seen.iter().map(|post| post.text.clone()).collect();
    let expected: Vec<_> = (0..40).rev().map(|number| format!("Post {number}")).collect();
    assert_eq!(texts, expected);
    let ids = world.messages().await;
    assert_eq!(seen[39].remote_id, ids.last().unwrap().event_id);
    let created: Timestamp = seen[39].created_at.unwrap();
    assert!(created >= before && created <= SystemClock.now(), "{created}");
}

#[tokio::test]
async fn a_profile_has_the_accounts_name() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let path = format!("profile/{}/displayname", world.owner.user_id);
    let name = json!({ "displayname": "Alice's news" });
    assert_eq!(world.server.ask(&world.owner, Method::PUT, &path, &name).await.0, 200);
    let profile = world.client.profile(world.account.with(&tokens.access)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Alice's news"));
    assert_eq!((profile.description, profile.followers), (None, None));
}
