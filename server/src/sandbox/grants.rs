//! Tokens whose refresh tokens rotate, in one of two of the ways that platforms have.
//!
//! Strict, unless an account says otherwise: a refresh token works once. Using it again can only
//! mean that two parties hold it, so the whole grant dies: every access and refresh token that came
//! of it, the rightful holder's too. Spent tokens are therefore remembered, never deleted.
//!
//! Siblings: a refresh token works until something that came of it was used; each time it makes new
//! tokens, and those it made before die. Then it is refused, and nothing else happens.
//!
//! Access tokens live on to their own expiry when the grant is refreshed. Times are milliseconds
//! handed in by the caller.

use std::collections::HashMap;

use axum::http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use super::{accounts::AccountNo, error::ApiError};

/// A grant's place in the table.
pub(super) type GrantNo = usize;

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rotation {
    /// It is spent, and using it again ends the grant.
    #[default]
    Strict,
    /// It is spent once what it made is used.
    Sibling,
}

#[derive(Debug)]
struct Grant {
    account: AccountNo,
    ttl_s: i64,
    rotation: Rotation,
    revoked: bool,
}

#[derive(Debug)]
struct Access {
    grant: GrantNo,
    expires_at_ms: i64,
    /// The refresh token that it came of.
    parent: Option<String>,
}

#[derive(Debug)]
struct Refresh {
    grant: GrantNo,
    spent: bool,
    /// The refresh token that it came of.
    parent: Option<String>,
    /// What it made last.
    made: Option<Tokens>,
}

/// Fresh tokens, as the client gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub(super) fn open(
        &mut self,
        account: AccountNo,
        ttl_s: i64,
        rotation: Rotation,
        now_ms: i64,
    ) -> Tokens {
        let grant = self.rows.len();
        self.rows.push(Grant { account, ttl_s, rotation, revoked: false });
        self.issue(grant, None, now_ms)
    }

    /// Tells whose access token this is, if it is still good.
    pub(super) fn bearer(&mut self, token: &str, now_ms: i64) -> Result<AccountNo, ApiError> {
        let Some(access) = self.access.get_mut(token) else {
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
        let (account, parent) = (grant.account, access.parent.take());
        self.spend(parent);
        Ok(account)
    }

    /// Looks at a refresh token before it is spent. Shown a spent one, revokes its whole grant.
    pub(super) fn redeemable(&mut self, token: &str) -> Result<(GrantNo, AccountNo), ApiError> {
        let Some(refresh) = self.refresh.get(token) else {
            return Err(invalid_grant("this refresh token is unknown"));
        };
        let grant = &mut self.rows[refresh.grant];
        if refresh.spent && grant.rotation == Rotation::Sibling {
            return Err(invalid_grant("what this refresh token made is in use"));
        }
        if refresh.spent {
            grant.revoked = true;
            return Err(invalid_grant("this refresh token was used before; the grant is revoked"));
        }
        if grant.revoked {
            return Err(invalid_grant("the grant has been revoked"));
        }
        Ok((refresh.grant, grant.account))
    }

    /// Ends the grant that a token came of, whichever of its tokens it is; one that is unknown ends
    /// nothing.
    pub(super) fn revoke(&mut self, token: &str) {
        let refresh = self.refresh.get(token).map(|refresh| refresh.grant);
        let grant = refresh.or_else(|| self.access.get(token).map(|access| access.grant));
        if let Some(grant) = grant {
            self.rows[grant].revoked = true;
        }
    }

    /// Uses a refresh token that [`Grants::redeemable`] has approved.
    pub(super) fn rotate(&mut self, grant: GrantNo, token: &str, now_ms: i64) -> Tokens {
        if self.rows[grant].rotation == Rotation::Strict {
            self.spend(Some(token.to_owned()));
            return self.issue(grant, None, now_ms);
        }
        let used = self.refresh.get_mut(token);
        let (parent, sibling) =
            used.map(|used| (used.parent.take(), used.made.take())).unwrap_or_default();
        self.spend(parent);
        if let Some(Tokens { access, refresh, .. }) = sibling {
            self.access.remove(&access);
            self.refresh.remove(&refresh);
        }
        let tokens = self.issue(grant, Some(token.to_owned()), now_ms);
        if let Some(used) = self.refresh.get_mut(token) {
            used.made = Some(tokens.clone());
        }
        tokens
    }

    /// From now on a refresh token is of no use.
    fn spend(&mut self, token: Option<String>) {
        if let Some(refresh) = token.and_then(|token| self.refresh.get_mut(&token)) {
            refresh.spent = true;
        }
    }

    fn issue(&mut self, grant: GrantNo, parent: Option<String>, now_ms: i64) -> Tokens {
        let ttl_s = self.rows[grant].ttl_s;
        let access = format!("sbx_at_{}", Uuid::new_v4().simple());
        let refresh = format!("sbx_rt_{}", Uuid::new_v4().simple());
        let expires_at_ms = now_ms.saturating_add(ttl_s.saturating_mul(1_000));
        let good = Access { grant, expires_at_ms, parent: parent.clone() };
        self.access.insert(access.clone(), good);
        let next = Refresh { grant, spent: false, parent, made: None };
        self.refresh.insert(refresh.clone(), next);
        Tokens { access, refresh, expires_in: ttl_s }
    }
}

fn invalid_grant(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_grant", message)
}

#[cfg(test)]
mod tests {
    use super::{Grants, Rotation, Tokens};

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
        let tokens = grants.open(7, 60, Rotation::Strict, 1_000);
        assert_eq!(grants.bearer(&tokens.access, 60_999).unwrap(), 7);
        assert_eq!(code(grants.bearer(&tokens.access, 61_000)), "token_expired");
    }

    #[test]
    fn a_reused_refresh_token_revokes_every_token_of_the_grant_and_no_other_grant() {
        let mut grants = Grants::default();
        let other = grants.open(1, 60, Rotation::Strict, 0);
        let first = grants.open(2, 60, Rotation::Strict, 0);
        let second = rotate(&mut grants, &first.refresh);
        assert_eq!(code(grants.redeemable(&first.refresh)), "invalid_grant");
        for token in [&first.access, &second.access] {
            assert_eq!(code(grants.bearer(token, 0)), "token_revoked");
        }
        assert_eq!(code(grants.redeemable(&second.refresh)), "invalid_grant");
        assert_eq!(grants.bearer(&other.access, 0).unwrap(), 1);
    }

    #[test]
    fn any_token_of_a_grant_revokes_all_of_it_and_no_other_grant() {
        for which in 0..3 {
            let mut grants = Grants::default();
            let other = grants.open(1, 60, Rotation::Strict, 0);
            let first = grants.open(2, 60, Rotation::Strict, 0);
            let second = rotate(&mut grants, &first.refresh);
            grants.revoke("of nobody");
            assert_eq!(grants.bearer(&second.access, 0).unwrap(), 2);
            grants.revoke([&first.refresh, &second.refresh, &second.access][which]);
            assert_eq!(code(grants.bearer(&second.access, 0)), "token_revoked");
            assert_eq!(code(grants.redeemable(&second.refresh)), "invalid_grant");
            assert_eq!(grants.bearer(&other.access, 0).unwrap(), 1);
        }
    }

    #[test]
    fn a_revoked_token_is_called_revoked_even_after_its_expiry() {
        let mut grants = Grants::default();
        let first = grants.open(0, 60, Rotation::Strict, 0);
        rotate(&mut grants, &first.refresh);
        assert!(grants.redeemable(&first.refresh).is_err());
        assert_eq!(code(grants.bearer(&first.access, i64::MAX)), "token_revoked");
    }

    #[test]
    fn looking_at_a_refresh_token_does_not_spend_it() {
        let mut grants = Grants::default();
        let tokens = grants.open(0, 60, Rotation::Strict, 0);
        assert!(grants.redeemable(&tokens.refresh).is_ok());
        assert!(grants.redeemable(&tokens.refresh).is_ok());
    }
    #[test]
    fn of_siblings_the_last_lives_and_once_it_is_used_no_more_are_made() {
        for by_refresh in [false, true] {
            let mut grants = Grants::default();
            let first = grants.open(3, 60, Rotation::Sibling, 0);
            let second = rotate(&mut grants, &first.refresh);
            let third = rotate(&mut grants, &first.refresh);
            assert_eq!(code(grants.bearer(&second.access, 0)), "invalid_token");
            assert_eq!(code(grants.redeemable(&second.refresh)), "invalid_grant");
            let last = if by_refresh {
                rotate(&mut grants, &third.refresh)
            } else {
                assert_eq!(grants.bearer(&third.access, 0).unwrap(), 3);
                third
            };
            assert_eq!(code(grants.redeemable(&first.refresh)), "invalid_grant");
            assert_eq!(grants.bearer(&last.access, 0).unwrap(), 3, "and nothing else has ended");
            assert!(grants.redeemable(&last.refresh).is_ok());
        }
    }
}
