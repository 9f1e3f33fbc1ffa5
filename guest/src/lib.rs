//! The standard unskew guest: reads a rule pack and translates session records between its versions.

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated bindings: raw pointers of the canonical ABI")]
mod component;
