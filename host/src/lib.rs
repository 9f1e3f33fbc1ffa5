//! unskew keeps a fleet of session servers working while its servers run different versions.
//!
//! A [`Pack`] says how the versions of a session record relate. A [`Runtime`] runs it in a sandbox that does no I/O
//! and can't hurt its host, and replaces it while traffic flows. A [`Fleet`] is where requests can go; [`route`] says
//! where one goes. What is left to a gateway is to read and to write: [`gateway`] is one, `examples/embed.rs` shows
//! how to build another in under eighty lines.
//!
//! ```
//! use unskew::{Ask, Decision, Fleet, Held, Pack, RoutePolicy, Runtime, Server, Tier};
//!
//! let pack = Pack::from_toml("sessions.toml", r#"
//!     name = "sessions"
//!     revision = 1
//!     version = [
//!         { id = "1", marker = { path = "/schema", absent = true } },
//!         { id = "2", marker = { path = "/schema", value = 2 }, reads = ["1", "2"] },
//!     ]
//!     step = [{ from = "1", to = "2", ops = [
//!         { rename = "/sessionId", to = "session_id" },
//!         { add = "/bitrate", value = 3000 },
//!     ] }]
//! "#)?;
//! let runtime = Runtime::new(&pack)?;
//!
//! // A server of version 2 wrote this record, and only servers of version 1 are left.
//! let record = br#"{"session_id":"s1","tier":"gold","bitrate":4500,"schema":2}"#;
//! let servers = vec![Server::new("api-1", "10.0.0.1:80", "1"), Server::new("api-2", "10.0.0.2:80", "1")];
//! let fleet = Fleet::new(servers, RoutePolicy::default())?;
//!
//! let generation = runtime.generation().expect("a pack was loaded"); // pinned for the length of a request
//! let version = generation.detect(record)?.version;
//! let ask = Ask::join(b"s1", Held { version, carry: false, writer: None });
//! let Decision::Route { server, tier, .. } = generation.route(&ask, &fleet) else { panic!() };
//! assert_eq!(tier, Tier::Carried);
//!
//! let to = generation.version(&fleet.servers()[server].version).expect("a version of the pack");
//! let there = generation.translate(record, b"", version, to)?;
//! assert_eq!(there.record, br#"{"sessionId":"s1","tier":"gold"}"#);
//! // The carry holds what version 1 has no place for; with it the way back restores the record.
//! let back = generation.translate(&there.record, &there.carry, to, version)?;
//! assert!(String::from_utf8_lossy(&back.record).contains(r#""bitrate":4500"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod pack;
mod shelf;
mod source;

mod bindings;
mod cache;
mod compile;
mod contract;
mod engine;
mod instance;
mod pool;

mod generation;
mod guest;
mod life;
mod limits;
mod line;
mod matrix;
mod meter;
mod moment;
mod offload;
mod recent;
mod runtime;
mod stats;
mod trust;

mod directory;
mod fleet;
mod maglev;
mod router;
mod store;
mod tables;

mod last_good;
mod supply;

mod member;
mod seal;

mod error;

pub mod check;
pub mod config;
pub mod gateway;
pub mod infer;
pub mod laws;
pub mod rehearsal;
pub mod tower;

pub use gateway::adapter;

pub use compile::{Allowance, Compiler, compile_aside};
pub use contract::{
    CarryPlace, Change, Counts, Detection, Failure, Fidelity, Manifest, Normalized, Outlook, Policy, Translation,
    Verdict, Version, VersionInfo,
};
pub use directory::{Directory, DirectoryLimits, DirectoryLink, DirectoryStatus, Entry, OtherShape};
pub use engine::{RunsAlready, Traps, set_traps};
pub use error::{CallError, Fault, FaultKind, GuestError, GuestFailure, LoadError, Place, Problem};
pub use fleet::{Fleet, FleetError, Server};
pub use generation::{CarryMember, Generation};
pub use guest::Guest;
pub use life::{Life, Phase};
pub use limits::{FailurePolicy, Isolation, Limits, Mode, OnFailure};
pub use line::Status;
pub use matrix::Matrix;
pub use member::NotJson;
pub use offload::{INLINE_MAX_BYTES, Offload};
pub use pack::{Digest, Pack};
pub use recent::Sampling;
pub use router::{Ask, Decision, Held, Load, Reason, RoutePolicy, Selection, Tier, route};
pub use runtime::{Runtime, RuntimeBuilder};
pub use seal::{Crossing, Seal, SealError};
pub use stats::Stats;
pub use store::{CasOutcome, MemoryStore, Store, StoreError, Stored, Tag};
pub use trust::{Statement, Trust, TrustError};

/// The README's Rust block runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of docs/embedding.md run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;

/// The example of docs/gateways/tower.md.
#[cfg(doctest)]
#[doc = include_str!("../../docs/gateways/tower.md")]
struct TowerLayer;
