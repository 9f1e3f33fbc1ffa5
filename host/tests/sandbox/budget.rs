//! The CPU budget stops runaways and never kills an innocent call, however crowded the machine is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unskew::{Limits, Runtime, Version};

use crate::guest::{Guest, LOOP};
use crate::{limits, pack};

/// What each call is allowed here: more than it needs by far, less than a thread that has to wait for its turn waits.
const BUDGET: Duration = Duration::from_millis(2);
const THREADS: u64 = 8;
const CALLS: u64 = 200_000;

/// A round of honest work, some microseconds: `detect` counts to 2,000.
const WORK: &str = "(local $n i32)
    (loop $next
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $n) (i32.const 2000))))
    (call $done)
    (i64.store (i32.const 256) (i64.const 0)) (i32.const 256)";

/// Four threads to a core on two cores. The control is what a deadline by the clock would have done: it counts the
/// calls that took longer than the budget by the clock, which are those that it would have killed. They all ended
/// well, and there must have been some, else the machine was not crowded and the test shows nothing.
#[test]
fn of_200_000_calls_on_crowded_threads_none_is_killed() {
    let limits = Limits { cpu_base: BUDGET, cpu_per_kib: Duration::ZERO, ..limits() };
    let guest = Guest { detect: WORK, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(guest.component()).limits(limits).pack(&pack()).build().unwrap();
    let threads = THREADS.max(4 * u64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
    let (done, late) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let generation = runtime.generation().unwrap();
            let (done, late) = (&done, &late);
            scope.spawn(move || {
                while done.fetch_add(1, Ordering::Relaxed) < CALLS || late.load(Ordering::Relaxed) == 0 {
                    let began = Instant::now();
                    let answer = generation.detect(b"{}");
                    if began.elapsed() > BUDGET {
                        late.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(answer.unwrap().version, Version(0));
                }
            });
        }
    });
    let stats = runtime.stats();
    assert_eq!((stats.cpu_kills, stats.instances_dropped), (0, 0), "{stats:?}");
    let late = late.into_inner();
    println!(
        "{} calls, {late} would have been killed by the clock, {} looked at and let go on",
        done.into_inner(),
        stats.cpu_pardons
    );
    assert!(late > 0);
}

#[test]
fn a_runaway_is_stopped_soon_even_on_crowded_threads() {
    let limits = Limits { cpu_base: BUDGET, cpu_per_kib: Duration::ZERO, ..limits() };
    let guest = Guest { detect: LOOP, ..Guest::HEALTHY };
    let runtime = Runtime::builder().guest(guest.component()).limits(limits).pack(&pack()).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let generation = runtime.generation().unwrap();
            scope.spawn(move || {
                for _ in 0..5 {
                    let before = thread_cpu();
                    assert_eq!(generation.detect(b"{}").unwrap_err().as_str(), "cpu-budget");
                    let used = thread_cpu() - before;
                    // The budget, a tick until the first look, a tick until the last, and what making an instance takes;
                    // where the thread that ticks waits for a core, more.
                    assert!(used >= BUDGET && used < 50 * BUDGET, "{used:?}");
                }
            });
        }
    });
    assert_eq!(runtime.stats().cpu_kills, 5 * THREADS);
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}
