//! When an account's tokens are renewed ahead of their end.
//!
//! Early enough that a platform which is away for a while, or a queue that is behind, lets no token
//! end under a job; and not all together: accounts that were connected in the same minute would
//! else be renewed in the same minute for ever.

use std::time::Duration;

use postworks::job::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

use super::Renewed;

/// What is left of a token's life when it is renewed, at least; a tenth of its life if that is more,
/// and never more than half of it.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// Over how long renewals are spread, before the margin; a tenth of the life if that is more, and
/// never more than half of what the margin leaves.
const SPREAD: Duration = Duration::from_secs(10 * 60);
/// A token of a shorter life is renewed by who needs it: so soon, nothing can be ahead.
const SHORTEST: Duration = Duration::from_secs(60);

/// When tokens are to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// A refresh is enqueued then.
    pub(super) due_at: Timestamp,
    /// Tokens that are still the same then are late: half of the margin is gone.
    pub(super) late_at: Timestamp,
}

/// When to renew tokens that were issued then and end then. `dice`, from 0 to 1, says where in the
/// spread. `None` for those that live too shortly, or have ended when they come.
fn plan(issued_at: Timestamp, ends_at: Timestamp, dice: f64) -> Option<Plan> {
    let life = ends_at.since(issued_at);
    if life < SHORTEST {
        return None;
    }
    let margin = MARGIN.max(life / 10).min(life / 2);
    let spread = SPREAD.max(life / 10).min((life - margin) / 2);
    let due_at = ends_at.before(margin + spread.mul_f64(dice.clamp(0.0, 1.0)));
    Some(Plan { due_at, late_at: ends_at.before(margin / 2) })
}

/// Where in the spread an account's tokens of a version are: another place each time, and the same
/// however often they are committed.
fn dice(connector_id: Uuid, version: i64) -> f64 {
    let mut seed = [0; 32];
    let (account, rest) = seed.split_at_mut(16);
    account.copy_from_slice(connector_id.as_bytes());
    if let Some(place) = rest.first_chunk_mut() {
        *place = version.to_le_bytes();
    }
    StdRng::from_seed(seed).random()
}

impl Renewed {
    /// When these tokens of an account are to be renewed, if there is anything to renew them with.
    pub(super) fn ahead(&self, now: Timestamp, connector_id: Uuid, version: i64) -> Option<Plan> {
        let renewable = self.refresh.is_some() || self.secret.is_some();
        let end = self.expires_at.filter(|_| renewable)?;
        plan(now, end, dice(connector_id, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;

    fn planned(life_ms: u64, dice: f64) -> Option<(Timestamp, Timestamp, Plan)> {
        let issued = Timestamp::from_millis(1_800_000_000_000);
        let ends = issued.after(Duration::from_millis(life_ms));
        plan(issued, ends, dice).map(|plan| (issued, ends, plan))
    }

    proptest! {
        #[test]
        fn tokens_are_renewed_before_the_margin_and_not_in_the_first_quarter_of_their_life(
            life_ms in 60_000..1_000 * HOUR,
            dice in 0.0..=1.0,
        ) {
            let (issued, ends, plan) = planned(life_ms, dice).unwrap();
            let life = Duration::from_millis(life_ms);
            let (age, left) = (plan.due_at.since(issued), ends.since(plan.due_at));
            // Times are whole milliseconds.
            let whole = Duration::from_millis(1);
            prop_assert!(age + whole >= life / 4, "{age:?} of {life:?}");
            prop_assert!(left + whole >= MARGIN.min(life / 2).max(life / 10), "{left:?} of {life:?}");
            prop_assert!(plan.due_at < plan.late_at && plan.late_at < ends);
            let (early, late) = (planned(life_ms, 1.0).unwrap(), planned(life_ms, 0.0).unwrap());
            prop_assert!((early.2.due_at..=late.2.due_at).contains(&plan.due_at));
            let spread = late.2.due_at.since(early.2.due_at) + whole;
            prop_assert!(spread >= SPREAD.min(life / 4).max(life / 10), "{spread:?} of {life:?}");
        }

        #[test]
        fn what_ends_at_once_is_left_to_who_needs_it(life_ms in 0_u64..60_000, dice in 0.0..=1.0) {
            prop_assert_eq!(planned(life_ms, dice), None);
        }

        #[test]
        fn no_time_is_too_far_away(issued: i64, ends: i64, dice: f64) {
            let (issued, ends) = (Timestamp::from_millis(issued), Timestamp::from_millis(ends));
            if let Some(plan) = plan(issued, ends, dice) {
                prop_assert!(issued <= plan.due_at && plan.due_at < ends);
            }
        }
    }

    #[test]
    fn an_hour_leaves_a_quarter_and_spreads_over_ten_minutes() {
        let left = |life, dice| {
            let (_, ends, plan) = planned(life, dice).unwrap();
            [ends.since(plan.due_at), ends.since(plan.late_at)]
                .map(|left| left.as_secs_f64() / 60.0)
        };
        assert_eq!(left(HOUR, 0.0), [15.0, 7.5]);
        assert_eq!(left(HOUR, 1.0), [25.0, 7.5]);
        assert_eq!(left(24 * HOUR, 0.5), [144.0 * 1.5, 72.0]);
        assert_eq!(left(HOUR / 30, 1.0), [1.5, 0.5]);
    }

    #[test]
    fn the_dice_of_many_accounts_and_of_many_versions_fall_evenly() {
        let accounts: Vec<f64> = (0..10_000).map(|n| dice(Uuid::from_u128(n), 1)).collect();
        let versions: Vec<f64> = (0..10_000).map(|n| dice(Uuid::nil(), n)).collect();
        for fallen in [accounts, versions] {
            let mut tenths = [0_u32; 10];
            for dice in fallen {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 9"
                )]
                let tenth = (dice * 10.0) as usize;
                tenths[tenth] += 1;
            }
            assert!(tenths.iter().all(|count| (850..=1_150).contains(count)), "{tenths:?}");
        }
        assert_eq!(dice(Uuid::nil(), 7).to_bits(), dice(Uuid::nil(), 7).to_bits());
    }
}
