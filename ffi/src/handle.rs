//! A handle: one configuration, its rules and its directory, as one process runs them.

use std::sync::{Mutex, OnceLock, PoisonError};

use host::adapter::{self, Adapter, Lack};
use host::config::Config;
use host::gateway::Counts;
use host::{CallError, Generation, Mode, Pack, Version};
use serde_json::{Value, json};

use crate::call::{Buffer, Bytes, Failed, Status, answer, call, guarded, wanted};

/// A configuration that is open.
pub struct Handle {
    config: Config,
    surface: Surface,
    started: OnceLock<Started>,
    /// Held while it starts; why it did not, once that was tried.
    refused: Mutex<Option<String>>,
}

/// Where requests and answers are read and written: what a surface can't do is refused by `unskew_open`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A program of one's own, in one process.
    Library = 0,
    /// nginx: several processes that share no memory.
    Nginx = 1,
    /// HAProxy.
    Haproxy = 2,
    /// Envoy.
    Envoy = 3,
}

/// How the sandbox notices that a guest does what it must not.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traps {
    /// By signals (SIGSEGV, SIGILL, SIGFPE); what is not a guest's goes to the handler before.
    Signals = 0,
    /// By checks in the guest's code: slower, for programs that want their signals to themselves.
    Checks = 1,
}

/// What begins with the first call in a process.
pub(crate) struct Started {
    pub(crate) adapter: Adapter,
    pub(crate) threads: tokio::runtime::Runtime,
    process: u32,
}

/// The version of this interface: it grows by one where a caller has to be compiled anew.
#[unsafe(no_mangle)]
pub extern "C" fn unskew_abi() -> u32 {
    1
}

/// Says how the sandbox of this process traps: `traps` is an `unskew_traps`. Call it before the first call that needs a handle.
#[unsafe(no_mangle)]
pub extern "C" fn unskew_set_traps(traps: u32) -> Status {
    call(|| {
        let traps = match traps {
            _ if traps == Traps::Signals as u32 => host::Traps::Signals,
            _ if traps == Traps::Checks as u32 => host::Traps::Checks,
            _ => return Err(Failed::input(format!("{traps} is no unskew_traps"))),
        };
        host::set_traps(traps).map_err(Failed::input)
    })
}

/// Opens the configuration in this file, for the `unskew_surface` that reads and writes. Null where it can't be used; the last error names every problem. Nothing is
/// started: a handle may be opened before a fork, and closed with `unskew_close` in each process.
///
/// # Safety
/// `path` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_open(path: Bytes, surface: u32) -> *mut Handle {
    let opened = guarded(|| {
        // SAFETY: the caller's promise.
        let path = unsafe { path.text("the path") }?;
        let surfaces = [Surface::Library, Surface::Nginx, Surface::Haproxy, Surface::Envoy];
        let surface = surfaces.into_iter().find(|known| *known as u32 == surface);
        let surface = surface.ok_or_else(|| Failed::input("that is no unskew_surface"))?;
        let config = Config::from_file(path).map_err(Failed::input)?;
        surface.named().check(&config).map_err(Failed::input)?;
        Ok(Handle { config, surface, started: OnceLock::new(), refused: Mutex::new(None) })
    });
    opened.map_or(std::ptr::null_mut(), |handle| Box::into_raw(Box::new(handle)))
}

/// Says in how many processes the handle will be used, such as nginx' workers. Refused where they would have nothing to
/// agree by: a configuration with sessions, and no directory that they share.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_processes(handle: *const Handle, count: usize) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { open(handle) }?;
        handle.surface.named().spread(&handle.config, count).map_err(Failed::input)
    })
}

/// Starts what a handle needs in this process: the sandbox, the pack, health checks, the watch over the pack's file. The
/// first call that needs them does the same; after a failure only this one tries again.
///
/// # Safety
/// `handle` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_start(handle: *const Handle) -> Status {
    // SAFETY: the caller's promise.
    call(|| unsafe { open(handle) }?.start().map(drop))
}

/// Closes a handle; null is allowed. Exchanges that were begun with it must have ended.
///
/// # Safety
/// `handle` is open, no other call uses it, and it is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_close(handle: *mut Handle) {
    if handle.is_null() {
        return;
    }
    // SAFETY: `unskew_open` made it from a box, and the caller closes it once.
    let mut handle = unsafe { Box::from_raw(handle) };
    let _ = guarded(|| {
        match handle.started.take() {
            // Threads of another process can't be waited for, and what they held may be locked for ever.
            Some(started) if started.process != std::process::id() => std::mem::forget(started),
            Some(started) => {
                let Started { adapter, threads, process: _ } = started;
                drop(adapter);
                threads.shutdown_timeout(std::time::Duration::from_secs(5));
            }
            None => {}
        }
        Ok(())
    });
}

/// The id of the version that a record is of.
///
/// # Safety
/// `handle` is open, `record` can be read, `version` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_detect(handle: *const Handle, record: Bytes, version: *mut Buffer) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, record) = unsafe { (open(handle)?, record.read()) };
        let id = handle.started()?.adapter.runtime().detect(record)?;
        // SAFETY: the caller's promise.
        unsafe { answer(version, || Buffer::of(id.into_bytes())) }
    })
}

/// Writes a record of version `from` as one of version `to`. `carry` is what an earlier call kept beside the record, or
/// empty; `new_carry` is to be kept with the new record, and to be given back with it, where it is not empty.
///
/// # Safety
/// `handle` is open, the texts can be read, `new_record` and `new_carry` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_translate(
    handle: *const Handle,
    record: Bytes,
    carry: Bytes,
    from: Bytes,
    to: Bytes,
    new_record: *mut Buffer,
    new_carry: *mut Buffer,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, record, carry) = unsafe { (open(handle)?, record.read(), carry.read()) };
        // SAFETY: the caller's promise.
        let (from, to) = unsafe { (from.text("from")?, to.text("to")?) };
        wanted(new_record)?;
        wanted(new_carry)?;
        let there = handle.started()?.adapter.runtime().translate(record, carry, from, to)?;
        // SAFETY: the caller's promise.
        unsafe {
            answer(new_record, || Buffer::of(there.record))?;
            answer(new_carry, || Buffer::of(there.carry))
        }
    })
}

/// Brings a record of whatever version to version `to`. A record that is right already is answered as a buffer whose
/// `data` is null, and so is its carry: both stay as they are.
///
/// # Safety
/// As `unskew_translate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_normalize(
    handle: *const Handle,
    record: Bytes,
    carry: Bytes,
    to: Bytes,
    new_record: *mut Buffer,
    new_carry: *mut Buffer,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, record, carry, to) = unsafe { (open(handle)?, record.read(), carry.read(), to.text("to")?) };
        wanted(new_record)?;
        wanted(new_carry)?;
        let normal = handle.started()?.adapter.runtime().normalize(record, carry, to)?;
        let (record, carry) = match normal.changed {
            Some(there) => (Buffer::of(there.record), Buffer::of(there.carry)),
            None => (Buffer::NONE, Buffer::NONE),
        };
        // SAFETY: the caller's promise.
        unsafe {
            answer(new_record, || record)?;
            answer(new_carry, || carry)
        }
    })
}

/// Every change that a translation makes, as a JSON array of objects with `op`, `place`, `before`, `after`. It shows what
/// the record says: for people, and slow.
///
/// # Safety
/// As `unskew_translate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_explain(
    handle: *const Handle,
    record: Bytes,
    carry: Bytes,
    from: Bytes,
    to: Bytes,
    changes: *mut Buffer,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, record, carry) = unsafe { (open(handle)?, record.read(), carry.read()) };
        // SAFETY: the caller's promise.
        let (from, to) = unsafe { (from.text("from")?, to.text("to")?) };
        let generation = handle.started()?.adapter.runtime().generation().ok_or(CallError::NoPack)?;
        let [from, to] = [version(&generation, from)?, version(&generation, to)?];
        let change = |change: host::Change| json!({ "op": change.op, "place": change.place, "before": change.before, "after": change.after });
        let found: Vec<Value> = generation.explain(record, carry, from, to)?.into_iter().map(change).collect();
        // SAFETY: the caller's promise.
        unsafe { answer(changes, || json_buffer(&Value::from(found))) }
    })
}

/// Where a join of this session would go, as a JSON object with `server`, `address`, `tier`, `reason`; `server` is null
/// where it would be refused. An empty record is none: then the directory says what is known. Nothing is noted.
///
/// # Safety
/// `handle` is open, `session` and `record` can be read, `decision` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_route(
    handle: *const Handle,
    session: Bytes,
    record: Bytes,
    decision: *mut Buffer,
) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, session, record) = unsafe { (open(handle)?, session.text("the session")?, record.read()) };
        let record = (!record.is_empty()).then_some(record);
        let routed = handle.started()?.adapter.route(session, record)?;
        let (server, address, tier) = match routed.to {
            Some((server, address, tier)) => (Some(server), Some(address.to_string()), Some(tier.to_string())),
            None => (None, None, None),
        };
        let found = json!({ "server": server, "address": address, "tier": tier, "reason": routed.reason });
        // SAFETY: the caller's promise.
        unsafe { answer(decision, || json_buffer(&found)) }
    })
}

/// Swaps a pack in, written as TOML or as JSON: later requests see it, those under way finish on theirs. The last error
/// names every problem of one that is refused; the old one serves on. It takes milliseconds: keep it off request threads.
///
/// # Safety
/// `handle` is open, `pack` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_push(handle: *const Handle, pack: Bytes) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, text) = unsafe { (open(handle)?, pack.text("the pack")?) };
        let json = text.trim_start().starts_with('{');
        let pack = if json { Pack::from_json("pushed", text) } else { Pack::from_toml("pushed", text) };
        handle.started()?.adapter.push(&pack.map_err(Failed::input)?).map_err(Failed::input).map(drop)
    })
}

/// Throws the switch: `off`, `observe` or `enforce`.
///
/// # Safety
/// `handle` is open, `mode` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_set_mode(handle: *const Handle, mode: Bytes) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let (handle, mode) = unsafe { (open(handle)?, mode.text("the mode")?) };
        let mode = match mode {
            "off" => Mode::Off,
            "observe" => Mode::Observe,
            "enforce" => Mode::Enforce,
            _ => return Err(Failed::input(format!("the mode is off, observe or enforce, found \"{mode}\""))),
        };
        handle.started()?.adapter.set_mode(mode);
        Ok(())
    })
}

/// What runs, as a JSON object: `library`, `mode`, `pack` (`name`, `revision`, `digest`, or null), `servers` (`name`,
/// `healthy`), `directory` (`link`: `here`, `up` or `away`, with `since` and `reason`), `counts`.
///
/// # Safety
/// `handle` is open, `status` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_status(handle: *const Handle, status: *mut Buffer) -> Status {
    call(|| {
        // SAFETY: the caller's promise.
        let handle = unsafe { open(handle) }?;
        let adapter = &handle.started()?.adapter;
        let mode = match adapter.mode() {
            Mode::Off => "off",
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        };
        let pack = adapter.runtime().generation().map(|generation| {
            let (manifest, digest) = (generation.manifest(), generation.pack().digest().to_string());
            json!({ "name": manifest.name, "revision": manifest.revision, "digest": digest })
        });
        let server = |(name, healthy)| json!({ "name": name, "healthy": healthy });
        let servers: Vec<Value> = adapter.health().into_iter().map(server).collect();
        let counts: serde_json::Map<String, Value> =
            Counts::named(&adapter.counts()).map(|(name, count)| (name.to_string(), count.into())).collect();
        let found = json!({
            "library": env!("CARGO_PKG_VERSION"), "mode": mode, "pack": pack, "servers": servers,
            "directory": adapter.directory().json(), "counts": counts,
        });
        // SAFETY: the caller's promise.
        unsafe { answer(status, || json_buffer(&found)) }
    })
}

/// # Safety
/// `handle` is null or open, and stays open for as long as the answer is used.
pub(crate) unsafe fn open<'h>(handle: *const Handle) -> Result<&'h Handle, Failed> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }.ok_or_else(|| Failed::input("the handle is null: unskew_open has refused something"))
}

impl Handle {
    /// What runs in this process; it is started where nothing was tried yet.
    pub(crate) fn started(&self) -> Result<&Started, Failed> {
        match self.started.get() {
            Some(started) => self.here(started),
            None => {
                let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match refused {
                    Some(message) => Err(Failed { status: Status::NoRules, message }),
                    None => self.start(),
                }
            }
        }
    }

    fn start(&self) -> Result<&Started, Failed> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = self.started.get() {
            return self.here(started); // somebody else was first
        }
        match Started::new(&self.config, self.surface) {
            Ok(started) => {
                *refused = None;
                Ok(self.started.get_or_init(|| started))
            }
            Err(message) => {
                *refused = Some(message.clone());
                Err(Failed { status: Status::NoRules, message })
            }
        }
    }

    fn here<'s>(&self, started: &'s Started) -> Result<&'s Started, Failed> {
        if started.process == std::process::id() {
            return Ok(started);
        }
        let message = "the handle was started before a fork, and its threads are the other process's: open it before \
                       the fork if you like, and make the first call after it";
        Err(Failed { status: Status::Internal, message: message.to_string() })
    }
}

impl Started {
    fn new(config: &Config, surface: Surface) -> Result<Started, String> {
        let quiet = Quiet::begin();
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("unskew")
            .enable_all()
            .build()
            .map_err(|error| format!("no threads: {error}"))?;
        let runtime = host::gateway::runtime(config).map_err(|error| error.to_string())?;
        let entered = threads.enter();
        let adapter =
            Adapter::start(config.clone(), runtime, None, surface.named()).map_err(|error| error.to_string())?;
        drop(entered);
        let tended = adapter.clone();
        threads.spawn(async move { tended.tend().await });
        drop(quiet);
        Ok(Started { adapter, threads, process: std::process::id() })
    }
}

impl Surface {
    fn named(self) -> adapter::Surface {
        match self {
            Surface::Library => adapter::Surface::whole("libunskew"),
            Surface::Nginx => adapter::Surface { name: "nginx", lacks: &[Lack::SharedMemory] },
            Surface::Haproxy => adapter::Surface::whole("HAProxy"),
            Surface::Envoy => adapter::Surface::whole("Envoy"),
        }
    }
}

/// Signals stay with the program's own threads: those that are made meanwhile take none.
struct Quiet(libc::sigset_t);

impl Quiet {
    fn begin() -> Quiet {
        // SAFETY: both sets are plain data that the calls fill in, and outlive them.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            // What a thread does wrong itself must reach it: the sandbox lives on it.
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
                libc::sigdelset(&raw mut all, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
            Quiet(before)
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the set is the one that this thread had before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

fn version(generation: &Generation, id: &str) -> Result<Version, Failed> {
    generation.version(id).ok_or_else(|| CallError::UnknownVersion(id.to_string()).into())
}

fn json_buffer(value: &Value) -> Buffer {
    Buffer::of(value.to_string().into_bytes())
}

impl Buffer {
    const NONE: Buffer = Buffer { data: std::ptr::null_mut(), len: 0 };
}
