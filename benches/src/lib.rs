//! What the measurements have in common: records, peers written by hand, and how variants are measured side by side.
//!
//! Every measured closure asserts its whole result, so that nobody is fast by doing less; the comparison costs all
//! variants the same few nanoseconds.

pub mod hand;
pub mod record;
pub mod subject;

pub mod contest;
pub mod ledger;
pub mod machine;
