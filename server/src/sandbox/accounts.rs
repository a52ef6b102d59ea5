//! Who exists on the sandbox: accounts, found by id or by handle.

use std::collections::HashMap;

use axum::http::StatusCode;
use uuid::Uuid;

use super::error::ApiError;

/// An account's place in the sandbox's tables.
pub(super) type AccountNo = usize;

/// One account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) handle: String,
}

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    rows: Vec<Account>,
    /// Ids and handles alike: clients know the handle, the sandbox answers with the id.
    by_name: HashMap<String, AccountNo>,
}

impl Accounts {
    /// Creates an account, unless the handle is taken.
    pub(super) fn create(&mut self, handle: String) -> Result<AccountNo, ApiError> {
        if self.by_name.contains_key(&handle) {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "handle_taken",
                format!("an account with the handle {handle:?} exists"),
            ));
        }
        let no = self.rows.len();
        let id = format!("acct_{}", Uuid::new_v4().simple());
        self.by_name.insert(id.clone(), no);
        self.by_name.insert(handle.clone(), no);
        self.rows.push(Account { id, handle });
        Ok(no)
    }

    /// Finds an account by its id or handle.
    pub(super) fn find(&self, name: &str) -> Option<AccountNo> {
        self.by_name.get(name).copied()
    }

    /// The account at a place that [`Accounts::create`] or [`Accounts::find`] gave out.
    pub(super) fn get(&self, no: AccountNo) -> &Account {
        &self.rows[no]
    }
}
