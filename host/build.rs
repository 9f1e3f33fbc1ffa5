//! Builds the standard guest from the sources beside us and wraps it as a component: `$OUT_DIR/guest.wasm`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

fn main() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("host/ stands in a workspace")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // Relative, so that a target folder shared by several checkouts looks at the files of the one being built.
    for input in ["guest/src", "guest/Cargo.toml", "wit", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"] {
        println!("cargo::rerun-if-changed=../{input}");
    }
    let module = compile(workspace, &out.join("guest"))?;
    let component = wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    // Renamed into place: where target folders were copied by links, what the other copy has stays its own.
    std::fs::write(out.join("guest.part"), component)?;
    std::fs::rename(out.join("guest.part"), out.join("guest.wasm"))?;
    Ok(())
}

/// The guest as a core module. Its target folder is its own, since the outer cargo holds the lock of ours.
fn compile(workspace: &Path, target: &Path) -> Result<Vec<u8>> {
    let mut cargo = Command::new(env::var_os("CARGO").context("cargo sets CARGO")?);
    cargo
        .current_dir(workspace) // so that .cargo/config.toml with the guest's flags is found
        .args(["rustc", "--locked", "--lib", "-p", "unskew-guest", "--crate-type", "cdylib"])
        .args(["--profile", "guest", "--target", "wasm32-unknown-unknown"])
        .arg("--target-dir")
        .arg(target);
    // Flags and wrappers of the outer build are not meant for the guest: the same sources give the same component.
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
    let status = cargo.status().context("cargo can't be started")?;
    ensure!(
        status.success(),
        "the guest doesn't build: see the messages above; if they speak of a missing `std`, \
         run `rustup target add wasm32-unknown-unknown`"
    );
    let module = target.join("wasm32-unknown-unknown/guest/unskew_guest.wasm");
    std::fs::read(&module).with_context(|| format!("{}: can't be read", module.display()))
}
