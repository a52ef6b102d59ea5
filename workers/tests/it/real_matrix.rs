//! The Matrix client against a real homeserver: each fact that the client leans on.

mod content;
mod rooms;

use std::time::Duration;

use http::Method;
use postworks::clock::{Clock, SystemClock};
use postworks::job::{Category, ErrorClass, JobError};
use postworks_workers::platforms::http::{HttpOptions, Timeouts};
use postworks_workers::platforms::matrix::MatrixClient;
use postworks_workers::platforms::{
    Account, Committed, NetworkPolicy, Outgoing, Platform, Preparation, Prepared, Published,
    Reconciled, Sought, TokenSet,
};
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::synapse::{
    Allowance, SynapseMessage, SynapseOptions, SynapseServer, SynapseUser,
};
use serde_json::json;
use uuid::Uuid;

use content::{PNG, with_image};

/// The request that publishes.
const SEND: &str = "/send/m.room.message/";

/// A server, an account on it with a room of its own, and a client.
struct World {
    server: SynapseServer,
    owner: SynapseUser,
    account: Account,
    room: String,
    client: MatrixClient,
}

impl World {
    async fn start() -> Self {
        Self::start_with(SynapseOptions::default()).await
    }

    async fn start_with(options: SynapseOptions) -> Self {
        let server = SynapseServer::start_with(options).await;
        let owner = server.create_user("alice").await;
        let public = json!({ "preset": "public_chat", "room_alias_name": "news" });
        let room = server.create_room(&owner, &public).await;
        let account = account(&server, &owner, &room);
        Self { server, owner, account, room, client: client(Timeouts::default()) }
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

    async fn prepare(&self, tokens: &TokenSet, post: &Outgoing) -> Result<Prepared, JobError> {
        prepare(&self.client, &self.account, tokens, post).await
    }

    async fn publish(&self, tokens: &TokenSet, post: &Outgoing) -> Result<Published, JobError> {
        let prepared = self.prepare(tokens, post).await?;
        commit(&self.client, &self.account, tokens, post, &prepared).await
    }

    async fn messages(&self) -> Vec<SynapseMessage> {
        self.server.messages(&self.owner, &self.room).await
    }
}

/// The account of a user, as it is once it has signed in.
fn account(server: &SynapseServer, user: &SynapseUser, target: &str) -> Account {
    Account {
        connector_id: Uuid::now_v7(),
        base_url: server.url(),
        identifier: user.user_id.clone(),
        remote_id: Some(user.user_id.clone()),
        target: Some(target.to_owned()),
        signed_in_at: Some(SystemClock.now()),
    }
}

fn client(timeouts: Timeouts) -> MatrixClient {
    let policy = NetworkPolicy { allow_loopback: true };
    let options = HttpOptions::new(policy).with_timeouts(timeouts);
    MatrixClient::new(&options, SystemClock::shared()).unwrap()
}

async fn prepare(
    client: &MatrixClient,
    account: &Account,
    tokens: &TokenSet,
    post: &Outgoing,
) -> Result<Prepared, JobError> {
    match client.prepare(account.with(&tokens.access), post, Prepared::NOTHING).await? {
        Preparation::Ready(prepared) => Ok(prepared),
        Preparation::Waits { .. } => panic!("there is nothing to wait for"),
    }
}

async fn commit(
    client: &MatrixClient,
    account: &Account,
    tokens: &TokenSet,
    post: &Outgoing,
    prepared: &Prepared,
) -> Result<Published, JobError> {
    match client.commit(account.with(&tokens.access), post, prepared).await? {
        Committed::Published(published) => Ok(published),
        Committed::AlreadyThere { .. } => panic!("no server says so"),
    }
}

fn post(text: &str) -> Outgoing {
    Outgoing::of_text(Uuid::now_v7(), text.to_owned(), SystemClock.now())
}

fn class<T: std::fmt::Debug>(result: Result<T, JobError>) -> ErrorClass {
    result.unwrap_err().class()
}

#[tokio::test]
async fn a_message_sent_again_is_the_same_message() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = post("Hello, \"world\"");
    let first = world.publish(&tokens, &post).await.unwrap();
    assert_eq!(world.publish(&tokens, &post).await.unwrap(), first);

    let messages = world.messages().await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((&message.event_id, message.text.as_str()), (&first.remote_id, "Hello, \"world\""));
    assert_eq!(
        message.content,
        json!({
            "msgtype": "m.text",
            "body": "Hello, \"world\"",
            "m.mentions": {},
            "org.postworks.publication_id": post.publication_id,
        })
    );
    let url = first.remote_url.unwrap();
    assert!(url.starts_with("https://matrix.to/#/%21"), "{url}");
    assert!(url.ends_with("?via=localhost"), "{url}");
}

#[tokio::test]
async fn eight_at_once_make_one_message() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = post("Once");
    let attempts = (0..8).map(|_| world.publish(&tokens, &post));
    for result in futures_util::future::join_all(attempts).await {
        result.unwrap();
    }
    assert_eq!(world.messages().await.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_and_a_killed_server_leave_one_message() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Answer, SEND, 1);
    let post = post("Did it arrive?");
    let prepared = world.prepare(&tokens, &post).await.unwrap();

    let lost = commit(&world.client, &account, &tokens, &post, &prepared).await;
    assert_eq!(class(lost), ErrorClass::Unknown { repeatable: true });
    let written = world.messages().await;
    assert_eq!(written.len(), 1, "the server had written it");

    world.server.kill().await;
    let down = commit(&world.client, &world.account, &tokens, &post, &prepared).await;
    assert_eq!(class(down), ErrorClass::NotSent);
    world.server.restart().await;
    let published = commit(&world.client, &account, &tokens, &post, &prepared).await.unwrap();
    assert_eq!(published.remote_id, written[0].event_id);
    assert_eq!(world.messages().await, written);
    assert_eq!(proxy.forwarded(SEND), 2);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let world = World::start().await;
    let impatient = client(Timeouts { total: Duration::from_millis(500), ..Timeouts::default() });
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    for path in [SEND, "/messages", "/refresh", "/upload"] {
        proxy.lose(Loss::AnswerSilently, path, 1);
    }
    let post = post("Hello?");
    let prepared = world.prepare(&tokens, &post).await.unwrap();

    let error = commit(&impatient, &account, &tokens, &post, &prepared).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: true });
    assert_eq!(error.category(), Category::Timeout);
    let read = impatient.posts(account.with(&tokens.access), None).await;
    assert_eq!(class(read), ErrorClass::Transient);
    let pictured = with_image(&post, PNG, "");
    let upload = prepare(&impatient, &account, &tokens, &pictured).await;
    assert_eq!(class(upload), ErrorClass::Transient, "an upload is nobody's post");
    let refresh = impatient.refresh(&account, tokens.refresh.as_ref().unwrap()).await;
    assert_eq!(class(refresh), ErrorClass::Transient, "a lost answer disconnects nobody");
}

#[tokio::test]
async fn a_device_that_was_signed_out_forgets_its_keys_and_its_messages_are_found() {
    let mut world = World::start().await;
    let tokens = world.sign_in().await;
    let sought = Sought::alone(SystemClock.now(), SystemClock.now());
    let post = post("Before");
    let prepared = world.prepare(&tokens, &post).await.unwrap();
    let (account, client) = (world.account.clone(), client(Timeouts::default()));
    let reconcile = async |tokens: &TokenSet, post: &Outgoing| {
        client.reconcile(account.with(&tokens.access), post, &prepared, sought).await
    };
    let unsent = reconcile(&tokens, &post).await.unwrap();
    assert!(matches!(unsent, Reconciled::Absent), "{unsent:?}");
    let first = commit(&world.client, &world.account, &tokens, &post, &prepared).await.unwrap();

    world.server.end_sessions(&world.owner).await;
    let anew = world.sign_in().await;
    // Many others came since, so that one page does not hold it.
    for number in 0..20 {
        world.publish(&anew, &self::post(&format!("Noise {number}"))).await.unwrap();
    }
    let found = reconcile(&anew, &post).await.unwrap();
    let Reconciled::There(found) = found else { panic!("{found:?}") };
    assert_eq!(found, first);
    let other = reconcile(&anew, &self::post("Before")).await.unwrap();
    assert!(matches!(other, Reconciled::Absent), "the text alone says nothing: {other:?}");

    // What looking up is for: the key is forgotten, once the server's memory is.
    world.server.restart().await;
    let twice = commit(&world.client, &world.account, &anew, &post, &prepared).await.unwrap();
    assert_ne!(twice.remote_id, first.remote_id);
}

#[tokio::test]
async fn a_message_that_was_removed_is_not_taken_for_one_that_was_never_sent() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let sought = Sought::alone(SystemClock.now(), SystemClock.now());
    let post = post("Regrettable");
    let prepared = world.prepare(&tokens, &post).await.unwrap();
    let sent = commit(&world.client, &world.account, &tokens, &post, &prepared).await.unwrap();
    let path = format!("rooms/{}/redact/{}/1", world.room, sent.remote_id);
    let removed = world.server.ask(&world.owner, Method::PUT, &path, &json!({})).await;
    assert_eq!(removed.0, 200, "{removed:?}");

    let reconcile = async |account: &Account| {
        let access = world.client.sign_in(account, &world.owner.password).await?.access;
        world.client.reconcile(account.with(&access), &post, &prepared, sought).await
    };
    // The server tells the device that sent it what it was sent with.
    let same = reconcile(&world.account).await.unwrap();
    assert!(matches!(&same, Reconciled::There(found) if *found == sent), "{same:?}");
    let other_device = Account { connector_id: Uuid::now_v7(), ..world.account.clone() };
    let unsure = reconcile(&other_device).await.unwrap();
    assert!(matches!(unsure, Reconciled::Unsure(_)), "{unsure:?}");
    let page = world.client.posts(world.account.with(&tokens.access), None).await;
    assert_eq!(page.unwrap().posts, [], "it is no post any more");
}

#[tokio::test]
async fn signing_in_again_keeps_the_device_and_its_keys() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let post = post("Once");
    let first = world.publish(&tokens, &post).await.unwrap();
    let again = world.sign_in().await;
    assert_eq!(world.publish(&again, &post).await.unwrap(), first);

    let devices = world.server.devices(&world.owner).await;
    let [(_, name)] = devices.as_slice() else { panic!("{devices:?}") };
    assert_eq!(name, "Postworks");
    assert_eq!(again.remote_id.as_ref(), Some(&world.owner.user_id));
}

#[tokio::test]
async fn an_expired_token_is_told_apart_and_refreshed() {
    let short = Duration::from_secs(1);
    let world = World::start_with(SynapseOptions { access_lifetime: short, ..Default::default() });
    let world = world.await;
    let tokens = world.sign_in().await;
    assert!(tokens.expires_at.unwrap() <= SystemClock.now().after(short));
    let first = post("In time");
    // Until the token ends by itself, which the server alone decides.
    let error = loop {
        match world.publish(&tokens, &first).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), ErrorClass::AuthExpired);
    assert!(
        error
            .to_string()
            .ends_with("matrix: 401 M_UNKNOWN_TOKEN (soft_logout): Access token has expired"),
        "{error}"
    );

    let refresh = tokens.refresh.as_ref().unwrap();
    let fresh = world.client.refresh(&world.account, refresh).await.unwrap();
    let second = world.publish(&fresh, &first).await.unwrap();
    assert_eq!(world.messages().await.len(), 1, "the device is the same, and so is {second:?}");
    assert_ne!(
        secrecy::ExposeSecret::expose_secret(fresh.refresh.as_ref().unwrap()),
        secrecy::ExposeSecret::expose_secret(refresh),
        "the refresh token rotates"
    );
    // Used up by the first request with its successor.
    let late = world.client.refresh(&world.account, refresh).await;
    assert_eq!(class(late), ErrorClass::AuthRevoked);
}

#[tokio::test]
async fn an_answer_with_new_tokens_that_was_lost_costs_nothing() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Answer, "/refresh", 1);
    let refresh = tokens.refresh.as_ref().unwrap();
    let lost = world.client.refresh(&account, refresh).await;
    assert_eq!(class(lost), ErrorClass::Transient);
    let fresh = world.client.refresh(&account, refresh).await.unwrap();
    world.publish(&fresh, &post("Still here")).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_given_back_is_gone() {
    let world = World::start().await;
    let tokens = world.sign_in().await;
    let refresh = tokens.refresh.as_ref().unwrap();
    assert!(world.client.revoke(&world.account, refresh).await.unwrap());
    assert_eq!(world.server.devices(&world.owner).await, []);
    let error = world.publish(&tokens, &post("Too late")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert_eq!(class(world.client.refresh(&world.account, refresh).await), ErrorClass::AuthRevoked);
    assert_eq!(class(world.client.revoke(&world.account, refresh).await), ErrorClass::AuthRevoked);
}

#[tokio::test]
async fn wrong_credentials_need_a_person() {
    let world = World::start().await;
    let wrong = "wrong horse".into();
    let error = world.client.sign_in(&world.account, &wrong).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked);
    assert!(error.to_string().contains("403 M_FORBIDDEN: Invalid username or password"), "{error}");
    assert!(!error.chain().contains("wrong horse"), "{}", error.chain());
    let nobody = Account { identifier: "nobody".into(), ..world.account.clone() };
    assert_eq!(
        class(world.client.sign_in(&nobody, &world.owner.password).await),
        ErrorClass::AuthRevoked
    );

    let short = Account { identifier: "alice".into(), remote_id: None, ..world.account.clone() };
    let tokens = world.client.sign_in(&short, &world.owner.password).await.unwrap();
    assert_eq!(tokens.remote_id.as_ref(), Some(&world.owner.user_id), "a local part is enough");
    let stranger = Account { remote_id: Some("@other:localhost".into()), ..short };
    let other = world.client.sign_in(&stranger, &world.owner.password).await;
    assert_eq!(class(other), ErrorClass::AuthRevoked, "tokens of another account are refused");

    let garbage = TokenSet { access: "garbage".into(), ..tokens };
    assert_eq!(class(world.publish(&garbage, &post("x")).await), ErrorClass::AuthRevoked);
    let garbage = world.client.refresh(&world.account, &"garbage".into()).await;
    assert_eq!(class(garbage), ErrorClass::AuthRevoked);
    let body = json!({ "auth": {
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": world.owner.user_id },
        "password": world.owner.exposed_password(),
    }});
    let gone = world.server.ask(&world.owner, Method::POST, "account/deactivate", &body).await;
    assert_eq!(gone.0, 200, "{gone:?}");
    let deactivated = world.client.sign_in(&world.account, &world.owner.password).await;
    assert_eq!(class(deactivated), ErrorClass::AuthRevoked);
}

#[tokio::test]
async fn a_real_rate_limit_says_until_when() {
    // It counts from when the room was made: long enough that this is not over before the refusal.
    let slow = Allowance { burst: 5, per_second: 0.01 };
    let world = World::start_with(SynapseOptions { messages: slow, ..Default::default() }).await;
    let tokens = world.sign_in().await;
    let limited = async {
        loop {
            if let Err(error) = world.publish(&tokens, &post("Again")).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), limited).await.unwrap();
    let ErrorClass::RateLimited { until, .. } = error.class() else { panic!("{error:?}") };
    let wait = until.since(SystemClock.now());
    assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(101), "{wait:?}");
    assert!(error.to_string().contains("429 M_LIMIT_EXCEEDED"), "{error}");
}
