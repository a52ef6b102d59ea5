//! What posts hold over HTTP, their revisions, and what platforms would not take.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use postworks_workers::testing::pictures;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::costs::account;
use crate::world::{Answer, NOBODY, World};

/// An image's id.
async fn image(world: &World) -> Value {
    let request = Request::builder().method("POST").uri("/api/media");
    let request = request.header(header::CONTENT_TYPE, "image/png");
    let added = world.send(request.body(Body::from(pictures::png(3, 3))).unwrap()).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    added.body["id"].clone()
}

async fn written(world: &World, post: Value) -> String {
    let added = world.post("/api/posts", post).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    added.body["id"].as_str().unwrap().to_owned()
}

async fn newest(world: &World) -> Value {
    world.ask("GET", "/api/posts?limit=1").await.body["items"][0].clone()
}

#[tokio::test]
async fn a_post_of_nothing_but_text_is_as_it_always_was() {
    let world = World::start().await;
    let id = written(&world, json!({"text": "hello"})).await;
    let shown = newest(&world).await;
    let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["created_at", "id", "text"]);
    assert_eq!((&shown["id"], &shown["text"]), (&id.into(), &"hello".into()));
}

#[tokio::test]
async fn a_post_shows_what_it_holds() {
    let world = World::start().await;
    let png = image(&world).await;
    let post = json!({
        "title": "A title",
        "link": {"url": "https://example.org/a", "title": "Its title", "description": "of it"},
        "images": [{"media_id": png, "alt": "a dot"}, {"media_id": png}],
    });
    let id = written(&world, post).await;
    let mut shown = newest(&world).await;
    shown.as_object_mut().unwrap().remove("created_at");
    let expected = json!({
        "id": id,
        "text": "",
        "title": "A title",
        "link": {"url": "https://example.org/a", "title": "Its title", "description": "of it"},
        "images": [{"media_id": png, "alt": "a dot"}, {"media_id": png}],
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn what_makes_no_post_is_refused_with_its_field() {
    let world = World::start().await;
    let png = image(&world).await;
    let many: Vec<Value> = (0..21).map(|_| json!({"media_id": png})).collect();
    let link = |url: &str| json!({"text": "x", "link": {"url": url}});
    let with = |image: Value| json!({"text": "x", "images": [{"media_id": png}, image]});
    let long = |count: usize| "a".repeat(count);
    for (post, field, words) in [
        (json!({}), "/text", "unless there is an image"),
        (json!({"text": ""}), "/text", "must not be empty"),
        (json!({"text": " ", "title": "x", "images": []}), "/text", "must not be empty"),
        (json!({"link": {"url": "https://example.org"}}), "/text", "must not be empty"),
        (json!({"text": long(20_001)}), "/text", "at most 20000 characters"),
        (json!({"text": "x", "title": " "}), "/title", "must not be empty"),
        (json!({"text": "x", "title": long(501)}), "/title", "at most 500 characters"),
        (link("ftp://example.org/a"), "/link/url", "the address of a page"),
        (link("javascript:alert(1)"), "/link/url", "the address of a page"),
        (link("example.org"), "/link/url", "the address of a page"),
        (link("https://ann:x@example.org/"), "/link/url", "no user or password"),
        (link(&format!("https://e.org/{}", long(2_048))), "/link/url", "at most 2048 bytes"),
        (json!({"text": "x", "link": {"title": "x"}}), "/link/url", "missing"),
        (json!({"text": "x", "link": ["https://example.org"]}), "/link", "must be an object"),
        (json!({"text": "x", "images": many}), "/images", "at most 20 images"),
        (with(json!({"media_id": NOBODY})), "/images/1/media_id", "no media with this id"),
        (with(json!({"media_id": "x"})), "/images/1/media_id", "UUID"),
        (with(json!({"media_id": png, "alt": long(10_001)})), "/images/1/alt", "10000 characters"),
        (with(json!({"media_id": png, "alt": "a\u{0}"})), "/images/1/alt", "U+0000"),
        (with(json!({"media_id": png, "text": "x"})), "/images/1/text", "unknown field"),
    ] {
        let refused = world.post("/api/posts", post.clone()).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
        let said = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(words), "{field}: {said}");
    }
    let none = world.ask("GET", "/api/posts").await.body["items"].clone();
    assert_eq!(none, json!([]));
}

/// A post that is to be published in an hour, and its publication.
async fn scheduled(world: &World, post: &str) -> String {
    scheduled_on(world, post, world.connector().await).await
}

/// The same on this account.
async fn scheduled_on(world: &World, post: &str, connector: Uuid) -> String {
    let at = crate::moving::from_now(3_600_000);
    let publish = json!({"post_id": post, "connector_ids": [connector], "at": at});
    let accepted = world.post("/api/publish", publish).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    accepted.body["publications"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_is_taken_by_what_has_not_begun_and_the_answer_says_which() {
    let world = World::start().await;
    let post = written(&world, json!({"text": "hello", "title": "old"})).await;
    let (begun, waits) = (scheduled(&world, &post).await, scheduled(&world, &post).await);
    world.node.store.freeze(begun.parse().unwrap()).await.unwrap();
    let path = format!("/api/posts/{post}");
    let patch = async |body: Value| world.ask_with("PATCH", &path, &[], body).await;
    let revised = patch(json!({"text": "hello, all", "title": null, "reason": "a typo"})).await;
    assert_eq!(revised.status, StatusCode::OK, "{}", revised.body);
    let expected = json!({"id": post, "revision": 2, "takes": [waits],
        "keeps": [{"id": begun, "revision": 1}]});
    assert_eq!(revised.body, expected);
    assert_eq!(patch(json!({"text": "hello, all"})).await.body, expected, "that changes nothing");
    let shown = newest(&world).await;
    assert_eq!((&shown["text"], &shown["revision"]), (&"hello, all".into(), &2.into()));
    assert!(shown["revised_at"].is_string() && shown.get("title").is_none(), "{shown}");
    world.node.store.freeze(waits.parse().unwrap()).await.unwrap();
    let of = async |id: &str| world.ask("GET", &format!("/api/publications/{id}")).await.body;
    assert_eq!(of(&waits).await["revision"], 2);
    assert!(of(&begun).await.get("revision").is_none());
    let audit = world.ask("GET", "/api/audit").await.body["items"][0].clone();
    assert_eq!((&audit["action"], &audit["why"]), (&"post.revise".into(), &"a typo".into()));
    for (body, field) in [
        (json!({}), "/text"),
        (json!({"reason": "why not"}), "/text"),
        (json!({"text": ""}), "/text"),
        (json!({"link": {"url": "ftp://example.org"}}), "/link/url"),
        (json!({"images": [{"media_id": NOBODY}]}), "/images/0/media_id"),
        (json!({"txt": "x"}), "/txt"),
        (json!({"text": "x", "reason": " "}), "/reason"),
    ] {
        let refused = patch(body).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
    }
    let nobody = format!("/api/posts/{NOBODY}");
    world.ask_with("PATCH", &nobody, &[], json!({"text": "x"})).await.assert_problem(404);
}

#[tokio::test]
async fn what_a_platform_would_not_take_is_told_when_it_is_to_be_published() {
    let world = World::start().await;
    let connector = world.connector().await;
    let png = image(&world).await;
    let long = written(&world, json!({"text": "a".repeat(5_001)})).await;
    let shows = written(&world, json!({"images": [{"media_id": png}]})).await;
    let plain = written(&world, json!({"text": "x"})).await;
    let first = scheduled(&world, &plain).await;
    let ask = |post: &str, more: Value| {
        let mut publish = json!({"post_id": post, "connector_ids": [connector]});
        publish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        publish
    };
    for (publish, field, words) in [
        (
            ask(&long, json!({})),
            "/connector_ids/0",
            "has 5001 characters; sandbox takes at most 5000",
        ),
        (ask(&shows, json!({})), "/connector_ids/0", "without a text (the post's /text)"),
        (ask(&plain, json!({"reply_to": "p1"})), "/reply_to", "sandbox has no replies"),
        (ask(&plain, json!({"in_reply_to": first})), "/in_reply_to", "sandbox has no replies"),
        (ask(&plain, json!({"in_reply_to": NOBODY})), "/in_reply_to", "no publication"),
        (ask(&plain, json!({"reply_to": " "})), "/reply_to", "must not be empty"),
        (
            ask(&plain, json!({"reply_to": "p", "in_reply_to": first})),
            "/in_reply_to",
            "one of them",
        ),
    ] {
        let refused = world.post("/api/publish", publish).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
        let said = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(words), "{field}: {said}");
    }
    assert_eq!(world.jobs().await, 1, "none was made");
    let path = format!("/api/posts/{plain}");
    let change = json!({"images": [{"media_id": png}]});
    let refused = world.ask_with("PATCH", &path, &[], change).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/images"], "{}", refused.body);
    let said = refused.body["errors"][0]["message"].as_str().unwrap();
    assert!(said.contains("sandbox takes no images") && said.contains(&first), "{said}");
}

/// What the one fault of an answer is said to be.
fn said(answer: &Answer) -> &str {
    answer.body["errors"][0]["message"].as_str().unwrap()
}

/// A post that shows these.
fn shows(images: &[&Value]) -> Value {
    let images: Vec<Value> = images.iter().map(|id| json!({"media_id": id})).collect();
    json!({"text": "x", "images": images})
}

/// Refused is the post where it is to be published, and the change of one that is to be.
async fn assert_refused(world: &World, on: Uuid, good: &Value, bad: &Value, why: (&str, &str)) {
    let (field, words) = why;
    let jobs = world.jobs().await;
    let post = written(world, bad.clone()).await;
    let publish = json!({"post_id": post, "connector_ids": [on]});
    let refused = world.post("/api/publish", publish).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/connector_ids/0"], "{}", refused.body);
    let expected = format!("(the post's {field})");
    assert!(said(&refused).contains(words) && said(&refused).contains(&expected), "{refused:?}");
    assert_eq!(world.jobs().await, jobs, "none was made");

    let post = written(world, good.clone()).await;
    let publication = scheduled_on(world, &post, on).await;
    let path = format!("/api/posts/{post}");
    let refused = world.ask_with("PATCH", &path, &[], bad.clone()).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), [field], "{}", refused.body);
    assert!(said(&refused).contains(words) && said(&refused).contains(&publication), "{refused:?}");
    let kept = newest(world).await;
    assert!(kept["text"] == "x" && kept.get("revision").is_none(), "{kept}");
}

#[tokio::test]
async fn what_each_platform_would_not_take_is_told_when_it_is_scheduled_and_when_it_is_changed() {
    let world = World::with("[api]\npublic_url = \"https://app.example\"").await;
    let kept = async |bytes: Vec<u8>| json!(world.app.add_media(&bytes).await.unwrap().id);
    let (png, gif) = (kept(pictures::png(3, 3)).await, kept(pictures::gif()).await);
    let (square, tall) = (kept(pictures::jpeg(9, 9)).await, kept(pictures::jpeg(800, 1_001)).await);
    let (webp, large) = (kept(pictures::webp()).await, kept(pictures::png(1_000, 1_000)).await);
    let text = |text: &str, times: usize| json!({"text": text.repeat(times)});
    let described = |times: usize| json!({"images": [{"media_id": png, "alt": "a".repeat(times)}]});
    let mut linked = shows(&[&png]);
    linked["text"] = json!("x".repeat(2_975));
    linked["link"] = json!({"url": "https://example.org/page"});
    for (platform, bad, field, words) in [
        ("mastodon", shows(&[&png; 5]), "/images", "has 5 images; mastodon takes at most 4"),
        (
            "mastodon",
            shows(&[&png, &gif]),
            "/images/1",
            "image 2 is a GIF; mastodon takes one only",
        ),
        ("instagram", shows(&[&png]), "/images/0", "is image/png; instagram takes image/jpeg"),
        ("instagram", shows(&[&tall]), "/images/0", "instagram takes images from 4:5 to 1.91:1"),
        ("instagram", shows(&[]), "/images", "instagram takes no post without an image"),
        ("bluesky", shows(&[&large]), "/images/0", "bytes; bluesky takes at most 1000000"),
        ("bluesky", text("👨‍👩‍👧‍👦", 121), "/text", "3025 bytes; bluesky takes at most 3000"),
        ("x", described(1_001), "/images/0/alt", "1001 characters; x takes at most 1000"),
        ("x", text("字", 141), "/text", "282 characters as X counts them; x takes at most 280"),
        ("threads", text("x", 501), "/text", "threads takes at most 500"),
        ("facebook", shows(&[&webp]), "/images/0", "is image/webp; facebook takes image/jpeg"),
        ("linkedin", linked, "/text", "link's address has 3001 characters; linkedin takes at most"),
        ("matrix", shows(&[&png; 2]), "/images", "has 2 images; matrix takes at most 1"),
        ("wordpress", described(2_001), "/images/0/alt", "wordpress takes at most 2000"),
    ] {
        let on = account(&world, platform, "https://platform.example").await;
        let good = if platform == "instagram" { shows(&[&square]) } else { text("x", 1) };
        assert_refused(&world, on, &good, &bad, (field, words)).await;
    }
}

#[tokio::test]
async fn images_that_a_platform_fetches_are_refused_where_it_cannot_find_this_instance() {
    let world = World::start().await;
    let jpeg = json!(world.app.add_media(&pictures::jpeg(9, 9)).await.unwrap().id);
    let threads = account(&world, "threads", "https://platform.example").await;
    let why = ("/images/0", "to be fetched by threads itself");
    assert_refused(&world, threads, &json!({"text": "x"}), &shows(&[&jpeg]), why).await;
    let instagram = account(&world, "instagram", "https://platform.example").await;
    let jobs = world.jobs().await;
    let post = written(&world, shows(&[&jpeg])).await;
    let publish = json!({"post_id": post, "connector_ids": [instagram]});
    let refused = world.post("/api/publish", publish).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/connector_ids/0"]);
    assert!(said(&refused).contains("by instagram itself"), "{refused:?}");
    assert!(said(&refused).contains("set api.public_url (the post's /images/0)"), "{refused:?}");
    assert_eq!(world.jobs().await, jobs, "none was made");
    // Who is sent the image needs no address.
    scheduled_on(&world, &post, account(&world, "mastodon", "https://platform.example").await)
        .await;
}
