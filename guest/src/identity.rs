//! What the carry calls an element of an array: its key, or its index and the bytes in it that nobody touches.

use crate::json;
use crate::plan::{Plan, TrieNode};

/// The text that tells an element apart from others, if it is one of a collection and has a key.
pub(crate) fn name_of(collection: &TrieNode, text: &[u8]) -> Option<String> {
    collection.keys.iter().find_map(|path| json::value_at(text, path)).map(json::canonical)
}

/// Whether a name stands once among others, sorted.
pub(crate) fn is_single(names: &[String], name: &String) -> bool {
    names.get(names.partition_point(|other| other < name) + 1) != Some(name)
}

/// A digest of the members of an element that no op looks at, if it has such.
pub(crate) fn digest_of(plan: &Plan, trie: Option<&TrieNode>, text: &[u8]) -> Option<u64> {
    // By name and not by place: what stands around an element may be renamed, and it must be found again.
    let touched = |key: &[u8]| trie.is_none() || plan.stars_in_stars || plan.names(key);
    let members = if json::Kind::of(text) == json::Kind::Object { json::members(text) } else { Vec::new() };
    let others = members.into_iter().filter(|(key, _)| !touched(key));
    let digest = others.fold(json::FNV_SEED, |seed, (key, value)| json::fnv1a(json::fnv1a(seed, &key), value));
    (digest != json::FNV_SEED).then_some(digest)
}

/// A digest of how long an array is: elements that nothing tells apart are the same only while that stays.
pub(crate) fn length_digest(elements: u32) -> u64 {
    json::fnv1a(json::FNV_SEED, &elements.to_le_bytes())
}

/// The name of a member, by its key with quotes: what it says, or where no text can say that (a lone surrogate), how it
/// is written.
pub(crate) fn member_name(key: &[u8]) -> String {
    String::from_utf8(json::unescaped(key).into_owned()).unwrap_or_else(|_| String::from_utf8_lossy(key).into_owned())
}
