//! docs/pack.schema.json says what packs can be: all of testdata's packs fit it, mistakes don't, and no op is missing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod packs;

use serde_json::Value;
use unskew_guest::OPS;

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pack.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_pack_of_testdata_fits_the_schema() {
    let schema = schema();
    let sources = packs::sources();
    assert!(sources.len() > 20);
    for source in sources {
        let pack: Value = serde_json::from_str(&source.json).unwrap();
        assert_eq!(misfit(&schema, &schema, &pack, ""), None, "{}", source.name);
    }
}

#[test]
fn the_schema_has_every_op_with_all_it_takes() {
    let schema = schema();
    let ops = schema["$defs"]["op"]["oneOf"].as_array().unwrap();
    let names: Vec<&str> = OPS.iter().flat_map(|op| [Some(op.name), op.twin]).flatten().collect();
    assert_eq!(ops.len(), names.len());
    for op in OPS {
        for name in [Some(op.name), op.twin].into_iter().flatten() {
            let entry = ops.iter().find(|entry| entry["required"][0] == name);
            let takes =
                entry.unwrap_or_else(|| panic!("the schema has no op {name}"))["properties"].as_object().unwrap();
            let syntax = op.syntax.split(['{', ',', '[']).filter_map(|part| Some(part.split_once(" = ")?.0.trim()));
            for key in syntax.filter(|key| *key != op.name) {
                assert!(takes.contains_key(key), "{name} takes {key}");
            }
        }
    }
}

#[test]
fn mistakes_do_not_fit_the_schema() {
    let schema = schema();
    let wrong = |op: &str| {
        let pack = format!(
            r#"{{"name":"p","revision":1,"version":[{{"id":"1"}}],"step":[{{"from":"1","to":"2","ops":[{op}]}}]}}"#
        );
        misfit(&schema, &schema, &serde_json::from_str(&pack).unwrap(), "")
    };
    assert_eq!(wrong(r#"{"rename":"/a","to":"b"}"#), None);
    for op in [
        r#"{"renam":"/a","to":"b"}"#,
        r#"{"rename":"/a"}"#,
        r#"{"rename":"a","to":"b"}"#,
        r#"{"rename":"/a","to":"b","colour":1}"#,
        r#"{"wrap":"/a","on_edit":"tail"}"#,
        r#"{"add":"/a","value":1,"when":{"equals":1}}"#,
    ] {
        assert!(wrong(op).is_some_and(|place| place.starts_with("/step/0/ops/0")), "{op}: {:?}", wrong(op));
    }
}

/// Where a value doesn't fit a schema, as far as this schema uses JSON Schema (2020-12).
fn misfit(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let wrong = || Some(place.to_owned());
    if let Some(reference) = schema["$ref"].as_str() {
        return misfit(root, root.pointer(&reference[1..]).unwrap(), value, place);
    }
    for (key, all) in schema.as_object().unwrap() {
        let told = match (key.as_str(), all) {
            ("type", Value::String(kind)) => {
                let fits = match kind.as_str() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("this test knows no type {other}"),
                };
                if fits { None } else { wrong() }
            }
            ("enum", Value::Array(names)) if !names.contains(value) => wrong(),
            ("const", constant) if constant != value => wrong(),
            ("pattern", pattern) => {
                assert_eq!(pattern, "^/");
                if value.as_str().is_some_and(|text| text.starts_with('/')) { None } else { wrong() }
            }
            ("minimum", least) if value.as_i64() < least.as_i64() => wrong(),
            ("maximum", most) if value.as_u64() > most.as_u64() => wrong(),
            ("minItems", least) if (value.as_array()?.len() as u64) < least.as_u64()? => wrong(),
            ("maxItems", most) if value.as_array()?.len() as u64 > most.as_u64()? => wrong(),
            ("required", names) => {
                let missing = |name: &Value| value.get(name.as_str().unwrap()).is_none();
                if value.is_object() && names.as_array()?.iter().any(missing) { wrong() } else { None }
            }
            ("items", items) => value
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .find_map(|(index, item)| misfit(root, items, item, &format!("{place}/{index}"))),
            ("properties", properties) => value.as_object().into_iter().flatten().find_map(|(key, value)| {
                properties.get(key).and_then(|schema| misfit(root, schema, value, &format!("{place}/{key}")))
            }),
            ("additionalProperties", Value::Bool(false)) => value
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(key, _)| schema["properties"].get(key).is_none().then(|| format!("{place}/{key}"))),
            ("additionalProperties", other) => value
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(key, value)| misfit(root, other, value, &format!("{place}/{key}"))),
            ("anyOf" | "oneOf", choices) => {
                let fits =
                    choices.as_array()?.iter().filter(|schema| misfit(root, schema, value, place).is_none()).count();
                if fits >= 1 && (key == "anyOf" || fits == 1) { None } else { wrong() }
            }
            _ => None,
        };
        if told.is_some() {
            return told;
        }
    }
    None
}
