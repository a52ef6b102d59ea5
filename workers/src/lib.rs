//! Workers.

pub mod platforms;
