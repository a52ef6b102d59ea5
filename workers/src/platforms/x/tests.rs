//! What the X client sends, and what it makes of each answer. That X's own document permits what it
//! sends is tested in `tests/it/contract_real_x.rs`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use postworks::clock::{Clock as _, SystemClock};
use postworks::config::{Config, Sources};
use postworks::job::RateScope;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::platforms::answer::Answer;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::meter::Took;
use crate::platforms::oauth;
use crate::platforms::responder::{Reply, Responder, SECRET, post, published as put};
use crate::platforms::{Draft, Image, Link, NetworkPolicy, Others};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };
/// Steps that X's own table is about; tokens come from the OAuth client.
const STEPS: [Step; 3] = [Step::Upload, Step::Publish, Step::Read];

fn problem(name: &str, detail: &str) -> Value {
    let kind = match name {
        "" => "about:blank".to_owned(),
        name => format!("https://api.x.com/2/problems/{name}"),
    };
    json!({ "type": kind, "title": "A title", "detail": detail })
}

fn coded(code: u64) -> Value {
    json!({ "errors": [{ "code": code, "message": "words" }] })
}

fn answer(step: Step, status: u16, headers: &[(&str, &str)], body: &Value) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let account = Uuid::nil();
    let call = Call { descriptor: &DESCRIPTOR, step, account, secrets: &secrets };
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect::<HeaderMap>(),
        body: body.to_string().into_bytes().into(),
        took: Took::new(call, Duration::ZERO),
    };
    answer.value::<Value>(call, &errors::TABLE, &SystemClock).unwrap_err()
}

fn class(step: Step, status: u16, body: &Value) -> ErrorClass {
    answer(step, status, &[], body).class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Upload};
    let duplicate = "You are not allowed to create a Tweet with duplicate content.";
    let rows: &[(&[Step], u16, Value, ErrorClass)] = &[
        (&STEPS, 401, problem("", "Unauthorized"), EXPIRED),
        (&STEPS, 401, coded(32), EXPIRED),
        (&STEPS, 403, problem("user-suspended", "The account is suspended"), REVOKED),
        (&STEPS, 403, coded(64), REVOKED),
        (&STEPS, 403, coded(326), REVOKED),
        (&STEPS, 403, problem("", "this account is temporarily locked. Please log in"), REVOKED),
        // Taken: only whoever does not look for it gets this far.
        (&[Publish], 403, problem("", duplicate), INVALID),
        (&[Publish], 403, coded(187), INVALID),
        (&STEPS, 403, problem("client-forbidden", "enroll your app"), INVALID),
        (&STEPS, 403, problem("", "You are not permitted to perform this action."), INVALID),
        (&STEPS, 400, problem("invalid-request", "One or more parameters"), INVALID),
        (
            &[Publish],
            400,
            json!({ "errors": [{ "message": "Your media IDs are invalid." }] }),
            INVALID,
        ),
        (&STEPS, 404, problem("resource-not-found", "Could not find"), INVALID),
        (&[Publish], 503, problem("", "Service Unavailable"), UNKNOWN),
        (&[Publish], 500, json!({}), UNKNOWN),
        (&[Upload, Read], 503, problem("", "Service Unavailable"), TRANSIENT),
        (&[Upload, Read], 500, json!({}), TRANSIENT),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, body), *expected, "{step:?}: {status} {body}");
        }
    }
}

#[test]
fn what_a_limit_asks_for_is_kept_to() {
    let wait = |status, headers: &[(&str, &str)], body: &Value| {
        let error = answer(Step::Publish, status, headers, body);
        let ErrorClass::RateLimited { until, scope } = error.class() else { panic!("{error:?}") };
        (until.since(SystemClock.now()).as_secs().div_ceil(60), scope)
    };
    let in_ten_minutes = (SystemClock.now().as_millis() / 1_000 + 600).to_string();
    let quarter = ("x-rate-limit-reset", in_ten_minutes.as_str());
    let blank = problem("", "Too Many Requests");
    let empty = [quarter, ("x-rate-limit-remaining", "0")];
    assert_eq!(wait(429, &empty, &blank), (10, RateScope::Account));
    let of_the_app = [
        ("x-rate-limit-remaining", "99"),
        ("x-app-limit-24hour-reset", in_ten_minutes.as_str()),
        ("x-app-limit-24hour-remaining", "0"),
    ];
    assert_eq!(wait(429, &of_the_app, &blank), (10, RateScope::App));
    // The month's cap: the quarter of an hour has much left, and says nothing of it.
    let much = [quarter, ("x-rate-limit-remaining", "39999")];
    let capped = problem("usage-capped", "Usage cap exceeded: Monthly product cap");
    assert_eq!(wait(429, &much, &capped), (60, RateScope::App));
    assert_eq!(wait(403, &[], &capped), (60, RateScope::App));
    assert_eq!(wait(402, &much, &problem("credits", "no credits")), (60, RateScope::App));
    assert_eq!(
        wait(429, &[], &blank),
        (1, RateScope::Account),
        "half a minute, if nothing is said"
    );
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        let named = match rule.error.parse() {
            Ok(code) => coded(code),
            Err(_) => problem(rule.error, rule.says),
        };
        for &step in rule.steps {
            let other = class(step, 418, &problem("", "words"));
            let (named, by_status) =
                (class(step, rule.status, &named), class(step, rule.status, &problem("", "")));
            let taken = rule.verdict == crate::platforms::answer::Verdict::Taken;
            // What is wrong and stays wrong is a teapot's answer.
            let changes = named != by_status || rule.status == 402 && named != other;
            assert!(changes || taken, "the row {rule:?} for {step:?} changes nothing");
        }
    }
}

fn client() -> XClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    XClient::new(&options, SystemClock::shared()).unwrap()
}

fn known(responder: &Responder) -> Account {
    Account { remote_id: Some("2244994945".into()), ..responder.account() }
}

fn image(kind: ImageKind, alt: &str) -> Image {
    Image {
        id: Uuid::nil(),
        kind,
        bytes: (&b"an image"[..]).into(),
        width: 2,
        height: 1,
        alt: alt.into(),
        url: None,
    }
}

fn illustrated() -> Outgoing {
    Outgoing {
        link: Some(Link {
            url: "https://example.org/page".parse().unwrap(),
            title: None,
            description: None,
        }),
        images: vec![image(ImageKind::Png, "A chart"), image(ImageKind::Jpeg, "")],
        reply_to: Some("1346889436626259968".into()),
        ..post()
    }
}

#[tokio::test]
async fn a_post_is_sent_with_all_that_it_has() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(201, r#"{"data":{"id":"17","text":"Hello"}}"#));
    let sent = client.commit(&account, &secret, &post(), &Prepared::NOTHING).await.unwrap();
    let there = put(sent);
    assert_eq!(there.remote_id, "17");
    assert_eq!(there.remote_url.as_deref(), Some("https://x.com/i/web/status/17"));

    let upload =
        |id| json!({ "id": id, "ends": "2026-03-01T09:30:00Z", "ready": true, "described": true });
    let prepared = Prepared(json!({ "media": [upload("7"), upload("8")] }));
    client.commit(&account, &secret, &illustrated(), &prepared).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /2/tweets
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello"}

    POST /2/tweets
    authorization: Bearer [secret]
    content-type: application/json

    {"text":"Hello\n\nhttps://example.org/page","media":{"media_ids":["7","8"]},"reply":{"in_reply_to_tweet_id":"1346889436626259968"}}
    "#);
}

#[tokio::test]
async fn a_text_that_the_account_has_already_is_not_an_error() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let said = "You are not allowed to create a Tweet with duplicate content.";
    for body in [problem("", said), coded(187)] {
        responder.answer_with(Reply::new(403, body.to_string()));
        let sent = client.commit(&account, &secret, &post(), &Prepared::NOTHING).await.unwrap();
        assert_eq!(sent, Committed::AlreadyThere { remote_id: None });
    }
}

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
        let step = client.prepare(&account, &secret, &post, kept.clone()).await.unwrap();
        let Preparation::Waits { so_far, until } = step else { panic!("{step:?}") };
        let waits = until.since(SystemClock.now()).as_secs_f64();
        assert!(waits <= f64::from(wait) && waits > f64::from(wait) - 1.5, "{waits} for {wait}");
        kept = so_far;
    }
    let ready = client.prepare(&account, &secret, &post, kept.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(kept.clone()));
    let ids: Vec<String> =
        kept.read::<Uploads>().unwrap().unwrap().media.into_iter().map(|media| media.id).collect();
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
    let first = client.prepare(&account, &secret, &post, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, .. } = first else { panic!("{first:?}") };
    responder.answer_with(Reply::new(200, r#"{"data":{"id":"8","expires_after_secs":86400}}"#));
    let again = client.prepare(&account, &secret, &post, so_far).await.unwrap();
    let Preparation::Waits { so_far, .. } = again else { panic!("{again:?}") };
    assert_eq!(so_far.read::<Uploads>().unwrap().unwrap().media[0].id, "8");
    let ready = client.prepare(&account, &secret, &post, so_far.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(so_far));
}

#[tokio::test]
async fn an_upload_that_failed_stays_wrong() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let one = Outgoing { images: vec![image(ImageKind::Gif, "")], ..post() };
    let pending = r#"{"data":{"id":"7","processing_info":{"state":"pending"}}}"#;
    responder.answer_with(Reply::new(200, pending));
    let step = client.prepare(&account, &secret, &one, Prepared::NOTHING).await.unwrap();
    let Preparation::Waits { so_far, .. } = step else { panic!("{step:?}") };
    assert!(responder.take_requests().contains("tweet_gif"));
    let failed = r#"{"data":{"id":"7","processing_info":{"state":"failed"}}}"#;
    responder.answer_with(Reply::new(200, failed));
    let refused = client.prepare(&account, &secret, &one, so_far).await.unwrap_err();
    assert_eq!(refused.class(), INVALID);
}

/// What reconciling says of a post of this text, which may be from when the vendor's example of an answer
/// is from.
async fn reconciled(text: &str, reply_to: Option<&str>, body: &str, others: &Others) -> Reconciled {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, body));
    let post = Outgoing { text: text.into(), reply_to: reply_to.map(str::to_owned), ..post() };
    let [since, until] = ["2021-01-06T18:20:00Z", "2021-01-06T18:45:00Z"];
    let sought = Sought::alone(since.parse().unwrap(), until.parse().unwrap());
    let sought = Sought { others, ..sought };
    client.reconcile(&account, &secret, &post, &Prepared::NOTHING, sought).await.unwrap()
}

#[tokio::test]
async fn a_post_is_known_by_its_text_in_one_listing() {
    let all = include_str!("fixtures/timeline.json");
    let no_more = &all.replace("next_token", "other_token");
    let asked = async |text, reply_to| reconciled(text, reply_to, no_more, Others::NONE).await;
    let alike = |id: &str| Reconciled::Alike(published(id.to_owned()));
    let long = "Learn how to use the user Tweet timeline & more in the X API v2\n\
                https://developer.example/docs/timelines/";
    assert_eq!(asked(long, None).await, alike("1346889436626259968"));
    assert_eq!(asked("A picture of it", None).await, alike("1346887277104820224"));
    let first = Some("1346885000000000000");
    assert_eq!(asked("Thanks", first).await, alike("1346886000000000000"));
    assert_eq!(asked("@someone Thanks", first).await, alike("1346886000000000000"));
    // Another answer, or one further down in that conversation, which X does not tell.
    for (text, reply_to) in [("Thanks", Some("1")), ("Thanks", None), ("Something else", None)] {
        let told = asked(text, reply_to).await;
        assert!(matches!(told, Reconciled::Unsure(_)), "{text}: {told:?}");
    }
    let ids = ["1346889436626259968", "1346887277104820224", "1346886000000000000"];
    let others = Others { ids: ids.map(str::to_owned).into(), texts: Vec::new() };
    let told = reconciled("Something else", None, no_more, &others).await;
    assert_eq!(told, Reconciled::Absent, "all of these are other publications'");
    let told = reconciled("Something else", None, all, &others).await;
    assert!(matches!(told, Reconciled::Unsure(_)), "there are more: {told:?}");
    let nobody = r#"{"meta":{"result_count":0}}"#;
    assert_eq!(reconciled("Hello", None, nobody, Others::NONE).await, Reconciled::Absent);
}

#[tokio::test]
async fn what_an_account_has_is_read_as_x_documents_it() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/timeline.json")));
    let page = client.posts(&account, &secret, Some("7140dib")).await.unwrap();
    let texts: Vec<&str> = page.posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Learn how to use the user Tweet timeline & more in the X API v2 \
             https://developer.example/docs/timelines",
            "A picture of it",
            "@someone Thanks"
        ]
    );
    assert_eq!(page.posts[0].created_at, Some("2021-01-06T18:40:40Z".parse().unwrap()));
    assert_eq!(page.next.as_deref(), Some("7140dibdnow9c7btw3w29gqolns6a96fc2vzb6fnhrg4u"));

    // One as the guides name the numbers, one as the OpenAPI document does.
    let numbered = json!({
        "data": [
            { "id": "1", "public_metrics": { "retweet_count": 7, "reply_count": 3, "like_count": 38,
                "quote_count": 1, "bookmark_count": 2, "impression_count": 1_250 } },
            { "id": "2", "public_metrics": { "repost_count": 1, "reply_count": 0, "like_count": 0,
                "quote_count": 0, "bookmark_count": 0, "impression_count": 9 } }
        ],
        "errors": [{ "resource_id": "3", "title": "Not Found Error",
            "type": "https://api.x.com/2/problems/resource-not-found", "detail": "Could not find" }]
    });
    responder.answer_with(Reply::new(200, numbered.to_string()));
    let ids = ["1", "2", "3"].map(str::to_owned);
    let numbers = client.numbers(&account, &secret, &ids).await.unwrap();
    let of = |likes, reposts, replies, views| Numbers {
        likes: Some(likes),
        reposts: Some(reposts),
        replies: Some(replies),
        views: Some(views),
    };
    assert_eq!(numbers, [("1".into(), of(38, 7, 3, 1_250)), ("2".into(), of(0, 1, 0, 9))]);

    let me = r#"{"data":{"id":"2244994945","name":"X Dev","username":"XDevelopers",
        "description":"The voice","public_metrics":{"followers_count":513868}}}"#;
    responder.answer_with(Reply::new(200, me));
    let profile = client.profile(&account, &secret).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("X Dev"));
    assert_eq!(profile.followers, Some(513_868));

    responder.answer_with(Reply::new(200, r#"{"meta":{"result_count":0}}"#));
    let sought = Sought::alone(post().created_at, post().created_at);
    client.reconcile(&account, &secret, &post(), &Prepared::NOTHING, sought).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /2/users/2244994945/tweets?exclude=retweets&tweet.fields=created_at%2Cconversation_id%2Centities&max_results=50&pagination_token=7140dib
    authorization: Bearer [secret]



    GET /2/tweets?ids=1%2C2%2C3&tweet.fields=public_metrics
    authorization: Bearer [secret]



    GET /2/users/me?user.fields=description%2Cpublic_metrics
    authorization: Bearer [secret]



    GET /2/users/2244994945/tweets?exclude=retweets&tweet.fields=created_at%2Cconversation_id%2Centities&max_results=100&start_time=2026-03-01T09%3A29%3A00Z
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn tokens_come_from_xs_own_servers_by_our_id_alone() {
    let text = "[platforms.x.oauth]\nclient_id = \"us\"\n";
    let config = Config::load(&Sources::default().file("test.toml", text.to_owned())).unwrap();
    let (_, section) = config.oauth().next().unwrap();
    let profile = oauth::Profile::read(section, DESCRIPTOR.oauth).unwrap();
    let options = HttpOptions::new(NetworkPolicy::default());
    let server = OAuthClient::new(&DESCRIPTOR, profile, &options, SystemClock::shared()).unwrap();
    let url = server.authorize_url("st4te", "ch4llenge", "https://app.example/back");
    assert_eq!(
        url.as_str(),
        "https://x.com/i/oauth2/authorize?response_type=code&client_id=us\
         &redirect_uri=https%3A%2F%2Fapp.example%2Fback\
         &scope=tweet.read+tweet.write+users.read+media.write+offline.access\
         &state=st4te&code_challenge=ch4llenge&code_challenge_method=S256"
    );
    let hosts: Vec<&str> = server.servers().filter_map(|url| url.host_str()).collect();
    assert_eq!(hosts[0], "api.x.com", "the account's own address");
}

#[tokio::test]
async fn a_token_is_renewed_with_our_client_and_not_without() {
    let servers = Responder::start().await;
    let base = &servers.url;
    let text = format!(
        "[platforms.x.oauth]\nauthorize_url = \"{base}authorize\"\ntoken_url = \"{base}2/oauth2/token\"\n\
         client_id = \"us\"\n"
    );
    let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
    let (_, section) = config.oauth().next().unwrap();
    let profile = oauth::Profile::read(section, DESCRIPTOR.oauth).unwrap();
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let server = OAuthClient::new(&DESCRIPTOR, profile, &options, SystemClock::shared()).unwrap();
    let told = json!({ "token_type": "bearer", "expires_in": 7_200, "access_token": "a2",
        "scope": "tweet.read offline.access", "refresh_token": "r2" });
    servers.answer_with(Reply::new(200, told.to_string()));
    let (account, secret) = (known(&servers), SecretString::from(SECRET));
    let renewed = client().with_oauth(Arc::new(server)).refresh(&account, &secret).await.unwrap();
    assert_eq!(renewed.refresh.unwrap().expose_secret(), "r2");
    insta::assert_snapshot!(servers.take_requests(), @r"
    POST /2/oauth2/token
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]&client_id=us
    ");

    let error = client().refresh(&account, &secret).await.unwrap_err();
    assert_eq!(error.class(), INVALID, "the account is not to blame");
    assert!(error.to_string().contains("[platforms.x.oauth]"), "{error}");
}

#[test]
fn what_x_does_not_take_is_refused_before_it_sees_it() {
    let most = Most {
        text: (280, "characters as X counts them"),
        images: 4,
        kinds: &ImageKind::ALL,
        bytes: 5_242_880,
        alt: (1_000, "characters"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let (text, link) = ("x".repeat(258), Some("https://example.org/a/long/one"));
    let (field, words) = refused(&DESCRIPTOR, &Draft { text: &text, link, ..Draft::default() });
    assert_eq!(field, "/text");
    assert_eq!(
        words,
        "the text with the link's address has 283 characters as X counts them; x takes at most 280"
    );
    let wordless = Draft { text: "", ..shows(vec![image_of(ImageKind::Webp); 4]) };
    assert_eq!(DESCRIPTOR.limits.check("x", &wordless), Ok(()), "images need no text");
    let among_others = shows(vec![image_of(ImageKind::Png), image_of(ImageKind::Gif)]);
    let (field, words) = refused(&DESCRIPTOR, &among_others);
    assert_eq!(field, "/images/1");
    assert_eq!(words, "image 2 is a GIF; x takes one only as the one image of a post");
}
