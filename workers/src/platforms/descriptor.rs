//! What a platform is like: constants that handlers and the product decide by.

use std::time::Duration;

use postworks::config::ClientAuth;
use postworks::job::SyncStream;

use super::{Limits, Price};

/// What a platform is like.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name in queues and in the API, such as `bluesky`.
    pub name: &'static str,
    /// How a repeated publish is kept from publishing twice.
    pub idempotency: Idempotency,
    /// Whether it can be asked what became of a publish whose outcome is unknown.
    pub reconciles: bool,
    /// What a person enters as the account's secret.
    pub secret: Secret,
    /// Where on the account posts go, on platforms where that is to be said.
    pub target: Option<Target>,
    /// Its own OAuth 2.0 servers, on platforms that are one place.
    pub oauth: Option<&'static OAuthDefaults>,
    /// What a post may hold.
    pub limits: Limits,
    /// What can be fetched of an account.
    pub streams: &'static [SyncStream],
    /// What a post costs, where it does.
    pub price: Option<Price>,
    /// Whether the platform is for demos and tests: reached on loopback alone, over plain HTTP too,
    /// without `POSTWORKS_ALLOW_LOOPBACK`.
    pub local: bool,
}

/// How a repeated publish is kept from publishing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// We choose the record's id, so a repeat writes the same record, at any time.
    DeterministicId,
    /// The platform remembers a key that we send.
    ClientKey {
        /// For how long; `None` is for ever. Later the same request is a new one.
        lifetime: Option<Duration>,
        /// Whose key it is.
        scope: KeyScope,
    },
    /// It is not.
    None,
}

/// Within what a platform remembers a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// The account.
    Account,
    /// One sign-in: whoever signs in anew is somebody else to it, and so is the key.
    SignIn,
}

impl Idempotency {
    /// Whether sending the same publish again soon is harmless.
    pub const fn repeatable(self) -> bool {
        matches!(self, Self::DeterministicId | Self::ClientKey { .. })
    }
}

/// What helps against not knowing whether a request was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recourse {
    /// Sending the same again.
    Repeat,
    /// Asking for the post, and sending again once its absence is proof.
    Reconcile,
    /// A person, who looks at the account.
    Person,
}

impl Descriptor {
    /// What helps if the first such request will be `age` past when a repeat arrives, and the account
    /// may have been signed in `anew` since.
    pub fn recourse(&self, age: Duration, anew: bool) -> Recourse {
        let recognised = match self.idempotency {
            Idempotency::DeterministicId => true,
            Idempotency::ClientKey { lifetime, scope } => {
                lifetime.is_none_or(|lifetime| age < lifetime)
                    && !(anew && scope == KeyScope::SignIn)
            }
            Idempotency::None => false,
        };
        match (recognised, self.reconciles) {
            (true, _) => Recourse::Repeat,
            (false, true) => Recourse::Reconcile,
            (false, false) => Recourse::Person,
        }
    }
}

/// What a person enters as an account's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// A refresh token: used up by the first refresh.
    RefreshToken,
    /// A password for apps: kept, and used to sign in again.
    Password,
    /// A token that lasts: kept, and checked when an account is signed in.
    AccessToken,
}

impl Secret {
    /// Whether it stays good when it is used.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Password | Self::AccessToken)
    }
}

/// Where on an account posts go.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is: a room, a page.
    pub what: &'static str,
    /// How one is written.
    pub example: &'static str,
    /// Whether there is none without it.
    pub required: bool,
}

/// A platform's own OAuth 2.0 servers, for what its section of the configuration does not say.
#[derive(Debug, Clone, Copy)]
pub struct OAuthDefaults {
    /// Where a person consents.
    pub authorize_url: &'static str,
    /// Where tokens come from.
    pub token_url: &'static str,
    /// Where tokens are given back (RFC 7009).
    pub revoke_url: Option<&'static str>,
    /// Where an account says who it is.
    pub userinfo_url: Option<&'static str>,
    /// Where the platform's API is, which an account has for its address.
    pub api_url: &'static str,
    /// What we ask to be allowed.
    pub scopes: &'static [&'static str],
    /// How we prove to the token endpoint who we are.
    pub client_auth: ClientAuth,
    /// Whether a code is tied to who set out for it (RFC 7636): not everybody takes what that needs.
    pub pkce: bool,
}
