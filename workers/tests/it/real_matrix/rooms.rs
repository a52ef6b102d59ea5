//! Rooms: found, entered, and closed to an account.

use http::Method;
use postworks::job::ErrorClass;
use postworks_workers::platforms::{Account, Platform as _};
use serde_json::{Value, json};

use super::{World, account, class, commit, post, prepare};

#[tokio::test]
async fn a_room_is_found_by_its_address_and_entered_once() {
    let world = World::start().await;
    let guest = world.server.create_user("bob").await;
    let by_alias = account(&world.server, &guest, "#news:localhost");
    let tokens = world.client.sign_in(&by_alias, &guest.password).await.unwrap();
    for text in ["First", "Second"] {
        let post = post(text);
        let prepared = prepare(&world.client, &by_alias, &tokens, &post).await.unwrap();
        commit(&world.client, &by_alias, &tokens, &post, &prepared).await.unwrap();
    }
    let texts: Vec<_> = world.messages().await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["Second", "First"]);
    let page = world.client.posts(by_alias.with(&tokens.access), None).await.unwrap();
    assert_eq!(page.posts.len(), 2);
}

#[tokio::test]
async fn a_private_room_is_entered_by_invitation_alone_and_an_encrypted_one_never() {
    let world = World::start().await;
    let guest = world.server.create_user("bob").await;
    let private = json!({ "preset": "private_chat" });
    let closed = world.server.create_room(&world.owner, &private).await;
    let inviting = json!({ "preset": "private_chat", "invite": [guest.user_id] });
    let open = world.server.create_room(&world.owner, &inviting).await;
    let encrypted = json!({ "preset": "public_chat", "initial_state": [{
        "type": "m.room.encryption",
        "content": { "algorithm": "m.megolm.v1.aes-sha2" },
    }]});
    let encrypted = world.server.create_room(&world.owner, &encrypted).await;
    let base = account(&world.server, &guest, "");
    let tokens = world.client.sign_in(&base, &guest.password).await.unwrap();
    let enter = async |target: &str| {
        let account = Account { target: Some(target.to_owned()), ..base.clone() };
        prepare(&world.client, &account, &tokens, &post("Hello")).await
    };

    enter(&open).await.unwrap();
    for (target, words) in [
        (closed.as_str(), "403 M_FORBIDDEN: You are not invited to this room."),
        (encrypted.as_str(), "the room is encrypted, and what is posted here is not"),
        ("#nowhere:localhost", "404 M_NOT_FOUND: Room alias #nowhere:localhost not found"),
        ("!nowhere:localhost", "404 M_UNKNOWN: Can't join remote room"),
        ("news", "\"news\" is no room: give its id (!…) or one of its addresses (#…:…)"),
        ("", "\"\" is no room"),
    ] {
        let error = enter(target).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Invalid, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // Another server's address, which is not reached now.
    assert_eq!(class(enter("#news:elsewhere.example").await), ErrorClass::Transient);
}

#[tokio::test]
async fn what_a_room_does_not_permit_is_invalid() {
    let world = World::start().await;
    let guest = world.server.create_user("bob").await;
    let account = account(&world.server, &guest, &world.room);
    let tokens = world.client.sign_in(&account, &guest.password).await.unwrap();
    let post = post("May I?");
    let prepared = prepare(&world.client, &account, &tokens, &post).await.unwrap();
    let commit = async || commit(&world.client, &account, &tokens, &post, &prepared).await;

    let path = format!("rooms/{}/state/m.room.power_levels", world.room);
    let (_, mut levels) = world.server.ask(&world.owner, Method::GET, &path, &Value::Null).await;
    levels["events_default"] = json!(50);
    let set = world.server.ask(&world.owner, Method::PUT, &path, &levels).await;
    assert_eq!(set.0, 200, "{set:?}");
    let error = commit().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("You don't have permission to post that"), "{error}");

    let ban = format!("rooms/{}/ban", world.room);
    let user = json!({ "user_id": guest.user_id });
    assert_eq!(world.server.ask(&world.owner, Method::POST, &ban, &user).await.0, 200);
    assert_eq!(class(commit().await), ErrorClass::Invalid, "it is not in the room");
    let again = prepare(&world.client, &account, &tokens, &post).await.unwrap_err();
    assert_eq!(again.class(), ErrorClass::Invalid);
    assert!(again.to_string().contains("403 M_BAD_STATE"), "{again}");
    assert_eq!(world.messages().await, []);
}
