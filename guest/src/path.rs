//! Places in a record: JSON Pointers (RFC 6901) in which `*` stands for every element or member.

use std::fmt::{self, Write};

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seg {
    /// A member of an object, by its unescaped key.
    Key(String),
    /// Every element of an array, or every member of an object.
    Star,
    /// The JSON document that a string holds. No path of a pack has it: `embedded` puts it between its own and others.
    Document,
}

/// A place, or with `*` a set of places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Path(pub(crate) Vec<Seg>);

impl Path {
    /// Reads a JSON Pointer. A segment `*` is every element or member, `~2` a literal `*`, `~1` a `/`, `~0` a `~`.
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(if text.is_empty() {
                "a path of the whole record has no place here, name a member: \"/name\"".to_owned()
            } else {
                format!("a path starts with \"/\": write \"/{text}\"")
            });
        };
        rest.split('/').map(Seg::parse).collect::<Result<_, _>>().map(Path)
    }

    /// How many segments stand up to the last `*`, itself included.
    pub(crate) fn scope_len(&self) -> usize {
        self.0.iter().rposition(|seg| *seg == Seg::Star).map_or(0, |last| last + 1)
    }

    /// This path below `scope`.
    pub(crate) fn under(&self, scope: &Path) -> Path {
        Path(scope.0.iter().chain(&self.0).cloned().collect())
    }

    /// If `self` could speak of a place at or below `top`, where that place is when `top` is called `instead`.
    /// A `*` of `top` takes the segment that stands there in `self`; both paths have the same `*`s.
    pub(crate) fn transplanted(&self, top: &Path, instead: &Path) -> Option<Path> {
        if self.0.len() < top.0.len() {
            return None;
        }
        let mut bound = Vec::new();
        for (mine, theirs) in self.0.iter().zip(&top.0) {
            match (mine, theirs) {
                (Seg::Document, Seg::Document) => {}
                (Seg::Document, _) | (_, Seg::Document) => return None,
                (_, Seg::Star) => bound.push(mine.clone()),
                (Seg::Star, Seg::Key(_)) => {}
                (Seg::Key(a), Seg::Key(b)) if a == b => {}
                (Seg::Key(_), Seg::Key(_)) => return None,
            }
        }
        let mut bound = bound.into_iter();
        let head = instead.0.iter().map(|seg| match seg {
            Seg::Star => bound.next().unwrap_or(Seg::Star),
            Seg::Key(_) | Seg::Document => seg.clone(),
        });
        let mut path: Vec<Seg> = head.collect();
        path.extend(self.0.iter().skip(top.0.len()).cloned());
        Some(Path(path))
    }

    /// Whether `self` is `other` or lies above it.
    pub(crate) fn covers(&self, other: &Path) -> bool {
        other.transplanted(self, self).is_some()
    }
}

impl Seg {
    fn parse(text: &str) -> Result<Seg, String> {
        if text == "*" {
            return Ok(Seg::Star);
        }
        let mut key = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            key.push(match c {
                '~' => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    Some('2') => '*',
                    _ => {
                        return Err(
                            "\"~\" in a path is written \"~0\" (and \"/\" is \"~1\", \"*\" is \"~2\")".to_owned()
                        );
                    }
                },
                c => c,
            });
        }
        Ok(Seg::Key(key))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for seg in &self.0 {
            f.write_char('/')?;
            match seg {
                Seg::Star => f.write_char('*')?,
                Seg::Document => f.write_str("(document)")?,
                Seg::Key(key) if key == "*" => f.write_str("~2")?,
                Seg::Key(key) => f.write_str(&escaped(key))?,
            }
        }
        Ok(())
    }
}

/// A key as a segment of a JSON Pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_stars_come_back_as_written() {
        for text in ["/a", "/a~1b/~0c", "/x/*/y", "/~2/a*b", "/", "/a//b"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert!(Path::parse("a").unwrap_err().contains("\"/a\""));
        assert!(Path::parse("/a~3").is_err());
    }

    #[test]
    fn transplanting_binds_stars() {
        let p = |text| Path::parse(text).unwrap();
        assert_eq!(p("/x/foo/b/c").transplanted(&p("/x/*/b"), &p("/x/*/a")), Some(p("/x/foo/a/c")));
        assert_eq!(p("/x/*/c").transplanted(&p("/x/foo"), &p("/y")), Some(p("/y/c")));
        assert_eq!(p("/z").transplanted(&p("/x"), &p("/y")), None);
    }
}
