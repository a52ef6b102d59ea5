//! Which API a request is of and what it is made for, and what its failure means by that.

use std::slice;

use postworks::job::{ErrorClass, JobError};
use secrecy::SecretString;
use uuid::Uuid;

use super::answer::ErrorTable;
use super::network::Refused;
use super::{Account, Bearer, Descriptor};

/// An API of a platform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api {
    /// What the platform is like.
    pub(crate) descriptor: &'static Descriptor,
    /// What this API's refusals mean.
    pub(crate) refusals: &'static ErrorTable,
}

/// What a request is for: decides what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Getting the first tokens.
    SignIn,
    /// Getting the next tokens.
    Refresh,
    /// Making ready what is published later: an upload, a draft.
    Upload,
    /// Publishing.
    Publish,
    /// Reading.
    Read,
    /// Giving tokens back.
    Revoke,
}

impl Step {
    /// The label in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Refresh => "refresh",
            Self::Upload => "upload",
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Revoke => "revoke",
        }
    }
}

/// A request's circumstances, for its errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Of which API.
    pub(crate) api: Api,
    /// What for.
    pub(crate) step: Step,
    /// Our id of the account it is made for.
    pub(crate) account: Uuid,
    /// The secrets it carries, kept out of its errors.
    pub(crate) secrets: &'a [&'a SecretString],
}

impl Account {
    /// A request for this account that carries these secrets.
    pub(crate) const fn call<'a>(
        &self,
        api: Api,
        step: Step,
        secrets: &'a [&'a SecretString],
    ) -> Call<'a> {
        Call { api, step, account: self.connector_id, secrets }
    }
}

impl Bearer<'_> {
    /// A request that carries the token and no other secret.
    pub(crate) const fn call(&self, api: Api, step: Step) -> Call<'_> {
        self.account.call(api, step, slice::from_ref(&self.access))
    }
}

impl Call<'_> {
    /// The class of a request that was sent and whose verdict is not known.
    ///
    /// A lost token answer counts as "later": the account's job tries again, and only the
    /// platform's own refusal disconnects an account.
    pub(crate) fn unanswered(self) -> ErrorClass {
        let repeatable = self.api.descriptor.idempotency.repeatable();
        match self.step {
            Step::Publish => ErrorClass::Unknown { repeatable },
            Step::SignIn | Step::Refresh | Step::Upload | Step::Read | Step::Revoke => {
                ErrorClass::Transient
            }
        }
    }

    /// An error of this request.
    pub(crate) fn error(self, class: ErrorClass, what: &str) -> JobError {
        JobError::new(class, self.words(what))
    }

    /// What happened, after what was being done where.
    pub(crate) fn words(self, what: &str) -> String {
        let doing = match self.step {
            Step::SignIn => "signing in to",
            Step::Refresh => "getting new tokens from",
            Step::Upload => "preparing a post on",
            Step::Publish => "publishing on",
            Step::Read => "reading from",
            Step::Revoke => "giving tokens back to",
        };
        format!("{doing} {}: {what}", self.api.descriptor.name)
    }

    /// Nothing was sent, and never will be to that address.
    pub(super) fn refused(self, refused: &Refused) -> JobError {
        self.error(ErrorClass::Invalid, &refused.to_string())
    }

    /// An answer that is too long will be too long again, unless it was a publish: that one may
    /// have been applied.
    pub(super) fn endless_answer(self) -> JobError {
        let class = match self.step {
            Step::Publish => self.unanswered(),
            Step::SignIn | Step::Refresh | Step::Upload | Step::Read | Step::Revoke => {
                ErrorClass::Invalid
            }
        };
        self.error(class, "the answer is longer than 1 MiB")
    }
}
