//! What the client of Facebook sends, and what it makes of answers that are made after those that
//! Meta's pages print.

use postworks::clock::{Clock as _, SystemClock};

use super::*;
use crate::platforms::limits::testing::{Most, image as image_of, refused};
use crate::platforms::meta::testing::{image, link, oauth, sent};
use crate::platforms::responder::{Reply, Responder, SECRET, post};
use crate::platforms::{Draft, NetworkPolicy, Others};

const PAGE: &str = "546349135390552";
const CREATED: &str = r#"{"id":"546349135390552_1116689038356556"}"#;

fn client() -> FacebookClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    FacebookClient::new(&options, SystemClock::shared()).unwrap()
}

fn account(responder: &Responder) -> Account {
    Account { remote_id: Some(PAGE.into()), ..responder.account() }
}

fn since() -> Sought<'static> {
    let at = "2026-03-01T09:30:30Z".parse().unwrap();
    Sought::alone(at, at)
}

#[tokio::test]
async fn a_post_is_one_request() {
    let responder = Responder::start().await;
    responder.answer_with(Reply::new(200, CREATED));
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let text = post();
    let card = Outgoing { link: Some(link()), ..post() };
    for post in [text, card] {
        let ready =
            client().prepare(account.with(&secret), &post, Prepared::NOTHING).await.unwrap();
        assert_eq!(ready, Preparation::Ready(Prepared::NOTHING));
        let committed =
            client().commit(account.with(&secret), &post, &Prepared::NOTHING).await.unwrap();
        let Committed::Published(published) = committed else { panic!("{committed:?}") };
        assert_eq!(published.remote_id, "546349135390552_1116689038356556");
        let url = "https://www.facebook.com/546349135390552_1116689038356556";
        assert_eq!(published.remote_url.as_deref(), Some(url));
    }
    insta::assert_snapshot!(sent(&responder), @r"
    POST /v25.0/546349135390552/feed
    content-type: application/x-www-form-urlencoded

    message=Hello&access_token=[secret]

    POST /v25.0/546349135390552/feed
    content-type: application/x-www-form-urlencoded

    message=Hello&link=https%3A%2F%2Fexample.org%2Fpage&access_token=[secret]
    ");
}

#[tokio::test]
async fn images_are_uploaded_unseen_and_kept_one_by_one() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let images = vec![image(ImageKind::Png, "A cat"), image(ImageKind::Jpeg, "")];
    let post = Outgoing { link: Some(link()), images, ..post() };

    let mut so_far = Prepared::NOTHING;
    for id in ["1002088839996", "1002088840149"] {
        responder.answer_with(Reply::new(200, format!(r#"{{"id":"{id}"}}"#)));
        let prepared = client().prepare(account.with(&secret), &post, so_far).await.unwrap();
        let Preparation::Waits { so_far: next, until } = prepared else { panic!("{prepared:?}") };
        assert!(until <= SystemClock.now(), "the next is uploaded at once");
        so_far = next;
    }
    let uploads = sent(&responder);
    let boundary = uploads.split("boundary=").nth(1).unwrap().lines().next().unwrap().to_owned();
    let first = uploads.replace(&boundary, "BOUNDARY");
    let first = first.split("\n\nPOST ").next().unwrap().replace('\r', "");
    insta::assert_snapshot!(first.trim_end(), @r#"
    POST /v25.0/546349135390552/photos
    content-type: multipart/form-data; boundary=BOUNDARY

    --BOUNDARY
    Content-Disposition: form-data; name="published"

    false
    --BOUNDARY
    Content-Disposition: form-data; name="alt_text_custom"

    A cat
    --BOUNDARY
    Content-Disposition: form-data; name="access_token"

    [secret]
    --BOUNDARY
    Content-Disposition: form-data; name="source"; filename="image.png"
    Content-Type: image/png

    not looked at
    --BOUNDARY--
    "#);
    assert_eq!(uploads.matches("alt_text_custom").count(), 1, "no empty description is sent");

    let ready = client().prepare(account.with(&secret), &post, so_far.clone()).await.unwrap();
    assert_eq!(ready, Preparation::Ready(so_far.clone()));
    assert_eq!(sent(&responder), "", "all are there");

    responder.answer_with(Reply::new(200, CREATED));
    client().commit(account.with(&secret), &post, &so_far).await.unwrap();
    insta::assert_snapshot!(sent(&responder), @r"
    POST /v25.0/546349135390552/feed
    content-type: application/x-www-form-urlencoded

    message=Hello%0A%0Ahttps%3A%2F%2Fexample.org%2Fpage&attached_media%5B0%5D=%7B%22media_fbid%22%3A%221002088839996%22%7D&attached_media%5B1%5D=%7B%22media_fbid%22%3A%221002088840149%22%7D&access_token=[secret]
    ");
}

#[tokio::test]
async fn photos_are_uploaded_again_after_an_hour() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let images = vec![image(ImageKind::Png, ""), image(ImageKind::Jpeg, "")];
    let post = Outgoing { images, ..post() };
    let kept = |minutes: u64| {
        let uploaded_at = SystemClock.now().before(Duration::from_secs(minutes * 60));
        Prepared::of(&Kept { photos: vec!["1".into(), "2".into()], uploaded_at }).unwrap()
    };
    let young = client().prepare(account.with(&secret), &post, kept(59)).await.unwrap();
    assert!(matches!(young, Preparation::Ready(_)));
    responder.answer_with(Reply::new(200, r#"{"id":"3"}"#));
    let asked = client().prepare(account.with(&secret), &post, kept(61)).await.unwrap();
    let Preparation::Waits { so_far, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(so_far.read::<Kept>().unwrap().unwrap().photos, ["3"]);
}

#[tokio::test]
async fn a_post_never_leaves_without_one_of_its_images() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let post = Outgoing { images: vec![image(ImageKind::Png, ""); 2], ..post() };
    let kept = Kept { photos: vec!["1".into()], uploaded_at: SystemClock.now() };
    for prepared in [Prepared::NOTHING, Prepared::of(&kept).unwrap()] {
        let error = client().commit(account.with(&secret), &post, &prepared).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug);
    }
    assert_eq!(sent(&responder), "");
}

#[tokio::test]
async fn a_duplicate_is_said_to_be_there() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let body = r#"{"error":{"message":"Duplicate status message","type":"FacebookApiException","code":506,"error_subcode":1455006}}"#;
    responder.answer_with(Reply::new(400, body));
    let committed =
        client().commit(account.with(&secret), &post(), &Prepared::NOTHING).await.unwrap();
    assert_eq!(committed, Committed::AlreadyThere { remote_id: None });
}

#[tokio::test]
async fn after_an_unknown_outcome_the_pages_posts_are_compared() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/published_posts.json")));
    let ask = async |post: Outgoing, sought| {
        client().reconcile(account.with(&secret), &post, &Prepared::NOTHING, sought).await.unwrap()
    };
    let found = ask(post(), since()).await;
    let Reconciled::Alike(published) = found else { panic!("{found:?}") };
    assert_eq!(published.remote_id, "546349135390552_1116692711689522");
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/546349135390552/published_posts?fields=id%2Cmessage%2Ccreated_time&limit=25&access_token=[secret]
    ");
    let of_old = Outgoing { text: "Hello Fans!".into(), ..post() };
    let others = Others { ids: [published.remote_id].into(), texts: Vec::new() };
    let sought = Sought { others: &others, ..since() };
    assert_eq!(ask(of_old, sought).await, Reconciled::Absent, "that one was there before");
    let of_image = Outgoing { text: String::new(), ..post() };
    assert_eq!(ask(of_image.clone(), sought).await, Reconciled::Absent);
    let [seven, eight] = ["2026-03-01T07:00:00Z", "2026-03-01T08:00:00Z"];
    let earlier = Sought::alone(seven.parse().unwrap(), eight.parse().unwrap());
    assert!(matches!(ask(of_image, earlier).await, Reconciled::Unsure(_)), "any photo could be it");
    let of_all = Sought::alone("2020-01-01T00:00:00Z".parse().unwrap(), eight.parse().unwrap());
    let missing = Outgoing { text: "Elsewhere".into(), ..post() };
    sent(&responder);
    assert!(matches!(ask(missing, of_all).await, Reconciled::Unsure(_)), "there are more pages");
    let asked = sent(&responder);
    let pages: Vec<&str> = asked.lines().filter(|line| line.starts_with("GET")).collect();
    assert_eq!(pages.len(), 8);
    assert!(!pages[0].contains("after="));
    assert!(pages[1..].iter().all(|page| page.contains("&limit=25&after=QVFIUmJ&")), "{pages:?}");
}

#[tokio::test]
async fn posts_numbers_and_the_page_are_read() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/published_posts.json")));
    let page = client().posts(account.with(&secret), Some("QVFIUjJ")).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("QVFIUmJ"));
    let texts: Vec<&str> = page.posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!(texts, ["Hello", "", "Hello Fans!"]);
    assert_eq!(page.posts[0].created_at, Some("2026-03-01T09:31:00Z".parse().unwrap()));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/546349135390552/published_posts?fields=id%2Cmessage%2Ccreated_time&limit=25&after=QVFIUjJ&access_token=[secret]
    ");
    responder.answer_with(Reply::new(200, r#"{"data":[]}"#));
    let page = client().posts(account.with(&secret), Some("QVFIUmJ")).await.unwrap();
    assert_eq!((page.posts.len(), page.next), (0, None), "the last page is empty");

    let ids = ["546349135390552_1116692711689522", "546349135390552_1116691191689674"];
    let gone = "546349135390552_1";
    let ids: Vec<String> = ids.iter().chain([&gone]).map(|&id| id.to_owned()).collect();
    let missing = r#"{"error":{"message":"Unsupported get request. Object with ID '546349135390552_1' does not exist","type":"GraphMethodException","code":100,"error_subcode":33}}"#;
    sent(&responder);
    responder.answer_in_turn([
        Reply::new(200, include_str!("fixtures/figures.json")),
        Reply::new(400, missing),
    ]);
    let numbers = client().numbers(account.with(&secret), &ids).await.unwrap();
    let first = Numbers { likes: Some(7), reposts: Some(3), replies: Some(2), views: None };
    let second = Numbers { likes: Some(0), reposts: Some(0), replies: Some(0), views: None };
    assert_eq!(numbers, [(ids[0].clone(), first), (ids[1].clone(), second)]);
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/546349135390552/published_posts?fields=id%2Creactions.limit%280%29.summary%28total_count%29%2Ccomments.limit%280%29.summary%28total_count%29%2Cshares&limit=100&access_token=[secret]

    GET /v25.0/546349135390552_1?fields=id%2Creactions.limit%280%29.summary%28total_count%29%2Ccomments.limit%280%29.summary%28total_count%29%2Cshares&access_token=[secret]
    ");

    let about =
        r#"{"name":"Name of this Page","about":"What we do","followers_count":12,"id":"1"}"#;
    responder.answer_with(Reply::new(200, about));
    let profile = client().profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Name of this Page"));
    assert_eq!((profile.description.as_deref(), profile.followers), (Some("What we do"), Some(12)));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/546349135390552?fields=name%2Cabout%2Cfollowers_count&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_consent_becomes_the_pages_own_token() {
    let responder = Responder::start().await;
    let oauth = oauth(&DESCRIPTOR, &responder);
    let connect = async |target| {
        responder.answer_in_turn([
            Reply::new(
                200,
                r#"{"access_token":"s3cr3t-short","token_type":"bearer","expires_in":5183}"#,
            ),
            Reply::new(
                200,
                r#"{"access_token":"s3cr3t-long","token_type":"bearer","expires_in":5183944}"#,
            ),
            Reply::new(200, include_str!("fixtures/accounts.json")),
        ]);
        let (code, verifier) = (SecretString::from("the-code"), SecretString::from(SECRET));
        let redirect_uri = "https://app.example/api/oauth/facebook/callback";
        let consent = Consent { code: &code, verifier: &verifier, redirect_uri, target };
        client().exchange_code(&oauth, consent).await
    };
    let granted = connect(Some(PAGE)).await.unwrap();
    assert_eq!(granted.tokens.access.expose_secret(), "s3cr3t-page-two");
    assert_eq!(granted.tokens.remote_id.as_deref(), Some(PAGE));
    assert_eq!((granted.tokens.refresh.is_none(), granted.tokens.expires_at), (true, None));
    assert_eq!(granted.name.as_deref(), Some("Another Page Name"));
    assert_eq!(granted.target.as_deref(), Some(PAGE));
    insta::assert_snapshot!(sent(&responder), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the-code&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Ffacebook%2Fcallback&client_id=us&client_secret=0ur-s3cret

    GET /token/v25.0/oauth/access_token?grant_type=fb_exchange_token&client_id=us&fb_exchange_token=s3cr3t-short&client_secret=0ur-s3cret

    GET /token/v25.0/me/accounts?fields=id%2Cname%2Caccess_token&limit=100&access_token=s3cr3t-long
    ");
    let granted = connect(Some("name of this page")).await.unwrap();
    assert_eq!(granted.target.as_deref(), Some("1353269864728879"));

    let error = connect(None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    let list = "Name of this Page (1353269864728879), Another Page Name (546349135390552)";
    assert!(error.to_string().contains("several Pages"), "{error}");
    assert!(error.to_string().contains(list), "{error}");
    let error = connect(Some("7")).await.unwrap_err();
    assert!(error.to_string().contains("no Page 7") && error.to_string().contains(list), "{error}");
}

#[tokio::test]
async fn a_pasted_token_must_be_the_pages() {
    let responder = Responder::start().await;
    let secret = SecretString::from(SECRET);
    let page = r#"{"id":"546349135390552","name":"Another Page Name","category":"Brand"}"#;
    responder.answer_with(Reply::new(200, page));
    let named = |target: &str| Account { target: Some(target.into()), ..responder.account() };
    let mut asked = Vec::new();
    for account in [responder.account(), named(PAGE), named("another page name")] {
        let set = client().sign_in(&account, &secret).await.unwrap();
        assert_eq!(set.remote_id.as_deref(), Some(PAGE));
        assert_eq!((set.access.expose_secret(), set.refresh.is_none()), (SECRET, true));
        asked.push(sent(&responder));
    }
    asked.dedup();
    insta::assert_snapshot!(asked.join("\n\n"), @r"
    GET /v25.0/me?fields=id%2Cname%2Ccategory&access_token=[secret]
    ");
    let error = client().sign_in(&named("7"), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(
        error.to_string().contains("of the Page Another Page Name (546349135390552), not of 7")
    );

    let person = r#"{"error":{"message":"(#100) Tried accessing nonexisting field (category) on node type (User)","type":"OAuthException","code":100}}"#;
    responder.answer_with(Reply::new(400, person));
    let error = client().sign_in(&responder.account(), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("paste the Page's own token"), "{error}");

    let error = client().refresh(&responder.account(), &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
}

#[test]
fn what_a_page_would_not_take_is_refused_with_its_limit() {
    let most = Most {
        text: (63_206, "characters"),
        images: 10,
        kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Gif],
        bytes: 4_000_000,
        alt: (1_000, "characters"),
        replies: false,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    // Beside images there is no card: then the address is a part of the text.
    let text = "x".repeat(63_206);
    let linked = Draft { text: &text, link: Some("https://example.org/page"), ..Draft::default() };
    assert_eq!(DESCRIPTOR.limits.check("facebook", &linked), Ok(()));
    let shown = Draft { images: vec![image_of(ImageKind::Png)], ..linked };
    let (field, words) = refused(&DESCRIPTOR, &shown);
    assert_eq!(field, "/text");
    assert_eq!(
        words,
        "the text with the link's address has 63232 characters; facebook takes at most 63206"
    );
}
