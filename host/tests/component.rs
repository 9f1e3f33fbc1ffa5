//! The standard guest as an artefact: what it imports and how large it is.
#![allow(clippy::unwrap_used, reason = "tests")]

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));

#[test]
fn the_component_imports_nothing_and_exports_the_contract_alone() {
    let engine = Engine::new(&Config::new()).unwrap();
    let component = Component::new(&engine, GUEST).unwrap();
    let ty = component.component_type();
    assert_eq!(ty.imports(&engine).map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), [] as [String; 0]);
    let exports: Vec<&str> = ty.exports(&engine).map(|(name, _)| name).collect();
    assert_eq!(exports, ["unskew:compat/rules@0.1.0"]);
}

#[test]
fn the_component_is_small() {
    // Every process compiles it once.
    assert!(GUEST.len() < 3 << 19, "{} bytes", GUEST.len());
}
