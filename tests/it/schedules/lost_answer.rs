//! A commit that makes jobs, and whose answer gets lost: the times are had once, and no job is missing.

use postworks::chore::Relay;
use postworks::ledger::{Error, PostgresOptions};
use postworks::testing::chaos_proxy::{ChaosProxy, Spring, Target, Trap, Way};
use postworks::worker::Calls;
use tokio_util::sync::CancellationToken;

use super::*;

/// Two transactions' worth.
const SCHEDULES: u32 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_makes_each_job_once_and_the_relay_pushes_it() {
    let server = PostgresServer::launch().await;
    let socket = server.folder().join(".s.PGSQL.5432");
    let proxy = ChaosProxy::start(Target::Unix(socket), 1).await;
    let direct = server.database().await;
    let record = Db::connect_postgres(&direct, &PostgresOptions::default()).unwrap();
    let path = direct.split('?').next().unwrap();
    let through = path.replace("@localhost", &format!("@{}", proxy.address()));
    let through = format!("{through}?sslmode=disable");
    let db = Db::connect_postgres(&through, &PostgresOptions::default()).unwrap();
    let (node, hand) = node(&db);
    let start = time("2026-05-01T00:00:00Z");
    for number in 0..SCHEDULES {
        add(&node.schedules, &schedule(number, "* * * * *", "UTC", start)).await;
    }
    let mut expected: Vec<(u32, Timestamp)> = Vec::new();
    // Never heard of by the server, or by us; the first transaction of a minute, or the second.
    let losses = [Spring::CutBefore, Spring::LoseAnswer].map(|how| [(how, 0), (how, 1)]);
    for (minute, (how, nth)) in (1..).zip(losses.into_iter().flatten()) {
        let now = start.after(MINUTE * minute);
        hand.set(now);
        let lost = proxy.set_trap(Trap::new(Way::ToServer, "COMMIT", how).after(nth));
        let looked = node.look().await;
        assert!(matches!(looked, Err(Error::Unsure(_))), "{how:?}: {looked:?}");
        assert_eq!(lost.count(), 1, "{how:?}");
        let batches = nth + usize::from(how == Spring::LoseAnswer);
        let made = jobs(&record).await.len() - expected.len();
        assert_eq!(made, (batches * 100).min(SCHEDULES as usize), "{how:?}, the {nth}th");
        // As the chore does it.
        while let Err(error) = node.look().await {
            assert!(matches!(error, Error::Unavailable(_) | Error::Unsure(_)), "{error:?}");
        }
        expected.extend((0..SCHEDULES).map(|number| (number, now)));
        expected.sort_unstable();
        assert_eq!(jobs(&record).await, expected, "{how:?}, the {nth}th");
    }
    // Nobody told the broker of what was made without our knowing.
    node.producer.flush().await;
    let queue = [Queue::of_kind(&Kind::parse("data_cleanup").unwrap())];
    let held = async || node.broker.depth(&queue).await.unwrap()[0].unwrap().ready;
    let unheard = u64::from(SCHEDULES);
    assert_eq!(held().await, expected.len() as u64 - unheard, "of each batch that was lost");
    hand.set(hand.now().after(MINUTE));
    let (calls, stop) = (Arc::<Calls>::default(), CancellationToken::new());
    let relay = Relay {
        ledger: Arc::new(SqlLedger::new(record.clone())),
        broker: Arc::clone(&node.broker),
        clock: Arc::clone(&node.clock),
        calls: Arc::clone(&calls),
    };
    calls.sweep.notify_one();
    tokio::spawn(relay.run(stop.clone()));
    while held().await < expected.len() as u64 {
        // Nobody says that the relay is through: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
}
