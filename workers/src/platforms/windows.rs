//! Who is told when an account's window at its platform is used up.

use std::fmt;
use std::sync::Arc;

use postworks::job::Timestamp;
use uuid::Uuid;

/// Told of accounts that are to be left alone until a time; by default nobody is.
#[derive(Clone, Default)]
pub struct Windows(Option<Arc<Close>>);

type Close = dyn Fn(Uuid, Timestamp) + Send + Sync;

impl Windows {
    /// Calls `close` with each account and the time.
    pub fn new(close: impl Fn(Uuid, Timestamp) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(close)))
    }

    pub(super) fn close(&self, account: Uuid, until: Timestamp) {
        if let Some(close) = &self.0 {
            close(account, until);
        }
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Windows").field(&self.0.is_some()).finish()
    }
}
