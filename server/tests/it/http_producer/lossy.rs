//! One call makes one job, whatever the network does.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use postworks::client::http::{Accepted, Error, HttpOptions, HttpProducer};
use postworks::job::{JobId, State};
use postworks::testing::chaos_proxy::{Door, Spring, Trap, Way};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{ENQUEUE, Far, cleanup, patient, request};

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_there_is_one_job() {
    let far = Far::start().await;
    let trap = far.proxy.set_trap(Trap::new(Way::ToServer, ENQUEUE, Spring::LoseAnswer).times(3));
    let job = far.producer(&patient()).enqueue_one(&cleanup()).await.unwrap();
    assert_eq!((job.state, job.created, trap.count()), (State::Ready, true, 3));
    assert_eq!(far.world.jobs().await, 1);
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_request_arrives_costs_nothing() {
    let far = Far::start().await;
    let trap = far.proxy.set_trap(Trap::new(Way::ToServer, ENQUEUE, Spring::CutBefore).times(3));
    let job = far.producer(&patient()).enqueue(&request()).await.unwrap();
    assert_eq!((job.created, trap.count()), (true, 3));
    assert_eq!(far.world.jobs().await, 1);
}

#[tokio::test]
async fn half_a_request_makes_nothing_and_the_whole_one_makes_one_job() {
    let far = Far::start().await;
    far.proxy.set_trap(Trap::new(Way::ToServer, ENQUEUE, Spring::StopAfter(40)));
    let options = HttpOptions { answer_timeout: Duration::from_millis(300), ..patient() };
    far.producer(&options).enqueue(&request()).await.unwrap();
    assert_eq!(far.world.jobs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_makes_what_it_says_once_over_a_network_that_loses_requests_and_answers() {
    let seed = rand::random();
    println!("the losses' seed: {seed}");
    let mut dice = SmallRng::seed_from_u64(seed);
    let far = Far::start().await;
    let mut losses = Vec::new();
    for spring in [Spring::LoseAnswer, Spring::CutBefore] {
        let trap = Trap::new(Way::ToServer, ENQUEUE, spring).after(dice.random_range(0..3));
        // Rarer than every second request: two such traps between them would let none pass.
        let trap = trap.every(dice.random_range(3..6)).times(usize::MAX);
        losses.push(far.proxy.set_trap(trap));
    }
    let producer = far.producer(&patient());
    let calls = (0..40).map(|n| {
        let producer = producer.clone();
        async move {
            if n % 8 > 0 {
                return vec![producer.enqueue(&request()).await.unwrap().id];
            }
            let bulk = vec![request(); 8];
            producer.enqueue_bulk(&bulk).await.unwrap().iter().map(|job| job.id).collect()
        }
    });
    let made: Vec<Vec<JobId>> = stream::iter(calls).buffer_unordered(8).collect().await;
    let made = made.concat();
    assert_eq!(made.len(), 35 + 5 * 8);
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len(), "no answer is another's");
    assert_eq!(far.world.jobs().await, made.len());
    let lost: usize = losses.iter().map(|trap| trap.count()).sum();
    println!("{lost} requests and answers were lost");
    assert!(lost >= 10, "{lost}");
}

#[tokio::test]
async fn whoever_is_not_told_in_time_is_told_how_to_find_out() {
    let far = Far::start().await;
    far.proxy.set_trap(Trap::new(Way::ToServer, ENQUEUE, Spring::LoseAnswer).times(usize::MAX));
    let options = HttpOptions { budget: Duration::from_secs(2), ..patient() };
    let unsure = far.producer(&options).enqueue(&request()).await.unwrap_err();
    let Error::Unsure { key: Some(key), .. } = &unsure else { panic!("{unsure:?}") };
    assert!(unsure.to_string().contains(&format!("keyed({key:?})")), "{unsure}");
    assert_eq!(far.world.jobs().await, 1, "it was accepted, and nobody was told");
    // Later, and from another process.
    let later = HttpProducer::new(&far.near, None).unwrap();
    let job = later.keyed(key).enqueue(&request()).await.unwrap();
    let again = later.keyed(key).enqueue(&request()).await.unwrap();
    assert_eq!(job, again);
    assert_eq!(far.world.jobs().await, 1);
    let mut other = request();
    other.policy.max_attempts = Some(3);
    let refused = later.keyed(key).enqueue(&other).await.unwrap_err();
    let Error::Invalid { errors, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(errors[0].field, "Idempotency-Key");
}

#[tokio::test]
async fn what_never_left_is_not_unsure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = HttpOptions { budget: Duration::from_secs(2), ..patient() };
    let producer = HttpProducer::with(&url, None, &options).unwrap();
    let producer = producer.waiting_by(|_| std::future::ready(()));
    let away = producer.enqueue(&request()).await.unwrap_err();
    let Error::Unavailable(words) = &away else { panic!("{away:?}") };
    assert!(words.contains(&url) && words.contains("refused"), "{words}");
}

#[tokio::test]
async fn an_api_that_comes_later_is_waited_for() {
    let far = Far::start().await;
    far.proxy.door(Door::Refusing);
    let (producer, mut waits) = super::held(far.producer(&patient()));
    let asking = tokio::spawn(async move { producer.enqueue(&request()).await });
    for _ in 0..3 {
        waits.recv().await.unwrap().1.send(()).unwrap();
    }
    let (_, go_on) = waits.recv().await.unwrap();
    far.proxy.heal();
    go_on.send(()).unwrap();
    assert!(asking.await.unwrap().unwrap().created);
    assert_eq!(far.world.jobs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_under_one_key_wait_for_each_other_and_make_one_job() {
    let far = Far::start().await;
    let producer = far.producer(&patient());
    let request = request();
    let calls = (0..100).map(|_| producer.keyed("once").enqueue(&request));
    let answers: Vec<Accepted> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(far.world.jobs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_once_share_a_few_connections() {
    let far = Far::start().await;
    let options = patient();
    let producer = far.producer(&options);
    let request = request();
    for _ in 0..10 {
        let calls = join_all((0..100).map(|_| producer.enqueue(&request))).await;
        assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    }
    let accepted = far.proxy.accepted();
    println!("1000 calls, 100 at once, over {accepted} connections");
    assert!(accepted <= 2 * options.connections_max, "{accepted} connections");
}
