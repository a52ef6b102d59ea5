//! The Bluesky client against a real server: each fact that the client leans on.

mod rich;

use std::time::Duration;

use postworks::clock::{Clock, SystemClock};
use postworks::job::{Category, ErrorClass, JobError, Timestamp};
use postworks_workers::platforms::bluesky::BlueskyClient;
use postworks_workers::platforms::http::{HttpOptions, Timeouts};
use postworks_workers::platforms::{
    Account, NetworkPolicy, Outgoing, Platform, Profile, Published, TokenSet,
};
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::pds::{PdsAccount, PdsRecord, PdsServer};
use postworks_workers::testing::publish;
use uuid::Uuid;

const PUT: &str = "putRecord";

/// A server, one account on it, and a client.
struct World {
    server: PdsServer,
    owner: PdsAccount,
    account: Account,
    client: BlueskyClient,
}

impl World {
    async fn start() -> Self {
        let server = PdsServer::start().await;
        let owner = server.create_account("alice.test").await;
        let account = Account {
            connector_id: Uuid::now_v7(),
            base_url: server.url(),
            identifier: owner.handle.clone(),
            remote_id: Some(owner.did.clone()),
            target: None,
            signed_in_at: None,
        };
        Self { server, owner, account, client: client(Timeouts::default()) }
    }

    async fn sign_in(&self) -> TokenSet {
        self.client.sign_in(&self.account, &self.owner.password).await.unwrap()
    }

    /// The account as it is reached through a proxy.
    async fn behind_proxy(&self) -> (LossyProxy, Account) {
        let proxy = LossyProxy::start(self.server.address()).await;
        let base_url = format!("http://{}", proxy.address()).parse().unwrap();
        (proxy, Account { base_url, ..self.account.clone() })
    }

    async fn publish(&self, tokens: &TokenSet, post: &Outgoing) -> Result<Published, JobError> {
        publish(&self.client, &self.account, &tokens.access, post).await
    }

    async fn records(&self) -> Vec<PdsRecord> {
        self.server.records(&self.owner.did).await
    }
}

fn client(timeouts: Timeouts) -> BlueskyClient {
    let policy = NetworkPolicy { allow_loopback: true };
    let options = HttpOptions::new(policy).with_timeouts(timeouts);
    BlueskyClient::new(&options, SystemClock::shared()).unwrap()
}

fn post(text: &str) -> Outgoing {
    let created_at = "2026-03-01T09:30:00.250Z".parse().unwrap();
    Outgoing::of_text(Uuid::now_v7(), text.to_owned(), created_at)
}

fn class<T: std::fmt::Debug>(result: Result<T, JobError>) -> ErrorClass {
    result.unwrap_err().class()
}

#[tokio::test]
async fn a_post_sent_again_is_the_same_post() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = post("Hello, world");
    let first = world.publish(&tokens, &post).await.unwrap();
    let record = world.records().await.remove(0);
    assert_eq!(world.publish(&tokens, &post).await.unwrap(), first);

    assert_eq!(world.records().await, [record], "one record, with the same content hash");
    let key = first.remote_id.rsplit('/').next().unwrap();
    let did = &world.owner.did;
    assert_eq!(first.remote_id, format!("at://{did}/app.bsky.feed.post/{key}"));
    assert_eq!(
        first.remote_url.as_deref(),
        Some(format!("https://bsky.app/profile/{did}/post/{key}").as_str())
    );
}

#[tokio::test]
async fn eight_at_once_make_one_post() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = post("Once");
    let attempts = (0..8).map(|_| world.publish(&tokens, &post));
    for result in futures_util::future::join_all(attempts).await {
        result.unwrap();
    }
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_and_a_killed_server_leave_one_post() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Answer, PUT, 1);
    let post = post("Did it arrive?");

    let lost = publish(&world.client, &account, &tokens.access, &post).await;
    assert_eq!(class(lost), ErrorClass::Unknown { repeatable: true });
    let written = world.records().await;
    assert_eq!(written.len(), 1, "the server had written it");

    world.server.kill().await;
    world.server.restart().await;
    let published = publish(&world.client, &account, &tokens.access, &post).await.unwrap();
    assert_eq!(published.remote_id, written[0].uri);
    assert_eq!(world.records().await, written);
    assert_eq!(proxy.forwarded(PUT), 2);
}

#[tokio::test]
async fn a_lost_request_looks_the_same_and_is_repeated_as_well() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Request, PUT, 1);
    let post = post("Did it leave?");

    let lost = publish(&world.client, &account, &tokens.access, &post).await;
    assert_eq!(class(lost), ErrorClass::Unknown { repeatable: true });
    assert_eq!(proxy.forwarded(PUT), 0);
    publish(&world.client, &account, &tokens.access, &post).await.unwrap();
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let world = World::start().await;
    let impatient = client(Timeouts { total: Duration::from_millis(500), ..Timeouts::default() });
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    for path in [PUT, "listRecords", "refreshSession"] {
        proxy.lose(Loss::AnswerSilently, path, 1);
    }

    let sending = publish(&impatient, &account, &tokens.access, &post("Hello?")).await;
    let error = sending.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: true });
    assert_eq!(error.category(), Category::Timeout);
    assert_eq!(error.to_string(), "publishing on bluesky: no answer within 500ms");
    let read = impatient.posts(account.with(&tokens.access), None).await;
    assert_eq!(class(read), ErrorClass::Transient);
    let refresh = impatient.refresh(&account, tokens.refresh.as_ref().unwrap()).await;
    assert_eq!(class(refresh), ErrorClass::Transient, "a lost answer disconnects nobody");
}

#[tokio::test]
async fn an_expired_token_is_told_apart_and_refreshed() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let now = SystemClock.now();
    let end = tokens.expires_at.unwrap();
    assert!(end > now.after(Duration::from_secs(3600)), "the token ends at {end}");
    assert_eq!(tokens.remote_id.as_ref(), Some(&world.owner.did));

    let expired =
        world.server.expired_access(&world.owner.did, now.before(Duration::from_secs(60)));
    let old = TokenSet { access: expired, ..tokens.clone() };
    let error = world.publish(&old, &post("Too late")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthExpired);
    assert_eq!(error.to_string(), "publishing on bluesky: 400 ExpiredToken: Token has expired");

    let refresh = tokens.refresh.as_ref().unwrap();
    let fresh = world.client.refresh(&world.account, refresh).await.unwrap();
    world.publish(&fresh, &post("In time")).await.unwrap();
    // The server permits this for two hours, so a lost answer does not lose the account.
    world.client.refresh(&world.account, refresh).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_given_back_is_gone() {
    let world = World::start().await;
    let (tokens, other) = (world.sign_in().await, world.sign_in().await);
    let refresh = tokens.refresh.as_ref().unwrap();
    for _ in 0..2 {
        // Given back twice, it is as gone.
        let revoked = world.client.revoke(&world.account, refresh).await;
        assert!(revoked.unwrap_or(false), "the server does not end it");
    }
    assert_eq!(class(world.client.refresh(&world.account, refresh).await), ErrorClass::AuthRevoked);
    // Sessions are each their own.
    world.client.refresh(&world.account, other.refresh.as_ref().unwrap()).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_need_a_person() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let wrong = "wrong horse".into();
    let error = world.client.sign_in(&world.account, &wrong).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(!error.chain().contains("wrong horse"), "{}", error.chain());

    let no_refresh_token = world.client.refresh(&world.account, &tokens.access).await;
    assert_eq!(class(no_refresh_token), ErrorClass::AuthRevoked);
    let garbage = TokenSet { access: "e30.e30.e30".into(), ..tokens };
    // An access token is renewed, whatever is wrong with it.
    assert_eq!(class(world.publish(&garbage, &post("x")).await), ErrorClass::AuthExpired);

    let stranger = Account { remote_id: Some("did:plc:other".into()), ..world.account.clone() };
    let other = world.client.sign_in(&stranger, &world.owner.password).await;
    assert_eq!(class(other), ErrorClass::AuthRevoked, "tokens of another account are refused");
}

#[tokio::test]
async fn a_text_over_the_servers_limit_is_invalid() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let error = world.publish(&tokens, &post(&"x".repeat(301))).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("InvalidRequest"), "{error}");
    assert_eq!(world.records().await, []);
}

#[tokio::test]
async fn another_record_in_the_same_place_is_not_overwritten() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let first = post("The first");
    let other = Outgoing { text: "Another".into(), ..first.clone() };
    world.publish(&tokens, &first).await.unwrap();
    let error = world.publish(&tokens, &other).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("another record is there: at://"), "{error}");

    // The same text with other details: ours, from an older release for instance.
    let detail = first.created_at.after(Duration::from_millis(1));
    let again = Outgoing { created_at: detail, ..first };
    world.publish(&tokens, &again).await.unwrap();
    let texts: Vec<_> = world.records().await.into_iter().map(|record| record.text).collect();
    assert_eq!(texts, ["The first"]);
}

#[tokio::test]
async fn a_server_that_is_down_was_sent_nothing() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    world.server.kill().await;
    let error = world.publish(&tokens, &post("Anybody?")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotSent);
    world.server.restart().await;
    world.publish(&tokens, &post("Anybody?")).await.unwrap();
}

#[tokio::test]
async fn posts_are_read_newest_first_in_pages() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let start: Timestamp = "2026-03-01T09:30:00Z".parse().unwrap();
    for number in 0..60 {
        let created_at = start.after(Duration::from_secs(number));
        let post = Outgoing { created_at, ..post(&format!("Post {number}")) };
        world.publish(&tokens, &post).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let page = world.client.posts(world.account.with(&tokens.access), cursor.as_deref()).await;
        let page = page.unwrap();
        seen.extend(page.posts);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let texts: Vec<_> = seen.iter().map(|post| post.text.clone()).collect();
    let expected: Vec<_> = (0..60).rev().map(|number| format!("Post {number}")).collect();
    assert_eq!(texts, expected);
    assert_eq!(seen[59].created_at, Some(start));
}

#[tokio::test]
async fn an_account_that_has_no_profile_says_nothing_of_itself() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let profile = world.client.profile(world.account.with(&tokens.access)).await.unwrap();
    assert_eq!(profile, Profile::default());
}

#[tokio::test]
async fn a_real_rate_limit_says_until_when() {
    let world = World::start().await;
    // 30 sessions in 5 minutes; one more than that is refused.
    let limited = async {
        loop {
            let session = world.client.sign_in(&world.account, &world.owner.password).await;
            if let Err(error) = session {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), limited).await.unwrap();
    let ErrorClass::RateLimited { until, .. } = error.class() else { panic!("{error:?}") };
    let wait = until.since(SystemClock.now());
    assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(300), "{wait:?}");
}
