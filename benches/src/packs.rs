//! Packs and records that are made up, to see how the cost grows with one thing while all others stay as they are.

use serde_json::{Value, json};
use unskew::Pack;
use unskew_guest::Rules;

/// A pack, and a record of its first version.
pub struct Trial {
    /// The pack.
    pub pack: Pack,
    /// The record.
    pub record: Vec<u8>,
}

/// What every step of [`stairs`] does to the same two members, and what that costs the carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stair {
    /// A member renamed, and nothing else.
    Rename,
    /// A member renamed, and one whose value every step may lose: the first does, the others find it lost.
    LosesOnce,
    /// A member renamed, and one whose value every step does lose: an entry of the carry each.
    LosesAlways,
}

impl Trial {
    fn new(name: &str, pack: &Value, record: &Value) -> Trial {
        let pack = Pack::from_json(&format!("{name}.json"), &pack.to_string()).expect("a tree of JSON is JSON");
        Trial { pack, record: record.to_string().into_bytes() }
    }
}

/// So many steps over the same two members of a record of 4 KiB.
pub fn stairs(steps: usize, stair: Stair) -> Trial {
    let step = |at: usize| {
        let [from, to] = if at.is_multiple_of(2) { ["title", "name"] } else { ["name", "title"] };
        let mut ops = vec![json!({ "rename": format!("/{from}"), "to": to })];
        match stair {
            Stair::Rename => {}
            // What the step makes of "away" is "away" again, so that only the first one to meet "idle" loses something.
            Stair::LosesOnce => ops.push(json!({ "map": "/state", "values": [["away", "away"], ["idle", "away"]] })),
            // The way back would make another value of it each time.
            Stair::LosesAlways => {
                let [here, there] = [at, at + 1].map(|at| format!("state {at}"));
                ops.push(json!({ "map": "/state", "values": [["another", &there], [here, &there]] }));
            }
        }
        json!({ "from": at.to_string(), "to": (at + 1).to_string(), "ops": ops })
    };
    let pack = json!({
        "name": "stairs",
        "revision": 1,
        "version": versions(steps + 1),
        "step": (0..steps).map(step).collect::<Value>(),
        "policy": { "carry_max_bytes": 1 << 20 },
    });
    let state = match stair {
        Stair::Rename | Stair::LosesOnce => "idle",
        Stair::LosesAlways => "state 0",
    };
    let record = json!({ "v": "0", "title": "Sprechstunde", "state": state, "rest": filler(3600) });
    Trial::new("stairs", &pack, &record)
}

/// So many ops of one step, each on a member of its own, on a record of 256 members.
pub fn ops(count: usize) -> Trial {
    let op = |at: usize| json!({ "rename": format!("/member{at}"), "to": format!("renamed{at}") });
    let record: Value = (0..256).map(|at| (format!("member{at}"), json!("what it says"))).collect();
    one_step("ops", (0..count).map(op).collect(), record)
}

/// Three ops on each element of an array of this length.
pub fn elements(length: usize) -> Trial {
    let ops = json!([
        { "rename": "/list/*/id", "to": "identity" },
        { "time": "/list/*/since", "lower": "unix-s", "upper": "unix-ms" },
        { "map": "/list/*/state", "values": [["on", 1], ["off", 0]] },
    ]);
    let element = |at: usize| json!({ "id": at, "since": 1_719_400_000 + at, "state": if at.is_multiple_of(3) { "on" } else { "off" } });
    one_step("elements", ops, json!({ "list": (0..length).map(element).collect::<Value>() }))
}

/// A rename at the bottom of so many objects in one another, beside a record of 4 KiB.
pub fn depth(levels: usize) -> Trial {
    let path = "/in".repeat(levels - 1);
    let mut inner = json!({ "old": 1 });
    for _ in 1..levels {
        inner = json!({ "in": inner });
    }
    inner["rest"] = filler(3600);
    one_step("depth", json!([{ "rename": format!("{path}/old"), "to": "new" }]), inner)
}

/// An array of so many elements, each of which leaves an entry in the carry: on the way down it is read again.
pub fn carried(entries: usize) -> Trial {
    let ops = json!([{ "remove": "/list/*/gone" }]);
    let element = |at: usize| match at < entries {
        true => json!({ "id": at, "gone": format!("value {at}") }),
        false => json!({ "id": at }),
    };
    let mut trial = one_step("carried", ops, json!({ "list": (0..1000).map(element).collect::<Value>() }));
    let mut pack: Value = serde_json::from_slice(trial.pack.json()).unwrap_or_default();
    pack["collection"] = json!([{ "version": "1", "path": "/list/*", "key": "/id" }]);
    trial.pack = Pack::from_json("carried.json", &pack.to_string()).expect("a tree of JSON is JSON");
    trial
}

/// Bytes that no op touches, beside the one that one does: a record of this length.
pub fn bytes(length: usize) -> Trial {
    one_step(
        "bytes",
        json!([{ "rename": "/old", "to": "new" }]),
        json!({ "old": 1, "rest": filler(length.max(64) - 32) }),
    )
}

/// Fifty ops of nearly every kind in five steps, with twenty examples: what a push is measured with. A record holds what
/// all of them touch.
pub fn fifty(revision: u64) -> Trial {
    let step = |at: usize| {
        let ops = json!([
            { "rename": format!("/r{at}"), "to": format!("s{at}") },
            { "scale": format!("/n{at}"), "factor": 1000 },
            { "map": format!("/mode{at}"), "values": [["routed", "sfu"], ["relayed", "p2p"]] },
            { "add": format!("/new{at}"), "value": revision },
            { "remove": format!("/old{at}"), "restore": "" },
            { "move": format!("/p{at}"), "to": format!("/group{at}/p") },
            { "rename": format!("/list/*/x{at}"), "to": format!("y{at}") },
            { "time": format!("/t{at}"), "lower": "unix-s", "upper": "unix-ms" },
            { "scale": format!("/list/*/q{at}"), "factor": 10 },
            { "add": format!("/group{at}/flag"), "value": true },
        ]);
        json!({ "from": at.to_string(), "to": (at + 1).to_string(), "ops": ops })
    };
    let mut record = serde_json::Map::from_iter([("v".to_owned(), json!("0"))]);
    for at in 0..5 {
        record.extend([
            (format!("r{at}"), json!("2_MX40NTgyODA2Mn5")),
            (format!("n{at}"), json!(37 + at)),
            (format!("mode{at}"), json!("routed")),
            (format!("old{at}"), json!("token")),
            (format!("p{at}"), json!(["publish", "subscribe"])),
            (format!("t{at}"), json!(1_487_880_540 + at)),
        ]);
    }
    let element = |of: usize| -> Value {
        (0..5).flat_map(|at| [(format!("x{at}"), json!("x")), (format!("q{at}"), json!(of))]).collect()
    };
    record.insert("list".to_owned(), (0..3).map(element).collect());
    let mut pack = json!({
        "name": "fifty",
        "revision": revision,
        "version": versions(6),
        "step": (0..5).map(step).collect::<Value>(),
        "policy": { "carry_max_bytes": 1 << 18 },
    });
    // The examples are what these rules make of records, so that a push runs twenty that hold.
    let mut rules = Rules::load(pack.to_string().as_bytes()).expect("the pack has no problems");
    let mut examples = Vec::new();
    let mut lower = Value::Object(record.clone()).to_string();
    for at in 0..5 {
        let upper = rules.translate(lower.as_bytes(), b"", at, at + 1).expect("the record is of this version");
        let upper = String::from_utf8(upper.record).expect("a record is text");
        let named = |text: &str, n: usize| text.replacen("2_MX40NTgyODA2Mn5", &format!("{n}_MX"), 1);
        examples.extend((0..4).map(|n| json!({ "lower": named(&lower, n), "upper": named(&upper, n) })));
        lower = upper;
    }
    pack["example"] = Value::Array(examples);
    Trial::new("fifty", &pack, &Value::Object(record))
}

fn one_step(name: &str, ops: Value, mut record: Value) -> Trial {
    let pack = json!({
        "name": name,
        "revision": 1,
        "version": versions(2),
        "step": [{ "from": "0", "to": "1", "ops": ops }],
        "policy": { "max_bytes": 4 << 20, "max_depth": 128, "carry_max_bytes": 1 << 20 },
    });
    record["v"] = json!("0");
    Trial::new(name, &pack, &record)
}

fn versions(count: usize) -> Value {
    (0..count).map(|at| json!({ "id": at.to_string(), "marker": { "path": "/v", "value": at.to_string() } })).collect()
}

/// Members that no op touches, of about this length together.
fn filler(length: usize) -> Value {
    let member = |at: usize| json!({ "text": "was niemand „anfasst“", "number": at, "flags": [true, null] });
    let one = member(100).to_string().len() + 1;
    (0..length / one).map(member).collect()
}
