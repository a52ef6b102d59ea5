//! What the fleet looked like at one time, and what that says of some of its queues.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::broker::{Presence, Ran};
use postworks::job::{Queue, Timestamp};

use super::policy::Load;

/// New jobs are counted over this long: what comes in a burst comes for as long, to begin with.
const GROWTH_OVER: Duration = Duration::from_secs(30);

/// The fleet at one time.
#[derive(Debug, Clone)]
pub(super) struct Fleet {
    pub(super) at: Timestamp,
    pub(super) queues: Vec<QueueSeen>,
    /// The workers that live.
    workers: Vec<Alike>,
}

/// Workers that serve the same queues, added up: a fleet of thousands is a few of these.
#[derive(Debug, Clone, Default)]
struct Alike {
    workers: u32,
    slots: u64,
    queues: BTreeMap<Queue, Ran>,
}

/// A queue at one time.
#[derive(Debug, Clone)]
pub(super) struct QueueSeen {
    pub(super) queue: Queue,
    pub(super) ready: u64,
    pub(super) oldest: Duration,
    pub(super) running: u64,
    /// Whether nobody may claim from it: more workers would not help.
    pub(super) is_held: bool,
}

impl QueueSeen {
    /// One that cannot be seen now, as it was when it could.
    pub(super) fn away(queue: &Queue, last: Option<&Fleet>) -> Self {
        let last = last.and_then(|fleet| fleet.queues.iter().find(|seen| seen.queue == *queue));
        let last = last.cloned().unwrap_or_else(|| Self {
            queue: queue.clone(),
            ready: 0,
            oldest: Duration::ZERO,
            running: 0,
            is_held: true,
        });
        Self { is_held: true, ..last }
    }
}

/// Some queues of the fleet, added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// Due, also where nobody may claim.
    pub(super) ready: u64,
    pub(super) oldest: Duration,
    claimable: u64,
    claimable_oldest: Duration,
    pub(super) busy: u64,
    pub(super) slots: u64,
    pub(super) workers: u32,
    ran: Ran,
}

impl Fleet {
    /// These queues, and the workers among the processes that live.
    pub(super) fn new(at: Timestamp, queues: Vec<QueueSeen>, roster: Vec<Presence>) -> Self {
        let mut workers: BTreeMap<Vec<Queue>, Alike> = BTreeMap::new();
        for present in roster {
            let alike = workers.entry(present.queues.keys().cloned().collect()).or_default();
            alike.workers = alike.workers.saturating_add(1);
            alike.slots += u64::from(present.slots);
            for (queue, ran) in present.queues {
                *alike.queues.entry(queue).or_default() += ran;
            }
        }
        Self { at, queues, workers: workers.into_values().collect() }
    }

    /// The queues that are chosen, added up. A worker that serves one of them counts with all of its
    /// slots, since each may be that queue's.
    pub(super) fn sum(&self, chosen: impl Fn(&Queue) -> bool) -> Sum {
        let mut sum = Sum::default();
        for seen in self.queues.iter().filter(|seen| chosen(&seen.queue)) {
            sum.ready += seen.ready;
            sum.oldest = sum.oldest.max(seen.oldest);
            sum.busy += seen.running;
            if !seen.is_held {
                sum.claimable += seen.ready;
                sum.claimable_oldest = sum.claimable_oldest.max(seen.oldest);
            }
        }
        for alike in &self.workers {
            let served = || alike.queues.iter().filter(|(queue, _)| chosen(queue));
            if served().next().is_none() {
                continue;
            }
            sum.workers = sum.workers.saturating_add(alike.workers);
            sum.slots += alike.slots;
            served().for_each(|(_, ran)| sum.ran += *ran);
        }
        // Jobs of workers that have just gone are leased for a moment longer; others are claimed a
        // little ahead.
        sum.busy = sum.busy.min(sum.slots);
        sum
    }
}

impl Sum {
    /// How long a run took lately, in seconds; `None` if no worker that lives has run one.
    pub(super) fn mean_run(&self) -> Option<f64> {
        (self.ran.runs > 0.0).then(|| self.ran.seconds / self.ran.runs)
    }

    /// The load, as far as more workers can do something about it: `earlier` are sums of the time
    /// before, the latest last.
    pub(super) fn load(&self, at: Timestamp, earlier: &[(Timestamp, Self)]) -> Load {
        let ended = self.ran.runs / Ran::MEMORY_SECONDS;
        let first = earlier.iter().find(|(then, _)| at.since(*then) <= GROWTH_OVER);
        let growth = first.map_or(0.0, |(then, sum)| {
            let over = at.since(*then).as_secs_f64();
            if over > 0.0 { (self.open() - sum.open()) / over } else { 0.0 }
        });
        Load {
            ready: self.claimable,
            oldest: self.claimable_oldest,
            // What ended and what is there in addition must have come.
            arrivals: (ended + growth).max(0.0),
            mean_run: self.mean_run(),
            busy: self.busy,
            slots: self.slots,
            workers: self.workers,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of jobs are far below 2^52")]
    fn open(&self) -> f64 {
        (self.claimable + self.busy) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(name: &str) -> Queue {
        Queue::parse(name).unwrap()
    }

    fn seen(name: &str, ready: u64, running: u64, is_held: bool) -> QueueSeen {
        QueueSeen { queue: queue(name), ready, oldest: 9 * SECOND, running, is_held }
    }

    fn worker(slots: u32, queues: &[(&str, f64)]) -> Presence {
        let ran = |(name, runs): &(&str, f64)| (queue(name), Ran { runs: *runs, seconds: *runs });
        Presence { slots, queues: queues.iter().map(ran).collect(), ..Presence::default() }
    }

    #[test]
    fn a_queue_counts_the_workers_that_serve_it_and_its_own_runs() {
        let roster = vec![
            worker(4, &[("a.x", 0.5), ("b", 7.0)]),
            worker(6, &[("a.x", 1.5), ("b", 1.0)]),
            worker(5, &[("b", 4.0)]),
            Presence { role: "api".to_owned(), ..Presence::default() },
        ];
        let queues = vec![seen("a.x", 7, 3, false), seen("b", 100, 50, false)];
        let fleet = Fleet::new(Timestamp::from_millis(0), queues, roster);
        let one = fleet.sum(|queue| queue.as_str().starts_with("a."));
        assert_eq!((one.ready, one.busy, one.slots, one.workers), (7, 3, 10, 2));
        assert_eq!(one.ran.runs, 2.0);
        let all = fleet.sum(|_| true);
        // More is leased than there are slots.
        assert_eq!((all.ready, all.busy, all.slots, all.workers), (107, 15, 15, 3));
        assert_eq!(all.mean_run(), Some(1.0));
        assert_eq!(fleet.sum(|_| false).mean_run(), None);
    }

    #[test]
    fn jobs_that_nobody_may_claim_call_for_nobody() {
        let queues = vec![seen("a", 9_000, 0, true), seen("b", 3, 1, false)];
        let roster = vec![worker(10, &[("b", 0.0)])];
        let fleet = Fleet::new(Timestamp::from_millis(0), queues, roster);
        let sum = fleet.sum(|_| true);
        assert_eq!(sum.ready, 9_003);
        assert_eq!(sum.load(Timestamp::from_millis(0), &[]).ready, 3);
    }

    #[test]
    fn a_queue_whose_node_is_away_sends_no_worker_home_and_calls_for_none() {
        let at = Timestamp::from_millis(0);
        let before = Fleet::new(at, vec![seen("a", 9_000, 7, false)], Vec::new());
        let away = QueueSeen::away(&queue("a"), Some(&before));
        let now = Fleet::new(at, vec![away], vec![worker(10, &[("a", 0.0)])]);
        let load = now.sum(|_| true).load(at, &[]);
        assert_eq!((load.ready, load.busy), (0, 7));
        let unknown = QueueSeen::away(&queue("b"), Some(&before));
        assert_eq!((unknown.ready, unknown.running, unknown.is_held), (0, 0, true));
    }

    #[test]
    fn what_ended_and_what_is_there_in_addition_has_come() {
        let at = |seconds: u32| Timestamp::from_millis(0).after(SECOND * seconds);
        let sum = |ready, runs| {
            let roster = vec![worker(10, &[("a", runs)])];
            Fleet::new(at(0), vec![seen("a", ready, 0, false)], roster).sum(|_| true)
        };
        let earlier = [(at(0), sum(9_000, 0.0)), (at(20), sum(100, 0.0))];
        // Ten a second end, and thirty a second are there in addition.
        let ten_a_second = 10.0 * Ran::MEMORY_SECONDS;
        let load = sum(700, ten_a_second).load(at(40), &earlier);
        assert!((load.arrivals - 40.0).abs() < 1e-9, "{load:?}");
        assert_eq!(sum(0, 0.0).load(at(40), &earlier).arrivals, 0.0);
        assert_eq!(sum(700, ten_a_second).load(at(40), &[]).arrivals, 10.0);
    }
}
