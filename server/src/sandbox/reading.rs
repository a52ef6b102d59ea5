//! What can be read beside posts: their numbers, and what an account says of itself.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::accounts::AccountNo;
use super::error::ApiError;
use super::faults::{Call, Outcome};
use super::platform::Platform;

/// After so many milliseconds a post has half of the numbers that it will ever have.
const HALF_MS: u64 = 6 * 3_600_000;
/// Followers that each post brings.
const FOLLOWERS_A_POST: usize = 10;

/// What is counted of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Numbers {
    id: String,
    likes: u64,
    reposts: u64,
    replies: u64,
    views: u64,
}

/// What an account says of itself.
#[derive(Debug, Serialize)]
pub(super) struct Profile {
    account: String,
    handle: String,
    display_name: String,
    description: String,
    followers: usize,
}

impl Platform {
    /// The numbers of the caller's posts of these ids; those that he has not made are left out.
    pub(super) fn numbers(
        &mut self,
        token: &str,
        ids: &[&str],
        now_ms: i64,
    ) -> Result<Outcome<Vec<Numbers>>, ApiError> {
        let Self { accounts, grants, posts, journal, faults, .. } = self;
        let no = grants.bearer(token, now_ms)?;
        faults.meet(Call::Numbers, accounts.get(no), |_| {
            let entries = journal.entries();
            let found = ids.iter().filter_map(|id| posts.named(no, id));
            Ok(found.map(|place| counted(&entries[place].id, &entries[place].ts, now_ms)).collect())
        })
    }

    /// What an account says of itself.
    pub(super) fn profile(
        &mut self,
        token: &str,
        name: &str,
        now_ms: i64,
    ) -> Result<Outcome<Profile>, ApiError> {
        self.grants.bearer(token, now_ms)?;
        let no: AccountNo = self.accounts.find(name).ok_or_else(|| {
            let message = format!("there is no account with the id or handle {name:?}");
            ApiError::new(StatusCode::NOT_FOUND, "unknown_account", message)
        })?;
        let Self { accounts, posts, faults, .. } = self;
        let account = accounts.get(no);
        faults.meet(Call::Profile, account, |_| {
            Ok(Profile {
                account: account.id.clone(),
                handle: account.handle.clone(),
                display_name: format!("{} of the sandbox", account.handle),
                description: "An account of a test double.".to_owned(),
                followers: posts.count(no) * FOLLOWERS_A_POST,
            })
        })
    }
}

/// The numbers of a post at a time: they never fall, and near what its id says as it gets old.
fn counted(id: &str, ts: &str, now_ms: i64) -> Numbers {
    let made_ms = ts.parse().map_or(now_ms, Timestamp::as_millisecond);
    let age = u64::try_from(now_ms - made_ms).unwrap_or(0).min(HALF_MS * 1_000);
    // FNV-1a: the same on every machine.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let views = (id.bytes().fold(0xcbf2_9ce4_8422_2325, fold) % 10_000) * age / (age + HALF_MS);
    let [likes, reposts, replies] = [10, 50, 100].map(|share| views / share);
    Numbers { id: id.to_owned(), likes, reposts, replies, views }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_with_age_and_are_the_same_for_the_same_age() {
        let (id, ts) = ("post_0123", "2026-01-01T00:00:00.000Z");
        let made = ts.parse::<Timestamp>().unwrap().as_millisecond();
        let at = |hours: i64| counted(id, ts, made + hours * 3_600_000);
        let views: Vec<u64> = [0, 1, 6, 24, 24_000].map(|hours| at(hours).views).to_vec();
        assert!(views.is_sorted() && views[0] == 0 && views[4] > views[1], "{views:?}");
        assert_eq!(at(7), at(7));
        assert_eq!(at(-1).views, 0, "a clock that is behind");
    }
}
