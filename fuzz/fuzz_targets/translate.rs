//! The laws of a translation hold for any record that a shipped pack recognises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::{Loaded, laws, limited, text};

fuzz_target!(|data: &[u8]| limited(|| {
    let [pack, record @ ..] = data else { return };
    let pack = Loaded::pick(*pack);
    laws(&mut pack.rules(), record).unwrap_or_else(|why| panic!("{}, {}: {why}", pack.source.name, text(record)));
}));
