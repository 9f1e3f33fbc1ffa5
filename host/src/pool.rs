//! Warm instances of one generation, checked out by guard.
//!
//! There is a fixed number of slots, each with an instance or room for one. A thread goes first to the slot that it
//! had last, so that on the hot path nobody else touches its cache line: one uncontended compare-and-swap to take the
//! slot, another to give it back. No call ever blocks on a slot: where one is taken, the next is tried, and only if
//! all are taken does the call wait, for a bounded time. Instances are made when no warm one is free, so there are as
//! many as calls ever ran at once. The slots' locks are only ever tried, which is how this stays free of `unsafe`.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::error::GuestFailure;
use crate::instance::Instance;
use crate::stats::Counters;

/// The slots of one generation.
pub(crate) struct Pool {
    slots: Box<[Slot]>,
    wait: Duration,
    waiters: AtomicUsize,
    queue: Mutex<()>,
    given_back: Condvar,
    counters: Arc<Counters>,
}

/// A cache line of its own (two, as the CPU fetches pairs).
#[derive(Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Box<Instance>>>);

/// A checked-out instance; it goes back into its slot when this is dropped. Fields are dropped in this order.
pub(crate) struct Checkout<'a> {
    slot: MutexGuard<'a, Option<Box<Instance>>>,
    _wake: Wake<'a>,
}

struct Wake<'a>(&'a Pool);

thread_local! {
    static LAST_SLOT: Cell<usize> = const { Cell::new(0) };
}

impl Pool {
    pub(crate) fn new(instances: usize, wait: Duration, counters: Arc<Counters>) -> Pool {
        Pool {
            slots: (0..instances.max(1)).map(|_| Slot::default()).collect(),
            wait,
            waiters: AtomicUsize::new(0),
            queue: Mutex::new(()),
            given_back: Condvar::new(),
            counters,
        }
    }

    /// A slot, with a warm instance in it if one is free; else the caller fills it.
    ///
    /// # Errors
    /// If no slot gets free in time.
    pub(crate) fn check_out(&self) -> Result<Checkout<'_>, GuestFailure> {
        match self.take() {
            Some(checkout) => Ok(checkout),
            None => self.await_one(),
        }
    }

    /// Fills slots until there are so many instances or `make` fails.
    pub(crate) fn fill<E>(&self, instances: usize, mut make: impl FnMut() -> Result<Instance, E>) {
        for at in 0..instances.min(self.slots.len()) {
            let Some(mut slot) = self.try_slot(at).filter(|slot| slot.is_none()) else { continue };
            match make() {
                Ok(instance) => *slot = Some(Box::new(instance)),
                Err(_) => return,
            }
        }
    }

    /// Frees the instances that are not at work.
    pub(crate) fn clear(&self) {
        (0..self.slots.len()).filter_map(|at| self.try_slot(at)).for_each(|mut slot| *slot = None);
    }

    /// How many instances there are, at work or not.
    pub(crate) fn instances(&self) -> usize {
        let taken = |at: &usize| self.try_slot(*at).is_none_or(|slot| slot.is_some());
        (0..self.slots.len()).filter(taken).count()
    }

    /// The linear memory of each instance that is not at work.
    pub(crate) fn idle(&self) -> impl Iterator<Item = usize> {
        (0..self.slots.len()).filter_map(|at| self.try_slot(at)?.as_ref().map(|instance| instance.memory()))
    }

    fn take(&self) -> Option<Checkout<'_>> {
        let n = self.slots.len();
        let last = LAST_SLOT.get() % n;
        let warm = self.try_slot(last).filter(|slot| slot.is_some());
        let found = warm.map(|slot| (last, slot)).or_else(|| {
            let mut empty = None;
            for at in (last..n).chain(0..last) {
                match self.try_slot(at) {
                    Some(slot) if slot.is_some() => return Some((at, slot)),
                    Some(slot) if empty.is_none() => empty = Some((at, slot)),
                    Some(_) | None => {}
                }
            }
            empty
        });
        let (at, slot) = found?;
        LAST_SLOT.set(at);
        Some(Checkout { slot, _wake: Wake(self) })
    }

    fn try_slot(&self, at: usize) -> Option<MutexGuard<'_, Option<Box<Instance>>>> {
        let slot = &self.slots[at].0;
        match slot.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                // A call panicked in the host: what state its instance is in nobody knows.
                let mut guard = poisoned.into_inner();
                *guard = None;
                slot.clear_poison();
                self.counters.instances_dropped.add(1);
                Some(guard)
            }
        }
    }

    #[cold]
    fn await_one(&self) -> Result<Checkout<'_>, GuestFailure> {
        let deadline = Instant::now() + self.wait;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            // Pairs with the fence in `Wake`: either this sees the slot free, or the giver sees the waiter.
            fence(Ordering::SeqCst);
            if let Some(checkout) = self.take() {
                break Some(checkout);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break None;
            };
            (queue, _) = self.given_back.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
        };
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        found.ok_or(GuestFailure::PoolExhausted { instances: self.slots.len(), waited: self.wait })
    }
}

impl Checkout<'_> {
    /// The instance in the slot; the slot is filled by `make` where it is empty.
    ///
    /// # Errors
    /// What `make` says.
    pub(crate) fn instance<E>(&mut self, make: impl FnOnce() -> Result<Instance, E>) -> Result<&mut Instance, E> {
        let instance = match self.slot.take() {
            Some(warm) => warm,
            None => Box::new(make()?),
        };
        Ok(self.slot.insert(instance))
    }

    /// Drops the instance: the slot goes back empty.
    pub(crate) fn discard(&mut self) {
        *self.slot = None;
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        fence(Ordering::SeqCst);
        if self.0.waiters.load(Ordering::Relaxed) > 0 {
            drop(self.0.queue.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.given_back.notify_one();
        }
    }
}
