//! Real workers that are killed while jobs wait for others that they run.

use postworks::clock::Clock as _;
use postworks::job::family::{OnFailure, Parent};
use postworks::ledger::{Families, Told};
use postworks::testing::chaos_proxy::{Spring, Trap, Way};

use super::*;

/// Families that are under way at once.
const FAMILIES: usize = 40;

/// What a worker says when it is killed: right after it settled a parent; while it writes the child's
/// record; and when all is written but the commit.
const KILLS: [&str; 3] = [
    "SELECT id, kind, state, finished_at FROM jobs WHERE waited_on",
    "UPDATE job_parents",
    "UPDATE jobs SET waited_on = false",
];

/// A parent, its child, and one that waits for all children.
struct Kin {
    parents: Vec<JobId>,
    children: Vec<JobId>,
    last: JobId,
}

impl World {
    fn deed(&self, after: &[JobId], ms: u64) -> postworks::job::NewJob {
        let mut request = Request::of(&Deed::Rest(ms)).unwrap();
        request.policy.after = after.iter().copied().map(Parent::from).collect();
        if !after.is_empty() {
            request.policy.on_failure = Some(OnFailure::Continue);
        }
        self.producer.prepare(request).unwrap()
    }

    async fn families(&self) -> Kin {
        let parents: Vec<_> = (0..FAMILIES).map(|_| self.deed(&[], 1)).collect();
        let children: Vec<_> = parents.iter().map(|parent| self.deed(&[parent.id], 1)).collect();
        let ids = |jobs: &[postworks::job::NewJob]| jobs.iter().map(|job| job.id).collect();
        let (parent_ids, child_ids): (Vec<JobId>, Vec<JobId>) = (ids(&parents), ids(&children));
        let last = self.deed(&child_ids, 1);
        let kin = Kin { parents: parent_ids, children: child_ids, last: last.id };
        let all = parents.into_iter().chain(children).chain([last]).collect();
        self.producer.enqueue(all).await.unwrap();
        kin
    }

    async fn until_done(&self, kin: &Kin) {
        until("a family is not done", async || self.row(kin.last).await.state == State::Completed)
            .await;
        for id in kin.parents.iter().chain(&kin.children) {
            assert_eq!(self.row(*id).await.state, State::Completed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_forgotten_though_the_worker_dies_that_was_to_let_it_go() {
    let world = World::start().await;
    let mut survivor = world.watched().await;
    for words in KILLS {
        let other = world.watched().await;
        let trap = |watched: &tick::Watched| {
            watched.proxy.set_trap(Trap::new(Way::ToServer, words, Spring::Tell))
        };
        let (one, two) = (trap(&survivor), trap(&other));
        let kin = world.families().await;
        survivor = tick::outlived(survivor, other, [&one, &two]).await;
        world.until_done(&kin).await;
        for id in kin.children.iter().chain([&kin.last]) {
            let told = world.ledger.parents(*id).await.unwrap();
            assert!(told.iter().all(|parent| parent.outcome == Some(State::Completed)), "{words}");
            assert!(world.ledger.attempts(*id).await.unwrap().is_empty());
        }
        let families = Families::new(world.db.clone());
        let Told { found, .. } = families.tell(SystemClock.now(), 100).await.unwrap();
        assert_eq!(found, 0, "nothing is left to tell");
    }
}
