//! The engine against real servers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod ledger;
mod ledger_faults;
mod ledger_model;
