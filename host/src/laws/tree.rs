//! A JSON document with its spelling: what grows records, makes them smaller and compares them.

/// A value. Numbers, strings and keys stay the text that they were, so that nothing is too long or too odd to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// A number, string, boolean or null, as it is spelled.
    Scalar(String),
    /// The elements.
    Array(Vec<Tree>),
    /// The members, keys as JSON text.
    Object(Vec<(String, Tree)>),
}

/// A first place where two documents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// As a JSON Pointer.
    pub(crate) place: String,
    /// What stands there in the one.
    pub(crate) one: Option<String>,
    /// What stands there in the other.
    pub(crate) other: Option<String>,
}

/// One segment of a place: a key, or every member or element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Key(String),
    Star,
}

impl Tree {
    /// Reads a text; none if it is no JSON. Nesting beyond what packs allow is not read.
    pub(crate) fn read(text: &[u8]) -> Option<Tree> {
        let text = std::str::from_utf8(text).ok()?;
        let mut reader = Reader { rest: text.trim_start_matches(WHITE) };
        let tree = reader.value(MAX_DEPTH)?;
        reader.rest.is_empty().then_some(tree)
    }

    /// The text, with as little white space as can be.
    pub(crate) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Spacing::Compact);
        out
    }

    /// The text with white space in odd places, the same for the same tree.
    pub(crate) fn spaced(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Spacing::Odd);
        out
    }

    fn write(&self, out: &mut String, spacing: Spacing) {
        match self {
            Tree::Scalar(text) => out.push_str(text),
            Tree::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(match (index, spacing) {
                        (0, _) => "",
                        (_, Spacing::Compact) => ",",
                        (_, Spacing::Odd) => ", ",
                    });
                    item.write(out, spacing);
                }
                out.push(']');
            }
            Tree::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    let [before, colon, after] = match (spacing, key.len() % 3) {
                        (Spacing::Compact, _) | (Spacing::Odd, 0) => ["", ":", ""],
                        (Spacing::Odd, 1) => [" ", " : ", ""],
                        (Spacing::Odd, _) => ["\n  ", ": ", " "],
                    };
                    out.push_str(if index == 0 { "" } else { "," });
                    out.push_str(before);
                    out.push_str(key);
                    out.push_str(colon);
                    value.write(out, spacing);
                    out.push_str(after);
                }
                out.push('}');
            }
        }
    }

    /// The first place where two documents are not the same JSON: scalars by their text, members in any order.
    pub(crate) fn difference(&self, other: &Tree) -> Option<Difference> {
        differ(self, other, &mut String::new(), &|one, other| one == other)
    }

    /// As `difference`, but other spellings of a scalar are no difference.
    pub(crate) fn difference_in_value(&self, other: &Tree) -> Option<Difference> {
        differ(self, other, &mut String::new(), &|one, other| {
            one == other
                || (one.starts_with('"') && other.starts_with('"') && plain(one) == plain(other))
                || number(one).is_some_and(|one| Some(one) == number(other))
        })
    }

    /// The members, if it is an object.
    pub(crate) fn members(&self) -> &[(String, Tree)] {
        match self {
            Tree::Object(members) => members,
            Tree::Scalar(_) | Tree::Array(_) => &[],
        }
    }

    /// The elements, if it is an array.
    pub(crate) fn items(&self) -> &[Tree] {
        match self {
            Tree::Array(items) => items,
            Tree::Scalar(_) | Tree::Object(_) => &[],
        }
    }

    /// The member of this key.
    pub(crate) fn member(&self, key: &str) -> Option<&Tree> {
        self.members().iter().find(|(other, _)| plain(other) == key).map(|(_, value)| value)
    }

    /// What a string says.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Tree::Scalar(text) if text.starts_with('"') => Some(plain(text)),
            Tree::Scalar(_) | Tree::Array(_) | Tree::Object(_) => None,
        }
    }

    /// Takes a member of the root out.
    pub(crate) fn take(&mut self, key: &str) -> Option<(String, Tree)> {
        let Tree::Object(members) = self else { return None };
        let at = members.iter().position(|(other, _)| plain(other) == key)?;
        Some(members.remove(at))
    }

    /// Itself and everything below, counted.
    pub(crate) fn size(&self) -> usize {
        1 + match self {
            Tree::Scalar(_) => 0,
            Tree::Array(items) => items.iter().map(Tree::size).sum(),
            Tree::Object(members) => members.iter().map(|(_, value)| value.size()).sum(),
        }
    }

    /// The node of this number, counted in the order of the text from 0, which is the tree itself.
    pub(crate) fn nth(&mut self, number: usize) -> Option<&mut Tree> {
        if number == 0 {
            return Some(self);
        }
        let mut number = number - 1;
        let children: Vec<&mut Tree> = match self {
            Tree::Scalar(_) => Vec::new(),
            Tree::Array(items) => items.iter_mut().collect(),
            Tree::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        };
        for child in children {
            let size = child.size();
            if number < size {
                return child.nth(number);
            }
            number -= size;
        }
        None
    }

    /// Calls `with` for every node with its place, in which elements are `*`.
    pub(crate) fn walk(&self, place: &mut Vec<Segment>, with: &mut dyn FnMut(&[Segment], &Tree)) {
        with(place, self);
        for item in self.items() {
            place.push(Segment::Star);
            item.walk(place, with);
            place.pop();
        }
        for (key, value) in self.members() {
            place.push(Segment::Key(plain(key)));
            value.walk(place, with);
            place.pop();
        }
    }

    /// Whether something stands at a place, anywhere.
    pub(crate) fn has(&self, place: &[Segment]) -> bool {
        match place {
            [] => true,
            [Segment::Key(key), rest @ ..] => self.member(key).is_some_and(|child| child.has(rest)),
            [Segment::Star, rest @ ..] => {
                self.items().iter().chain(self.members().iter().map(|(_, child)| child)).any(|child| child.has(rest))
            }
        }
    }

    /// Puts a value at a place: parents are made where they are missing, and each `*` is every element or member that
    /// is there, or else one new element. False if something that holds no members is in the way.
    pub(crate) fn put(&mut self, place: &[Segment], value: &Tree) -> bool {
        let Some((segment, rest)) = place.split_first() else {
            *self = value.clone();
            return true;
        };
        let blank = || Tree::Object(Vec::new());
        match (segment, self) {
            (Segment::Key(key), Tree::Object(members)) => {
                if let Some((_, child)) = members.iter_mut().find(|(other, _)| plain(other) == *key) {
                    if rest.first() == Some(&Segment::Star) && child.members().is_empty() && child.items().is_empty() {
                        *child = Tree::Array(vec![blank()]);
                    }
                    return child.put(rest, value);
                }
                let mut child = match rest.first() {
                    Some(Segment::Star) => Tree::Array(vec![blank()]),
                    Some(Segment::Key(_)) | None => blank(),
                };
                let done = child.put(rest, value);
                members.push((quoted(key), child));
                done
            }
            (Segment::Star, Tree::Array(items)) => {
                items.iter_mut().fold(false, |done, item| item.put(rest, value) | done)
            }
            (Segment::Star, Tree::Object(members)) => {
                members.iter_mut().fold(false, |done, (_, child)| child.put(rest, value) | done)
            }
            (_, Tree::Scalar(_)) | (Segment::Key(_), Tree::Array(_)) => false,
        }
    }

    /// Takes what stands at a place out, everywhere. False if nothing stood there.
    pub(crate) fn remove(&mut self, place: &[Segment]) -> bool {
        match (place, self) {
            ([Segment::Key(key)], Tree::Object(members)) => {
                let before = members.len();
                members.retain(|(other, _)| plain(other) != *key);
                members.len() < before
            }
            ([Segment::Star], Tree::Object(members)) => !std::mem::take(members).is_empty(),
            ([Segment::Star], Tree::Array(items)) => !std::mem::take(items).is_empty(),
            ([Segment::Key(key), rest @ ..], Tree::Object(members)) => {
                members.iter_mut().find(|(other, _)| plain(other) == *key).is_some_and(|(_, child)| child.remove(rest))
            }
            ([Segment::Star, rest @ ..], Tree::Object(members)) => {
                members.iter_mut().fold(false, |done, (_, child)| child.remove(rest) | done)
            }
            ([Segment::Star, rest @ ..], Tree::Array(items)) => {
                items.iter_mut().fold(false, |done, item| item.remove(rest) | done)
            }
            (_, Tree::Scalar(_)) | ([Segment::Key(_), ..], Tree::Array(_)) | ([], _) => false,
        }
    }

    /// Takes objects out that have become empty, as parents of members do. The root stays.
    pub(crate) fn prune(&mut self) {
        match self {
            Tree::Scalar(_) => {}
            Tree::Array(items) => items.iter_mut().for_each(Tree::prune),
            Tree::Object(members) => members.retain_mut(|(_, child)| {
                child.prune();
                *child != Tree::Object(Vec::new())
            }),
        }
    }
}

/// What a key or string says; a lone surrogate leaves it as it is spelled.
pub(crate) fn plain(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => inner.to_owned(),
        Some(_) | None => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
    }
}

/// The exact value of a number: its sign, its digits without zeros around them, and the power of ten of the last one.
fn number(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let trimmed = digits.trim_end_matches('0');
    let power = exponent.checked_sub(fraction.len() as i64)?.checked_add((digits.len() - trimmed.len()) as i64)?;
    let significant = trimmed.trim_start_matches('0');
    Some(if significant.is_empty() { (false, String::new(), 0) } else { (negative, significant.to_owned(), power) })
}

/// A string as JSON text.
pub(crate) fn quoted(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

/// A key as a segment of a JSON Pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A path of a pack: a JSON Pointer in which `*` is every member or element. None for other strings.
pub(crate) fn place(path: &str) -> Option<Vec<Segment>> {
    let segment = |text: &str| match text {
        "*" => Segment::Star,
        _ => Segment::Key(text.replace("~2", "*").replace("~1", "/").replace("~0", "~")),
    };
    Some(path.strip_prefix('/')?.split('/').map(segment).collect())
}

/// The members of an object's text, each as key and as the bytes from its key to the end of its value.
pub(crate) fn spelled_members(record: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(record).ok()?.trim_matches(WHITE);
    let mut reader = Reader { rest: text };
    let mut members = Vec::new();
    reader.token('{')?;
    while !reader.rest.starts_with('}') {
        let from = reader.rest;
        let key = reader.string()?.to_owned();
        reader.space();
        reader.token(':')?;
        reader.bare_value(MAX_DEPTH)?;
        let member = from.get(..from.len() - reader.rest.len())?;
        members.push((key, member.to_owned()));
        reader.space();
        if reader.token(',').is_none() {
            break;
        }
    }
    Some(members)
}

#[derive(Clone, Copy)]
enum Spacing {
    Compact,
    Odd,
}

/// Deeper than any pack allows.
const MAX_DEPTH: u32 = 200;
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What is left to read. It trusts that scalars are what the guest took for some.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// A value and the white space behind it.
    fn value(&mut self, depth: u32) -> Option<Tree> {
        let value = self.bare_value(depth)?;
        self.space();
        Some(value)
    }

    fn bare_value(&mut self, depth: u32) -> Option<Tree> {
        let depth = depth.checked_sub(1)?;
        match self.rest.chars().next()? {
            '{' => {
                let mut members = Vec::new();
                self.token('{')?;
                while !self.rest.starts_with('}') {
                    let key = self.string()?.to_owned();
                    self.space();
                    self.token(':')?;
                    members.push((key, self.value(depth)?));
                    if self.token(',').is_none() {
                        break;
                    }
                }
                self.rest = self.rest.strip_prefix('}')?;
                Some(Tree::Object(members))
            }
            '[' => {
                let mut items = Vec::new();
                self.token('[')?;
                while !self.rest.starts_with(']') {
                    items.push(self.value(depth)?);
                    if self.token(',').is_none() {
                        break;
                    }
                }
                self.rest = self.rest.strip_prefix(']')?;
                Some(Tree::Array(items))
            }
            '"' => Some(Tree::Scalar(self.string()?.to_owned())),
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(self.rest.len());
                let (scalar, rest) = self.rest.split_at(end);
                self.rest = rest;
                (!scalar.is_empty()).then(|| Tree::Scalar(scalar.to_owned()))
            }
        }
    }

    fn string(&mut self) -> Option<&'t str> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let (string, rest) = self.rest.split_at_checked(at + 1)?;
        self.rest = rest;
        string.starts_with('"').then_some(string)
    }

    fn token(&mut self, token: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?.trim_start_matches(WHITE);
        Some(())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(WHITE);
    }
}

fn differ(one: &Tree, other: &Tree, place: &mut String, same: &dyn Fn(&str, &str) -> bool) -> Option<Difference> {
    let length = place.len();
    let mut within = |key: &str, one: Option<&Tree>, other: Option<&Tree>| {
        place.push('/');
        place.push_str(&escaped(key));
        let found = match (one, other) {
            (Some(one), Some(other)) => differ(one, other, place, same),
            (one, other) => {
                Some(Difference { place: place.clone(), one: one.map(Tree::compact), other: other.map(Tree::compact) })
            }
        };
        place.truncate(length);
        found
    };
    match (one, other) {
        (Tree::Scalar(a), Tree::Scalar(b)) if same(a, b) => None,
        (Tree::Array(a), Tree::Array(b)) => {
            (0..a.len().max(b.len())).find_map(|at| within(&at.to_string(), a.get(at), b.get(at)))
        }
        (Tree::Object(a), Tree::Object(b)) => {
            // Double keys stand for their first; one that is missing a double differs in number.
            let keys = a.iter().chain(b).map(|(key, _)| plain(key));
            let found = keys.into_iter().find_map(|key| within(&key, one.member(&key), other.member(&key)));
            found.or_else(|| {
                (a.len() != b.len()).then(|| Difference {
                    place: place.clone(),
                    one: Some(one.compact()),
                    other: Some(other.compact()),
                })
            })
        }
        (one, other) => {
            Some(Difference { place: place.clone(), one: Some(one.compact()), other: Some(other.compact()) })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(text: &str) -> Tree {
        Tree::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn texts_are_kept_as_they_are_spelled() {
        let text = r#" { "a\u0041" : [ 1.50 , -0,{ } ,[]], "b":"x\"}" ,"a\u0041":null} "#;
        let tree = read(text);
        assert_eq!(tree.compact(), r#"{"a\u0041":[1.50,-0,{},[]],"b":"x\"}","a\u0041":null}"#);
        assert_eq!(read(&tree.spaced()), tree);
        assert_eq!(tree.member("aA").unwrap().items().len(), 4);
        for broken in ["", "{", "{\"a\"}", "[1", "\"", "\"\\", "[1]]", "{\"a\":}"] {
            assert_eq!(Tree::read(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn the_first_difference_is_found_by_place() {
        let differ = |one: &str, other: &str| read(one).difference(&read(other)).map(|found| found.place);
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{ "a" : [1, {"b/c":2}] }"#), None);
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{"a":[1,{"b/c":3}]}"#).as_deref(), Some("/a/1/b~1c"));
        assert_eq!(differ(r#"{"a":1}"#, r#"{"b":2,"a":1}"#).as_deref(), Some("/b"));
        assert_eq!(differ("[1,2]", "[1]").as_deref(), Some("/1"));
        assert_eq!(differ(r#"{"a":1e400}"#, r#"{"a":1e401}"#).as_deref(), Some("/a"));
        assert_eq!(differ("1", "2").as_deref(), Some(""));
        let same = |one: &str, other: &str| read(one).difference_in_value(&read(other)).is_none();
        assert!(same(r#"[1.0,"\u0041",-0,1E2,0.10]"#, r#"[1,"A",0.0,100,1e-1]"#));
        assert!(!same("9007199254740993", "9007199254740992") && !same("1e400", "1e401") && !same("1", "-1"));
    }

    #[test]
    fn places_are_put_and_removed_everywhere() {
        let place = |path: &str| place(path).unwrap();
        let mut tree = read(r#"{"a":[{"k":1},{}]}"#);
        assert!(tree.put(&place("/a/*/b/c"), &read("7")));
        assert!(tree.put(&place("/n/*"), &read("\"x\"")));
        assert!(!tree.put(&place("/a/b"), &read("7")));
        assert_eq!(tree.compact(), r#"{"a":[{"k":1,"b":{"c":7}},{"b":{"c":7}}],"n":["x"]}"#);
        assert!(tree.remove(&place("/a/*/b/c")) && !tree.remove(&place("/q/r")));
        tree.prune();
        assert_eq!(tree.compact(), r#"{"a":[{"k":1},{}],"n":["x"]}"#);
    }

    #[test]
    fn members_are_found_with_their_bytes() {
        let members = spelled_members(b" {\"a\" : [1, 2] , \"b\":{}}\n").unwrap();
        assert_eq!(members, [("\"a\"", "\"a\" : [1, 2]"), ("\"b\"", "\"b\":{}")].map(|(a, b)| (a.into(), b.into())));
    }
}
