//! Which parked jobs go on.

use uuid::Uuid;

use crate::job::Kind;

/// Whose parked jobs to release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpark {
    /// Those of an account that was connected again.
    Account(Uuid),
    /// Those whose time came.
    Due,
    /// Those that wait for a newer worker, of these kinds and versions up to these.
    Kinds(Vec<(Kind, u16)>),
}
