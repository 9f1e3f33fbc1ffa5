//! What the targets share: the packs of testdata with their records, the laws of a translation, and the CPU limit.

#[path = "../../guest/tests/packs/mod.rs"]
mod packs;

use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use unskew_guest::Rules;
use unskew_guest_portable as portable;

use packs::laws::string;
pub use packs::laws::{at_limit, laws, text};
pub use packs::{Source, sources, texts};

/// A pack of testdata, loaded.
pub struct Loaded {
    pub source: Source,
    ops: Vec<String>,
    rules: Mutex<Rules>,
    portable: Mutex<portable::Rules>,
}

/// All packs of testdata, loaded, by name.
pub static PACKS: LazyLock<Vec<Loaded>> = LazyLock::new(|| {
    let load = |source: Source| {
        let rules = Rules::load(source.json.as_bytes()).unwrap_or_else(|why| panic!("{}: {why:#?}", source.name));
        let portable = portable::Rules::load(source.json.as_bytes()).expect("what loads with SIMD loads without");
        Loaded { ops: source.ops(), source, rules: Mutex::new(rules), portable: Mutex::new(portable) }
    };
    sources().into_iter().map(load).collect()
});

impl Loaded {
    /// The pack that a byte picks.
    pub fn pick(byte: u8) -> &'static Loaded {
        &PACKS[usize::from(byte) % PACKS.len()]
    }

    /// The pack of this file.
    pub fn named(name: &str) -> &'static Loaded {
        PACKS.iter().find(|pack| pack.source.name == name).expect("a pack of testdata")
    }

    /// The record of the pack's that a byte picks.
    pub fn record(&self, byte: u8) -> &[u8] {
        let records = &self.source.records;
        records.get(usize::from(byte) % records.len().max(1)).map_or(b"{}", |record| record.as_bytes())
    }

    /// Its rules; those that a panic has left behind, too, as an instance that failed would be.
    pub fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The same without SIMD.
    pub fn portable(&self) -> MutexGuard<'_, portable::Rules> {
        self.portable.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Runs one input. Panics if that takes the thread more than 100 ms of CPU time.
pub fn limited(input: impl FnOnce()) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    LazyLock::force(&PACKS);
    let start = now();
    input();
    let taken = now() - start;
    assert!(taken < Duration::from_millis(100), "hang: {taken:?}");
}

/// A pack made of ops of testdata's packs: a line of up to four steps, with a record that stands beside them there.
pub fn shuffled(data: &[u8]) -> Option<(String, &'static [u8])> {
    let [source, record, policy, picks @ ..] = data else { return None };
    let loaded = Loaded::pick(*source);
    let mut steps = vec![Vec::new()];
    for pick in picks.iter().take(24) {
        if pick & 0x80 != 0 && steps.len() < 4 {
            steps.push(Vec::new());
        }
        let ops = if pick & 0x60 == 0x60 { &Loaded::pick(*pick).ops } else { &loaded.ops };
        steps.last_mut()?.extend(ops.get(usize::from(pick & 0x1f) % ops.len().max(1)).cloned());
    }
    let versions: Vec<String> = (0..=steps.len()).map(version).collect();
    let step =
        |(at, ops): (usize, Vec<String>)| format!(r#"{{"from":"{at}","to":"{}","ops":[{}]}}"#, at + 1, ops.join(","));
    let steps: Vec<String> = steps.into_iter().enumerate().map(step).collect();
    let carry = ["beside", "inline", "none"][usize::from(policy % 3)];
    let overflow = ["refuse", "drop"][usize::from(policy / 3 % 2)];
    let policy = format!(
        r#"{{"carry":"{carry}","carry_overflow":"{overflow}","carry_max_bytes":{}}}"#,
        [300, 16384][usize::from(policy / 6 % 2)]
    );
    let (versions, steps) = (versions.join(","), steps.join(","));
    let pack = format!(r#"{{"name":"p","revision":1,"version":[{versions}],"step":[{steps}],"policy":{policy}}}"#);
    Some((pack, loaded.record(*record)))
}

/// The first version of a line has no marker, so that any record is of that one.
fn version(index: usize) -> String {
    let value = if index == 0 { r#""absent":true"#.to_owned() } else { format!(r#""value":{index}"#) };
    format!(r#"{{"id":"{index}","marker":{{"path":"/fuzzed",{value}}}}}"#)
}

/// How deep the arrays and objects of valid JSON are nested.
pub fn depth(json: &[u8]) -> usize {
    let (mut rest, mut depth, mut deepest) = (json, 0usize, 0);
    while let Some(byte) = rest.first() {
        match byte {
            b'"' => {
                string(&mut rest);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        rest = &rest[1..];
    }
    deepest
}

/// Whether serde_json takes these bytes for JSON.
pub fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}
