//! The server's integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod api;
mod audit;
mod auth;
mod autoscale;
mod built_in;
mod busy;
#[path = "../faults/checker.rs"]
#[allow(dead_code, reason = "the fault suite uses the rest")]
mod checker;
mod cli;
mod cluster;
mod contract;
mod costs;
mod crash;
#[path = "../observe/dashboards.rs"]
#[allow(dead_code, reason = "`make observe` uses the rest")]
mod dashboards;
mod demo;
mod deploy;
mod disconnect;
mod dlq_commands;
mod drain;
mod effects;
mod embedded;
mod families;
mod fault_checker;
#[allow(dead_code, reason = "the fault suite uses the rest")]
mod fleet;
mod gates;
#[path = "../faults/history.rs"]
#[allow(dead_code, reason = "the fault suite uses the rest")]
mod history;
mod http_producer;
mod ingress;
mod inputs;
mod keys;
mod lean_worker;
mod limits;
mod loadtest;
mod login;
mod logs;
mod media;
mod metrics;
mod moving;
mod oauth;
mod openapi;
mod operator;
mod outage;
mod outbound;
mod posts;
#[path = "../observe/prometheus.rs"]
#[allow(dead_code, reason = "`make observe` uses the rest")]
mod prometheus;
mod quotas;
mod rate_windows;
mod readme;
mod real_bluesky;
mod real_connect;
mod real_matrix;
mod real_oidc;
mod real_once;
mod real_wordpress;
mod redaction;
mod redis_limits;
mod redrive;
mod repeated;
mod rolling;
mod sandbox;
mod schedules;
mod sentinel;
mod service;
mod siblings;
mod spike;
mod start;
mod sync_kills;
mod tenants;
mod top;
mod trace;
mod watching;
mod wiped;
mod world;
