//! Real platforms, and networks that fail, for the tests of this package and of the server.

#![expect(clippy::expect_used, reason = "a test that cannot be set up must stop, and say why")]

pub mod lossy_proxy;
pub mod mastodon_mock;
pub mod oidc;
pub mod pds;
pub mod pictures;
pub mod prism;
mod publishing;
mod script;
pub mod synapse;
pub mod wordpress;

pub use publishing::publish;
