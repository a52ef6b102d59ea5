//! What the Mastodon client sends, and what it makes of each answer. How it gets on with a server is
//! tested on a mock in `tests/it/real_mastodon_mock.rs`.

mod consent;
mod looking;
mod refusals;

use postworks::clock::{Clock as _, SystemClock};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::platforms::call::Call;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::refusals::answer as answered;
use crate::platforms::responder::{Reply, Responder, SECRET, post, published as put};
use crate::platforms::{Draft, Image, Link, NetworkPolicy, Others};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const INVALID: ErrorClass = ErrorClass::Invalid;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };

fn answer(step: Step, status: u16, headers: &[(&str, &str)], words: &str) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let account = Uuid::nil();
    let call = Call { api: API, step, account, secrets: &secrets };
    let body = json!({ "error": words }).to_string();
    let answer = answered(call, status, headers, &body);
    answer.value::<Value>(call).unwrap_err()
}

fn class(step: Step, status: u16, words: &str) -> ErrorClass {
    answer(step, status, &[], words).class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, SignIn, Upload};
    const ANY: &[Step] = &[SignIn, Upload, Publish, Read];
    const WITH_TOKEN: &[Step] = &[Upload, Publish, Read];
    let unfinished =
        "Cannot attach files that have not finished processing. Try again in a moment!";
    let rows: &[(&[Step], u16, &str, ErrorClass)] = &[
        (WITH_TOKEN, 401, "The access token is invalid", EXPIRED),
        (WITH_TOKEN, 401, "The access token was revoked", EXPIRED),
        (&[SignIn], 401, "The access token is invalid", REVOKED),
        (&[SignIn], 401, "The access token was revoked", REVOKED),
        (WITH_TOKEN, 422, "This method requires an authenticated user", EXPIRED),
        (ANY, 403, "This action is outside the authorized scopes", REVOKED),
        (ANY, 403, "Your login is currently disabled", REVOKED),
        (ANY, 403, "Your login is currently pending approval", REVOKED),
        (ANY, 403, "This action is not allowed", INVALID),
        (&[Publish], 422, unfinished, TRANSIENT),
        (&[Publish], 422, "Validation failed: Text can't be blank", INVALID),
        (&[Upload], 422, "Validation failed: File content type is invalid", INVALID),
        (&[Publish, Read], 404, "Record not found", INVALID),
        // A lock on the key that another request holds is one of these: the key still tells.
        (&[Publish], 503, "There was a temporary problem serving your request", UNKNOWN),
        (&[Publish], 500, "", UNKNOWN),
        (&[SignIn, Upload, Read], 503, "Remote data could not be fetched", TRANSIENT),
        (&[SignIn, Upload, Read], 502, "", TRANSIENT),
        (ANY, 410, "", INVALID),
    ];
    for (steps, status, words, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, words), *expected, "{step:?}: {status} {words}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        for &step in rule.steps {
            let other = if rule.says.is_empty() { 400 } else { rule.status };
            let (fits, not) = (class(step, rule.status, rule.says), class(step, other, ""));
            assert_ne!(fits, not, "the row {rule:?} for {step:?} changes nothing");
        }
    }
}

#[test]
fn a_limit_is_kept_to_until_the_time_that_mastodon_writes() {
    // `X-RateLimit-Reset` with parts of a second, and no Retry-After (`app/controllers/concerns/
    // rate_limit_headers.rb`).
    let reset = SystemClock.now().after(Duration::from_secs(100)).to_string().replace('Z', "123Z");
    let headers = [
        ("X-RateLimit-Limit", "300"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", reset.as_str()),
    ];
    let error = answer(Step::Publish, 429, &headers, "Too many requests");
    let ErrorClass::RateLimited { until, .. } = error.class() else { panic!("{error:?}") };
    let wait = until.since(SystemClock.now());
    assert!(wait > Duration::from_secs(98) && wait <= Duration::from_secs(101), "{wait:?}");
}

fn client() -> MastodonClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    MastodonClient::new(&options, SystemClock::shared()).unwrap()
}

fn known(responder: &Responder) -> Account {
    Account { remote_id: Some("103641".into()), ..responder.account() }
}

fn image(alt: &str) -> Image {
    Image {
        id: "0198f2a0-7c3e-7000-8000-00000000000a".parse().unwrap(),
        kind: ImageKind::Png,
        bytes: (&b"an image"[..]).into(),
        width: 2,
        height: 1,
        alt: alt.into(),
        url: None,
    }
}

const CREATED: &str = r#"{"id":"103254962155278888","url":"https://social.example/@alice/1",
    "created_at":"2019-12-05T11:34:47.196Z","content":"<p>Hello</p>"}"#;

#[tokio::test]
async fn a_token_that_a_person_pasted_is_looked_at_and_used() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), responder.account(), SecretString::from(SECRET));
    let me = json!({ "id": "103641", "username": "alice", "display_name": "Alice",
        "followers_count": 12, "note": "<p>Words</p>", "source": { "note": "Words" } });
    responder.answer_with(Reply::new(200, me.to_string()));
    let tokens = client.sign_in(&account, &secret).await.unwrap();
    assert_eq!(tokens.access.expose_secret(), SECRET);
    assert_eq!(tokens.remote_id.as_deref(), Some("103641"));
    assert!(tokens.refresh.is_none() && tokens.expires_at.is_none());
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /api/v1/accounts/verify_credentials
    authorization: Bearer [secret]
    ");

    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.description.as_deref(), Some("Words"));
    assert_eq!(profile.followers, Some(12));
    let stranger = Account { remote_id: Some("1".into()), ..account.clone() };
    let error = client.sign_in(&stranger, &secret).await.unwrap_err();
    assert_eq!(error.class(), REVOKED, "a token of another account");
    let error = client.refresh(&account, &secret).await.unwrap_err();
    assert_eq!(error.class(), REVOKED);
    let words = "getting new tokens from mastodon: connect the account again with a new token";
    assert_eq!(error.to_string(), words);
}

#[tokio::test]
async fn a_status_is_sent_with_all_that_the_post_has() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, CREATED));
    let there =
        put(client.commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap());
    assert_eq!(there.remote_id, "103254962155278888");
    assert_eq!(there.remote_url.as_deref(), Some("https://social.example/@alice/1"));
    let whole = Outgoing {
        link: Some(Link {
            url: "https://example.org/page".parse().unwrap(),
            title: None,
            description: None,
        }),
        reply_to: Some("108880209317577809".into()),
        images: vec![image(""), image("")],
        ..post()
    };
    let upload = |id| json!({ "id": id, "ends": "2026-03-01T09:30:00Z", "ready": true });
    let prepared = Prepared(json!({ "media": [upload("7"), upload("8")] }));
    client.commit(account.with(&secret), &whole, &prepared).await.unwrap();
    insta::assert_snapshot!(responder.take_requests(), @r#"
    POST /api/v1/statuses
    authorization: Bearer [secret]
    idempotency-key: 0198f2a0-7c3e-7000-8000-000000000001
    content-type: application/json

    {"status":"Hello"}

    POST /api/v1/statuses
    authorization: Bearer [secret]
    idempotency-key: 0198f2a0-7c3e-7000-8000-000000000001
    content-type: application/json

    {"status":"Hello\n\nhttps://example.org/page","media_ids":["7","8"],"in_reply_to_id":"108880209317577809"}
    "#);
}

#[tokio::test]
async fn images_are_uploaded_and_waited_for() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image("A chart"), image("")], ..post() };
    let made = |id: &str| json!({ "id": id, "type": "image", "url": null }).to_string();
    let mut kept = Prepared::NOTHING;
    // The first is made while we wait for it; the second takes its time, and is forgotten once.
    for (status, id, wait) in
        [(200, "7", 0), (202, "8", 0), (206, "8", 2), (404, "", 0), (202, "9", 0), (200, "9", 0)]
    {
        responder.answer_with(Reply::new(status, made(id)));
        let step = client.prepare(account.with(&secret), &post, kept.clone()).await.unwrap();
        let Preparation::Waits { so_far, until } = step else { panic!("{step:?}") };
        let waits = until.since(SystemClock.now()).as_secs_f64();
        assert!(waits <= f64::from(wait) && waits > f64::from(wait) - 1.5, "{waits} for {wait}");
        kept = so_far;
    }
    let seen = responder.take_requests();
    // What stands between the parts of a form is made up each time.
    let between = |request: &str| request.lines().next().map(str::to_owned);
    let forms = seen.split("boundary=").skip(1).filter_map(between);
    let seen = forms.fold(seen.clone(), |seen, form| seen.replace(&form, "BETWEEN"));
    insta::assert_snapshot!(seen, @r#"
    POST /api/v2/media
    authorization: Bearer [secret]
    content-type: multipart/form-data; boundary=BETWEEN

    --BETWEEN
    Content-Disposition: form-data; name="file"; filename="image.png"
    Content-Type: image/png

    an image
    --BETWEEN
    Content-Disposition: form-data; name="description"

    A chart
    --BETWEEN--


    POST /api/v2/media
    authorization: Bearer [secret]
    content-type: multipart/form-data; boundary=BETWEEN

    --BETWEEN
    Content-Disposition: form-data; name="file"; filename="image.png"
    Content-Type: image/png

    an image
    --BETWEEN--


    GET /api/v1/media/8
    authorization: Bearer [secret]



    GET /api/v1/media/8
    authorization: Bearer [secret]



    POST /api/v2/media
    authorization: Bearer [secret]
    content-type: multipart/form-data; boundary=BETWEEN

    --BETWEEN
    Content-Disposition: form-data; name="file"; filename="image.png"
    Content-Type: image/png

    an image
    --BETWEEN--


    GET /api/v1/media/9
    authorization: Bearer [secret]
    "#);
    let ready = client.prepare(account.with(&secret), &post, kept.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(kept.clone()));
    assert_eq!(responder.take_requests(), "", "what is ready is not asked for");
    let ids: Vec<String> = kept
        .read::<Uploads<Upload>>()
        .unwrap()
        .unwrap()
        .media
        .into_iter()
        .map(|media| media.id)
        .collect();
    assert_eq!(ids, ["7", "9"]);
}

#[tokio::test]
async fn an_image_that_the_server_cannot_read_stays_wrong() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image("")], ..post() };
    let refused = json!({ "error": "Validation failed: File content type is invalid" });
    responder.answer_with(Reply::new(422, refused.to_string()));
    let error = client.prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap_err();
    assert_eq!(error.class(), INVALID);
    assert!(error.to_string().contains("File content type is invalid"), "{error}");
}

const STATUSES: &str = include_str!("fixtures/statuses.json");
const NEXT: &str = "<https://elsewhere.example/api/v1/accounts/103641/statuses?limit=40&max_id=103270115826048975>; \
    rel=\"next\", <https://social.example/api/v1/accounts/103641/statuses?min_id=108880211901672326>; rel=\"prev\"";

#[tokio::test]
async fn what_an_account_has_is_read_as_mastodon_documents_it() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, STATUSES).header("link", NEXT));
    let page = client.posts(account.with(&secret), Some("109")).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("103270115826048975"));
    assert_eq!(page.posts[0].text, "@bob Yes");
    assert_eq!(
        page.posts[1].text,
        "\"I lost my inheritance with one wrong digit on my sort code\"\n\n\
         https://news.example/money/2019/dec/07/i-lost-my-193000-inheritance"
    );
    assert_eq!(page.posts[1].created_at, Some("2019-12-08T03:48:33.901Z".parse().unwrap()));
    responder.answer_with(Reply::new(200, STATUSES));
    assert_eq!(client.posts(account.with(&secret), None).await.unwrap().next, None);

    let ids: Vec<String> = (0..21).map(|id| id.to_string()).collect();
    let numbers = client.numbers(account.with(&secret), &ids).await.unwrap();
    let of = Numbers { likes: Some(112), reposts: Some(98), replies: Some(7), views: None };
    assert_eq!(numbers[0], ("108880211901672326".to_owned(), of));
    assert_eq!(numbers.len(), 4, "two answers: a server gives so many at once");
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /api/v1/accounts/103641/statuses?limit=40&exclude_reblogs=true&max_id=109
    authorization: Bearer [secret]



    GET /api/v1/accounts/103641/statuses?limit=40&exclude_reblogs=true
    authorization: Bearer [secret]



    GET /api/v1/statuses?id%5B%5D=0&id%5B%5D=1&id%5B%5D=2&id%5B%5D=3&id%5B%5D=4&id%5B%5D=5&id%5B%5D=6&id%5B%5D=7&id%5B%5D=8&id%5B%5D=9&id%5B%5D=10&id%5B%5D=11&id%5B%5D=12&id%5B%5D=13&id%5B%5D=14&id%5B%5D=15&id%5B%5D=16&id%5B%5D=17&id%5B%5D=18&id%5B%5D=19
    authorization: Bearer [secret]



    GET /api/v1/statuses?id%5B%5D=20
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn a_status_is_known_by_its_text() {
    let responder = Responder::start().await;
    let (client, account, secret) = (client(), known(&responder), SecretString::from(SECRET));
    let since: Timestamp = "2019-12-08T03:48:00Z".parse().unwrap();
    let told = |text: &str, since: Timestamp, others: Others| {
        let (client, account, secret) = (&client, &account, &secret);
        let reply_to = text.starts_with("@bob").then(|| "108880209317577809".to_owned());
        let post = Outgoing { text: text.to_owned(), reply_to, ..post() };
        async move {
            let until = since.after(Duration::from_secs(4 * 365 * 24 * 3_600));
            let sought = Sought { others: &others, ..Sought::alone(since, until) };
            let told =
                client.reconcile(account.with(secret), &post, &Prepared::NOTHING, sought).await;
            told.unwrap()
        }
    };
    responder.answer_with(Reply::new(200, STATUSES));
    let none = Others::default;
    let found = told("@bob@other.example Yes", since, none()).await;
    let Reconciled::Alike(found) = found else { panic!("{found:?}") };
    assert_eq!(found.remote_id, "108880211901672326");
    assert_eq!(
        found.remote_url.as_deref(),
        Some("https://social.example/@alice/108880211901672326")
    );
    let old = "\"I lost my inheritance with one wrong digit on my sort code\"\n\
               https://news.example/money/2019/dec/07/i-lost-my-193000-inheritance";
    assert!(matches!(told(old, since, none()).await, Reconciled::Alike(_)));
    let later = since.after(Duration::from_secs(3_600));
    let theirs = || Others { ids: [found.remote_id.clone()].into(), texts: Vec::new() };
    assert_eq!(told(old, later, theirs()).await, Reconciled::Absent, "another one, from before");
    let unsure = told("Something else", since, theirs()).await;
    assert!(matches!(unsure, Reconciled::Unsure(_)), "one that reads differently: {unsure:?}");
    // As many pages as are looked through, and no end.
    responder.answer_with(Reply::new(200, STATUSES).header("link", NEXT));
    responder.take_requests();
    let unsure = told("Something else", since.before(Duration::from_secs(1_000)), none()).await;
    assert!(matches!(unsure, Reconciled::Unsure(_)), "{unsure:?}");
    assert_eq!(responder.take_requests().matches("GET ").count(), PAGES_MAX);
    let wordless = r#"[{"id":"1","content":"","created_at":"2026-01-01T00:00:00Z"}]"#;
    responder.answer_with(Reply::new(200, wordless));
    let since = "2026-01-01T00:00:00Z".parse().unwrap();
    assert!(matches!(told("", since, none()).await, Reconciled::Unsure(_)));
}

#[test]
fn what_mastodon_does_not_take_is_refused_before_it_sees_it() {
    let most = Most {
        text: (500, "characters as Mastodon counts them"),
        images: 4,
        kinds: &ImageKind::ALL,
        bytes: 16_777_216,
        alt: (1_500, "characters"),
        replies: true,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let (fits, long) = ("x".repeat(475), "x".repeat(476));
    let link = Some("https://example.org/an/address/that/counts/as/twenty/three");
    let of_text = |text| Draft { text, link, ..Draft::default() };
    assert_eq!(DESCRIPTOR.limits.check("mastodon", &of_text(&fits)), Ok(()));
    let (field, words) = refused(&DESCRIPTOR, &of_text(&long));
    assert_eq!(field, "/text");
    assert_eq!(
        words,
        "the text with the link's address has 501 characters as Mastodon counts them; mastodon takes \
         at most 500"
    );
    let among_others = shows(vec![image_of(ImageKind::Png), image_of(ImageKind::Gif)]);
    let (field, words) = refused(&DESCRIPTOR, &among_others);
    assert_eq!(field, "/images/1");
    assert_eq!(words, "image 2 is a GIF; mastodon takes one only as the one image of a post");
}
