//! How the places of a worker are shared among its queues.
//!
//! A platform that hangs keeps every place that its jobs got. So each queue has a small reserve
//! that nobody else may take: whatever hangs, the other queues go on. Everything above the
//! reserves goes to whoever has work.

use std::collections::HashMap;

use crate::job::Queue;

/// The shares of a worker's queues; a queue is known by its place in the list.
#[derive(Debug, Default)]
pub(super) struct Shares {
    places: usize,
    at: HashMap<Queue, usize>,
    each: Vec<Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    /// Places that are kept for it.
    reserve: usize,
    /// Places it may have at most.
    cap: usize,
}

impl Shares {
    /// Shares `places` among `queues`: half of them is kept, in equal parts, at least one for each
    /// if there are enough. A queue in `slots` gets no more than so many.
    pub(super) fn new(places: usize, queues: &[Queue], slots: &HashMap<Queue, usize>) -> Self {
        let count = queues.len();
        let reserve = match count {
            0 | 1 => 0,
            _ if places < count => 0,
            _ => (places / (2 * count)).max(1),
        };
        let most = |queue| slots.get(queue).copied().unwrap_or(places).clamp(1, places.max(1));
        // What a queue can never use is not kept for it.
        let reserves: Vec<usize> = queues.iter().map(|queue| reserve.min(most(queue))).collect();
        let kept: usize = reserves.iter().sum();
        let each = queues.iter().zip(reserves).map(|(queue, reserve)| {
            let cap = places.saturating_sub(kept - reserve).min(most(queue));
            Share { reserve, cap }
        });
        Self {
            places,
            each: each.collect(),
            at: queues.iter().cloned().enumerate().map(|(at, queue)| (queue, at)).collect(),
        }
    }

    /// How many queues there are.
    pub(super) fn len(&self) -> usize {
        self.each.len()
    }

    /// Where a queue stands in the list.
    pub(super) fn at(&self, queue: &Queue) -> Option<usize> {
        self.at.get(queue).copied()
    }

    /// How many places a queue may have now, those it has included, when each has `taken` so many.
    pub(super) fn limit(&self, at: usize, taken: impl Fn(usize) -> usize) -> usize {
        let Some(own) = self.each.get(at) else { return 0 };
        let others = self.each.iter().enumerate().filter(|(other, _)| *other != at);
        // More than its cap is only claimed ahead, and takes no place.
        let theirs = others.map(|(other, share)| taken(other).min(share.cap).max(share.reserve));
        self.places.saturating_sub(theirs.sum()).max(own.reserve).min(own.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queues(count: usize) -> Vec<Queue> {
        (0..count).map(|n| Queue::parse(&format!("kind_{n}")).unwrap()).collect()
    }

    /// Gives places one by one to the queues that ask, as far as their limits go.
    fn served(shares: &Shares, asking: &[usize]) -> Vec<usize> {
        let mut taken = vec![0; shares.len()];
        for at in asking {
            if taken[*at] < shares.limit(*at, |other| taken[other]) {
                taken[*at] += 1;
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn never_are_more_places_given_than_there_are(
            places in 1usize..40, count in 1usize..8,
            slots in proptest::collection::hash_map(0usize..8, 1usize..50, 0..4),
            asking in proptest::collection::vec(0usize..8, 0..200),
        ) {
            let queues = queues(count);
            let slots: HashMap<Queue, usize> = slots
                .into_iter()
                .filter_map(|(at, most)| Some((queues.get(at)?.clone(), most)))
                .collect();
            let shares = Shares::new(places, &queues, &slots);
            let asking: Vec<usize> = asking.into_iter().map(|at| at % count).collect();
            let taken = served(&shares, &asking);
            prop_assert!(taken.iter().sum::<usize>() <= places);
            for (queue, taken) in queues.iter().zip(&taken) {
                prop_assert!(slots.get(queue).is_none_or(|most| taken <= most));
            }
        }

        #[test]
        fn whoever_hangs_every_other_queue_still_gets_a_place(
            count in 2usize..8, more in 0usize..40, late in 0usize..8,
            asking in proptest::collection::vec(0usize..8, 0..200),
        ) {
            let shares = Shares::new(count + more, &queues(count), &HashMap::new());
            let late = late % count;
            // All others take what they can get, and give nothing back.
            let hung = asking.into_iter().map(|at| at % count).filter(|at| *at != late);
            let mut taken = served(&shares, &hung.collect::<Vec<_>>());
            prop_assert!(shares.limit(late, |other| taken[other]) >= 1);
            taken[late] = 1;
            prop_assert!(taken.iter().sum::<usize>() <= count + more);
        }

        #[test]
        fn a_lone_queue_gets_every_place(places in 1usize..10_000) {
            let shares = Shares::new(places, &queues(1), &HashMap::new());
            prop_assert_eq!(shares.limit(0, |_| 0), places);
        }

        #[test]
        fn what_others_claimed_ahead_does_not_count_against_a_queue(
            places in 2usize..100, ahead in 0usize..5_000,
        ) {
            let shares = Shares::new(places, &queues(2), &HashMap::new());
            let full = places - shares.limit(0, |_| 0);
            prop_assert_eq!(shares.limit(1, |_| places + ahead), full);
        }
    }

    #[test]
    fn half_of_the_places_is_kept_in_equal_parts() {
        let limits = |places, count: usize| -> Vec<usize> {
            let shares = Shares::new(places, &queues(count), &HashMap::new());
            (0..count).map(|at| shares.limit(at, |_| 0)).collect()
        };
        assert_eq!(limits(10, 2), [8, 8]);
        assert_eq!(limits(100, 4), [64, 64, 64, 64]);
        assert_eq!(limits(2, 2), [1, 1]);
        assert_eq!(limits(1, 2), [1, 1], "too few to keep any");
    }

    #[test]
    fn what_a_capped_queue_cannot_use_is_not_kept_for_it() {
        let queues = queues(2);
        let slots = HashMap::from([(queues[0].clone(), 2)]);
        let shares = Shares::new(40, &queues, &slots);
        assert_eq!(shares.limit(0, |_| 0), 2);
        assert_eq!(shares.limit(1, |_| 0), 38);
    }
}
