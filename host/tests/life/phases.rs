//! Phases, reasons and places: staged, active, previous, drained, freed, refused.

use std::time::Duration;

use bytes::Bytes;
use unskew::{Life, LoadError, Pack, Phase, Runtime, Sampling};

use super::{pack, text};

fn phases(life: &Life) -> Vec<&'static str> {
    life.phases.iter().map(|(phase, _)| phase.as_str()).collect()
}

/// The life of the pack of this revision.
fn life(runtime: &Runtime, revision: u64) -> Life {
    runtime.status().lives.into_iter().rfind(|life| life.revision == Some(revision)).unwrap()
}

#[test]
fn a_generation_goes_through_its_phases_and_each_is_seen() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    runtime.stage(None, &pack(2)).unwrap();
    let status = runtime.status();
    assert_eq!(status.staged, Some(life(&runtime, 2).id));
    assert_eq!(runtime.generation().unwrap().manifest().revision, 1, "what is staged serves nobody");
    let pinned = runtime.generation().unwrap();
    runtime.promote().unwrap();
    runtime.swap(&pack(3)).unwrap();
    let way = ["fetched", "verified", "compiled", "loaded", "tested"];
    assert_eq!(phases(&life(&runtime, 3)), [&way[..], &["active"]].concat());
    assert_eq!(phases(&life(&runtime, 2)), [&way[..], &["staged", "active", "previous"]].concat());
    assert_eq!(phases(&life(&runtime, 1)), [&way[..], &["active", "previous", "draining"]].concat());
    runtime.tend(Duration::from_secs(60));
    assert_eq!(life(&runtime, 1).phase, Phase::Draining, "somebody still holds it, and may");
    assert_eq!(pinned.warm().len(), 1);
    runtime.tend(Duration::ZERO);
    assert_eq!(life(&runtime, 1).phase, Phase::Drained);
    assert_eq!(pinned.warm().len(), 0, "its instances are freed");
    let to = pinned.version("2").unwrap();
    assert!(pinned.normalize(br#"{"room":"a"}"#, b"", to).unwrap().changed.is_some(), "who holds it is still served");
    assert_eq!(pinned.warm().len(), 0, "and nothing is kept warm for it");
    drop(pinned);
    assert_eq!(life(&runtime, 1).phase, Phase::Freed);
    assert_eq!(life(&runtime, 1).reason.as_deref(), Some("a newer one is kept for the way back"));
}

#[test]
fn what_is_refused_has_its_reason_in_status_and_changes_nothing() {
    let runtime = Runtime::new(&pack(5)).unwrap();
    let refused = |pack: Pack| {
        let error = runtime.swap(&pack).unwrap_err();
        let life = runtime.status().lives.pop().unwrap();
        assert_eq!((life.phase, life.reason.as_deref()), (Phase::Refused, Some(&*error.to_string())));
        (phases(&life).join(" "), error)
    };
    let (way, error) = refused(Pack::from_toml("a.toml", &text(6).replace("rename", "renam")).unwrap());
    assert_eq!(way, "fetched verified compiled refused");
    assert!(matches!(error, LoadError::Problems { .. }));
    let (way, error) = refused(Pack::from_toml("a.toml", &text(6).replace("\"of\":6", "\"of\":7")).unwrap());
    assert_eq!(way, "fetched verified compiled loaded refused");
    assert!(matches!(error, LoadError::Examples { .. }));
    for (revision, wanted) in
        [(4, "not newer"), (5 + 1_000_001, "a million above"), (i64::MAX as u64, "a million above")]
    {
        let offered = Pack::from_toml("a.toml", &text(revision)).unwrap();
        let (_, error) = refused(offered);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let (_, error) = refused(Pack::from_toml("a.toml", &text(5).replace("room_id", "roomId")).unwrap());
    assert!(matches!(error, LoadError::Revision { active: 5, offered: 5, .. }));
    assert_eq!(runtime.generation().unwrap().manifest().revision, 5);
    assert_eq!((runtime.stats().generations_alive, runtime.stats().swaps), (1, 1));
}

#[test]
fn the_same_content_is_recognised_and_changes_nothing() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    let before = (runtime.status(), runtime.stats());
    let again = Pack::from_toml("elsewhere.toml", &format!("# a comment\n{}", text(1))).unwrap();
    assert_eq!(runtime.swap(&again).unwrap().id(), runtime.generation().unwrap().id());
    assert_eq!(runtime.stage(None, &again).unwrap().id(), runtime.generation().unwrap().id());
    assert_eq!((runtime.status(), runtime.stats()), before);
    let staged = runtime.stage(None, &pack(2)).unwrap().id();
    assert_eq!(runtime.stage(None, &pack(2)).unwrap().id(), staged, "staged once");
    assert_eq!(runtime.swap(&pack(2)).unwrap().id(), staged, "and promoted without being built again");
    assert_eq!(runtime.status().staged, None);
}

#[test]
fn a_decision_of_a_person_is_not_undone_by_a_source() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    runtime.swap(&pack(2)).unwrap();
    runtime.rollback().unwrap();
    assert_eq!(life(&runtime, 2).reason.as_deref(), Some("rolled back by hand"));
    let error = runtime.swap(&pack(2)).unwrap_err();
    assert!(matches!(&error, LoadError::Barred { reason, .. } if reason == "rolled back by hand"), "{error}");
    assert_eq!(runtime.generation().unwrap().manifest().revision, 1);
    runtime.swap(&pack(3)).unwrap();
    assert_eq!(runtime.generation().unwrap().manifest().revision, 3, "what is newer than that is news");

    runtime.stage(None, &pack(4)).unwrap();
    runtime.discard("it looked wrong").unwrap();
    assert!(matches!(runtime.swap(&pack(4)), Err(LoadError::Barred { .. })));
    assert!(matches!(runtime.promote(), Err(LoadError::NoStaged)));
    assert_eq!(runtime.swap_forced(&pack(4)).unwrap().manifest().revision, 4);
}

#[test]
fn what_was_staged_is_not_promoted_past_a_newer_one() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    runtime.stage(None, &pack(2)).unwrap();
    runtime.swap(&pack(3)).unwrap();
    assert!(matches!(runtime.promote(), Err(LoadError::Revision { active: 3, offered: 2, .. })));
}

#[test]
fn a_pack_that_is_right_by_its_examples_and_wrong_on_recent_records_is_refused() {
    let sampling = Sampling { records: 100, one_of: 1, ..Sampling::default() };
    let runtime = Runtime::builder().sampling(sampling).pack(&pack(1)).build().unwrap();
    let worse = Pack::from_toml(
        "worse.toml",
        &text(2).replace("{ add =", "{ map = \"/kind\", values = [[\"a\", \"b\"]], otherwise = \"refuse\" }, { add ="),
    )
    .unwrap();
    for number in 0..200 {
        let kind = if number == 150 { ",\"kind\":\"secret\"" } else { "" };
        runtime.sample(&Bytes::from(format!("{{\"room\":\"{number}\"{kind}}}")));
    }
    let error = runtime.swap(&worse).unwrap_err().to_string();
    assert!(error.contains("worse.toml: on recent records: version 1 to 2 is refused"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(runtime.generation().unwrap().manifest().revision, 1);
    runtime.swap(&pack(3)).unwrap();
    assert!(phases(&life(&runtime, 3)).contains(&"sampled"));
    // Of those who keep no records, none is asked.
    let blind = Runtime::new(&pack(1)).unwrap();
    blind.sample(&Bytes::from_static(b"{\"room\":\"1\",\"kind\":\"secret\"}"));
    blind.swap(&worse).unwrap();
}

#[test]
fn the_lives_of_what_is_gone_are_forgotten_in_time() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    for revision in 2..200 {
        runtime.swap(&pack(revision)).unwrap();
    }
    let lives = runtime.status().lives;
    assert!(lives.len() < 80, "{}", lives.len());
    assert_eq!(lives.iter().filter(|life| life.phase == Phase::Active).count(), 1);
    assert_eq!(runtime.stats().generations_alive, 2);
}
