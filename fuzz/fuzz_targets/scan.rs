//! What is JSON is what serde_json says is JSON, whether ops look at it or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unskew_fuzz::{Loaded, depth, is_json, limited};
use unskew_guest::FaultKind::{DuplicateKey, NotJson, Opaque, TooDeep};

fuzz_target!(|data: &[u8]| limited(|| {
    for (before, after) in [("", ""), ("{\"x\":", "}"), ("{\"connections\":[", "]}"), ("{\"media\":", "}")] {
        let record = [before.as_bytes(), data, after.as_bytes()].concat();
        let oracle = is_json(&record);
        match Loaded::named("opentok.toml").rules().detect(&record).map_err(|fault| fault.kind) {
            Err(NotJson) => assert!(!oracle, "refused"),
            Err(Opaque) => assert_ne!(record.iter().find(|byte| !b" \t\r\n".contains(byte)), Some(&b'{'), "opaque"),
            Err(TooDeep) => assert!(!oracle || depth(&record) > 64, "too deep"),
            Err(DuplicateKey) => {} // told as soon as it is met
            Ok(_) | Err(_) => assert!(oracle && depth(&record) <= 64, "accepted"),
        }
    }
}));
