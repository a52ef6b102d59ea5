//! Who asks: users with passwords, programs with keys, and what each may do.
//!
//! A password is exchanged for a short-lived access token, signed with a key that follows from the
//! node's key ring, and a refresh token that gets the next pair. A request brings an access token or
//! an API key; both are looked up in the ledger, at most every five seconds, so that what was revoked
//! is soon of no use.
//!
//! A file a thing. Nothing here knows HTTP; secrets reach neither `Debug` nor logs.

mod access_token;
mod attempts;
mod error;
mod login;
mod passwords;
mod role;
mod secret;
mod standing;

use std::sync::Arc;

use postworks::clock::SharedClock;
use postworks::job::Tenant;
use postworks_workers::node::Node;
use postworks_workers::store::Store;
use uuid::Uuid;

pub(crate) use access_token::KNOWN as ACCESS_TOKEN_KNOWN;
pub use error::Error;
pub use login::{Client, Pair};
pub(crate) use login::{EMAIL_BYTES_MAX, hashed_password, proper_email};
pub(crate) use passwords::BYTES_MAX as PASSWORD_BYTES_MAX;
pub use role::{Need, Role};
pub(crate) use secret::Secret;

use access_token::AccessTokens;
use attempts::Attempts;
use passwords::Passwords;
use standing::Standings;

/// Proves who asks, and lets them log in. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Parts>);

struct Parts {
    store: Store,
    clock: SharedClock,
    tokens: AccessTokens,
    standings: Standings,
    passwords: Passwords,
    attempts: Attempts,
}

/// Somebody who has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As the audit names them: `user:ann@example.org` or `apikey:<id>`.
    pub actor: Arc<str>,
    /// Whose rows they see.
    pub tenant: Tenant,
    /// What they may do.
    pub role: Role,
    /// The login that their access token comes from, if it is one.
    pub session: Option<Uuid>,
}

impl Auth {
    /// Authentication over a node's tables and keys. Without keys nobody can log in, and only API
    /// keys are good.
    ///
    /// # Errors
    /// The system has no thread left that could check passwords.
    pub fn new(node: &Node) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Parts {
            store: node.store.clone(),
            clock: Arc::clone(&node.clock),
            tokens: AccessTokens::of(node.store.keys()),
            standings: Standings::default(),
            passwords: Passwords::new()?,
            attempts: Attempts::default(),
        })))
    }
}
