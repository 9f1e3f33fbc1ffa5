//! The one way in for packs and guests, wherever they come from: checked against the gateway, made active or staged,
//! kept on disk, counted and logged. And what has to be seen to now and then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc::Receiver;

use super::guard::{Guard, Verdict};
use super::state::State;
use crate::config::{PromoteKey, RolloutEntry};
use crate::contract::{CarryPlace, Manifest};
use crate::error::{LoadError, Problem};
use crate::generation::Generation;
use crate::guest::Guest;
use crate::last_good::LastGood;
use crate::limits::OnFailure;
use crate::maglev;
use crate::moment;
use crate::pack::{Digest, Pack};
use crate::supply::Delivery;

/// How often a look is taken at what changes by itself.
const LOOK: Duration = Duration::from_millis(100);

/// How often an expired pack is spoken of.
const ALARM: Duration = Duration::from_secs(30);

/// How an offer is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// As the configuration says, and never past a decision that a person made.
    Supplied,
    /// It is to be staged.
    Stage,
    /// It is to be active.
    Activate,
    /// It is to be active whatever its revision is, and whatever was put aside.
    Force,
}

/// What the gateway knows of its rules beside the runtime.
pub(crate) struct Intake {
    last_good: Option<LastGood>,
    /// The staged generation and the share of sessions that it serves, in percent; none while there is no canary.
    canary: ArcSwapOption<(Arc<Generation>, u32)>,
    percent: AtomicU32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    guard: Guard,
    /// The number of the generation that was last seen active, and what it is about.
    active: Option<(u64, Manifest)>,
    /// Why the source can't be reached, or what it holds isn't taken.
    source: Option<String>,
    /// Why the last good generation isn't kept.
    keeping: Option<String>,
    /// What its source holds and comes after a revision that isn't here yet.
    held: Option<(Option<Guest>, Pack)>,
    /// Contents of a folder that were offered or refused already.
    seen: VecDeque<Digest>,
}

impl Intake {
    pub(crate) fn new(last_good: Option<LastGood>, rollout: &RolloutEntry) -> Intake {
        let percent = AtomicU32::new(rollout.canary_percent);
        Intake { last_good, canary: ArcSwapOption::empty(), percent, known: Mutex::default() }
    }

    /// The share of sessions that a staged generation serves, in percent.
    pub(crate) fn percent(&self) -> u32 {
        self.percent.load(Ordering::Relaxed)
    }

    /// Notes what is active before the gateway has done anything.
    pub(crate) fn found(&self, generation: Option<&Generation>) {
        self.known().active = generation.map(|active| (active.id(), active.manifest().clone()));
    }

    /// What is wrong with the source, and with keeping the last good generation.
    pub(crate) fn trouble(&self) -> [Option<String>; 2] {
        let known = self.known();
        [known.source.clone(), known.keeping.clone()]
    }

    /// Notes whether the source is to be had, and whether what it holds is taken.
    pub(crate) fn note_source(&self, trouble: Option<&String>) {
        self.known().source = trouble.cloned();
    }

    /// Whether this content was not looked at before; it is from now on.
    pub(crate) fn is_news(&self, content: &Digest) -> bool {
        /// More than a folder holds that anybody keeps.
        const REMEMBERED: usize = 1024;
        let mut known = self.known();
        if known.seen.contains(content) {
            return false;
        }
        known.seen.push_back(*content);
        if known.seen.len() > REMEMBERED {
            known.seen.pop_front();
        }
        true
    }

    /// This content is to be looked at again.
    pub(crate) fn forget_news(&self, content: &Digest) {
        self.known().seen.retain(|seen| seen != content);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a pack, and a guest if one is given, or says why not: what is active serves on. Takes CPU time.
    pub(crate) fn offer(
        &self,
        guest: Option<&Guest>,
        pack: &Pack,
        intent: Intent,
    ) -> Result<Arc<Generation>, LoadError> {
        let runtime = &self.runtime;
        let before = runtime.generation();
        let by_hand = self.config.rollout.promote == PromoteKey::ByHand && before.is_some();
        let taken = self.fits(pack).and_then(|()| match (intent, guest) {
            (Intent::Supplied, _) if by_hand => runtime.stage(guest, pack),
            (Intent::Stage, _) => runtime.stage(guest, pack),
            (Intent::Supplied | Intent::Activate, None) => runtime.swap(pack),
            (Intent::Supplied | Intent::Activate, Some(guest)) => runtime.swap_guest(guest.clone(), pack),
            (Intent::Force, None) => runtime.swap_forced(pack),
            (Intent::Force, Some(guest)) => runtime.swap_guest_forced(guest.clone(), pack),
        });
        match taken {
            Ok(generation) => {
                let serves = self.runtime.generation().is_some_and(|active| active.id() == generation.id());
                let changed = before.is_none_or(|before| before.id() != generation.id());
                match intent {
                    Intent::Supplied if serves && changed => self.intake.known().guard.supplied(generation.id()),
                    Intent::Activate | Intent::Force => self.intake.known().guard.decided(),
                    Intent::Supplied | Intent::Stage => {}
                }
                self.lead();
                self.look();
                Ok(generation)
            }
            Err(error) => {
                if let (LoadError::TooEarly { .. }, Intent::Supplied) = (&error, intent) {
                    self.intake.known().held = Some((guest.cloned(), pack.clone()));
                }
                Err(self.refuse(error))
            }
        }
    }

    /// Counts and logs why an offer isn't taken.
    pub(crate) fn refuse(&self, error: LoadError) -> LoadError {
        self.counters.bad_packs.one();
        let something_serves = self.runtime.generation().is_some();
        for problem in error.to_string().lines() {
            match (something_serves, self.failure.load) {
                (true, _) => tracing::error!(problem, "pack is refused, the old one serves on"),
                (false, OnFailure::Open) => tracing::error!(problem, "pack is refused, requests pass untranslated"),
                // Who starts it is told.
                (false, OnFailure::Closed) => tracing::debug!(problem, "pack is refused"),
            }
        }
        error
    }

    /// Makes what is staged active.
    pub(crate) fn promote(&self) -> Result<Arc<Generation>, LoadError> {
        let promoted = self.runtime.promote();
        self.intake.known().guard.decided();
        self.lead();
        self.look();
        promoted
    }

    /// Goes back to the generation before.
    pub(crate) fn roll_back(&self, reason: &str) -> Result<Arc<Generation>, LoadError> {
        let back = self.runtime.roll_back_for(reason);
        self.intake.known().guard.decided();
        self.look();
        back
    }

    /// Puts what is staged aside.
    pub(crate) fn discard(&self, reason: &str) -> Option<u64> {
        let discarded = self.runtime.discard(reason);
        self.lead();
        if let Some(active) = self.runtime.generation().filter(|_| discarded.is_some()) {
            self.keep(&active);
        }
        discarded
    }

    /// The generation for a session: the staged one for its share of them, the same ones each time.
    pub(crate) fn generation_for(&self, session: &str) -> Option<Arc<Generation>> {
        let canary = self.intake.canary.load();
        let (staged, percent) = &**canary.as_ref()?;
        // Not the hash that servers are picked by: a canary is to meet all of them.
        let hash = maglev::hash(format!("canary {session}").as_bytes());
        (hash % 100 < u64::from(*percent)).then(|| staged.clone())
    }

    /// Gives the staged generation this share of sessions, in percent.
    pub(crate) fn set_canary(&self, percent: u32) {
        self.intake.percent.store(percent, Ordering::Relaxed);
        self.lead();
    }

    /// Puts what is staged on its share of the sessions, or takes it from them.
    fn lead(&self) {
        let percent = self.intake.percent();
        let staged = self.runtime.staged().filter(|_| percent > 0);
        self.intake.known().guard.begin(self.runtime.generation().as_deref(), staged.as_deref());
        self.intake.canary.store(staged.map(|staged| Arc::new((staged, percent))));
    }

    /// Goes back by itself where that is due.
    fn guard(&self) {
        let (Some(active), staged) = (self.runtime.generation(), self.runtime.staged()) else { return };
        let previous = self.runtime.previous();
        let policy = &self.config.rollout;
        let verdict = self.intake.known().guard.look(policy, &active, staged.as_deref(), previous.as_deref());
        match verdict {
            None => {}
            Some(Verdict::Discard(reason)) => {
                tracing::error!(reason, "staged generation is put aside");
                self.discard(&reason);
            }
            Some(Verdict::RollBack(reason)) => {
                tracing::error!(reason, "generation is rolled back");
                if let Err(error) = self.roll_back(&reason) {
                    tracing::error!(%error, "there is no way back");
                }
            }
        }
    }

    /// Sees whether another generation is active than was seen last, and does what is due then, once.
    pub(crate) fn look(&self) {
        let mut known = self.intake.known();
        let Some(now) = self.runtime.generation() else { return };
        if known.active.as_ref().is_some_and(|(id, _)| *id == now.id()) {
            return;
        }
        let before = known.active.replace((now.id(), now.manifest().clone()));
        self.prepare();
        self.counters.swaps.one();
        let manifest = now.manifest();
        tracing::info!(pack = %manifest.name, pack.revision = manifest.revision, generation = now.id(), "pack is active");
        self.warn_of_strangers(&now);
        if let Some((_, before)) = before {
            warn_of_other_shapes(&before, manifest);
        }
        let held = known.held.take_if(|(_, pack)| follows(pack, manifest));
        drop(known);
        self.keep(&now);
        if let Some((guest, pack)) = held {
            let taken = self.offer(guest.as_ref(), &pack, Intent::Supplied); // logs what comes of it
            self.intake.note_source(taken.err().map(|error| error.to_string()).as_ref());
        }
    }

    /// Serves what was served last, if the disk has it; what is wrong with it is logged.
    pub(crate) fn restore(&self) {
        let Some(last_good) = &self.intake.last_good else { return };
        let saved = match last_good.read() {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(reason) => return tracing::error!(reason, "last good pack can't be used"),
        };
        for (content, reason) in &saved.barred {
            self.runtime.line().bar(*content, reason);
        }
        // It was active: whatever was put aside since, this was not.
        match self.offer(saved.guest.as_ref(), &saved.pack, Intent::Force) {
            Ok(generation) => {
                let revision = generation.manifest().revision;
                tracing::info!(pack.revision = revision, "last good pack is served until its source says otherwise");
            }
            Err(error) => tracing::error!(%error, "last good pack can't be used"),
        }
    }

    /// What a supply delivers, for as long as it does. `first` is told when the first delivery is dealt with.
    pub(crate) async fn take_in(
        self: Arc<State>,
        mut from: Receiver<Delivery>,
        first: std::sync::mpsc::Sender<String>,
    ) {
        while let Some(delivery) = from.recv().await {
            let state = self.clone();
            let done = tokio::task::spawn_blocking(move || {
                let outcome = match delivery {
                    Delivery::Parcel(parcel) => match parcel.open() {
                        Ok((pack, guest)) => state.offer(guest.as_ref(), &pack, Intent::Supplied).map(drop),
                        Err(error) => Err(state.refuse(error)),
                    }
                    .map_err(|error| error.to_string()),
                    Delivery::Failed(reason) => {
                        tracing::warn!(reason, "source fails, what is active serves on");
                        Err(reason)
                    }
                };
                state.intake.note_source(outcome.as_ref().err());
                outcome.err()
            });
            let said = done.await.ok().flatten().unwrap_or_default();
            let _ = first.send(said); // only the start listens
        }
    }

    /// Looks after what changes by itself: drains that end, generations that were put aside, packs that expire.
    pub(crate) async fn supervise(self: Arc<State>) {
        let drain = Duration::from_millis(self.config.rollout.drain_ms);
        let mut alarmed: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            self.runtime.tend(drain);
            let state = self.clone();
            let guarded = tokio::task::spawn_blocking(move || state.guard());
            let _ = guarded.await;
            if self
                .intake
                .canary
                .load()
                .as_ref()
                .is_some_and(|canary| self.runtime.staged().is_none_or(|staged| staged.id() != canary.0.id()))
            {
                self.lead(); // it was put aside because its guest kept failing
            }
            let active = self.runtime.generation().map(|active| active.id());
            if active != self.intake.known().active.as_ref().map(|(id, _)| *id) {
                let state = self.clone();
                let _ = tokio::task::spawn_blocking(move || state.look()).await;
            }
            let expires = self.runtime.generation().and_then(|active| active.statement().expires);
            match expires.filter(|when| *when <= SystemTime::now()) {
                Some(when) if alarmed.is_none_or(|last| last.elapsed() >= ALARM) => {
                    alarmed = Some(Instant::now());
                    tracing::error!(expired = moment::written(when), "pack is expired and serves on: ship a newer one");
                }
                Some(_) => {}
                None => alarmed = None,
            }
        }
    }

    /// Says which servers write a version that the active pack doesn't have: nothing is translated for them or from them.
    pub(crate) fn warn_of_strangers(&self, generation: &Generation) {
        let members = self.members();
        for server in members.fleet.servers() {
            if !server.version.is_empty() && generation.version(&server.version).is_none() {
                tracing::warn!(server = %server.name, version = %server.version, "the active pack doesn't have this server's version: nothing is translated for it");
            }
        }
    }

    /// Whether a pack fits the gateway's carrier.
    fn fits(&self, pack: &Pack) -> Result<(), LoadError> {
        let json = serde_json::from_slice::<serde_json::Value>(pack.json());
        let inline = json.is_ok_and(|json| json["policy"]["carry"] == "inline");
        match inline.then(|| self.objection(CarryPlace::Inline)).flatten() {
            Some(message) => Err(objected(pack.name(), message)),
            None => Ok(()),
        }
    }

    fn keep(&self, generation: &Generation) {
        let Some(last_good) = &self.intake.last_good else { return };
        let kept = last_good.save(generation, &self.runtime.line().all_barred());
        if let Err(error) = &kept {
            tracing::error!(%error, "last good pack isn't kept: a restart would not have it");
        }
        self.intake.known().keeping = kept.err().map(|error| error.to_string());
    }
}

/// Whether what was held for its order may follow now, or never will.
fn follows(held: &Pack, active: &Manifest) -> bool {
    let order = held.order();
    order.name != active.name || order.after.is_none_or(|after| active.revision >= after)
}

/// The refusal of a pack that does not fit the gateway's carrier.
pub(crate) fn objected(name: &str, message: String) -> LoadError {
    let problem = Problem { place: None, pointer: "/policy/carry".to_string(), message };
    LoadError::Problems { name: name.to_string(), problems: vec![problem] }
}

/// Says which versions have another shape than the pack before meant by the same id.
fn warn_of_other_shapes(old: &Manifest, new: &Manifest) {
    for info in &new.versions {
        if old.shape(&info.id).is_some_and(|shape| shape != info.digest) {
            tracing::warn!(version = %info.id, "version has another shape than in the pack before: the directory isn't believed where it speaks of that one");
        }
    }
}
