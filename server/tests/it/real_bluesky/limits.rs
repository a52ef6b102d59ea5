//! What a real server's "too many requests" does: the account's jobs wait until the time that the
//! server names, at no attempt's cost, and nobody else does.

use std::slice::from_ref;
use std::time::Duration;

use postworks::job::Timestamp;
use serde_json::Value;

use super::world::World;
use crate::fleet::{LONG, Publication, now_ms, until};

/// The server names whole seconds, and counts from its own clock's reading.
const INEXACT: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3_600);

/// Waits until all these jobs but `done` of them are put off by more than a minute, whether the
/// server said so to them or to another one before they began; answers those that are, and when they
/// will run.
async fn until_put_off(
    world: &World,
    publications: &[Publication],
    done: usize,
) -> Vec<(Value, Timestamp)> {
    let soon = Timestamp::from_millis(now_ms()).after(LONG);
    let mut put_off = Vec::new();
    until("jobs that are not put off", LONG, async || {
        put_off.clear();
        for publication in publications {
            let why = world.fleet.client.why(&publication.job).await;
            let eta: Option<Timestamp> = why["eta"].as_str().and_then(|eta| eta.parse().ok());
            if let Some(eta) = eta.filter(|eta| *eta > soon) {
                put_off.push((world.fleet.client.job(&publication.job).await, eta));
            }
        }
        put_off.len() == publications.len() - done
    })
    .await;
    put_off
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_beyond_the_accounts_hour_wait_for_the_next_and_other_accounts_go_on() {
    const LEFT: usize = 10;
    const POSTS: usize = 15;
    let world = World::start(&[]).await;
    let other = world.pds.create_account("bob.test").await;
    let connector = world.connect_owner().await;
    let begun = Timestamp::from_millis(now_ms());
    // A `putRecord` costs 2 points (`@atproto/pds` 0.4.217).
    world.pds.leave_points(&world.owner, 2 * LEFT).await;
    let _worker = world.fleet.worker(&[]).await;
    let others = world.connect_other(&other).await;
    let limited = world.fleet.client.publish_many(POSTS, from_ref(&connector)).await;
    let free = world.fleet.client.publish_many(POSTS, from_ref(&others)).await;

    world.fleet.client.until_published(&free, LONG).await;
    let published = world.pds.records(&other.did).await.len();
    assert_eq!(published, POSTS, "another account has an hour of its own");
    let waiting = until_put_off(&world, &limited, LEFT).await;
    assert_eq!(world.pds.records(&world.owner.did).await.len(), LEFT);
    for (job, at) in waiting {
        let (first, last) = (begun.after(HOUR), Timestamp::from_millis(now_ms()).after(HOUR));
        assert!(at >= first.before(INEXACT) && at <= last.after(INEXACT), "until {at}: {job}");
        assert_eq!(job["attempt"], 0, "to be told to wait is no failure: {job}");
    }
    assert_eq!(world.connector_state(&connector).await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_sign_in_now_waits_as_long_as_the_server_says() {
    const POSTS: usize = 5;
    let world = World::start(&[]).await;
    let other = world.pds.create_account("bob.test").await;
    let opens = world.pds.use_up_sign_ins(&world.owner).await;
    let _worker = world.fleet.worker(&[]).await;
    let connector = world.connect_owner().await;
    let others = world.connect_other(&other).await;
    let limited = world.fleet.client.publish_many(POSTS, from_ref(&connector)).await;
    let free = world.fleet.client.publish_many(POSTS, from_ref(&others)).await;

    world.fleet.client.until_published(&free, LONG).await;
    for (job, at) in until_put_off(&world, &limited, 0).await {
        let exact = at >= opens.before(INEXACT) && at <= opens.after(INEXACT);
        assert!(exact, "until {at}, and the server said {opens}: {job}");
        assert_eq!(job["attempt"], 0, "to be told to wait is no failure: {job}");
    }
    assert_eq!(world.connector_state(&connector).await, "active");
    assert!(world.pds.records(&world.owner.did).await.is_empty());
}
