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
mod hardening;
mod headers;
mod modes;
mod pack;
mod program;
mod reload;
mod routing;
mod seal;
mod shapes;
mod sources;
mod store;
