//! What each tenant keeps of a scope. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::job::{CleanupScope, Tenant, Timestamp};

use crate::store::{Keeps, Whose};

/// Whose rows go if they are older than what. Together they are everybody, and nobody twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds(Vec<(Whose, Timestamp)>);

impl Bounds {
    /// Of a scope: those who say nothing keep what is younger than `before`.
    pub(super) fn of(
        scope: CleanupScope,
        now: Timestamp,
        before: Timestamp,
        policies: &[Keeps],
    ) -> Self {
        // Tenants who keep as long go together.
        let mut by_keep: BTreeMap<Duration, Vec<Tenant>> = BTreeMap::new();
        for policy in policies.iter().filter(|policy| policy.scope == scope) {
            by_keep.entry(policy.keep).or_default().push(policy.tenant);
        }
        let own: Vec<Tenant> = by_keep.values().flatten().copied().collect();
        let each = by_keep.into_iter().map(|(keep, own)| (Whose::Of(own), now.before(keep)));
        Self(std::iter::once((Whose::AllBut(own), before)).chain(each).collect())
    }

    fn iter(&self) -> std::slice::Iter<'_, (Whose, Timestamp)> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Bounds {
    type Item = &'a (Whose, Timestamp);
    type IntoIter = std::slice::Iter<'a, (Whose, Timestamp)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What is older than this nobody keeps.
pub(super) fn oldest_kept(bounds: &Bounds) -> Timestamp {
    let oldest = bounds.iter().map(|(_, before)| *before).min();
    oldest.unwrap_or(Timestamp::from_millis(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn tenant(n: u128) -> Tenant {
        Tenant::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn everybody_has_one_bound_and_the_most_patient_decides_for_all() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let keeps = |n, days, scope| Keeps { tenant: tenant(n), scope, keep: DAY * days };
        let policies = [
            keeps(7, 400, CleanupScope::Metrics),
            keeps(8, 10, CleanupScope::Metrics),
            keeps(9, 10, CleanupScope::Metrics),
            keeps(7, 9_000, CleanupScope::Events),
        ];
        let before = now.before(DAY * 95);
        let bounds = Bounds::of(CleanupScope::Metrics, now, before, &policies);
        let expected = [
            (Whose::AllBut(vec![tenant(8), tenant(9), tenant(7)]), before),
            (Whose::Of(vec![tenant(8), tenant(9)]), now.before(DAY * 10)),
            (Whose::Of(vec![tenant(7)]), now.before(DAY * 400)),
        ];
        assert_eq!(bounds, Bounds(expected.to_vec()));
        assert_eq!(oldest_kept(&bounds), now.before(DAY * 400));
        let alone = Bounds::of(CleanupScope::RemotePosts, now, before, &policies);
        assert_eq!(alone, Bounds(vec![(Whose::AllBut(Vec::new()), before)]));
    }
}
