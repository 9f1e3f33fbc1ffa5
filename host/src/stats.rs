//! Counters of a runtime: written where something rare happens, never on the path of a call that goes well.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::GuestFailure;

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
    /// Generations put aside because their guest kept failing.
    pub quarantines: u64,
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

/// `Stats` while they are counted.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) generations_alive: Counter,
    pub(crate) swaps: Counter,
    pub(crate) refused: Counter,
    pub(crate) rollbacks: Counter,
    pub(crate) quarantines: Counter,
    pub(crate) instances_made: Counter,
    pub(crate) instances_dropped: Counter,
    pub(crate) instances_recycled: Counter,
    pub(crate) traps: Counter,
    pub(crate) cpu_kills: Counter,
    pub(crate) cpu_pardons: Counter,
    pub(crate) memory_kills: Counter,
    pub(crate) wrong_answers: Counter,
    pub(crate) pool_exhausted: Counter,
}

/// One number.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts a failed call by its kind.
    pub(crate) fn failed(&self, failure: &GuestFailure) {
        match failure {
            GuestFailure::Trap(_) => self.traps.add(1),
            GuestFailure::CpuBudget { .. } => self.cpu_kills.add(1),
            GuestFailure::Memory { .. } => self.memory_kills.add(1),
            GuestFailure::WrongAnswer(_) => self.wrong_answers.add(1),
            GuestFailure::PoolExhausted { .. } | GuestFailure::NoInstance(_) => self.pool_exhausted.add(1),
        }
    }

    /// The numbers now.
    pub(crate) fn read(&self) -> Stats {
        Stats {
            generations_alive: self.generations_alive.read(),
            swaps: self.swaps.read(),
            refused: self.refused.read(),
            rollbacks: self.rollbacks.read(),
            quarantines: self.quarantines.read(),
            instances_made: self.instances_made.read(),
            instances_dropped: self.instances_dropped.read(),
            instances_recycled: self.instances_recycled.read(),
            traps: self.traps.read(),
            cpu_kills: self.cpu_kills.read(),
            cpu_pardons: self.cpu_pardons.read(),
            memory_kills: self.memory_kills.read(),
            wrong_answers: self.wrong_answers.read(),
            pool_exhausted: self.pool_exhausted.read(),
        }
    }
}
