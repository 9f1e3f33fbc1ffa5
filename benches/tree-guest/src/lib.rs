//! A guest that edits trees: one step of each of the three packs that are measured, upwards, with no carry and no way
//! back. What isn't measured is the least that the host asks for.

#[path = "../../src/hand.rs"]
pub mod hand;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated bindings: raw pointers of the canonical ABI")]
mod component;
