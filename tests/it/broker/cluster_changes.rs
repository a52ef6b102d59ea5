//! A Redis Cluster that changes: nodes that restart, queues that move, replicas that take over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postworks::broker::{Broker, Error, Reap, Settled, Settlement, Then};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{JobId, Queue};
use postworks::testing::broker::{LEASE, PATIENCE, envelope, fresh, worker};
use postworks::testing::cluster::ClusterServers;
use tokio::task::block_in_place;

use super::cluster::{broker, claim, open, push};

/// Repeats what a queue refuses while its node is away.
async fn until_it_does<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    let start = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(matches!(error, Error::NodeAway(_)), "{error:?}"),
        }
        assert!(start.elapsed() < PATIENCE);
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_has_its_own_queues_opened_again_and_no_others() {
    let settings = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut servers = block_in_place(|| ClusterServers::start_with(&settings));
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    let mut leases = Vec::new();
    for queue in &queues {
        open(&on, queue, 1).await;
        push(&on, queue, 2).await.unwrap();
        let claimed = on.claim(queue, &worker("a"), 1, LEASE * 10).await.unwrap();
        leases.push(claimed.deliveries[0].lease.clone());
    }
    servers.servers[0].kill9();
    for queue in &queues[1..] {
        assert_eq!(claim(&on, queue).await.unwrap(), 1, "while the other is away");
    }
    block_in_place(|| {
        servers.servers[0].resume();
        servers.until_serves(0);
    });
    let refused = async || match claim(&on, &queues[0]).await {
        Err(Error::NeedsGeneration { held, .. }) => Ok(held),
        Err(error) => Err(error),
        Ok(_) => panic!("it was not opened since its node was started"),
    };
    assert_eq!(until_it_does(refused).await, Some(1));
    for queue in &queues[1..] {
        assert_eq!(claim(&on, queue).await.unwrap(), 0, "nobody has to open these");
    }
    open(&on, &queues[0], 2).await;
    let survivor = on.claim(&queues[0], &worker("b"), 9, LEASE).await.unwrap().deliveries;
    assert!(survivor.len() == 1 && survivor[0].flagged, "{survivor:?}");
    assert_eq!(survivor[0].lease.token.generation, 2);
    for (queue, lease) in queues.iter().zip(leases) {
        let gone = [Settlement { lease, then: Then::Gone }];
        assert_eq!(on.settle(queue, &gone).await.unwrap(), [Settled::Done], "its lease survived");
    }
}

/// Pushes, claims and settles until it is told to stop and nothing is left; answers how many jobs
/// were pushed, and how often each was delivered.
async fn work(
    on: &dyn Broker,
    queue: &Queue,
    generation: &AtomicU32,
    stop: &AtomicBool,
) -> (usize, HashMap<JobId, u32>) {
    let mut delivered: HashMap<JobId, u32> = HashMap::new();
    let mut pushed = 0;
    loop {
        let stopped = stop.load(Ordering::SeqCst);
        if !stopped {
            let now = SystemClock.now();
            let jobs = [fresh(envelope(now, 0), now), fresh(envelope(now, 0), now)];
            until_it_does(async || on.push(queue, &jobs).await).await;
            pushed += jobs.len();
        }
        let claimed = match on.claim(queue, &worker("a"), 3, PATIENCE * 10).await {
            Ok(claimed) => claimed.deliveries,
            Err(Error::NeedsGeneration { .. }) => {
                let next = generation.fetch_add(1, Ordering::SeqCst) + 1;
                // Another may have opened it already, in a later one.
                match on.open(queue, next).await {
                    Ok(()) | Err(Error::NodeAway(_) | Error::NeedsGeneration { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                continue;
            }
            Err(error) => {
                assert!(matches!(error, Error::NodeAway(_)), "{error:?}");
                continue;
            }
        };
        if claimed.is_empty() && stopped {
            return (pushed, delivered);
        }
        for delivery in claimed {
            *delivered.entry(delivery.lease.id).or_default() += 1;
            let gone = [Settlement { lease: delivery.lease, then: Then::Gone }];
            let settled = until_it_does(async || on.settle(queue, &gone).await).await;
            assert_eq!(settled, [Settled::Done], "nobody else has it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_moves_to_another_node_loses_nothing_and_runs_nothing_twice() {
    let servers = block_in_place(ClusterServers::start);
    let (first, second) = (broker(&servers, "a"), broker(&servers, "b"));
    let [queue, still, _] = servers.queues();
    open(&first, &queue, 1).await;
    open(&first, &still, 1).await;
    push(&first, &queue, 50).await.unwrap();
    let (generation, stop) = (AtomicU32::new(1), AtomicBool::new(false));
    let moving = async {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let before = SystemClock.now();
            // A key of its own, which is not there yet: it is asked for where it will be.
            block_in_place(|| servers.begin_to_move(&queue, from, to));
            let slot = first.reserve_retries(&queue, 1, 0.001).await.unwrap();
            assert!(slot >= before || from > 0);
            let mut moved = 1;
            while moved > 0 {
                moved = block_in_place(|| servers.move_keys(&queue, from, to, 1));
                // Both workers meet every state in between.
                until_it_does(async || push(&first, &still, 1).await).await;
                assert_eq!(claim(&first, &still).await.unwrap(), 1);
            }
            let after = first.reserve_retries(&queue, 1, 0.001).await.unwrap();
            assert!(after > slot, "what was written there is there");
            block_in_place(|| servers.end_move(&queue, to));
            until_it_does(async || push(&second, &queue, 5).await).await;
            // The workers open it, and go on there, before it moves again.
            while first.claim(&queue, &worker("a"), 0, LEASE).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
        stop.store(true, Ordering::SeqCst);
    };
    let ((), one, two) = tokio::join!(
        moving,
        work(&first, &queue, &generation, &stop),
        work(&second, &queue, &generation, &stop),
    );
    let ((some, mut delivered), (more, others)) = (one, two);
    for (id, times) in others {
        *delivered.entry(id).or_default() += times;
    }
    assert_eq!(delivered.len(), 50 + 3 * 5 + some + more, "none is lost");
    let twice: Vec<_> = delivered.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let left = first.depth(&[queue]).await.unwrap()[0].unwrap();
    assert_eq!((left.ready, left.delayed, left.running), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_follows_its_queue_to_another_node() {
    let servers = block_in_place(ClusterServers::start);
    let (on, [queue, ..]) = (broker(&servers, "a"), servers.queues());
    open(&on, &queue, 1).await;
    let queues = [queue];
    let queue = &queues[0];
    on.wait(&queues, PATIENCE).await.unwrap();
    let woken = async {
        loop {
            match on.wait(&queues, PATIENCE).await {
                Ok(Some(woken)) => return woken,
                Ok(None) => panic!("nobody is woken"),
                Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error:?}"),
            }
        }
    };
    let moving = async {
        while !block_in_place(|| servers.servers[0].command("CLIENT LIST")).contains("cmd=blpop") {
            tokio::task::yield_now().await;
        }
        block_in_place(|| {
            servers.begin_to_move(queue, 0, 1);
            while servers.move_keys(queue, 0, 1, 10) > 0 {}
            servers.end_move(queue, 1);
        });
        let other = broker(&servers, "b");
        until_it_does(async || push(&other, queue, 1).await).await;
    };
    let (woken, ()) = tokio::join!(woken, moving);
    assert_eq!(woken, *queue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_is_found_and_others_notice_nothing() {
    let mut servers = block_in_place(ClusterServers::start_replicated);
    let (on, queues) = (broker(&servers, "a"), servers.queues());
    for queue in &queues {
        open(&on, queue, 1).await;
        push(&on, queue, 2).await.unwrap();
    }
    servers.servers[0].kill9();
    let died = Instant::now();
    let taken_over = async {
        until_it_does(async || push(&on, &queues[0], 1).await).await;
        println!("a push is taken {:?} after the master was killed", died.elapsed());
    };
    let noticing_nothing = async {
        for _ in 0..20 {
            push(&on, &queues[1], 1).await.unwrap();
            claim(&on, &queues[1]).await.unwrap();
        }
    };
    tokio::join!(taken_over, noticing_nothing);
    block_in_place(|| servers.until_master_is(3));
    let refused = claim(&on, &queues[0]).await.unwrap_err();
    assert!(matches!(refused, Error::NeedsGeneration { .. }), "another server: {refused:?}");
    open(&on, &queues[0], 2).await;
    assert!(claim(&on, &queues[0]).await.unwrap() > 0);
    assert!(on.reap(&queues[0], Reap::Expired).await.unwrap().is_empty());

    // It comes back as a replica, and nobody asks it.
    block_in_place(|| servers.servers[0].resume());
    push(&on, &queues[0], 1).await.unwrap();
    assert_eq!(claim(&on, &queues[0]).await.unwrap(), 1);
    assert_eq!(claim(&on, &queues[2]).await.unwrap(), 2);
}
