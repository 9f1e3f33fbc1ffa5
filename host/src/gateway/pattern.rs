//! Which requests a rule is about: a method and a path with named segments.

/// `POST /sessions/{id}/join`: `*` is any method or any one segment, `{name}` captures a segment, `**` at the end is
/// any rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    method: Option<String>,
    segments: Vec<Segment>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
    Named(String),
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        let (method, path) = text
            .split_once(' ')
            .ok_or_else(|| format!("expected a method and a path like \"POST /sessions\", found \"{text}\""))?;
        if method != "*" && !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("expected a method in capitals or *, found \"{method}\""));
        }
        let Some(path) = path.trim().strip_prefix('/') else {
            return Err(format!("a path begins with \"/\", found \"{path}\""));
        };
        let mut texts: Vec<&str> = path.split('/').collect();
        let open = texts.last() == Some(&"**");
        if open {
            texts.pop();
        }
        let segments = texts.into_iter().map(segment).collect::<Result<Vec<Segment>, String>>()?;
        Ok(Pattern { method: (method != "*").then(|| method.to_string()), segments, open })
    }

    /// The names of the captured segments.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Named(name) => Some(name.as_str()),
            Segment::Literal(_) | Segment::Any => None,
        })
    }

    /// Whether a request is of this pattern. `path` has no query.
    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut texts = path.split('/');
        for segment in &self.segments {
            let fits = match (segment, texts.next()) {
                (Segment::Literal(wanted), Some(text)) => wanted == text,
                (Segment::Any | Segment::Named(_), Some(text)) => !text.is_empty(),
                (_, None) => false,
            };
            if !fits {
                return false;
            }
        }
        self.open || texts.next().is_none()
    }

    /// The text of a captured segment, as it stands in the path.
    pub(crate) fn capture<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let index =
            self.segments.iter().position(|segment| matches!(segment, Segment::Named(known) if known == name))?;
        path.strip_prefix('/')?.split('/').nth(index)
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match (text, name) {
        ("*", _) => Ok(Segment::Any),
        (_, Some(name)) if !name.is_empty() && !name.contains(['{', '}', '*']) => Ok(Segment::Named(name.to_string())),
        _ if text.contains(['{', '}', '*']) => {
            Err(format!("a segment is a text, * or {{name}}, and ** stands at the end; found \"{text}\""))
        }
        _ => Ok(Segment::Literal(text.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_segments_and_method() {
        let join = Pattern::parse("POST /sessions/{id}/join").unwrap();
        assert!(join.matches("POST", "/sessions/abc/join"));
        assert!(!join.matches("GET", "/sessions/abc/join"));
        assert!(!join.matches("POST", "/sessions/abc/join/more"));
        assert!(!join.matches("POST", "/sessions//join"));
        assert!(!join.matches("POST", "/sessions/join"));
        assert_eq!(join.capture("/sessions/abc/join", "id"), Some("abc"));
    }

    #[test]
    fn open_pattern_matches_any_rest() {
        let any = Pattern::parse("* /v1/{id}/**").unwrap();
        assert!(any.matches("DELETE", "/v1/x"));
        assert!(any.matches("GET", "/v1/x/y/z"));
        assert!(!any.matches("GET", "/v2/x/y"));
    }

    #[test]
    fn pattern_that_says_nothing_is_refused() {
        for text in ["/sessions", "post /sessions", "POST sessions", "GET /a{id}", "GET /**/a", "GET /{}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
