//! Posts with more than text: images, links, answers.

use postworks::job::ErrorClass;
use postworks_workers::platforms::bluesky::DESCRIPTOR;
use postworks_workers::platforms::{
    Draft, Image, ImageKind, Link, Outgoing, Platform as _, Prepared, Published,
};
use postworks_workers::testing::lossy_proxy::Loss;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PUT, World, class, post};

/// A whole PNG of one pixel; what follows it is ignored.
const PNG: [u8; 67] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0,
    0, 0, 58, 126, 155, 85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 218, 99, 96, 0, 0, 0, 2, 0, 1, 229,
    39, 222, 252, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];
const UPLOAD: &str = "uploadBlob";

fn image(size: usize, alt: &str) -> Image {
    let mut bytes = PNG.to_vec();
    bytes.resize(size, 7);
    Image {
        id: Uuid::now_v7(),
        kind: ImageKind::Png,
        bytes: bytes.into(),
        width: 1,
        height: 1,
        alt: alt.to_owned(),
        url: None,
    }
}

fn with_images(images: Vec<Image>) -> Outgoing {
    Outgoing { images, ..post("See") }
}

fn link() -> Link {
    let url = "https://example.org/page?a=b".parse().unwrap();
    Link { url, title: Some("A page".into()), description: Some("About much".into()) }
}

impl World {
    async fn written(&self, published: &Published) -> Value {
        self.server.record(&published.remote_id).await
    }
}

#[tokio::test]
async fn images_are_there_byte_for_byte_with_what_they_show() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let images =
        vec![image(PNG.len(), "one pixel"), image(1_000_000, ""), image(999, "ü"), image(70, "")];
    let post = with_images(images);
    assert_eq!(DESCRIPTOR.limits.check("bluesky", &Draft::from(&post)), Ok(()));
    let published = world.publish(&tokens, &post).await.unwrap();

    let record = world.written(&published).await;
    let embed = &record["embed"];
    assert_eq!(embed["$type"], "app.bsky.embed.images");
    for (n, image) in post.images.iter().enumerate() {
        let written = &embed["images"][n];
        assert_eq!(written["alt"], image.alt);
        assert_eq!(written["aspectRatio"], json!({ "width": 1, "height": 1 }));
        assert_eq!(written["image"]["mimeType"], "image/png");
        let cid = written["image"]["ref"]["$link"].as_str().unwrap();
        assert!(
            world.server.blob(&world.owner.did, cid).await == image.bytes.read().await.unwrap(),
            "image {n}"
        );
    }
    assert_eq!(embed["images"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn our_limits_are_where_the_servers_are() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let family = "👨‍👩‍👧‍👦";
    let too_much = [
        with_images(vec![image(1_000_001, "")]),
        with_images(vec![image(70, ""); 5]),
        post(&"é".repeat(301)),
    ];
    for post in &too_much {
        DESCRIPTOR.limits.check("bluesky", &Draft::from(post)).unwrap_err();
        assert_eq!(class(world.publish(&tokens, post).await), ErrorClass::Invalid);
    }
    assert_eq!(world.records().await, [], "the server refuses the same");
    for text in ["é".repeat(300), family.repeat(120)] {
        assert_eq!(DESCRIPTOR.limits.check("bluesky", &Draft::from(&post(&text))), Ok(()));
        world.publish(&tokens, &post(&text)).await.unwrap();
    }
    let heavy = post(&family.repeat(121));
    DESCRIPTOR.limits.check("bluesky", &Draft::from(&heavy)).unwrap_err();
    assert_eq!(class(world.publish(&tokens, &heavy).await), ErrorClass::Invalid, "3,025 bytes");
    assert_eq!(world.records().await.len(), 2);
}

#[tokio::test]
async fn lost_answers_of_an_upload_and_of_the_record_leave_one_post() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    world.account = account;
    let post = with_images(vec![image(70, "first"), image(80, "second")]);

    proxy.lose(Loss::Answer, UPLOAD, 1);
    assert_eq!(class(world.publish(&tokens, &post).await), ErrorClass::Transient);
    assert_eq!(world.records().await, []);
    proxy.lose(Loss::Answer, PUT, 1);
    let lost = world.publish(&tokens, &post).await;
    assert_eq!(class(lost), ErrorClass::Unknown { repeatable: true });
    let written = world.records().await;
    assert_eq!(written.len(), 1, "the server had written it");
    world.publish(&tokens, &post).await.unwrap();
    assert_eq!(world.records().await, written, "uploaded anew, it is the same record");
    assert_eq!((proxy.forwarded(UPLOAD), proxy.forwarded(PUT)), (1 + 2 + 2, 2));
}

#[tokio::test]
async fn a_record_with_other_images_is_not_taken_for_ours() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let ours = with_images(vec![image(70, "a cat")]);
    let theirs = Outgoing { images: vec![image(70, "a dog")], ..ours.clone() };
    let published = world.publish(&tokens, &ours).await.unwrap();
    assert_eq!(class(world.publish(&tokens, &theirs).await), ErrorClass::Invalid);

    // The key comes from the second: so the same place, another record, and all that counts agrees.
    let created_at = "2026-03-01T09:30:00.999Z".parse().unwrap();
    let same = Outgoing { created_at, ..ours };
    assert_eq!(world.publish(&tokens, &same).await.unwrap(), published);
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test]
async fn a_record_that_refers_to_an_upload_that_is_gone_is_not_written_and_may_be_tried_again() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = with_images(vec![image(70, "")]);
    let blob = json!({ "$type": "blob", "mimeType": "image/png", "size": 70,
        "ref": { "$link": "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy" } });
    let gone = Prepared(json!({ "uploads": [{ "blob": blob, "at": "2026-03-01T09:30:00Z" }] }));
    let refused = world.client.commit(world.account.with(&tokens.access), &post, &gone).await;
    assert_eq!(class(refused), ErrorClass::Transient);
    assert_eq!(world.records().await, []);
}

#[tokio::test]
async fn links_and_hashtags_are_marked_where_they_stand() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let text = "Grüße 👋 https://example.org/ü (https://example.org/b) #süß, #2026";
    let record = world.written(&world.publish(&tokens, &post(text)).await.unwrap()).await;
    let facets = record["facets"].as_array().unwrap().iter();
    let parts = facets.map(|facet| {
        let at = |name: &str| usize::try_from(facet["index"][name].as_u64().unwrap()).unwrap();
        (&text[at("byteStart")..at("byteEnd")], facet["features"][0].clone())
    });
    let link = |uri: &str| json!({ "$type": "app.bsky.richtext.facet#link", "uri": uri });
    let expected = [
        ("https://example.org/ü", link("https://example.org/%C3%BC")),
        ("https://example.org/b", link("https://example.org/b")),
        ("#süß", json!({ "$type": "app.bsky.richtext.facet#tag", "tag": "süß" })),
    ];
    assert_eq!(parts.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_link_is_a_card_and_beside_images_it_stands_in_the_text() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let card = Outgoing { link: Some(link()), ..post("Read") };
    let bare = Link { title: None, description: None, ..link() };
    let untitled = Outgoing { link: Some(bare), ..post("") };
    let pictured = Outgoing { images: vec![image(70, "")], ..card.clone() };
    let pictured = Outgoing { publication_id: Uuid::now_v7(), ..pictured };
    let mut embeds = Vec::new();
    for post in [&card, &untitled, &pictured] {
        let record = world.written(&world.publish(&tokens, post).await.unwrap()).await;
        embeds.push((record["text"].clone(), record["embed"].clone()));
    }
    let external = |title: &str, description: &str| {
        let uri = "https://example.org/page?a=b";
        let external = json!({ "uri": uri, "title": title, "description": description });
        json!({ "$type": "app.bsky.embed.external", "external": external })
    };
    assert_eq!(embeds[0], ("Read".into(), external("A page", "About much")));
    assert_eq!(embeds[1], ("".into(), external("example.org", "")));
    assert_eq!(embeds[2].0, "Read\n\nhttps://example.org/page?a=b");
    assert_eq!(embeds[2].1["$type"], "app.bsky.embed.images");

    let page = world.client.posts(world.account.with(&tokens.access), None).await.unwrap();
    let texts: Vec<&str> = page.posts.iter().map(|post| post.text.as_str()).collect();
    assert!(texts.contains(&"Read") && texts.contains(&"") && texts.len() == 3, "{texts:?}");
}

#[tokio::test]
async fn an_answer_names_what_it_answers_and_where_the_thread_began() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    let root = world.publish(&tokens, &post("It began so")).await.unwrap();
    let answer = |to: &Published, text: &str| Outgoing {
        reply_to: Some(to.remote_id.clone()),
        ..post(text)
    };
    let second = answer(&root, "and went on");
    let first_answer = world.publish(&tokens, &second).await.unwrap();

    // Somebody else's answer to the answer.
    let bob = world.server.create_account("bob.test").await;
    world.account.identifier = bob.handle.clone();
    world.account.remote_id = Some(bob.did.clone());
    let bobs = world.client.sign_in(&world.account, &bob.password).await.unwrap();
    let third = answer(&first_answer, "I see");
    let last = world.publish(&bobs, &third).await.unwrap();
    assert_eq!(world.publish(&bobs, &third).await.unwrap(), last, "a repeat is the same record");

    let records = world.records().await;
    let cid = |uri: &str| &records.iter().find(|record| record.uri == uri).unwrap().cid;
    let reference = |published: &Published| json!({ "uri": published.remote_id, "cid": cid(&published.remote_id) });
    let (began, answered) = (reference(&root), reference(&first_answer));
    let reply = world.written(&first_answer).await["reply"].clone();
    assert_eq!(reply, json!({ "root": began, "parent": began }));
    let reply = world.written(&last).await["reply"].clone();
    assert_eq!(reply, json!({ "root": began, "parent": answered }));

    let gone = Published { remote_id: format!("{}x", root.remote_id), remote_url: None };
    let refused = world.publish(&bobs, &answer(&gone, "To nobody")).await;
    assert_eq!(class(refused), ErrorClass::Invalid);
}
