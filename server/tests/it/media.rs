//! Images: what is taken for one and what is not, who sees it, and how platforms find it.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use postworks_server::auth::Role;
use postworks_workers::testing::pictures;
use serde_json::json;
use tower::ServiceExt as _;

use crate::auth::guarded;
use crate::cli::postworks;
use crate::world::{Answer, NOBODY, World};

async fn upload(world: &World, of: &str, bytes: impl Into<Body>) -> Answer {
    let request = Request::builder().method("POST").uri("/api/media");
    world.send(request.header(header::CONTENT_TYPE, of).body(bytes.into()).unwrap()).await
}

/// What is at an address, to the byte, and as what.
async fn shown(world: &World, path: &str) -> (StatusCode, String, Vec<u8>) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let of = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, of, bytes.to_vec())
}

#[tokio::test]
async fn an_image_is_what_its_bytes_are_and_comes_back_as_it_was() {
    let world = World::start().await;
    for (kind, bytes, width, height) in [
        ("png", pictures::png(5, 3), 5, 3),
        ("jpeg", pictures::jpeg(20, 10), 20, 10),
        ("gif", pictures::gif(), 1, 1),
        ("webp", pictures::webp(), 1, 1),
    ] {
        // Whatever it is said to be.
        let added = upload(&world, "image/png; name=x", bytes.clone()).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        let id = added.body["id"].as_str().unwrap();
        let expected = json!({"id": id, "kind": kind, "bytes": bytes.len(), "width": width,
            "height": height});
        assert_eq!(added.body, expected);
        let again = upload(&world, &format!("image/{kind}"), bytes.clone()).await;
        assert_eq!(again.body, expected, "the same bytes are kept once");
        let path = format!("/api/media/{id}");
        assert_eq!(shown(&world, &path).await, (StatusCode::OK, format!("image/{kind}"), bytes));
        let headers = world.ask("GET", &path).await.headers;
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(headers[header::CACHE_CONTROL].to_str().unwrap().starts_with("private"));
    }
    world.ask("GET", &format!("/api/media/{NOBODY}")).await.assert_problem(404);
    world.ask("GET", "/api/media/x").await.assert_problem(404);
}

#[tokio::test]
async fn what_is_no_whole_image_is_refused_and_why() {
    let world = World::start().await;
    let png = pictures::png(40, 40);
    for (of, bytes, status, words) in [
        ("image/png", Vec::new(), 422, "no bytes"),
        ("image/png", b"I am a text called png".to_vec(), 422, "no JPEG, PNG, GIF or WebP"),
        ("image/png", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(), 422, "no JPEG"),
        ("image/png", png[..png.len() - 20].to_vec(), 422, "cut off; it begins as image/png"),
        ("image/jpeg", pictures::jpeg(9, 9)[..100].to_vec(), 422, "begins as image/jpeg"),
        ("image/jpeg", vec![0; 11 << 20], 413, "longer than 10485760 bytes"),
        ("application/json", png.clone(), 415, "image/jpeg, image/png, image/gif, image/webp"),
        ("text/plain", png.clone(), 415, "send an image"),
    ] {
        let refused = upload(&world, of, bytes).await;
        refused.assert_problem(status);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{of}: {detail}");
    }
    // The limit is the operator's, to the byte.
    let narrow = World::with("[api]\nmedia_limit = \"2KiB\"").await;
    let largest = pictures::png(1, 990);
    assert_eq!(largest.len(), 2_048, "the test is about the limit");
    assert_eq!(upload(&narrow, "image/png", largest.clone()).await.status, StatusCode::CREATED);
    let larger = [&largest[..], b"!"].concat();
    upload(&narrow, "image/png", larger).await.assert_problem(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_signed_address_sees_the_image_and_nobody_else_learns_of_it() {
    let (world, _clock) = guarded().await;
    let png = pictures::png(2, 2);
    let id = world.app.add_media(&png).await.unwrap().id;
    let keys = world.node.store.keys();
    let signature = keys.media_signature(id).unwrap();
    let seen = shown(&world, &format!("/media/{id}/{signature}")).await;
    assert_eq!(seen, (StatusCode::OK, "image/png".to_owned(), png));
    let answer = world.ask("GET", &format!("/media/{id}/{signature}")).await;
    assert!(answer.headers[header::CACHE_CONTROL].to_str().unwrap().starts_with("public"));
    let other = keys.media_signature(NOBODY).unwrap();
    let mut told = Vec::new();
    for path in [
        format!("/media/{id}/{other}"),
        format!("/media/{NOBODY}/{signature}"),
        format!("/media/{NOBODY}/{other}"),
        format!("/media/{id}/x"),
        format!("/media/x/{signature}"),
    ] {
        let refused = world.ask("GET", &path).await;
        refused.assert_problem(404);
        told.push(refused.body);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    // By its id alone only who may read sees it.
    world.ask("GET", &format!("/api/media/{id}")).await.assert_problem(401);
    let readonly = world.app.create_api_key(Role::Readonly, None).await.unwrap().key;
    let bearer = [("authorization", &*format!("Bearer {readonly}"))];
    let path = format!("/api/media/{id}");
    let seen = world.ask_with("GET", &path, &bearer, serde_json::Value::Null).await;
    assert_eq!(seen.status, StatusCode::OK);
    let refused = world.ask_with("POST", "/api/media", &bearer, serde_json::Value::Null).await;
    refused.assert_problem(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_posts_are_handled_from_the_command_line() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let folder = tempfile::tempdir().unwrap();
    let (cat, saved) = (folder.path().join("cat.png"), folder.path().join("saved.png"));
    std::fs::write(&cat, pictures::png(4, 4)).unwrap();
    let (cat, saved) = (cat.to_str().unwrap(), saved.to_str().unwrap());
    let added = postworks(&["media", "add", cat], &vars).await;
    let id = added.stdout.trim().to_owned();
    let shown = postworks(&["media", "show", &id], &vars).await;
    assert!(shown.stdout.contains("png") && shown.stdout.contains("4 x 4"), "{}", shown.stdout);
    postworks(&["media", "show", &id, "--out", saved], &vars).await;
    assert_eq!(std::fs::read(saved).unwrap(), pictures::png(4, 4));

    let (file, known) = (format!("{cat}:a cat"), format!("{id}:the cat"));
    let args = ["post", "add", "--title", "Cats", "--link", "https://example.org/cats"];
    let images = ["--image", &file, "--image", &known];
    let written = postworks(&[&args[..], &images].concat(), &vars).await;
    assert_eq!(written.code, 0, "{}", written.stderr);
    let post = written.stdout.trim().to_owned();
    let listed = world.ask("GET", "/api/posts").await.body["items"][0].clone();
    assert_eq!(listed["id"], post);
    assert_eq!((&listed["title"], &listed["text"]), (&"Cats".into(), &"".into()));
    let of = |alt: &str| json!({"media_id": id, "alt": alt});
    assert_eq!(listed["images"], json!([of("a cat"), of("the cat")]));
    let edit = ["post", "edit", &post, "--text", "gone", "--no-images", "--no-title"];
    let edited = postworks(&edit, &vars).await;
    assert_eq!(edited.code, 0, "{}", edited.stderr);
    let listed = world.ask("GET", "/api/posts").await.body["items"][0].clone();
    assert_eq!((&listed["text"], &listed["revision"]), (&"gone".into(), &2.into()));
    assert!(listed.get("images").is_none() && listed.get("title").is_none(), "{listed}");
    let nobody = NOBODY.to_string();
    for (args, code, words) in [
        (&["media", "add", "nowhere.png"][..], 2, "nowhere.png"),
        (&["media", "show", &nobody], 3, "no media"),
        (&["post", "add"], 2, "--text"),
        (&["post", "add", "--text", "x", "--image", "nowhere.png"], 2, "no such file"),
        (&["post", "add", "--text", "x", "--image", &nobody], 2, "/images/0/media_id"),
        (&["post", "edit", &post], 2, "give text, title, link or images"),
        (&["post", "edit", &nobody, "--text", "x"], 3, "no post"),
    ] {
        let ran = postworks(args, &vars).await;
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}
