//! Places in records as packs name them.

use std::fmt;

/// A path from the root of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path(pub(super) Vec<Seg>);

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seg {
    Key(String),
    /// Every element, or every member.
    Star,
}

impl Path {
    /// The members from `keys` on below this place.
    pub(super) fn below(&self, keys: &[String]) -> Path {
        Path(self.0.iter().cloned().chain(keys.iter().cloned().map(Seg::Key)).collect())
    }

    /// What `*` finds at this place.
    pub(super) fn each(&self) -> Path {
        Path(self.0.iter().cloned().chain([Seg::Star]).collect())
    }

    pub(super) fn parent(&self) -> &[Seg] {
        self.0.split_last().map_or(&[], |(_, parent)| parent)
    }

    /// The last key; none for the root and where a path ends in `*`.
    pub(super) fn key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Seg::Key(key)) => Some(key),
            Some(Seg::Star) | None => None,
        }
    }

    /// The same parent, another key.
    pub(super) fn sibling(&self, key: &str) -> Path {
        Path(self.parent().iter().cloned().chain([Seg::Key(key.to_owned())]).collect())
    }

    pub(super) fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Where this place is once `from` has become `to`.
    pub(super) fn carried_along(&self, from: &Path, to: &Path) -> Path {
        match self.0.strip_prefix(from.0.as_slice()) {
            Some(rest) => Path(to.0.iter().chain(rest).cloned().collect()),
            None => self.clone(),
        }
    }

    /// The keys of a place without `*`; none if it has one.
    pub(super) fn parse_plain(pointer: &str) -> Option<Vec<String>> {
        let unescape = |segment: &str| segment.replace("~2", "*").replace("~1", "/").replace("~0", "~");
        let segments: Vec<&str> = pointer.strip_prefix('/')?.split('/').collect();
        segments.into_iter().map(|segment| (segment != "*").then(|| unescape(segment))).collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|seg| match seg {
            Seg::Star => f.write_str("/*"),
            Seg::Key(key) if key == "*" => f.write_str("/~2"),
            Seg::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_written_as_packs_read_them() {
        let keys = ["a/b", "c~d", "*", "", "e.f", "日本"].map(str::to_owned).to_vec();
        let path = Path::default().below(&keys);
        assert_eq!(path.to_string(), "/a~1b/c~0d/~2//e.f/日本");
        assert_eq!(Path::parse_plain(&path.to_string()).unwrap(), keys);
        assert_eq!(Path::parse_plain("/a/*/b"), None);
    }
}
