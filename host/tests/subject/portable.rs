//! The guest without SIMD128: what a sandbox without lanes of 128 bits runs.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock, OnceLock};

use unskew::{Generation, Guest, Pack, Runtime};
use wasmtime::{Config, Engine, Module};

/// The component that is built without SIMD128, behind the library.
pub(crate) fn portable(pack: &Pack) -> Arc<Generation> {
    static FIRST: OnceLock<Arc<Generation>> = OnceLock::new(); // while it lives nobody compiles the guest again
    let runtime = Runtime::builder().guest(GUEST.clone()).pack(pack).build();
    let generation = runtime.unwrap_or_else(|error| panic!("{error}")).generation().unwrap();
    FIRST.get_or_init(|| Arc::clone(&generation));
    generation
}

static GUEST: LazyLock<Guest> = LazyLock::new(|| {
    let module = compile();
    let engine = Engine::new(Config::new().wasm_simd(false).wasm_relaxed_simd(false)).unwrap();
    Module::validate(&engine, &module).expect("no instruction of SIMD128");
    let component = wit_component::ComponentEncoder::default().validate(true).module(&module).unwrap().encode();
    Guest::new("the guest without SIMD128", component.unwrap())
});

/// As build.rs compiles the guest, but for the feature. Two tests at once wait for each other: cargo's lock.
fn compile() -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portable");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(workspace)
        .args(["rustc", "--locked", "--lib", "-p", "unskew-guest", "--crate-type", "cdylib"])
        .args(["--profile", "guest", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-Ctarget-feature=-simd128,+bulk-memory -Clink-arg=-zstack-size=65536");
    for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(target.join("wasm32-unknown-unknown/guest/unskew_guest.wasm")).unwrap()
}
