//! Two hundred posts on a platform's real server, whatever is killed or lost meanwhile: each is
//! there once. What is the same for all platforms is in `rig`; each has a file that says what its
//! server offers.

mod bluesky;
mod mastodon_mock;
mod matrix;
mod rig;
mod wordpress;
