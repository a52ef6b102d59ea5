//! The whole fleet against a real Bluesky server: whatever is killed, lost or refused, each post
//! is there once.

mod limits;
mod world;

use std::slice;
use std::time::{Duration, Instant};

use postworks_workers::store::NewConnector;
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::pictures;
use serde_json::json;

use crate::fleet::{LONG, Process, run, seconds};
use world::{QUEUE, WRONG, World};

/// How long the server is away in the middle of the work.
const OUTAGE: Duration = Duration::from_secs(20);
/// Shorter waits than a product wants, so that a test ends soon; and more attempts, since short
/// waits use up the usual ten in less than the outage.
const IMPATIENT: [(&str, &str); 2] =
    [("POSTWORKS__RETRY__CAP", "4s"), ("POSTWORKS__KINDS__POST_PUBLICATION__MAX_ATTEMPTS", "40")];
/// Few at once, so that the work is not done before anything can be killed.
const FEW: [&str; 2] = ["--concurrency", "2"];

#[tokio::test(flavor = "multi_thread")]
async fn fifty_posts_appear_once_each_whatever_is_killed() {
    let mut world = World::start(&IMPATIENT).await;
    let connector = world.connect_owner().await;
    let publications = world.fleet.client.publish_many(50, slice::from_ref(&connector)).await;
    let started = Instant::now();

    let first = world.fleet.worker(&FEW).await;
    world.until_records(8).await;
    let orphans = world.kill_worker(first).await;
    let second = world.fleet.worker(&FEW).await;
    world.until_records(16).await;
    let orphans = orphans + world.kill_worker(second).await;
    let mut third = world.fleet.worker(&FEW).await;
    world.until_records(24).await;
    let before = world.pds.records(&world.owner.did).await.len();
    assert!(before < publications.len(), "nothing is left for the outage to disturb");
    world.pds.kill().await;
    let version = world.expire_access(&connector).await;
    let planted = world.access(&connector).await;
    // No wait for something: that the server is away for this long is what is tested.
    tokio::time::sleep(OUTAGE).await;
    world.pds.restart().await;

    world.fleet.client.until_published(&publications, LONG).await;
    let took = started.elapsed();
    third.must_run();
    world.must_have_each_once(&publications).await;
    let access = world.access(&connector).await;
    assert!(access.version > version, "the expired token is still there");
    assert!(access.refreshed_at > planted.refreshed_at, "{access:?}");

    world.run_job("connector_sync", &connector).await;
    assert_eq!(world.synced(&connector).await, 50);
    println!(
        "50 posts, each once, {:.1} s after the first worker started: two workers killed with \
         {orphans} jobs in their hands, the server away for {OUTAGE:?} after {before} posts, \
         {} refresh; a sync found all of them",
        took.as_secs_f64(),
        access.version - version,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_whose_answers_are_lost_appear_once_each() {
    const LOST: usize = 5;
    let world = World::start(&IMPATIENT).await;
    let proxy = LossyProxy::start(world.pds.address()).await;
    let address = format!("http://{}", proxy.address());
    let connector = world.connect(&address, world.owner.exposed_password()).await;
    proxy.lose(Loss::Answer, "putRecord", LOST);
    let publications = world.fleet.client.publish_many(12, &[connector]).await;
    let mut worker = world.fleet.worker(&[]).await;

    world.fleet.client.until_published(&publications, LONG).await;
    worker.must_run();
    world.must_have_each_once(&publications).await;
    assert_eq!(proxy.forwarded("putRecord"), 12 + LOST, "each lost answer was asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_uploaded_is_on_the_platform() {
    let world = World::start(&[]).await;
    let connector = world.connect_owner().await;
    let client = &world.fleet.client;
    let (png, jpeg) = (pictures::png(40, 30), pictures::jpeg(16, 9));
    let mut images = Vec::new();
    for (mime, bytes, alt) in [("image/png", &png, "a black one"), ("image/jpeg", &jpeg, "")] {
        let added = client.http.post_image(mime, bytes.clone()).await.expect(201);
        images.push(json!({ "media_id": added["id"], "alt": alt }));
    }
    let _worker = world.fleet.worker(&[]).await;
    let post = json!({ "text": "See", "images": images });
    let publications = client.publish_post(&post, &[connector]).await;
    client.until_published(&publications, LONG).await;

    let records = world.pds.records(&world.owner.did).await;
    assert_eq!(records.len(), 1);
    let embed = world.pds.record(&records[0].uri).await["embed"].clone();
    assert_eq!(embed["images"].as_array().unwrap().len(), 2);
    for (n, bytes, mime, alt, (width, height)) in
        [(0, png, "image/png", "a black one", (40, 30)), (1, jpeg, "image/jpeg", "", (16, 9))]
    {
        let shown = &embed["images"][n];
        assert_eq!((&shown["alt"], &shown["image"]["mimeType"]), (&alt.into(), &mime.into()));
        assert_eq!(shown["aspectRatio"], json!({ "width": width, "height": height }));
        let cid = shown["image"]["ref"]["$link"].as_str().unwrap();
        assert!(world.pds.blob(&world.owner.did, cid).await == bytes, "image {n} is another one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_refresh_renews_the_session_and_publishing_goes_on() {
    let world = World::start(&[]).await;
    let connector = world.connect_owner().await;
    let _worker = world.fleet.worker(&[]).await;
    let mut publications = world.fleet.client.publish("post 0", slice::from_ref(&connector)).await;
    world.fleet.client.until_published(&publications, LONG).await;
    let before = world.access(&connector).await;

    world.run_job("token_refresh", &connector).await;
    let after = world.access(&connector).await;
    assert_eq!(after.version, before.version + 1);
    assert!(after.refreshed_at > before.refreshed_at, "{after:?}");
    publications.extend(world.fleet.client.publish("post 1", &[connector]).await);
    world.fleet.client.until_published(&publications, LONG).await;
    world.must_have_each_once(&publications).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_behind_a_wrong_password_wait_until_the_account_is_connected_again() {
    let world = World::start(&[]).await;
    let (connector, publications) = world.publish_in_vain(8).await;
    let mut worker = world.fleet.worker(&[]).await;
    world.until_parked(&publications).await;
    assert_eq!(world.connector_state(&connector).await, "needs_reauth");
    assert!(!worker.log().contains(WRONG), "the log holds a password");

    assert_eq!(world.connect_owner().await, connector, "it is the same account");
    assert_eq!(world.connector_state(&connector).await, "active");
    world.fleet.client.until_published(&publications, LONG).await;
    worker.must_run();
    world.must_have_each_once(&publications).await;
    for publication in &publications {
        world.fleet.client.until_job(&publication.job, "completed", LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_accounts_session_is_gone_at_the_server_and_it_can_be_connected_anew() {
    let world = World::start(&[]).await;
    let connector = world.connect_owner().await;
    let _worker = world.fleet.worker(&[]).await;
    let mut publications = world.fleet.client.publish("post 0", slice::from_ref(&connector)).await;
    world.fleet.client.until_published(&publications, LONG).await;
    let refresh = world.refresh_token(&connector).await;

    let removed = run(&["connector", "remove", &connector, "-o", "json"], world.fleet.vars()).await;
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    assert_eq!(removed.json()["revoked"], true);
    assert_eq!(world.pds.refresh(&refresh).await, 400, "the session lives on at the server");
    assert_eq!(world.connector_state(&connector).await, "disconnecting");

    let anew = world.connect_owner().await;
    assert_ne!(anew, connector);
    publications.extend(world.fleet.client.publish("post 1", &[anew]).await);
    world.fleet.client.until_published(&publications[1..], LONG).await;
    world.must_have_each_once(&publications).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_jobs_run_though_the_api_died_before_it_released_them() {
    let world = World::start(&[]).await;
    let (connector, publications) = world.publish_in_vain(3).await;
    let _worker = world.fleet.worker(&[]).await;
    world.until_parked(&publications).await;

    // What an API leaves behind that dies after its commit.
    let account = NewConnector {
        platform: "bluesky".to_owned(),
        base_url: world.pds.url(),
        identifier: world.owner.handle.clone(),
        target: None,
        secret: world.owner.password.clone(),
    };
    let connected = world.fleet.store().add_connector(account).await.expect("it is kept");
    assert_eq!(connected.id.to_string(), connector);
    world.fleet.client.until_published(&publications, LONG).await;
    world.must_have_each_once(&publications).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_new_tokens_that_is_swallowed_is_made_up_for_and_all_jobs_proceed() {
    const WORKERS: usize = 32;
    let world = World::start(&[("POSTWORKS__LEDGER__POOL_SIZE", "2")]).await;
    let proxy = LossyProxy::start(world.pds.address()).await;
    let address = format!("http://{}", proxy.address());
    let connector = world.connect(&address, world.owner.exposed_password()).await;
    let mut workers = world.fleet.workers(WORKERS, &FEW).await;
    world.run_job("token_refresh", &connector).await;
    let version = world.expire_access(&connector).await;
    let asked_before = proxy.forwarded("Session");
    proxy.lose(Loss::Answer, "refreshSession", 1);

    world.fleet.client.gate(QUEUE, "pause").await;
    let publications = world.fleet.client.publish_many(WORKERS, slice::from_ref(&connector)).await;
    let started = Instant::now();
    world.fleet.client.gate(QUEUE, "resume").await;
    world.fleet.client.until_published(&publications, LONG).await;
    let took = started.elapsed();
    world.must_have_each_once(&publications).await;
    assert_eq!(world.connector_state(&connector).await, "active");
    assert_eq!(world.access(&connector).await.version, version + 1, "tokens were kept once");
    let asked = proxy.forwarded("Session") - asked_before;
    assert_eq!(asked, 2, "the lost answer was asked for once more, with the same token");
    workers.iter_mut().for_each(Process::must_run);
    println!(
        "a swallowed answer on a server that forgives: {WORKERS} workers, {} jobs published in \
         {}: {asked} requests for tokens, none refused",
        publications.len(),
        seconds(took),
    );
}
