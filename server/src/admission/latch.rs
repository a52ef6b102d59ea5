//! A bound that is reached at one mark and left at a lower one, so that nobody is let in and
//! refused by turns.

/// One bound: shut from it on, until no more than four fifths of it are measured.
#[derive(Debug, Clone)]
pub(super) struct Latch {
    bound: u64,
    shut: bool,
}

impl Latch {
    pub(super) fn new(bound: u64) -> Self {
        Self { bound, shut: false }
    }

    /// Takes a measure; answers whether the bound keeps work out. What cannot be measured does not.
    pub(super) fn look(&mut self, measured: Option<u64>) -> bool {
        self.shut = measured.is_some_and(|measured| {
            measured >= self.bound || self.shut && measured > reopens_at(self.bound)
        });
        self.shut
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    pub(super) fn bound(&self) -> u64 {
        self.bound
    }
}

/// A bound that was reached is left at this measure.
pub(super) fn reopens_at(bound: u64) -> u64 {
    bound - bound.div_ceil(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ten_thousand_shut_and_eight_thousand_open() {
        let mut latch = Latch::new(10_000);
        let looks = [9_999, 10_000, 9_999, 8_001, 8_000, 8_001, 9_999, 10_000];
        let shut = looks.map(|measured| latch.look(Some(measured)));
        assert_eq!(shut, [false, true, true, true, false, false, false, true]);
        assert!(!latch.look(None), "what cannot be read keeps nobody out");
        assert!(!latch.look(Some(9_999)), "and is no memory");
    }

    proptest! {
        #[test]
        fn it_changes_only_at_its_two_marks(
            bound in 1_u64..1_000,
            looks in prop::collection::vec(prop::option::weighted(0.95, 0_u64..1_500), 0..100),
        ) {
            let mut latch = Latch::new(bound);
            let mut before = false;
            for measured in looks {
                let shut = latch.look(measured);
                match measured {
                    None => prop_assert!(!shut),
                    Some(measured) if measured >= bound => prop_assert!(shut),
                    Some(measured) if measured * 5 <= bound * 4 => prop_assert!(!shut),
                    Some(_) => prop_assert_eq!(shut, before),
                }
                before = shut;
            }
        }

        #[test]
        fn it_changes_no_more_often_than_the_load_crosses_from_mark_to_mark(
            bound in 10_u64..1_000,
            wobble in prop::collection::vec(0_u64..1_000, 1..100),
        ) {
            // Between the marks nothing changes, however much it wobbles.
            let low = reopens_at(bound) + 1;
            let mut latch = Latch::new(bound);
            latch.look(Some(bound));
            for step in wobble {
                prop_assert!(latch.look(Some(low + step % (bound - low).max(1))));
            }
        }
    }
}
