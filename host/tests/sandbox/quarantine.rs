//! A guest that keeps failing is put aside, and what served before takes over.

use std::time::{Duration, Instant};

use unskew::{Limits, Phase, Runtime, Version};

use super::guest::{GROW, Guest, LOOP, TRAP};
use super::{limits, pack};

const BOTH: [Version; 2] = [Version(0), Version(1)];

/// Fails at every twentieth byte-sized record or so, and at nothing else.
const SOMETIMES: &str = "(call $done)
    (if (i32.eq (local.get 1) (i32.const 7)) (then (unreachable)))
    (i32.store (i32.const 256) (i32.const 0))
    (i32.store (i32.const 260) (local.get 0)) (i32.store (i32.const 264) (local.get 1))
    (i32.store (i32.const 268) (local.get 2)) (i32.store (i32.const 272) (local.get 3))
    (i32.store (i32.const 276) (i32.const 0)) (i32.store (i32.const 280) (i32.const 0))
    (i32.store (i32.const 284) (i32.const 0)) (i64.store (i32.const 288) (i64.const 0))
    (i32.store (i32.const 296) (i32.const 0))
    (i32.const 256)";

/// A runtime that serves with a healthy guest, and then with this one.
fn swapped(translate: &'static str, limits: Limits) -> Runtime {
    let runtime = Runtime::builder().guest(Guest::HEALTHY.component()).limits(limits).pack(&pack()).build().unwrap();
    let hostile = Guest { translate, ..Guest::HEALTHY };
    // Manifests of these guests all say revision 1.
    runtime.swap_guest_forced(hostile.component(), &pack()).unwrap();
    runtime
}

fn fails(runtime: &Runtime, record: &[u8]) -> bool {
    let [from, to] = BOTH;
    runtime.generation().unwrap().translate(record, b"", from, to).is_err()
}

#[test]
fn a_guest_that_keeps_failing_is_put_aside_after_twenty_failures_and_the_last_good_one_takes_over() {
    for translate in [TRAP, LOOP, GROW] {
        let runtime = swapped(translate, Limits { cpu_base: Duration::from_millis(2), ..limits() });
        let [first, second] = [1, 2].map(|back| runtime.status().lives[2 - back].id);
        let began = Instant::now();
        let failed = (0..100).filter(|_| fails(&runtime, b"{}")).count();
        assert_eq!(failed, 20, "the twenty-first is answered by the guest before");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let status = runtime.status();
        assert_eq!((status.active, status.previous), (Some(second.min(first)), None));
        assert_eq!(runtime.stats().quarantines, 1);
        let life = status.lives.last().unwrap();
        assert_eq!(life.phase, Phase::Freed, "nobody holds it any more");
        assert!(life.reason.as_ref().unwrap().starts_with("its guest failed 20 times within 60 s"), "{life:?}");
    }
}

#[test]
fn neighbours_of_a_guest_that_fails_now_and_then_lose_nothing_and_it_is_put_aside_all_the_same() {
    let runtime = swapped(SOMETIMES, limits());
    let mut failed = 0;
    for number in 0..5000 {
        let hostile = number % 100 == 0;
        let record: &[u8] = if hostile { b"{\"a\":1}" } else { b"{}" };
        match (hostile, fails(&runtime, record)) {
            (_, false) => {}
            (true, true) => failed += 1,
            (false, true) => panic!("an innocent one failed"),
        }
    }
    assert_eq!((failed, runtime.stats().quarantines), (20, 1));
}

#[test]
fn failures_that_lie_far_apart_put_nothing_aside() {
    let runtime = swapped(TRAP, Limits { failures_within: Duration::from_millis(20), ..limits() });
    for _ in 0..25 {
        assert!(fails(&runtime, b"{}"));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(runtime.stats().quarantines, 0);
}

#[test]
fn without_anything_to_go_back_to_it_serves_on_and_status_says_so() {
    let hostile = Guest { translate: TRAP, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(hostile.component()).limits(limits()).pack(&pack()).build().unwrap();
    assert_eq!((0..50).filter(|_| fails(&runtime, b"{}")).count(), 50);
    let life = runtime.status().lives.pop().unwrap();
    assert_eq!((life.phase, runtime.stats().quarantines), (Phase::Active, 0));
    assert!(life.reason.unwrap().ends_with("there is nothing to go back to"));
}

#[test]
fn what_was_put_aside_is_taken_again_by_force_alone() {
    let runtime = swapped(TRAP, limits());
    let hostile = Guest { translate: TRAP, ..Guest::HEALTHY }.component();
    (0..20).for_each(|_| assert!(fails(&runtime, b"{}")));
    let error = runtime.swap_guest(&hostile, &pack()).unwrap_err().to_string();
    assert!(error.starts_with("pack: it was put aside (its guest failed 20 times"), "{error}");
    assert!(!fails(&runtime, b"{}"));
    runtime.swap_guest_forced(&hostile, &pack()).unwrap();
    assert!(fails(&runtime, b"{}"));
}
