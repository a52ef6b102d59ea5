//! The broker on Redis.
