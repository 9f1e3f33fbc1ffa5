//! What a guest can do to its host and to its neighbours: nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod budget;
mod compile;
mod guest;
mod hostile;
mod isolation;
mod quarantine;
mod refused;

use unskew::{Limits, Pack, Runtime};

/// Any pack does for guests that don't read it.
fn pack() -> Pack {
    Pack::from_json("pack", "{}").unwrap()
}

fn runtime(guest: &guest::Guest) -> Runtime {
    Runtime::builder().guest(guest.component()).limits(limits()).pack(&pack()).build().unwrap()
}

fn limits() -> Limits {
    Limits { memory: Some(4 << 20), ..Limits::default() }
}
