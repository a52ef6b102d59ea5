//! The server's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod api;
mod cli;
mod crash;
mod doubles;
mod fleet;
mod real_bluesky;
mod sandbox;
mod world;
