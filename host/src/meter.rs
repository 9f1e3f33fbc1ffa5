//! What a generation has done: per pair of versions, with how long it took, and what failed by kind.
//!
//! It is written by who translates for traffic (the gateway), once a call, so that dry runs and checks don't count.
//! Pairs get their counters when they are first met: a pack of forty versions has sixteen hundred pairs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::contract::{Counts, Version};
use crate::router::Tier;

/// Upper bounds of the latency histogram: 250 ns, doubled sixteen times, which is 16 ms.
const BOUNDS: usize = 17;
const FIRST_BOUND: u64 = 250;

/// The counters of one generation.
pub(crate) struct Meter {
    versions: usize,
    pairs: Box<[OnceLock<Box<Pair>>]>,
    failed: Mutex<BTreeMap<&'static str, u64>>,
    tiers: [AtomicU64; Tier::ALL.len()],
}

#[derive(Default)]
struct Pair {
    carried: AtomicU64,
    restored: AtomicU64,
    lost: AtomicU64,
    nanoseconds: AtomicU64,
    /// By bound; the last one has what is above all of them.
    took: [AtomicU64; BOUNDS + 1],
}

/// What was counted of one pair.
pub(crate) struct Reading {
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) translations: u64,
    pub(crate) carried: u64,
    pub(crate) restored: u64,
    pub(crate) lost: u64,
    pub(crate) seconds: f64,
    /// Upper bound in seconds, and how many translations took no longer.
    pub(crate) took: Vec<(f64, u64)>,
}

/// All calls together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Total {
    /// Those that went well and those that failed.
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    /// What those that went well took.
    pub(crate) seconds: f64,
}

impl Total {
    /// What has come since then.
    pub(crate) fn since(&self, before: &Total) -> Total {
        Total {
            calls: self.calls.saturating_sub(before.calls),
            failed: self.failed.saturating_sub(before.failed),
            seconds: self.seconds - before.seconds,
        }
    }
}

impl Meter {
    /// All pairs together.
    pub(crate) fn total(&self) -> Total {
        let failed = self.failures().values().sum();
        let well = |(calls, seconds), pair: Reading| (calls + pair.translations, seconds + pair.seconds);
        let (calls, seconds) = self.pairs().fold((0, 0.0), well);
        Total { calls: calls + failed, failed, seconds }
    }

    pub(crate) fn new(versions: usize) -> Meter {
        let pairs = (0..versions * versions).map(|_| OnceLock::new()).collect();
        Meter { versions, pairs, failed: Mutex::default(), tiers: Default::default() }
    }

    /// A translation that went well.
    pub(crate) fn translated(&self, (from, to): (Version, Version), counts: Counts, took: Duration) {
        let Some(pair) = self.pairs.get(from.index() * self.versions + to.index()) else { return };
        let pair = pair.get_or_init(Box::default);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for (counter, many) in
            [(&pair.carried, counts.carried), (&pair.restored, counts.restored), (&pair.lost, counts.lost)]
        {
            if many > 0 {
                counter.fetch_add(many.into(), Ordering::Relaxed);
            }
        }
        pair.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        let bucket = bounds().position(|bound| nanoseconds <= bound).unwrap_or(BOUNDS);
        pair.took[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// A call that gave no answer, by the kind of fault or failure.
    pub(crate) fn failed(&self, kind: &'static str) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// A request that was routed in this tier.
    pub(crate) fn routed(&self, tier: Tier) {
        self.tiers[tier as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The pairs that have been met.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Reading> {
        let version = |index: usize| Version(u16::try_from(index).unwrap_or(u16::MAX));
        self.pairs.iter().enumerate().filter_map(move |(index, pair)| {
            let pair = pair.get()?;
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let mut sum = 0;
            let took: Vec<u64> = pair.took.iter().map(read).collect();
            let cumulative = bounds().zip(&took).map(|(bound, many)| {
                sum += many;
                (Duration::from_nanos(bound).as_secs_f64(), sum)
            });
            let cumulative = cumulative.collect();
            Some(Reading {
                from: version(index / self.versions),
                to: version(index % self.versions),
                translations: took.iter().sum(),
                carried: read(&pair.carried),
                restored: read(&pair.restored),
                lost: read(&pair.lost),
                seconds: Duration::from_nanos(read(&pair.nanoseconds)).as_secs_f64(),
                took: cumulative,
            })
        })
    }

    /// How many calls failed, by kind.
    pub(crate) fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were routed in each tier.
    pub(crate) fn tiers(&self) -> BTreeMap<&'static str, u64> {
        Tier::ALL.iter().map(|tier| (tier.as_str(), self.tiers[*tier as usize].load(Ordering::Relaxed))).collect()
    }
}

fn bounds() -> impl Iterator<Item = u64> {
    (0..BOUNDS).map(|power| FIRST_BOUND << power)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_translation_is_in_the_first_bucket_that_holds_it_and_in_all_above() {
        let meter = Meter::new(2);
        let pair = (Version(0), Version(1));
        let counts = Counts { carried: 2, ..Counts::default() };
        for nanoseconds in [250, 251, 20_000_000] {
            meter.translated(pair, counts, Duration::from_nanos(nanoseconds));
        }
        let read = meter.pairs().next().unwrap();
        assert_eq!((read.from, read.to, read.translations, read.carried), (pair.0, pair.1, 3, 6));
        assert_eq!(&read.took[..2], [(0.000_000_25, 1), (0.000_000_5, 2)]);
        assert_eq!(read.took.last().unwrap().1, 2, "what took longer than all bounds is in none");
        assert_eq!(meter.pairs().count(), 1);
    }
}
