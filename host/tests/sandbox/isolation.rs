//! One call and the next: what instances keep, what they may not, and what happens when there are none left.

use std::sync::Barrier;
use std::time::Duration;

use unskew::{CallError, GuestFailure, Isolation, Limits, Runtime, Version};

use crate::guest::Guest;
use crate::{limits, pack, runtime};

const ONE: Version = Version(0);
const TWO: Version = Version(1);

/// Counts its calls in a global and answers with the count: a guest that breaks the contract's word that calls are
/// pure, which makes it a detector of shared instances.
const COUNTING: Guest = Guest {
    fields: "(global $calls (mut i32) (i32.const 0))",
    translate: "(call $done)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 512) (global.get $calls))
        (i32.store (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.const 512)) (i32.store (i32.const 264) (i32.const 1))
        (i64.store (i32.const 268) (i64.const 0)) (i64.store (i32.const 276) (i64.const 0))
        (i32.store (i32.const 284) (i32.const 0)) (i64.store (i32.const 288) (i64.const 0))
        (i32.store (i32.const 296) (i32.const 0))
        (i32.const 256)",
    ..Guest::HEALTHY
};

fn counts(runtime: &Runtime) -> Vec<u8> {
    let generation = runtime.generation().unwrap();
    (0..3).map(|_| generation.translate(b"{}", b"", ONE, TWO).unwrap().record[0]).collect()
}

#[test]
fn a_warm_instance_is_used_again_and_a_fresh_one_never() {
    let warm = runtime(&COUNTING);
    assert_eq!(counts(&warm), [1, 2, 3]);
    assert_eq!(warm.stats().instances_made, 1);

    let fresh = Runtime::builder()
        .guest(COUNTING.component())
        .limits(limits())
        .isolation(Isolation::Fresh)
        .pack(&pack())
        .build()
        .unwrap();
    assert_eq!(counts(&fresh), [1, 1, 1]);
}

#[test]
fn an_instance_that_has_grown_large_is_not_kept() {
    let grow = "(drop (memory.grow (i32.const 150)))
        (i64.store (i32.const 256) (i64.const 0)) (i32.const 256)"; // 9.6 MiB
    let guest = Guest { detect: grow, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(guest.component()).pack(&pack()).build().unwrap();
    for call in 1..=3 {
        runtime.detect(b"{}").unwrap();
        assert_eq!(runtime.stats().instances_recycled, call);
    }
    assert_eq!(runtime.stats().instances_dropped, 0);
}

#[test]
fn a_call_waits_for_an_instance_but_not_for_ever() {
    let busy = "(loop $again (br $again)) (unreachable)";
    let limits =
        Limits { instances: 1, wait: Duration::from_millis(20), cpu_base: Duration::from_millis(300), ..limits() };
    let guest = Guest { translate: busy, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(guest.component()).limits(limits).pack(&pack()).build().unwrap();
    let (generation, started) = (runtime.generation().unwrap(), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            started.wait();
            assert_eq!(generation.translate(b"{}", b"", ONE, TWO).unwrap_err().as_str(), "cpu-budget");
        });
        started.wait();
        // Until the other thread holds the one instance, this one gets it.
        let error = loop {
            if let Err(error) = generation.detect(b"{}") {
                break error;
            }
            std::thread::sleep(Duration::from_millis(1)); // or the other one never gets its turn
        };
        let expected = GuestFailure::PoolExhausted { instances: 1, waited: Duration::from_millis(20) };
        assert_eq!(error, CallError::Guest(expected));
        assert_eq!(
            error.to_string(),
            "guest failed: pool exhausted: all 1 instances were busy for 20 ms: allow more instances"
        );
    });
    assert_eq!(runtime.stats().pool_exhausted, 1);
    generation.detect(b"{}").unwrap();
}

#[test]
fn more_threads_than_instances_share_them_and_all_are_served() {
    let limits = Limits { instances: 2, wait: Duration::from_secs(30), ..limits() };
    let runtime = Runtime::builder().guest(Guest::HEALTHY.component()).limits(limits).pack(&pack()).build().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8u8 {
            let generation = runtime.generation().unwrap();
            scope.spawn(move || {
                for _ in 0..5_000 {
                    assert_eq!(generation.translate(&[n; 64], b"", ONE, TWO).unwrap().record, [n; 64]);
                }
            });
        }
    });
    let stats = runtime.stats();
    assert!(stats.instances_made <= 2, "{stats:?}");
    assert_eq!(stats.pool_exhausted, 0);
}
