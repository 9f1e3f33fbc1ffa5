//! Records that were named one by one: each brought to every other version and back.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use unskew::{Fidelity, Generation, Version};

use super::super::{Found, input, output};
use super::versions;

/// One record brought to one version and back.
pub(super) struct Trip {
    record: String,
    version: Option<String>,
    by: String,
    came_back: CameBack,
}

/// How a record came back.
enum CameBack {
    /// As it was.
    Same,
    /// It was not sent: the table says already that this way loses something.
    NotSent(Fidelity),
    /// Otherwise, or not at all.
    Wrong(String),
    /// The record can't be read: this is why.
    Unread(String),
}

/// Brings a record to every other version and back.
pub(super) fn journeys(generation: &Generation, name: &str, record: &[u8]) -> Vec<Trip> {
    let manifest = generation.manifest();
    let found = match generation.detect(record) {
        Ok(found) => found.version,
        Err(error) => {
            let came_back = CameBack::Wrong(input::told(record, &error));
            return vec![Trip::without_version(name.to_string(), came_back)];
        }
    };
    let others = versions(generation).filter(|by| *by != found);
    let trip = |by: Version| Trip {
        record: name.to_string(),
        version: Some(manifest.id(found).to_string()),
        by: manifest.id(by).to_string(),
        came_back: CameBack::of(generation, record, found, by),
    };
    others.map(trip).collect()
}

impl CameBack {
    fn of(generation: &Generation, record: &[u8], home: Version, by: Version) -> CameBack {
        let worst = generation.judge(home, by).fidelity.max(generation.judge(by, home).fidelity);
        match worst {
            Fidelity::Lossy | Fidelity::None => CameBack::NotSent(worst),
            Fidelity::Native | Fidelity::Exact | Fidelity::Carried => {
                there_and_back(generation, record, home, by).map_or_else(CameBack::Wrong, |()| CameBack::Same)
            }
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            CameBack::Same => "same",
            CameBack::NotSent(_) => "not-sent",
            CameBack::Wrong(_) => "wrong",
            CameBack::Unread(_) => "unread",
        }
    }
}

fn there_and_back(generation: &Generation, record: &[u8], home: Version, by: Version) -> Result<(), String> {
    if generation.judge(home, by).fidelity >= Fidelity::Lossy || generation.judge(by, home).fidelity >= Fidelity::Lossy
    {
        return Ok(()); // the table says already that it won't come back whole
    }
    let away = generation.translate(record, &[], home, by).map_err(|error| format!("on the way there: {error}"))?;
    let found = generation.detect(&away.record).map_err(|error| format!("after the way there: {error}"))?.version;
    if found != by {
        return Err(format!("after the way there it is found to be of version {}", generation.manifest().id(found)));
    }
    let back = generation
        .translate(&away.record, &away.carry, by, home)
        .map_err(|error| format!("on the way back: {error}"))?;
    let texts: [Result<&RawValue, _>; 2] = [record, &back.record].map(serde_json::from_slice);
    match texts {
        [Ok(before), Ok(after)] => match difference(before, after, &mut String::new()) {
            Some(place) => Err(format!("it comes back different at {place}")),
            None => Ok(()),
        },
        [Err(error), _] | [_, Err(error)] => Err(format!("it comes back as no JSON: {error}")),
    }
}

/// The first place where two documents differ, as a JSON Pointer. Scalars are compared by their text, so that no number
/// is too long to be compared; members may stand in any order.
fn difference(before: &RawValue, after: &RawValue, place: &mut String) -> Option<String> {
    type Members<'t> = BTreeMap<String, &'t RawValue>;
    if before.get() == after.get() {
        return None;
    }
    let length = place.len();
    let mut within = |key: String, before: Option<&&RawValue>, after: Option<&&RawValue>| {
        place.push_str(&format!("/{key}"));
        let found = match (before, after) {
            (Some(before), Some(after)) => difference(before, after, place),
            (None, _) | (_, None) => Some(place.clone()),
        };
        place.truncate(length);
        found
    };
    let objects: [Result<Members<'_>, _>; 2] = [before, after].map(|text| serde_json::from_str(text.get()));
    if let [Ok(before), Ok(after)] = &objects {
        let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
        return keys
            .into_iter()
            .find_map(|key| within(key.replace('~', "~0").replace('/', "~1"), before.get(key), after.get(key)));
    }
    let arrays: [Result<Vec<&RawValue>, _>; 2] = [before, after].map(|text| serde_json::from_str(text.get()));
    if let [Ok(before), Ok(after)] = &arrays {
        return (0..before.len().max(after.len()))
            .find_map(|index| within(index.to_string(), before.get(index), after.get(index)));
    }
    Some(if place.is_empty() { "the root".to_string() } else { place.clone() })
}

impl Trip {
    /// What can't be read.
    pub(super) fn unread(record: String, why: String) -> Trip {
        Trip::without_version(record, CameBack::Unread(why))
    }

    /// The object of `--json`.
    pub(super) fn object(&self) -> Value {
        let Trip { record, version, by, came_back } = self;
        json!({"record": record, "version": version, "by": by, "came_back": came_back.as_str(), "wrong": self.wrong()})
    }

    fn without_version(record: String, came_back: CameBack) -> Trip {
        Trip { record, version: None, by: String::new(), came_back }
    }

    pub(super) fn found(&self) -> Found {
        match &self.came_back {
            CameBack::Same | CameBack::NotSent(_) => Found::Good,
            CameBack::Wrong(_) => Found::Bad,
            CameBack::Unread(_) => Found::Unread,
        }
    }

    pub(super) fn wrong(&self) -> Option<&str> {
        match &self.came_back {
            CameBack::Wrong(wrong) | CameBack::Unread(wrong) => Some(wrong),
            CameBack::Same | CameBack::NotSent(_) => None,
        }
    }

    pub(super) fn line(&self) -> String {
        let Trip { record, version, by, came_back } = self;
        let came_back = match came_back {
            CameBack::Same => "as it was".to_string(),
            CameBack::NotSent(fidelity) => format!("not tried, the way is {fidelity}"),
            CameBack::Wrong(wrong) | CameBack::Unread(wrong) => wrong.clone(),
        };
        match version {
            Some(version) => {
                let [version, by] = [version, by].map(|id| output::on_one_line(id));
                format!("{record}: version {version}, by version {by} and back: {came_back}\n")
            }
            None => format!("{record}: {came_back}\n"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found_by_place() {
        let differ = |before: &str, after: &str| {
            let [before, after]: [&RawValue; 2] = [before, after].map(|text| serde_json::from_str(text).unwrap());
            difference(before, after, &mut String::new())
        };
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{ "a" : [1, {"b/c":2}] }"#), None);
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{"a":[1,{"b/c":3}]}"#).as_deref(), Some("/a/1/b~1c"));
        assert_eq!(differ(r#"{"a":1}"#, r#"{"b":2,"a":1}"#).as_deref(), Some("/b"));
        assert_eq!(differ("[1,2]", "[1]").as_deref(), Some("/1"));
        assert_eq!(differ(r#"{"a":1e400}"#, r#"{"a":1e401}"#).as_deref(), Some("/a"));
    }
}
