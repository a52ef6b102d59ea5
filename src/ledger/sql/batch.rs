//! Statements over a whole batch: one round trip, whatever its size.

use uuid::Uuid;

use super::keys::Holder;
use super::stored::Fence;
use super::{postgres, sqlite};
use crate::job::{JobId, NewJob, Timestamp};
use crate::ledger::{Error, Session, Tx};

/// A verdict as columns. `None` leaves a column as it is, except that `finished_at` and
/// `parked_for` are always written.
#[derive(Debug)]
pub(super) struct SettledRow {
    pub(super) id: Uuid,
    pub(super) token: i64,
    pub(super) state: &'static str,
    pub(super) finished_at: Option<i64>,
    pub(super) run_at: Option<i64>,
    pub(super) failed_attempts: Option<i32>,
    pub(super) parked_for: Option<&'static str>,
}

/// A failed attempt as columns.
#[derive(Debug)]
pub(super) struct AttemptRow {
    pub(super) job_id: Uuid,
    pub(super) token: i64,
    pub(super) n: i32,
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    pub(super) outcome: String,
    pub(super) error: String,
    pub(super) worker: String,
}

/// A dead letter as columns; the rest comes from the job's row.
#[derive(Debug)]
pub(super) struct LetterRow {
    pub(super) job_id: Uuid,
    pub(super) category: &'static str,
    pub(super) class: String,
    pub(super) message: String,
    pub(super) fingerprint: String,
    pub(super) attempts: i32,
    pub(super) died_at: i64,
}

macro_rules! each {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty) => {
        each! { $(#[$doc])* $name on Tx($($arg: $type),*) -> $out }
    };
    ($(#[$doc:meta])* $name:ident on $on:ident$(<$life:lifetime>)?
        ($($arg:ident: $type:ty),*) -> $out:ty) => {
        $(#[$doc])*
        pub(super) async fn $name(
            on: &mut $on$(<$life>)?,
            $($arg: $type),*
        ) -> Result<$out, Error> {
            Ok(match on {
                $on::Postgres(conn) => postgres::$name(&mut **conn, $($arg),*).await?,
                $on::Sqlite(conn) => sqlite::$name(&mut **conn, $($arg),*).await?,
            })
        }
    };
}

each! {
    /// Inserts jobs, leaving out those whose id or unique key is taken; answers the ids that
    /// went in.
    insert on Session<'_>(jobs: &[&NewJob]) -> Vec<Uuid>
}
each! {
    /// The ids among these that have a row.
    present on Session<'_>(ids: &[Uuid]) -> Vec<Uuid>
}
each! {
    /// The jobs that are in the unique index with these keys of tenants.
    holders on Session<'_>(keys: &[(Uuid, &str, &str)]) -> Vec<Holder>
}
each! {
    /// The same as they are now, of these ids, in their order; nobody changes them before the
    /// transaction ends.
    lock_holders on Session<'_>(ids: &[Uuid]) -> Vec<Holder>
}
each! {
    /// Takes jobs out of the unique index.
    free_keys on Session<'_>(ids: &[Uuid]) -> ()
}
each! {
    /// Remembers which jobs' arguments these replace, leaving out those that are remembered; answers
    /// the ids that went in.
    insert_edits on Session<'_>(rows: &[(JobId, &NewJob)]) -> Vec<Uuid>
}
each! {
    /// Which of these ids are remembered, and the jobs whose arguments they replaced.
    edits on Session<'_>(ids: &[Uuid]) -> Vec<(Uuid, Uuid)>
}
each! {
    /// Replaces the arguments of jobs that wait by others', and lets them wait until then; answers the
    /// ids of those that do.
    replace on Session<'_>(rows: &[(JobId, &NewJob, Timestamp)]) -> Vec<Uuid>
}
each! {
    /// Writes verdicts where the fence lets them; answers the ids that were written, and whether
    /// others wait for each.
    settle(rows: &[SettledRow]) -> Vec<(Uuid, bool)>
}
each! {
    /// Writes tokens over smaller ones, on due jobs; answers ids and failed attempts.
    stamp(claims: &[(Uuid, i64)], now: i64) -> Vec<(Uuid, i32)>
}
each! {
    /// Counts claims whose worker crashed.
    crashed(claims: &[(Uuid, i64)]) -> ()
}
each! {
    /// Takes such counts back.
    absolve(claims: &[(Uuid, i64)]) -> ()
}
each! {
    /// What stands in the way of claims.
    fences(ids: &[Uuid]) -> Vec<Fence>
}
each! {
    /// The kinds and accounts of jobs.
    about(ids: &[Uuid]) -> Vec<(Uuid, String, Option<Uuid>)>
}
each! {
    /// Adds failed attempts, leaving out those that are there.
    insert_attempts(rows: &[AttemptRow]) -> ()
}
each! {
    /// Adds dead letters, leaving out those that are there.
    insert_letters(rows: &[LetterRow]) -> ()
}
