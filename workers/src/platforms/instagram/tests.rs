//! What the client of Instagram sends, and what it makes of answers that are made after those that
//! Meta's pages print.

mod containers;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::ErrorClass;
use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::platforms::http::HttpOptions;
use crate::platforms::limits::testing::{Most, image as image_of, refused, shows};
use crate::platforms::meta::testing::{image, link, oauth, prepare, ready, sent};
use crate::platforms::oauth::Consent;
use crate::platforms::responder::{Reply, Responder, SECRET, post};
use crate::platforms::{
    Account, Draft, DraftImage, Image, NetworkPolicy, Outgoing, Platform as _, Preparation,
    Prepared, Reconciled, Sought,
};

const ACCOUNT: &str = "17841405793187218";
const FINISHED: &str = r#"{"status_code":"FINISHED","status":"Finished: Media has been uploaded and it is ready to be published.","id":"17889615691921648"}"#;
const PERMALINK: &str =
    r#"{"permalink":"https://www.instagram.com/p/D4/","id":"17918195224117851"}"#;

fn client() -> InstagramClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    InstagramClient::new(&options, SystemClock::shared()).unwrap()
}

fn account(responder: &Responder) -> Account {
    Account { remote_id: Some(ACCOUNT.into()), ..responder.account() }
}

fn id(id: &str) -> Reply {
    Reply::new(200, format!(r#"{{"id":"{id}"}}"#))
}

fn status(code: &str) -> Reply {
    Reply::new(200, format!(r#"{{"status_code":"{code}","id":"17889615691921648"}}"#))
}

fn with_image() -> Outgoing {
    Outgoing { images: vec![image(ImageKind::Jpeg, "A cat")], ..post() }
}

#[tokio::test]
async fn posts_numbers_and_the_account_are_read() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    responder.answer_with(Reply::new(200, include_str!("fixtures/media.json")));
    let page = client().posts(account.with(&secret), None).await.unwrap();
    assert_eq!((page.posts.len(), page.next.as_deref()), (2, Some("QVFIUkE")));
    assert_eq!((page.posts[0].text.as_str(), page.posts[1].text.as_str()), ("Hello", ""));

    let ids: Vec<String> = page.posts.iter().map(|post| post.remote_id.clone()).collect();
    let numbers = client().numbers(account.with(&secret), &ids).await.unwrap();
    let first = Numbers { likes: Some(14), replies: Some(3), ..Numbers::default() };
    let hidden = Numbers { replies: Some(0), ..Numbers::default() };
    assert_eq!(numbers, [(ids[0].clone(), first), (ids[1].clone(), hidden)]);
    let person =
        r#"{"name":"","username":"ada","biography":"About me","followers_count":9,"id":"1"}"#;
    responder.answer_with(Reply::new(200, person));
    let profile = client().profile(account.with(&secret)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("ada"));
    assert_eq!((profile.description.as_deref(), profile.followers), (Some("About me"), Some(9)));
    insta::assert_snapshot!(sent(&responder), @r"
    GET /v25.0/17841405793187218/media?fields=id%2Ccaption%2Ctimestamp&limit=25&access_token=[secret]

    GET /v25.0/17841405793187218/media?fields=id%2Clike_count%2Ccomments_count&limit=100&access_token=[secret]

    GET /v25.0/me?fields=name%2Cusername%2Cbiography%2Cfollowers_count&access_token=[secret]
    ");
}

#[tokio::test]
async fn a_consent_becomes_a_token_of_sixty_days_that_renews_itself() {
    let responder = Responder::start().await;
    let oauth = oauth(&DESCRIPTOR, &responder);
    let who = r#"{"id":"24521613984110254","user_id":"17841405793187218","username":"ada"}"#;
    let long = r#"{"access_token":"s3cr3t-long","token_type":"bearer","expires_in":5183944}"#;
    // As the page prints it, and as other clients have met it.
    let short = r#"{"data":[{"access_token":"s3cr3t-short","user_id":"1020","permissions":"instagram_business_basic"}]}"#;
    let flat = r#"{"access_token":"s3cr3t-short","user_id":1020,"permissions":["instagram_business_basic"]}"#;
    for short in [short, flat] {
        sent(&responder);
        responder.answer_in_turn([
            Reply::new(200, short),
            Reply::new(200, long),
            Reply::new(200, who),
        ]);
        let (code, verifier) = (SecretString::from("the-code"), SecretString::from(SECRET));
        let redirect_uri = "https://app.example/api/oauth/instagram/callback";
        let consent = Consent { code: &code, verifier: &verifier, redirect_uri, target: None };
        let granted = client().exchange_code(&oauth, consent).await.unwrap();
        assert_eq!(granted.tokens.access.expose_secret(), "s3cr3t-long");
        assert_eq!(granted.tokens.refresh.unwrap().expose_secret(), "s3cr3t-long");
        let life = granted.tokens.expires_at.unwrap().since(SystemClock.now()).as_secs();
        assert!((5_183_900..=5_183_944).contains(&life), "{life}");
        assert_eq!(granted.tokens.remote_id.as_deref(), Some(ACCOUNT));
        assert_eq!(granted.name.as_deref(), Some("ada"));
    }
    insta::assert_snapshot!(sent(&responder), @r"
    POST /token
    content-type: application/x-www-form-urlencoded

    grant_type=authorization_code&code=the-code&code_verifier=[secret]&redirect_uri=https%3A%2F%2Fapp.example%2Fapi%2Foauth%2Finstagram%2Fcallback&client_id=us&client_secret=0ur-s3cret

    GET /token/access_token?grant_type=ig_exchange_token&access_token=s3cr3t-short&client_secret=0ur-s3cret

    GET /token/v25.0/me?fields=id%2Cuser_id%2Cusername&access_token=s3cr3t-long
    ");
}

#[tokio::test]
async fn a_token_gets_the_next_one_itself() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let long = r#"{"access_token":"s3cr3t-next","token_type":"bearer","expires_in":5183944}"#;
    responder.answer_with(Reply::new(200, long));
    let set = client().refresh(&account, &secret).await.unwrap();
    assert_eq!(set.refresh.unwrap().expose_secret(), "s3cr3t-next");
    insta::assert_snapshot!(sent(&responder), @r"
    GET /refresh_access_token?grant_type=ig_refresh_token&access_token=[secret]
    ");
    let ended = r#"{"error":{"message":"Error validating access token: Session has expired","type":"OAuthException","code":190,"error_subcode":463}}"#;
    responder.answer_with(Reply::new(400, ended));
    let error = client().refresh(&account, &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);

    // A token that a person pasted: a day old, and younger.
    let who = |id: &str| Reply::new(200, format!(r#"{{"user_id":"{id}","username":"ada"}}"#));
    responder.answer_in_turn([Reply::new(200, long), who(ACCOUNT)]);
    sent(&responder);
    let set = client().sign_in(&account, &secret).await.unwrap();
    assert_eq!(set.access.expose_secret(), "s3cr3t-next");
    insta::assert_snapshot!(sent(&responder), @r"
    GET /refresh_access_token?grant_type=ig_refresh_token&access_token=[secret]

    GET /v25.0/me?fields=id%2Cuser_id%2Cusername&access_token=s3cr3t-next
    ");
    let young = r#"{"error":{"message":"Unsupported request","type":"IGApiException","code":100}}"#;
    responder.answer_in_turn([Reply::new(400, young), who(ACCOUNT)]);
    let set = client().sign_in(&account, &secret).await.unwrap();
    assert_eq!((set.access.expose_secret(), set.remote_id.as_deref()), (SECRET, Some(ACCOUNT)));
    assert!(set.expires_at.is_some(), "it is renewed before long");
    responder.answer_in_turn([Reply::new(200, long), who("7")]);
    let error = client().sign_in(&account, &secret).await.unwrap_err();
    assert!(error.to_string().contains("another account's, 7"), "{error}");
}

#[tokio::test]
async fn an_image_that_cannot_be_fetched_never_leaves() {
    let responder = Responder::start().await;
    let (account, secret) = (account(&responder), SecretString::from(SECRET));
    let hidden = Image { url: None, ..image(ImageKind::Jpeg, "") };
    let post = Outgoing { images: vec![hidden], ..post() };
    let asked = client().prepare(account.with(&secret), &post, Prepared::NOTHING).await;
    let error = asked.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("fetches images itself"), "{error}");
    assert_eq!(sent(&responder), "", "nothing was sent");
}

#[test]
fn what_instagram_would_not_take_is_refused_with_its_limit() {
    let most = Most {
        text: (2_200, "characters"),
        images: 10,
        kinds: &[ImageKind::Jpeg],
        bytes: 8_000_000,
        alt: (1_000, "characters"),
        replies: false,
    };
    most.is_what_is_taken_by(&DESCRIPTOR);
    let good = image_of(ImageKind::Jpeg);
    let shaped = |width, height| shows(vec![DraftImage { width, height, ..good }]);
    for (width, height) in [(1_080, 1_350), (1_910, 1_000)] {
        assert_eq!(DESCRIPTOR.limits.check("instagram", &shaped(width, height)), Ok(()));
    }
    let hidden = Draft { is_public: false, ..shows(vec![good]) };
    for (draft, field, says) in [
        (shows(vec![]), "/images", "instagram takes no post without an image"),
        (shaped(1_080, 1_351), "/images/0", "has 1080 by 1351 pixels"),
        (shaped(1_919, 1_000), "/images/0", "instagram takes images from 4:5 to 1.91:1"),
        (hidden, "/images/0", "set api.public_url"),
    ] {
        let (of, words) = refused(&DESCRIPTOR, &draft);
        assert_eq!(of, field);
        assert!(words.contains(says), "{words}");
    }
}
