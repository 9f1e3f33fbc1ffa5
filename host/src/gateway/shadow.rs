//! A staged generation beside the active one: the same live records, both outcomes, and what differs by place.
//!
//! Nothing of it reaches a client, a server or the store, no request waits for it, and no content is kept: counts and
//! places alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::contract::{Translation, Version};
use crate::generation::Generation;

/// How many places are told apart; what differs elsewhere is counted as `…`.
const PLACES: usize = 64;

/// What came of it so far, for one staged generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// The staged generation's number.
    pub(crate) generation: u64,
    /// Records that both made the same of.
    pub(crate) same: u64,
    /// Records that they made other records of.
    pub(crate) differ: u64,
    /// Records that the active one translates and the staged one doesn't.
    pub(crate) refused: u64,
    /// Where records differ, and by which fault they are refused, with how many.
    pub(crate) places: BTreeMap<String, u64>,
}

/// The comparison.
pub(crate) struct Shadow {
    one_of: u64,
    seen: AtomicU64,
    lane: Arc<Semaphore>,
    compared: Arc<Mutex<Compared>>,
}

impl Shadow {
    /// One of so many live translations is compared; 0 compares none.
    pub(crate) fn new(one_of: u64) -> Shadow {
        Shadow { one_of, seen: AtomicU64::new(0), lane: Arc::new(Semaphore::new(1)), compared: Arc::default() }
    }

    pub(crate) fn read(&self) -> Compared {
        lock(&self.compared).clone()
    }

    /// Whether it is this translation's turn.
    pub(crate) fn turn(&self) -> bool {
        self.one_of > 0 && self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_of)
    }

    /// Compares what the active generation made of a record with what the staged one makes of it, later and elsewhere;
    /// where the last comparison still runs, not at all.
    pub(crate) fn compare(
        &self,
        (active, staged): (&Generation, Arc<Generation>),
        (record, carry): (Bytes, Bytes),
        (from, to): (Version, Version),
        made: &Translation,
    ) {
        let Ok(lane) = self.lane.clone().try_acquire_owned() else { return };
        let manifest = active.manifest();
        let ids = [from, to].map(|version| manifest.id(version).to_owned());
        let (compared, made) = (self.compared.clone(), made.record.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = outcome(&staged, (&record, &carry), &ids, &made);
            let mut compared = lock(&compared);
            if compared.generation != staged.id() {
                *compared = Compared { generation: staged.id(), ..Compared::default() };
            }
            let places = match outcome {
                Outcome::Same => {
                    compared.same += 1;
                    Vec::new()
                }
                Outcome::Differ(places) => {
                    compared.differ += 1;
                    places
                }
                Outcome::Refused(kind) => {
                    compared.refused += 1;
                    vec![kind]
                }
            };
            for place in places {
                let known = compared.places.len() < PLACES || compared.places.contains_key(&place);
                let place = if known { place } else { "…".to_owned() };
                *compared.places.entry(place).or_default() += 1;
            }
            drop(lane);
        });
    }
}

enum Outcome {
    Same,
    Differ(Vec<String>),
    Refused(String),
}

fn outcome(staged: &Generation, (record, carry): (&[u8], &[u8]), ids: &[String; 2], made: &[u8]) -> Outcome {
    let [from, to] = ids;
    let (Some(held), Some(target)) = (staged.version(from), staged.version(to)) else {
        return Outcome::Refused(format!("{from} to {to}: unknown-version-id"));
    };
    match staged.translate(record, carry, held, target) {
        Ok(there) if there.record == made => Outcome::Same,
        Ok(there) => {
            let [was, is] = [made, &there.record].map(|text| serde_json::from_slice::<Value>(text).unwrap_or_default());
            let mut places = Vec::new();
            differ(&was, &is, &mut String::new(), &mut places);
            if places.is_empty() {
                places.push(" as it is spelt".to_owned());
            }
            Outcome::Differ(places.into_iter().map(|place| format!("{from} to {to}: {place}")).collect())
        }
        Err(error) => Outcome::Refused(format!("{from} to {to}: {}", error.as_str())),
    }
}

/// The places at which two records differ; elements of an array count as one place.
fn differ(was: &Value, is: &Value, place: &mut String, found: &mut Vec<String>) {
    let length = place.len();
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            for key in keys {
                place.push('/');
                place.push_str(&key.replace('~', "~0").replace('/', "~1"));
                match (was.get(key), is.get(key)) {
                    (Some(was), Some(is)) => differ(was, is, place, found),
                    (Some(_), None) | (None, Some(_)) | (None, None) => found.push(place.clone()),
                }
                place.truncate(length);
            }
        }
        (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
            place.push_str("/*");
            was.iter().zip(is).for_each(|(was, is)| differ(was, is, place, found));
            place.truncate(length);
        }
        (was, is) if was == is => {}
        _ => found.push(if place.is_empty() { "/".to_owned() } else { place.clone() }),
    }
    found.dedup();
}

fn lock(compared: &Mutex<Compared>) -> MutexGuard<'_, Compared> {
    compared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_and_no_values() {
        let [was, is] =
            [r#"{"a":{"b":1,"c":[{"d":1},{"d":2}]},"e":1}"#, r#"{"a":{"b":2,"c":[{"d":3},{"d":4}]},"f":1}"#]
                .map(|text| serde_json::from_str::<Value>(text).unwrap());
        let mut found = Vec::new();
        differ(&was, &is, &mut String::new(), &mut found);
        assert_eq!(found, ["/a/b", "/a/c/*/d", "/e", "/f"]);
    }
}
