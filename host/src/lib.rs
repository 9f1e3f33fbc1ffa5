//! unskew keeps a fleet of session servers working while its servers run different versions.

mod pack;
mod source;

mod engine;
mod bindings;
mod contract;
mod instance;
mod pool;

mod matrix;
mod generation;
mod limits;
mod runtime;
mod stats;
mod offload;

mod fleet;
mod router;
mod tables;
mod maglev;
mod directory;
mod store;

mod error;

pub use contract::{
    CarryPlace, Change, Counts, Detection, Failure, Fidelity, Manifest, Normalized, Outlook, Policy, Translation, Verdict,
    Version, VersionInfo,
};
pub use directory::{Directory, DirectoryLimits, Entry};
pub use error::{CallError, Fault, FaultKind, GuestError, GuestFailure, LoadError, Place, Problem};
pub use fleet::{Fleet, FleetError, Server};
pub use generation::Generation;
pub use matrix::Matrix;
pub use offload::{INLINE_MAX_BYTES, Offload};
pub use pack::{Digest, Pack};
pub use router::{Ask, Decision, Held, Load, Reason, RoutePolicy, Selection, Tier, route};
pub use limits::{FailurePolicy, Isolation, Limits, Mode, OnFailure};
pub use runtime::{Runtime, RuntimeBuilder};
pub use stats::Stats;
pub use store::{CasOutcome, MemoryStore, Store, StoreError, Stored, Tag};
