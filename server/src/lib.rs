//! Server.

pub mod sandbox;
