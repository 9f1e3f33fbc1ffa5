//! The JSON Schema of the configuration, and the walk that holds a file against it with a line for each problem.

use std::sync::OnceLock;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;

/// The JSON Schema of the configuration file, made from the types themselves; editors take it from
/// `docs/unskew.schema.json`.
pub fn json_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Config).to_value())
}

/// Something that the schema doesn't allow: where in the text, where in the document, and what.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) offset: usize,
    pub(super) pointer: String,
    pub(super) message: String,
}

/// Everything in a document that the schema doesn't allow.
pub(super) fn findings(table: &Spanned<DeTable<'_>>) -> Vec<Finding> {
    let mut walk = Walk { root: json_schema(), found: Vec::new() };
    walk.table(json_schema(), table.get_ref(), 0, "");
    walk.found
}

struct Walk<'s> {
    root: &'s Value,
    found: Vec<Finding>,
}

impl<'s> Walk<'s> {
    fn value(&mut self, schema: &'s Value, value: &Spanned<DeValue<'_>>, pointer: &str) {
        let schema = self.resolve(schema);
        let offset = value.span().start;
        let wanted = wanted_type(schema);
        match value.get_ref() {
            DeValue::Table(table) if wanted == "object" => self.table(schema, table, offset, pointer),
            DeValue::Array(items) if wanted == "array" => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&schema["items"], item, &format!("{pointer}/{index}"));
                }
            }
            DeValue::String(text) if wanted == "string" => self.choice(schema, text, offset, pointer),
            DeValue::Integer(number) if wanted == "integer" => {
                let parsed = i128::from_str_radix(number.as_str(), number.radix());
                let least = schema["minimum"].as_i64().map_or(i128::MIN, i128::from);
                let most = if schema["format"] == "uint32" { i128::from(u32::MAX) } else { i128::from(i64::MAX) };
                if !parsed.as_ref().is_ok_and(|number| (least..=most).contains(number)) {
                    self.say(offset, pointer, format!("expected a whole number of at least {least}"));
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) if wanted == "number" => {}
            DeValue::Boolean(_) if wanted == "boolean" => {}
            other => {
                let article = if matches!(wanted, "object" | "array" | "integer") { "an" } else { "a" };
                let wanted = if wanted == "object" { "table" } else { wanted };
                let article = if wanted == "table" { "a" } else { article };
                self.say(offset, pointer, format!("expected {article} {wanted}, found {}", other.type_str()));
            }
        }
    }

    fn table(&mut self, schema: &'s Value, table: &DeTable<'_>, offset: usize, pointer: &str) {
        let known = schema["properties"].as_object();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let inner = format!("{pointer}/{name}");
            match known.and_then(|known| known.get(name)) {
                Some(schema) => self.value(schema, value, &inner),
                None if schema["additionalProperties"].is_object() => {
                    self.value(&schema["additionalProperties"], value, &inner);
                }
                None => {
                    let names = known.into_iter().flat_map(|known| known.keys().map(String::as_str));
                    let hint = nearest(name, names).map(|near| format!(", did you mean \"{near}\"?"));
                    let hint = hint.unwrap_or_default();
                    self.say(key.span().start, &inner, format!("unknown key \"{name}\"{hint}"));
                }
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !table.keys().any(|key| key.get_ref() == required) {
                self.say(offset, pointer, format!("the key \"{required}\" is missing"));
            }
        }
    }

    fn choice(&mut self, schema: &'s Value, text: &str, offset: usize, pointer: &str) {
        let variants = schema["oneOf"].as_array().into_iter().flatten().filter_map(|one| one["const"].as_str());
        let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let choices: Vec<&str> = variants.chain(listed).collect();
        if !choices.is_empty() && !choices.contains(&text) {
            let all = choices.join(", ");
            self.say(offset, pointer, format!("unknown value \"{text}\", expected one of {all}"));
        }
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.resolve(&self.root["$defs"][name]);
        }
        match schema["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null")) {
            Some(one) => self.resolve(one),
            None => schema,
        }
    }

    fn say(&mut self, offset: usize, pointer: &str, message: String) {
        self.found.push(Finding { offset, pointer: pointer.to_string(), message });
    }
}

/// The known name that is nearest to a mistyped one, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

fn wanted_type(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("string"),
        _ => "string", // choices of constants have no type of their own
    }
}
