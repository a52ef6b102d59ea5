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
async fn a_child_runs_once_though_the_worker_dies_that_was_to_let_it_go() {
    let world = World::start().await;
    let mut survivor = world.watched().await;
    for words in KILLS {
        let other = world.watched().await;
        let trap = |watched: &tick::Watched| {
            watched.proxy.set_trap(Trap::new(Way::ToServer, words, Spring::Tell))
        };
        let (one, two) = (trap(&survivor), trap(&other));
        let kin = world.families().await;
        let other_is_at_it = tokio::select! {
            () = one.sprung() => false,
            () = two.sprung() => true,
        };
        let (killed, lives) = if other_is_at_it { (other, survivor) } else { (survivor, other) };
        // Kill -9.
        drop(killed.worker);
        survivor = lives;
        world.until_done(&kin).await;
        for id in kin.children.iter().chain([&kin.last]) {
            let told = world.ledger.parents(*id).await.unwrap();
            assert!(told.iter().all(|parent| parent.outcome == Some(State::Completed)), "{words}");
            // A second run would have stamped a claim over the first one's.
            assert!(world.ledger.attempts(*id).await.unwrap().is_empty());
        }
        let families = Families::new(world.db.clone());
        let Told { found, .. } = families.tell(SystemClock.now(), 100).await.unwrap();
        assert_eq!(found, 0, "nothing is left to tell");
    }
}

/// Prints what it measured; a child starts well within a second, whoever ran its parent.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_starts_soon_after_its_last_parents_end() {
    let world = World::start().await;
    let _workers = [world.worker(10, 2), world.worker(10, 2)];
    let mut late = Vec::new();
    for _ in 0..5 {
        let kin = world.families().await;
        world.until_done(&kin).await;
        for (parent, child) in kin.parents.iter().zip(&kin.children) {
            let ended = async |id| world.row(id).await.finished_at.unwrap();
            late.push(ended(*child).await.since(ended(*parent).await));
        }
    }
    late.sort();
    let (median, worst) = (late[late.len() / 2], late[late.len() - 1]);
    println!("a child was done {median:?} after its parent, {worst:?} at the latest");
    assert!(median < Duration::from_millis(500), "{median:?}");
    assert_eq!(late.len(), 5 * FAMILIES);
}
