//! One instance of a guest: its store, its limits, and the classification of what goes wrong in it.
//!
//! The CPU budget counts the thread's own CPU time. A deadline by the clock kills calls of threads that the system
//! did not run: 8,886 of 7.8 million innocent calls on two busy cores, against none this way (2026-11-22).
//! What a hypervisor steals from a running thread may count as the thread's own, so the time between two looks counts
//! for two ticks at most: a jump of the clock alone kills nobody, and a runaway is looked at again a tick later.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::bindings::Guest;
use crate::compile::Compiled;
use crate::engine::{MEMORY_CEILING, TICK, one_line};
use crate::error::GuestFailure;
use crate::stats::Counters;

/// Tables hold functions for indirect calls: some hundred for a Rust guest, some thousand for an interpreter.
const TABLE_ELEMENTS: usize = 20_000;

/// An instance with a pack loaded, or about to be. After an error it must be dropped: its store is poisoned.
pub(crate) struct Instance {
    store: Store<State>,
    guest: Guest,
}

/// What the host keeps for an instance.
pub(crate) struct State {
    memory: Memory,
    budget: Budget,
}

struct Memory {
    limit: usize,
    used: usize,
    denied: Option<usize>,
}

/// A call is looked at once a tick while it runs. The clock is read at the first look and not before the call, which
/// keeps the system call off the path of every call that ends within a tick.
struct Budget {
    allowed: Duration,
    used: Duration,
    last_look: Option<Duration>,
    /// Looks are bounded too, should the CPU clock stand still. A thread that doesn't run isn't looked at.
    looks: u32,
    looks_allowed: u32,
    spent: bool,
}

/// What the time between two looks counts for at most.
const LOOK_MAX: Duration = Duration::from_millis(2);

impl Instance {
    /// A fresh instance of at most so many bytes of memory. Start functions run within `budget`.
    pub(crate) fn new(guest: &Compiled, memory: usize, budget: Duration) -> Result<Instance, GuestFailure> {
        let state = State {
            memory: Memory { limit: memory.min(MEMORY_CEILING), used: 0, denied: None },
            budget: Budget::of(budget),
        };
        let mut store = Store::new(guest.pre.engine(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(memory.max(1 << 20)); // an answer is never longer than what it lies in
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().budget.look()));
        match guest.pre.instantiate(&mut store) {
            Ok(guest) => Ok(Instance { store, guest }),
            Err(error) => Err(match classify(store.data(), &error) {
                GuestFailure::WrongAnswer(reason) => GuestFailure::NoInstance(reason),
                failure => failure,
            }),
        }
    }

    /// Allows so many bytes of linear memory from now on.
    pub(crate) fn allow_memory(&mut self, memory: usize) {
        self.store.data_mut().memory.limit = memory.min(MEMORY_CEILING);
        self.store.set_hostcall_fuel(memory.max(1 << 20));
    }

    /// Bytes of linear memory in use.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory.used
    }

    /// Runs one export within a CPU budget.
    pub(crate) fn call<T>(
        &mut self,
        budget: Duration,
        counters: &Arc<Counters>,
        export: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, GuestFailure> {
        self.store.data_mut().budget = Budget::of(budget);
        self.store.set_epoch_deadline(1);
        let answer = export(&self.guest, &mut self.store);
        let state = self.store.data();
        let pardons = state.budget.looks - u32::from(state.budget.spent);
        if pardons > 0 {
            counters.cpu_pardons.add(u64::from(pardons));
        }
        answer.map_err(|error| classify(state, &error))
    }
}

fn classify(state: &State, error: &wasmtime::Error) -> GuestFailure {
    if state.budget.spent {
        return GuestFailure::CpuBudget { budget: state.budget.allowed };
    }
    if let Some(wanted) = state.memory.denied {
        return GuestFailure::Memory { wanted, limit: state.memory.limit };
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => GuestFailure::Trap(trap.to_string()),
        None => GuestFailure::WrongAnswer(one_line(error)),
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory.limit {
            self.memory.denied = Some(wanted);
            // A trap and not a refusal that the guest could answer with a second try.
            return Err(wasmtime::Error::msg("the guest wants more memory than it may have"));
        }
        self.memory.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

impl Budget {
    fn of(allowed: Duration) -> Budget {
        // In 64 bits: this is done for each call, and a division of 128 bits takes its time.
        let micros = allowed.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(allowed.subsec_micros()));
        let ticks = micros.div_ceil(TICK.subsec_micros().into());
        let looks_allowed = u32::try_from(ticks).unwrap_or(u32::MAX).saturating_mul(16).saturating_add(1000);
        Budget { allowed, used: Duration::ZERO, last_look: None, looks: 0, looks_allowed, spent: false }
    }

    fn look(&mut self) -> UpdateDeadline {
        self.look_at(thread_cpu_time())
    }

    fn look_at(&mut self, now: Duration) -> UpdateDeadline {
        let since = now.saturating_sub(self.last_look.replace(now).unwrap_or(now));
        self.used += since.min(LOOK_MAX);
        self.looks += 1;
        self.spent = self.used >= self.allowed || self.looks > self.looks_allowed;
        match self.spent {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Continue(1),
        }
    }
}

/// The CPU time of this thread. Both parts are positive: the clock starts at zero with the thread.
fn thread_cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(budget: &mut Budget, clock: impl IntoIterator<Item = u64>) -> Option<usize> {
        let mut clock = clock.into_iter().map(Duration::from_millis);
        std::iter::from_fn(|| clock.next()).position(|now| matches!(budget.look_at(now), UpdateDeadline::Interrupt))
    }

    #[test]
    fn a_runaway_is_stopped_at_the_first_look_after_its_budget() {
        assert_eq!(looks(&mut Budget::of(Duration::from_millis(5)), 100..), Some(5));
        // Where the ticker is late it may be two or three times its budget.
        assert_eq!(looks(&mut Budget::of(Duration::from_millis(5)), (100..).step_by(3)), Some(3));
    }

    #[test]
    fn a_jump_of_the_clock_alone_kills_nobody() {
        assert_eq!(looks(&mut Budget::of(Duration::from_millis(5)), [100, 101, 900]), None);
    }

    #[test]
    fn a_clock_that_stands_still_does_not_let_a_runaway_go_on_for_ever() {
        assert_eq!(looks(&mut Budget::of(Duration::from_millis(5)), std::iter::repeat(100)), Some(1080));
    }
}
