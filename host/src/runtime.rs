//! The runtime: the active generation, its replacement while traffic flows, and the calls by version id.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Change, Normalized, Translation, Verdict};
use crate::error::{CallError, LoadError};
use crate::fleet::Fleet;
use crate::generation::Generation;
use crate::pack::Pack;
use crate::router::{Ask, Decision};

/// What a gateway holds: the active generation and the means to replace it. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    failure: FailurePolicy,
}

/// How a runtime is made.
#[derive(Default)]
pub struct RuntimeBuilder {
    failure: FailurePolicy,
}

/// What a guest may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of a call, whatever its size.
    pub cpu_base: Duration,
    /// CPU time of a call for each KiB of record and carry, on top.
    pub cpu_per_kib: Duration,
    /// CPU time of `load` and of `test`, each.
    pub cpu_load: Duration,
    /// Linear memory of an instance, in bytes; none derives it from the pack's `max_bytes`.
    pub memory: Option<usize>,
    /// Instances of a generation, which is also how many calls run at once.
    pub instances: usize,
    /// How long a call waits for an instance.
    pub wait: Duration,
    /// The length of a guest's artefact, in bytes.
    pub artefact: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu_base: Duration::from_millis(5),
            cpu_per_kib: Duration::from_micros(50),
            cpu_load: Duration::from_millis(500),
            memory: None,
            instances: 64,
            wait: Duration::from_secs(1),
            artefact: 4 << 20,
        }
    }
}

/// Whether instances are used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An instance serves one call after the other.
    #[default]
    Warm,
    /// Each call gets an instance of its own, at the cost of a `load`: for guests that are not trusted to be pure.
    Fresh,
}

/// What a gateway does with the decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything through.
    Off,
    /// Decides and counts, changes nothing.
    Observe,
    /// Routes and translates.
    #[default]
    Enforce,
}

/// What happens to a request when something fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is refused with a reason.
    #[default]
    Closed,
    /// It passes on untouched.
    Open,
}

/// What happens to requests when no pack is active, and when a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailurePolicy {
    /// No pack could be loaded.
    pub load: OnFailure,
    /// A call failed: a fault or a failing guest.
    pub call: OnFailure,
}

/// Counters since the runtime was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Generations that somebody still holds: the active one, the previous one, pinned ones.
    pub generations_alive: u64,
    /// Generations published, the first included.
    pub swaps: u64,
    /// Packs and guests refused.
    pub refused: u64,
    /// Roll-backs.
    pub rollbacks: u64,
    /// Instances made.
    pub instances_made: u64,
    /// Instances dropped after an error from the guest.
    pub instances_dropped: u64,
    /// Instances dropped since they had grown too large to keep.
    pub instances_recycled: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Calls stopped at the end of their CPU budget.
    pub cpu_kills: u64,
    /// Times that a call was looked at and found within its CPU budget.
    pub cpu_pardons: u64,
    /// Calls that wanted more memory than allowed.
    pub memory_kills: u64,
    /// Answers that broke the contract.
    pub wrong_answers: u64,
    /// Calls that found no free instance in time.
    pub pool_exhausted: u64,
}

impl Runtime {
    /// A runtime with this pack, the standard guest and default limits.
    ///
    /// # Errors
    /// Every problem of the pack, or the failing examples.
    pub fn new(pack: &Pack) -> Result<Runtime, LoadError> {
        Runtime::builder().pack(pack).build()
    }

    /// A runtime without rules: `generation()` is none until a pack is swapped in.
    ///
    /// # Errors
    /// If the sandbox can't be set up.
    pub fn empty() -> Result<Runtime, LoadError> {
        Runtime::builder().build()
    }

    /// A runtime with settings of one's own.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// The active generation; pin it for the length of a request.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        None
    }

    /// Loads a pack aside, runs its examples, and publishes it: later calls see it, running ones finish on theirs.
    /// A pack of the active digest changes nothing. Takes CPU time: call it off the request path.
    ///
    /// # Errors
    /// Every problem, the failing examples, or `LoadError::Revision`; what was active stays.
    pub fn swap(&self, _pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        Err(LoadError::NoPrevious)
    }

    /// `swap` that takes an older revision too.
    ///
    /// # Errors
    /// As `swap`.
    pub fn swap_forced(&self, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.swap(pack)
    }

    /// Replaces guest and pack together.
    ///
    /// # Errors
    /// As `swap`, and if the guest can't be used.
    pub fn swap_guest(&self, _wasm: &[u8], pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.swap(pack)
    }

    /// Publishes the previous generation again; a second roll-back undoes the first.
    ///
    /// # Errors
    /// If there is none.
    pub fn rollback(&self) -> Result<Arc<Generation>, LoadError> {
        Err(LoadError::NoPrevious)
    }

    /// Counters since the runtime was made.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// What happens to requests when something fails.
    pub fn failure(&self) -> FailurePolicy {
        self.inner.failure
    }

    /// The id of the version that a record is of.
    ///
    /// # Errors
    /// A fault, or `CallError::NoPack`.
    pub fn detect(&self, record: &[u8]) -> Result<String, CallError> {
        let generation = self.pinned()?;
        let found = generation.detect(record)?;
        Ok(generation.manifest().id(found.version).to_owned())
    }

    /// Writes a record of version `from` as one of version `to`.
    ///
    /// # Errors
    /// A fault, an unknown version id, or `CallError::NoPack`.
    pub fn translate(&self, record: &[u8], carry: &[u8], from: &str, to: &str) -> Result<Translation, CallError> {
        let generation = self.pinned()?;
        let [from, to] = [named(&generation, from)?, named(&generation, to)?];
        generation.translate(record, carry, from, to)
    }

    /// Detects and translates in one crossing.
    ///
    /// # Errors
    /// A fault, an unknown version id, or `CallError::NoPack`.
    pub fn normalize(&self, record: &[u8], carry: &[u8], to: &str) -> Result<Normalized, CallError> {
        let generation = self.pinned()?;
        let to = named(&generation, to)?;
        generation.normalize(record, carry, to)
    }

    /// How well a server of version `server` serves a record of version `held`.
    ///
    /// # Errors
    /// An unknown version id, or `CallError::NoPack`.
    pub fn judge(&self, held: &str, server: &str) -> Result<Verdict, CallError> {
        let generation = self.pinned()?;
        let [held, server] = [named(&generation, held)?, named(&generation, server)?];
        Ok(generation.judge(held, server).clone())
    }

    /// Every change that `translate` would make.
    ///
    /// # Errors
    /// A fault, an unknown version id, or `CallError::NoPack`.
    pub fn explain(&self, record: &[u8], carry: &[u8], from: &str, to: &str) -> Result<Vec<Change>, CallError> {
        let generation = self.pinned()?;
        let [from, to] = [named(&generation, from)?, named(&generation, to)?];
        generation.explain(record, carry, from, to)
    }

    /// Where a request goes, by the active generation; without one every healthy server is in one tier.
    pub fn route(&self, ask: &Ask<'_>, fleet: &Fleet) -> Decision {
        match self.generation() {
            Some(generation) => generation.route(ask, fleet),
            None => crate::router::route(ask, fleet, None),
        }
    }

    fn pinned(&self) -> Result<Arc<Generation>, CallError> {
        self.generation().ok_or(CallError::NoPack)
    }
}

impl RuntimeBuilder {
    /// What a guest may use.
    #[must_use]
    pub fn limits(self, _limits: Limits) -> RuntimeBuilder {
        self
    }

    /// Another guest than the standard one: any component that exports the contract and imports nothing.
    #[must_use]
    pub fn guest(self, _wasm: impl Into<Vec<u8>>) -> RuntimeBuilder {
        self
    }

    /// Whether instances are used again.
    #[must_use]
    pub fn isolation(self, _isolation: Isolation) -> RuntimeBuilder {
        self
    }

    /// What happens to requests when something fails.
    #[must_use]
    pub fn failure(self, failure: FailurePolicy) -> RuntimeBuilder {
        RuntimeBuilder { failure }
    }

    /// The first pack; without one the runtime starts empty.
    #[must_use]
    pub fn pack(self, _pack: &Pack) -> RuntimeBuilder {
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// If the guest or the pack can't be used.
    pub fn build(self) -> Result<Runtime, LoadError> {
        Ok(Runtime { inner: Arc::new(Inner { failure: self.failure }) })
    }
}

fn named(generation: &Generation, id: &str) -> Result<crate::contract::Version, CallError> {
    generation.version(id).ok_or_else(|| CallError::UnknownVersion(id.to_owned()))
}
