//! The server's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests that measure say what they found")]

mod api;
mod cli;
mod crash;
mod demo;
mod doubles;
mod drain;
mod embedded;
mod fleet;
mod lean_worker;
mod operator;
mod outage;
mod sandbox;
mod world;
