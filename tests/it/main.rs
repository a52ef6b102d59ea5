//! The engine against real servers.

mod ledger;
