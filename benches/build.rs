//! Builds the guest that edits trees and wraps it as a component, as ../host/build.rs does with the standard guest.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

fn main() -> Result<()> {
    for input in ["tree-guest", "src/hand.rs", "../wit", "../.cargo/config.toml"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let target = out.join("guest");
    let mut cargo = Command::new(env::var_os("CARGO").context("cargo sets CARGO")?);
    cargo
        .current_dir("tree-guest")
        .args(["build", "--locked", "--profile", "guest", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target);
    // Flags and wrappers of the outer build are not meant for the guest.
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_INCREMENTAL",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
    ] {
        cargo.env_remove(name);
    }
    ensure!(cargo.status().context("cargo can't be started")?.success(), "the guest that edits trees doesn't build");
    let module = std::fs::read(target.join("wasm32-unknown-unknown/guest/unskew_tree_guest.wasm"))?;
    let component = wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    std::fs::write(out.join("tree.wasm"), component)?;
    Ok(())
}
