//! Publishing as a handler does, without its rows.

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, JobError};
use secrecy::SecretString;

use crate::platforms::{Account, Committed, Outgoing, Platform, Preparation, Prepared, Published};

/// Prepares a post until it is ready, waiting as the platform says, and commits it.
///
/// # Errors
/// As of either request; `Invalid` if the account has a post like this one.
pub async fn publish(
    platform: &dyn Platform,
    account: &Account,
    access: &SecretString,
    post: &Outgoing,
) -> Result<Published, JobError> {
    let by = account.with(access);
    let mut so_far = Prepared::NOTHING;
    let prepared = loop {
        match platform.prepare(by, post, so_far).await? {
            Preparation::Ready(prepared) => break prepared,
            Preparation::Waits { so_far: kept, until } => {
                so_far = kept;
                tokio::time::sleep(until.since(SystemClock.now())).await;
            }
        }
    };
    match platform.commit(by, post, &prepared).await? {
        Committed::Published(published) => Ok(published),
        Committed::AlreadyThere { .. } => {
            Err(JobError::new(ErrorClass::Invalid, "the account has a post like this one already"))
        }
    }
}
