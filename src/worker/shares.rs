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
    /// Shares `places` among `queues`: a quarter of them is kept from any single queue, in equal
    /// parts as the others' reserves or, if that is less than one place each, for whoever comes. A
    /// queue in `slots` gets no more than so many.
    pub(super) fn new(places: usize, queues: &[Queue], slots: &HashMap<Queue, usize>) -> Self {
        let count = queues.len();
        let apart = if count > 1 { places / 4 } else { 0 };
        let reserve = apart.checked_div(count).unwrap_or(0);
        let most = |queue| slots.get(queue).copied().unwrap_or(places).clamp(1, places.max(1));
        // What a queue can never use is not kept for it.
        let reserves: Vec<usize> = queues.iter().map(|queue| reserve.min(most(queue))).collect();
        let kept: usize = reserves.iter().sum();
        let each = queues.iter().zip(reserves).map(|(queue, reserve)| {
            let others = if kept > 0 { kept - reserve } else { apart };
            let cap = places.saturating_sub(others).min(most(queue));
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
        fn whatever_queue_hangs_another_still_gets_a_quarter_of_the_places(
            count in 2usize..20, places in 4usize..200, late in 0usize..20,
        ) {
            let shares = Shares::new(places, &queues(count), &HashMap::new());
            let (hung, late) = (late % count, (late + 1) % count);
            let taken = served(&shares, &vec![hung; places]);
            let left = shares.limit(late, |other| taken[other]);
            // The reserves of the others are whole places.
            prop_assert!(left >= places / 4 / count && left >= 1, "{left} of {places}");
        }

        #[test]
        fn with_places_enough_every_queue_has_one_whatever_all_others_do(
            count in 2usize..8, more in 0usize..40, late in 0usize..8,
            asking in proptest::collection::vec(0usize..8, 0..300),
        ) {
            let places = 4 * count + more;
            let shares = Shares::new(places, &queues(count), &HashMap::new());
            let late = late % count;
            // All others take what they can get, and give nothing back.
            let hung = asking.into_iter().map(|at| at % count).filter(|at| *at != late);
            let mut taken = served(&shares, &hung.collect::<Vec<_>>());
            prop_assert!(shares.limit(late, |other| taken[other]) >= 1);
            taken[late] = 1;
            prop_assert!(taken.iter().sum::<usize>() <= places);
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
    fn a_quarter_of_the_places_is_kept_from_any_single_queue() {
        let limits = |places, count: usize| -> Vec<usize> {
            let shares = Shares::new(places, &queues(count), &HashMap::new());
            (0..count).map(|at| shares.limit(at, |_| 0)).collect()
        };
        assert_eq!(limits(16, 2), [14, 14]);
        assert_eq!(limits(100, 4), [82, 82, 82, 82]);
        assert_eq!(limits(100, 13), [88; 13]);
        assert_eq!(limits(20, 13), [15; 13], "too few for a place each: kept for whoever comes");
        assert_eq!(limits(2, 2), [2, 2], "too few to keep any");
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
