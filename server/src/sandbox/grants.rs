//! Tokens with strict refresh-token rotation, the strictest of the semantics platforms use.
//!
//! A refresh token works once. Using it again can only mean that two parties hold it, so the
//! whole grant dies: every access and refresh token that came of it, the rightful holder's too.
//! Spent tokens are therefore remembered, never deleted. Access tokens live on to their own
//! expiry when the grant is refreshed. Times are milliseconds handed in by the caller.

use std::collections::HashMap;

use axum::http::StatusCode;
use uuid::Uuid;

use super::{accounts::AccountNo, error::ApiError};

/// A grant's place in the table.
pub(super) type GrantNo = usize;

#[derive(Debug)]
struct Grant {
    account: AccountNo,
    ttl_s: i64,
    revoked: bool,
}

#[derive(Debug)]
struct Access {
    grant: GrantNo,
    expires_at_ms: i64,
}

#[derive(Debug)]
struct Refresh {
    grant: GrantNo,
    spent: bool,
}

/// Fresh tokens, as the client gets them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) expires_in: i64,
}

/// All grants and every token they ever gave out.
#[derive(Debug, Default)]
pub(super) struct Grants {
    rows: Vec<Grant>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
}

impl Grants {
    /// Opens an account's grant; its access tokens live for `ttl_s`.
    pub(super) fn open(&mut self, account: AccountNo, ttl_s: i64, now_ms: i64) -> Tokens {
        let grant = self.rows.len();
        self.rows.push(Grant { account, ttl_s, revoked: false });
        self.issue(grant, ttl_s, now_ms)
    }

    /// Tells whose access token this is, if it is still good.
    pub(super) fn bearer(&self, token: &str, now_ms: i64) -> Result<AccountNo, ApiError> {
        let Some(access) = self.access.get(token) else {
            return Err(ApiError::unauthorized("invalid_token", "this access token is unknown"));
        };
        let grant = &self.rows[access.grant];
        // Revocation first: a revoked token stays dead however often the client refreshes.
        if grant.revoked {
            return Err(ApiError::unauthorized("token_revoked", "the grant has been revoked"));
        }
        if now_ms >= access.expires_at_ms {
            return Err(ApiError::unauthorized("token_expired", "the access token has expired"));
        }
        Ok(grant.account)
    }

    /// Looks at a refresh token before it is spent. Shown a spent one, revokes its whole grant.
    pub(super) fn redeemable(&mut self, token: &str) -> Result<(GrantNo, AccountNo), ApiError> {
        let Some(refresh) = self.refresh.get(token) else {
            return Err(invalid_grant("this refresh token is unknown"));
        };
        let grant = &mut self.rows[refresh.grant];
        if refresh.spent {
            grant.revoked = true;
            return Err(invalid_grant("this refresh token was used before; the grant is revoked"));
        }
        if grant.revoked {
            return Err(invalid_grant("the grant has been revoked"));
        }
        Ok((refresh.grant, grant.account))
    }

    /// Spends a refresh token that [`Grants::redeemable`] has approved.
    pub(super) fn rotate(&mut self, grant: GrantNo, token: &str, now_ms: i64) -> Tokens {
        if let Some(refresh) = self.refresh.get_mut(token) {
            refresh.spent = true;
        }
        self.issue(grant, self.rows[grant].ttl_s, now_ms)
    }

    fn issue(&mut self, grant: GrantNo, ttl_s: i64, now_ms: i64) -> Tokens {
        let access = format!("sbx_at_{}", Uuid::new_v4().simple());
        let refresh = format!("sbx_rt_{}", Uuid::new_v4().simple());
        let expires_at_ms = now_ms.saturating_add(ttl_s.saturating_mul(1_000));
        self.access.insert(access.clone(), Access { grant, expires_at_ms });
        self.refresh.insert(refresh.clone(), Refresh { grant, spent: false });
        Tokens { access, refresh, expires_in: ttl_s }
    }
}

fn invalid_grant(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_grant", message)
}

#[cfg(test)]
mod tests {
    use super::{Grants, Tokens};

    fn code<T: std::fmt::Debug>(result: Result<T, super::ApiError>) -> String {
        result.unwrap_err().to_string().split(':').next().unwrap_or_default().to_owned()
    }

    fn rotate(grants: &mut Grants, refresh: &str) -> Tokens {
        let (grant, _) = grants.redeemable(refresh).unwrap();
        grants.rotate(grant, refresh, 0)
    }

    #[test]
    fn an_access_token_expires_at_its_last_millisecond_and_not_before() {
        let mut grants = Grants::default();
        let tokens = grants.open(7, 60, 1_000);
        assert_eq!(grants.bearer(&tokens.access, 60_999).unwrap(), 7);
        assert_eq!(code(grants.bearer(&tokens.access, 61_000)), "token_expired");
    }

    #[test]
    fn a_reused_refresh_token_revokes_every_token_of_the_grant_and_no_other_grant() {
        let mut grants = Grants::default();
        let other = grants.open(1, 60, 0);
        let first = grants.open(2, 60, 0);
        let second = rotate(&mut grants, &first.refresh);
        assert_eq!(code(grants.redeemable(&first.refresh)), "invalid_grant");
        for token in [&first.access, &second.access] {
            assert_eq!(code(grants.bearer(token, 0)), "token_revoked");
        }
        assert_eq!(code(grants.redeemable(&second.refresh)), "invalid_grant");
        assert_eq!(grants.bearer(&other.access, 0).unwrap(), 1);
    }

    #[test]
    fn a_revoked_token_is_called_revoked_even_after_its_expiry() {
        let mut grants = Grants::default();
        let first = grants.open(0, 60, 0);
        rotate(&mut grants, &first.refresh);
        assert!(grants.redeemable(&first.refresh).is_err());
        assert_eq!(code(grants.bearer(&first.access, i64::MAX)), "token_revoked");
    }

    #[test]
    fn looking_at_a_refresh_token_does_not_spend_it() {
        let mut grants = Grants::default();
        let tokens = grants.open(0, 60, 0);
        assert!(grants.redeemable(&tokens.refresh).is_ok());
        assert!(grants.redeemable(&tokens.refresh).is_ok());
    }
}
