//! The runtime: the active generation, its replacement while traffic flows, and the calls by version id.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::contract::{Change, Normalized, Translation, Verdict, Version};
use crate::engine::{self, Compiled};
use crate::error::{CallError, LoadError};
use crate::fleet::Fleet;
use crate::generation::{Generation, Settings};
use crate::limits::{FailurePolicy, Isolation, Limits};
use crate::pack::Pack;
use crate::router::{self, Ask, Decision};
use crate::stats::{Counters, Stats};

/// What a gateway holds: the active generation and the means to replace it. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    active: ArcSwapOption<Generation>,
    /// Held while somebody swaps: swaps are one after the other, calls never wait for one.
    line: Mutex<Line>,
    settings: Arc<Settings>,
    failure: FailurePolicy,
}

/// What the next swap starts from.
struct Line {
    guest: Arc<Compiled>,
    previous: Option<Arc<Generation>>,
}

/// How a runtime is made.
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    limits: Limits,
    isolation: Isolation,
    failure: FailurePolicy,
    guest: Option<Vec<u8>>,
    pack: Option<Pack>,
}

/// Instances that a swap makes ahead at most: some hundred microseconds each, and a swap is active within 50 ms.
const WARM_AHEAD: usize = 32;

/// Whether a pack must be newer than the active one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Revisions {
    Grow,
    Any,
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
    /// ```
    /// let runtime = unskew::Runtime::empty()?;
    /// assert_eq!(runtime.detect(b"{}"), Err(unskew::CallError::NoPack));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the sandbox can't be set up.
    pub fn empty() -> Result<Runtime, LoadError> {
        Runtime::builder().build()
    }

    /// A runtime with settings of one's own.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// use std::time::Duration;
    /// use unskew::{Isolation, Limits, Runtime};
    ///
    /// let limits = Limits { cpu_base: Duration::from_millis(2), instances: 8, ..Limits::default() };
    /// let runtime = Runtime::builder().limits(limits).isolation(Isolation::Fresh).pack(&pack).build()?;
    /// assert_eq!(runtime.detect(br#"{"sessionId":"s1"}"#)?, "1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// The active generation; pin it for the length of a request.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        self.inner.active.load_full()
    }

    /// Loads a pack aside, runs its examples, and publishes it: later calls see it, running ones finish on theirs.
    /// A pack of the active digest changes nothing. Takes CPU time: call it off the request path.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// # use unskew::{Pack, Runtime};
    /// let runtime = Runtime::new(&pack)?;
    /// let pinned = runtime.generation().expect("a pack was loaded");
    ///
    /// let text = String::from_utf8(pack.json().to_vec())?.replace("3000", "9000");
    /// let error = runtime.swap(&Pack::from_json("next.json", &text)?).unwrap_err();
    /// assert!(error.to_string().contains("raise `revision` above 1"));
    ///
    /// let next = Pack::from_json("next.json", &text.replace(r#""revision":1"#, r#""revision":2"#))?;
    /// runtime.swap(&next)?;
    /// let record = runtime.translate(br#"{"sessionId":"s1"}"#, b"", "1", "2")?.record;
    /// assert!(record.windows(4).any(|window| window == b"9000"));
    /// assert_eq!(pinned.manifest().revision, 1); // who has pinned a generation stays on it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Every problem, the failing examples, or `LoadError::Revision`; what was active stays.
    pub fn swap(&self, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.replace(None, pack, Revisions::Grow)
    }

    /// `swap` that takes an older revision too.
    ///
    /// # Errors
    /// As `swap`, but for the revision.
    pub fn swap_forced(&self, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.replace(None, pack, Revisions::Any)
    }

    /// Replaces guest and pack together. The guest is compiled aside as well, which takes far longer than a pack.
    ///
    /// # Errors
    /// As `swap`, and if the guest can't be used.
    pub fn swap_guest(&self, wasm: &[u8], pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        let guest =
            engine::compile(wasm, self.inner.settings.limits.artefact).map_err(|error| self.refuse(error.into()))?;
        self.replace(Some(guest), pack, Revisions::Grow)
    }

    /// Publishes the previous generation again, its instances still warm; a second roll-back undoes the first.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// # use unskew::{Pack, Runtime};
    /// # let json = String::from_utf8(pack.json().to_vec())?.replace(r#""revision":1"#, r#""revision":2"#);
    /// # let next = Pack::from_json("next.json", &json)?;
    /// let runtime = Runtime::new(&pack)?;
    /// runtime.swap(&next)?;
    /// assert_eq!(runtime.rollback()?.manifest().revision, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is none.
    pub fn rollback(&self) -> Result<Arc<Generation>, LoadError> {
        let mut line = self.line();
        let back = line.previous.take().ok_or(LoadError::NoPrevious)?;
        line.guest = back.compiled();
        line.previous = self.inner.active.swap(Some(back.clone()));
        self.inner.settings.counters.rollbacks.add(1);
        Ok(back)
    }

    /// Counters since the runtime was made.
    pub fn stats(&self) -> Stats {
        self.inner.settings.counters.read()
    }

    /// What happens to requests when something fails.
    pub fn failure(&self) -> FailurePolicy {
        self.inner.failure
    }

    /// The id of the version that a record is of.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// assert_eq!(runtime.detect(br#"{"session_id":"s1","schema":2}"#)?, "2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// let old = br#"{"sessionId":"s1","score":1.50}"#;
    /// let new = runtime.translate(old, b"", "1", "2")?;
    /// assert_eq!(new.record, br#"{"session_id":"s1","score":1.50,"bitrate":3000,"schema":2}"#);
    /// assert_eq!(runtime.translate(&new.record, &new.carry, "2", "1")?.record, old);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// let record = br#"{"sessionId":"s1"}"#;
    /// assert!(runtime.normalize(record, b"", "2")?.changed.is_some());
    /// assert_eq!(runtime.normalize(record, b"", "1")?.changed, None); // already right
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// assert_eq!(runtime.judge("1", "2")?.fidelity, unskew::Fidelity::Native);
    /// assert_eq!(runtime.judge("2", "1")?.fidelity, unskew::Fidelity::Carried);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An unknown version id, or `CallError::NoPack`.
    pub fn judge(&self, held: &str, server: &str) -> Result<Verdict, CallError> {
        let generation = self.pinned()?;
        let [held, server] = [named(&generation, held)?, named(&generation, server)?];
        Ok(generation.judge(held, server).clone())
    }

    /// Every change that `translate` would make. Slow: for people.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// for change in runtime.explain(br#"{"sessionId":"s1"}"#, b"", "1", "2")? {
    ///     println!("{} at {}: {:?} to {:?}", change.op, change.place, change.before, change.after);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A fault, an unknown version id, or `CallError::NoPack`.
    pub fn explain(&self, record: &[u8], carry: &[u8], from: &str, to: &str) -> Result<Vec<Change>, CallError> {
        let generation = self.pinned()?;
        let [from, to] = [named(&generation, from)?, named(&generation, to)?];
        generation.explain(record, carry, from, to)
    }

    /// Where a request goes, by the active generation; without one every healthy server is in one tier. A version in
    /// the ask is one of the active generation: who has pinned one asks that one.
    ///
    /// ```
    /// # let pack = unskew::Pack::from_toml("sessions.toml", r#"
    /// #     name = "sessions"
    /// #     revision = 1
    /// #     version = [
    /// #         { id = "1", marker = { path = "/schema", absent = true } },
    /// #         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
    /// #     ]
    /// #     step = [{ from = "1", to = "2", ops = [
    /// #         { rename = "/sessionId", to = "session_id" },
    /// #         { add = "/bitrate", value = 3000 },
    /// #     ] }]
    /// # "#)?;
    /// use unskew::{Ask, Decision, Fleet, RoutePolicy, Server};
    ///
    /// let runtime = unskew::Runtime::new(&pack)?;
    /// let fleet = Fleet::new(vec![Server::new("api-1", "10.0.0.1:80", "1")], RoutePolicy::default())?;
    /// fleet.prepare(runtime.generation().as_deref().map(|generation| generation.matrix()));
    /// let decision = runtime.route(&Ask::create(b"s1"), &fleet);
    /// assert!(matches!(decision, Decision::Route { server: 0, .. }));
    /// assert_eq!(decision.reason().to_string(), "unknown: picked by session");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn route(&self, ask: &Ask<'_>, fleet: &Fleet) -> Decision {
        match self.generation() {
            Some(generation) => generation.route(ask, fleet),
            None => router::route(ask, fleet, None),
        }
    }

    fn pinned(&self) -> Result<Arc<Generation>, CallError> {
        self.generation().ok_or(CallError::NoPack)
    }

    fn replace(
        &self,
        guest: Option<Arc<Compiled>>,
        pack: &Pack,
        revisions: Revisions,
    ) -> Result<Arc<Generation>, LoadError> {
        let mut line = self.line();
        let guest = guest.unwrap_or_else(|| line.guest.clone());
        let active = self.inner.active.load_full();
        if let Some(active) = &active
            && (active.guest(), active.pack().digest()) == (guest.digest, pack.digest())
        {
            return Ok(active.clone());
        }
        let built = Generation::build(guest.clone(), pack, self.inner.settings.clone());
        let next = built.and_then(|next| match (&active, revisions) {
            (Some(active), Revisions::Grow) => grown(active, next),
            (Some(_), Revisions::Any) | (None, _) => Ok(next),
        });
        let next = Arc::new(next.map_err(|error| self.refuse(error))?);
        next.warm_up(active.map_or(0, |active| active.instances()).min(WARM_AHEAD));
        line.guest = guest;
        line.previous = self.inner.active.swap(Some(next.clone()));
        self.inner.settings.counters.swaps.add(1);
        Ok(next)
    }

    fn refuse(&self, error: LoadError) -> LoadError {
        self.inner.settings.counters.refused.add(1);
        error
    }

    /// A swap that panicked left the line as it was: it is written after everything that can fail.
    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.inner.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RuntimeBuilder {
    /// What a guest may use.
    #[must_use]
    pub fn limits(self, limits: Limits) -> RuntimeBuilder {
        RuntimeBuilder { limits, ..self }
    }

    /// Another guest than the standard one: any component that exports the contract and imports nothing.
    #[must_use]
    pub fn guest(self, wasm: impl Into<Vec<u8>>) -> RuntimeBuilder {
        RuntimeBuilder { guest: Some(wasm.into()), ..self }
    }

    /// Whether instances are used again.
    #[must_use]
    pub fn isolation(self, isolation: Isolation) -> RuntimeBuilder {
        RuntimeBuilder { isolation, ..self }
    }

    /// What happens to requests when something fails.
    #[must_use]
    pub fn failure(self, failure: FailurePolicy) -> RuntimeBuilder {
        RuntimeBuilder { failure, ..self }
    }

    /// The first pack; without one the runtime starts empty.
    #[must_use]
    pub fn pack(self, pack: &Pack) -> RuntimeBuilder {
        RuntimeBuilder { pack: Some(pack.clone()), ..self }
    }

    /// The runtime. The guest is compiled here even if there is no pack yet, so that the first swap is quick.
    ///
    /// # Errors
    /// If the guest or the pack can't be used.
    pub fn build(self) -> Result<Runtime, LoadError> {
        let guest = match &self.guest {
            Some(wasm) => engine::compile(wasm, self.limits.artefact)?,
            None => engine::standard_guest()?,
        };
        let settings =
            Settings { limits: self.limits, isolation: self.isolation, counters: Arc::new(Counters::default()) };
        let inner = Inner {
            active: ArcSwapOption::empty(),
            line: Mutex::new(Line { guest, previous: None }),
            settings: Arc::new(settings),
            failure: self.failure,
        };
        let runtime = Runtime { inner: Arc::new(inner) };
        if let Some(pack) = &self.pack {
            runtime.swap(pack)?;
        }
        Ok(runtime)
    }
}

/// The same pack must grow; a pack of another name is another line of revisions.
fn grown(active: &Generation, next: Generation) -> Result<Generation, LoadError> {
    let (was, is) = (active.manifest(), next.manifest());
    match was.name == is.name && is.revision <= was.revision {
        true => Err(LoadError::Revision { name: is.name.clone(), active: was.revision, offered: is.revision }),
        false => Ok(next),
    }
}

fn named(generation: &Generation, id: &str) -> Result<Version, CallError> {
    generation.version(id).ok_or_else(|| CallError::UnknownVersion(id.to_owned()))
}
