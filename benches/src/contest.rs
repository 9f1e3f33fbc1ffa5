//! Variants of one operation, measured in turns, so that whatever else the machine does hits all of them alike.
//!
//! A turn is a batch of some hundred microseconds. The 10th percentile of the batches is the least disturbed figure
//! that repeats; ratios are those of the 10th percentiles, and the median of the ratios of turns that lie side by side.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How long one turn of one variant takes.
const TURN: Duration = Duration::from_micros(200);

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// Every variant once, so that its result is asserted; the figures say nothing.
    Smoke,
    /// For about so long, and twenty turns at least.
    For(Duration),
}

/// Variants that do the same.
pub struct Contest<'a> {
    subject: String,
    variants: Vec<(String, Run<'a>)>,
}

/// So many runs, each with its result asserted; returns the nanoseconds that they took together.
pub type Run<'a> = Box<dyn FnMut(u32) -> Result<f64> + 'a>;

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

impl Effort {
    /// What the command line says: `smoke`, or seconds per contest, or else so many.
    pub fn said(otherwise: f64) -> Effort {
        let said = std::env::args().skip(1).find_map(|argument| match argument.as_str() {
            "smoke" => Some(Effort::Smoke),
            other => other.parse().ok().map(|seconds| Effort::For(Duration::from_secs_f64(seconds))),
        });
        said.unwrap_or(Effort::For(Duration::from_secs_f64(otherwise)))
    }

    /// This share of it.
    #[must_use]
    pub fn share(self, share: f64) -> Effort {
        match self {
            Effort::Smoke => Effort::Smoke,
            Effort::For(time) => Effort::For(time.mul_f64(share)),
        }
    }
}

impl<'a> Contest<'a> {
    /// A contest of `subject/operation`.
    pub fn new(subject: impl Into<String>) -> Contest<'a> {
        Contest { subject: subject.into(), variants: Vec::new() }
    }

    /// Adds a variant.
    #[must_use]
    pub fn variant(mut self, name: &str, run: Run<'a>) -> Contest<'a> {
        self.variants.push((format!("{}/{name}", self.subject), run));
        self
    }

    /// The variants with their names, for somebody else to measure.
    pub fn into_variants(self) -> Vec<(String, Run<'a>)> {
        self.variants
    }

    /// Measures all variants in turns.
    ///
    /// # Errors
    /// If a variant fails.
    pub fn run(mut self, effort: Effort) -> Result<Vec<Timing>> {
        let mut batches = Vec::new();
        for (_, run) in &mut self.variants {
            batches.push(batch(run, effort)?);
        }
        let (time, least) = match effort {
            Effort::Smoke => (Duration::ZERO, 1),
            Effort::For(time) => (time, 20),
        };
        let mut turns = vec![Vec::new(); self.variants.len()];
        let end = Instant::now() + time;
        while Instant::now() < end || turns.iter().any(|turns| turns.len() < least) {
            for (((_, run), batch), turns) in self.variants.iter_mut().zip(&batches).zip(&mut turns) {
                turns.push(run(*batch)? / f64::from(*batch));
            }
        }
        Ok(self.variants.into_iter().zip(turns).map(|((name, _), turns)| Timing::new(name, turns)).collect())
    }
}

impl Timing {
    /// The figures of these turns, in nanoseconds per run.
    pub fn new(name: String, turns: Vec<f64>) -> Timing {
        Timing { name, p10: quantile(&turns, 0.1), median: quantile(&turns, 0.5), turns }
    }

    /// The variant's own name.
    pub fn variant(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// This one ÷ another one of the same contest.
    pub fn over(&self, other: &Timing) -> Ratio {
        let pairs: Vec<f64> = self.turns.iter().zip(&other.turns).map(|(one, two)| one / two).collect();
        Ratio { p10: self.p10 / other.p10, median: quantile(&pairs, 0.5) }
    }
}

/// Runs of a closure that does the operation once and asserts its result.
pub fn timed<'a>(mut once: impl FnMut() + 'a) -> Run<'a> {
    Box::new(move |runs| {
        let start = Instant::now();
        for _ in 0..runs {
            once();
        }
        Ok(start.elapsed().as_secs_f64() * 1e9)
    })
}

/// The value below which this share of the values lies; not a number without values.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// How many runs fill a turn.
fn batch(run: &mut Run<'_>, effort: Effort) -> Result<u32> {
    let mut runs = 1;
    while effort != Effort::Smoke && runs < 1 << 20 && run(runs)? < TURN.as_secs_f64() * 1e9 {
        runs *= 2;
    }
    Ok(runs)
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

    #[test]
    fn variants_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let note = |letter| {
            let order = &order;
            timed(move || order.borrow_mut().push(letter))
        };
        let timings = Contest::new("s").variant("a", note('a')).variant("b", note('b')).run(Effort::Smoke);
        assert_eq!(timings.map(|timings| timings[1].name.clone()).ok().as_deref(), Some("s/b"));
        assert_eq!(*order.borrow(), "ab");
    }
}
