//! How containers live, on Instagram as on Threads.

use super::*;
use crate::platforms::Committed;
use crate::platforms::responder::published;

const IN_PROGRESS: &str = "IN_PROGRESS";

/// A container that was made then.
fn kept(container: &str, made_at: &str) -> Prepared {
    Prepared(serde_json::json!({ "container": container, "made_at": made_at }))
}

fn now() -> String {
    SystemClock.now().to_string()
}

fn ago(minutes: u64) -> String {
    SystemClock.now().before(std::time::Duration::from_secs(minutes * 60)).to_string()
}

/// Two images, which are a carousel.
fn several() -> Outgoing {
    let images = vec![image(ImageKind::Jpeg, "A cat"), image(ImageKind::Jpeg, "")];
    Outgoing { images, ..post() }
}

#[tokio::test]
async fn a_container_is_made_and_published_once_it_is_finished() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let post = Outgoing { link: Some(link()), ..with_image() };
    let client = client();

    responder.answer_in_turn([id("17889615691921648"), status(IN_PROGRESS)]);
    let asked = prepare(&client, &account, &secret, &post, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, until } = asked else { panic!("{asked:?}") };
    let wait = until.since(SystemClock.now()).as_secs();
    assert!((28..=30).contains(&wait), "half a minute: {wait}");
    responder.answer_in_turn([Reply::new(200, FINISHED)]);
    let prepared = ready(client.prepare(account.with(&secret), &post, so_far).await.unwrap());

    responder.answer_in_turn([id("17918195224117851"), Reply::new(200, PERMALINK)]);
    let made = published(client.commit(account.with(&secret), &post, &prepared).await.unwrap());
    assert_eq!(made.remote_id, "17918195224117851");
    assert_eq!(made.remote_url, None, "nothing is asked for before the outcome is kept");
    let address = client.address(account.with(&secret), &made.remote_id).await.unwrap();
    assert_eq!(address.as_deref(), Some("https://www.instagram.com/p/D4/"));
    insta::assert_snapshot!(sent(&responder), @r"
    POST /v25.0/17841405793187218/media
    content-type: application/x-www-form-urlencoded

    image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fjpg&alt_text=A+cat&caption=Hello%0A%0Ahttps%3A%2F%2Fexample.org%2Fpage&access_token=[secret]

    GET /v25.0/17889615691921648?fields=status_code%2Cstatus&access_token=[secret]

    GET /v25.0/17889615691921648?fields=status_code%2Cstatus&access_token=[secret]

    POST /v25.0/17841405793187218/media_publish
    content-type: application/x-www-form-urlencoded

    creation_id=17889615691921648&access_token=[secret]

    GET /v25.0/17918195224117851?fields=permalink&access_token=[secret]
    ");
}

#[tokio::test]
async fn several_images_are_a_carousel() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let (post, client) = (several(), client());
    responder.answer_in_turn([id("1"), id("2"), status("FINISHED"), status(IN_PROGRESS)]);
    let asked = prepare(&client, &account, &secret, &post, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, .. } = asked else { panic!("{asked:?}") };
    // An item that says it is published is as good as one that is ready.
    responder.answer_in_turn([
        status("FINISHED"),
        status("PUBLISHED"),
        id("3"),
        status("FINISHED"),
    ]);
    let prepared = ready(prepare(&client, &account, &secret, &post, so_far).await.unwrap());
    responder.answer_with(id("17918195224117851"));
    let made = published(client.commit(account.with(&secret), &post, &prepared).await.unwrap());
    assert_eq!(made.remote_id, "17918195224117851");
    insta::assert_snapshot!(sent(&responder), @r"
    POST /v25.0/17841405793187218/media
    content-type: application/x-www-form-urlencoded

    image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fjpg&alt_text=A+cat&is_carousel_item=true&access_token=[secret]

    POST /v25.0/17841405793187218/media
    content-type: application/x-www-form-urlencoded

    image_url=https%3A%2F%2Fpost.example%2Fmedia%2Fjpg&is_carousel_item=true&access_token=[secret]

    GET /v25.0/1?fields=status_code%2Cstatus&access_token=[secret]

    GET /v25.0/2?fields=status_code%2Cstatus&access_token=[secret]

    GET /v25.0/1?fields=status_code%2Cstatus&access_token=[secret]

    GET /v25.0/2?fields=status_code%2Cstatus&access_token=[secret]

    POST /v25.0/17841405793187218/media
    content-type: application/x-www-form-urlencoded

    media_type=CAROUSEL&children=1%2C2&caption=Hello&access_token=[secret]

    GET /v25.0/3?fields=status_code%2Cstatus&access_token=[secret]

    POST /v25.0/17841405793187218/media_publish
    content-type: application/x-www-form-urlencoded

    creation_id=3&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_carousel_goes_on_where_it_was() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let (post, client) = (several(), client());
    // One item a run, each kept: the worker ends after the first.
    responder.answer_with(id("1"));
    let asked = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, until } = asked else { panic!("{asked:?}") };
    assert!(until <= SystemClock.now(), "the next is made at once");
    assert_eq!(so_far.0["items"], serde_json::json!(["1"]));
    assert_eq!(sent(&responder).matches("POST").count(), 1);

    responder.answer_with(id("2"));
    let asked = client.prepare(account.with(&secret), &post, so_far).await.unwrap();
    let Preparation::Waits { so_far, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(so_far.0["items"], serde_json::json!(["1", "2"]));
    assert_eq!(sent(&responder).matches("POST").count(), 1, "the first is not made again");

    // The second expired before the carousel was made: all are made anew.
    responder.answer_in_turn([status("FINISHED"), status("EXPIRED"), id("3")]);
    let asked = client.prepare(account.with(&secret), &post, so_far).await.unwrap();
    let Preparation::Waits { so_far, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(so_far.0["items"], serde_json::json!(["3"]));
}

#[tokio::test]
async fn a_container_that_came_to_nothing_is_made_anew() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let (post, client, now) = (with_image(), client(), now());
    let gone = r#"{"error":{"message":"The media builder with creation id = 1 does not exist or has been expired.","type":"OAuthException","code":24,"error_subcode":2207008}}"#;
    let rows = [
        (now.clone(), status("EXPIRED")),
        (now.clone(), Reply::new(400, gone)),
        (ago(16), status(IN_PROGRESS)),
        (ago(61), status("ERROR")),
        (ago(6), failed("2207053")),
    ];
    for (made_at, answer) in rows {
        responder.answer_in_turn([answer, id("2"), status("FINISHED")]);
        let asked = prepare(&client, &account, &secret, &post, kept("1", &made_at)).await.unwrap();
        assert_eq!(ready(asked).0["container"], "2", "{made_at}");
    }
    responder.answer_in_turn([status(IN_PROGRESS)]);
    let asked = client.prepare(account.with(&secret), &post, kept("1", &now)).await.unwrap();
    assert!(matches!(asked, Preparation::Waits { so_far, .. } if so_far.0["container"] == "1"));
}

fn failed(subcode: &str) -> Reply {
    let words = format!("Error: Media upload has failed with error code {subcode}");
    Reply::new(200, format!(r#"{{"status_code":"ERROR","status":"{words}","id":"1"}}"#))
}

#[tokio::test]
async fn a_container_that_failed_says_whether_trying_again_helps() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let passing = ["2207003", "2207020", "2207032", "2207052", "2207053", "2207082"];
    let lasting = ["2207026", "2207004", "22070530"];
    let rows = passing.map(|code| (code, ErrorClass::Transient)).into_iter();
    for (code, class) in rows.chain(lasting.map(|code| (code, ErrorClass::Invalid))) {
        responder.answer_with(failed(code));
        let kept = kept("1", &now());
        let error = client().prepare(account.with(&secret), &with_image(), kept).await.unwrap_err();
        assert_eq!(error.class(), class, "{code}");
        assert!(error.to_string().contains(&format!("error code {code}")), "{error}");
    }
}

#[tokio::test]
async fn a_container_that_says_it_is_published_is_never_published_again() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let (post, client) = (with_image(), client());
    responder.answer_with(status("PUBLISHED"));
    let asked = client.prepare(account.with(&secret), &post, kept("1", &ago(60))).await.unwrap();
    let prepared = ready(asked);
    assert_eq!(prepared.0["published"], true);
    let committed = client.commit(account.with(&secret), &post, &prepared).await.unwrap();
    assert_eq!(committed, Committed::AlreadyThere { remote_id: None });
    // Nor is it asked again, or replaced once it is gone.
    let again = client.prepare(account.with(&secret), &post, prepared.clone()).await.unwrap();
    assert_eq!(again, Preparation::Ready(prepared));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/1?fields=status_code%2Cstatus&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_container_that_may_have_been_committed_is_waited_for() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let (post, client) = (with_image(), client());
    responder.answer_with(status("FINISHED"));
    let asked = client.prepare(account.with(&secret), &post, kept("1", &ago(60))).await.unwrap();
    let prepared = ready(asked);
    // Whatever became of a commit: one that was never ready would be made anew by now.
    responder.answer_with(status(IN_PROGRESS));
    let asked = client.prepare(account.with(&secret), &post, prepared.clone()).await.unwrap();
    let Preparation::Waits { so_far, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(so_far, prepared);
    responder.answer_in_turn([status("EXPIRED"), id("2"), status("FINISHED")]);
    let asked = prepare(&client, &account, &secret, &post, so_far).await.unwrap();
    assert_eq!(ready(asked).0["container"], "2", "nobody published it within its day");
}

#[tokio::test]
async fn after_an_unknown_outcome_the_container_says() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let prepared = kept("1", "2026-03-01T09:30:00Z");
    let sought = Sought::alone(
        "2026-03-01T09:30:30Z".parse().unwrap(),
        "2026-03-01T09:30:30Z".parse().unwrap(),
    );
    let ask = async |post: &Outgoing, prepared: &Prepared| {
        client().reconcile(account.with(&secret), post, prepared, sought).await.unwrap()
    };
    for absent in ["FINISHED", "EXPIRED", "ERROR"] {
        responder.answer_in_turn([status(absent)]);
        assert_eq!(ask(&post(), &prepared).await, Reconciled::Absent, "{absent}");
    }
    assert_eq!(ask(&post(), &Prepared::NOTHING).await, Reconciled::Absent, "there was none");
    responder.answer_in_turn([status(IN_PROGRESS)]);
    assert!(matches!(ask(&post(), &prepared).await, Reconciled::Unsure(_)));

    sent(&responder);
    let media = || Reply::new(200, include_str!("../fixtures/media.json"));
    responder.answer_in_turn([status("PUBLISHED"), media()]);
    let found = ask(&post(), &prepared).await;
    let Reconciled::Alike(published) = found else { panic!("{found:?}") };
    assert_eq!(published.remote_id, "17918195224117851");
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/1?fields=status_code%2Cstatus&access_token=[secret]

    GET /v25.0/17841405793187218/media?fields=id%2Ccaption%2Ctimestamp&limit=25&access_token=[secret]
    ");
    responder.answer_in_turn([status("PUBLISHED"), media()]);
    let other = Outgoing { text: "Elsewhere".into(), ..post() };
    let found = ask(&other, &prepared).await;
    let Reconciled::Unsure(words) = found else { panic!("{found:?}") };
    assert!(words.contains("record its id"), "{words}");
}

#[tokio::test]
async fn the_address_of_an_image_is_in_no_error() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let refusal = r#"{"error":{"message":"Cannot fetch https:\/\/post.example\/media\/jpg","type":"OAuthException","code":9004,"error_subcode":2207052}}"#;
    let error = r#"{"status_code":"ERROR","status":"Cannot fetch https://post.example/media/jpg"}"#;
    for (so_far, answer) in
        [(Prepared::NOTHING, Reply::new(400, refusal)), (kept("1", &now()), Reply::new(200, error))]
    {
        responder.answer_with(answer);
        let asked = client().prepare(account.with(&secret), &with_image(), so_far).await;
        let words = asked.unwrap_err().to_string();
        assert!(words.contains("Cannot fetch [secret]"), "{words}");
    }
}
