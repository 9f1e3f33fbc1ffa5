//! Makes a record smaller as long as something stays true of it: members, elements, text and numbers go, in that order.

use super::tree::{Tree, plain, quoted};

/// How often `holds` is asked at most.
const MAX_STEPS: usize = 3000;

/// What may stand in the place of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Simpler {
    /// Anything.
    Anything,
    /// A smaller one of the same kind: an array stays an array.
    OfItsKind,
}

/// The smallest record found for which `holds` is still true, as it is for this one.
pub(crate) fn shrink(record: Tree, simpler: Simpler, holds: &mut dyn FnMut(&Tree) -> bool) -> Tree {
    let mut search = Search { best: record, simpler, left: MAX_STEPS, holds };
    while search.pass() {}
    search.best
}

struct Search<'h> {
    best: Tree,
    simpler: Simpler,
    left: usize,
    holds: &'h mut dyn FnMut(&Tree) -> bool,
}

impl Search<'_> {
    /// Tries everything once. True if something became smaller.
    fn pass(&mut self) -> bool {
        let mut smaller = false;
        let mut number = 0;
        while number < self.best.size() && self.left > 0 {
            smaller |= self.children(number);
            smaller |= self.itself(number);
            number += 1;
        }
        smaller
    }

    /// Takes children away: all, halves, quarters, single ones.
    fn children(&mut self, number: usize) -> bool {
        let count = self.best.nth(number).map_or(0, |node| node.members().len() + node.items().len());
        let mut smaller = false;
        let mut chunk = count;
        while chunk > 0 {
            let mut at = 0;
            while at < self.best.nth(number).map_or(0, |node| node.members().len() + node.items().len()) {
                let taken = self.attempt(number, |node| match node {
                    Tree::Array(items) => drop(items.drain(at..(at + chunk).min(items.len()))),
                    Tree::Object(members) => drop(members.drain(at..(at + chunk).min(members.len()))),
                    Tree::Scalar(_) => {}
                });
                smaller |= taken;
                at += if taken { 0 } else { chunk };
            }
            chunk /= 2;
        }
        smaller
    }

    /// Puts something simpler in the place of a node, or spells its keys plainly.
    fn itself(&mut self, number: usize) -> bool {
        let Some(node) = self.best.nth(number).cloned() else { return false };
        let simpler: Vec<Tree> = match &node {
            _ if number == 0 => Vec::new(),
            Tree::Scalar(text) => simpler_scalars(text),
            Tree::Array(_) | Tree::Object(_) if self.simpler == Simpler::OfItsKind => Vec::new(),
            Tree::Array(items) => [Tree::Scalar("0".into())].into_iter().chain(items.iter().take(1).cloned()).collect(),
            Tree::Object(members) => {
                let first = members.iter().take(1).map(|(_, value)| value.clone());
                [Tree::Scalar("0".into())].into_iter().chain(first).collect()
            }
        };
        let mut smaller = simpler.into_iter().any(|simple| self.attempt(number, |node| *node = simple.clone()));
        if node.members().iter().any(|(key, _)| key.contains('\\')) {
            smaller |= self.attempt(number, |node| {
                if let Tree::Object(members) = node {
                    members.iter_mut().for_each(|(key, _)| *key = quoted(&plain(key)));
                }
            });
        }
        smaller
    }

    fn attempt(&mut self, number: usize, change: impl Fn(&mut Tree)) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        let mut candidate = self.best.clone();
        let Some(node) = candidate.nth(number) else { return false };
        change(node);
        if weight(&candidate) >= weight(&self.best) {
            return false;
        }
        self.left = left;
        let holds = (self.holds)(&candidate);
        if holds {
            self.best = candidate;
        }
        holds
    }
}

/// What gets smaller with each success, so that the search ends: nodes, then text, then what is no digit or letter.
fn weight(tree: &Tree) -> (usize, usize, usize) {
    let text = tree.compact();
    let large = text.bytes().map(|byte| usize::from(byte.saturating_sub(b'0'))).sum();
    (tree.size(), text.len(), large)
}

fn simpler_scalars(text: &str) -> Vec<Tree> {
    let mut simpler: Vec<String> = Vec::new();
    if text.starts_with('"') {
        let content: Vec<char> = plain(text).chars().collect();
        simpler.push(quoted(""));
        simpler.push(quoted("a"));
        simpler.extend(
            [content.len() / 2, content.len().saturating_sub(1)]
                .map(|half| quoted(&content.iter().take(half).collect::<String>())),
        );
        simpler.push(quoted(&content.iter().collect::<String>()));
    } else {
        simpler.extend(["0", "1"].map(str::to_owned));
        if text.len() > 2 && text.is_ascii() {
            simpler.extend([&text[..text.len() / 2], &text[..text.len() - 1], &text[1..]].map(str::to_owned));
        }
    }
    // A cut may have left something that is no JSON.
    simpler
        .into_iter()
        .filter(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok())
        .map(Tree::Scalar)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_doesnt_matter_goes() {
        let text = br#"{"id":"2_MX40NTgyODA2Mn5","list":[{"k":1},{"k":17,"z":[1,2,3]},{"k":3}],"n":{"a":"b"},"s":2}"#;
        let small = shrink(Tree::read(text).unwrap(), Simpler::Anything, &mut |tree| {
            tree.member("list").is_some_and(|list| {
                list.items().iter().any(|item| item.member("k").is_some_and(|k| k.compact().starts_with("17")))
            })
        });
        assert_eq!(small.compact(), r#"{"list":[{"k":17}]}"#);
        let small = shrink(Tree::read(text).unwrap(), Simpler::Anything, &mut |tree| {
            tree.member("id").and_then(Tree::text).is_some()
        });
        assert_eq!(small.compact(), r#"{"id":""}"#);
    }
}
