//! Draws one of several things, each so many times in a hundred.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Things, and their weights.
#[derive(Debug, Clone)]
pub(crate) struct Mix<T: 'static> {
    parts: &'static [(T, u32)],
    sum: u32,
}

impl<T: Copy> Mix<T> {
    /// A mix of these; their weights may add up to anything but nothing.
    pub(crate) const fn of(parts: &'static [(T, u32)]) -> Self {
        let (mut sum, mut n) = (0, 0);
        while n < parts.len() {
            sum += parts[n].1;
            n += 1;
        }
        assert!(sum > 0, "there must be something to draw");
        Self { parts, sum }
    }

    /// One of them.
    pub(crate) fn draw(&self, dice: &mut StdRng) -> T {
        let mut left = dice.random_range(0..self.sum);
        let here = |(_, weight): &&(T, u32)| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        };
        // The sum is that of the weights, so it is always found.
        self.parts.iter().find(here).unwrap_or(&self.parts[0]).0
    }
}

/// Dice for the `n`th of many, whoever makes it and when.
pub(crate) fn dice(seed: u64, n: u64) -> StdRng {
    // Neighbours must not be alike: 2^64 divided by the golden ratio spreads them.
    StdRng::seed_from_u64(seed ^ n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_as_often_as_was_asked_for() {
        let mix = Mix::of(&[("a", 40), ("b", 35), ("c", 20), ("d", 5), ("never", 0)]);
        let mut dice = StdRng::seed_from_u64(1);
        let drawn: Vec<&str> = (0..100_000).map(|_| mix.draw(&mut dice)).collect();
        for (thing, percent) in [("a", 40), ("b", 35), ("c", 20), ("d", 5), ("never", 0)] {
            let count = drawn.iter().filter(|one| **one == thing).count();
            assert!(count.abs_diff(percent * 1_000) < 700, "{thing}: {count}");
        }
    }

    #[test]
    fn calls_with_dice_of_their_own_are_mixed_as_well() {
        let mix = Mix::of(&[("a", 1), ("b", 3)]);
        let drawn = (0..40_000).map(|n| mix.draw(&mut dice(9, n)));
        let count = drawn.filter(|one| *one == "a").count();
        assert!(count.abs_diff(10_000) < 400, "{count}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let mix = Mix::of(&[(1, 1), (2, 1)]);
        let draw = |seed| {
            let mut dice = StdRng::seed_from_u64(seed);
            (0..64).map(|_| mix.draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
