//! Any bytes as a carry leave a record readable; what is no carry is ignored and counted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::{Loaded, at_limit, is_json, limited};

fuzz_target!(|data: &[u8]| limited(|| {
    let [pack, record, to, carry @ ..] = data else { return };
    let loaded = Loaded::pick(*pack);
    let (record, mut rules) = (loaded.record(*record), loaded.rules());
    let Ok(found) = rules.detect(record) else { return };
    let to = u16::from(*to) % rules.manifest().versions.len() as u16;
    let Ok(plain) = rules.translate(record, b"", found.version, to) else { return };
    match rules.translate(record, carry, found.version, to) {
        Ok(done) if found.version != to && !found.carries && !carry.is_empty() && !is_json(carry) => {
            assert_eq!((done.record, done.counts.lost), (plain.record, plain.counts.lost + 1));
        }
        Ok(done) => assert_eq!(rules.detect(&done.record).map(|found| found.version), Ok(to)),
        Err(fault) => assert!(at_limit(&fault), "{fault}"),
    }
}));
