//! Postworks' API and command line.

pub mod api;
pub mod app;
pub mod cli;
