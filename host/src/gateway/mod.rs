//! The gateway: takes requests, sends each to a server that can serve its session, and translates records on the way.
//!
//! It runs Pingora's proxy on a listener and a tokio runtime of its own, so that several gateways live in one process
//! and each is stopped by itself. One request goes through `request` (what it is about), `place` (which server, and
//! the record made readable for it), `proxy` (Pingora's phases) and `answer`; `held` keeps an answer back whose record
//! is translated for clients. `proxy`, `held`, `failure` and `listen` are Pingora's; the rest knows no network, and
//! `adapter` offers it to other surfaces.

pub mod adapter;

mod admin;
mod answer;
mod border;
mod codec;
mod counters;
mod decisions;
mod edits;
mod failure;
mod filter;
mod front;
mod guard;
mod health;
mod held;
mod intake;
mod keys;
mod listen;
mod otlp;
mod place;
mod problem;
mod proxy;
mod reload;
mod request;
mod session;
mod sessions;
mod shadow;
mod state;
mod trace;
mod translate;

pub(crate) mod pattern;
pub(crate) mod pointer;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::watch;

pub use counters::Counts;
pub use filter::{filter_configuration, filter_discovery};
pub use proxy::Gate;
pub use request::Ctx;

use crate::compile::Compiler;
use crate::config::{Config, ConfigError, GuestEntry, IsolationKey, RolloutEntry, ServerEntry};
use crate::directory::DirectoryStatus;
use crate::error::LoadError;
use crate::fleet::FleetError;
use crate::generation::Generation;
use crate::last_good::LastGood;
use crate::limits::{Isolation, Limits, Mode, OnFailure};
use crate::recent::Sampling;
use crate::runtime::Runtime;
use crate::store::{MemoryStore, Store};
use crate::supply::{self, Address};
use admin::Admin;
use decisions::Decisions;
use intake::Intake;
use otlp::{Export, Spans};
use sessions::Sessions;
use state::State;

/// A gateway that runs. Dropping it stops it at once; `stop` lets requests finish.
pub struct Gateway {
    state: Arc<State>,
    address: SocketAddr,
    store_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    stopping: watch::Sender<bool>,
    finished: watch::Receiver<bool>,
    threads: Threads,
}

/// The gateway's own threads. They end without being waited for: a gateway may be dropped on a thread of another
/// runtime, where waiting is forbidden.
struct Threads(Option<tokio::runtime::Runtime>);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pack can't be used, and `policy.on_load_failure` is `closed`.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The servers are no fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// An address can't be listened on.
    #[error("{address}: can't listen: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// The system's word.
        reason: std::io::Error,
    },
    /// The configuration names the `store` carrier, and there is no store.
    #[error("record.store needs a store: add [store] with kind = \"memory\", or hand one in")]
    NoStore,
    /// A key of `[seal]` can't be used.
    #[error("seal.keys: {0}")]
    Seal(String),
    /// A key, a token or a password of the configuration can't be read.
    #[error("{0}")]
    Secret(String),
    /// The folder for the last good pack, or the decision log, can't be used.
    #[error("{folder}: {reason}: name a folder (state) or a file (decisions.file) that this program may write")]
    State {
        /// The folder or file.
        folder: String,
        /// The system's word.
        reason: std::io::Error,
    },
    /// The configuration asks for signatures, and the runtime that was handed in doesn't.
    #[error("trust.keys: the runtime was built without them: build it with `gateway::runtime(&config)`")]
    Untrusting,
    /// The configuration asks for what a surface can't do.
    #[error("{surface} can't do {what}")]
    Surface {
        /// The surface.
        surface: &'static str,
        /// What it can't do, and what to say instead.
        what: &'static str,
    },
    /// The operating system gave no thread.
    #[error("no threads: {0}")]
    Threads(std::io::Error),
}

impl Gateway {
    /// Starts a gateway and returns when it listens. If the runtime has no rules yet, the configuration's pack is
    /// loaded into it; the pack's file is watched from then on. A store that is handed in takes the place of the
    /// configuration's.
    ///
    /// # Errors
    /// If the configuration, the pack or an address can't be used.
    pub fn start(config: Config, runtime: Runtime, store: Option<Arc<dyn Store>>) -> Result<Gateway, StartError> {
        config.check()?;
        let listener = bind(&config.listen)?;
        let address = listener.local_addr().map_err(|reason| not_listening(&config.listen, reason))?;
        let admin = Admin::open(&config)?;
        let admin_address = admin.as_ref().map(|admin| admin.address);
        let (state, beside, front) = open(config, runtime, store)?;
        let (threads, spawner) = Threads::start(state.config.threads).map_err(StartError::Threads)?;
        begin(&state, beside, &spawner)?;
        let (stopping, stop) = watch::channel(false);
        let (done, finished) = watch::channel(false);
        let entered = spawner.enter();
        let store_address = match front {
            Some((memory, listener)) => Some(front::open(memory, listener, stop.clone())?),
            None => None,
        };
        spawner.spawn(health::watch(state.clone()));
        spawner.spawn(reload::watch(state.clone()));
        spawner.spawn(state.clone().supervise());
        if let Some(admin) = admin {
            admin.start(state.clone(), stop.clone())?;
        }
        let accepting = listen::Accepting::new(state.clone(), listener, stop)
            .map_err(|reason| not_listening(&address.to_string(), reason))?;
        spawner.spawn(async move {
            accepting.run().await;
            done.send_replace(true);
        });
        tracing::info!(%address, "gateway listens");
        drop(entered);
        Ok(Gateway { state, address, store_address, admin_address, stopping, finished, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the store's HTTP front listens, if there is one.
    pub fn store_address(&self) -> Option<SocketAddr> {
        self.store_address
    }

    /// Where the admin API listens, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// What it has counted so far.
    pub fn counts(&self) -> Counts {
        self.state.counters.snapshot()
    }

    /// What it does with what it finds.
    pub fn mode(&self) -> Mode {
        self.state.mode()
    }

    /// Throws the switch; requests that are under way go on in the mode that they began in.
    pub fn set_mode(&self, mode: Mode) {
        self.state.set_mode(mode);
        tracing::info!(?mode, "mode is switched");
    }

    /// The servers by name, and whether each is healthy.
    pub fn health(&self) -> Vec<(String, bool)> {
        self.state.members().health()
    }

    /// Where the directory stands: whether it is shared, and whether it is to be reached.
    pub fn directory(&self) -> DirectoryStatus {
        self.state.sessions.status()
    }

    /// Replaces the servers; requests that are under way stay where they are. Servers that stay keep their health.
    ///
    /// # Errors
    /// If they are no fleet; the old ones stay.
    pub fn set_servers(&self, servers: &[ServerEntry]) -> Result<(), StartError> {
        self.state.set_servers(servers)
    }

    /// Loads the configuration's pack again, as SIGHUP does. Takes CPU time: call it off the request path.
    ///
    /// # Errors
    /// Every problem of the pack; the old one serves on.
    pub fn reload(&self) -> Result<Option<Arc<Generation>>, LoadError> {
        reload::reload(&self.state)
    }

    /// Builds the tables for a pack that was swapped into the runtime directly, so that no request has to.
    pub fn prepare(&self) {
        self.state.prepare();
    }

    /// Stops taking connections, lets requests finish for at most `timeouts.drain_ms`, and ends.
    pub async fn stop(self) {
        self.state.stop();
        self.stopping.send_replace(true);
        let mut finished = self.finished.clone();
        listen::stopped(&mut finished).await;
        if let Some(spans) = &self.state.spans {
            spans.flush(FLUSH).await;
        }
        drop(self.threads);
        tracing::info!(address = %self.address, "gateway has stopped");
    }
}

impl Threads {
    fn start(count: usize) -> std::io::Result<(Threads, tokio::runtime::Handle)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(if count == 0 { cores() } else { count })
            .thread_name("unskew-gateway")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok((Threads(Some(runtime)), handle))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a gateway as a program: SIGHUP reads mode, servers and pack again, SIGTERM and SIGINT stop it, a second one at once.
///
/// # Errors
/// If it can't start.
pub fn serve(config: Config, compiler: Compiler) -> Result<(), StartError> {
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Threads)?;
    let entered = waiting.enter();
    let signals = listen::Signals::take().map_err(StartError::Threads)?;
    drop(entered);
    let runtime = runtime_with(&config, compiler)?;
    let gateway = Gateway::start(config, runtime, None)?;
    waiting.block_on(listen::until_signalled(gateway, signals));
    Ok(())
}

/// The runtime that a configuration asks for: its keys, its guest's limits, its sampling. It has no pack yet.
///
/// # Errors
/// If a key can't be read, or the sandbox can't be set up.
pub fn runtime(config: &Config) -> Result<Runtime, StartError> {
    runtime_with(config, Compiler::default())
}

/// `runtime`, with a say in where guests are compiled. What is compiled is kept in the folder of `state`.
///
/// # Errors
/// As `runtime`, and if that folder can't be used.
pub fn runtime_with(config: &Config, compiler: Compiler) -> Result<Runtime, StartError> {
    let compiler = match &config.state {
        Some(state) => {
            let folder = state.join("compiled");
            let refused = |reason| StartError::State { folder: folder.display().to_string(), reason };
            compiler.keeping(&folder).map_err(refused)?
        }
        None => compiler,
    };
    let GuestEntry { cpu_us, cpu_us_per_kib, load_ms, compile_ms, compile_memory_bytes, memory_bytes, .. } =
        config.guest;
    let limits = Limits {
        cpu_base: Duration::from_micros(cpu_us),
        cpu_per_kib: Duration::from_micros(cpu_us_per_kib),
        cpu_load: Duration::from_millis(load_ms),
        memory: (memory_bytes > 0).then_some(memory_bytes),
        instances: config.guest.instances,
        artefact: config.guest.max_bytes,
        compile: Duration::from_millis(compile_ms),
        compile_memory: compile_memory_bytes,
        failures: config.guest.quarantine_after,
        ..Limits::default()
    };
    let isolation = match config.guest.isolation {
        IsolationKey::Warm => Isolation::Warm,
        IsolationKey::Fresh => Isolation::Fresh,
    };
    let RolloutEntry { sample_records, sample_bytes, sample_one_of, .. } = config.rollout;
    let sampling =
        Sampling { records: sample_records, bytes: sample_bytes, one_of: sample_one_of, ..Sampling::default() };
    let builder = Runtime::builder().limits(limits).isolation(isolation).sampling(sampling).compiler(compiler);
    Ok(builder.trust(keys::trust(config)?).build()?)
}

type Opened = (Arc<State>, Beside, Option<Front>);

/// What runs beside the requests.
struct Beside {
    supply: Option<Supply>,
    export: Option<Export>,
}

/// All that a configuration asks for but sockets and threads; nothing runs yet.
fn open(config: Config, runtime: Runtime, store: Option<Arc<dyn Store>>) -> Result<Opened, StartError> {
    let seal = keys::read(&config)?;
    let (store, front) = open_store(&config, store)?;
    if !config.trust.keys.is_empty() && !runtime.asks_for_signatures() {
        return Err(StartError::Untrusting);
    }
    let last_good = config.state.as_deref().map(|folder| {
        LastGood::open(folder).map_err(|reason| StartError::State { folder: folder.display().to_string(), reason })
    });
    let intake = Intake::new(last_good.transpose()?, &config.rollout);
    intake.found(runtime.generation().as_deref());
    let decisions = config.decisions.as_ref().map(Decisions::open).transpose()?;
    let supply = Supply::of(&config)?;
    let sessions = Sessions::of(&config)?;
    let (spans, export) = config.tracing.as_ref().map(Spans::open).transpose()?.unzip();
    let state = State::new(config, runtime, store, seal, (intake, decisions, spans, sessions))?;
    Ok((Arc::new(state), Beside { supply, export }, front))
}

/// The first pack: handed in, kept on disk, or from where the configuration says.
fn begin(state: &Arc<State>, beside: Beside, spawner: &tokio::runtime::Handle) -> Result<(), StartError> {
    let Beside { supply, export } = beside;
    if let Some(export) = export {
        spawner.spawn(export.run());
    }
    state.sessions.start()?;
    let handed_in = state.runtime.generation();
    if handed_in.is_none() {
        state.restore();
    }
    let first = supply.map(|supply| supply.start(state, spawner));
    match handed_in.and_then(|active| state.objection(active.manifest().policy.carry)) {
        Some(message) => Err(intake::objected("pack", message).into()),
        None => first_pack(state, first),
    }
}

/// The first pack: it must load, unless the policy lets requests pass without one. A last good one is waited with.
fn first_pack(state: &Arc<State>, supplied: Option<mpsc::Receiver<String>>) -> Result<(), StartError> {
    if state.runtime.generation().is_some() {
        return Ok(()); // handed in, or the last good one; what the file holds beside is seen by its watch
    }
    let loaded = match (supplied, &state.config.source) {
        (Some(first), Some(source)) => {
            let said = first.recv_timeout(Duration::from_millis(source.start_ms));
            let reason = said.unwrap_or_else(|_| format!("it delivers nothing within {} ms", source.start_ms));
            let name = "source".to_owned();
            state.runtime.generation().map(Some).ok_or(LoadError::Unreadable { name, reason })
        }
        (Some(_) | None, _) => reload::reload(state),
    };
    match (loaded, state.failure.load) {
        (Err(error), OnFailure::Closed) => Err(error.into()),
        (Ok(_), _) | (Err(_), OnFailure::Open) => Ok(()),
    }
}

/// Where the pack comes from when it is no file, ready to run.
enum Supply {
    Http(supply::Http),
    Etcd(supply::Etcd),
}

impl Supply {
    fn of(config: &Config) -> Result<Option<Supply>, StartError> {
        let Some(source) = &config.source else { return Ok(None) };
        let address = |text: &str| Address::read(text).map_err(StartError::Secret);
        let refused = |at: &'static str| move |reason: String| StartError::Secret(format!("{at}: {reason}"));
        if let Some(http) = &source.http {
            let token = http.token.as_ref().map(|entry| {
                let token = keys::text("source.http.token", entry)?;
                let refused = |_| StartError::Secret("source.http.token: it is no text for a header".to_owned());
                http::HeaderValue::try_from(format!("Bearer {token}")).map_err(refused)
            });
            let (pack, guest) = (address(&http.url)?, http.guest.as_deref().map(address).transpose()?);
            let asked: Vec<&Address> = guest.iter().chain([&pack]).collect();
            let tls = supply::tls(http.tls.as_ref(), &asked);
            return Ok(Some(Supply::Http(supply::Http {
                pack,
                guest,
                signed: !config.trust.keys.is_empty(),
                poll: Duration::from_millis(http.poll_ms),
                wait: Duration::from_secs(http.wait_s),
                client: supply::Client::new(http.max_bytes, tls.map_err(refused("source.http.tls"))?)
                    .within(Duration::from_millis(http.body_ms)),
                token: token.transpose()?,
            })));
        }
        let Some(etcd) = &source.etcd else { return Ok(None) };
        let user = match (&etcd.user, &etcd.password) {
            (Some(user), Some(password)) => Some((user.clone(), keys::text("source.etcd.password", password)?)),
            (Some(_) | None, _) => None,
        };
        let endpoints = etcd.endpoints.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        let tls = supply::tls(etcd.tls.as_ref(), &endpoints.iter().collect::<Vec<_>>());
        let tls = tls.map_err(refused("source.etcd.tls"))?;
        Ok(Some(Supply::Etcd(supply::Etcd {
            endpoints,
            key: etcd.key.clone(),
            user,
            max_bytes: etcd.max_bytes,
            client: supply::Client::new(supply::Etcd::longest(etcd.max_bytes), tls),
        })))
    }

    /// Runs it on the gateway's threads; the receiver hears when its first delivery is dealt with.
    fn start(self, state: &Arc<State>, spawner: &tokio::runtime::Handle) -> mpsc::Receiver<String> {
        let (to, from) = tokio::sync::mpsc::channel(1);
        let (done, first) = mpsc::channel();
        spawner.spawn(state.clone().take_in(from, done));
        match self {
            Supply::Http(http) => spawner.spawn(http.run(to)),
            Supply::Etcd(etcd) => spawner.spawn(etcd.run(to)),
        };
        first
    }
}

type Front = (MemoryStore, TcpListener);
type OpenStore = (Option<Arc<dyn Store>>, Option<Front>);

fn open_store(config: &Config, handed_in: Option<Arc<dyn Store>>) -> Result<OpenStore, StartError> {
    match (handed_in, &config.store) {
        (Some(store), _) => Ok((Some(store), None)),
        (None, Some(entry)) => {
            let memory = MemoryStore::new(entry.max_bytes);
            let front = match &entry.listen {
                Some(address) => Some((memory.clone(), bind(address)?)),
                None => None,
            };
            Ok((Some(Arc::new(memory)), front))
        }
        (None, None) if config.record.store.is_some() => Err(StartError::NoStore),
        (None, None) => Ok((None, None)),
    }
}

fn bind(address: &str) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).map_err(|reason| not_listening(address, reason))?;
    listener.set_nonblocking(true).map_err(|reason| not_listening(address, reason))?;
    Ok(listener)
}

fn not_listening(address: &str, reason: std::io::Error) -> StartError {
    StartError::Listen { address: address.to_string(), reason }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// How long a gateway that stops waits for the last spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// How long an error of `accept` (too many open files) makes the loop wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
