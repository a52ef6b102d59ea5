//! Real workers that are killed at the tick, while they make the jobs of schedules.

use std::collections::BTreeMap;

use postworks::clock::Clock as _;
use postworks::job::schedule::{Missed, Overlap};
use postworks::job::{Tenant, Timestamp};
use postworks::ledger::{Added, AuditEntry, Schedule, Schedules};
use postworks::testing::chaos_proxy::{ChaosProxy, Spring, Target, Trap, Way};
use uuid::Uuid;

use super::*;

/// Three transactions' worth.
const SCHEDULES: u32 = 250;

/// What a worker says when it is killed: while it writes that the times were had; before the server
/// hears of the commit; and before the worker hears that it is done.
const KILLS: [(&str, Spring); 3] = [
    ("schedule_fires", Spring::Tell),
    ("COMMIT", Spring::CutBefore),
    ("COMMIT", Spring::LoseAnswer),
];

/// A worker, and what stands between it and the database.
pub(super) struct Watched {
    pub(super) worker: Fragile,
    pub(super) proxy: ChaosProxy,
}

impl World {
    pub(super) async fn watched(&self) -> Watched {
        let socket = self.postgres.folder().join(".s.PGSQL.5432");
        let proxy = ChaosProxy::start(Target::Unix(socket), 1).await;
        let path = self.database.split('?').next().unwrap();
        let through = path.replace("@localhost", &format!("@{}", proxy.address()));
        let through = format!("{through}?sslmode=disable");
        Watched { worker: self.worker_at(&through, 10, 2, LEASE), proxy }
    }

    /// Adds schedules that are never due by themselves, told from each other by their head starts.
    async fn add_schedules(&self) {
        let (schedules, now) = (Schedules::new(self.db.clone()), SystemClock.now());
        for number in 0..SCHEDULES {
            let new = Schedule {
                id: Uuid::now_v7(),
                tenant: Tenant::DEFAULT,
                name: format!("schedule-{number}"),
                cron: "0 0 29 2 *".to_owned(),
                zone: "UTC".to_owned(),
                kind: Kind::parse(Deed::KIND).unwrap(),
                args: serde_json::to_string(&Deed::Rest(1)).unwrap(),
                queue: queue(),
                account: None,
                priority_s: number,
                max_attempts: None,
                missed: Missed::All,
                overlap: Overlap::Allow,
                jitter: Duration::ZERO,
                created_at: now,
                next_at: None,
                paused: None,
                fires: 0,
                built_in: false,
            };
            let note = AuditEntry {
                id: Uuid::now_v7(),
                at: now,
                actor: "cli:ann@desk".to_owned(),
                action: "schedule.add".to_owned(),
                subject: new.name.clone(),
                detail: None,
                why: None,
                count: 1,
            };
            assert_eq!(schedules.add(&new, &note).await.unwrap(), Added::Now);
        }
    }

    /// Lets all of them be due at one time.
    async fn tick(&self, at: Timestamp) {
        const SQL: &str = "UPDATE schedules SET next_at = $1";
        let mut tx = self.db.begin().await.unwrap();
        postworks::on_tx!(&mut tx, conn => {
            sqlx::query(SQL).bind(at.as_millis()).execute(conn).await.map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// How many jobs there are of each schedule and tick, and whether all are done.
    async fn made(&self) -> (BTreeMap<(u32, i64), u32>, bool) {
        const SQL: &str = "SELECT priority_s, run_at, state FROM jobs";
        let rows: Vec<(i32, i64, String)> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).fetch_all(pool).await)
                .map_err(|error: sqlx::Error| error)
                .unwrap();
        let mut made = BTreeMap::new();
        for (number, at, _) in &rows {
            *made.entry((u32::try_from(*number).unwrap(), *at)).or_default() += 1;
        }
        (made, rows.iter().all(|(_, _, state)| state == "completed"))
    }
}

/// Kills (-9) whichever of two first comes upon its trap; answers the other.
pub(super) async fn outlived(one: Watched, other: Watched, traps: [&Trap; 2]) -> Watched {
    let other_is_at_it = tokio::select! {
        () = traps[0].sprung() => false,
        () = traps[1].sprung() => true,
    };
    let (killed, lives) = if other_is_at_it { (other, one) } else { (one, other) };
    drop(killed.worker);
    lives
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_before_or_after_it_commits_a_tick_loses_no_time_and_none_is_had_twice() {
    let world = World::start().await;
    world.add_schedules().await;
    let mut expected = BTreeMap::new();
    let mut survivor = world.watched().await;
    for (words, how) in KILLS {
        let other = world.watched().await;
        // Whichever of the two is at it.
        let trap = |watched: &Watched| watched.proxy.set_trap(Trap::new(Way::ToServer, words, how));
        let (one, two) = (trap(&survivor), trap(&other));
        let at = SystemClock.now().after(Duration::from_secs(1));
        world.tick(at).await;
        survivor = outlived(survivor, other, [&one, &two]).await;
        expected.extend((0..SCHEDULES).map(|number| ((number, at.as_millis()), 1)));
        until("not all jobs of a tick are made and done", async || {
            let (made, done) = world.made().await;
            done && made.len() >= expected.len()
        })
        .await;
        assert_eq!(world.made().await.0, expected, "killed at {words} ({how:?})");
    }
}
