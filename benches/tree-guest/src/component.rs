//! The guest's exports.

use std::cell::RefCell;

use exports::unskew::compat::rules::{
    CarryPlace, Change, Counts, Detection, Failure, Fault, FaultKind, Fidelity, Guest, Manifest, Normalized, Outlook,
    Policy, Problem, Translation, Verdict, VersionInfo,
};
use serde_json::Value;

use crate::hand::{self, Shape};

wit_bindgen::generate!({ path: "../../wit", world: "guest" });

struct Component;

thread_local! {
    static SHAPE: RefCell<Shape> = const { RefCell::new(Shape::Session) };
}

impl Guest for Component {
    fn load(pack: Vec<u8>) -> Result<Manifest, Vec<Problem>> {
        let problem = |message: &str| vec![Problem { pointer: String::new(), message: message.to_owned() }];
        let pack: Value = serde_json::from_slice(&pack).map_err(|_| problem("the pack is no JSON"))?;
        let name = pack["name"].as_str().unwrap_or_default();
        let shape = Shape::ALL.into_iter().find(|shape| shape.pack_name() == name);
        SHAPE.set(shape.ok_or_else(|| problem("there is no edit for this pack"))?);
        let ids = pack["version"].as_array().into_iter().flatten().filter_map(|version| version["id"].as_str());
        let info = |(at, id): (u16, &str)| VersionInfo { id: id.to_owned(), reads: vec![at], digest: u64::from(at) };
        Ok(Manifest {
            name: name.to_owned(),
            revision: pack["revision"].as_u64().unwrap_or_default(),
            versions: (0..).zip(ids).map(info).collect(),
            policy: Policy {
                carry: CarryPlace::None,
                carry_member: String::new(),
                max_bytes: 1 << 20,
                max_depth: 64,
                unknown_version: Outlook::Refuse,
                opaque: Outlook::Refuse,
            },
        })
    }

    fn test() -> Vec<Failure> {
        Vec::new()
    }

    fn detect(_: Vec<u8>) -> Result<Detection, Fault> {
        Ok(Detection { version: SHAPE.with_borrow(|shape| shape.from()), carries: false })
    }

    fn translate(session: Vec<u8>, _: Vec<u8>, _: u16, _: u16) -> Result<Translation, Fault> {
        let record = SHAPE.with_borrow(|shape| hand::edit(*shape, &session)).map_err(|_| Fault {
            kind: FaultKind::NotJson,
            op: String::new(),
            place: String::new(),
            expected: "a JSON object".to_owned(),
            found: "something else".to_owned(),
        })?;
        let counts = Counts { carried: 0, restored: 0, lost: 0, dropped: 0, narrowed: 0, defaulted: 0 };
        Ok(Translation { record, carry: Vec::new(), counts })
    }

    fn normalize(session: Vec<u8>, carry: Vec<u8>, target: u16) -> Result<Normalized, Fault> {
        let found = Self::detect(Vec::new())?.version;
        Ok(Normalized { found, changed: Some(Self::translate(session, carry, found, target)?) })
    }

    fn judge(held: u16, server: u16) -> Verdict {
        let fidelity = if held == server { Fidelity::Native } else { Fidelity::Lossy };
        Verdict { fidelity, reason: "written by hand".to_owned() }
    }

    fn explain(_: Vec<u8>, _: Vec<u8>, _: u16, _: u16) -> Result<Vec<Change>, Fault> {
        Ok(Vec::new())
    }
}

export!(Component);
