//! A pack that is revised in the middle of an incident: what the old revision has carried belongs to its ops.
#![allow(clippy::unwrap_used, reason = "tests")]

use unskew_guest::{Rules, Translation};

const TOKEN: &str = r#"{"remove":"/token"}"#;
const TIME: &str = r#"{"time":"/at","lower":"unix-s","upper":"unix-ms"}"#;

/// The pack with these ops.
fn rules(revision: u32, ops: &[&str]) -> Rules {
    let pack = format!(
        r#"{{"name":"p","revision":{revision},"version":[{{"id":"1","marker":{{"path":"/v","absent":true}}}},{{"id":"2","marker":{{"path":"/v","value":2}}}}],"step":[{{"from":"1","to":"2","ops":[{}]}}]}}"#,
        ops.join(",")
    );
    Rules::load(pack.as_bytes()).unwrap()
}

fn back(rules: &mut Rules, there: &Translation) -> (String, Translation) {
    let home = rules.translate(&there.record, &there.carry, 1, 0).unwrap();
    (String::from_utf8_lossy(&home.record).into_owned(), home)
}

#[test]
fn a_new_revision_restores_what_the_old_one_carried_for_the_same_op() {
    let there = rules(1, &[TOKEN, TIME]).translate(br#"{"token":"x","at":1e3}"#, b"", 0, 1).unwrap();
    assert_eq!((there.counts.carried, there.record.as_slice()), (2, br#"{"at":1000000,"v":2}"#.as_slice()));
    // Another op before them, and the two in another order.
    let mut new = rules(2, &[r#"{"rename":"/room","to":"r"}"#, TIME, TOKEN]);
    let (record, home) = back(&mut new, &there);
    assert_eq!(record, r#"{"at":1e3,"token":"x"}"#);
    assert_eq!((home.counts.restored, home.counts.lost, home.carry.as_slice()), (2, 0, b"".as_slice()));
}

#[test]
fn entries_of_an_op_that_is_written_otherwise_stay_until_its_old_form_is_back() {
    let there = rules(1, &[TOKEN, TIME]).translate(br#"{"token":"x","at":1e3}"#, b"", 0, 1).unwrap();
    let mut new = rules(2, &[r#"{"remove":"/token","restore":""}"#, TIME]);
    let (record, home) = back(&mut new, &there);
    assert_eq!(record, r#"{"at":1e3,"token":""}"#, "the op of now does what it does without a memory");
    assert_eq!((home.counts.restored, home.counts.lost), (1, 0));
    assert!(String::from_utf8_lossy(&home.carry).contains(r#""\"x\"""#), "what the old op kept is there");
    // The revision is taken back while the record rests in the newer form.
    let again = new.translate(&home.record, &home.carry, 0, 1).unwrap();
    let (record, home) = back(&mut rules(1, &[TOKEN, TIME]), &again);
    assert_eq!(record, r#"{"at":1e3,"token":"x"}"#);
    assert_eq!(home.counts.restored, 2);
}
