//! The server's integration tests: one binary, a module for each part of the server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic too")]

mod api;
mod cli;
mod doubles;
mod world;
