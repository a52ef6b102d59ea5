//! Tests of this package from outside. Modules called `real_*` need a real platform, see
//! `make setup-platforms`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod adopting;
mod characters;
mod cleanup;
mod content;
mod contract_real_x;
mod disconnecting;
mod grants;
mod guides;
mod intents;
mod keys;
mod moving;
mod overtaken;
mod preparing;
mod publishing;
mod real_bluesky;
mod real_mastodon_mock;
mod real_matrix;
mod real_oidc;
mod real_wordpress;
mod reconnected;
mod refreshes;
mod renewals;
mod renewed_evenly;
mod replies;
mod requests;
mod resolving;
mod rows;
mod scripted;
mod sessions;
mod ssrf;
mod streams;
mod syncing;
mod syncs;
mod windows;
mod world;
