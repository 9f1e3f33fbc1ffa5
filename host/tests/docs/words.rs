//! The words of the code that documents must know: a new op, policy key or fault without a line of its own is red.

use unskew::Limits;
use unskew_guest::{OPS, Policy, Reference, Rules};

use crate::document;

/// The quoted names of a list in a source file, from `start` to `end`.
fn names(file: &str, start: &str, end: &str) -> Vec<String> {
    let source = document(file);
    let (_, rest) = source.split_once(start).unwrap_or_else(|| panic!("{file} has no {start:?} any more"));
    let (list, _) = rest.split_once(end).unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The cells of the rows of a table whose first cell is `code`.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
    text.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// What stands below a heading, up to the next one of its rank.
fn section(document: &str, heading: &str) -> String {
    let rank = heading.split(' ').next().unwrap();
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    rest.split(&format!("\n{rank} ")).next().unwrap().to_owned()
}

#[test]
fn every_op_has_a_section_and_a_row() {
    let rules = document("docs/rules.md");
    let ops_section = section(&rules, "## Ops");
    let (table, _) = ops_section.split_once("\n### ").unwrap();
    let table: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(table, OPS.map(|op| row(&op)));
    for op in &OPS {
        assert!(
            ops_section.contains(&rendered(op)),
            "{} has no section that begins like this:\n{}",
            op.name,
            rendered(op)
        );
    }
    assert_eq!(ops_section.matches("\n### ").count(), OPS.len());
}

fn title(op: &Reference) -> String {
    op.twin.map_or(format!("`{}`", op.name), |twin| format!("`{}`, `{twin}`", op.name))
}

fn row(op: &Reference) -> String {
    format!("| {} | {} | {} | {} |", title(op), op.upwards, op.downwards, op.loses)
}

/// How the section of an op begins: how it is written, an example, and what it refuses.
fn rendered(op: &Reference) -> String {
    let [ops, lower, upper] = op.example;
    let blocks = format!("```toml ops\n{ops},\n```\n\n```json lower\n{lower}\n```\n\n```json upper\n{upper}\n```");
    format!("\n### {}\n\n`{}`\n\n{blocks}\n\nRefused: {}.\n", title(op), op.syntax, op.refuses)
}

#[test]
fn every_form_of_time_kind_of_value_and_rounding_is_named() {
    let rules = document("docs/rules.md");
    let lists = [
        ("guest/src/time.rs", "NAMES: [&str; 5]"),
        ("guest/src/json.rs", "NAMES: [(&str, Kind); 6]"),
        ("guest/src/number.rs", "NAMES: [(&str, Rounding); 4]"),
    ];
    for (file, start) in lists {
        for name in names(file, start, "];") {
            assert!(rules.contains(&format!("`{name}`")), "{file}: {name} isn't described");
        }
    }
}

#[test]
fn every_policy_key_has_a_row_with_its_default_and_range() {
    let table = rows(&section(&document("docs/rules.md"), "## Policy"));
    let Policy { carry_member, carry_max_bytes, max_bytes, max_depth, max_lost, .. } = Policy::default();
    let source = document("guest/src/pack.rs");
    let (_, fields) = source.split_once("pub struct Policy {").unwrap();
    let fields = fields.split('}').next().unwrap().lines();
    let keys: Vec<&str> = fields.filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()).collect();
    assert_eq!(table.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), keys);
    for row in &table {
        let [key, default, values, ..] = row.as_slice() else { panic!("{row:?}") };
        let number = |n: u32| n.to_string();
        match key.as_str() {
            "carry_member" => assert_eq!(*default, carry_member),
            "carry_max_bytes" => assert_eq!(*default, number(carry_max_bytes)),
            "max_bytes" => assert_eq!(*default, number(max_bytes)),
            "max_lost" => assert_eq!(*default, number(max_lost)),
            "max_depth" => assert_eq!(*default, number(max_depth)),
            _ => assert_eq!(accepts(key, &format!("\"{default}\"")), Ok(Policy::default()), "{key}"),
        }
        if let Some((low, high)) = values.split_once(" to ") {
            let (low, high): (u64, u64) = (low.parse().unwrap(), high.parse().unwrap());
            assert!(accepts(key, &low.to_string()).is_ok() && accepts(key, &high.to_string()).is_ok(), "{key}");
            assert!(accepts(key, &(high + 1).to_string()).is_err(), "{key}");
            assert!(low == 0 || accepts(key, &(low - 1).to_string()).is_err(), "{key}");
        } else if key != "carry_member" {
            for value in values.split(", ") {
                assert!(accepts(key, &format!("\"{value}\"")).is_ok(), "{key} = {value}");
            }
        }
    }
}

fn accepts(key: &str, value: &str) -> Result<Policy, String> {
    let pack = format!(
        r#"{{"name":"p","revision":1,"version":[{{"id":"1","marker":{{"path":"/v","absent":true}}}}],"policy":{{"{key}":{value}}}}}"#
    );
    let rules = Rules::load(pack.as_bytes()).map_err(|problems| format!("{problems:?}"))?;
    Ok(rules.manifest().policy.clone())
}

#[test]
fn every_fault_of_the_contract_has_a_row() {
    let contract = document("wit/compat.wit");
    let (_, kinds) = contract.split_once("enum fault-kind {").unwrap();
    let kinds = kinds.split('}').next().unwrap().lines().map(str::trim);
    let kinds: Vec<&str> =
        kinds.filter_map(|line| line.strip_suffix(',').filter(|line| !line.starts_with('/'))).collect();
    let table = rows(&section(&document("docs/rules.md"), "## Faults"));
    assert_eq!(table.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), kinds);
}

#[test]
fn every_limit_has_a_row_with_its_default() {
    let limits = Limits::default();
    let is = [
        ("cpu_base", format!("{:?}", limits.cpu_base)),
        ("cpu_per_kib", format!("{:?}", limits.cpu_per_kib)),
        ("cpu_load", format!("{:?}", limits.cpu_load)),
        ("memory", limits.memory.map_or("from the pack's max_bytes".to_owned(), |bytes| bytes.to_string())),
        ("instances", limits.instances.to_string()),
        ("wait", format!("{:?}", limits.wait)),
        ("artefact", limits.artefact.to_string()),
    ];
    let table = rows(&section(&document("docs/embedding.md"), "## Limits, isolation, failures"));
    let shown: Vec<(&str, String)> = table.iter().map(|row| (row[0].as_str(), row[1].clone())).collect();
    assert_eq!(shown, is);
}
