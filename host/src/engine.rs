//! The sandbox of this process: one wasmtime engine and its ticker.
//!
//! One engine serves all runtimes of a process, because what it owns is the process's: the address space of the
//! instance pool (4 GiB reserved per memory, so that bounds checks cost nothing), trap signals, the ticker's thread.
//! It is made at the first use, hence after a `fork` of the host.

use std::hash::{Hash as _, Hasher};
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

use crate::error::GuestError;
use crate::pack::Digest;

/// How often running calls are looked at: a runaway call ends at most this long after its budget.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The most linear memory that an instance can have, whatever its limits say.
pub(crate) const MEMORY_CEILING: usize = 1 << 30;

/// How the sandbox of this process notices that a guest does what it must not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traps {
    /// By signals (SIGSEGV, SIGILL, SIGFPE), whose handlers are the process's; what is not a guest's goes to the handler
    /// before.
    #[default]
    Signals,
    /// By checks in the guest's code: slower, for processes that want their signals to themselves.
    Checks,
}

/// The sandbox of this process runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox of this process runs already: say how it traps before the first pack is loaded")]
pub struct RunsAlready;

static ENGINE: OnceLock<Result<(Engine, Form), String>> = OnceLock::new();
static TRAPS: OnceLock<Traps> = OnceLock::new();

/// Says how the sandbox of this process traps; before the first pack is loaded.
///
/// # Errors
/// If the sandbox runs already, or something else was said before.
pub fn set_traps(traps: Traps) -> Result<(), RunsAlready> {
    let said = *TRAPS.get_or_init(|| traps);
    if ENGINE.get().is_none() && said == traps { Ok(()) } else { Err(RunsAlready) }
}

/// The guest that this crate was built with.
pub(crate) const STANDARD_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));

/// Its digest.
pub(crate) fn standard_digest() -> Digest {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    *DIGEST.get_or_init(|| Digest::of(STANDARD_WASM))
}

/// The engine of this process.
pub(crate) fn engine() -> Result<&'static Engine, GuestError> {
    made().map(|(engine, _)| engine)
}

/// Which form the engine of this process has.
pub(crate) fn form() -> Result<Form, GuestError> {
    made().map(|(_, form)| *form)
}

/// What the code that this engine compiles depends on: wasmtime's version and settings, the features of the CPU.
pub(crate) fn digest() -> Result<Digest, GuestError> {
    struct Bytes(Vec<u8>);
    impl Hasher for Bytes {
        fn finish(&self) -> u64 {
            0 // nobody asks
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut bytes = Bytes(env!("CARGO_PKG_VERSION").as_bytes().to_vec());
    engine()?.precompile_compatibility_hash().hash(&mut bytes);
    Ok(Digest::of(&bytes.0))
}

/// An engine for a process that only compiles: what it makes runs in an engine of this form.
pub(crate) fn compiling(form: Form) -> Result<Engine, GuestError> {
    Engine::new(&config(form)).map_err(|error| GuestError::Engine(one_line(&error)))
}

/// What of an engine's settings depends on the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    traps: Traps,
    room: Room,
}

/// How much address space there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Enough to reserve a whole memory for each instance.
    Ample,
    /// Nothing is reserved, so every access is checked.
    Cramped,
}

impl Form {
    const ALL: [(Form, &str); 4] = [
        (Form { traps: Traps::Signals, room: Room::Ample }, "signals"),
        (Form { traps: Traps::Checks, room: Room::Ample }, "checks"),
        (Form { traps: Traps::Signals, room: Room::Cramped }, "signals-cramped"),
        (Form { traps: Traps::Checks, room: Room::Cramped }, "checks-cramped"),
    ];

    /// The form of this name.
    pub(crate) fn read(name: &str) -> Option<Form> {
        Form::ALL.iter().find(|(_, known)| *known == name).map(|(form, _)| *form)
    }

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        Form::ALL.iter().find(|(form, _)| *form == self).map_or("signals", |(_, name)| name)
    }
}

fn made() -> Result<&'static (Engine, Form), GuestError> {
    let made = ENGINE.get_or_init(|| {
        let traps = *TRAPS.get_or_init(Traps::default);
        let [ample, cramped] = [Room::Ample, Room::Cramped].map(|room| Form { traps, room });
        // Without the address space for a pool (`ulimit -v`), instances are made one by one: slower, not wrong.
        let (engine, form) = Engine::new(config(ample).allocation_strategy(pool()))
            .map(|engine| (engine, ample))
            .or_else(|_| Engine::new(&config(cramped)).map(|engine| (engine, cramped)))
            .map_err(|error| one_line(&error))?;
        tick(&engine).map_err(|error| format!("no thread for the CPU budget: {error}"))?;
        Ok((engine, form))
    });
    made.as_ref().map_err(|error| GuestError::Engine(error.clone()))
}

fn config(form: Form) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .epoch_interruption(true)
        // Small surface, same answer on every machine.
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .max_wasm_stack(256 << 10)
        .generate_address_map(false);
    match form.traps {
        Traps::Signals => {}
        Traps::Checks => {
            config.signals_based_traps(false);
        }
    }
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    match form.room {
        Room::Ample => {}
        Room::Cramped => {
            config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(64 << 10);
        }
    }
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(1000)
        .total_core_instances(4000)
        .total_memories(1000)
        .total_tables(4000)
        .max_memory_size(MEMORY_CEILING)
        // What instances touch is reset in place up to here and given back to the system beyond.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .max_unused_warm_slots(256)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// The ticker is a plain thread: a task of an event loop would stand still exactly when a call hogs the loop.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticker = std::thread::Builder::new().name("unskew-ticker".into());
    ticker.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

/// An error of wasmtime's with its causes on one line.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let causes: Vec<String> =
        error.chain().map(|cause| cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    causes.join(": ")
}
