//! Images that X holds ready.

use super::*;

#[tokio::test]
async fn images_are_uploaded_and_described_one_step_at_a_time() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = illustrated();
    let mut kept = Prepared::NOTHING;
    let uploaded = |id: u32, more: Value| {
        let mut data =
            json!({ "id": id.to_string(), "media_key": "3_7", "expires_after_secs": 86_400 });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "data": data }).to_string()
    };
    let works = json!({ "processing_info": { "state": "in_progress", "check_after_secs": 5 } });
    let done = json!({ "processing_info": { "state": "succeeded" } });
    let steps = [
        (uploaded(7, json!({})), 0),
        (r#"{"data":{"id":"7"}}"#.to_owned(), 0),
        (uploaded(8, works.clone()), 0),
        (uploaded(8, works), 5),
        (uploaded(8, done), 0),
    ];
    for (body, wait) in steps {
        responder.answer_with(Reply::new(200, body));
        let step = client.prepare(account.with(&secret), &post, kept.clone()).await.unwrap();
        let Preparation::Waits { so_far, until } = step else { panic!("{step:?}") };
        let waits = until.since(SystemClock.now()).as_secs_f64();
        assert!(waits <= f64::from(wait) && waits > f64::from(wait) - 1.5, "{waits} for {wait}");
        kept = so_far;
    }
    let ready = client.prepare(account.with(&secret), &post, kept.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(kept.clone()));
    let ids: Vec<String> = kept
        .read::<Uploads<Upload>>()
        .unwrap()
        .unwrap()
        .media
        .into_iter()
        .map(|media| media.id)
        .collect();
    assert_eq!(ids, ["7", "8"]);
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /2/media/upload
    authorization: Bearer [secret]
    content-type: application/json

    {"media":"YW4gaW1hZ2U=","media_category":"tweet_image"}

    POST /2/media/metadata
    authorization: Bearer [secret]
    content-type: application/json

    {"id":"7","metadata":{"alt_text":{"text":"A chart"}}}

    POST /2/media/upload
    authorization: Bearer [secret]
    content-type: application/json

    {"media":"YW4gaW1hZ2U=","media_category":"tweet_image"}

    GET /2/media/upload?command=STATUS&media_id=8
    authorization: Bearer [secret]



    GET /2/media/upload?command=STATUS&media_id=8
    authorization: Bearer [secret]
    "#);
}

#[tokio::test]
async fn an_upload_that_x_forgets_soon_is_made_again() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image(ImageKind::Png, "")], ..post() };
    responder.answer_with(Reply::new(200, r#"{"data":{"id":"7","expires_after_secs":60}}"#));
    let first = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, .. } = first else { panic!("{first:?}") };
    responder.answer_with(Reply::new(200, r#"{"data":{"id":"8","expires_after_secs":86400}}"#));
    let again = client.prepare(account.with(&secret), &post, so_far).await.unwrap();
    let Preparation::Waits { so_far, .. } = again else { panic!("{again:?}") };
    assert_eq!(so_far.read::<Uploads<Upload>>().unwrap().unwrap().media[0].id, "8");
    let ready = client.prepare(account.with(&secret), &post, so_far.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(so_far));
}

#[tokio::test]
async fn an_upload_that_failed_stays_wrong() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let one = Outgoing { images: vec![image(ImageKind::Gif, "")], ..post() };
    let pending = r#"{"data":{"id":"7","processing_info":{"state":"pending"}}}"#;
    responder.answer_with(Reply::new(200, pending));
    let step = client.prepare(account.with(&secret), &one, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, .. } = step else { panic!("{step:?}") };
    assert!(responder.take_requests().contains("tweet_gif"));
    let failed = r#"{"data":{"id":"7","processing_info":{"state":"failed"}}}"#;
    responder.answer_with(Reply::new(200, failed));
    let refused = client.prepare(account.with(&secret), &one, so_far).await.unwrap_err();
    assert_eq!(refused.class(), INVALID);
    assert!(refused.to_string().contains("image 1 of the post"), "{refused}");
}

#[tokio::test]
async fn an_upload_that_failed_or_was_never_ready_is_made_again_after_an_hour() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = illustrated();
    let kept = |made_ago: u64| {
        let (now, minutes) = (SystemClock.now(), |n| Duration::from_secs(n * 60));
        let made_at = now.before(minutes(made_ago)).to_string();
        let ends = now.after(minutes(600)).to_string();
        let upload = |id, ready| json!({ "id": id, "made_at": made_at, "ends": ends, "ready": ready, "described": true });
        Prepared(json!({ "media": [upload("7", true), upload("8", false)] }))
    };
    let state = |state: &str| {
        let info = json!({ "state": state });
        Reply::new(200, json!({ "data": { "id": "8", "processing_info": info } }).to_string())
    };
    let young = kept(59);
    responder.answer_with(state("failed"));
    let refused = client.prepare(account.with(&secret), &post, young.clone()).await.unwrap_err();
    assert_eq!(refused.class(), INVALID);
    assert!(refused.to_string().contains("image 2 of the post"), "{refused}");
    responder.answer_with(state("in_progress"));
    let waits = client.prepare(account.with(&secret), &post, young.clone()).await.unwrap();
    assert!(matches!(waits, Preparation::Waits { so_far, .. } if so_far == young));
    for stays in ["failed", "in_progress"] {
        let again = Reply::new(200, r#"{"data":{"id":"9","expires_after_secs":86400}}"#);
        responder.answer_in_turn([state(stays), again]);
        let step = client.prepare(account.with(&secret), &post, kept(61)).await.unwrap();
        let Preparation::Waits { so_far, .. } = step else { panic!("{step:?}") };
        let media = so_far.read::<Uploads<Upload>>().unwrap().unwrap().media;
        let ids: Vec<&str> = media.iter().map(|media| media.id.as_str()).collect();
        assert_eq!(ids, ["7", "9"], "{stays}");
    }
}

#[tokio::test]
async fn a_post_never_goes_out_without_all_of_its_images() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let upload =
        |id| json!({ "id": id, "ends": "2026-03-01T09:30:00Z", "ready": true, "described": true });
    let one = Prepared(json!({ "media": [upload("7")] }));
    for (post, prepared) in
        [(illustrated(), &Prepared::NOTHING), (illustrated(), &one), (post(), &one)]
    {
        let error = client.commit(account.with(&secret), &post, prepared).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{error}");
    }
    assert_eq!(responder.take_requests(), "", "nothing was sent");
}
