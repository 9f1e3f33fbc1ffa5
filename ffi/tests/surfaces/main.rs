//! The same scenarios on every surface: what the servers get and what clients are told is the same on each.
//!
//! A surface whose server isn't installed is skipped with a line that says so; in CI (`CI` is set) that is a failure.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

extern crate host as unskew;

#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../host/tests/gateway/support.rs"]
mod support;

#[allow(dead_code, reason = "shared with the sandbox's tests")]
#[path = "../../../host/tests/sandbox/guest.rs"]
mod guest;

#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../host/tests/gateway/redis.rs"]
mod redis;

mod envoy;
mod grpc;
mod haproxy;
mod load;
mod nginx;
mod refusals;
mod scenarios;
mod stage;
mod surfaces;
mod table;
