//! unskew keeps a fleet of session servers working while its servers run different versions.

mod pack;
mod source;

mod bindings;
mod contract;
mod engine;
mod instance;
mod pool;

mod generation;
mod limits;
mod matrix;
mod offload;
mod runtime;
mod stats;

mod directory;
mod fleet;
mod maglev;
mod router;
mod store;
mod tables;

mod error;

pub mod config;
pub mod gateway;
pub mod rehearsal;

pub use contract::{
    CarryPlace, Change, Counts, Detection, Failure, Fidelity, Manifest, Normalized, Outlook, Policy, Translation,
    Verdict, Version, VersionInfo,
};
pub use directory::{Directory, DirectoryLimits, Entry};
pub use error::{CallError, Fault, FaultKind, GuestError, GuestFailure, LoadError, Place, Problem};
pub use fleet::{Fleet, FleetError, Server};
pub use generation::Generation;
pub use limits::{FailurePolicy, Isolation, Limits, Mode, OnFailure};
pub use matrix::Matrix;
pub use offload::{INLINE_MAX_BYTES, Offload};
pub use pack::{Digest, Pack};
pub use router::{Ask, Decision, Held, Load, Reason, RoutePolicy, Selection, Tier, route};
pub use runtime::{Runtime, RuntimeBuilder};
pub use stats::Stats;
pub use store::{CasOutcome, MemoryStore, Store, StoreError, Stored, Tag};
