//! The gateway over real sockets: every test starts its own servers and gateways on ephemeral ports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod admin;
mod answers;
mod bodies;
mod canary;
mod config;
mod crash;
mod decisions;
mod directory;
mod folder;
mod hardening;
mod headers;
mod modes;
mod pack;
mod program;
#[allow(dead_code, reason = "shared with the surfaces' tests")]
mod redis;
mod reload;
mod routing;
mod seal;
mod shapes;
mod side_by_side;
mod sources;
mod store;
mod swaps;
mod tls;
mod tracing;
