//! Where packs and guests come from when no file holds them: an address that is asked, a key of etcd that is watched.
//!
//! A supply runs for ever beside the requests. It delivers what it finds, again whenever that changes, and says when it
//! can't be reached; what is done with a delivery is not its business. Whatever it is sent costs it a bounded time and
//! a bounded number of bytes.

mod client;
mod etcd;
mod http;
mod tls;

use std::time::Duration;

use tokio::sync::mpsc::Sender;

pub(crate) use client::{Address, Client};
pub(crate) use etcd::Etcd;
pub(crate) use http::Http;
pub(crate) use tls::client as tls;

use crate::error::LoadError;
use crate::guest::Guest;
use crate::pack::Pack;

/// What a source holds now: a pack, a guest to run it in if there is one, and their signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// What the pack is called: its ending says whether it is TOML or JSON.
    pub(crate) name: String,
    pub(crate) pack: Vec<u8>,
    pub(crate) pack_signature: Option<String>,
    pub(crate) runs_in: RunsIn,
    pub(crate) guest_signature: Option<String>,
}

/// The guest that a pack is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RunsIn {
    /// Whichever serves.
    #[default]
    Present,
    /// The standard one.
    Standard,
    /// This one.
    Shipped(Vec<u8>),
}

/// What a supply has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It holds this.
    Parcel(Parcel),
    /// It can't be reached, or what it holds can't be taken, for this reason.
    Failed(String),
}

impl Parcel {
    /// Pack and guest as a runtime takes them.
    pub(crate) fn open(self) -> Result<(Pack, Option<Guest>), LoadError> {
        let Parcel { name, pack, pack_signature, runs_in, guest_signature } = self;
        let text = String::from_utf8(pack).map_err(|error| LoadError::Problems {
            name: name.clone(),
            problems: vec![crate::source::no_utf8(&error)],
        })?;
        let pack = Pack::from_text(&name, &text)?.signed(pack_signature);
        let guest = match runs_in {
            RunsIn::Present => None,
            RunsIn::Standard => Some(Guest::standard()),
            RunsIn::Shipped(wasm) => Some(Guest::new(&format!("{name}: guest"), wasm).signed(guest_signature)),
        };
        Ok((pack, guest))
    }
}

/// One after the other: longer pauses while a source fails, each a bit off so that a fleet doesn't ask in step.
pub(crate) struct Pause {
    failures: u32,
    longest: Duration,
}

impl Pause {
    pub(crate) fn new(longest: Duration) -> Pause {
        Pause { failures: 0, longest }
    }

    pub(crate) fn over(&mut self) {
        self.failures = 0;
    }

    /// Waits for the next try.
    pub(crate) async fn wait(&mut self) {
        const FIRST: Duration = Duration::from_millis(100);
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

/// Sends a delivery; an error says that nobody listens any more.
pub(crate) async fn deliver(to: &Sender<Delivery>, delivery: Delivery) -> Result<(), Closed> {
    to.send(delivery).await.map_err(|_| Closed)
}

/// The gateway is gone.
#[derive(Debug)]
pub(crate) struct Closed;
