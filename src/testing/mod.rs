//! What the tests of every package share: private servers, which the load test starts too, and the
//! conformance suites (feature `testing`).
//!
//! Everything here panics with a sentence a person can act on; nothing is ever skipped.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test helper fails by panicking")]

#[cfg(feature = "testing")]
pub mod broker;
#[cfg(feature = "testing")]
pub mod chaos_proxy;
#[cfg(feature = "testing")]
pub mod cluster;
mod interrupts;
#[cfg(feature = "testing")]
pub mod ledger;
pub mod postgres_server;
pub mod redis_server;
#[cfg(feature = "testing")]
pub mod sentinel;
#[cfg(feature = "testing")]
mod several;
