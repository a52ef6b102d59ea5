//! One account, thirty-two worker processes that all want its token, and a provider on which a
//! refresh token that is used twice ends the account.

mod world;

use std::slice::from_ref;
use std::time::Instant;

use postworks_workers::testing::lossy_proxy::Loss;
use postworks_workers::testing::oidc::Counts;

use crate::fleet::{LONG, seconds, until};
use world::{Figures, WORKERS, World};

/// Where the workers ask for tokens.
const TOKEN: &str = "/token";
/// One request, and it was good.
const ONE: Counts = Counts { token_requests: 1, granted: 1, invalid_grant: 0 };

fn print(what: &str, figures: &Figures) {
    let Counts { token_requests, granted, invalid_grant } = figures.asked;
    println!(
        "{what}: {WORKERS} workers, {} jobs published in {}: {token_requests} token requests, \
         {granted} granted, {invalid_grant} invalid_grant",
        figures.jobs,
        seconds(figures.took),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_workers_and_one_expired_account_make_one_token_request() {
    let mut world = World::start().await;
    let ada = world.expired("ada").await;
    let (publications, started) = world.storm(&ada).await;
    let holders = world.holders_until_granted(&ada).await;
    let figures = world.finish(&ada, &publications, started).await;
    assert!(holders >= WORKERS / 2, "only {holders} workers had jobs");
    assert_eq!(figures.asked, ONE);
    world.all_must_run();
    print(&format!("{holders} workers had jobs of the account when it had no token"), &figures);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_request_is_made_also_when_the_refreshing_worker_dies_before_it_arrives() {
    let mut world = World::start().await;
    let ada = world.expired("ada").await;
    world.proxy.lose(Loss::RequestSilently, TOKEN, 1);
    let (publications, started) = world.storm(&ada).await;
    world.kill_who_waits().await;
    assert_eq!(world.asked(&ada).await.token_requests, 0, "the provider has heard nothing");
    let figures = world.finish(&ada, &publications, started).await;
    assert_eq!(figures.asked, ONE);
    world.all_must_run();
    print("the refreshing worker killed before its request arrived", &figures);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_with_the_answer_costs_its_account_a_person_and_nobody_else_waits() {
    let kill = async |world: &mut World| world.kill_who_waits().await;
    costs_a_person(Loss::AnswerSilently, kill, "the refreshing worker killed after it sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swallowed_answer_costs_its_account_a_person_and_nobody_else_waits() {
    costs_a_person(Loss::Answer, async |_| (), "the answer swallowed").await;
}

/// The provider has rotated, and its answer is lost: one retry with the old token, then the account
/// needs a person, and it alone.
async fn costs_a_person(loss: Loss, disturb: impl AsyncFnOnce(&mut World), what: &str) {
    let mut world = World::start().await;
    let (ada, bob) = (world.expired("ada").await, world.expired("bob").await);
    let forwarded = world.proxy.forwarded(TOKEN);
    world.proxy.lose(loss, TOKEN, 1);
    let (publications, started) = world.storm(&ada).await;
    until("nobody has asked for tokens", LONG, async || world.proxy.forwarded(TOKEN) > forwarded)
        .await;
    disturb(&mut world).await;
    let others = world.fleet.client.publish("of another account", from_ref(&bob.connector)).await;
    world.fleet.client.until_published(&others, LONG).await;
    let other_took = started.elapsed();
    assert_eq!(world.asked(&bob).await, ONE);

    until("the jobs are not parked", 2 * LONG, async || {
        world.fleet.client.jobs("parked").await.len() == WORKERS
    })
    .await;
    let parked_after = started.elapsed();
    let spent = Counts { token_requests: 2, granted: 1, invalid_grant: 1 };
    assert_eq!(world.asked(&ada).await, spent, "one retry");
    let item = world.connector(&ada.connector).await;
    assert_eq!(item["state"], "needs_reauth");
    let reason = item["state_reason"].as_str().expect("a reason");
    assert!(reason.contains("rotation_lost"), "{reason}");
    assert_eq!(world.connector(&bob.connector).await["state"], "active");
    assert!(world.fleet.client.jobs("dead").await.is_empty());

    let again = Instant::now();
    assert_eq!(world.connect(ada.handle).await, ada.connector, "it is the same account");
    let figures = world.finish(&ada, &publications, again).await;
    assert_eq!(figures.asked, Counts { token_requests: 3, granted: 2, invalid_grant: 1 });
    world.all_must_run();
    println!(
        "{what}: another account published after {}, all {WORKERS} jobs parked behind one account \
         after {}",
        seconds(other_took),
        seconds(parked_after)
    );
    print(&format!("{what}, connected again"), &figures);
}
