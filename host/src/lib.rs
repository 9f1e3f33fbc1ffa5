//! unskew keeps a fleet of session servers working while its servers run different versions.

mod contract;
mod directory;
mod error;
mod fleet;
mod generation;
mod matrix;
mod offload;
mod pack;
mod router;
mod runtime;
mod store;

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
pub use runtime::{
    FailurePolicy, Isolation, Limits, Mode, OnFailure, Runtime, RuntimeBuilder, Stats,
};
pub use store::{CasOutcome, MemoryStore, Store, StoreError, Stored, Tag};
