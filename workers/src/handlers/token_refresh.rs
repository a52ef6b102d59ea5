//! Renews an account's tokens.
//!
//! Most such jobs come from the chore [`Renewals`](crate::renewals::Renewals), ahead of the token's
//! end. A job refreshes even if the token is still good: that is what was asked for. It leaves alone
//! a token that was renewed after the job was enqueued, so a job that waited, or runs a second time,
//! does not refresh twice.

use async_trait::async_trait;
use postworks::job::{JobError, TokenRefresh};
use postworks::worker::{Handler, JobContext};

use super::Services;

/// Handles [`TokenRefresh`].
pub struct RefreshTokens(pub Services);

#[async_trait]
impl Handler<TokenRefresh> for RefreshTokens {
    async fn handle(&self, job: TokenRefresh, cx: &JobContext) -> Result<(), JobError> {
        self.0.accounts.refresh(job.connector_id, cx.created_at).await
    }
}
