//! The guest answers the same with SIMD and without.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::{Loaded, text};

fuzz_target!(|data: &[u8]| {
    let [pack, record @ ..] = data else { return };
    let pack = Loaded::pick(*pack);
    let (mut one, mut other) = (pack.rules(), pack.portable());
    let same = |one: &dyn Debug, other: &dyn Debug| {
        let (one, other) = (format!("{one:?}"), format!("{other:?}"));
        assert_eq!(one, other, "{}, {}", pack.source.name, text(record));
    };
    same(&one.detect(record), &other.detect(record));
    let versions = one.manifest().versions.len() as u16;
    for (from, to) in (0..versions).flat_map(|from| (0..versions).map(move |to| (from, to))) {
        same(&one.normalize(record, b"", to), &other.normalize(record, b"", to));
        let there = one.translate(record, b"", from, to);
        same(&there, &other.translate(record, b"", from, to));
        if let Ok(there) = there {
            let back = one.translate(&there.record, &there.carry, to, from);
            same(&back, &other.translate(&there.record, &there.carry, to, from));
        }
    }
});
