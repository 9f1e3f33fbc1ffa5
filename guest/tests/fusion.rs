//! Fusion over a long line: thirty-two steps at once give the bytes of thirty-two translations one after another.
//!
//! The steps undo each other, reach into what came back from the carry, meet members in their way, and each of them keeps
//! something in the carry.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use unskew_guest::Rules;

const STEPS: usize = 32;

/// A line of thirty-three versions.
fn pack() -> String {
    let version = |number: usize| format!(r#"{{"id":"{number}","marker":{{"path":"/v","value":{number}}}}}"#);
    let ops = |step: usize| {
        match step % 8 {
        // A member goes and its object with it; four steps later both come back.
        0 => r#"{"move":"/o/a","to":"/a"},{"remove":"/r"},{"scale":"/n","factor":0.1,"digits":1}"#.to_owned(),
        1 => r#"{"rename":"/a","to":"b"},{"add":"/r","value":{"deep":{"x":1}}},{"map":"/m","values":[["p",1],["q",1]],"otherwise":"keep"}"#.to_owned(),
        // Into what an earlier step has put there, or the carry given back.
        2 => r#"{"rename":"/r/deep","to":"d"},{"scale":"/r/d/x","factor":1000},{"spread":"/s","to":"/l/*/s"}"#.to_owned(),
        3 => r#"{"in":"/l/*","ops":[{"rename":"/i","to":"id"},{"remove":"/t"}]},{"convert":"/n","lower":"number","upper":"string","otherwise":"keep"}"#.to_owned(),
        // And back again.
        4 => r#"{"move":"/b","to":"/o/a"},{"convert":"/n","lower":"string","upper":"number","otherwise":"keep"},{"default":"/e","lower":1,"upper":2}"#.to_owned(),
        5 => r#"{"in":"/l/*","ops":[{"rename":"/id","to":"i"},{"add":"/t","value":0}]},{"wrap":"/w","on_edit":"head"}"#.to_owned(),
        6 => r#"{"remove":"/e","restore":1},{"map":"/m","values":[[1,"p"]],"otherwise":"keep"},{"rename":"/r/d","to":"deep"}"#.to_owned(),
        _ => r#"{"unwrap":"/w","on_edit":"head"},{"copy":"/o/a","to":"/c","when":{"path":"/k","exists":true}},{"remove":"/c"}"#.to_owned(),
    }
    };
    let step = |step: usize| format!(r#"{{"from":"{step}","to":"{}","ops":[{}]}}"#, step + 1, ops(step));
    format!(
        r#"{{"name":"line","revision":1,"version":[{}],"step":[{}],"policy":{{"carry_max_bytes":65536}}}}"#,
        (0..=STEPS).map(version).collect::<Vec<_>>().join(","),
        (0..STEPS).map(step).collect::<Vec<_>>().join(",")
    )
}

/// Records of the first and the last version, some of which meet conflicts on their way.
fn record() -> impl Strategy<Value = (bool, String)> {
    let value = || {
        proptest::sample::select(vec![
            "1",
            "-2.50",
            "12345678901234567890",
            "\"p\"",
            "\"q\"",
            "null",
            "{}",
            "[]",
            "\"7\"",
            "[1,2]",
        ])
    };
    let member = |keys: &'static [&'static str]| (proptest::sample::select(keys), value());
    let keys: &[&str] = &["o", "a", "b", "r", "n", "m", "s", "l", "e", "w", "c", "k", "x"];
    let members = proptest::collection::vec(member(keys), 0..9);
    let shaped = proptest::collection::vec(any::<bool>(), 4);
    (any::<bool>(), members, shaped, value()).prop_map(|(first, members, shaped, odd)| {
        let mut out: Vec<(String, String)> = Vec::new();
        let shapes = [
            ("o", format!(r#"{{ "a" : {odd} }}"#)),
            ("l", format!(r#"[{{"i":1,"t":{odd}}}, {{"i":2,"s":0}}, {odd}]"#)),
            ("r", r#"{"deep":{"x":5},"d":1}"#.to_owned()),
            ("n", "12.5".to_owned()),
        ];
        for ((key, text), there) in shapes.into_iter().zip(shaped) {
            if there {
                out.push((key.to_owned(), text));
            }
        }
        for (key, text) in members {
            if out.iter().all(|(other, _)| other != key) {
                out.push((key.to_owned(), text.to_owned()));
            }
        }
        out.push(("v".to_owned(), if first { "0".to_owned() } else { STEPS.to_string() }));
        (
            first,
            format!(
                "{{{}}}",
                out.iter().map(|(key, text)| format!("\"{key}\":{text}")).collect::<Vec<_>>().join(" , ")
            ),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn thirty_two_steps_at_once_are_thirty_two_steps((first, record) in record()) {
        let mut rules = Rules::load(pack().as_bytes()).unwrap();
        let last = STEPS as u16;
        let (from, to) = if first { (0, last) } else { (last, 0) };
        let there = both_ways(&mut rules, record.as_bytes(), b"", from, to)?;
        if let Some((record, carry)) = there {
            // Home again, with a carry in every step.
            both_ways(&mut rules, &record, &carry, to, from)?;
        }
    }
}

/// More of them in a long run.
fn cases() -> u32 {
    std::env::var("UNSKEW_LAWS").ok().and_then(|number| number.parse().ok()).unwrap_or(600)
}

type Left = Option<(Vec<u8>, Vec<u8>)>;

/// Goes at once and step by step: both end in the same bytes, or in the same fault.
fn both_ways(rules: &mut Rules, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Left, TestCaseError> {
    let at_once = rules.translate(record, carry, from, to);
    let versions: Vec<u16> = if from < to { (from..=to).collect() } else { (to..=from).rev().collect() };
    let (mut text, mut kept) = (record.to_vec(), carry.to_vec());
    for pair in versions.windows(2) {
        match rules.translate(&text, &kept, pair[0], pair[1]) {
            Ok(done) => (text, kept) = (done.record, done.carry),
            Err(fault) => {
                let told = at_once.map_err(|fault| (fault.kind, fault.op)).err();
                prop_assert_eq!(told, Some((fault.kind, fault.op)), "{}", String::from_utf8_lossy(record));
                return Ok(None);
            }
        }
    }
    let done = at_once.map_err(|fault| TestCaseError::fail(format!("at once: {fault}")))?;
    let (record, carry) = (String::from_utf8_lossy(&done.record), String::from_utf8_lossy(&done.carry));
    prop_assert_eq!((record, carry), (String::from_utf8_lossy(&text), String::from_utf8_lossy(&kept)));
    Ok(Some((done.record, done.carry)))
}

#[test]
fn a_whole_record_goes_all_the_way_with_a_carry_of_many_steps() {
    let mut rules = Rules::load(pack().as_bytes()).unwrap();
    let record = r#"{"o":{"a":[1]},"r":{"deep":{"x":5}},"n":12.25,"m":"q","s":"all","l":[{"i":1,"t":7},{"i":2}],"w":"w","k":0,"v":0}"#;
    let (there, carry) = both_ways(&mut rules, record.as_bytes(), b"", 0, STEPS as u16).unwrap().unwrap();
    let entries = String::from_utf8(carry.clone()).unwrap().matches("\"op\"").count();
    assert!(entries > 20, "{entries} entries");
    let (home, carry) = both_ways(&mut rules, &there, &carry, STEPS as u16, 0).unwrap().unwrap();
    let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    assert_eq!((json(&home), carry.len()), (json(record.as_bytes()), 0));
}
