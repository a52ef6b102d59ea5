//! Bad input: every refusal names what is wrong, and nothing is lost or half done.

mod command;
mod http;
mod redis;
mod roles;
mod wire;
