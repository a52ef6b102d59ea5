//! The server's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod api;
mod cli;
mod contract;
mod inputs;
mod sandbox;
mod world;
