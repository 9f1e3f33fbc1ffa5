//! What an operator sets for guests and failures: limits, isolation, failure policy, mode.

use std::time::Duration;

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
    /// How long compiling a guest may take until it is given up: CPU time where it has a process of its own, else by the
    /// clock.
    pub compile: Duration,
    /// The memory that compiling a guest may take, in bytes, where it has a process of its own.
    pub compile_memory: u64,
    /// So many failures of a guest within `failures_within` put its generation aside; 0 never does. Faults of records
    /// don't count: they are answers.
    pub failures: usize,
    /// See `failures`.
    pub failures_within: Duration,
}

impl Default for Limits {
    /// 10 ms and 200 µs per KiB: far more than a translation takes, since a budget is there to stop what would never
    /// end. 64 instances, 4 MiB of artefact that compile within 10 s, 20 failures within a minute.
    fn default() -> Limits {
        Limits {
            cpu_base: Duration::from_millis(10),
            cpu_per_kib: Duration::from_micros(200),
            cpu_load: Duration::from_millis(500),
            memory: None,
            instances: 64,
            wait: Duration::from_secs(1),
            artefact: 4 << 20,
            compile: Duration::from_secs(10),
            compile_memory: 512 << 20,
            failures: 20,
            failures_within: Duration::from_secs(60),
        }
    }
}

/// Whether instances are used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An instance serves one call after the other.
    #[default]
    Warm,
    /// Each call gets an instance of its own, for guests that are not trusted to be pure. It costs a `load` each time:
    /// 0.13 ms with the standard guest and a pack of twelve ops (2026-11-23).
    Fresh,
}

/// What a gateway does with the decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// What happens to requests when no pack is active, and when a call fails: two settings, since the first is the
/// operator's doing and the second a record's or a guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailurePolicy {
    /// No pack could be loaded.
    pub load: OnFailure,
    /// A call failed: a fault or a failing guest.
    pub call: OnFailure,
}
