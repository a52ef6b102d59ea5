//! Postworks' API and command line.

pub mod app;
