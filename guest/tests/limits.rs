//! What the limits promise: nothing becomes deeper than the policy allows, whatever op makes it so, and a pack that looks
//! at too many places is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use unskew_guest::{FaultKind, Rules};

/// The deepest that the packs here allow: more than any pack's own floor.
const DEEPEST: usize = 24;

/// Ops, each in a pack of its own, and a record in which they find something, deeper and deeper at the `@`.
const OPS: [(&str, &str); 10] = [
    (r#"{"move":"/x","to":"/a/b/c/x"}"#, r#"{"x":@}"#),
    (r#"{"move":"/a/b/c/x","to":"/x"}"#, r#"{"x":@}"#),
    (r#"{"wrap":"/x","on_edit":"head"}"#, r#"{"x":@}"#),
    (r#"{"wrap":"/x","on_edit":"head","at":"/a/b","new":{"k":1}}"#, r#"{"x":@}"#),
    (r#"{"unwrap":"/x","on_edit":"head","at":"/a/b","new":{"k":1}}"#, r#"{"x":@}"#),
    (r#"{"spread":"/x","to":"/l/*/a/b/x"}"#, r#"{"x":@,"l":[{}]}"#),
    (r#"{"spread":"/a/b/c/d/x","to":"/l/*/x"}"#, r#"{"l":[{"x":@}]}"#),
    (r#"{"copy":"/x","to":"/a/b/c/x"}"#, r#"{"x":@}"#),
    (r#"{"in":"/i","ops":[{"move":"/x","to":"/a/b/c/x"}]}"#, r#"{"i":{"x":@}}"#),
    (r#"{"remove":"/a/b/c/x"},{"rename":"/x","to":"y"}"#, r#"{"a":{"b":{"c":{"x":@}}}}"#),
];

#[test]
fn nothing_becomes_deeper_than_the_policy_allows() {
    for (ops, record) in OPS {
        let mut rules =
            Rules::load(pack(ops, DEEPEST).as_bytes()).unwrap_or_else(|problems| panic!("{ops}: {problems:#?}"));
        let (mut passed, mut refused) = (0, 0);
        for depth in 1..DEEPEST {
            let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            for (from, to, marker) in [(0, 1, ""), (1, 0, r#","v":2}"#)] {
                let mut text = record.replace('@', &nested);
                if from == 1 {
                    text.replace_range(text.len() - 1.., marker);
                }
                match rules.translate(text.as_bytes(), b"", from, to) {
                    Ok(there) => {
                        assert!(brackets(&there.record) <= DEEPEST, "{ops}: {text} becomes {}", show(&there.record));
                        let home = rules.translate(&there.record, &there.carry, to, from);
                        let home = home.unwrap_or_else(|fault| panic!("{ops}: {text}: {fault}"));
                        assert!(brackets(&home.record) <= DEEPEST, "{ops}: {}", show(&home.record));
                        passed += 1;
                    }
                    Err(fault) => {
                        assert_eq!(fault.kind, FaultKind::TooDeep, "{ops}: {text}: {fault}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(passed > DEEPEST / 2, "{ops}: only {passed} passed, {refused} are too deep");
    }
}

#[test]
fn a_literal_is_no_deeper_than_the_policy_allows() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [DEEPEST - 4, DEEPEST - 3, DEEPEST - 2] {
        for ops in [
            format!(r#"{{"add":"/a/b/x","value":{}}}"#, deep(depth)),
            format!(r#"{{"table":["/k"],"to":["/a/b/x"],"rows":[[[7],[{}]]]}}"#, deep(depth)),
            format!(r#"{{"map":"/k","values":[[7,{}]]}},{{"move":"/k","to":"/a/b/k"}}"#, deep(depth)),
        ] {
            let mut rules = Rules::load(pack(&ops, DEEPEST).as_bytes()).unwrap_or_else(|_| panic!("{ops}"));
            let there = rules.translate(br#"{"k":7}"#, b"", 0, 1);
            // Three objects stand around it.
            match depth + 3 > DEEPEST {
                true => assert_eq!(there.unwrap_err().kind, FaultKind::TooDeep, "{ops}"),
                false => assert_eq!(brackets(&there.unwrap().record), depth + 3, "{ops}"),
            }
        }
    }
}

#[test]
fn a_pack_that_looks_at_too_many_places_is_refused() {
    // Each rename makes two names of one, level by level, for all that the last op looks at.
    let ops = |levels: usize| {
        let renames = (0..levels).map(|level| format!(r#"{{"rename":"{}/a","to":"b"}}"#, "/*".repeat(level)));
        let last = format!(r#"{{"add":"{}","value":1}}"#, "/b".repeat(levels));
        renames.chain([last]).collect::<Vec<_>>().join(",")
    };
    let refused = |levels: usize| {
        let problems = Rules::load(pack(&ops(levels), 64).as_bytes()).err()?;
        Some(problems.iter().map(|problem| problem.message.clone()).collect::<String>())
    };
    assert_eq!(refused(6), None);
    // What holds for each member holds for the named ones, too.
    assert!(refused(12).unwrap().contains("more than 32768 places"));
    assert!(refused(15).unwrap().contains("more than 16384 places: moves"));
}

fn pack(ops: &str, deepest: usize) -> String {
    format!(
        r#"{{"name":"deep","revision":1,"version":[{{"id":"1","marker":{{"path":"/v","absent":true}}}},{{"id":"2","marker":{{"path":"/v","value":2}}}}],"step":[{{"from":"1","to":"2","ops":[{ops}]}}],"policy":{{"max_depth":{deepest}}}}}"#
    )
}

/// How deep a record without brackets in its strings is.
fn brackets(record: &[u8]) -> usize {
    let depths = record.iter().scan(0_usize, |depth, byte| {
        match byte {
            b'[' | b'{' => *depth += 1,
            b']' | b'}' => *depth -= 1,
            _ => {}
        }
        Some(*depth)
    });
    depths.max().unwrap_or(0)
}

fn show(record: &[u8]) -> String {
    String::from_utf8_lossy(record).into_owned()
}
