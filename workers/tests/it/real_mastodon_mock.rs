//! The Mastodon client against a stateful mock of its API that somebody else wrote: each fact that the
//! client leans on and that the mock shows. It is no Mastodon; `docs/platforms/mastodon.md` says where
//! it differs from one.

use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, JobError, Timestamp};
use postworks_workers::platforms::http::{HttpOptions, Timeouts};
use postworks_workers::platforms::mastodon::MastodonClient;
use postworks_workers::platforms::{
    Account, Image, ImageKind, Link, NetworkPolicy, Outgoing, Platform as _, Prepared, Published,
    Reconciled, Sought,
};
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::mastodon_mock::{MastodonMock, USERNAME};
use postworks_workers::testing::publish;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

const STATUSES: &str = "/api/v1/statuses";

/// A mock, its account, and a client.
struct World {
    mock: MastodonMock,
    account: Account,
    token: SecretString,
    client: MastodonClient,
}

impl World {
    async fn start() -> Self {
        let mock = MastodonMock::start().await;
        let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
        let client = MastodonClient::new(&options, SystemClock::shared()).unwrap();
        let mut account = Account {
            connector_id: Uuid::now_v7(),
            base_url: mock.url(),
            identifier: USERNAME.to_owned(),
            remote_id: None,
            target: None,
            signed_in_at: None,
        };
        let token = mock.token();
        let tokens = client.sign_in(&account, &token).await.unwrap();
        account.remote_id = tokens.remote_id;
        Self { mock, account, token, client }
    }

    async fn behind_proxy(&self) -> (LossyProxy, Account) {
        let proxy = LossyProxy::start(self.mock.address()).await;
        let base_url = format!("http://{}", proxy.address()).parse().unwrap();
        (proxy, Account { base_url, ..self.account.clone() })
    }

    async fn publish(&self, post: &Outgoing) -> Result<Published, JobError> {
        publish(&self.client, &self.account, &self.token, post).await
    }

    async fn texts(&self) -> Vec<String> {
        self.mock.statuses().await.into_iter().map(|status| status.text).collect()
    }
}

fn post(text: &str) -> Outgoing {
    Outgoing::of_text(Uuid::now_v7(), text.to_owned(), SystemClock.now())
}

fn class<T: std::fmt::Debug>(result: Result<T, JobError>) -> ErrorClass {
    result.unwrap_err().class()
}

#[tokio::test]
async fn a_status_sent_again_is_the_same_status() {
    let world = World::start().await;
    let post = post("Hello, <world> & all\nof it");
    let first = world.publish(&post).await.unwrap();
    assert_eq!(world.publish(&post).await.unwrap(), first);
    assert_eq!(world.texts().await, [post.text.as_str()]);
    let url = first.remote_url.unwrap();
    assert!(url.ends_with(&first.remote_id), "{url}");
}

#[tokio::test]
async fn eight_at_once_make_one_status() {
    let world = World::start().await;
    let post = post("Once");
    let all = (0..8).map(|_| world.publish(&post));
    let mut ids = Vec::new();
    for result in futures_util::future::join_all(all).await {
        ids.push(result.unwrap().remote_id);
    }
    ids.dedup();
    assert_eq!((ids.len(), world.texts().await.len()), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_and_a_killed_mock_leave_one_status() {
    let mut world = World::start().await;
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Answer, STATUSES, 1);
    let post = post("Did it arrive?");
    let lost = publish(&world.client, &account, &world.token, &post).await;
    assert_eq!(class(lost), ErrorClass::Unknown { repeatable: true });
    assert_eq!(world.texts().await.len(), 1, "it had arrived");

    world.mock.kill().await;
    let refused = world.publish(&post).await;
    assert_eq!(class(refused), ErrorClass::NotSent);
    world.mock.restart().await;
    let again = publish(&world.client, &account, &world.token, &post).await.unwrap();
    let statuses = world.mock.statuses().await;
    assert_eq!(statuses.iter().map(|status| &status.id).collect::<Vec<_>>(), [&again.remote_id]);
}

#[tokio::test]
async fn images_come_with_their_descriptions_and_in_their_order() {
    let world = World::start().await;
    let image = |kind, alt: &str| Image {
        id: Uuid::now_v7(),
        kind,
        bytes: (&b"the mock does not look into it"[..]).into(),
        width: 1,
        height: 1,
        alt: alt.to_owned(),
        url: None,
    };
    let first = world.publish(&post("The question")).await.unwrap();
    let answer = Outgoing {
        images: vec![image(ImageKind::Png, "A \"chart\" of é"), image(ImageKind::Jpeg, "")],
        link: Some(Link {
            url: "https://example.org/page?a=1&b=2".parse().unwrap(),
            title: None,
            description: None,
        }),
        reply_to: Some(first.remote_id.clone()),
        ..post("The answer")
    };
    world.publish(&answer).await.unwrap();
    let newest = world.mock.statuses().await.remove(0);
    assert_eq!(newest.text, "The answer\n\nhttps://example.org/page?a=1&b=2");
    assert_eq!(newest.alts, ["A \"chart\" of é", ""]);
    assert_eq!(newest.in_reply_to, Some(first.remote_id));
}

#[tokio::test]
async fn a_status_that_is_looked_for_is_found_or_it_is_not_there() {
    let world = World::start().await;
    let post = Outgoing {
        link: Some(Link {
            url: "https://example.org/page?a=1&b=2".parse().unwrap(),
            title: None,
            description: None,
        }),
        ..post("Is <it> there, @testuser?\n\nOr not & so on")
    };
    let since = SystemClock.now();
    let look = async |since: Timestamp| {
        let (nothing, sought) = (Prepared::NOTHING, Sought::alone(since, since));
        world
            .client
            .reconcile(world.account.with(&world.token), &post, &nothing, sought)
            .await
            .unwrap()
    };
    assert_eq!(look(since).await, Reconciled::Absent);
    let published = world.publish(&post).await.unwrap();
    // Two pages before it.
    for number in 0..45 {
        world.publish(&self::post(&format!("Another one, {number}"))).await.unwrap();
    }
    assert_eq!(look(since).await, Reconciled::Alike(published));
    let later = SystemClock.now().after(Duration::from_secs(120));
    assert_eq!(look(later).await, Reconciled::Absent, "it is older than that");
}

#[tokio::test]
async fn statuses_are_read_newest_first_in_pages_with_their_numbers() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for number in 0..50 {
        ids.push(world.publish(&post(&format!("Status {number}"))).await.unwrap().remote_id);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let page = world.client.posts(world.account.with(&world.token), cursor.as_deref()).await;
        let page = page.unwrap();
        seen.extend(page.posts);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(
        seen.iter().map(|status| &status.remote_id).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(seen[49].text, "Status 0");
    assert!(seen[49].created_at.is_some());

    ids.push("1".to_owned());
    let numbers = world.client.numbers(world.account.with(&world.token), &ids).await.unwrap();
    assert_eq!(numbers.len(), 50, "one is not there");
    assert_eq!((numbers[0].1.likes, numbers[0].1.views), (Some(0), None));
    let profile = world.client.profile(world.account.with(&world.token)).await.unwrap();
    assert_eq!(profile.display_name.as_deref(), Some("Test User"));
}

#[tokio::test]
async fn a_text_over_the_limit_is_refused_and_says_so() {
    let world = World::start().await;
    let error = world.publish(&post(&"x".repeat(501))).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("Text is too long"), "{error}");
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test]
async fn a_limit_says_until_when() {
    let world = World::start().await;
    world.mock.fault("POST", STATUSES, json!({ "type": "ratelimit" }), 1).await;
    let error = world.publish(&post("Too many")).await.unwrap_err();
    let ErrorClass::RateLimited { until, .. } = error.class() else { panic!("{error:?}") };
    let wait = until.since(SystemClock.now());
    assert!(wait > Duration::from_secs(280) && wait <= Duration::from_secs(301), "{wait:?}");
    world.publish(&post("Too many")).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_none_needs_a_person() {
    let world = World::start().await;
    let wrong = SecretString::from("wr0ng-token");
    let error = world.client.sign_in(&world.account, &wrong).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(!error.chain().contains("wr0ng"), "{}", error.chain());
    let used = publish(&world.client, &world.account, &wrong, &post("Whose?")).await;
    assert_eq!(class(used), ErrorClass::AuthExpired, "the pasted one is tried again first");
    let stranger = Account { remote_id: Some("1".to_owned()), ..world.account.clone() };
    let error = world.client.sign_in(&stranger, &world.token).await;
    assert_eq!(class(error), ErrorClass::AuthRevoked, "the token of another account");
}

#[tokio::test]
async fn a_failure_of_the_mock_is_unknown_on_a_publish_and_later_on_a_read() {
    let world = World::start().await;
    let broken = json!({ "type": "status", "status": 503 });
    world.mock.fault("POST", STATUSES, broken.clone(), 1).await;
    let failed = world.publish(&post("Perhaps")).await;
    assert_eq!(class(failed), ErrorClass::Unknown { repeatable: true });
    let path = "/api/v1/accounts/*/statuses";
    world.mock.fault("GET", path, broken, 1).await;
    let read = world.client.posts(world.account.with(&world.token), None).await;
    assert_eq!(class(read), ErrorClass::Transient);

    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let options = options
        .with_timeouts(Timeouts { total: Duration::from_millis(500), ..Timeouts::default() });
    let impatient = MastodonClient::new(&options, SystemClock::shared()).unwrap();
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::AnswerSilently, STATUSES, 1);
    let post = post("Hello?");
    let late = publish(&impatient, &account, &world.token, &post).await;
    assert_eq!(class(late), ErrorClass::Unknown { repeatable: true });
    publish(&world.client, &account, &world.token, &post).await.unwrap();
    assert_eq!(world.texts().await, ["Hello?"]);
}
