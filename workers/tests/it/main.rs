//! Tests of this package from outside. Modules called `real_*` need a real platform, see
//! `make setup-platforms`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod real_bluesky;
