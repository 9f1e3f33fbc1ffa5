//! One lane of a rehearsal: its servers, its store, its gateway and its clients, deployed anew phase by phase.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::{MemoryStore, Runtime};

use super::RehearsalError;
use super::audit::Audit;
use super::client::Clients;
use super::load::Session;
use super::scenario::{Phase, Scenario};
use super::server::{Server, World};
use super::tally::{Fared, Tally};

/// A running lane.
pub(super) struct Lane {
    pub(super) runtime: Runtime,
    pub(super) shared: Arc<Shared>,
    gateway: Gateway,
    world: Arc<World>,
    /// One server per slot; a deploy replaces the server of a slot and keeps its name.
    slots: Vec<Slot>,
}

/// What a lane's sessions share.
pub(super) struct Shared {
    clients: Clients,
    in_flight: Semaphore,
    /// The phase that requests belong to now.
    phase: AtomicUsize,
    tally: Mutex<Tally>,
    /// Joins that went through, per session that is not in doubt.
    joined: Mutex<HashMap<String, Vec<String>>>,
}

struct Slot {
    server: Server,
    dialect: usize,
}

/// How long an old server takes requests that were on their way when it was replaced.
const DRAIN: Duration = Duration::from_millis(300);

impl Lane {
    /// Starts the servers of the first phase and a gateway before them.
    pub(super) async fn start(
        scenario: &Scenario,
        runtime: Runtime,
        migration: Runtime,
        slice: Duration,
    ) -> Result<Lane, RehearsalError> {
        let world = Arc::new(World {
            dialects: scenario.dialects.clone(),
            store: MemoryStore::new(256 << 20),
            migration,
            births: Mutex::new(HashMap::new()),
        });
        let mut slots = Vec::new();
        for dialect in assigned(&scenario.phases[0]) {
            slots.push(Slot { server: start_server(&world, dialect).await?, dialect });
        }
        let mut config = scenario.gateway.clone();
        config.listen = "127.0.0.1:0".to_string();
        config.pack = None;
        config.explain = true;
        config.store = None;
        config.servers = entries(scenario, &slots);
        let gateway = Gateway::start(config, runtime.clone(), Some(Arc::new(world.store.clone())))?;
        let tally = Tally::new(scenario.phases.len(), scenario.duration(), slice);
        let shared = Shared {
            clients: Clients::new(gateway.address()),
            in_flight: Semaphore::new(scenario.in_flight),
            phase: AtomicUsize::new(0),
            tally: Mutex::new(tally),
            joined: Mutex::new(HashMap::new()),
        };
        Ok(Lane { runtime, shared: Arc::new(shared), gateway, world, slots })
    }

    /// Turns to a phase. The pack is swapped before the phase begins and the fleet is deployed after it: a request
    /// belongs to the phase in which it was sent, and what a phase promises of its pack or blames on its fleet holds
    /// from its first request on.
    pub(super) async fn turn(&mut self, scenario: &Scenario, index: usize) -> Result<(), RehearsalError> {
        let phase = &scenario.phases[index];
        match phase.swap.clone() {
            Some(pack) => {
                let (runtime, shared) = (self.runtime.clone(), self.shared.clone());
                let swap = move || runtime.swap(&pack).map(|_| shared.phase.store(index, Ordering::SeqCst));
                let swapped = tokio::task::spawn_blocking(swap).await;
                swapped.map_err(|error| RehearsalError::Threads(error.into()))??;
                self.gateway.prepare();
            }
            None => self.shared.phase.store(index, Ordering::SeqCst),
        }
        self.deploy(scenario, phase).await
    }

    /// Stops the gateway and looks at what the store holds in the end.
    pub(super) async fn finish(self) -> Audit {
        self.gateway.stop().await;
        let joined = std::mem::take(&mut *self.shared.joined.lock().unwrap_or_else(PoisonError::into_inner));
        let audit = Audit::of(&self.world, &joined);
        for slot in self.slots {
            slot.server.drain(Duration::ZERO);
        }
        audit
    }

    /// New servers start, the gateway learns of them, old servers finish what they have.
    async fn deploy(&mut self, scenario: &Scenario, phase: &Phase) -> Result<(), RehearsalError> {
        let mut slots = Vec::new();
        let mut old = std::mem::take(&mut self.slots).into_iter();
        let mut replaced = Vec::new();
        for dialect in assigned(phase) {
            match old.next() {
                Some(slot) if slot.dialect == dialect => slots.push(slot),
                slot => {
                    replaced.extend(slot);
                    slots.push(Slot { server: start_server(&self.world, dialect).await?, dialect });
                }
            }
        }
        self.slots = slots;
        let entries = entries(scenario, &self.slots);
        self.gateway.set_servers(&entries)?;
        for slot in replaced.into_iter().chain(old) {
            slot.server.drain(DRAIN);
        }
        Ok(())
    }
}

impl Shared {
    /// What was counted so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lives one session: created at its time, then joined at its times, one join after the other.
    pub(super) async fn live(self: Arc<Self>, name: String, session: Session, start: Instant) {
        tokio::time::sleep_until(start + session.at).await;
        let Ok(permit) = self.in_flight.acquire().await else { return };
        let born = self.phase.load(Ordering::SeqCst);
        let created = self.clients.create(&name).await;
        drop(permit);
        let failed = created.is_err();
        self.tally().created(born, created.err());
        if failed {
            return;
        }
        let mut newborn = Fared::default();
        let mut edits = Vec::new();
        let mut certain = true;
        for (n, due) in session.joins.iter().enumerate() {
            let due = start + *due;
            tokio::time::sleep_until(due).await;
            let Ok(permit) = self.in_flight.acquire().await else { return };
            let phase = self.phase.load(Ordering::SeqCst);
            let (sent, connection) = (Instant::now(), format!("{name}-{n}"));
            let answer = self.clients.join(&name, &connection).await;
            drop(permit);
            let failed = answer.outcome.failed();
            self.tally().joined(
                phase,
                sent - start,
                sent.saturating_duration_since(due),
                sent.elapsed(),
                &answer.outcome,
            );
            if phase == born {
                newborn.joins += 1;
                newborn.failed += u32::from(failed);
            }
            match answer.connections {
                Some(_) => edits.push(connection),
                None => certain &= answer.outcome.refused(),
            }
        }
        self.tally().fared(born, newborn);
        if certain {
            self.joined.lock().unwrap_or_else(PoisonError::into_inner).insert(name, edits);
        }
    }
}

/// The dialect of each slot: the oldest versions first, so that a canary is the last server.
fn assigned(phase: &Phase) -> Vec<usize> {
    let counts = phase.fleet.iter().enumerate();
    counts.flat_map(|(dialect, count)| std::iter::repeat_n(dialect, *count as usize)).collect()
}

async fn start_server(world: &Arc<World>, dialect: usize) -> Result<Server, RehearsalError> {
    Server::start(world.clone(), dialect).await.map_err(RehearsalError::Server)
}

fn entries(scenario: &Scenario, slots: &[Slot]) -> Vec<crate::config::ServerEntry> {
    let entry = |(index, slot): (usize, &Slot)| crate::config::ServerEntry {
        name: format!("api-{:02}", index + 1),
        address: slot.server.address.to_string(),
        version: scenario.dialects[slot.dialect].id.clone(),
        reads: Vec::new(),
        weight: 1,
    };
    slots.iter().enumerate().map(entry).collect()
}
