//! The runtime: the active generation, its replacement while traffic flows, and the calls by version id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::compile::{self, Compiler};
use crate::contract::{Change, Normalized, Translation, Verdict, Version};
use crate::engine;
use crate::error::{CallError, LoadError};
use crate::fleet::Fleet;
use crate::generation::{Generation, MadeOf, Settings};
use crate::guest::Guest;
use crate::life::{Ledger, Phase};
use crate::limits::{FailurePolicy, Isolation, Limits};
use crate::line::{Content, Line, Revisions, Status};
use crate::moment;
use crate::pack::Pack;
use crate::recent::{Recent, Sampling};
use crate::router::{self, Ask, Decision};
use crate::stats::{Counters, Stats};
use crate::trust::{Signed, Statement, Trust, TrustError};

/// What a gateway holds: the active generation and the means to replace it. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    line: Arc<Line>,
    /// Held while somebody builds: builds are one after the other, calls and promotions never wait for one.
    building: Mutex<()>,
    settings: Arc<Settings>,
    failure: FailurePolicy,
    trust: Trust,
    recent: Recent,
    compiler: Compiler,
}

/// How a runtime is made.
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    limits: Limits,
    isolation: Isolation,
    failure: FailurePolicy,
    guest: Option<Guest>,
    pack: Option<Pack>,
    trust: Trust,
    sampling: Sampling,
    compiler: Compiler,
}

/// Instances that a swap makes ahead at most: some hundred microseconds each, and a swap is active within 50 ms.
const WARM_AHEAD: usize = 32;

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
        self.inner.line.active()
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

    /// Loads a pack aside as `swap` does, and keeps it ready instead of publishing it: `promote` does that.
    ///
    /// # Errors
    /// As `swap`.
    pub fn stage(&self, guest: Option<&Guest>, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        let build = self.inner.building.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.built(guest, pack, Revisions::Grow)?;
        drop(build);
        match next {
            Built::There(generation) => Ok(generation),
            Built::New(next) => self.admitted(next, |line, next| line.stage(next, Revisions::Grow)),
        }
    }

    /// Publishes what is staged.
    ///
    /// # Errors
    /// If nothing is staged, or what is active has overtaken it.
    pub fn promote(&self) -> Result<Arc<Generation>, LoadError> {
        let next = self.inner.line.staged().ok_or(LoadError::NoStaged)?;
        next.warm_up(self.generation().map_or(0, |active| active.instances()).min(WARM_AHEAD));
        self.inner.line.activate(next, Revisions::Grow)
    }

    /// What a roll-back would bring.
    pub(crate) fn previous(&self) -> Option<Arc<Generation>> {
        self.inner.line.previous()
    }

    /// What is staged.
    pub fn staged(&self) -> Option<Arc<Generation>> {
        self.inner.line.staged()
    }

    /// Puts what is staged aside for this reason, and takes the same content from no source again. Returns its number.
    pub fn discard(&self, reason: &str) -> Option<u64> {
        self.inner.line.discard(reason)
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
    pub fn swap_guest(&self, guest: impl Into<Guest>, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.replace(Some(&guest.into()), pack, Revisions::Grow)
    }

    /// Replaces guest and pack together, whatever the revision and whatever was put aside before.
    ///
    /// # Errors
    /// As `swap_guest`, but for the revision.
    pub fn swap_guest_forced(&self, guest: impl Into<Guest>, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.replace(Some(&guest.into()), pack, Revisions::Any)
    }

    /// Publishes the previous generation again, its instances still warm; a second roll-back undoes the first. What it
    /// goes back from isn't taken from `swap` again; `swap_forced` takes it.
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
        self.roll_back_for("rolled back by hand")
    }

    /// `rollback` for a reason that status tells.
    ///
    /// # Errors
    /// If there is nothing to go back to.
    pub fn roll_back_for(&self, reason: &str) -> Result<Arc<Generation>, LoadError> {
        self.inner.line.roll_back(reason)
    }

    /// Where the generations stand, and what became of those that were offered.
    pub fn status(&self) -> Status {
        self.inner.line.status()
    }

    /// Ends what has been draining for so long: instances of generations that are no longer kept are freed, though
    /// somebody still holds them. Call it now and then.
    pub fn tend(&self, drain: Duration) {
        self.inner.line.tend(drain);
    }

    /// Shows a record that goes by, for new generations to be tried on; kept only where the builder said how many.
    pub fn sample(&self, record: &Bytes) {
        self.inner.recent.offer(record);
    }

    /// All generations that somebody holds, the active one first.
    pub(crate) fn alive(&self) -> Vec<Arc<Generation>> {
        self.inner.line.alive()
    }

    pub(crate) fn line(&self) -> &Line {
        &self.inner.line
    }

    /// Counters since the runtime was made.
    pub fn stats(&self) -> Stats {
        self.inner.settings.counters.read()
    }

    /// Whether signatures are asked for.
    pub fn asks_for_signatures(&self) -> bool {
        self.inner.trust.asks()
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

    fn replace(&self, guest: Option<&Guest>, pack: &Pack, revisions: Revisions) -> Result<Arc<Generation>, LoadError> {
        let _build = self.inner.building.lock().unwrap_or_else(PoisonError::into_inner);
        let line = &self.inner.line;
        let next = match self.built(guest, pack, revisions)? {
            Built::There(active) if line.active().is_some_and(|now| now.id() == active.id()) => return Ok(active),
            Built::There(staged) => staged,
            Built::New(next) => next,
        };
        next.warm_up(line.active().map_or(0, |active| active.instances()).min(WARM_AHEAD));
        self.admitted(next, |line, next| line.activate(next, revisions))
    }

    /// Loads a pack aside, or finds it among what is loaded. Without a guest it goes into the one that serves.
    fn built(&self, guest: Option<&Guest>, pack: &Pack, revisions: Revisions) -> Result<Built, LoadError> {
        let line = &self.inner.line;
        let digest = guest.map_or_else(|| line.guest().digest, Guest::digest);
        if let Some(there) = line.same((digest, pack.digest())) {
            return Ok(Built::There(there));
        }
        let id = line.ledger.open(pack.name(), pack.digest());
        let built = self.trusted(id, guest, pack, (digest, revisions)).and_then(|made_of| {
            let next = Generation::build(made_of, pack, self.inner.settings.clone())?;
            self.tried(next)
        });
        built.map(|next| Built::New(Arc::new(next))).map_err(|error| self.refuse(id, error))
    }

    /// Everything that is asked of bytes before they run: nobody has put them aside, the right people have signed them.
    fn trusted(
        &self,
        id: u64,
        guest: Option<&Guest>,
        pack: &Pack,
        (digest, revisions): (crate::pack::Digest, Revisions),
    ) -> Result<MadeOf, LoadError> {
        let Inner { line, settings, trust, .. } = &*self.inner;
        let content: Content = (digest, pack.digest());
        let name = pack.name().to_owned();
        if let (Some(reason), Revisions::Grow) = (line.barred(content), revisions) {
            return Err(LoadError::Barred { name, reason });
        }
        let untrusted = |name: &str| {
            let name = name.to_owned();
            move |reason| LoadError::Untrusted { name, reason }
        };
        let order = pack.order();
        let statement = trust
            .verify(Signed::Pack(&order.name), pack.text().as_bytes(), pack.signature())
            .map_err(untrusted(pack.name()))?;
        let foreign = guest.filter(|_| digest != engine::standard_digest());
        if let Some(guest) = foreign {
            trust.verify(Signed::Guest, guest.wasm(), guest.signature()).map_err(untrusted(guest.name()))?;
        }
        fresh(&statement, line.active().is_some()).map_err(untrusted(pack.name()))?;
        line.ledger.enter(id, Phase::Verified);
        let compiled = match (foreign, guest) {
            (Some(guest), _) => compile::compile(guest.wasm(), &settings.limits, &self.inner.compiler)?,
            (None, Some(_)) => compile::standard_guest(&self.inner.compiler)?,
            (None, None) => line.guest(),
        };
        line.ledger.guest(id, compiled.digest);
        line.ledger.enter(id, Phase::Compiled);
        // Who gives no guest keeps the one that serves, and with it what a restart will need of it.
        let guest = match guest {
            Some(_) => foreign.cloned(),
            None => line.active().and_then(|active| active.guest_shipped().cloned()),
        };
        Ok(MadeOf { id, compiled, guest, statement, after: order.after, line: Arc::downgrade(line) })
    }

    /// The last look at a generation: recent records, if any are kept.
    fn tried(&self, next: Generation) -> Result<Generation, LoadError> {
        let (tried, wrong) = self.inner.recent.trial(&next, self.generation().as_deref());
        if !wrong.is_empty() {
            return Err(LoadError::Sample { name: next.pack().name().to_owned(), wrong: wrong.into_iter().collect() });
        }
        if tried > 0 {
            let said = format!("on {tried} recent records");
            self.inner.line.ledger.enter_for(next.id(), Phase::Sampled, said);
        }
        Ok(next)
    }

    fn admitted(
        &self,
        next: Arc<Generation>,
        admit: impl FnOnce(&Line, Arc<Generation>) -> Result<Arc<Generation>, LoadError>,
    ) -> Result<Arc<Generation>, LoadError> {
        let id = next.id();
        admit(&self.inner.line, next).map_err(|error| self.refuse(id, error))
    }

    fn refuse(&self, id: u64, error: LoadError) -> LoadError {
        self.inner.settings.counters.refused.add(1);
        self.inner.line.ledger.enter_for(id, Phase::Refused, error.to_string());
        error
    }
}

/// What came of loading a pack aside.
enum Built {
    /// It is active or staged already.
    There(Arc<Generation>),
    /// It is ready.
    New(Arc<Generation>),
}

impl RuntimeBuilder {
    /// What a guest may use.
    #[must_use]
    pub fn limits(self, limits: Limits) -> RuntimeBuilder {
        RuntimeBuilder { limits, ..self }
    }

    /// Another guest than the standard one: any component that exports the contract and imports nothing.
    #[must_use]
    pub fn guest(self, guest: impl Into<Guest>) -> RuntimeBuilder {
        RuntimeBuilder { guest: Some(guest.into()), ..self }
    }

    /// Whose packs and guests are taken; without it everybody's.
    #[must_use]
    pub fn trust(self, trust: Trust) -> RuntimeBuilder {
        RuntimeBuilder { trust, ..self }
    }

    /// How many recent records new generations are tried on; see `Runtime::sample`.
    #[must_use]
    pub fn sampling(self, sampling: Sampling) -> RuntimeBuilder {
        RuntimeBuilder { sampling, ..self }
    }

    /// Where guests are compiled, and whether what comes of it is kept.
    #[must_use]
    pub fn compiler(self, compiler: Compiler) -> RuntimeBuilder {
        RuntimeBuilder { compiler, ..self }
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
        let compiled = match &self.guest {
            Some(guest) => {
                let verified = self.trust.verify(Signed::Guest, guest.wasm(), guest.signature());
                verified.map_err(|reason| LoadError::Untrusted { name: guest.name().to_owned(), reason })?;
                compile::compile(guest.wasm(), &self.limits, &self.compiler)?
            }
            None => compile::standard_guest(&self.compiler)?,
        };
        let (counters, ledger) = (Arc::new(Counters::default()), Arc::new(Ledger::default()));
        let line = Arc::new(Line::new(compiled, ledger.clone(), counters.clone()));
        let settings = Arc::new(Settings { limits: self.limits, isolation: self.isolation, counters, ledger });
        let inner = Inner {
            line,
            building: Mutex::new(()),
            settings,
            failure: self.failure,
            trust: self.trust,
            recent: Recent::new(self.sampling),
            compiler: self.compiler,
        };
        let runtime = Runtime { inner: Arc::new(inner) };
        if let Some(pack) = &self.pack {
            runtime.replace(self.guest.as_ref(), pack, Revisions::Grow)?;
        }
        Ok(runtime)
    }
}

/// What has expired is no news; where nothing else serves it is better than nothing.
fn fresh(statement: &Statement, something_serves: bool) -> Result<(), TrustError> {
    match statement.expires.filter(|when| something_serves && *when <= SystemTime::now()) {
        Some(when) => Err(TrustError::Expired(moment::written(when))),
        None => Ok(()),
    }
}

fn named(generation: &Generation, id: &str) -> Result<Version, CallError> {
    generation.version(id).ok_or_else(|| CallError::UnknownVersion(id.to_owned()))
}
