//! The server's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod api;
mod cli;
mod contract;
mod crash;
mod demo;
mod drain;
mod effects;
mod embedded;
mod fleet;
mod inputs;
mod lean_worker;
mod operator;
mod outage;
mod readme;
mod real_bluesky;
mod redis_limits;
mod rolling;
mod sandbox;
mod sentinel;
mod wiped;
mod world;
