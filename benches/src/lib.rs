//! What the measurements have in common: records and packs, peers, and how variants are measured side by side.
//!
//! Every measured closure asserts its whole result, so that nobody is fast by doing less; the comparison costs all
//! variants the same few nanoseconds.

pub mod hand;
pub mod packs;
pub mod peers;
pub mod record;
pub mod structs;
pub mod subject;

pub mod contest;
pub mod grid;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod plot;
pub mod process;
