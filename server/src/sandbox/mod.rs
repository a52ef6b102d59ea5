//! The sandbox: a social platform of our own, for demos and tests. It is a test double.
//!
//! It has what a real platform confronts a publisher with: accounts, short-lived access tokens
//! with strictly rotated refresh tokens, idempotency keys, a list to look posts up in, and faults
//! on demand (latency, errors, rate limits, cut connections, hangs). A journal says what was
//! really accepted, so that a test can tell a lost answer from a lost post.
//!
//! The platforms `sandbox` (Idempotency-Key), `sandbox_lookup` (`client_ref` only) and
//! `sandbox_blind` (neither) are all this one server; they differ in what their client sends.
//!
//! It counts, too: a post's likes and the like grow with its age, by a rule of its id, so that the
//! same post has the same numbers at the same age; an account's followers grow with its posts.
//!
//! What it is not: accounts, tokens and posts live in memory and end with the process (only the
//! journal file stays), anybody who reaches the port may create accounts and faults, and nothing
//! is ever forgotten while it runs. Memory has a ceiling instead ([`MEMORY_LIMIT_BYTES`]), past
//! which it answers 507. It knows nothing of queues, jobs or connectors.

mod accounts;
mod clock;
mod error;
mod extract;
mod faults;
mod grants;
mod journal;
mod platform;
mod posts;
mod reading;
mod room;
mod routes;
mod server;

pub use clock::NowMs;
pub use faults::Action;
pub use journal::{Entry, Op};
pub use room::MEMORY_LIMIT_BYTES;
pub use server::{Options, Running, StartError, serve};
