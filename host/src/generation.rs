//! One loaded (guest, pack) pair with its instances and its matrix: what a request pins and a swap replaces.
//!
//! It is built aside: instantiate, load, run the pack's own examples, judge all pairs. Whatever fails there is an
//! error for the one who swaps and nothing to those who call. Nothing here changes afterwards but the pool.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::bindings::{self, Answer, PackProblem};
use crate::compile::Compiled;
use crate::contract::{CarryPlace, Change, Detection, Failure, Manifest, Normalized, Translation, Verdict, Version};
use crate::engine::MEMORY_CEILING;
use crate::error::{CallError, Fault, FaultKind, GuestError, GuestFailure, LoadError, Problem};
use crate::fleet::Fleet;
use crate::guest::Guest;
use crate::instance::{Instance, State};
use crate::life::{Ledger, Phase};
use crate::limits::{Isolation, Limits};
use crate::line::{Content, Line};
use crate::matrix::Matrix;
use crate::meter::Meter;
use crate::pack::{Digest, Pack};
use crate::pool::Pool;
use crate::router::{self, Ask, Decision};
use crate::stats::Counters;
use crate::trust::Statement;

/// Memory of an instance until its pack says how long records are.
const LOAD_MEMORY: usize = 64 << 20;

/// Linear memory never shrinks: an instance that a huge record has blown up beyond this is not kept.
const KEEP_MEMORY: usize = 8 << 20;

/// A loaded (guest, pack) pair. Pin it with an `Arc` for as long as a request lasts, so that the request sees one
/// truth from its first byte to its last.
pub struct Generation {
    manifest: Manifest,
    carry_member: Option<CarryMember>,
    matrix: Matrix,
    pack: Pack,
    settings: Arc<Settings>,
    memory: usize,
    pool: Pool,
    made_of: MadeOf,
    meter: Meter,
    /// Whether the time to drain is over: nothing is kept warm any more.
    closed: AtomicBool,
    /// When its guest failed lately.
    failures: Mutex<VecDeque<Instant>>,
}

/// What a generation is built from beside its pack, and where it belongs.
pub(crate) struct MadeOf {
    pub(crate) id: u64,
    pub(crate) compiled: Arc<Compiled>,
    /// The guest's own bytes where it isn't the standard one.
    pub(crate) guest: Option<Guest>,
    pub(crate) statement: Statement,
    /// The revision that must have been active before it.
    pub(crate) after: Option<u64>,
    /// Where it is reported that its guest keeps failing.
    pub(crate) line: Weak<Line>,
}

/// The member of a record that holds its inline carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarryMember {
    /// Its key, at the root of the record.
    pub name: String,
    /// The longest carry, in bytes.
    pub max_bytes: u32,
}

/// What a runtime's generations have in common.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) isolation: Isolation,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Generation {
    /// Its number, unique in the process and growing.
    pub fn id(&self) -> u64 {
        self.made_of.id
    }

    /// What the pack is about.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The member that inline carries lie in; none where the pack keeps them elsewhere, or nowhere.
    pub fn carry_member(&self) -> Option<&CarryMember> {
        self.carry_member.as_ref()
    }

    /// The pack that it was loaded from.
    pub fn pack(&self) -> &Pack {
        &self.pack
    }

    /// The digest of the guest that it was loaded into.
    pub fn guest(&self) -> Digest {
        self.made_of.compiled.digest
    }

    /// The guest's own bytes, where it isn't the standard one.
    pub fn guest_shipped(&self) -> Option<&Guest> {
        self.made_of.guest.as_ref()
    }

    /// What the signer of its pack says of it.
    pub fn statement(&self) -> Statement {
        self.made_of.statement
    }

    /// The revision that its pack comes after: where an older one is active, it isn't taken.
    pub fn after(&self) -> Option<u64> {
        self.made_of.after
    }

    /// When it is to be alarmed that it still serves.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.made_of.statement.expires
    }

    /// What it has done for traffic.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn content(&self) -> Content {
        (self.guest(), self.pack.digest())
    }

    /// Keeps nothing warm any more: who still holds it gets a new instance for each call.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.pool.clear();
    }

    /// The version of this id.
    pub fn version(&self, id: &str) -> Option<Version> {
        self.manifest.version(id)
    }

    /// Which version a record is of.
    ///
    /// # Errors
    /// A fault if no version recognises it, or more than one.
    pub fn detect(&self, record: &[u8]) -> Result<Detection, CallError> {
        self.fits(record)?;
        self.call(record.len(), |guest, store| guest.detect(store, record), |found| self.knows(found.version))
    }

    /// Writes a record of version `from` as one of version `to`. `carry` is what an earlier translation kept beside
    /// this record, or empty.
    ///
    /// # Errors
    /// A fault if the record can't be translated; it stays as it was.
    pub fn translate(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Translation, CallError> {
        self.known([from, to])?;
        self.fits(record)?;
        let bytes = record.len() + carry.len();
        self.call(bytes, |guest, store| guest.translate(store, record, carry, from, to), |_| true)
    }

    /// Detects and translates in one crossing: the hot call.
    ///
    /// # Errors
    /// As `detect` and `translate`.
    pub fn normalize(&self, record: &[u8], carry: &[u8], to: Version) -> Result<Normalized, CallError> {
        self.known([to])?;
        self.fits(record)?;
        let bytes = record.len() + carry.len();
        self.call(bytes, |guest, store| guest.normalize(store, record, carry, to), |normal| self.knows(normal.found))
    }

    /// How well a server of version `server` serves a record of version `held`: from the matrix, no guest is asked.
    pub fn judge(&self, held: Version, server: Version) -> &Verdict {
        self.matrix.verdict(held, server)
    }

    /// All pairs.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// Every change that `translate` would make. Slow: for people.
    ///
    /// # Errors
    /// As `translate`.
    pub fn explain(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Vec<Change>, CallError> {
        self.known([from, to])?;
        self.fits(record)?;
        // For people and slow: sixteen times the work of a translation is still nothing to wait for.
        let bytes = 16 * (record.len() + carry.len());
        self.call(bytes, |guest, store| guest.explain(store, record, carry, from, to), |_| true)
    }

    /// Runs the pack's examples and laws again. They all held when the generation was built, else there were none.
    ///
    /// # Errors
    /// If the guest fails.
    pub fn test(&self) -> Result<Vec<Failure>, CallError> {
        let budget = self.settings.limits.cpu_load;
        self.within(budget, |guest, store| guest.test(store).map(Ok), |_| true)
    }

    /// A record that no guest of this pack would read is not carried into the sandbox at all.
    fn fits(&self, record: &[u8]) -> Result<(), CallError> {
        let limit = self.manifest.policy.max_bytes;
        if record.len() <= limit as usize {
            return Ok(());
        }
        Err(CallError::Fault(Fault {
            kind: FaultKind::TooLarge,
            op: String::new(),
            place: String::new(),
            expected: format!("at most {limit} bytes (policy.max_bytes)"),
            found: format!("{} bytes", record.len()),
        }))
    }

    /// Linear memory of a warm instance, in bytes; of a fresh one if none is warm.
    ///
    /// # Errors
    /// If no instance is free, or none can be made.
    pub fn instance_memory(&self) -> Result<usize, CallError> {
        let mut checkout = self.pool.check_out().map_err(CallError::Guest)?;
        checkout.instance(|| self.instance()).map(|instance| instance.memory()).map_err(CallError::Guest)
    }

    /// How many instances it has, at work or not.
    pub fn instances(&self) -> usize {
        self.pool.instances()
    }

    /// The linear memory of each warm instance that is not at work, in bytes.
    pub fn warm(&self) -> Vec<usize> {
        self.pool.idle().collect()
    }

    /// Where a request goes, by this generation's matrix.
    pub fn route(&self, ask: &Ask<'_>, fleet: &Fleet) -> Decision {
        router::route(ask, fleet, Some(&self.matrix))
    }

    /// Makes instances ahead, so that calls after a swap find as many warm ones as calls before it did.
    pub(crate) fn warm_up(&self, instances: usize) {
        match self.settings.isolation {
            Isolation::Warm => self.pool.fill(instances, || self.instance()),
            Isolation::Fresh => {}
        }
    }

    /// Builds a generation aside.
    pub(crate) fn build(made_of: MadeOf, pack: &Pack, settings: Arc<Settings>) -> Result<Generation, LoadError> {
        let Settings { limits, counters, ledger, .. } = &*settings;
        let MadeOf { id, compiled: guest, .. } = &made_of;
        let failed = |failure| LoadError::Guest(GuestError::Failed(failure));

        let (mut instance, answer) =
            fresh(guest, pack, limits.memory.unwrap_or(LOAD_MEMORY), &settings).map_err(failed)?;
        let manifest = answer.map_err(|problems| refused(pack, problems))?;
        sound(&manifest).map_err(failed)?;
        ledger.pack(*id, &manifest.name, manifest.revision);
        ledger.enter(*id, Phase::Loaded);
        let memory = limits.memory.unwrap_or_else(|| enough_for(manifest.policy.max_bytes));
        instance.allow_memory(memory);

        let failures = instance.call(limits.cpu_load, counters, |guest, store| guest.test(store)).map_err(failed)?;
        if !failures.is_empty() {
            return Err(LoadError::Examples { name: pack.name().to_owned(), failures });
        }
        ledger.enter(*id, Phase::Tested);
        let matrix = Matrix::judged(manifest.versions.clone(), |held, server| {
            instance.call(limits.cpu_load, counters, |guest, store| guest.judge(store, held, server)).map_err(failed)
        })?;

        let pool = Pool::new(limits.instances, limits.wait, counters.clone());
        if let (Ok(mut checkout), Isolation::Warm) = (pool.check_out(), settings.isolation) {
            checkout.instance(|| Ok::<_, GuestFailure>(instance)).map_err(failed)?;
        }
        settings.counters.generations_alive.add(1);
        let meter = Meter::new(manifest.versions.len());
        let carry_member = (manifest.policy.carry == CarryPlace::Inline).then(|| CarryMember::of(pack));
        Ok(Generation {
            manifest,
            carry_member,
            matrix,
            pack: pack.clone(),
            settings,
            memory,
            pool,
            made_of,
            meter,
            closed: AtomicBool::new(false),
            failures: Mutex::default(),
        })
    }

    pub(crate) fn compiled(&self) -> Arc<Compiled> {
        self.made_of.compiled.clone()
    }

    fn call<T>(
        &self,
        bytes: usize,
        export: impl FnOnce(&bindings::Guest, &mut wasmtime::Store<State>) -> Answer<T>,
        sound: impl FnOnce(&T) -> bool,
    ) -> Result<T, CallError> {
        let limits = &self.settings.limits;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.within(limits.cpu_base.saturating_add(limits.cpu_per_kib.saturating_mul(kib)), export, sound)
    }

    /// The one way into the guest: whatever goes wrong costs this call its answer, this instance its life, and
    /// nobody else anything.
    fn within<T>(
        &self,
        budget: Duration,
        export: impl FnOnce(&bindings::Guest, &mut wasmtime::Store<State>) -> Answer<T>,
        sound: impl FnOnce(&T) -> bool,
    ) -> Result<T, CallError> {
        let Settings { isolation, counters, .. } = &*self.settings;
        let fail = |failure: GuestFailure| {
            counters.failed(&failure);
            self.failed(&failure);
            CallError::Guest(failure)
        };
        let mut checkout = self.pool.check_out().map_err(fail)?;
        let instance = checkout.instance(|| self.instance()).map_err(fail)?;
        let answer = match instance.call(budget, counters, export) {
            Ok(Ok(answer)) if !sound(&answer) => {
                Err(GuestFailure::WrongAnswer("it speaks of a version that the pack doesn't have".into()))
            }
            Ok(answer) => Ok(answer),
            Err(failure) => Err(failure),
        };
        let grown = instance.memory() > KEEP_MEMORY;
        match (&answer, isolation) {
            (Err(_), _) => {
                counters.instances_dropped.add(1);
                checkout.discard();
            }
            (Ok(_), Isolation::Fresh) => checkout.discard(),
            (Ok(_), Isolation::Warm) if grown => {
                counters.instances_recycled.add(1);
                checkout.discard();
            }
            (Ok(_), Isolation::Warm) if self.closed.load(Ordering::Relaxed) => checkout.discard(),
            (Ok(_), Isolation::Warm) => {}
        }
        drop(checkout);
        Ok(answer.map_err(fail)??)
    }

    /// Notes a failure of the guest; too many of them in too short a time put this generation aside.
    #[cold]
    fn failed(&self, failure: &GuestFailure) {
        let Limits { failures: most, failures_within: within, .. } = self.settings.limits;
        match failure {
            GuestFailure::Trap(_) | GuestFailure::CpuBudget { .. } | GuestFailure::Memory { .. } => {}
            GuestFailure::WrongAnswer(_) => {}
            // The machine's fault, or the load's.
            GuestFailure::PoolExhausted { .. } | GuestFailure::NoInstance(_) => return,
        }
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back(now);
        while failures.front().is_some_and(|first| now.duration_since(*first) > within) {
            failures.pop_front();
        }
        if most == 0 || failures.len() < most {
            return;
        }
        failures.clear();
        drop(failures);
        if let Some(line) = self.made_of.line.upgrade() {
            let kind = failure.as_str();
            line.quarantine(
                self.id(),
                &format!("its guest failed {most} times within {} s, last with {kind}", within.as_secs()),
            );
        }
    }

    /// One more warm instance.
    fn instance(&self) -> Result<Instance, GuestFailure> {
        let (instance, answer) = fresh(&self.made_of.compiled, &self.pack, self.memory, &self.settings)?;
        match answer {
            Ok(manifest) if manifest == self.manifest => Ok(instance),
            Ok(_) | Err(_) => Err(GuestFailure::WrongAnswer("it loads the same pack differently than before".into())),
        }
    }

    fn knows(&self, version: Version) -> bool {
        version.index() < self.manifest.versions.len()
    }

    fn known<const N: usize>(&self, versions: [Version; N]) -> Result<(), CallError> {
        match versions.into_iter().find(|version| !self.knows(*version)) {
            Some(version) => Err(CallError::UnknownVersion(format!("#{}", version.0))),
            None => Ok(()),
        }
    }
}

impl CarryMember {
    /// What the pack says of it, else the defaults of the rule language.
    fn of(pack: &Pack) -> CarryMember {
        let said = serde_json::from_slice::<serde_json::Value>(pack.json()).unwrap_or_default();
        let policy = &said["policy"];
        let max_bytes = policy["carry_max_bytes"].as_u64().and_then(|bytes| u32::try_from(bytes).ok());
        CarryMember {
            name: policy["carry_member"].as_str().unwrap_or("_unskew").to_owned(),
            max_bytes: max_bytes.unwrap_or(16384),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.settings.counters.generations_alive.sub(1);
        self.settings.ledger.enter(self.id(), Phase::Freed);
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Manifest { name, revision, .. } = &self.manifest;
        f.debug_struct("Generation").field("id", &self.id()).field("pack", name).field("revision", revision).finish()
    }
}

/// Input, output, carry, tape and what the allocator can't use again: some times the longest record, and the pack.
fn enough_for(max_bytes: u32) -> usize {
    usize::try_from(max_bytes).unwrap_or(MEMORY_CEILING).saturating_mul(16).saturating_add(16 << 20).min(MEMORY_CEILING)
}

type Loaded = (Instance, Result<Manifest, Vec<PackProblem>>);

fn fresh(guest: &Compiled, pack: &Pack, memory: usize, settings: &Settings) -> Result<Loaded, GuestFailure> {
    let Settings { limits, counters, .. } = settings;
    let mut instance = Instance::new(guest, memory, limits.cpu_load)?;
    counters.instances_made.add(1);
    let answer = instance.call(limits.cpu_load, counters, |guest, store| guest.load(store, pack.json()))?;
    Ok((instance, answer))
}

fn refused(pack: &Pack, problems: Vec<PackProblem>) -> LoadError {
    if problems.is_empty() {
        let reason = "it refuses the pack and names no problem".to_owned();
        return GuestError::Failed(GuestFailure::WrongAnswer(reason)).into();
    }
    let placed = |PackProblem { pointer, message }| Problem { place: pack.place(&pointer), pointer, message };
    let mut problems: Vec<Problem> = problems.into_iter().map(placed).collect();
    problems.sort_by_key(|problem| problem.place); // as the author reads the file; stable for those of one place
    LoadError::Problems { name: pack.name().to_owned(), problems }
}

/// What the host relies on without asking again.
fn sound(manifest: &Manifest) -> Result<(), GuestFailure> {
    let wrong = |reason: &str| Err(GuestFailure::WrongAnswer(reason.to_owned()));
    let n = manifest.versions.len();
    let ids: BTreeSet<&str> = manifest.versions.iter().map(|version| &*version.id).collect();
    match () {
        () if n == 0 => wrong("its manifest has no version"),
        () if n > usize::from(u16::MAX) => wrong("its manifest has more versions than can be counted"),
        () if ids.len() < n => wrong("its manifest has two versions of one id"),
        () if manifest.versions.iter().flat_map(|version| &version.reads).any(|read| read.index() >= n) => {
            wrong("its manifest speaks of a version that it doesn't have")
        }
        () => Ok(()),
    }
}
