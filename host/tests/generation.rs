//! Generations with the standard guest: what is refused, what is kept, what comes back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use unskew::{CallError, Fidelity, Isolation, LoadError, Offload, Pack, Runtime};

const PACK: &str = include_str!("../../testdata/packs/opentok.toml");

fn opentok() -> Pack {
    Pack::from_toml("opentok.toml", PACK).unwrap()
}

/// The same rules under another revision and with another value for what is added.
fn revision(revision: u64, bitrate: u64) -> Pack {
    let text = PACK
        .replace("revision = 7", &format!("revision = {revision}"))
        .replace("value = 3000", &format!("value = {bitrate}"))
        .replace("\"bitrate\":3000", &format!("\"bitrate\":{bitrate}"))
        .replace("\"bitrate\": 3000", &format!("\"bitrate\": {bitrate}"));
    Pack::from_toml("opentok.toml", &text).unwrap()
}

const RECORD: &str = r#"{"sessionId":"s","createdAt":5,"mediaMode":"routed","legacyToken":"t","connections":[]}"#;

fn bitrate(runtime: &Runtime) -> u64 {
    let record = runtime.translate(RECORD.as_bytes(), b"", "1", "2").unwrap().record;
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    record["media"]["bitrate"].as_u64().unwrap()
}

fn records() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/records");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    assert!(files.len() > 4);
    files.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn an_empty_runtime_has_no_rules_until_a_pack_is_swapped_in() {
    let runtime = Runtime::empty().unwrap();
    assert!(runtime.generation().is_none());
    assert_eq!(runtime.detect(b"{}"), Err(CallError::NoPack));
    assert!(matches!(runtime.rollback(), Err(LoadError::NoPrevious)));
    runtime.swap(&opentok()).unwrap();
    assert_eq!(runtime.detect(RECORD.as_bytes()).unwrap(), "1");
    assert!(matches!(runtime.rollback(), Err(LoadError::NoPrevious)), "before the first pack there was none");
}

#[test]
fn a_record_goes_down_and_comes_back_as_it_was() {
    let runtime = Runtime::new(&opentok()).unwrap();
    for record in records() {
        let found = runtime.detect(&record).unwrap();
        let other = if found == "1" { "2" } else { "1" };
        let there = runtime.translate(&record, b"", &found, other).unwrap();
        assert_eq!(runtime.detect(&there.record).unwrap(), other);
        let back = runtime.translate(&there.record, &there.carry, other, &found).unwrap();
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(json(&back.record), json(&record));
        assert_eq!(runtime.normalize(&record, b"", &found).unwrap().changed, None);
        assert!(!runtime.explain(&record, b"", &found, other).unwrap().is_empty());
    }
}

#[test]
fn the_matrix_knows_every_pair() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let generation = runtime.generation().unwrap();
    let pairs: Vec<_> = generation.matrix().pairs().map(|(held, server, of)| (held.0, server.0, of.fidelity)).collect();
    assert_eq!(pairs.len(), 4);
    assert_eq!(runtime.judge("1", "2").unwrap().fidelity, Fidelity::Native, "servers of 2 read both");
    assert_eq!(runtime.judge("1", "1").unwrap().fidelity, Fidelity::Native);
    let down = runtime.judge("2", "1").unwrap();
    assert!(matches!(down.fidelity, Fidelity::Carried | Fidelity::Lossy), "{down:?}");
    assert!(!down.reason.is_empty());
    assert_eq!(runtime.judge("2", "3"), Err(CallError::UnknownVersion("3".into())));
}

#[test]
fn a_swap_is_seen_by_the_next_call_and_not_by_who_has_pinned() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let pinned = runtime.generation().unwrap();
    let next = runtime.swap(&revision(8, 4000)).unwrap();
    assert_eq!((pinned.manifest().revision, next.manifest().revision), (7, 8));
    assert_eq!(bitrate(&runtime), 4000);
    let old = pinned.translate(RECORD.as_bytes(), b"", pinned.version("1").unwrap(), pinned.version("2").unwrap());
    assert!(String::from_utf8(old.unwrap().record).unwrap().contains("3000"));
    assert!(next.id() > pinned.id());
    assert_eq!(runtime.stats().generations_alive, 2);
}

#[test]
fn a_swap_makes_as_many_instances_ahead_as_were_in_use() {
    let runtime = Runtime::new(&revision(7, 3000)).unwrap();
    let busy = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                busy.wait();
                (0..20_000).for_each(|_| _ = runtime.detect(RECORD.as_bytes()).unwrap());
            });
        }
    });
    let before = runtime.generation().unwrap().instances();
    let next = runtime.swap(&revision(8, 4000)).unwrap();
    assert!((before..=before + 1).contains(&next.instances()), "{before} before, {} after", next.instances());
    // A warm instance is small.
    bitrate(&runtime);
    assert!(next.warm().iter().all(|bytes| *bytes < 2 << 20), "{:?}", next.warm());
}

#[test]
fn the_same_content_is_no_swap() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let before = runtime.generation().unwrap();
    let commented = Pack::from_toml("other.toml", &format!("# reviewed\n{PACK}")).unwrap();
    assert!(Arc::ptr_eq(&before, &runtime.swap(&commented).unwrap()));
    assert_eq!(runtime.stats().swaps, 1);
}

#[test]
fn a_pack_that_is_not_newer_is_refused_unless_forced() {
    let runtime = Runtime::new(&revision(7, 3000)).unwrap();
    for revision_number in [6, 7] {
        let error = runtime.swap(&revision(revision_number, 1)).unwrap_err();
        let LoadError::Revision { active: 7, offered, .. } = error else { panic!("{error}") };
        assert_eq!(offered, revision_number);
    }
    assert_eq!(bitrate(&runtime), 3000);
    assert_eq!(runtime.stats().refused, 2);
    runtime.swap_forced(&revision(6, 1)).unwrap();
    assert_eq!(bitrate(&runtime), 1);
}

#[test]
fn a_roll_back_brings_the_previous_generation_and_a_second_one_undoes_it() {
    let runtime = Runtime::new(&revision(7, 3000)).unwrap();
    let first = runtime.generation().unwrap();
    runtime.swap(&revision(8, 4000)).unwrap();
    assert!(Arc::ptr_eq(&first, &runtime.rollback().unwrap()));
    assert_eq!(bitrate(&runtime), 3000);
    runtime.rollback().unwrap();
    assert_eq!(bitrate(&runtime), 4000);
    assert_eq!(runtime.stats().rollbacks, 2);
}

#[test]
fn only_the_active_and_the_previous_generation_live_on() {
    let runtime = Runtime::new(&revision(1, 1)).unwrap();
    for n in 2..30 {
        runtime.swap(&revision(n, n)).unwrap();
    }
    assert_eq!(runtime.stats().generations_alive, 2);
    assert_eq!(runtime.stats().swaps, 29);
}

#[test]
fn a_bad_pack_is_refused_with_all_of_its_problems_and_the_old_one_serves_on() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let bad = PACK
        .replace("revision = 7", "revision = 8")
        .replace("{ rename = \"/sessionId\"", "{ renam = \"/sessionId\"")
        .replace(
            "lower = \"unix-s\", upper = \"unix-ms\" },\n  { map",
            "lower = \"unix-s\", upper = \"unix-mss\" },\n  { map",
        )
        .replace("max_depth = 64", "max_dept = 64");
    let error = runtime.swap(&Pack::from_toml("opentok.toml", &bad).unwrap()).unwrap_err();
    let LoadError::Problems { problems, .. } = &error else { panic!("{error}") };
    let at = |needle: &str| {
        let line = bad.lines().position(|line| line.contains(needle)).unwrap() + 1;
        problems.iter().any(|problem| problem.place.is_some_and(|place| usize::try_from(place.line).unwrap() == line))
    };
    assert!(at("renam ="), "{error}");
    assert!(at("unix-mss"), "{error}");
    assert!(at("max_dept ="), "{error}");
    assert!(error.to_string().lines().all(|line| line.starts_with("opentok.toml:")), "{error}");
    assert_eq!(bitrate(&runtime), 3000);
}

#[test]
fn a_pack_that_fails_its_own_example_is_refused() {
    let wrong = PACK.replace("\"createdAt\":5000", "\"createdAt\":5001");
    let error = Runtime::new(&Pack::from_toml("opentok.toml", &wrong).unwrap()).map(|_| ()).unwrap_err();
    let LoadError::Examples { failures, .. } = &error else { panic!("{error}") };
    assert!(!failures.is_empty());
    assert!(error.to_string().starts_with("opentok.toml: example 1"), "{error}");
}

/// The answers of an instance that has seen everything, faults included, against those of instances that have seen
/// nothing: the same, to the byte.
#[test]
fn a_warm_instance_answers_as_a_fresh_one() {
    let runtime = |isolation| Runtime::builder().pack(&opentok()).isolation(isolation).build().unwrap();
    let [warm, fresh] = [Isolation::Warm, Isolation::Fresh].map(runtime);
    let mut inputs = records();
    let broken = inputs.iter().map(|record| record[..record.len() / 2].to_vec()).collect::<Vec<_>>();
    inputs.extend(broken);
    inputs.extend([b"".to_vec(), b"[]".to_vec(), b"{}".to_vec(), br#"{"schema":9}"#.to_vec(), b"\xff".to_vec()]);
    for _ in 0..3 {
        for input in &inputs {
            assert_eq!(warm.detect(input), fresh.detect(input));
            for to in ["1", "2"] {
                let answer = warm.normalize(input, b"", to);
                assert_eq!(answer, fresh.normalize(input, b"", to));
                if let Ok(Some(there)) = answer.map(|normal| normal.changed) {
                    let back = if to == "1" { "2" } else { "1" };
                    let [a, b] = [&warm, &fresh].map(|runtime| runtime.normalize(&there.record, &there.carry, back));
                    assert_eq!(a, b);
                }
            }
        }
    }
    assert_eq!(warm.stats().instances_made, 1);
    assert!(fresh.stats().instances_made > 100);
}

#[test]
fn nothing_of_one_record_shows_up_in_another() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let secret = RECORD.replace("\"t\"", "\"SECRET-OF-THE-FIRST\"").replace("\"s\"", "\"SECRET-OF-THE-FIRST\"");
    let up = runtime.translate(secret.as_bytes(), b"", "1", "2").unwrap();
    runtime.translate(&up.record, &up.carry, "2", "1").unwrap();
    runtime.detect(&secret.as_bytes()[..60]).unwrap_err();
    let mut answers = Vec::new();
    for record in records().iter().chain([&b"{\"sessionId\":".to_vec(), &b"{}".to_vec()]) {
        answers.push(format!("{:?}", runtime.detect(record)));
        for to in ["1", "2"] {
            match runtime.normalize(record, b"", to).map(|normal| normal.changed) {
                Ok(Some(there)) => {
                    answers.extend([there.record, there.carry].map(|bytes| String::from_utf8(bytes).unwrap()));
                }
                Ok(None) => {}
                Err(error) => answers.push(error.to_string()),
            }
        }
    }
    assert!(answers.len() > 10);
    assert!(answers.iter().all(|answer| !answer.contains("SECRET")));
}

#[tokio::test]
async fn large_records_run_on_the_blocking_lane_and_small_ones_in_place() {
    let runtime = Runtime::new(&opentok()).unwrap();
    let offload = Offload::new(2);
    let here = std::thread::current().id();
    let small = offload.run(1000, move || std::thread::current().id()).await;
    assert_eq!(small, here);
    for record in records() {
        let (runtime, bytes) = (runtime.clone(), record.clone());
        let (thread, found) =
            offload.run(record.len(), move || (std::thread::current().id(), runtime.detect(&bytes))).await;
        assert!(found.is_ok());
        assert_eq!(thread == here, record.len() <= unskew::INLINE_MAX_BYTES);
    }
}
