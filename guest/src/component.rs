//! The component's exports: the one file of the guest that knows generated WIT types.

wit_bindgen::generate!({ path: "../wit", world: "guest" });

use exports::unskew::compat::rules::{
    Carry, Change, Detection, Failure, Fault, Guest, Manifest, Normalized, Problem, SessionRecord, Translation, Verdict, Version,
};

struct Component;

impl Guest for Component {
    fn load(_: Vec<u8>) -> Result<Manifest, Vec<Problem>> {
        unreachable!()
    }
    fn test() -> Vec<Failure> {
        unreachable!()
    }
    fn detect(_: SessionRecord) -> Result<Detection, Fault> {
        unreachable!()
    }
    fn translate(_: SessionRecord, _: Carry, _: Version, _: Version) -> Result<Translation, Fault> {
        unreachable!()
    }
    fn normalize(_: SessionRecord, _: Carry, _: Version) -> Result<Normalized, Fault> {
        unreachable!()
    }
    fn judge(_: Version, _: Version) -> Verdict {
        unreachable!()
    }
    fn explain(_: SessionRecord, _: Carry, _: Version, _: Version) -> Result<Vec<Change>, Fault> {
        unreachable!()
    }
}

export!(Component);
