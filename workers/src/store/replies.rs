//! What a publication answers: a post that the platform has, or one that is still to be published
//! there by us; then its job waits for that one's.

use postworks::job::JobId;
use postworks::job::family::{OnFailure, Waits};
use postworks::ledger::{self, Tx};
use postworks::on_tx;
use uuid::Uuid;

use super::publications::Row;
use super::{Error, Publication, PublicationState};

/// Longest id that a platform gives a post, in bytes.
pub const REMOTE_ID_BYTES_MAX: usize = 2_048;

/// What a publication answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The post of this id on the platform.
    Remote(String),
    /// The post of this publication, which is on the same account.
    Publication(Uuid),
}

impl Reply {
    /// The field of a request that names it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Remote(_) => "/reply_to",
            Self::Publication(_) => "/in_reply_to",
        }
    }

    /// An error of recording the job that waits for the other one's, said of this field.
    pub(super) fn fault(&self, error: Error) -> Error {
        match error {
            Error::Database(ledger::Error::Parents(unfit)) => {
                let ended = unfit.first().and_then(|one| Some((one.parent, one.ended?)));
                let words = match ended {
                    None => "is not published, and its job is gone".to_owned(),
                    Some((job, state)) => format!(
                        "is not published, and its job {job} is {state}: put that back first"
                    ),
                };
                Error::field(self.field(), words)
            }
            error => error,
        }
    }
}

/// A reply, looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// The platform's id of what is answered, if that is known.
    pub(super) remote_id: Option<String>,
    /// The publication that is answered.
    pub(super) publication: Option<Uuid>,
    /// The job to wait for.
    pub(super) after: Option<JobId>,
}

impl Answers {
    /// Looks up what is answered on this account.
    ///
    /// # Errors
    /// [`Error::Fields`]: it cannot be answered, and why.
    pub(super) async fn find(
        tx: &mut Tx,
        reply: Option<&Reply>,
        connector_ids: &[Uuid],
    ) -> Result<Self, Error> {
        const SQL: &str = "SELECT * FROM publications WHERE id = $1";
        let Some(reply) = reply else { return Ok(Self::default()) };
        let [connector_id] = connector_ids else {
            let words = "must name one account, that of the post which is answered";
            return Err(Error::field("/connector_ids", words));
        };
        let id = match reply {
            Reply::Remote(remote_id) => {
                return Ok(Self { remote_id: Some(remote_id.clone()), ..Self::default() });
            }
            Reply::Publication(id) => *id,
        };
        let fault = |words: &str| Err(Error::field(reply.field(), words));
        let row: Option<Row> =
            on_tx!(tx, conn => sqlx::query_as(SQL).bind(id).fetch_optional(conn).await)?;
        let Some(row) = row.map(Publication::try_from).transpose()? else {
            return fault("no publication with this id");
        };
        if row.connector_id != *connector_id {
            return fault("is on another account: a post is answered where it is");
        }
        if row.state != PublicationState::Published {
            let after = Some(JobId::from_uuid(row.job_id));
            return Ok(Self { publication: Some(id), after, remote_id: None });
        }
        match row.remote_id {
            None => fault("is published, but nobody knows under which id on the platform"),
            remote_id => Ok(Self { remote_id, publication: Some(id), after: None }),
        }
    }

    /// What the reply's job waits for.
    pub(super) fn waits(&self, keeps_expiry: bool) -> Option<Box<Waits>> {
        let parents = vec![self.after?];
        Some(Box::new(Waits { parents, on_failure: OnFailure::Fail, keeps_expiry }))
    }
}
