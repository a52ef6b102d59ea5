//! The whole system against a real blog whose password is wrong, or is taken back: posts wait for the
//! account's owner, and none is lost or published twice.

use std::collections::BTreeMap;
use std::slice::from_ref;

use postworks_workers::testing::wordpress::{WordPressAccount, WordPressServer};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::fleet::{Fleet, LONG, Publication, until};

/// Nobody's password.
const WRONG: &str = "wrong horse";

/// Fields are dropped in order: the fleet speaks to the blog while it runs.
struct World {
    fleet: Fleet,
    blog: WordPressServer,
    owner: WordPressAccount,
}

impl World {
    async fn start() -> Self {
        let fleet = Fleet::start().await;
        let blog = WordPressServer::start().await;
        let owner = blog.create_account("alice").await;
        Self { fleet, blog, owner }
    }

    /// Connects the account with this password; answers the connector's id.
    async fn connect(&self, password: &str) -> String {
        let connector = json!({
            "platform": "wordpress",
            "base_url": self.blog.url(),
            "identifier": self.owner.login,
            "secret": password,
        });
        let created = self.fleet.client.http.post("/api/connectors", &connector).await.expect(201);
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until so many jobs wait for the account's owner.
    async fn until_parked(&self, jobs: usize) {
        until("the jobs are not parked", LONG, async || {
            self.fleet.client.jobs("parked").await.len() == jobs
        })
        .await;
    }

    async fn connector_state(&self, id: &str) -> Value {
        let list = self.fleet.client.http.get("/api/connectors").await.expect(200);
        let mut rows = list["items"].as_array().expect("a list").iter();
        rows.find(|row| row["id"] == id).expect("the connector is listed")["state"].clone()
    }

    /// Fails the test unless these are published, each once, and nothing else is on the blog.
    async fn must_have_each_once(&self, publications: &[Publication]) {
        self.fleet.client.until_published(publications, LONG).await;
        let mut copies = BTreeMap::new();
        for post in self.blog.posts().await {
            let id = post.id.to_string();
            *copies.entry((post.status, id)).or_insert(0) += 1;
        }
        let mut once = BTreeMap::new();
        for publication in publications {
            let path = format!("/api/publications/{}", publication.id);
            let told = self.fleet.client.http.get(&path).await.expect(200);
            let id = told["remote_id"].as_str().expect("an id").to_owned();
            once.insert(("publish".to_owned(), id), 1);
        }
        assert_eq!(copies, once);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_behind_a_wrong_password_wait_for_the_right_one_and_are_there_once() {
    let world = World::start().await;
    let connector = world.connect(WRONG).await;
    let publications = world.fleet.client.publish_many(4, from_ref(&connector)).await;
    let mut worker = world.fleet.worker(&[]).await;
    world.until_parked(publications.len()).await;
    assert_eq!(world.connector_state(&connector).await, "needs_reauth");
    assert!(!worker.log().contains(WRONG), "the log holds a password");
    assert_eq!(world.blog.posts().await, [], "nothing was sent");

    let right = world.owner.exposed_password();
    assert_eq!(world.connect(right).await, connector, "it is the same account");
    world.must_have_each_once(&publications).await;
    assert_eq!(world.connector_state(&connector).await, "active");
    worker.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_after_a_password_was_taken_back_wait_for_a_new_one_and_are_there_once() {
    let world = World::start().await;
    let connector = world.connect(world.owner.exposed_password()).await;
    let mut worker = world.fleet.worker(&[]).await;
    let client = &world.fleet.client;
    let mut publications = client.publish("before", from_ref(&connector)).await;
    client.until_published(&publications, LONG).await;

    world.blog.end_passwords(&world.owner).await;
    let waiting = client.publish_many(4, from_ref(&connector)).await;
    world.until_parked(waiting.len()).await;
    assert_eq!(world.connector_state(&connector).await, "needs_reauth");
    assert_eq!(world.blog.posts().await.len(), 1, "nothing was sent");

    let new = world.blog.new_password(world.owner.id).await;
    assert_eq!(world.connect(new.expose_secret()).await, connector, "it is the same account");
    publications.extend(waiting);
    world.must_have_each_once(&publications).await;
    worker.must_run();
}
