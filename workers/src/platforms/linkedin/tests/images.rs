//! Images that LinkedIn holds ready.

use super::*;

const IMAGES: [&str; 2] = ["urn:li:image:C4E10AQFoyyAjHPMQuQ", "urn:li:image:C5610AQFj6TdYowm17w"];

fn illustrated() -> Outgoing {
    let images = vec![image(ImageKind::Png, "A cat"), image(ImageKind::Jpeg, "")];
    Outgoing { link: Some(link()), images, ..post() }
}

fn initialized(upload_url: &str, image: &str) -> Reply {
    let value = json!({ "uploadUrlExpiresAt": 1_650_567_510_704_u64, "uploadUrl": upload_url, "image": image });
    Reply::new(200, json!({ "value": value }).to_string())
}

fn state(status: &str) -> Reply {
    Reply::new(200, json!({ "status": status }).to_string())
}

/// These images, uploaded so many minutes ago.
fn uploaded(images: &[&str], minutes_ago: u64) -> Prepared {
    let made_at = SystemClock.now().before(Duration::from_secs(minutes_ago * 60)).to_string();
    let images: Vec<Value> =
        images.iter().map(|urn| json!({ "urn": urn, "made_at": made_at })).collect();
    Prepared(json!({ "author": ORGANISATION, "images": images }))
}

fn urns(prepared: &Prepared) -> Vec<String> {
    let kept = prepared.read::<Kept>().unwrap().unwrap();
    kept.images.into_iter().map(|image| image.urn).collect()
}

#[tokio::test]
async fn images_are_uploaded_to_where_linkedin_says_and_waited_for() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let post = illustrated();
    let upload_url = format!("{}dms-uploads/C4E10AQ?ca=vector", responder.url);
    let mut so_far = Prepared::NOTHING;
    for urn in IMAGES {
        responder.answer_in_turn([initialized(&upload_url, urn), Reply::new(201, "")]);
        let asked = client().prepare(account.with(&secret), &post, so_far).await.unwrap();
        let Preparation::Waits { so_far: next, until } = asked else { panic!("{asked:?}") };
        assert!(until <= SystemClock.now(), "the next is uploaded at once");
        so_far = next;
    }
    assert_eq!(urns(&so_far), IMAGES);
    insta::assert_snapshot!(sent(&responder), @r#"
    POST /rest/images?action=initializeUpload
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"initializeUploadRequest":{"owner":"urn:li:organization:2414183"}}

    PUT /dms-uploads/C4E10AQ?ca=vector
    authorization: Bearer [secret]
    content-type: image/png

    not looked at

    POST /rest/images?action=initializeUpload
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"initializeUploadRequest":{"owner":"urn:li:organization:2414183"}}

    PUT /dms-uploads/C4E10AQ?ca=vector
    authorization: Bearer [secret]
    content-type: image/jpeg

    not looked at
    "#);

    responder.answer_in_turn([state("AVAILABLE"), state("PROCESSING")]);
    let asked = client().prepare(account.with(&secret), &post, so_far.clone()).await.unwrap();
    assert!(matches!(asked, Preparation::Waits { until, .. } if until > SystemClock.now()));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /rest/images/urn%3Ali%3Aimage%3AC4E10AQFoyyAjHPMQuQ
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /rest/images/urn%3Ali%3Aimage%3AC5610AQFj6TdYowm17w
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    ");
    let denied = r#"{"message":"Accessing this image resource is forbidden. Please check your permissions for this resource","status":403}"#;
    responder.answer_with(Reply::new(403, denied));
    let asked = client().prepare(account.with(&secret), &post, so_far.clone()).await.unwrap();
    assert_eq!(asked, Preparation::Ready(so_far), "who may post may not always look");
}

#[tokio::test]
async fn a_post_has_its_images_and_its_link_in_the_text() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    responder.answer_with(created());
    let several = illustrated();
    client().commit(account.with(&secret), &several, &uploaded(&IMAGES, 0)).await.unwrap();
    let one = Outgoing { images: vec![image(ImageKind::Png, "A cat")], ..post() };
    client().commit(account.with(&secret), &one, &uploaded(&IMAGES[..1], 0)).await.unwrap();
    insta::assert_snapshot!(sent(&responder), @r#"
    POST /rest/posts
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"author":"urn:li:organization:2414183","commentary":"Hello\n\nhttps://example.org/page","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},"content":{"multiImage":{"images":[{"id":"urn:li:image:C4E10AQFoyyAjHPMQuQ","altText":"A cat"},{"id":"urn:li:image:C5610AQFj6TdYowm17w"}]}},"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}

    POST /rest/posts
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"author":"urn:li:organization:2414183","commentary":"Hello","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},"content":{"media":{"id":"urn:li:image:C4E10AQFoyyAjHPMQuQ","altText":"A cat"}},"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}
    "#);
}

#[tokio::test]
async fn an_image_that_failed_or_was_never_ready_is_uploaded_again_after_an_hour() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let post = illustrated();
    let upload_url = format!("{}dms-uploads/1", responder.url);
    responder.answer_in_turn([state("AVAILABLE"), state("PROCESSING_FAILED")]);
    let young = uploaded(&IMAGES, 59);
    let error = client().prepare(account.with(&secret), &post, young).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("image 2 of the post"), "{error}");
    for stays in ["PROCESSING_FAILED", "PROCESSING", "WAITING_UPLOAD"] {
        let again = initialized(&upload_url, "urn:li:image:new");
        responder.answer_in_turn([state("AVAILABLE"), state(stays), again, Reply::new(201, "")]);
        let old = uploaded(&IMAGES, 61);
        let asked = client().prepare(account.with(&secret), &post, old).await.unwrap();
        let Preparation::Waits { so_far, until } = asked else { panic!("{stays}: {asked:?}") };
        assert!(until <= SystemClock.now());
        assert_eq!(urns(&so_far), [IMAGES[0], "urn:li:image:new"], "{stays}");
        responder.answer_in_turn([state("AVAILABLE"), state(stays)]);
        let asked = client().prepare(account.with(&secret), &post, so_far).await;
        match asked {
            Ok(Preparation::Waits { until, .. }) => assert!(until > SystemClock.now(), "{stays}"),
            other => assert_eq!(other.unwrap_err().class(), ErrorClass::Invalid, "{stays}"),
        }
    }
}

#[tokio::test]
async fn the_token_goes_to_nobody_but_linkedin() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image(ImageKind::Png, "")], ..post() };
    for (elsewhere, named) in [
        ("https://evil.example/dms-uploads/1", "https://evil.example,"),
        ("https://www.linkedin.com.evil.example/1", "https://www.linkedin.com.evil.example,"),
        ("https://evil-linkedin.com/1", "https://evil-linkedin.com,"),
        ("https://www.linkedin.com@evil.example/1", "https://evil.example,"),
        ("http://www.linkedin.com/dms-uploads/1", "http://www.linkedin.com,"),
        ("http://127.0.0.1:1/dms-uploads/1", "http://127.0.0.1,"),
        ("dms-uploads/1", "the address for an image is none"),
    ] {
        responder.answer_with(initialized(elsewhere, IMAGES[0]));
        let asked = client().prepare(account.with(&secret), &post, Prepared::NOTHING).await;
        let error = asked.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Invalid, "{elsewhere}");
        assert!(error.to_string().contains(named), "{elsewhere}: {error}");
    }
    assert!(!sent(&responder).contains("PUT"));
}

#[test]
fn images_go_to_linkedins_own_hosts() {
    let account = |base: &str| Account {
        connector_id: uuid::Uuid::nil(),
        base_url: base.parse().unwrap(),
        identifier: String::new(),
        remote_id: None,
        target: None,
        signed_in_at: None,
    };
    let call = account("https://a.example").call(API, Step::Upload, &[]);
    for (base, to) in [
        ("https://api.linkedin.com", "https://www.linkedin.com/dms-uploads/1"),
        ("https://api.linkedin.com", "https://api.linkedin.com/mediaUpload/1"),
        ("http://127.0.0.1:7", "http://127.0.0.1:7/1"),
        ("https://proxy.example", "https://proxy.example:444/1"),
    ] {
        assert!(super::super::images::address(to, &account(base), call).is_ok(), "{to} of {base}");
    }
}

#[tokio::test]
async fn a_post_never_goes_out_without_all_of_its_images() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    for (post, prepared) in [
        (illustrated(), decided(&account)),
        (illustrated(), uploaded(&IMAGES[..1], 0)),
        (post(), uploaded(&IMAGES, 0)),
    ] {
        let error = client().commit(account.with(&secret), &post, &prepared).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{error}");
    }
    assert_eq!(sent(&responder), "", "nothing was sent");
}
