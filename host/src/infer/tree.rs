//! Sample records as trees that keep the text of every number, and compare numbers by their exact value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decimal::Decimal;

/// One JSON value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// Its text.
    Number(String),
    String(String),
    /// A string that no Unicode text is: a lone surrogate. Its text, with the quotes.
    Odd(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// The word that conditions of packs use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

/// Deeper records than this are not read; guests allow no more either.
const DEEPEST: usize = 128;

impl Node {
    /// The tree of this text.
    pub(super) fn parse(text: &str) -> Result<Node, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        read(raw, DEEPEST)
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Node::Null => Kind::Null,
            Node::Bool(_) => Kind::Bool,
            Node::Number(_) => Kind::Number,
            Node::String(_) | Node::Odd(_) => Kind::String,
            Node::Array(_) => Kind::Array,
            Node::Object(_) => Kind::Object,
        }
    }

    /// The member of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The members of an object; of anything else none.
    pub(super) fn members(&self) -> &[(String, Node)] {
        match self {
            Node::Object(members) => members,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Odd(_) | Node::Array(_) => &[],
        }
    }

    /// The elements of an array; of anything else none.
    pub(super) fn elements(&self) -> &[Node] {
        match self {
            Node::Array(elements) => elements,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Odd(_) | Node::Object(_) => &[],
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::String(text) => Some(text),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Odd(_) | Node::Array(_) | Node::Object(_) => None,
        }
    }

    /// The text of a number, or of a number that is kept in a string.
    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Node::Number(text) => Some(text),
            Node::String(text) if Decimal::parse(text).is_some() => Some(text),
            Node::Null | Node::Bool(_) | Node::String(_) | Node::Odd(_) | Node::Array(_) | Node::Object(_) => None,
        }
    }

    /// Whether it is neither array nor object.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self.kind(), Kind::Array | Kind::Object)
    }

    /// A text that equal values share, and only they: numbers by value, members in any order.
    pub(super) fn value(&self) -> String {
        match self {
            Node::Number(text) => Decimal::parse(text).map_or_else(|| text.clone(), |number| number.to_string()),
            Node::Array(elements) => {
                format!("[{}]", elements.iter().map(Node::value).collect::<Vec<_>>().join(","))
            }
            Node::Object(members) => {
                let mut members: Vec<String> =
                    members.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.value())).collect();
                members.sort_unstable();
                format!("{{{}}}", members.join(","))
            }
            Node::Null | Node::Bool(_) | Node::String(_) | Node::Odd(_) => self.to_string(),
        }
    }

    /// Whether both say the same.
    pub(super) fn same(&self, other: &Node) -> bool {
        self.kind() == other.kind() && self.value() == other.value()
    }
}

/// Compact JSON.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Null => f.write_str("null"),
            Node::Bool(true) => f.write_str("true"),
            Node::Bool(false) => f.write_str("false"),
            Node::Number(text) | Node::Odd(text) => f.write_str(text),
            Node::String(text) => f.write_str(&quoted(text)),
            Node::Array(elements) => {
                f.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Node::Object(members) => {
                f.write_str("{")?;
                for (index, (key, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if index > 0 { "," } else { "" }, quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A string as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn read(raw: &RawValue, depth: usize) -> Result<Node, String> {
    let text = raw.get();
    let deeper = || depth.checked_sub(1).ok_or_else(|| format!("nested deeper than {DEEPEST}"));
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
            let depth = deeper()?;
            let members = members.into_iter().map(|(key, raw)| Ok((key.into_owned(), read(raw, depth)?)));
            Node::Object(members.collect::<Result<_, String>>()?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
            let depth = deeper()?;
            Node::Array(elements.into_iter().map(|raw| read(raw, depth)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => serde_json::from_str(text).map_or_else(|_| Node::Odd(text.to_owned()), Node::String),
        Some(b't') => Node::Bool(true),
        Some(b'f') => Node::Bool(false),
        Some(b'n') => Node::Null,
        _ => Node::Number(text.to_owned()),
    })
}

/// The members of an object in their order; of a double key the first counts.
struct Members<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'t> Visitor<'t> for Collect {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Members<'t>, A::Error> {
                let mut members: Vec<(Cow<'t, str>, &'t RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'t RawValue>()? {
                    if members.iter().all(|(other, _)| *other != key) {
                        members.push((Cow::Owned(key), value));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text_and_compare_by_value() {
        let tree = |text: &str| Node::parse(text).unwrap();
        let text = r#"{"id":9007199254740993,"e":1e400,"one":1.0,"lone":"\ud800","a/b":[null,true]}"#;
        assert_eq!(tree(text).to_string(), text);
        assert!(tree("[1.0, 1e2]").same(&tree("[1,100]")));
        assert!(!tree("9007199254740993").same(&tree("9007199254740992")));
        assert!(tree(r#"{"a":1,"b":"\u0041"}"#).same(&tree(r#"{"b":"A","a":1.0}"#)));
        assert!(!tree("1").same(&tree(r#""1""#)));
    }

    #[test]
    fn no_depth_ends_the_stack() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(Node::parse(&deep).unwrap_err(), "nested deeper than 128");
    }
}
