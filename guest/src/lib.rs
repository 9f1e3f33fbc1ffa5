//! The standard unskew guest: reads a rule pack and translates session records between its versions.
//!
//! The modules are the phases, in order. `pack` reads a pack as its author wrote it, with places. `check` resolves it
//! and finds all its problems. `plan` compiles what was found right: flat code for each step and one trie of every
//! place that any op could look at; `fuse` makes one plan of the code between two versions. `index` finds a record's
//! tokens. `emit` walks over them once, and checks, recognises and writes the record. Where it can't, `scan` keeps the
//! places of the plan on the `tape`, `detect` tells the version, `run` executes the ops, and `splice` writes the target
//! by copying what nobody touched. `carry` keeps what the target cannot hold. [`Rules`] is a loaded pack with its
//! buffers.

#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::expect_used),
    doc = "A record or a pack that makes this crate panic is a bug: nothing here indexes or unwraps but what an `expect` explains."
)]

mod carry;
mod check;
mod detect;
mod embed;
mod emit;
mod fuse;
mod grammar;
mod identity;
mod index;
mod judge;
mod op;
mod pack;
mod plan;
mod run;
mod scan;
mod shape;
mod splice;
mod tape;
mod trial;

mod cursor;
mod json;
mod number;
mod path;
mod time;

mod rules;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated bindings: raw pointers of the canonical ABI")]
mod component;

pub use judge::{Fidelity, Verdict};
pub use op::{OPS, Reference};
pub use pack::{CarryPlace, Duplicates, Outlook, Overflow, Policy, Problem};
pub use rules::{
    Change, Counts, Detection, Effect, Fault, FaultKind, Manifest, Normalized, Rules, Translation, VersionInfo,
};
pub use trial::Failure;
