//! What a real blog refuses, and how: the error table's rows that were tried.

use postworks::job::{ErrorClass, JobError};
use postworks_workers::platforms::{Account, ImageKind, Outgoing, Platform, Prepared};
use serde_json::{Value, json};

use super::{World, account, class, image, post, publish, rich};

#[tokio::test]
async fn wrong_credentials_need_a_person() {
    let world = World::start().await;
    let (client, good) = (&world.client, &world.account);
    let tokens = client.sign_in(good, &world.owner.password).await.unwrap();
    assert_eq!(tokens.remote_id, Some(world.owner.id.to_string()));
    assert!(tokens.refresh.is_none() && tokens.expires_at.is_none());

    let by_mail = Account { identifier: "alice@example.invalid".into(), ..good.clone() };
    client.sign_in(&by_mail, &world.owner.password).await.unwrap();
    for (account, password) in [
        (good.clone(), "wrong horse"),
        (Account { identifier: "nobody".into(), ..good.clone() }, "wrong horse"),
        // The password that people log in with is none for applications.
        (good.clone(), "nobody logs in with it"),
    ] {
        let error = client.sign_in(&account, &password.into()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::AuthRevoked);
        assert!(error.to_string().contains("401 rest_not_logged_in"), "{error}");
        assert!(!error.chain().contains(password), "{}", error.chain());
    }
    let stranger = Account { remote_id: Some("1".into()), ..good.clone() };
    let other = client.sign_in(&stranger, &world.owner.password).await;
    assert_eq!(class(other), ErrorClass::AuthRevoked, "another user's number is refused");
}

#[tokio::test]
async fn a_password_that_was_taken_back_is_found_by_signing_in() {
    let world = World::start().await;
    let (access, mut kept) = (&world.owner.password, Prepared::NOTHING);
    world.publish_as(&world.account, &post("Before"), &mut kept).await.unwrap();
    world.server.end_passwords(&world.owner).await;
    let (client, of) = (&world.client, &world.account);
    let says = |error: JobError| {
        assert_eq!(error.class(), ErrorClass::AuthExpired, "{error}");
        error.to_string()
    };
    let error =
        client.prepare(of.with(access), &rich("After"), Prepared::NOTHING).await.unwrap_err();
    assert!(says(error).contains("400 rest_forbidden_status"));
    let error = client.commit(of.with(access), &post("Before"), &kept).await.unwrap_err();
    assert!(says(error).contains("401 rest_cannot_edit"));
    let error = client.posts(of.with(access), None).await.unwrap_err();
    assert!(says(error).contains("401 rest_forbidden_context"));
    let error = client.profile(of.with(access)).await.unwrap_err();
    assert!(says(error).contains("401 rest_not_logged_in"));
    let renewed = client.refresh(of, access).await;
    assert_eq!(class(renewed), ErrorClass::AuthRevoked);
}

#[tokio::test]
async fn a_plugin_that_names_the_wrong_password_is_understood() {
    let world = World::start().await;
    // As any code that asks who is there before WordPress does.
    let early = "add_filter('rest_authentication_errors', function ($r) { wp_get_current_user(); return $r; }, 1);";
    world.server.add_plugin("early", early);
    let wrong = "wrong horse".into();
    let error = world.client.sign_in(&world.account, &wrong).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(error.to_string().contains("401 incorrect_password"), "{error}");
    let posts = world.client.posts(world.account.with(&wrong), None).await;
    assert_eq!(class(posts), ErrorClass::AuthExpired);
}

#[tokio::test]
async fn who_may_not_publish_is_told_when_signing_in() {
    let world = World::start().await;
    for (role, said) in
        [("contributor", "403 rest_cannot_publish"), ("subscriber", "400 rest_forbidden_status")]
    {
        let user = world.server.create_account_as(role, role).await;
        let of = account(&world.server, &user);
        let error = world.client.sign_in(&of, &user.password).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::AuthRevoked);
        assert!(error.to_string().contains("may not publish"), "{error}");

        // Somebody whose role has changed since.
        let (post, mut kept) = (post("Mine"), Prepared::NOTHING);
        let error = publish(&world.client, &of, &user.password, &post, &mut kept).await;
        let error = error.unwrap_err();
        assert_eq!(error.class(), ErrorClass::AuthExpired, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!(world.server.posts().await.len(), 1, "the contributor's draft");
}

#[tokio::test]
async fn what_a_blog_will_never_take_is_invalid() {
    let world = World::start().await;
    let access = &world.owner.password;
    let invalid = |error: JobError, said: &str| {
        assert_eq!(error.class(), ErrorClass::Invalid, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    };
    let commit = async |prepared: Value| {
        let prepared = Prepared(prepared);
        world.client.commit(world.account.with(access), &post("x"), &prepared).await.unwrap_err()
    };
    invalid(commit(json!({ "post": 999 })).await, "404 rest_post_invalid_id");
    world
        .server
        .write_posts(&world.server.admin(), &[json!({ "title": "Another's", "status": "draft" })])
        .await;
    let others = world.server.posts().await.remove(0);
    invalid(commit(json!({ "post": others.id })).await, "403 rest_cannot_edit");

    let no_image = image(ImageKind::Png, b"this is no image", "");
    let error = world.publish(&Outgoing { images: vec![no_image], ..post("x") }).await.unwrap_err();
    invalid(error, "500 rest_upload_sideload_error");

    let nameless = Account { remote_id: Some("alice".into()), ..world.account.clone() };
    let error = world.client.posts(nameless.with(access), None).await.unwrap_err();
    invalid(error, "400 rest_invalid_param");

    let error = world.client.posts(world.account.with(access), Some("nowhere")).await.unwrap_err();
    invalid(error, "cannot be read");
}

#[tokio::test]
async fn a_post_that_a_plugin_keeps_back_is_not_called_published() {
    let world = World::start().await;
    let keep = "add_filter('wp_insert_post_data', function ($data) {
        if ($data['post_type'] === 'post' && $data['post_status'] === 'publish') { $data['post_status'] = 'pending'; }
        return $data;
    });";
    world.server.add_plugin("keep", keep);
    let error = world.publish(&post("Look at it first")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("keeps the post back, as \"pending\""), "{error}");
}

#[tokio::test]
async fn a_blog_that_fails_is_asked_again() {
    let world = World::start().await;
    let break_it = "add_action('init', fn () => wp_die('no', '', 503));";
    let mut kept = Prepared::NOTHING;
    world.publish_as(&world.account, &post("x"), &mut kept).await.unwrap();
    world.server.add_plugin("broken", break_it);
    let access = &world.owner.password;
    let error = world.client.sign_in(&world.account, access).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    let prepared =
        world.client.prepare(world.account.with(access), &post("y"), Prepared::NOTHING).await;
    assert_eq!(class(prepared), ErrorClass::Transient);
    let commit = world.client.commit(world.account.with(access), &post("x"), &kept).await;
    assert_eq!(class(commit), super::UNKNOWN);
}
