//! What the client of LinkedIn sends, and what it makes of each answer that LinkedIn's pages print.

mod images;
mod refusals;
mod tokens;

use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused};
use crate::platforms::meta::testing::{image, link, sent};
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

/// What the account's posts are prepared with: who posts.
fn decided(account: &Account) -> Prepared {
    let author = LinkedInClient::author(account).unwrap();
    Prepared(json!({ "author": author, "images": [] }))
}

#[tokio::test]
async fn a_post_is_one_request_and_its_urn_is_in_a_header() {
    let responder = Responder::start().await;
    let secret = SecretString::from(SECRET);
    responder.answer_with(created());
    let plain = Outgoing { text: "Hello #world (again)".into(), ..post() };
    let card = Outgoing { link: Some(link()), ..post() };
    for (account, post) in [(member(&responder), plain), (organisation(&responder), card)] {
        let prepared =
            client().prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
        assert_eq!(prepared, Preparation::Ready(decided(&account)), "nothing is sent for it");
        let committed =
            client().commit(account.with(&secret), &post, &decided(&account)).await.unwrap();
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
    let account = member(&responder);
    let asked = client().commit(account.with(&secret), &post(), &decided(&account)).await;
    let error = asked.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: false }, "no URN: {error}");
    let nobody = responder.account();
    let asked = client().prepare(nobody.with(&secret), &post(), Prepared::NOTHING).await;
    assert_eq!(asked.unwrap_err().class(), ErrorClass::Invalid, "nobody knows whose post it is");
}

#[tokio::test]
async fn a_post_stays_whose_it_was_when_the_account_gets_another_target() {
    let responder = Responder::start().await;
    let (secret, post) = (SecretString::from(SECRET), post());
    let decided = decided(&organisation(&responder));
    let now = member(&responder);
    let ready = client().prepare(now.with(&secret), &post, decided.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(decided.clone()));
    responder.answer_with(created());
    client().commit(now.with(&secret), &post, &decided).await.unwrap();
    let asked_for = sent(&responder);
    assert!(asked_for.contains(r#"{"author":"urn:li:organization:2414183""#), "{asked_for}");
    let undecided =
        client().commit(now.with(&secret), &post, &Prepared::NOTHING).await.unwrap_err();
    assert_eq!(undecided.class(), ErrorClass::Bug, "{undecided}");
    assert_eq!(sent(&responder), "");
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
            client().commit(account.with(&secret), &post(), &decided(&account)).await.unwrap();
        assert_eq!(committed, Committed::AlreadyThere { remote_id: Some(URN.into()) });
    }
    responder.answer_with(Reply::new(422, r#"{"message":"Text too long","status":422}"#));
    let refused = client().commit(account.with(&secret), &post(), &decided(&account)).await;
    assert_eq!(refused.unwrap_err().class(), ErrorClass::Invalid);

    sent(&responder);
    let since = "2026-03-01T09:30:30Z".parse().unwrap();
    let sought = Sought { named: Some(URN), ..Sought::alone(since, since) };
    let ask = async || {
        client()
            .reconcile(account.with(&secret), &post(), &Prepared::NOTHING, sought)
            .await
            .unwrap()
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
    let named = asked_for.split("\n\nGET ").next().unwrap();
    insta::assert_snapshot!(named, @r"
    GET /rest/posts/urn%3Ali%3Ashare%3A6844785523593134080
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    ");
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
        client().reconcile(account.with(&secret), &post, &Prepared::NOTHING, sought).await.unwrap()
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
    let page = client().posts(account.with(&secret), Some("50")).await.unwrap();
    assert_eq!((page.posts.len(), page.next), (2, None), "fewer than asked for: the end");
    assert_eq!(page.posts[0].text, "Hello #world (again)");
    assert_eq!(page.posts[0].created_at, Some("2026-03-01T09:31:00Z".parse().unwrap()));
    let error = client().posts(account.with(&secret), Some("soon")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);

    responder.answer_with(Reply::new(200, include_str!("fixtures/metadata.json")));
    let ids: Vec<String> = page.posts.iter().map(|post| post.remote_id.clone()).collect();
    let numbers = client().numbers(account.with(&secret), &ids).await.unwrap();
    let first = Numbers { likes: Some(12), replies: Some(14), ..Numbers::default() };
    assert_eq!(numbers, [(ids[0].clone(), first)], "the other one is gone");

    responder.answer_in_turn([
        Reply::new(
            200,
            r#"{"localizedName":"Devtestco","localizedDescription":"About it","id":2414183}"#,
        ),
        Reply::new(200, r#"{"firstDegreeSize":219145}"#),
    ]);
    let profile = client().profile(account.with(&secret)).await.unwrap();
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
    assert_eq!(client().profile(account.with(&secret)).await.unwrap().followers, None);
    responder.answer_with(Reply::new(200, r#"{"sub":"782bbtaQ","name":"John Doe"}"#));
    let profile = client().profile(member(&responder).with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("John Doe"));
    let asked_for = sent(&responder);
    insta::assert_snapshot!(asked_for, @r"
    GET /rest/posts?q=author&author=urn%3Ali%3Aorganization%3A2414183&sortBy=CREATED&start=50&count=50
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0
    x-restli-method: FINDER

    GET /rest/socialMetadata?ids=List(urn%3Ali%3Ashare%3A6856984350567002112,urn%3Ali%3AugcPost%3A6844785523593134080)
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /rest/organizations/2414183
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /rest/networkSizes/urn%3Ali%3Aorganization%3A2414183?edgeType=COMPANY_FOLLOWED_BY_MEMBER
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /rest/organizations/2414183
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /rest/networkSizes/urn%3Ali%3Aorganization%3A2414183?edgeType=COMPANY_FOLLOWED_BY_MEMBER
    authorization: Bearer [secret]
    linkedin-version: 202607
    x-restli-protocol-version: 2.0.0

    GET /v2/userinfo
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn a_member_whose_posts_may_not_be_read_has_none_and_an_organisation_is_told() {
    let responder = Responder::start().await;
    let secret = SecretString::from(SECRET);
    let (member, organisation) = (member(&responder), organisation(&responder));
    let denied = r#"{"serviceErrorCode":100,"message":"Not enough permissions to access: FINDER-author /posts","status":403}"#;
    responder.answer_with(Reply::new(403, denied));
    let page = client().posts(member.with(&secret), None).await.unwrap();
    assert!(page.posts.is_empty() && page.next.is_none(), "{page:?}");
    // In the middle of a walk it is an error, after which the walk begins anew: what it has not come
    // to would be left out for good.
    let error = client().posts(member.with(&secret), Some("50")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    let ids = [URN.to_owned()];
    let numbers = client().numbers(member.with(&secret), &ids).await.unwrap();
    assert_eq!(numbers, [(URN.to_owned(), Numbers::default())], "it is not said to be gone");
    let error = client().posts(organisation.with(&secret), None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    let error = client().numbers(organisation.with(&secret), &ids).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    // Not of a permission.
    responder.answer_with(Reply::new(403, r#"{"message":"This app is blocked","status":403}"#));
    let error = client().posts(member.with(&secret), None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    let error = client().numbers(member.with(&secret), &ids).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    responder.answer_with(Reply::new(503, ""));
    let error = client().posts(member.with(&secret), None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
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
