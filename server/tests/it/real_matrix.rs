//! The whole system against a real Matrix server: one that limits its accounts, and one that forgets
//! what it was sent.

use std::slice::from_ref;
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Timestamp;
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::synapse::{Allowance, SynapseOptions, SynapseServer, SynapseUser};
use serde_json::json;

use crate::fleet::{Fleet, LONG, Publication, until};

/// The request that publishes.
const SEND: &str = "/send/m.room.message/";
/// Messages of an account that the server takes at once, of which the room's making takes some.
const AT_ONCE: u32 = 4;
/// It takes another one after each such time: long against what one post takes.
const EACH: Duration = Duration::from_secs(16);
const LIMITED: Allowance = Allowance { burst: AT_ONCE, per_second: 0.0625 };

/// A fleet and a server. Fields are dropped in order: the fleet speaks to the server while it runs.
struct World {
    fleet: Fleet,
    server: SynapseServer,
}

impl World {
    async fn start() -> Self {
        let fleet = Fleet::start().await;
        let options = SynapseOptions { messages: LIMITED, ..SynapseOptions::default() };
        Self { fleet, server: SynapseServer::start_with(options).await }
    }

    /// Connects a new user with a room of its own, behind a proxy that counts what is sent.
    async fn connect(&self, name: &str) -> Member {
        let user = self.server.create_user(name).await;
        let room = self.server.create_room(&user, &json!({ "preset": "public_chat" })).await;
        let proxy = LossyProxy::start(self.server.address()).await;
        let mut member = Member { user, room, proxy, connector: String::new() };
        member.connector = self.connect_again(&member).await;
        member
    }

    /// Connects a user as its owner does; answers the connector's id.
    async fn connect_again(&self, member: &Member) -> String {
        let connector = json!({
            "platform": "matrix",
            "base_url": format!("http://{}", member.proxy.address()),
            "identifier": member.user.user_id,
            "secret": member.user.exposed_password(),
            "target": member.room,
        });
        let created = self.fleet.client.http.post("/api/connectors", &connector).await.expect(201);
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the server has just told these posts' account to wait; answers until when.
    async fn until_told(&self, posts: &[Publication]) -> Timestamp {
        let mut reset = Timestamp::from_millis(0);
        until("the server refuses nothing", LONG, async || {
            for post in posts {
                let why = self.fleet.client.why(&post.job).await;
                if why["reason"] == "account_window" {
                    let eta: Timestamp = why["eta"].as_str().unwrap().parse().unwrap();
                    reset = reset.max(eta);
                }
            }
            // The first wait may be nearly over: the limit counts from when the room was made.
            reset.since(SystemClock.now()) > EACH / 2
        })
        .await;
        assert!(reset.since(SystemClock.now()) <= EACH, "until {reset}");
        reset
    }

    async fn messages(&self, member: &Member) -> Vec<String> {
        let messages = self.server.messages(&member.user, &member.room).await;
        messages.into_iter().map(|message| message.text).collect()
    }
}

/// A user that is connected.
struct Member {
    user: SynapseUser,
    room: String,
    proxy: LossyProxy,
    connector: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_over_a_real_limit_wait_for_its_reset_and_hold_nobody_else_up() {
    const POSTS: usize = 5;
    let world = World::start().await;
    let client = &world.fleet.client;
    // One place, so that nothing else is on its way to the server when it says no.
    let _worker = world.fleet.worker(&["--concurrency", "1"]).await;
    // What an account needs before its first post takes no time that is looked at below.
    let bob = world.connect("bob").await;
    let mut others = client.publish("before", from_ref(&bob.connector)).await;
    client.until_published(&others, LONG).await;
    let alice = world.connect("alice").await;
    let many = client.publish_many(POSTS, from_ref(&alice.connector)).await;
    let reset = world.until_told(&many).await;
    let told = client.jobs("delayed").await;
    assert!(!told.is_empty(), "whoever was refused comes back at its time");
    for job in told {
        let until: Timestamp = job["run_at"].as_str().unwrap().parse().unwrap();
        let wait = until.since(SystemClock.now());
        assert!(wait > Duration::ZERO && wait <= EACH, "{wait:?}: {job}");
        assert_eq!(job["attempt"], 0, "to be told to wait is no failure: {job}");
    }

    others.extend(client.publish_many(2, from_ref(&bob.connector)).await);
    client.until_published(&others, LONG).await;
    assert!(SystemClock.now() < reset, "the other account's posts took until {reset}");
    assert_eq!(bob.proxy.forwarded(SEND), others.len(), "the other account was told to wait, too");
    let out = alice.proxy.forwarded(SEND);

    client.until_published(&many, LONG).await;
    let mut texts = world.messages(&alice).await;
    texts.sort();
    let mut all: Vec<_> = (0..POSTS).map(|n| format!("post {n}")).collect();
    all.sort();
    assert_eq!(texts, all, "each is there once");
    for publication in many.iter().chain(&others) {
        let job = client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "to be told to wait is no failure: {job}");
    }
    // Whoever asks before a reset is refused again: each refusal has brought a post.
    let sent = alice.proxy.forwarded(SEND);
    let refused = sent - POSTS;
    assert!(refused <= POSTS + 1 - out, "{refused} of {sent} requests were refused");
    println!("{POSTS} posts over a limit of {AT_ONCE} at once: {refused} requests were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_whose_key_is_forgotten_is_looked_for_and_not_sent_again() {
    let mut world = World::start().await;
    let alice = world.connect("alice").await;
    alice.proxy.lose(Loss::AnswerSilently, SEND, 1);
    let mut worker = world.fleet.worker(&[]).await;
    let publications = world.fleet.client.publish("Once", from_ref(&alice.connector)).await;
    until("nobody waits for the answer", LONG, async || !alice.proxy.silenced().is_empty()).await;
    worker.kill9().await;
    let sent = world.server.messages(&alice.user, &alice.room).await;

    // The owner signs our device out, and the server's memory goes with its process.
    world.server.end_sessions(&alice.user).await;
    world.server.restart().await;
    assert_eq!(world.connect_again(&alice).await, alice.connector, "it is the same account");
    let _worker = world.fleet.worker(&[]).await;
    world.fleet.client.until_published(&publications, LONG).await;

    assert_eq!(world.server.messages(&alice.user, &alice.room).await, sent);
    assert_eq!(alice.proxy.forwarded(SEND), 1, "it was sent again");
    let path = format!("/api/publications/{}", publications[0].id);
    let publication = world.fleet.client.http.get(&path).await.expect(200);
    assert_eq!(publication["remote_id"], sent[0].event_id);
}
