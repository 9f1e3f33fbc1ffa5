//! Recognises creates, joins and ends, and finds the session id of a request or of an answer.

use std::sync::Arc;

use http::HeaderMap;
use http::header::COOKIE;

use super::pattern::Pattern;
use super::pointer::Pointer;
use crate::config::{Config, IdEntry, Rule};

/// The longest session id that is taken, in bytes; a longer one is no id.
pub(crate) const MAX_ID: usize = 1024;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It makes a session.
    Create,
    /// It is for a session that exists.
    Join,
    /// It ends one.
    End,
}

/// The rules of a configuration, ready to match: ends before creates before joins, each in the order of the file.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Arc<CompiledRule>>,
}

/// One rule, ready to match.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) kind: Kind,
    pub(crate) id: IdPlace,
    /// The path of its pattern, as it was written.
    pub(crate) route: Box<str>,
    pattern: Pattern,
}

/// Where a rule's session id stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdPlace {
    Nowhere,
    Path(String),
    Query(String),
    Header(String),
    Cookie(String),
    Body(Pointer),
    ResponseHeader(String),
    ResponseBody(Pointer),
}

impl Rules {
    /// Compiles rules that `Config::check` has passed; rules that don't parse are left out.
    pub(crate) fn new(config: &Config) -> Rules {
        let kinds = [(Kind::End, &config.ends), (Kind::Create, &config.creates), (Kind::Join, &config.joins)];
        let rules =
            kinds.into_iter().flat_map(|(kind, rules)| rules.iter().filter_map(move |rule| compile(kind, rule)));
        Rules { rules: rules.collect() }
    }

    /// The first rule that a request fits.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<&Arc<CompiledRule>> {
        self.rules.iter().find(|rule| rule.pattern.matches(method, path))
    }
}

impl CompiledRule {
    /// The session id, where it stands in the head of the request.
    pub(crate) fn id_in_head(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Option<String> {
        let id = match &self.id {
            IdPlace::Path(name) => self.pattern.capture(path, name).map(|text| decode(text, Plus::Literal)),
            IdPlace::Query(name) => query?.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key, Plus::Space) == *name).then(|| decode(value, Plus::Space))
            }),
            IdPlace::Header(name) => headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_string),
            IdPlace::Cookie(name) => cookie(headers, name).map(str::to_string),
            IdPlace::Nowhere | IdPlace::Body(_) | IdPlace::ResponseHeader(_) | IdPlace::ResponseBody(_) => None,
        };
        id.filter(|id| is_id(id))
    }
}

/// Whether a text can be a session id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID
}

/// A segment of a path without its escapes.
pub(crate) fn decode_path(text: &str) -> String {
    decode(text, Plus::Literal)
}

fn compile(kind: Kind, rule: &Rule) -> Option<Arc<CompiledRule>> {
    let pattern = Pattern::parse(&rule.pattern).ok()?;
    let named = pattern.names().any(|name| name == "id");
    let id = match &rule.id {
        None if named => IdPlace::Path("id".to_string()),
        None => IdPlace::Nowhere,
        Some(IdEntry { path: Some(name), .. }) => IdPlace::Path(name.clone()),
        Some(IdEntry { query: Some(name), .. }) => IdPlace::Query(name.clone()),
        Some(IdEntry { header: Some(name), .. }) => IdPlace::Header(name.clone()),
        Some(IdEntry { cookie: Some(name), .. }) => IdPlace::Cookie(name.clone()),
        Some(IdEntry { body: Some(pointer), .. }) => IdPlace::Body(Pointer::parse(pointer).ok()?),
        Some(IdEntry { response_header: Some(name), .. }) => IdPlace::ResponseHeader(name.clone()),
        Some(IdEntry { response_body: Some(pointer), .. }) => IdPlace::ResponseBody(Pointer::parse(pointer).ok()?),
        Some(_) => IdPlace::Nowhere,
    };
    let route = rule.pattern.split_once(' ').map_or(&*rule.pattern, |(_, path)| path.trim());
    Some(Arc::new(CompiledRule { kind, id, route: route.into(), pattern }))
}

/// The value of a cookie, wherever the client put it (RFC 6265, section 5.4 allows several headers in HTTP/2).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

/// Whether a plus is a space, as it is in queries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Literal,
    Space,
}

/// Percent-decoding; what is no valid escape, or decodes to no UTF-8, stays as it is.
fn decode(text: &str, plus: Plus) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let digits = bytes.get(index + 1..index + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let escape = digits.filter(|pair| bytes[index] == b'%' && pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match (bytes[index], escape.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                index += 2;
            }
            (b'+', None) if plus == Plus::Space => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        index += 1;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::new(&toml::from_str::<Config>(text).unwrap())
    }

    fn id(
        rules: &Rules,
        method: &str,
        path: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Option<(Kind, Option<String>)> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let rule = rules.find(method, path)?;
        Some((rule.kind, rule.id_in_head(path, query, &map)))
    }

    #[test]
    fn id_is_found_in_path_query_header_and_cookie() {
        let rules = rules(
            r#"
            join = [
              { match = "POST /s/{id}/join" },
              { match = "GET /query", id = { query = "sid" } },
              { match = "GET /header", id = { header = "X-Session" } },
              { match = "GET /cookie", id = { cookie = "sid" } },
            ]
            create = [{ match = "POST /s", id = { response-body = "/id" } }]
            end = [{ match = "DELETE /s/{id}" }]
            "#,
        );
        let join = |id: &str| Some((Kind::Join, Some(id.to_string())));
        assert_eq!(id(&rules, "POST", "/s/a%20b+c/join?x=1", &[]), join("a b+c"));
        assert_eq!(id(&rules, "GET", "/query?x=1&sid=a%2Fb+c&sid=2", &[]), join("a/b c"));
        assert_eq!(id(&rules, "GET", "/header", &[("x-session", "h1")]), join("h1"));
        assert_eq!(id(&rules, "GET", "/cookie", &[("cookie", "a=1"), ("cookie", "b=2; sid=\"c 1\"")]), join("c 1"));
        assert_eq!(id(&rules, "GET", "/query?x=1", &[]), Some((Kind::Join, None)));
        assert_eq!(id(&rules, "POST", "/s", &[]), Some((Kind::Create, None)));
        assert_eq!(id(&rules, "DELETE", "/s/7", &[]), Some((Kind::End, Some("7".to_string()))));
        assert_eq!(id(&rules, "GET", "/other", &[]), None);
    }

    #[test]
    fn id_that_is_empty_or_huge_is_none() {
        let rules = rules("[[join]]\nmatch = \"GET /q\"\nid = { query = \"sid\" }\n");
        assert_eq!(id(&rules, "GET", "/q?sid=", &[]), Some((Kind::Join, None)));
        let long = format!("/q?sid={}", "x".repeat(MAX_ID + 1));
        assert_eq!(id(&rules, "GET", &long, &[]), Some((Kind::Join, None)));
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(decode("a%2", Plus::Literal), "a%2");
        assert_eq!(decode("%zz%41", Plus::Literal), "%zzA");
        assert_eq!(decode("%ff", Plus::Literal), "%ff");
    }
}
