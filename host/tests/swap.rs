//! Packs are swapped under load, ten times a second for thirty seconds: no call fails, no request sees two packs,
//! nothing grows, and a request costs no more CPU time than it does between swaps.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unskew::{CallError, Generation, Pack, Runtime};

/// A pack that says its revision in two places of each record, with fifty ops beside.
fn pack(revision: u64) -> Pack {
    let others: String = (0..50).map(|n| format!("{{ rename = \"/old{n}\", to = \"new{n}\" }},\n")).collect();
    let text = format!(
        r#"
        name = "swapped"
        revision = {revision}
        version = [
            {{ id = "1", marker = {{ path = "/schema", absent = true }} }},
            {{ id = "2", marker = {{ path = "/schema", value = 2 }} }},
        ]
        [[step]]
        from = "1"
        to = "2"
        ops = [
            {{ add = "/first", value = {revision} }},
            {others}
            {{ add = "/second", value = {revision} }},
        ]
        [[example]]
        lower = '{{"a":1}}'
        upper = '{{"a":1,"first":{revision},"second":{revision},"schema":2}}'
        "#
    );
    Pack::from_toml("swapped.toml", &text).unwrap()
}

/// One request: two halves of it are answered by what `pinned` gives for each. Right is one generation for both.
fn request(pinned: &impl Fn() -> [std::sync::Arc<Generation>; 2]) -> Result<[u64; 4], CallError> {
    let [first, second] = pinned();
    let half = |generation: &Generation| {
        let to = generation.version("2").unwrap();
        let there = generation.normalize(br#"{"a":1,"old7":"x"}"#, b"", to)?.changed.unwrap();
        let record: serde_json::Value = serde_json::from_slice(&there.record).unwrap();
        assert_eq!(record["new7"], "x");
        Ok::<_, CallError>([record["first"].as_u64().unwrap(), record["second"].as_u64().unwrap()])
    };
    let ([a, b], [c, d]) = (half(&first)?, half(&second)?);
    Ok([a, b, c, d])
}

struct Outcome {
    requests: u64,
    failed: u64,
    mixed: u64,
    swaps: u64,
    /// Resident bytes once everything was warm, and at the end.
    resident: [u64; 2],
    slowest_swap: Duration,
}

/// Four threads with requests in flight all the time, one that swaps.
fn under_load(
    runtime: &Runtime,
    lasting: Duration,
    pinned: impl Fn() -> [std::sync::Arc<Generation>; 2] + Sync,
) -> Outcome {
    let (stop, requests, failed, mixed) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (mut swaps, mut warm, mut slowest_swap) = (0, 0, Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    requests.fetch_add(1, Ordering::Relaxed);
                    match request(&pinned) {
                        Ok(seen) if seen.iter().all(|revision| *revision == seen[0]) => {}
                        Ok(_) => _ = mixed.fetch_add(1, Ordering::Relaxed),
                        Err(_) => _ = failed.fetch_add(1, Ordering::Relaxed),
                    }
                }
            });
        }
        let began = Instant::now();
        // Ten a second, however long the machine takes for them, within reason.
        let wanted = lasting.as_secs() * 10;
        while began.elapsed() < lasting || (swaps < wanted && began.elapsed() < lasting * 2) {
            let next = runtime.generation().unwrap().manifest().revision + 1;
            let pack = pack(next);
            let pushed = Instant::now();
            runtime.swap(&pack).unwrap();
            slowest_swap = slowest_swap.max(pushed.elapsed());
            swaps += 1;
            if warm == 0 && began.elapsed() > lasting / 5 {
                warm = resident();
            }
            std::thread::sleep(Duration::from_millis(100).saturating_sub(pushed.elapsed()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let [requests, failed, mixed] = [requests, failed, mixed].map(AtomicU64::into_inner);
    Outcome { requests, failed, mixed, swaps, resident: [warm, resident()], slowest_swap }
}

/// How long; `make soak` says more.
fn seconds() -> u64 {
    std::env::var("UNSKEW_SWAP_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(30)
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// On-CPU times of requests in microseconds, in order: how long a thread waited for its turn says more of the machine.
struct Costs(Vec<u32>);

impl Costs {
    /// What requests cost on two threads for so long; each of them may do `more` first.
    fn of(runtime: &Runtime, lasting: Duration, more: impl Fn(u64) + Sync) -> Costs {
        let all = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (began, mut costs) = (Instant::now(), Vec::new());
                    while began.elapsed() < lasting {
                        let before = on_cpu();
                        more(costs.len() as u64);
                        let generation = runtime.generation().unwrap();
                        request(&|| [generation.clone(), generation.clone()]).unwrap();
                        costs.push((on_cpu() - before).as_micros() as u32);
                    }
                    all.lock().unwrap().extend(costs);
                });
            }
        });
        let mut all = all.into_inner().unwrap();
        all.sort_unstable();
        Costs(all)
    }

    fn percentile(&self, percent: f64) -> u32 {
        self.0[((self.0.len() - 1) as f64 * percent / 100.0) as usize]
    }

    /// Why these are more than swaps may cost, against those without.
    fn excess(&self, without: &Costs) -> Option<String> {
        let allowed = [(99.0, 5_000), (99.9, 20_000)];
        let over = |(percent, more): (f64, u32)| {
            let (with, without) = (self.percentile(percent), without.percentile(percent));
            (with > without + more).then(|| format!("p{percent}: {with} µs, {without} µs without swaps"))
        };
        allowed.into_iter().find_map(over)
    }
}

fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn swaps_cost_requests_nothing() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    let lasting = Duration::from_secs(3);
    let without = Costs::of(&runtime, lasting, |_| {});
    let stop = AtomicBool::new(false);
    let with = std::thread::scope(|scope| {
        scope.spawn(|| {
            for revision in 2.. {
                runtime.swap(&pack(revision)).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let with = Costs::of(&runtime, lasting, |_| {});
        stop.store(true, Ordering::Relaxed);
        with
    });
    let show = |costs: &Costs| [50.0, 99.0, 99.9].map(|percent| costs.percentile(percent));
    println!("on-CPU time of a request in µs, p50, p99, p99.9: {:?}, {:?} without swaps", show(&with), show(&without));
    assert_eq!(with.excess(&without), None);
    // The comparison isn't blind: here every fiftieth request builds a generation on its own thread.
    let other = pack(7);
    let control = Costs::of(&runtime, Duration::from_secs(1), |number| {
        if number.is_multiple_of(50) {
            (0..20).for_each(|_| drop(Runtime::new(&other).unwrap()));
        }
    });
    assert!(control.excess(&without).is_some(), "{:?}", show(&control));
}

/// All in one test, since they share a process whose memory is measured.
#[test]
fn swaps_under_load_lose_nothing_mix_nothing_and_keep_nothing() {
    let runtime = Runtime::new(&pack(1)).unwrap();
    let outcome = under_load(&runtime, Duration::from_secs(seconds()), || {
        let generation = runtime.generation().unwrap();
        [generation.clone(), generation]
    });
    let Outcome { requests, failed, mixed, swaps, resident: [warm, end], slowest_swap } = outcome;
    println!("{requests} requests, {swaps} swaps, slowest {slowest_swap:?}, resident {warm} to {end} bytes");
    assert!(requests > 10_000 && swaps > 100, "{requests} requests, {swaps} swaps");
    assert_eq!((failed, mixed), (0, 0));
    assert!(end < warm + warm / 20 + (4 << 20), "{warm} to {end} bytes");
    assert_eq!(runtime.stats().generations_alive, 2);
    assert_eq!((runtime.stats().instances_dropped, runtime.stats().pool_exhausted), (0, 0));

    // The same checker, held against a gateway that asks for the generation twice in a request.
    let broken = under_load(&runtime, Duration::from_secs(3), || {
        let first = runtime.generation().unwrap();
        std::thread::yield_now();
        [first, runtime.generation().unwrap()]
    });
    assert!(broken.mixed > 0, "the checker is blind: {} requests, {} swaps", broken.requests, broken.swaps);

    // Were old generations held by somebody, it would be seen.
    let pin = |_| {
        let next = runtime.generation().unwrap().manifest().revision + 1;
        runtime.swap(&pack(next)).unwrap()
    };
    let held: Vec<_> = (0..20).map(pin).collect();
    assert!(runtime.stats().generations_alive >= 20);
    drop(held);
    assert_eq!(runtime.stats().generations_alive, 2);

    swaps_cost_requests_nothing();
}
