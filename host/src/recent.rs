//! A few records that went by lately, for new generations to be tried on. In memory alone, bounded, off by default.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::CallError;
use crate::generation::Generation;
use crate::laws::{Counting, Laws};

/// How many records are kept, and how long a trial on them may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// The most records; 0 keeps none.
    pub records: usize,
    /// The most bytes of all of them.
    pub bytes: usize,
    /// One of so many records that go by is kept.
    pub one_of: u64,
    /// How long a new generation is tried on them; what is left then is skipped.
    pub time: Duration,
}

impl Default for Sampling {
    /// No records. 1 MiB, one of 64, and a second, should there be any.
    fn default() -> Sampling {
        Sampling { records: 0, bytes: 1 << 20, one_of: 64, time: Duration::from_secs(1) }
    }
}

/// The records.
pub(crate) struct Recent {
    sampling: Sampling,
    seen: AtomicU64,
    kept: Mutex<VecDeque<Bytes>>,
}

impl Recent {
    pub(crate) fn new(sampling: Sampling) -> Recent {
        Recent { sampling, seen: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Keeps a record if it is its turn; the oldest go for it.
    pub(crate) fn offer(&self, record: &Bytes) {
        let Sampling { records, bytes, one_of, .. } = self.sampling;
        if records == 0 || record.len() > bytes {
            return;
        }
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_of.max(1)) {
            return;
        }
        // A copy of its own: a slice would keep the whole request alive.
        let record = Bytes::copy_from_slice(record);
        // Whoever finds somebody else at it leaves it to them: no request waits for a sample.
        let Ok(mut kept) = self.kept.try_lock() else { return };
        kept.push_back(record);
        while kept.len() > records || kept.iter().map(Bytes::len).sum::<usize>() > bytes {
            kept.pop_front();
        }
    }

    /// What is wrong with a new generation by these records, each thing once and without a word of any record: laws
    /// that don't hold, and records that the active one translates and the new one refuses. And on how many it was tried.
    pub(crate) fn trial(&self, new: &Generation, active: Option<&Generation>) -> (usize, BTreeSet<String>) {
        let records: Vec<Bytes> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let mut wrong = BTreeSet::new();
        let end = Instant::now() + self.sampling.time;
        let mut tried = 0;
        for record in &records {
            if Instant::now() > end {
                break;
            }
            tried += 1;
            let recorded = vec![(String::new(), record.to_vec())];
            let laws = Laws::new(new, new.pack().json()).cases(0).counting(Counting::Off).recorded(recorded);
            for broken in laws.run(&mut |_| ()).broken {
                let op = broken.op.map(|op| format!(", {op}")).unwrap_or_default();
                wrong.insert(format!("version {} to {}: law {}{op}", broken.from, broken.to, broken.law));
            }
            if let Some(active) = active {
                regressions(record, new, active, &mut wrong);
            }
        }
        (tried, wrong)
    }
}

/// What the active generation does with this record and the new one refuses to do.
fn regressions(record: &[u8], new: &Generation, active: &Generation, wrong: &mut BTreeSet<String>) {
    let Ok(found) = active.detect(record) else { return };
    let from = active.manifest().id(found.version);
    let refused = |error: &CallError| match error {
        CallError::Fault(fault) => {
            let op = if fault.op.is_empty() { String::new() } else { format!(", {}", fault.op) };
            format!("{}{op}", fault.kind)
        }
        CallError::NoPack | CallError::Guest(_) | CallError::UnknownVersion(_) => error.as_str().to_owned(),
    };
    if let Err(error) = new.detect(record) {
        wrong.insert(format!("a record of version {from} isn't recognised any more: {}", refused(&error)));
        return;
    }
    for to in active.manifest().versions.iter().map(|info| &*info.id).filter(|id| *id != from) {
        let ways =
            [active, new].map(|generation| Some((generation, generation.version(from)?, generation.version(to)?)));
        let [Some((active, held, target)), Some((new, new_held, new_target))] = ways else { continue };
        if active.translate(record, b"", held, target).is_ok()
            && let Err(error) = new.translate(record, b"", new_held, new_target)
        {
            wrong.insert(format!(
                "version {from} to {to} is refused where the active pack translates: {}",
                refused(&error)
            ));
        }
    }
}
