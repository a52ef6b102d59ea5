//! Postworks' API and command line, and the sandbox: a social platform for demos and tests.

pub mod admission;
pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
mod ingress;
mod loadtest;
pub mod sandbox;
pub mod scaling;
