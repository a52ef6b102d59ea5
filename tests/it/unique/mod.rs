//! Unique keys that free themselves and debounces: stories told to a ledger and to a model, many
//! callers at once, and a worker on real servers.

mod at_once;
mod debounce;
mod model;
mod stories;
