//! Bluesky's refusals and what they mean.
//!
//! A server answers `{"error", "message"}`. An expired token is a **400** there, not a 401. Rows
//! marked (L) are from the lexicons, the others were tried on `@atproto/pds` 0.4.217. What is not
//! in the table is decided by its status: 429 is "wait", 5xx "unknown" on a publish and "later" on
//! a read, the rest is wrong and will stay wrong (`InvalidRequest` for one).

use super::super::answer::{ALWAYS, ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS};
use super::super::call::Step;

/// `putRecord` with `swapRecord: null` found another record: "Record was at …".
pub(super) const INVALID_SWAP: &str = "InvalidSwap";
/// `getRecord` found none.
pub(super) const RECORD_NOT_FOUND: &str = "RecordNotFound";

pub(super) const TABLE: ErrorTable = ErrorTable::plain(&[
    // "Token has expired". A refresh token says the same, and "Token has been revoked" once its
    // session was deleted: then only signing in again helps.
    Rule::new(WITH_ACCESS, 400, "ExpiredToken", Verdict::Expired),
    Rule::new(FOR_TOKENS, 400, "ExpiredToken", Verdict::Revoked),
    // "Token could not be verified": another server's token, or the server lost its key. Of an
    // access token that says nothing against the account: like any 401, it is renewed.
    Rule::new(WITH_ACCESS, 400, "InvalidToken", Verdict::Expired),
    Rule::new(FOR_TOKENS, 400, "InvalidToken", Verdict::Revoked),
    Rule::new(FOR_TOKENS, 401, "InvalidToken", Verdict::Revoked),
    Rule::new(FOR_TOKENS, 401, "AuthMissing", Verdict::Revoked),
    // A wrong identifier or password.
    Rule::new(FOR_TOKENS, 401, "AuthenticationRequired", Verdict::Revoked),
    // (L) The main password of an account with a second factor: an app password is needed.
    Rule::new(FOR_TOKENS, 401, "AuthFactorTokenRequired", Verdict::Revoked),
    // (L) The account was taken down; signing in again will say so too.
    Rule::new(ALWAYS, 0, "AccountTakedown", Verdict::Revoked),
    // "Could not find blob: …": an upload was cleared away, or the server was put back to a backup.
    // Nothing was written, and once it is old enough it is uploaded anew.
    Rule::new(&[Step::Publish], 400, "BlobNotFound", Verdict::Later),
    // The address is a server's, but none that holds accounts.
    Rule::new(ALWAYS, 501, "MethodNotImplemented", Verdict::Invalid),
]);
