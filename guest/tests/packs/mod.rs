//! Packs without the host: TOML turned into the JSON that the guest reads, number text kept, and all that testdata has.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests and fuzz targets; none of them uses everything"
)]

pub mod laws;

use std::path::PathBuf;

use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

/// A pack of testdata, with the records and carries that stand beside it.
pub struct Source {
    /// The file's name.
    pub name: String,
    /// The pack as the guest reads it.
    pub json: String,
    /// Records of its examples and cases.
    pub records: Vec<String>,
    /// Carries of its cases.
    pub carries: Vec<String>,
}

/// Every pack of testdata that has no problems, by name.
pub fn sources() -> Vec<Source> {
    let read = |folder| texts(folder).into_iter().map(|(name, text)| (name, text.parse::<DocumentMut>().unwrap()));
    let packs = read("packs").map(|(name, pack)| Source::of(name, &pack, &[]));
    let cases = read("suite").filter(|(_, file)| file.contains_key("case")).map(|(name, file)| {
        let pack = file["pack"].as_str().unwrap().parse().unwrap();
        Source::of(name, &pack, &file["case"].as_array_of_tables().unwrap().iter().collect::<Vec<_>>())
    });
    packs.chain(cases).collect()
}

/// The text of each file in a folder of testdata, by name.
pub fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

/// The JSON form of a pack.
pub fn json(table: &dyn TableLike) -> String {
    let members = table.iter().map(|(key, item)| format!("{}:{}", serde_json::Value::from(key), item_json(item)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

impl Source {
    /// The text of every op of the pack's steps.
    pub fn ops(&self) -> Vec<String> {
        let pack: serde_json::Value = serde_json::from_str(&self.json).unwrap();
        let steps = pack["step"].as_array().into_iter().flatten();
        steps.flat_map(|step| step["ops"].as_array().into_iter().flatten()).map(ToString::to_string).collect()
    }

    fn of(name: String, pack: &DocumentMut, cases: &[&toml_edit::Table]) -> Source {
        let examples: Vec<&dyn TableLike> = match pack.get("example") {
            Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| table as &dyn TableLike).collect(),
            _ => Vec::new(),
        };
        let texts = |tables: &[&dyn TableLike], keys: &[&str]| {
            let texts = tables.iter().flat_map(|table| keys.iter().filter_map(|key| table.get(key)?.as_str()));
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        let cases: Vec<&dyn TableLike> = cases.iter().map(|case| *case as &dyn TableLike).collect();
        let mut records = texts(&examples, &["lower", "upper"]);
        records.extend(texts(&cases, &["record", "becomes", "edit", "back"]));
        Source { name, json: json(pack.as_table()), records, carries: texts(&cases, &["carry"]) }
    }
}

fn item_json(item: &Item) -> String {
    match item {
        Item::None => "null".to_owned(),
        Item::Value(value) => value_json(value),
        Item::Table(table) => json(table),
        Item::ArrayOfTables(tables) => {
            format!("[{}]", tables.iter().map(|table| json(table)).collect::<Vec<_>>().join(","))
        }
    }
}

fn value_json(value: &Value) -> String {
    let literal = |table: &InlineTable| table.get("json").filter(|_| table.len() == 1)?.as_str().map(str::to_owned);
    match value {
        Value::String(text) => serde_json::Value::from(text.value().as_str()).to_string(),
        Value::Integer(number) => number.display_repr().replace(['_', '+'], ""),
        Value::Float(number) => number.display_repr().replace(['_', '+'], ""),
        Value::Boolean(value) => value.value().to_string(),
        Value::Datetime(time) => format!("\"{}\"", time.value()),
        Value::Array(items) => format!("[{}]", items.iter().map(value_json).collect::<Vec<_>>().join(",")),
        Value::InlineTable(table) => literal(table).unwrap_or_else(|| json(table)),
    }
}
