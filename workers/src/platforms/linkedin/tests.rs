//! What the client of LinkedIn sends, and what it makes of each answer that LinkedIn's pages print.

use http::{HeaderMap, StatusCode};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::RateScope;
use serde_json::{Value, json};

use super::*;
use crate::platforms::answer::Verdict;
use crate::platforms::limits::testing::{Most, image as image_of, refused};
use crate::platforms::meta::testing::{image, link, oauth, sent};
use crate::platforms::meter::Took;
use crate::platforms::oauth::Consent;
use crate::platforms::responder::{Reply, Responder, SECRET, post};
use crate::platforms::{Draft, NetworkPolicy, Others};

const URN: &str = "urn:li:share:6844785523593134080";
const ORGANISATION: &str = "urn:li:organization:2414183";

fn client() -> LinkedInClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    LinkedInClient::new(&options, SystemClock::shared()).unwrap()
}

fn member(responder: &Responder) -> Account {
    Account { remote_id: Some("782bbtaQ".into()), ..responder.account() }
}

fn organisation(responder: &Responder) -> Account {
    Account { target: Some(ORGANISATION.into()), ..member(responder) }
}

fn created() -> Reply {
    Reply::new(201, "").header("x-restli-id", URN)
}

fn judged(step: Step, status: u16, body: &Value) -> (ErrorClass, bool) {
    let account = uuid::Uuid::nil();
    let call = Call { descriptor: &DESCRIPTOR, step, account, secrets: &[] };
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_string().into_bytes().into(),
        took: Took::new(call, Duration::ZERO),
    };
    let class = answer.value::<Value>(call, &TABLE, &SystemClock).unwrap_err().class();
    (class, answer.is_taken(call, &TABLE))
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn, Upload};
    const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };
    let expired = json!({ "status": 401, "serviceErrorCode": 65602, "code": "EXPIRED_ACCESS_TOKEN", "message": "The token used in the request has expired" });
    let revoked = json!({ "status": 401, "serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN", "message": "The token used in the request has been revoked by the user" });
    let old_form = json!({ "serviceErrorCode": 65601, "message": "The token used in the request has been revoked by the user", "status": 401 });
    let denied = json!({ "serviceErrorCode": 100, "message": "Not enough permissions to access: POST /posts", "status": 403 });
    let grant = json!({ "error": "invalid_grant", "error_description": "The provided authorization grant or refresh token is invalid, expired or revoked." });
    let code = json!({ "error": "invalid_request", "error_description": "Unable to retrieve access token: authorization code not found" });
    let version = json!({ "status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version 20210101 is not active" });
    let rows: &[(&[Step], u16, &Value, ErrorClass)] = &[
        (&[Upload, Publish, Read], 401, &expired, ErrorClass::AuthExpired),
        (&[Upload, Publish, Read, SignIn, Refresh], 401, &revoked, ErrorClass::AuthRevoked),
        (&[Publish, Read], 401, &old_form, ErrorClass::AuthRevoked),
        (&[SignIn], 401, &expired, ErrorClass::AuthRevoked),
        (&[SignIn, Refresh], 400, &grant, ErrorClass::AuthRevoked),
        (&[SignIn], 400, &code, ErrorClass::AuthRevoked),
        (&[Upload, Publish, Read], 403, &denied, ErrorClass::Invalid),
        (&[Publish], 426, &version, ErrorClass::Invalid),
        (&[Publish], 500, &Value::Null, UNKNOWN),
        (&[Upload, Read, Refresh], 503, &Value::Null, ErrorClass::Transient),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(judged(step, *status, body).0, *expected, "{step:?}: {status} {body}");
        }
    }
    // A bare 429, as it comes: nothing says how long.
    let ErrorClass::RateLimited { until, scope } = judged(Publish, 429, &Value::Null).0 else {
        panic!("no wait");
    };
    assert_eq!((until.since(SystemClock.now()).as_secs() + 30) / 60, 15);
    assert_eq!(scope, RateScope::Account);
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in TABLE.rules {
        let status = if rule.status == 0 { 400 } else { rule.status };
        let body = match rule.error.parse::<u64>() {
            Ok(number) => json!({ "serviceErrorCode": number, "message": rule.says }),
            Err(_) => json!({ "error": rule.error, "message": rule.says }),
        };
        for &step in rule.steps {
            let (class, taken) = judged(step, status, &body);
            let expected = match rule.verdict {
                Verdict::Revoked => class == ErrorClass::AuthRevoked,
                Verdict::Taken => taken,
                Verdict::Limited { .. } => matches!(class, ErrorClass::RateLimited { .. }),
                other => panic!("{other:?}"),
            };
            assert!(expected, "{rule:?} for {step:?}: {class:?}");
        }
    }
}

#[tokio::test]
async fn a_post_is_one_request_and_its_urn_is_in_a_header() {
    let responder = Responder::start().await;
    let secret = SecretString::from(SECRET);
    responder.answer_with(created());
    let plain = Outgoing { text: "Hello #world (again)".into(), ..post() };
    let card = Outgoing { link: Some(link()), ..post() };
    for (account, post) in [(member(&responder), plain), (organisation(&responder), card)] {
        let committed =
            client().commit(&account, &secret, &post, &Prepared::NOTHING).await.unwrap();
        let Committed::Published(published) = committed else { panic!("{committed:?}") };
        assert_eq!(published.remote_id, URN);
        let url = "https://www.linkedin.com/feed/update/urn:li:share:6844785523593134080";
        assert_eq!(published.remote_url.as_deref(), Some(url));
    }
    insta::assert_snapshot!(sent(&responder), @r#"
    POST /rest/posts
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"author":"urn:li:person:782bbtaQ","commentary":"Hello #world \\(again\\)","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}

    POST /rest/posts
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    content-type: application/json

    {"author":"urn:li:organization:2414183","commentary":"Hello","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},"content":{"article":{"source":"https://example.org/page","title":"A page","description":"About it"}},"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}
    "#);

    responder.answer_with(Reply::new(201, ""));
    let asked = client().commit(&member(&responder), &secret, &post(), &Prepared::NOTHING).await;
    let error = asked.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: false }, "no URN: {error}");
    let nobody = responder.account();
    let asked = client().commit(&nobody, &secret, &post(), &Prepared::NOTHING).await;
    assert_eq!(asked.unwrap_err().class(), ErrorClass::Invalid, "nobody knows whose post it is");
}

#[tokio::test]
async fn images_are_uploaded_to_where_linkedin_says_and_waited_for() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let images = vec![image(ImageKind::Png, "A cat"), image(ImageKind::Jpeg, "")];
    let post = Outgoing { link: Some(link()), images, ..post() };
    let initialized = |image: &str| {
        let upload_url = format!("{}dms-uploads/C4E10AQ?ca=vector", responder.url);
        let value = json!({ "uploadUrlExpiresAt": 1650567510704_u64, "uploadUrl": upload_url, "image": image });
        Reply::new(200, json!({ "value": value }).to_string())
    };
    let mut so_far = Prepared::NOTHING;
    for urn in ["urn:li:image:C4E10AQFoyyAjHPMQuQ", "urn:li:image:C5610AQFj6TdYowm17w"] {
        responder.answer_in_turn([initialized(urn), Reply::new(201, "")]);
        let asked = client().prepare(&account, &secret, &post, so_far).await.unwrap();
        let Preparation::Waits { so_far: next, until } = asked else { panic!("{asked:?}") };
        assert!(until <= SystemClock.now(), "the next is uploaded at once");
        so_far = next;
    }
    let asked_for = sent(&responder);
    let first = asked_for.split("\n\nPOST ").next().unwrap();
    insta::assert_snapshot!(first, @r#"
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
    "#);

    let state = |status: &str| Reply::new(200, json!({ "status": status }).to_string());
    responder.answer_in_turn([state("AVAILABLE"), state("PROCESSING")]);
    let asked = client().prepare(&account, &secret, &post, so_far.clone()).await.unwrap();
    assert!(matches!(asked, Preparation::Waits { until, .. } if until > SystemClock.now()));
    let asked_for = sent(&responder);
    assert!(
        asked_for.starts_with("GET /rest/images/urn%3Ali%3Aimage%3AC4E10AQFoyyAjHPMQuQ\n"),
        "{asked_for}"
    );
    responder.answer_in_turn([state("PROCESSING_FAILED")]);
    let asked = client().prepare(&account, &secret, &post, so_far.clone()).await;
    assert_eq!(asked.unwrap_err().class(), ErrorClass::Invalid);
    let denied = r#"{"message":"Accessing this image resource is forbidden. Please check your permissions for this resource","status":403}"#;
    responder.answer_with(Reply::new(403, denied));
    let asked = client().prepare(&account, &secret, &post, so_far.clone()).await.unwrap();
    assert_eq!(asked, Preparation::Ready(so_far.clone()), "who may post may not always look");

    sent(&responder);
    responder.answer_with(created());
    client().commit(&account, &secret, &post, &so_far).await.unwrap();
    let asked_for = sent(&responder);
    let content = r#""commentary":"Hello\n\nhttps://example.org/page","visibility":"PUBLIC""#;
    assert!(asked_for.contains(content), "{asked_for}");
    let content = r#""content":{"multiImage":{"images":[{"id":"urn:li:image:C4E10AQFoyyAjHPMQuQ","altText":"A cat"},{"id":"urn:li:image:C5610AQFj6TdYowm17w"}]}}"#;
    assert!(asked_for.contains(content), "{asked_for}");
    let only = Outgoing { images: vec![image(ImageKind::Png, "A cat")], ..post };
    let kept = Prepared::of(&Kept { images: vec!["urn:li:image:1".into()] }).unwrap();
    client().commit(&account, &secret, &only, &kept).await.unwrap();
    let asked_for = sent(&responder);
    let content = r#""content":{"media":{"id":"urn:li:image:1","altText":"A cat"}}"#;
    assert!(asked_for.contains(content), "{asked_for}");
}

#[tokio::test]
async fn a_duplicate_names_the_post_that_is_there_unless_it_is_none() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let message = format!("Content is a duplicate of {URN}");
    let newer = json!({ "message": message, "errorDetails": { "inputErrors": [{ "code": "DUPLICATE_POST" }] }, "status": 422 });
    for body in [newer, json!({ "message": message, "status": 422 })] {
        responder.answer_with(Reply::new(422, body.to_string()));
        let committed =
            client().commit(&account, &secret, &post(), &Prepared::NOTHING).await.unwrap();
        assert_eq!(committed, Committed::AlreadyThere { remote_id: Some(URN.into()) });
    }
    responder.answer_with(Reply::new(422, r#"{"message":"Text too long","status":422}"#));
    let refused = client().commit(&account, &secret, &post(), &Prepared::NOTHING).await;
    assert_eq!(refused.unwrap_err().class(), ErrorClass::Invalid);

    sent(&responder);
    let since = "2026-03-01T09:30:30Z".parse().unwrap();
    let sought = Sought { named: Some(URN), ..Sought::alone(since, since) };
    let ask = async || {
        client().reconcile(&account, &secret, &post(), &Prepared::NOTHING, sought).await.unwrap()
    };
    let named = |text: &str, at: &str| {
        let at: postworks::job::Timestamp = at.parse().unwrap();
        let body = json!({ "id": URN, "commentary": text, "publishedAt": at.as_millis() });
        Reply::new(200, body.to_string())
    };
    responder.answer_with(named("Hello", "2026-03-01T09:31:00Z"));
    assert!(matches!(ask().await, Reconciled::Alike(there) if there.remote_id == URN));
    for other in [
        named("Hello", "2026-03-01T09:20:00Z"),
        named("Bye", "2026-03-01T09:31:00Z"),
        Reply::new(403, "{}"),
    ] {
        responder.answer_with(other);
        let told = ask().await;
        assert!(matches!(told, Reconciled::Unsure(_)), "{told:?}");
    }
    let list = r#"{"paging":{"start":0,"count":50,"links":[]},"elements":[]}"#;
    responder.answer_in_turn([Reply::new(404, "{}"), Reply::new(200, list)]);
    assert_eq!(ask().await, Reconciled::Absent, "a ghost, and no such post in the list");
    let asked_for = sent(&responder);
    assert!(
        asked_for.starts_with("GET /rest/posts/urn%3Ali%3Ashare%3A6844785523593134080\n"),
        "{asked_for}"
    );
}

#[test]
fn the_urn_of_a_post_is_found_in_words() {
    let rows = [
        (
            "Content is a duplicate of urn:li:share:7141138937766391808",
            Some("urn:li:share:7141138937766391808"),
        ),
        ("a duplicate of urn:li:ugcPost:1, posted before.", Some("urn:li:ugcPost:1")),
        ("a duplicate of urn:li:person:782bbtaQ", None),
        ("nothing", None),
    ];
    for (words, urn) in rows {
        assert_eq!(post_in(words).as_deref(), urn, "{words}");
    }
}

#[tokio::test]
async fn after_an_unknown_outcome_the_authors_posts_are_compared() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    let ask = async |text: &str, others: &Others| {
        let post = Outgoing { text: text.into(), ..post() };
        let at = "2026-03-01T09:30:30Z".parse().unwrap();
        let sought = Sought { others, ..Sought::alone(at, at) };
        client().reconcile(&account, &secret, &post, &Prepared::NOTHING, sought).await.unwrap()
    };
    responder.answer_with(Reply::new(200, include_str!("fixtures/posts.json")));
    let found = ask("Hello #world (again)", Others::NONE).await;
    let Reconciled::Alike(published) = found else { panic!("{found:?}") };
    assert_eq!(published.remote_id, "urn:li:share:6856984350567002112");
    let others = Others { ids: [published.remote_id].into(), texts: Vec::new() };
    let told = ask("test strings!", &others).await;
    assert_eq!(told, Reconciled::Absent, "that one was there before");
    responder.answer_with(Reply::new(403, r#"{"serviceErrorCode":100,"message":"Not enough permissions to access: FINDER-author /posts","status":403}"#));
    let Reconciled::Unsure(words) = ask("Hello", &others).await else {
        panic!("it cannot be known")
    };
    assert!(words.contains("r_member_social"), "{words}");
}

#[tokio::test]
async fn posts_numbers_and_who_posts_are_read() {
    let responder = Responder::start().await;
    let (account, secret) = (organisation(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/posts.json")));
    let page = client().posts(&account, &secret, Some("50")).await.unwrap();
    assert_eq!((page.posts.len(), page.next), (2, None), "fewer than asked for: the end");
    assert_eq!(page.posts[0].text, "Hello #world (again)");
    assert_eq!(page.posts[0].created_at, Some("2026-03-01T09:31:00Z".parse().unwrap()));
    let error = client().posts(&account, &secret, Some("soon")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);

    responder.answer_with(Reply::new(200, include_str!("fixtures/metadata.json")));
    let ids: Vec<String> = page.posts.iter().map(|post| post.remote_id.clone()).collect();
    let numbers = client().numbers(&account, &secret, &ids).await.unwrap();
    let first = Numbers { likes: Some(12), replies: Some(14), ..Numbers::default() };
    assert_eq!(numbers, [(ids[0].clone(), first)], "the other one is gone");

    responder.answer_in_turn([
        Reply::new(
            200,
            r#"{"localizedName":"Devtestco","localizedDescription":"About it","id":2414183}"#,
        ),
        Reply::new(200, r#"{"firstDegreeSize":219145}"#),
    ]);
    let profile = client().profile(&account, &secret).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Devtestco"));
    assert_eq!(
        (profile.description.as_deref(), profile.followers),
        (Some("About it"), Some(219_145))
    );
    responder.answer_in_turn([
        Reply::new(200, r#"{"localizedName":"Devtestco"}"#),
        Reply::new(
            403,
            r#"{"serviceErrorCode":100,"message":"Not enough permissions","status":403}"#,
        ),
    ]);
    assert_eq!(client().profile(&account, &secret).await.unwrap().followers, None);
    responder.answer_with(Reply::new(200, r#"{"sub":"782bbtaQ","name":"John Doe"}"#));
    let profile = client().profile(&member(&responder), &secret).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("John Doe"));
    let asked_for = sent(&responder);
    let asked: Vec<&str> = asked_for.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(
        asked,
        [
            "GET /rest/posts?q=author&author=urn%3Ali%3Aorganization%3A2414183&sortBy=CREATED&start=50&count=50",
            "GET /rest/socialMetadata?ids=List(urn%3Ali%3Ashare%3A6856984350567002112,urn%3Ali%3AugcPost%3A6844785523593134080)",
            "GET /rest/organizations/2414183",
            "GET /rest/networkSizes/urn%3Ali%3Aorganization%3A2414183?edgeType=COMPANY_FOLLOWED_BY_MEMBER",
            "GET /rest/organizations/2414183",
            "GET /rest/networkSizes/urn%3Ali%3Aorganization%3A2414183?edgeType=COMPANY_FOLLOWED_BY_MEMBER",
            "GET /v2/userinfo",
        ]
    );
}

#[tokio::test]
async fn tokens_come_from_a_consent_a_renewal_or_a_person() {
    let responder = Responder::start().await;
    let secret = SecretString::from(SECRET);
    let servers = Arc::new(oauth(&DESCRIPTOR, &responder));
    let client = client().with_oauth(Arc::clone(&servers));
    let tokens = r#"{"access_token":"s3cr3t-new","expires_in":5184000,"refresh_token":"s3cr3t-refresh","refresh_token_expires_in":31536000,"scope":"openid,profile,w_member_social"}"#;
    responder.answer_with(Reply::new(200, tokens));
    let verifier = SecretString::from(SECRET);
    let redirect_uri = "https://app.example/api/oauth/linkedin/callback";
    let target = Some(ORGANISATION);
    let consent = Consent { code: &secret, verifier: &verifier, redirect_uri, target };
    let granted = client.exchange_code(&servers, consent).await.unwrap();
    assert_eq!(granted.target.as_deref(), target);
    assert_eq!(granted.tokens.refresh.unwrap().expose_secret(), "s3cr3t-refresh");
    let set = client.refresh(&member(&responder), &secret).await.unwrap();
    assert_eq!(set.access.expose_secret(), "s3cr3t-new");
    insta::assert_snapshot!(sent(&responder), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=[secret]&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Flinkedin%2Fcallback&client_id=us&client_secret=0ur-s3cret

    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=refresh_token&refresh_token=[secret]&client_id=us&client_secret=0ur-s3cret
    ");

    let member_says =
        |sub: &str| Reply::new(200, json!({ "sub": sub, "name": "John Doe" }).to_string());
    responder.answer_with(member_says("782bbtaQ"));
    let set = client.sign_in(&member(&responder), &secret).await.unwrap();
    assert_eq!((set.remote_id.as_deref(), set.refresh.is_none()), (Some("782bbtaQ"), true));
    responder.answer_with(member_says("other"));
    let error = client.sign_in(&member(&responder), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
}

#[test]
fn what_linkedin_would_not_take_is_refused_with_its_limit() {
    let most = Most {
        text: (3_000, "characters"),
        images: 20,
        kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Gif],
        bytes: 8_388_608,
        alt: (4_086, "characters"),
        replies: false,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    // Beside images there is no card: then the address is a part of the text.
    let text = "x".repeat(3_000);
    let linked = Draft { text: &text, link: Some("https://example.org/page"), ..Draft::default() };
    assert_eq!(DESCRIPTOR.limits.check("linkedin", &linked), Ok(()));
    let shown = Draft { images: vec![image_of(ImageKind::Png)], ..linked };
    let (field, words) = refused(&DESCRIPTOR, &shown);
    assert_eq!(field, "/text");
    assert_eq!(
        words,
        "the text with the link's address has 3026 characters; linkedin takes at most 3000"
    );
}
