//! Compiles guests: once per process and content, bounded in time and memory, never on a thread of a request.
//!
//! Cranelift can't be stopped. So a guest is compiled by a process of its own where one is named (`unskew serve` names
//! itself): the system holds that to its CPU time and memory, and it is killed when it takes too long. Elsewhere it is
//! compiled on a thread of its own, which is given up and ends when it ends; what it can cost by then is bounded by what is
//! looked at before: the guest's length, how many functions it has, how long each is and how many locals it declares.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use wasmtime::component::{Component, Linker};

use crate::bindings::GuestPre;
use crate::cache::{Bound, Cache};
use crate::engine::{self, Form, STANDARD_WASM, one_line};
use crate::error::GuestError;
use crate::instance::State;
use crate::limits::Limits;
use crate::pack::Digest;

/// Where guests are compiled, and whether what comes of it is kept for the next start.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("unskew-doc-{}", std::process::id()));
/// use unskew::{Compiler, Runtime};
///
/// let compiler = Compiler::default().keeping(&folder)?;
/// let runtime = Runtime::builder().compiler(compiler).build()?;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    program: Option<PathBuf>,
    cache: Option<Arc<Cache>>,
}

/// A guest that keeps the contract's form: it imports nothing and exports everything.
pub(crate) struct Compiled {
    pub(crate) pre: GuestPre<State>,
    pub(crate) digest: Digest,
}

/// What a process that compiles may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// CPU time of all its threads, in whole seconds.
    pub cpu: Duration,
    /// Memory that it writes to, in bytes; held to on Linux.
    pub memory: u64,
}

impl Compiler {
    /// Guests are compiled by this program, `unskew` of this very release, in a process of its own that is ended when it
    /// takes too long or too much. The standard guest is trusted, and never needs it.
    #[must_use]
    pub fn aside(self, program: impl Into<PathBuf>) -> Compiler {
        Compiler { program: Some(program.into()), ..self }
    }

    /// What was compiled is kept in this folder, sealed by a secret that is made there, and found again by the next
    /// process of the same build on a machine of the same kind.
    ///
    /// # Errors
    /// If the folder can't be used.
    pub fn keeping(self, folder: &Path) -> io::Result<Compiler> {
        Ok(Compiler { cache: Some(Arc::new(Cache::open(folder)?)), ..self })
    }
}

/// What was compiled for this process, by content, for as long as somebody uses it.
static COMPILED: Mutex<Option<HashMap<Digest, Weak<Compiled>>>> = Mutex::new(None);

/// The guest that this crate was built with.
pub(crate) fn standard_guest(compiler: &Compiler) -> Result<Arc<Compiled>, GuestError> {
    static STANDARD: OnceLock<Result<Arc<Compiled>, GuestError>> = OnceLock::new();
    let made = || {
        let digest = engine::standard_digest();
        let here = || Component::new(engine::engine()?, STANDARD_WASM).map_err(refused);
        found_or(compiler, digest, || Made::Component(here()).whole()).and_then(|component| checked(component, digest))
    };
    STANDARD.get_or_init(made).clone()
}

/// Compiles and checks a guest, or finds it compiled.
pub(crate) fn compile(wasm: &[u8], limits: &Limits, compiler: &Compiler) -> Result<Arc<Compiled>, GuestError> {
    if wasm.len() > limits.artefact {
        return Err(GuestError::TooLarge { found: wasm.len(), limit: limits.artefact });
    }
    let digest = Digest::of(wasm);
    let known = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(guest) = known().get_or_insert_default().get(&digest).and_then(Weak::upgrade) {
        return Ok(guest);
    }
    let component = found_or(compiler, digest, || {
        bounded(wasm)?;
        let turn = Turn::take().ok_or(GuestError::Slow { limit: limits.compile })?;
        match &compiler.program {
            Some(program) => {
                let artefact = aside(program, wasm, limits)?;
                drop(turn);
                Made::Artefact(artefact).whole()
            }
            None => Made::Component(here(wasm, limits, turn)).whole(),
        }
    })?;
    let guest = checked(component, digest)?;
    let mut known = known();
    let known = known.get_or_insert_default();
    known.retain(|_, guest| guest.strong_count() > 0);
    known.insert(digest, Arc::downgrade(&guest));
    Ok(guest)
}

/// Compiles a guest in this process, which exists for nothing else: reads it from `from`, writes what comes of it to `to`.
/// Everything that the process may use is limited first.
///
/// # Errors
/// Why it is no guest, in words.
pub fn compile_aside(
    mut from: impl io::Read,
    mut to: impl io::Write,
    form: &str,
    allowed: Allowance,
) -> Result<(), String> {
    let form = Form::read(form).ok_or_else(|| format!("there is no engine {form:?}"))?;
    limit(allowed).map_err(|error| format!("it can't be limited: {error}"))?;
    let mut wasm = Vec::new();
    from.read_to_end(&mut wasm).map_err(|error| error.to_string())?;
    let engine = engine::compiling(form).map_err(|error| error.to_string())?;
    let artefact = engine.precompile_component(&wasm).map_err(|error| one_line(&error))?;
    to.write_all(&artefact).and_then(|()| to.flush()).map_err(|error| error.to_string())
}

/// What has come of compiling.
enum Made {
    /// By this process.
    Component(Result<Component, GuestError>),
    /// By a process of this very program, over a pipe.
    Artefact(Vec<u8>),
}

impl Made {
    /// The component, and the bytes that it can be made of again.
    fn whole(self) -> Result<(Component, Option<Vec<u8>>), GuestError> {
        match self {
            Made::Component(component) => {
                let component = component?;
                let bytes = component.serialize().ok();
                Ok((component, bytes))
            }
            Made::Artefact(bytes) => Ok((loaded(&bytes)?, Some(bytes))),
        }
    }
}

/// One of the few compilations that run at once.
struct Turn;

impl Turn {
    fn take() -> Option<Turn> {
        const AT_ONCE: usize = 4;
        let more = |at_work| (at_work < AT_ONCE).then_some(at_work + 1);
        AT_WORK.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok().map(|_| Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::AcqRel);
    }
}

static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Takes what the cache has for this guest, or makes it and keeps it there.
fn found_or(
    compiler: &Compiler,
    guest: Digest,
    make: impl FnOnce() -> Result<(Component, Option<Vec<u8>>), GuestError>,
) -> Result<Component, GuestError> {
    let Some(cache) = &compiler.cache else { return make().map(|(component, _)| component) };
    let bound = Bound { engine: engine::digest()?, guest };
    if let Some(component) = cache.read(bound).and_then(|bytes| loaded(&bytes).ok()) {
        return Ok(component);
    }
    let (component, bytes) = make()?;
    if let Some(Err(error)) = bytes.map(|bytes| cache.write(bound, &bytes)) {
        tracing::warn!(%error, "compiled guest can't be kept: the next start compiles it again");
    }
    Ok(component)
}

/// A component of the bytes that an engine like ours has made of it.
fn loaded(bytes: &[u8]) -> Result<Component, GuestError> {
    let engine = engine::engine()?;
    #[expect(unsafe_code, reason = "wasmtime believes what it is given here")]
    // SAFETY: the bytes are what `precompile_component` or `serialize` of this very build gave: they come through a pipe
    // from a process of this program that we started, or from a file whose seal says that this installation wrote it.
    // Version, settings and CPU features are compared by wasmtime once more.
    let component = unsafe { Component::deserialize(engine, bytes) };
    component.map_err(refused)
}

fn checked(component: Component, digest: Digest) -> Result<Arc<Compiled>, GuestError> {
    let engine = engine::engine()?;
    let imports: Vec<String> = component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(GuestError::Imports(imports));
    }
    component.initialize_copy_on_write_image().map_err(refused)?;
    let linked = Linker::new(engine).instantiate_pre(&component);
    let pre = linked.and_then(GuestPre::new).map_err(|error| GuestError::Exports(one_line(&error)))?;
    Ok(Arc::new(Compiled { pre, digest }))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: wasmtime::Error) -> GuestError {
    GuestError::Compile(one_line(&error))
}

/// Compiles on a thread of this process.
fn here(wasm: &[u8], limits: &Limits, turn: Turn) -> Result<Component, GuestError> {
    let engine = engine::engine()?;
    let (done, outcome) = mpsc::channel();
    let wasm = wasm.to_vec();
    let worker = std::thread::Builder::new().name("unskew-compile".into()).spawn(move || {
        let _turn = turn; // for as long as it works, though nobody may listen any more
        let _ = done.send(Component::new(engine, &wasm).map_err(refused));
    });
    worker.map_err(|error| GuestError::Engine(format!("no thread to compile on: {error}")))?;
    outcome.recv_timeout(limits.compile).unwrap_or(Err(GuestError::Slow { limit: limits.compile }))
}

/// Compiles by a process of its own.
fn aside(program: &Path, wasm: &[u8], limits: &Limits) -> Result<Vec<u8>, GuestError> {
    /// A busy machine gives a process less CPU time than it asks for: the clock is the last resort.
    const PATIENCE: u32 = 4;
    /// The longest artefact, and the longest reason.
    const ARTEFACT: u64 = 256 << 20;
    const REASON: u64 = 4 << 10;
    let unstarted = |error: io::Error| GuestError::Engine(format!("no process to compile in: {error}"));
    let seconds = limits.compile.as_secs() + u64::from(limits.compile.subsec_nanos() > 0);
    let mut child = Command::new(program)
        .args(["compile-guest", "--form", engine::form()?.as_str()])
        .args(["--cpu-s", &seconds.max(1).to_string(), "--memory-bytes", &limits.compile_memory.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(unstarted)?;
    let (Some(mut give), Some(take), Some(said)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(GuestError::Engine("no pipe to a process that compiles".to_owned()));
    };
    let (done, outcome) = mpsc::channel();
    let wasm = wasm.to_vec();
    let reading = std::thread::Builder::new().name("unskew-compile".into()).spawn(move || {
        let giving = std::thread::spawn(move || give.write_all(&wasm)); // it may end before it has read all
        let saying = std::thread::spawn(move || {
            let mut reason = String::new();
            let _ = said.take(REASON).read_to_string(&mut reason); // what is no text says nothing
            reason
        });
        let mut artefact = Vec::new();
        let read = take.take(ARTEFACT).read_to_end(&mut artefact);
        let (_, reason) = (giving.join(), saying.join().unwrap_or_default());
        let _ = done.send(read.map(|_| (artefact, reason))); // who waited may have given up
    });
    let slow = GuestError::Slow { limit: limits.compile };
    let outcome = match reading {
        Ok(_) => outcome.recv_timeout(limits.compile.saturating_mul(PATIENCE).max(Duration::from_secs(1))),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(unstarted(error));
        }
    };
    if outcome.is_err() {
        let _ = child.kill(); // it may have ended by now
    }
    let status = child.wait().map_err(unstarted)?;
    match outcome {
        Err(_) => Err(slow),
        Ok(Err(error)) => Err(unstarted(error)),
        Ok(Ok((artefact, _))) if status.success() => Ok(artefact),
        Ok(Ok((_, reason))) => Err(ended(status, reason.trim(), limits).unwrap_or(slow)),
    }
}

/// Why a process that compiles has ended without an artefact; none if it has used up its CPU time.
fn ended(status: ExitStatus, reason: &str, limits: &Limits) -> Option<GuestError> {
    use std::os::unix::process::ExitStatusExt as _;
    let out_of_time =
        [rustix::process::Signal::XCPU, rustix::process::Signal::KILL].map(|signal| Some(signal.as_raw()));
    let out_of_memory = ["memory allocation of", "annot allocate memory", "out of memory", "os error 11"];
    match status.signal() {
        None if !out_of_memory.iter().any(|words| reason.contains(words)) => {
            let reason = reason.lines().next().unwrap_or_default();
            Some(GuestError::Compile(reason.strip_prefix("unskew: ").unwrap_or(reason).to_owned()))
        }
        signal if out_of_time.contains(&signal) => None,
        // What can't allocate aborts.
        _ => Some(GuestError::Greedy { limit: limits.compile_memory }),
    }
}

fn limit(allowed: Allowance) -> io::Result<()> {
    let both = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    let seconds = allowed.cpu.as_secs().max(1);
    // Killed a second later, should it not end at the signal.
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    setrlimit(Resource::Data, both(allowed.memory))?;
    setrlimit(Resource::Core, both(0))?;
    nice(5).map(drop)?; // requests go first, and on a crowded machine it still gets on
    Ok(())
}

/// Refuses guests that are made to compile slowly. What a function costs grows with the square of its length at worst (a
/// quarter of a mebibyte of small blocks takes 23 s, 60 KiB take one; 2026-11-24), so functions have a greatest length, and
/// the squares of all of them a greatest sum: that of one function of the greatest length. Locals cost without taking room.
fn bounded(wasm: &[u8]) -> Result<(), GuestError> {
    const FUNCTIONS: u32 = 50_000;
    const FUNCTION_BYTES: usize = 256 << 10;
    const SQUARES: u64 = (FUNCTION_BYTES as u64).pow(2);
    const LOCALS: u64 = 1_000_000;
    let (mut functions, mut locals, mut squares) = (0_u32, 0_u64, 0_u64);
    let allowed = |what: &str, found: u64, most: u64| match found > most {
        true => Err(GuestError::Compile(format!("it has {found} {what}, {most} are allowed"))),
        false => Ok(()),
    };
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(wasmparser::Payload::CodeSectionStart { count, .. }) => functions = functions.saturating_add(count),
            Ok(wasmparser::Payload::CodeSectionEntry(body)) => {
                let found = body.range().len();
                if found > FUNCTION_BYTES {
                    let reason = format!("it has a function of {found} bytes, {FUNCTION_BYTES} are allowed");
                    return Err(GuestError::Compile(reason));
                }
                squares = squares.saturating_add((found as u64).pow(2));
                let declared = body.get_locals_reader().into_iter().flatten().filter_map(Result::ok);
                locals = declared.fold(locals, |sum, (count, _)| sum.saturating_add(count.into()));
            }
            Ok(_) => {}
            Err(_) => return Ok(()), // the engine says better what is wrong with it
        }
    }
    allowed("functions", functions.into(), FUNCTIONS.into())?;
    if squares > SQUARES {
        let reason =
            "its long functions together are more than compiling is allowed to take: make them shorter or fewer";
        return Err(GuestError::Compile(reason.to_owned()));
    }
    allowed("locals", locals, LOCALS)
}
