//! The sandbox of this process: one wasmtime engine, its ticker, and the guests that it has compiled.
//!
//! One engine serves all runtimes of a process, because what it owns is the process's: the address space of the
//! instance pool (4 GiB reserved per memory, so that bounds checks cost nothing), trap signals, the ticker's thread.
//! It is made at the first use, hence after a `fork` of the host. A guest is compiled once per process and digest
//! (hundreds of milliseconds), so that a swap of packs alone takes milliseconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

use crate::bindings::GuestPre;
use crate::error::GuestError;
use crate::instance::State;
use crate::limits::Limits;
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

static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
static TRAPS: OnceLock<Traps> = OnceLock::new();

/// Says how the sandbox of this process traps; before the first pack is loaded.
///
/// # Errors
/// If the sandbox runs already, or something else was said before.
pub fn set_traps(traps: Traps) -> Result<(), RunsAlready> {
    let said = *TRAPS.get_or_init(|| traps);
    if ENGINE.get().is_none() && said == traps { Ok(()) } else { Err(RunsAlready) }
}

/// A guest that keeps the contract's form: it imports nothing and exports everything.
pub(crate) struct Compiled {
    pub(crate) pre: GuestPre<State>,
    pub(crate) digest: Digest,
}

/// The guest that this crate was built with.
pub(crate) fn standard_guest() -> Result<Arc<Compiled>, GuestError> {
    static STANDARD: OnceLock<Result<Arc<Compiled>, GuestError>> = OnceLock::new();
    STANDARD.get_or_init(|| compiled(STANDARD_WASM)).clone()
}

/// Its bytes.
pub(crate) const STANDARD_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));

/// Their digest.
pub(crate) fn standard_digest() -> Digest {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    *DIGEST.get_or_init(|| Digest::of(STANDARD_WASM))
}

/// Compiles and checks a guest on a thread of its own, or finds it compiled. Cranelift can't be stopped: what takes too
/// long is given up, and its thread ends when it ends. What it can cost by then is bounded by the guest's length and
/// by the length of its functions, since register allocation is the one thing that isn't linear.
pub(crate) fn compile(wasm: &[u8], limits: &Limits) -> Result<Arc<Compiled>, GuestError> {
    static AT_WORK: AtomicUsize = AtomicUsize::new(0);
    const AT_ONCE: usize = 4;
    let limit = limits.artefact;
    if wasm.len() > limit {
        return Err(GuestError::TooLarge { found: wasm.len(), limit });
    }
    bounded(wasm)?;
    let slow = GuestError::Slow { limit: limits.compile };
    if AT_WORK.fetch_add(1, Ordering::SeqCst) >= AT_ONCE {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
        return Err(slow);
    }
    let (done, outcome) = mpsc::channel();
    let wasm = wasm.to_vec();
    let worker = std::thread::Builder::new().name("unskew-compile".into()).spawn(move || {
        let _ = done.send(compiled(&wasm)); // nobody listens any more where it took too long
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    });
    if let Err(error) = worker {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
        return Err(GuestError::Engine(format!("no thread to compile on: {error}")));
    }
    outcome.recv_timeout(limits.compile).unwrap_or(Err(slow))
}

/// Refuses guests that are made to compile slowly.
fn bounded(wasm: &[u8]) -> Result<(), GuestError> {
    const FUNCTIONS: u32 = 50_000;
    const FUNCTION_BYTES: usize = 256 << 10;
    let mut functions = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(wasmparser::Payload::CodeSectionStart { count, .. }) => functions = functions.saturating_add(count),
            Ok(wasmparser::Payload::CodeSectionEntry(body)) if body.range().len() > FUNCTION_BYTES => {
                let found = body.range().len();
                let reason = format!("it has a function of {found} bytes, {FUNCTION_BYTES} are allowed");
                return Err(GuestError::Compile(reason));
            }
            Ok(_) => {}
            Err(_) => return Ok(()), // the engine says better what is wrong with it
        }
    }
    match functions > FUNCTIONS {
        true => Err(GuestError::Compile(format!("it has {functions} functions, {FUNCTIONS} are allowed"))),
        false => Ok(()),
    }
}

fn compiled(wasm: &[u8]) -> Result<Arc<Compiled>, GuestError> {
    static COMPILED: Mutex<Option<HashMap<Digest, Weak<Compiled>>>> = Mutex::new(None);
    let digest = Digest::of(wasm);
    // Compiling under the lock: whoever wants the same guest waits for it instead of compiling it again.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_default();
    if let Some(guest) = compiled.get(&digest).and_then(Weak::upgrade) {
        return Ok(guest);
    }
    compiled.retain(|_, guest| guest.strong_count() > 0);
    let guest = Arc::new(Compiled { pre: check(wasm)?, digest });
    compiled.insert(digest, Arc::downgrade(&guest));
    Ok(guest)
}

fn check(wasm: &[u8]) -> Result<GuestPre<State>, GuestError> {
    let engine = engine()?;
    let component = Component::new(engine, wasm).map_err(|error| GuestError::Compile(one_line(&error)))?;
    let imports: Vec<String> = component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(GuestError::Imports(imports));
    }
    component.initialize_copy_on_write_image().map_err(|error| GuestError::Compile(one_line(&error)))?;
    let linked = Linker::new(engine).instantiate_pre(&component);
    linked.and_then(GuestPre::new).map_err(|error| GuestError::Exports(one_line(&error)))
}

fn engine() -> Result<&'static Engine, GuestError> {
    let engine = ENGINE.get_or_init(|| {
        // Without the address space for a pool (`ulimit -v`), instances are made one by one: slower, not wrong.
        let engine = Engine::new(config().allocation_strategy(pool()))
            .or_else(|_| Engine::new(&cramped()))
            .map_err(|error| one_line(&error))?;
        tick(&engine).map_err(|error| format!("no thread for the CPU budget: {error}"))?;
        Ok(engine)
    });
    engine.as_ref().map_err(|error| GuestError::Engine(error.clone()))
}

fn config() -> Config {
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
    match TRAPS.get_or_init(Traps::default) {
        Traps::Signals => {}
        Traps::Checks => {
            config.signals_based_traps(false);
        }
    }
    config
}

/// For processes whose address space is limited: nothing is reserved, so every access is checked.
fn cramped() -> Config {
    let mut config = config();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(64 << 10);
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
