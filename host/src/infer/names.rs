//! How alike two keys are: `sessionId` and `session_id` are one name, `joined_at` and `joined_at_ms` nearly.

/// Words that say a unit or a form and not what a member is about.
const UNITS: [&str; 24] = [
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "ms",
    "msec",
    "millis",
    "milliseconds",
    "us",
    "micros",
    "min",
    "minutes",
    "ts",
    "time",
    "timestamp",
    "date",
    "dt",
    "at",
    "epoch",
    "unix",
    "iso",
    "kb",
    "bytes",
];

/// What members are called that say a record's version.
const VERSIONS: [&str; 5] = ["ver", "schemaver", "format", "rev", "revision"];

/// From 0, nothing in common, to 1, the same name in another spelling.
pub(super) fn likeness(one: &str, other: &str) -> f64 {
    let [one, other] = [one, other].map(words);
    let joined = [&one, &other].map(|words| words.concat());
    if joined[0] == joined[1] {
        return 1.0;
    }
    let bare = |words: &[String]| -> Vec<String> {
        words.iter().filter(|word| !UNITS.contains(&word.as_str())).cloned().collect()
    };
    let [a, b] = [bare(&one), bare(&other)];
    if !a.is_empty() && a == b {
        return 0.9;
    }
    let common = a.iter().filter(|word| b.iter().any(|other| alike(word, other))).count();
    let all = a.len().max(b.len());
    let shared = if all == 0 { 0.0 } else { common as f64 / all as f64 };
    let spelled = strsim::jaro_winkler(&joined[0], &joined[1]);
    (shared * 0.8).max(if spelled > 0.85 { spelled * 0.8 } else { 0.0 })
}

/// Whether a key is one by which servers say a record's version.
pub(super) fn says_version(key: &str) -> bool {
    let words = words(key);
    let last = words.last().is_some_and(|word| ["v", "version", "schema"].contains(&word.as_str()));
    last || VERSIONS.contains(&words.concat().as_str())
}

/// Whether a key reads like that of something's name: an id or a key.
pub(super) fn says_identity(key: &str) -> bool {
    words(key)
        .last()
        .is_some_and(|word| ["id", "key", "uuid", "guid", "sid", "identity", "token"].contains(&word.as_str()))
}

/// The words of a key, in lower case: cut where case, kind or punctuation changes.
fn words(key: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for char in key.chars() {
        let cut = !char.is_alphanumeric()
            || !before.is_alphanumeric()
            || before.is_lowercase() && char.is_uppercase()
            || before.is_numeric() != char.is_numeric();
        if cut {
            words.push(String::new());
        }
        if let (true, Some(word)) = (char.is_alphanumeric(), words.last_mut()) {
            word.extend(char.to_lowercase());
        }
        before = char;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn alike(one: &str, other: &str) -> bool {
    one == other || one.len() >= 4 && other.len() >= 4 && (one.starts_with(other) || other.starts_with(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_alike_and_units_matter_little() {
        for (one, other) in [("sessionId", "session_id"), ("httpOnly", "http-only"), ("URLPath", "urlpath")] {
            assert!(likeness(one, other) > 0.99, "{one} {other}");
        }
        assert!(likeness("joined_at", "joined_at_ms") > 0.8);
        assert!(likeness("create_dt", "createdAt") > 0.5);
        assert!(likeness("id", "connection_id") > 0.3);
        assert!(likeness("p2p.preference", "mediaMode") < 0.3);
        assert!(likeness("user", "room") < 0.3);
    }

    #[test]
    fn members_that_say_the_version_are_known() {
        assert!(["v", "schema", "schemaVersion", "api_version", "presence_v"].into_iter().all(says_version));
        assert!(!["value", "mode", "id", "converted"].into_iter().any(says_version));
    }
}
