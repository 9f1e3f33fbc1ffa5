//! The standard guest as a proxy-wasm filter: for Envoy where only WebAssembly is allowed, as in Istio, Higress, APISIX.
//!
//! It does by itself what elsewhere a host does for a guest, in one thread and without I/O: [`decide`] chooses the server
//! and makes the record readable, by the same router and the same places of records as the host, whose files these are.
//! `filter` speaks with Envoy. There is no directory, no store, no health and no CPU budget here: `unskew wasm`, which
//! writes the filter's configuration, refuses what needs them.

#[path = "../../../host/src/gateway/codec.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod codec;
#[path = "../../../host/src/contract.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod contract;
#[path = "../../../host/src/gateway/edits.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod edits;
#[path = "../../../host/src/fleet.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod fleet;
#[path = "../../../host/src/maglev.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod maglev;
#[path = "../../../host/src/matrix.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod matrix;
#[path = "../../../host/src/gateway/pattern.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod pattern;
#[path = "../../../host/src/gateway/pointer.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod pointer;
#[path = "../../../host/src/gateway/problem.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod problem;
#[path = "../../../host/src/router.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod router;
#[path = "../../../host/src/gateway/session.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod session;
#[path = "../../../host/src/tables.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's")]
mod tables;

mod config;
pub mod decide;
mod error;
mod rules;

#[cfg(target_arch = "wasm32")]
mod filter;
