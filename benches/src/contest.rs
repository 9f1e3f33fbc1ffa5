//! Variants of one operation, measured in turns, so that whatever else the machine does hits all of them alike.
//!
//! A turn is a batch of some hundred microseconds. The 10th percentile of the batches is the least disturbed figure
//! that repeats; ratios are those of the 10th percentiles, and the median of the ratios of turns that lie side by side.

use std::time::{Duration, Instant};

/// How long one turn of one variant takes.
const TURN: Duration = Duration::from_micros(200);

/// Variants that do the same.
pub struct Contest<'a> {
    subject: String,
    variants: Vec<Variant<'a>>,
}

struct Variant<'a> {
    name: String,
    run: Box<dyn FnMut() + 'a>,
}

/// What one variant needed.
#[derive(Clone, Debug)]
pub struct Timing {
    /// `subject/operation/variant`.
    pub name: String,
    /// The 10th percentile, in nanoseconds per run.
    pub p10: f64,
    /// The median, in nanoseconds per run.
    pub median: f64,
    /// Nanoseconds per run of each turn, in order.
    turns: Vec<f64>,
}

/// How two variants compare.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// Of the 10th percentiles.
    pub p10: f64,
    /// The median of the ratios of turns that lie side by side.
    pub median: f64,
}

impl<'a> Contest<'a> {
    /// A contest of `subject/operation`.
    pub fn new(subject: impl Into<String>) -> Contest<'a> {
        Contest { subject: subject.into(), variants: Vec::new() }
    }

    /// Adds a variant; `run` does the operation once and asserts its result.
    #[must_use]
    pub fn variant(mut self, name: &str, run: impl FnMut() + 'a) -> Contest<'a> {
        self.variants.push(Variant { name: format!("{}/{name}", self.subject), run: Box::new(run) });
        self
    }

    /// Measures all variants in turns for about so long in total.
    pub fn run(mut self, time: Duration) -> Vec<Timing> {
        let batches: Vec<u32> = self.variants.iter_mut().map(|variant| batch(&mut variant.run)).collect();
        let mut turns = vec![Vec::new(); self.variants.len()];
        let end = Instant::now() + time;
        // Twenty turns at least, should one alone take the time.
        while Instant::now() < end || turns.iter().any(|turns| turns.len() < 20) {
            for ((variant, batch), turns) in self.variants.iter_mut().zip(&batches).zip(&mut turns) {
                turns.push(nanoseconds(&mut variant.run, *batch) / f64::from(*batch));
            }
        }
        let timings = self.variants.into_iter().zip(turns).map(|(variant, turns)| Timing::new(variant.name, turns));
        timings.collect()
    }
}

impl Timing {
    /// The figures of these turns, in nanoseconds per run.
    pub fn new(name: String, turns: Vec<f64>) -> Timing {
        Timing { name, p10: quantile(&turns, 0.1), median: quantile(&turns, 0.5), turns }
    }

    /// This one ÷ another one of the same contest.
    pub fn over(&self, other: &Timing) -> Ratio {
        let pairs: Vec<f64> = self.turns.iter().zip(&other.turns).map(|(one, two)| one / two).collect();
        Ratio { p10: self.p10 / other.p10, median: quantile(&pairs, 0.5) }
    }
}

/// How many runs fill a turn.
fn batch(run: &mut dyn FnMut()) -> u32 {
    let mut runs = 1;
    while runs < 1 << 20 && nanoseconds(run, runs) < TURN.as_secs_f64() * 1e9 {
        runs *= 2;
    }
    runs
}

fn nanoseconds(run: &mut dyn FnMut(), runs: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        run();
    }
    start.elapsed().as_secs_f64() * 1e9
}

/// The value below which this share of the values lies; not a number without values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_quantiles_and_ratios_pair_turns() {
        let slow = Timing::new("slow".into(), (1..=101).map(f64::from).collect());
        let fast = Timing::new("fast".into(), (1..=101).map(|n| f64::from(n) / 2.0).collect());
        assert_eq!((slow.p10, slow.median), (11.0, 51.0));
        let ratio = slow.over(&fast);
        assert_eq!((ratio.p10, ratio.median), (2.0, 2.0));
    }
}
