//! What the tests of every package share: private servers and the conformance suites.
//!
//! Everything here panics with a sentence a person can act on; nothing is ever skipped.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test helper fails by panicking")]

pub mod broker;
pub mod chaos_proxy;
pub mod ledger;
pub mod postgres_server;
pub mod redis_server;
pub mod sentinel;
