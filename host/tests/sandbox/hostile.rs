//! Guests that turn hostile while they serve: the failure has a name, and the neighbours lose nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use unskew::{CallError, GuestFailure, Limits, Runtime, Stats, Version};

use crate::guest::{GROW, Guest, LOOP, RECURSE, TRAP, WILD};
use crate::{limits, pack, runtime};

const ONE: Version = Version(0);
const TWO: Version = Version(1);

fn failure(runtime: &Runtime) -> GuestFailure {
    let generation = runtime.generation().unwrap();
    match generation.translate(b"{}", b"", ONE, TWO) {
        Err(CallError::Guest(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn hostile(translate: &'static str) -> Runtime {
    runtime(&Guest { translate, ..Guest::HEALTHY })
}

#[test]
fn a_healthy_guest_answers() {
    let generation = runtime(&Guest::HEALTHY).generation().unwrap();
    assert_eq!(generation.manifest().name, "echo");
    assert_eq!(generation.detect(b"{}").unwrap().version, ONE);
    let answer = generation.translate(b"record", b"carry", ONE, TWO).unwrap();
    assert_eq!((&answer.record[..], &answer.carry[..]), (&b"record"[..], &b"carry"[..]));
    assert_eq!(generation.normalize(b"{}", b"", TWO).unwrap().changed, None);
    assert_eq!(generation.explain(b"{}", b"", ONE, TWO).unwrap(), []);
    assert_eq!(generation.test().unwrap(), []);
}

#[test]
fn a_guest_that_loops_is_stopped_at_the_end_of_its_cpu_budget() {
    let runtime = hostile(LOOP);
    let failure = failure(&runtime);
    assert_eq!(failure, GuestFailure::CpuBudget { budget: limits().cpu_base + limits().cpu_per_kib });
    assert_eq!(failure.to_string(), "cpu budget: the call used more than its 10200 µs of CPU time");
    assert_eq!(runtime.stats(), Stats { cpu_kills: 1, instances_dropped: 1, ..runtime.stats() });
}

#[test]
fn the_cpu_budget_grows_with_the_record() {
    let generation = hostile(LOOP).generation().unwrap();
    let Err(CallError::Guest(failure)) = generation.translate(&[b' '; 60 << 10], b"", ONE, TWO) else { panic!() };
    assert_eq!(failure, GuestFailure::CpuBudget { budget: limits().cpu_base + 60 * limits().cpu_per_kib });
}

#[test]
fn a_guest_that_traps_is_dropped() {
    let runtime = hostile(TRAP);
    assert!(matches!(failure(&runtime), GuestFailure::Trap(reason) if reason.contains("unreachable")));
    assert!(matches!(failure(&hostile(RECURSE)), GuestFailure::Trap(reason) if reason.contains("stack")));
    assert_eq!(runtime.stats(), Stats { traps: 1, instances_made: 1, instances_dropped: 1, ..runtime.stats() });
    failure(&runtime);
    assert_eq!(runtime.stats(), Stats { traps: 2, instances_made: 2, instances_dropped: 2, ..runtime.stats() });
}

#[test]
fn a_guest_that_grows_for_ever_ends_at_its_memory_limit() {
    let runtime = hostile(GROW);
    assert!(matches!(failure(&runtime), GuestFailure::Memory { wanted, limit: 4_194_304 } if wanted > 4 << 20));
    assert_eq!(runtime.stats().memory_kills, 1);
}

#[test]
fn the_memory_limit_follows_from_the_longest_record_that_the_pack_allows() {
    let guest = Guest { translate: GROW, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(guest.component()).pack(&pack()).build().unwrap();
    // 16 times max_bytes, which is 65,536 in the manifest, and 16 MiB.
    assert!(matches!(failure(&runtime), GuestFailure::Memory { limit, .. } if limit == 17 << 20));
}

#[test]
fn garbage_in_place_of_an_answer_is_called_so() {
    // The answer, or the record in it, lies beyond the memory; the discriminant is neither ok nor error.
    let beyond = "(i64.store (i32.const 256) (i64.const 0)) (i32.store (i32.const 260) (i32.const 0x7fff0000))
        (i32.store (i32.const 264) (i32.const 0x10000)) (i64.store (i32.const 268) (i64.const 0)) (i32.const 256)";
    let neither = "(i32.store (i32.const 256) (i32.const 77)) (i32.const 256)";
    let unaligned = "(i32.const 257)";
    let wrong_fault =
        "(i32.store (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 99)) (i32.const 256)";
    let bad_utf8 = "(i32.store (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 0))
        (i32.store8 (i32.const 512) (i32.const 0xff))
        (i32.store (i32.const 264) (i32.const 512)) (i32.store (i32.const 268) (i32.const 1)) (i32.const 256)";
    for garbage in [WILD, beyond, neither, unaligned, wrong_fault, bad_utf8] {
        let runtime = hostile(garbage);
        let failure = failure(&runtime);
        assert!(matches!(failure, GuestFailure::WrongAnswer(_) | GuestFailure::Trap(_)), "{garbage}: {failure}");
        assert_eq!(runtime.stats().instances_dropped, 1, "{garbage}");
    }
}

#[test]
fn a_version_that_does_not_exist_is_a_wrong_answer() {
    let guest = Guest {
        detect: "(i32.store (i32.const 256) (i32.const 0)) (i32.store (i32.const 260) (i32.const 7)) (i32.const 256)",
        ..Guest::HEALTHY
    };
    let runtime = runtime(&guest);
    let error = runtime.detect(b"{}").unwrap_err();
    assert!(matches!(error, CallError::Guest(GuestFailure::WrongAnswer(_))), "{error}");
    assert_eq!(error.as_str(), "wrong-answer");
    assert_eq!(runtime.stats().wrong_answers, 1);
}

/// An answer of a hundred million overlapping strings would cost the host gigabytes.
#[test]
fn an_answer_that_is_larger_than_its_memory_is_refused() {
    // 54,000 changes of 56 bytes, each with an op of 64 KiB that lies in the same place.
    let explain = "(local $at i32)
        (drop (memory.grow (i32.const 50)))
        (local.set $at (i32.const 131072))
        (loop $next
            (i32.store (local.get $at) (i32.const 8192))
            (i32.store offset=4 (local.get $at) (i32.const 65536))
            (local.set $at (i32.add (local.get $at) (i32.const 56)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 3200000))))
        (i32.store (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.const 131072)) (i32.store (i32.const 264) (i32.const 54000))
        (i32.const 256)";
    let generation = runtime(&Guest { explain, ..Guest::HEALTHY }).generation().unwrap();
    let error = generation.explain(b"{}", b"", ONE, TWO).unwrap_err();
    assert!(matches!(error, CallError::Guest(GuestFailure::WrongAnswer(_) | GuestFailure::Trap(_))), "{error}");
}

/// Each third call of the hostile generation fails in another way, while four threads call the healthy one and the
/// healthy exports of the hostile one.
#[test]
fn neighbours_of_a_hostile_guest_lose_nothing() {
    const MODES: &str = "(local $mode i32)
        (local.set $mode (i32.load8_u (local.get 0)))
        (if (i32.eq (local.get $mode) (i32.const 108)) (then (loop $again (br $again))))
        (if (i32.eq (local.get $mode) (i32.const 116)) (then (unreachable)))
        (if (i32.eq (local.get $mode) (i32.const 103)) (then
            (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0))))))
        (i32.const 0x7ffffff0)";
    let limits = Limits { cpu_base: Duration::from_millis(1), cpu_per_kib: Duration::ZERO, ..limits() };
    let guest = Guest { translate: MODES, ..Guest::HEALTHY };
    let hostile = Runtime::builder().guest(guest.component()).limits(limits).pack(&pack()).build().unwrap();
    let healthy = runtime(&Guest::HEALTHY);
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let (healthy, hostile) = (healthy.generation().unwrap(), hostile.generation().unwrap());
            let (stop, served) = (&stop, &served);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = healthy.translate(&[n; 100], &[n + 1; 50], ONE, TWO).unwrap();
                    assert_eq!((answer.record, answer.carry), (vec![n; 100], vec![n + 1; 50]));
                    assert_eq!(hostile.detect(b"{}").unwrap().version, ONE);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let victims = hostile.generation().unwrap();
        for _ in 0..100 {
            for (mode, kind) in [(b"l", "cpu-budget"), (b"t", "trap"), (b"g", "memory")] {
                assert_eq!(victims.translate(mode, b"", ONE, TWO).unwrap_err().as_str(), kind);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stats = hostile.stats();
    assert_eq!((stats.cpu_kills, stats.traps, stats.memory_kills, stats.instances_dropped), (100, 100, 100, 300));
    assert_eq!(healthy.stats().instances_dropped, 0);
    assert!(served.load(Ordering::Relaxed) > 1000);
}
