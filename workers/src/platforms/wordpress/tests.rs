//! What the WordPress client sends, and what it makes of each answer. The behaviour of a real blog is
//! tested in `tests/it/real_wordpress.rs`.

mod left;
mod refusals;

use postworks::clock::SystemClock;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, shows};
use crate::platforms::responder::{Reply, Responder, SECRET, post, published};
use crate::platforms::{Draft as Wanted, Link, NetworkPolicy};

const INVALID: ErrorClass = ErrorClass::Invalid;
const TRANSIENT: ErrorClass = ErrorClass::Transient;

#[test]
fn what_a_blog_would_not_take_is_refused_before_it_sees_it() {
    let most = Most {
        text: (100_000, "characters"),
        images: 20,
        kinds: &ImageKind::ALL,
        bytes: 8_388_608,
        alt: (2_000, "characters"),
        replies: false,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    // Its link is a paragraph of its own.
    let (text, link) = ("x".repeat(100_000), Some("https://example.org/page"));
    let linked = Wanted { text: &text, link, ..shows(vec![image_of(ImageKind::Gif); 2]) };
    assert_eq!(DESCRIPTOR.limits.check("wordpress", &linked), Ok(()));
}

fn client() -> WordPressClient {
    let policy = NetworkPolicy { allow_loopback: true };
    WordPressClient::new(&HttpOptions::new(policy), SystemClock::shared()).unwrap()
}

const ME: &str = include_str!("fixtures/me.json");

#[tokio::test]
async fn signing_in_asks_who_it_is_and_reading_asks_for_little() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let account = responder.account();
    responder.answer_with(Reply::new(200, ME));
    let tokens = client.sign_in(&account, &secret).await.unwrap();
    assert_eq!(tokens.access.expose_secret(), SECRET);
    assert_eq!(tokens.remote_id.as_deref(), Some("7"));
    // `alice:s3cr3t-token`
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/users/me&context=edit&_fields=id%2Cname%2Cdescription%2Ccapabilities
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    "#);
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Alice"));
    assert_eq!(profile.description, None);
    responder.take_requests();

    let account = Account { remote_id: tokens.remote_id, ..account };
    // There is nothing but the password: it is asked again whose it is.
    let renewed = client.refresh(&account, &secret).await.unwrap();
    assert!(renewed.refresh.is_none() && renewed.expires_at.is_none());
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/users/me&context=edit&_fields=id%2Cname%2Cdescription%2Ccapabilities
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    "#);
    let other = Account { remote_id: Some("8".into()), ..account.clone() };
    let error = client.refresh(&other, &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");
    responder.take_requests();
    let listed = include_str!("fixtures/posts.json");
    responder.answer_with(Reply::new(200, listed).header("x-wp-totalpages", "2"));
    let page = client.posts(account.with(&secret), None).await.unwrap();
    let next = page.next.unwrap();
    assert_eq!(next, "2026-03-01T10:29:59 2 1", "both of that second were listed");
    let read: Vec<_> = page.posts.iter().map(|post| (&*post.remote_id, &*post.text)).collect();
    assert_eq!(
        read,
        [
            ("3", "A & b\n\nFirst\nline"),
            ("2", "Typed in the old editor\n\nand no blocks"),
            ("1", "Only a title"),
        ]
    );
    assert_eq!(page.posts[0].created_at, "2026-03-01T09:30:00Z".parse().ok());
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/posts&author=7&per_page=10&context=edit&_fields=id%2Cdate%2Cdate_gmt%2Ctitle%2Ccontent
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    "#);
    responder.answer_with(Reply::new(200, "[]").header("x-wp-totalpages", "0"));
    let page = client.posts(account.with(&secret), Some(&next)).await.unwrap();
    assert!(page.posts.is_empty() && page.next.is_none());
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/posts&author=7&per_page=10&context=edit&_fields=id%2Cdate%2Cdate_gmt%2Ctitle%2Ccontent&before=2026-03-01T10%3A30%3A00&exclude=2%2C1
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    "#);
    responder.answer_with(Reply::new(200, "[]"));
    let error = client.posts(account.with(&secret), None).await.unwrap_err();
    assert_eq!(error.class(), TRANSIENT, "an answer that says nothing of pages ends no walk");
}

#[tokio::test]
async fn a_post_is_prepared_as_a_draft_and_published_by_its_number() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let account = responder.account();
    let image = Image {
        id: Uuid::nil(),
        kind: ImageKind::Png,
        bytes: "the file".into(),
        width: 1,
        height: 1,
        alt: "A dot".into(),
        url: None,
    };
    let link =
        Link { url: "https://example.org/".parse().unwrap(), title: None, description: None };
    let title = Some("Hello & more".into());
    let post = Outgoing { title, link: Some(link), images: vec![image], ..post() };
    responder.answer_in_turn([
        Reply::new(200, "[]"),
        Reply::new(200, "[]"),
        Reply::new(201, r#"{"id":8,"source_url":"https://blog.example/1.png","alt_text":""}"#),
        Reply::new(200, r#"{"id":8,"source_url":"https://blog.example/1.png","alt_text":"A dot"}"#),
        Reply::new(201, r#"{"id":9,"status":"draft","link":"https://blog.example/?p=9"}"#),
    ]);
    let ready = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    let draft = Prepared(json!({ "post": 9 }));
    assert_eq!(ready, Preparation::Ready(draft.clone()));
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/posts&slug=p-0198f2a0-7c3e-7000-8000-000000000001&status=any&orderby=id&order=asc&_fields=id%2Cstatus%2Clink
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu



    GET /?rest_route=/wp/v2/media&slug=p-0198f2a0-7c3e-7000-8000-000000000001-1&orderby=id&order=asc&_fields=id%2Csource_url%2Calt_text
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu



    POST /?rest_route=/wp/v2/media&slug=p-0198f2a0-7c3e-7000-8000-000000000001-1&_fields=id%2Csource_url%2Calt_text
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    content-type: image/png
    content-disposition: attachment; filename="p-0198f2a0-7c3e-7000-8000-000000000001-1.png"

    the file

    POST /?rest_route=/wp/v2/media/8&_fields=id%2Csource_url%2Calt_text
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    content-type: application/json

    {"alt_text":"A dot"}

    POST /?rest_route=/wp/v2/posts&_fields=id%2Cstatus%2Clink
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    content-type: application/json

    {"status":"draft","slug":"p-0198f2a0-7c3e-7000-8000-000000000001","title":"Hello &amp; more","content":"<!-- wp:paragraph -->\n<p>Hello</p>\n<!-- /wp:paragraph -->\n\n<!-- wp:paragraph -->\n<p><a href=\"https://example.org/\">https://example.org/</a></p>\n<!-- /wp:paragraph -->\n\n<!-- wp:image {\"id\":8} -->\n<figure class=\"wp-block-image\"><img src=\"https://blog.example/1.png\" alt=\"A dot\" class=\"wp-image-8\"/></figure>\n<!-- /wp:image -->","featured_media":8}
    "#);

    // What is known to be there is not asked for again.
    assert_eq!(client.prepare(account.with(&secret), &post, draft.clone()).await.unwrap(), ready);
    assert_eq!(responder.take_requests(), "");
    let there = r#"{"id":9,"status":"publish","link":"https://blog.example/hello-more/"}"#;
    responder.answer_with(Reply::new(200, there));
    let there = published(client.commit(account.with(&secret), &post, &draft).await.unwrap());
    assert_eq!(there.remote_id, "9");
    assert_eq!(there.remote_url.as_deref(), Some("https://blog.example/hello-more/"));
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /?rest_route=/wp/v2/posts/9&_fields=id%2Cstatus%2Clink
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    content-type: application/json

    {"status":"publish","slug":""}
    "#);
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let message = format!("<strong>Error:</strong> {SECRET} is wrong");
    let body = json!({ "code": "incorrect_password", "message": message, "data": null });
    responder.answer_with(Reply::new(401, body.to_string()));
    let error = client.sign_in(&responder.account(), &secret).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "signing in to wordpress: 401 incorrect_password: Error: [secret] is wrong"
    );
}
