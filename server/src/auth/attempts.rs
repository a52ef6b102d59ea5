//! Counts wrong passwords of each account: who guesses has to wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postworks::job::Timestamp;

/// So many wrong passwords at once...
const BURST: u32 = 10;
/// ...and one more each time this has passed.
const INTERVAL: Duration = Duration::from_secs(6);
/// However many were wrong, nobody waits longer.
const DEBT_MAX: Duration = Duration::from_secs(15 * 60);
/// Accounts that are remembered. Beyond it those whose time is soonest over are forgotten.
const ACCOUNTS_MAX: usize = 10_000;

/// Until when each account's wrong passwords count, as if each took [`INTERVAL`] to pay off.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<String, Timestamp>>);

impl Attempts {
    /// Whether a password may be tried now.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn check(&self, account: &str, now: Timestamp) -> Result<(), Duration> {
        let owed = self.lock().get(account).map_or(Duration::ZERO, |until| between(now, *until));
        let room = INTERVAL * (BURST - 1);
        if owed <= room { Ok(()) } else { Err(owed - room) }
    }

    /// A password was wrong.
    pub(super) fn failed(&self, account: &str, now: Timestamp) {
        let mut accounts = self.lock();
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(account) {
            accounts.retain(|_, until| *until > now);
            if accounts.len() >= ACCOUNTS_MAX {
                let soonest = accounts.iter().min_by_key(|(_, until)| **until);
                let soonest = soonest.map(|(account, _)| account.clone());
                soonest.and_then(|account| accounts.remove(&account));
            }
        }
        let until = accounts.entry(account.to_owned()).or_insert(now);
        *until = (*until).max(now).after(INTERVAL).min(now.after(DEBT_MAX));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn between(from: Timestamp, until: Timestamp) -> Duration {
    let millis = until.as_millis().saturating_sub(from.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn ten_wrong_passwords_and_then_one_every_six_seconds() {
        let attempts = Attempts::default();
        for n in 0..BURST {
            assert_eq!(attempts.check("ann", NOW), Ok(()), "{n}");
            attempts.failed("ann", NOW);
        }
        assert_eq!(attempts.check("ann", NOW), Err(INTERVAL));
        assert_eq!(attempts.check("bob", NOW), Ok(()));
        assert_eq!(attempts.check("ann", NOW.after(INTERVAL)), Ok(()));
        attempts.failed("ann", NOW.after(INTERVAL));
        assert_eq!(attempts.check("ann", NOW.after(INTERVAL)), Err(INTERVAL));
    }

    #[test]
    fn nobody_waits_for_longer_than_a_quarter_of_an_hour() {
        let attempts = Attempts::default();
        for _ in 0..10_000 {
            attempts.failed("ann", NOW);
        }
        assert!(attempts.check("ann", NOW).unwrap_err() <= DEBT_MAX);
    }

    #[test]
    fn a_flood_of_accounts_takes_no_more_room_and_frees_nobody_who_guesses() {
        let attempts = Attempts::default();
        for _ in 0..BURST {
            attempts.failed("ann", NOW);
        }
        for n in 0..2 * ACCOUNTS_MAX {
            attempts.failed(&n.to_string(), NOW);
        }
        assert_eq!(attempts.lock().len(), ACCOUNTS_MAX);
        assert!(attempts.check("ann", NOW).is_err());
    }
}
