//! Workers.

pub mod platforms;
pub mod secrets;
pub mod store;
