//! What an earlier attempt left on the blog, and what the blog makes of a post.

use super::*;

fn image(alt: &str) -> Image {
    Image {
        id: Uuid::nil(),
        kind: ImageKind::Png,
        bytes: "the file".into(),
        width: 1,
        height: 1,
        alt: alt.into(),
        url: None,
    }
}

fn there(status: &str) -> String {
    json!({ "id": 9, "status": status, "link": "https://blog.example/?p=9" }).to_string()
}

#[tokio::test]
async fn a_draft_that_was_left_is_written_anew_and_its_image_is_not_sent_again() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image("A dot")], ..post() };
    let media = r#"[{"id":8,"source_url":"https://blog.example/1.png","alt_text":"A dot"}]"#;
    responder.answer_in_turn([
        Reply::new(200, format!("[{}]", there("draft"))),
        Reply::new(200, media),
        Reply::new(200, there("draft")),
    ]);
    let account = responder.account();
    let ready = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    assert_eq!(ready, Preparation::Ready(Prepared(json!({ "post": 9 }))));
    insta::assert_snapshot!(responder.take_requests(), @r#"
    GET /?rest_route=/wp/v2/posts&slug=p-0198f2a0-7c3e-7000-8000-000000000001&status=any&orderby=id&order=asc&_fields=id%2Cstatus%2Clink
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu



    GET /?rest_route=/wp/v2/media&slug=p-0198f2a0-7c3e-7000-8000-000000000001-1&orderby=id&order=asc&_fields=id%2Csource_url%2Calt_text
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu



    POST /?rest_route=/wp/v2/posts/9&_fields=id%2Cstatus%2Clink
    authorization: Basic YWxpY2U6czNjcjN0LXRva2Vu
    content-type: application/json

    {"status":"draft","slug":"p-0198f2a0-7c3e-7000-8000-000000000001","title":"","content":"<!-- wp:paragraph -->\n<p>Hello</p>\n<!-- /wp:paragraph -->\n\n<!-- wp:image {\"id\":8} -->\n<figure class=\"wp-block-image\"><img src=\"https://blog.example/1.png\" alt=\"A dot\" class=\"wp-image-8\"/></figure>\n<!-- /wp:image -->","featured_media":8}
    "#);
}

#[tokio::test]
async fn an_image_whose_upload_broke_off_is_described_and_one_without_words_is_not() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image("A dot"), image("")], ..post() };
    let media = r#"{"id":8,"source_url":"https://blog.example/1.png","alt_text":""}"#;
    responder.answer_in_turn([
        Reply::new(200, "[]"),
        Reply::new(200, format!("[{media}]")),
        Reply::new(200, media),
        Reply::new(200, format!("[{media}]")),
        Reply::new(201, there("draft")),
    ]);
    client.prepare(responder.account().with(&secret), &post, Prepared::NOTHING).await.unwrap();
    let requests = responder.take_requests();
    let lines = requests.lines().filter(|line| line.contains("/wp/v2/"));
    let asked: Vec<&str> = lines.filter_map(|line| line.split(['&', '?']).nth(1)).collect();
    assert_eq!(
        asked,
        [
            "rest_route=/wp/v2/posts",
            "rest_route=/wp/v2/media",
            "rest_route=/wp/v2/media/8",
            "rest_route=/wp/v2/media",
            "rest_route=/wp/v2/posts"
        ]
    );
}

#[tokio::test]
async fn a_post_that_somebody_has_published_by_hand_is_not_written_over() {
    for status in ["publish", "private", "future", "pending"] {
        let (responder, client, secret) =
            (Responder::start().await, client(), SecretString::from(SECRET));
        let post = Outgoing { images: vec![image("A dot")], ..post() };
        responder.answer_with(Reply::new(200, format!("[{}]", there(status))));
        let account = responder.account();
        let ready = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
        assert_eq!(ready, Preparation::Ready(Prepared(json!({ "post": 9 }))), "{status}");
        let requests = responder.take_requests();
        assert!(requests.starts_with("GET ") && !requests.contains("POST "), "{requests}");
    }
}

#[tokio::test]
async fn a_post_that_the_blog_keeps_back_says_what_a_person_can_do() {
    let (responder, client, secret) =
        (Responder::start().await, client(), SecretString::from(SECRET));
    let draft = Prepared(json!({ "post": 9 }));
    responder.answer_with(Reply::new(200, there("pending")));
    let account = responder.account();
    let error = client.commit(account.with(&secret), &post(), &draft).await.unwrap_err();
    assert_eq!(error.class(), INVALID);
    assert_eq!(
        error.to_string(),
        "publishing on wordpress: the blog keeps the post back, as \"pending\": publish or delete \
         it in the blog"
    );
    let error =
        client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Bug, "there is no draft");
}
