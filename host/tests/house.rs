//! What ARCHITECTURE.md and deny.toml promise about the sources and what they are built from.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap()
}

/// Every Rust file below a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![workspace().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// What cargo says of the workspace and of all that it is built from.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .current_dir(workspace())
            .output()
            .unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        serde_json::from_slice(&cargo.stdout).unwrap()
    })
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn deny() -> Value {
    let deny: toml::Table = toml::from_str(&text("deny.toml")).unwrap();
    serde_json::to_value(deny).unwrap()
}

#[test]
fn the_host_links_no_guest() {
    let host = list(metadata(), "packages").iter().find(|package| package["name"] == "unskew").unwrap();
    let kinds = list(host, "dependencies").iter().filter(|dependency| dependency["name"] == "unskew-guest");
    assert_eq!(kinds.map(|dependency| dependency["kind"].as_str()).collect::<Vec<_>>(), [Some("dev")]);
}

#[test]
fn two_files_know_generated_types() {
    let knows = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.contains("bindgen") || text.contains("exports::unskew")
    };
    let files = ["guest/src", "host/src"].into_iter().flat_map(sources).filter(knows);
    let files: BTreeSet<PathBuf> = files.map(|path| path.strip_prefix(workspace()).unwrap().to_owned()).collect();
    assert_eq!(files, ["guest/src/component.rs", "host/src/bindings.rs"].map(PathBuf::from).into());
}

#[test]
fn no_module_is_a_drawer() {
    for path in ["guest", "host", "benches"].into_iter().flat_map(sources) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["util", "utils", "common", "helper", "helpers", "misc"].contains(&name), "{}", path.display());
    }
}

#[test]
fn every_phase_stands_on_the_map_and_every_test_that_it_names_exists() {
    let map = text("ARCHITECTURE.md");
    let stems = |folder: &str| {
        sources(folder).into_iter().filter(|path| {
            !path.components().any(|part| {
                part.as_os_str() == "gateway"
                    || part.as_os_str() == "cli"
                    || part.as_os_str() == "rehearsal"
                    || part.as_os_str() == "config"
            })
        })
    };
    for path in stems("guest/src").chain(stems("host/src")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let known = name == "lib"
            || [format!("`{name}`"), format!("`{name}."), format!("/{name}")]
                .iter()
                .any(|form| map.contains(form.as_str()));
        assert!(known || map.contains(&format!("{name}*")), "{name} isn't on the map");
    }
    let tests: String = sources("host/tests").into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let (_, table) = map.split_once("## Invariants").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let names = table.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2);
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 12);
    for name in names {
        assert!(tests.contains(&format!("fn {name}(")), "the test {name} doesn't exist");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/check.md",
        "docs/embedding.md",
        "docs/gateway.md",
        "docs/gateways/README.md",
        "docs/gateways/c.md",
        "docs/gateways/envoy.md",
        "docs/gateways/haproxy.md",
        "docs/gateways/nginx.md",
        "docs/gateways/pingora.md",
        "docs/gateways/tower.md",
        "docs/guests.md",
        "docs/guide.md",
        "docs/infer.md",
        "docs/json.md",
        "docs/operations.md",
        "docs/rehearsal.md",
        "docs/rules.md",
    ];
    for name in documents {
        let folder = workspace().join(name);
        let folder = folder.parent().unwrap();
        for link in text(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let target = if file.is_empty() { workspace().join(name) } else { folder.join(file) };
            assert!(target.exists(), "{name}: {link} leads nowhere");
            let slug = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
            };
            let found = heading.is_empty()
                || std::fs::read_to_string(&target)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == heading);
            assert!(found, "{name}: {link} names no heading");
        }
    }
}

#[test]
fn every_licence_and_source_is_one_that_deny_toml_allows() {
    let deny = deny();
    let allowed: BTreeSet<&str> =
        list(&deny["licenses"], "allow").iter().map(|licence| licence.as_str().unwrap()).collect();
    let registries: Vec<&str> =
        list(&deny["sources"], "allow-registry").iter().map(|url| url.as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for package in list(metadata(), "packages") {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or("none"));
        assert!(permits(licence, &allowed, &mut used), "{name}: {licence} isn't allowed");
        let source = package["source"].as_str().map(|source| source.trim_start_matches("registry+"));
        assert!(source.is_none_or(|source| registries.contains(&source)), "{name} comes from {source:?}");
    }
    assert_eq!(used, allowed, "deny.toml allows what nothing needs");
}

/// Whether an SPDX expression is fulfilled by the allowed licences: one of each `OR`, all of each `AND`.
fn permits<'l>(expression: &'l str, allowed: &BTreeSet<&'l str>, used: &mut BTreeSet<&'l str>) -> bool {
    let one_of = |part: &'l str, used: &mut BTreeSet<&'l str>| {
        let part = part.trim().trim_start_matches('(').trim_end_matches(')');
        let choices = part.split(" OR ").flat_map(|choice| choice.split('/')).map(str::trim);
        let fitting: Vec<&str> = choices.filter(|choice| allowed.contains(choice)).collect();
        used.extend(&fitting);
        !fitting.is_empty()
    };
    expression.split(" AND ").all(|part| one_of(part, used))
}

#[test]
fn no_feature_is_on_that_deny_toml_bans() {
    let deny = deny();
    for ban in list(&deny["bans"], "features") {
        let name = ban["crate"].as_str().unwrap();
        let at = format!("#{name}@");
        let nodes =
            list(&metadata()["resolve"], "nodes").iter().filter(|node| node["id"].as_str().unwrap().contains(&at));
        let features: Vec<&Value> = nodes.flat_map(|node| list(node, "features")).collect();
        assert!(!features.is_empty(), "{name} is not in the build any more");
        for banned in list(ban, "deny") {
            assert!(!features.contains(&banned), "{name} has the feature {banned}");
        }
    }
}

#[test]
fn no_banned_crate_is_in_the_build() {
    let deny = deny();
    for ban in list(&deny["bans"], "deny") {
        assert!(list(metadata(), "packages").iter().all(|package| package["name"] != ban["crate"]), "{}", ban["crate"]);
    }
}
