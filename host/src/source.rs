//! The text of packs: TOML written as JSON with every number as its author wrote it, and the place of every item.

use std::collections::BTreeMap;
use std::string::FromUtf8Error;

use serde_json::value::RawValue;
use toml_edit::{Document, Item, TableLike, Value};

use crate::error::{Place, Problem};

/// Byte offsets of a text by JSON Pointer. A member stands where its key does.
#[derive(Default)]
pub(crate) struct Places(BTreeMap<String, usize>);

impl Places {
    /// The offset of this item or of the nearest one around it; none for the document as a whole.
    pub(crate) fn nearest(&self, pointer: &str) -> Option<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(offset) = self.0.get(pointer) {
                return Some(*offset);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// The JSON of this TOML.
pub(crate) fn toml_to_json(text: &str) -> Result<String, Vec<Problem>> {
    let walk = toml(text).map_err(|problem| vec![problem])?;
    match walk.problems.is_empty() {
        true => Ok(walk.json),
        false => Err(walk.problems),
    }
}

/// The places in this TOML, which has been read before.
pub(crate) fn toml_places(text: &str) -> Places {
    toml(text).map(|walk| walk.places).unwrap_or_default()
}

/// This JSON as it is, if it is JSON.
pub(crate) fn json(text: &str) -> Result<String, Vec<Problem>> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let [line, column] = [error.line(), error.column()].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            Err(vec![Problem {
                place: Some(Place { line, column }),
                pointer: String::new(),
                message: format!("no JSON: {}", without_position(&error)),
            }])
        }
    }
}

/// The first place where a text stops being UTF-8.
pub(crate) fn no_utf8(error: &FromUtf8Error) -> Problem {
    let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
    let text = String::from_utf8_lossy(valid);
    let found = rest.first().map_or_else(String::new, |byte| format!(", found byte 0x{byte:02x}"));
    Problem {
        place: Some(place(&text, text.len())),
        pointer: String::new(),
        message: format!("expected UTF-8{found}: save the file as UTF-8"),
    }
}

/// The places in this JSON, which has been read before.
pub(crate) fn json_places(text: &str) -> Places {
    let mut walk =
        JsonWalk { text: text.as_bytes(), at: 0, depth: 0, pointer: String::new(), places: Places::default() };
    walk.value();
    walk.places
}

/// Line and column of a byte offset.
pub(crate) fn place(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let [line, column] = [line, column].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Place { line, column }
}

fn toml(text: &str) -> Result<TomlWalk<'_>, Problem> {
    let document = Document::parse(text).map_err(|error| Problem {
        place: error.span().map(|span| place(text, span.start)),
        pointer: String::new(),
        message: format!("no TOML: {}", error.message().replace('\n', ", ")),
    })?;
    let mut walk =
        TomlWalk { text, json: String::new(), pointer: String::new(), places: Places::default(), problems: Vec::new() };
    walk.table(document.as_table());
    Ok(walk)
}

struct TomlWalk<'a> {
    text: &'a str,
    json: String,
    pointer: String,
    places: Places,
    problems: Vec<Problem>,
}

impl TomlWalk<'_> {
    fn item(&mut self, item: &Item) {
        match item {
            Item::None => self.json.push_str("null"), // never parsed from a text
            Item::Value(value) => self.value(value),
            Item::Table(table) => self.table(table),
            Item::ArrayOfTables(tables) => {
                self.list(tables.iter(), |table| table.span().map(|span| span.start), |walk, table| walk.table(table));
            }
        }
    }

    fn value(&mut self, value: &Value) {
        let written = value.span().and_then(|span| self.text.get(span)).unwrap_or("");
        match value {
            Value::String(string) => self.string(string.value()),
            Value::Integer(integer) => match decimal(written) {
                Some(text) => self.json.push_str(&text),
                None => self.json.push_str(&integer.value().to_string()),
            },
            Value::Float(float) if float.value().is_finite() => {
                self.json.push_str(&written.replace(['_', '+'], ""));
            }
            Value::Float(_) => {
                self.problem(value, format!("{written} is no JSON number: write a finite one"));
            }
            Value::Boolean(boolean) => self.json.push_str(if *boolean.value() { "true" } else { "false" }),
            Value::Datetime(_) => self.string(written),
            Value::Array(array) => {
                self.list(array.iter(), |item| item.span().map(|span| span.start), |walk, item| walk.value(item));
            }
            Value::InlineTable(table) => match literal(table) {
                Some(text) => match serde_json::from_str::<&RawValue>(text) {
                    Ok(_) => self.json.push_str(text),
                    Err(error) => {
                        let reason = without_position(&error);
                        self.problem(value, format!("the text of `json` is no JSON: {reason}"));
                    }
                },
                None => self.table(table),
            },
        }
    }

    fn table(&mut self, table: &dyn TableLike) {
        self.json.push('{');
        for (n, (key, item)) in table.iter().enumerate() {
            if n > 0 {
                self.json.push(',');
            }
            self.string(key);
            self.json.push(':');
            let offset = table.key(key).and_then(|key| key.span()).map(|span| span.start);
            self.at(key, offset, |walk| walk.item(item));
        }
        self.json.push('}');
    }

    fn list<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        offset: impl Fn(&T) -> Option<usize>,
        write: impl Fn(&mut Self, T),
    ) {
        self.json.push('[');
        for (n, item) in items.enumerate() {
            if n > 0 {
                self.json.push(',');
            }
            self.at(&n.to_string(), offset(&item), |walk| write(walk, item));
        }
        self.json.push(']');
    }

    fn at(&mut self, token: &str, offset: Option<usize>, inside: impl FnOnce(&mut Self)) {
        let parent = self.pointer.len();
        push_token(&mut self.pointer, token);
        if let Some(offset) = offset {
            self.places.0.insert(self.pointer.clone(), offset);
        }
        inside(self);
        self.pointer.truncate(parent);
    }

    fn string(&mut self, string: &str) {
        self.json.push_str(&serde_json::Value::from(string).to_string());
    }

    fn problem(&mut self, value: &Value, message: String) {
        let place = value.span().map(|span| place(self.text, span.start));
        self.problems.push(Problem { place, pointer: self.pointer.clone(), message });
        self.json.push_str("null");
    }
}

/// `{ json = '…' }`: what TOML can't say, as its JSON text.
fn literal(table: &toml_edit::InlineTable) -> Option<&str> {
    table.get("json").filter(|_| table.len() == 1).and_then(Value::as_str)
}

/// A decimal TOML integer as JSON writes it; none for other bases.
fn decimal(written: &str) -> Option<String> {
    let digits = written.replace('_', "");
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    digits.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.to_owned())
}

/// serde_json's message without its "at line 1 column 2": the place stands elsewhere.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rfind(" at line ").map_or(message.clone(), |end| message[..end].to_owned())
}

fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

/// Walks a JSON text that is known to be well-formed, down to the depth that a guest reads; what stands deeper is
/// left out together with all that follows, so that no depth ends the stack.
struct JsonWalk<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    pointer: String,
    places: Places,
}

impl JsonWalk<'_> {
    fn value(&mut self) {
        match self.next_byte() {
            Some(b'{') => self.items(b'}', |walk, _| {
                let offset = walk.at;
                let key: String = serde_json::from_slice(walk.string()).unwrap_or_default();
                walk.next_byte();
                walk.at += 1; // the colon
                (key, offset)
            }),
            Some(b'[') => self.items(b']', |walk, n| (n.to_string(), walk.at)),
            Some(b'"') => {
                self.string();
            }
            _ => {
                while self.peek().is_some_and(|byte| !matches!(byte, b',' | b']' | b'}')) {
                    self.at += 1;
                }
            }
        }
    }

    fn items(&mut self, end: u8, head: impl Fn(&mut Self, usize) -> (String, usize)) {
        const DEEPEST: u32 = 128;
        self.at = if self.depth < DEEPEST { self.at + 1 } else { self.text.len() };
        self.depth += 1;
        let mut n = 0;
        while self.next_byte().is_some_and(|byte| byte != end) {
            let (token, offset) = head(self, n);
            let parent = self.pointer.len();
            push_token(&mut self.pointer, &token);
            self.places.0.insert(self.pointer.clone(), offset);
            self.value();
            self.pointer.truncate(parent);
            if self.next_byte() == Some(b',') {
                self.at += 1;
            }
            n += 1;
        }
        self.at += 1;
        self.depth -= 1;
    }

    /// The string that starts here, with its quotes.
    fn string(&mut self) -> &[u8] {
        let start = self.at;
        self.at += 1;
        while self.peek().is_some_and(|byte| byte != b'"') {
            self.at += if self.peek() == Some(b'\\') { 2 } else { 1 };
        }
        self.at += 1;
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next byte that is no white space, not taken.
    fn next_byte(&mut self) -> Option<u8> {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        self.peek()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text_and_lose_what_json_has_not() {
        let toml = "a = [1_000, +5, -0, 0xff, 0.10, 1e5, +6.0e+2, -1_0.5]";
        assert_eq!(toml_to_json(toml).unwrap(), r#"{"a":[1000,5,-0,255,0.10,1e5,6.0e2,-10.5]}"#);
    }

    #[test]
    fn a_json_literal_goes_through_verbatim() {
        let toml = r#"a = { json = ' {"x": 18446744073709551616, "y": 0.10 } ' }
b = { json = 'null' }
c = { json = 1 }
d = { json = '1', more = 2 }"#;
        let json =
            r#"{"a": {"x": 18446744073709551616, "y": 0.10 } ,"b":null,"c":{"json":1},"d":{"json":"1","more":2}}"#;
        assert_eq!(toml_to_json(toml).unwrap(), json);
    }

    #[test]
    fn what_json_cannot_say_is_a_problem_each_with_its_place() {
        let problems = toml_to_json("a = 1\nb = [ inf ]\nc = { json = '{' }\nd = nan").unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "2:7: inf is no JSON number: write a finite one",
                "3:5: the text of `json` is no JSON: EOF while parsing an object",
                "4:5: nan is no JSON number: write a finite one",
            ]
        );
        assert_eq!(problems[0].pointer, "/b/0");
    }

    #[test]
    fn toml_places_are_those_of_keys_and_elements() {
        let text = "name = \"ü\"\n[[step]]\nfrom = \"1\"\nops = [\n  { rename = \"/a\", to = \"b\" },\n  { \"x/y~\".z = 1 },\n]\n";
        let places = toml_places(text);
        let at = |pointer: &str| places.nearest(pointer).map(|offset| place(text, offset).to_string());
        assert_eq!(at("/name").as_deref(), Some("1:1"));
        assert_eq!(at("/step/0").as_deref(), Some("2:1"));
        assert_eq!(at("/step/0/ops/0").as_deref(), Some("5:3"));
        assert_eq!(at("/step/0/ops/0/to").as_deref(), Some("5:20"));
        assert_eq!(at("/step/0/ops/1/x~1y~0/z").as_deref(), Some("6:12"));
        assert_eq!(at("/step/0/ops/0/to/deeper/still").as_deref(), Some("5:20"), "the nearest around it");
        assert_eq!(at(""), None);
        assert_eq!(at("/nowhere"), None);
    }

    #[test]
    fn json_places_are_those_of_keys_and_elements() {
        let text = "{ \"a\": [1, {\n \"b\\\"\" : \"x,]}\", \"c\":true}],\n\"d\":{} , \"e\":[] }";
        let places = json_places(text);
        let at = |pointer: &str| places.nearest(pointer).map(|offset| place(text, offset).to_string());
        assert_eq!(at("/a").as_deref(), Some("1:3"));
        assert_eq!(at("/a/0").as_deref(), Some("1:9"));
        assert_eq!(at("/a/1").as_deref(), Some("1:12"));
        assert_eq!(at("/a/1/b\"").as_deref(), Some("2:2"));
        assert_eq!(at("/a/1/c").as_deref(), Some("2:18"));
        assert_eq!(at("/d").as_deref(), Some("3:1"));
        assert_eq!(at("/e").as_deref(), Some("3:10"));
    }

    #[test]
    fn no_depth_of_json_ends_the_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(json(&deep).is_ok());
        let places = json_places(&deep);
        assert_eq!(places.nearest("/0/0/0"), Some(3));
        assert_eq!(places.nearest(&"/0".repeat(500)), Some(128));
    }

    #[test]
    fn syntax_errors_are_problems_with_a_place() {
        assert_eq!(toml_to_json("a = 1\nb = = 2").unwrap_err()[0].place, Some(Place { line: 2, column: 5 }));
        assert_eq!(json("{\n  \"a\": ,\n}").unwrap_err()[0].place, Some(Place { line: 2, column: 8 }));
    }
}
