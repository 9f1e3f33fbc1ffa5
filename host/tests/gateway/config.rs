//! The configuration file: its problems, its schema and its documentation.

use std::path::PathBuf;

use unskew::Runtime;
use unskew::config::{Config, json_schema};
use unskew::gateway::{Gateway, StartError};

use crate::support::*;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn problems(text: &str) -> Vec<String> {
    let error = Config::from_toml("unskew.toml", text).unwrap_err();
    error.to_string().lines().map(str::to_string).collect()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_the_line() {
    let text = "listen = \"127.0.0.1:0\"\n\n[[server]]\naddres = \"127.0.0.1:1\"\naddress = \"127.0.0.1:1\"\n";
    assert_eq!(problems(text), ["unskew.toml:4:1: unknown key \"addres\", did you mean \"address\"?"]);
    assert_eq!(problems("zzzzzz = 1\n"), ["unskew.toml:1:1: unknown key \"zzzzzz\""]);
}

#[test]
fn all_that_the_schema_forbids_is_told_at_once() {
    let text = "mode = \"enforced\"\nexplain = 1\n[polici]\n[[server]]\nname = \"a\"\nweight = -1\n[health]\ninterval_ms = \"1s\"\n";
    assert_eq!(
        problems(text),
        [
            "unskew.toml:1:8: unknown value \"enforced\", expected one of off, observe, enforce",
            "unskew.toml:2:11: expected a boolean, found integer",
            "unskew.toml:3:2: unknown key \"polici\", did you mean \"policy\"?",
            "unskew.toml:4:1: the key \"address\" is missing",
            "unskew.toml:6:10: expected a whole number of at least 0",
            "unskew.toml:8:15: expected an integer, found string",
        ]
    );
}

#[test]
fn all_that_no_schema_can_say_is_told_at_once() {
    let text = r#"
listen = "localhost"
[[server]]
name = "a"
address = "127.0.0.1:1"
[[server]]
name = "a"
address = "127.0.0.1:1"
[[join]]
match = "POST /sessions"
[[join]]
match = "POST /s/{id}"
id = { path = "sid" }
[[join]]
match = "GET /s"
id = { response-body = "/id" }
[[create]]
match = "POST sessions"
[record.body]
request = "a/b"
[record.store]
key = "session"
[policy]
spill = 2
ramp = { "2" = 10 }
"#;
    assert_eq!(
        problems(text),
        [
            "unskew.toml:2:1: expected an address like \"127.0.0.1:8080\", found \"localhost\"",
            "unskew.toml:7:1: two servers are called \"a\"",
            "unskew.toml:8:1: two servers listen on \"127.0.0.1:1\"",
            "unskew.toml:10:1: where does the session id stand? put {id} into the pattern, or say id = { query = \"…\" }",
            "unskew.toml:13:8: the pattern has no {sid}",
            "unskew.toml:16:1: only a create can learn the id from the answer",
            "unskew.toml:18:1: a path begins with \"/\", found \"sessions\"",
            "unskew.toml:19:2: say one of body, header, cookie and store: a record is in one place",
            "unskew.toml:20:1: a JSON Pointer is empty or begins with \"/\", found \"a/b\"",
            "unskew.toml:22:1: the key needs {id}, or all sessions share one record",
            "unskew.toml:24:1: expected a part of the server limit, 0 to 1",
            "unskew.toml:25:1: a ramp needs selection = \"weighted\"",
        ]
    );
}

#[test]
fn a_shared_directory_that_can_not_be_is_refused_and_its_password_told_to_nobody() {
    let said = |directory: &str| problems(&format!("[[server]]\naddress = \"127.0.0.1:1\"\n[directory]\n{directory}"));
    for wrong in ["http://hush:hush@h", "hush", "redis://u:hush@h/x", "redis://u:hu sh@h:99999"] {
        let problems = said(&format!("redis = \"{wrong}\"\n"));
        assert!(problems.len() == 1 && problems[0].contains("redis://[user:password@]host"), "{problems:?}");
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }
    let said = said(
        "redis = \"rediss://h\"\nprefix = \"\"\ntimeout_ms = 0\nttl_s = 10\naway_s = 11\nfresh_ms = 11000\npassword = {}\n",
    );
    let has = |part: &str| assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:?}");
    has("without TLS");
    has("without a prefix");
    has("expected 1 to 10000 ms");
    has("a secret is read from one place");
    assert_eq!(said.iter().filter(|line| line.contains("what is forgotten is not believed")).count(), 2);
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let found = problems("listen = \nmode = \"off\"\n");
    assert!(found[0].starts_with("unskew.toml:1:"), "{found:?}");
    assert!(
        problems("").contains(&"unskew.toml: no server: name at least one [[server]] with its address".to_string())
    );
}

#[test]
fn the_schema_in_the_docs_is_current() {
    let path = repository().join("docs/unskew.schema.json");
    let now = serde_json::to_string_pretty(json_schema()).unwrap() + "\n";
    if std::env::var_os("UNSKEW_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == now, "docs/unskew.schema.json is old: run this test with UNSKEW_WRITE_SCHEMA=1");
}

#[test]
fn every_key_is_in_the_docs() {
    fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(members) => {
                let properties = members.get("properties").and_then(|properties| properties.as_object());
                found.extend(properties.into_iter().flat_map(|properties| properties.keys().cloned()));
                members.values().for_each(|value| keys(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let docs = std::fs::read_to_string(repository().join("docs/gateway.md")).unwrap();
    let mut found = Vec::new();
    keys(json_schema(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|key| !docs.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/gateway.md doesn't speak of {missing:?}");
}

#[tokio::test]
async fn the_configuration_in_the_docs_starts() {
    let docs = std::fs::read_to_string(repository().join("docs/gateway.md")).unwrap();
    let text = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut config = Config::from_toml("docs/gateway.md", text).unwrap();
    config.listen = "127.0.0.1:0".to_string();
    config.pack = Some(repository().join("testdata").join(config.pack.unwrap()));
    config.store.as_mut().unwrap().listen = Some("127.0.0.1:0".to_string());
    let gateway = Gateway::start(config, Runtime::empty().unwrap(), None).unwrap();
    assert!(gateway.store_address().is_some());
    assert_eq!(gateway.counts().swaps, 1);
    gateway.stop().await;
}

#[test]
fn what_can_not_start_says_why() {
    let start = |config| Gateway::start(config, Runtime::empty().unwrap(), None).map(drop).unwrap_err();
    let error = start(config("record.store = {}", &[]));
    assert!(matches!(error, StartError::NoStore), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut occupied = config("", &[]);
    occupied.listen = taken.local_addr().unwrap().to_string();
    assert!(start(occupied).to_string().contains("can't listen"));
    let error = start(config("pack = \"/nowhere/pack.toml\"", &[]));
    assert!(error.to_string().contains("/nowhere/pack.toml"), "{error}");
    let mut unchecked = config("", &[]);
    unchecked.listen = "here".to_string();
    assert_eq!(
        start(unchecked).to_string(),
        "config: /listen: expected an address like \"127.0.0.1:8080\", found \"here\""
    );
}

#[tokio::test]
async fn a_pack_with_an_inline_carry_is_refused_where_clients_reach_the_record() {
    let inline = PACK.replace("[policy]", "[policy]\ncarry = \"inline\"");
    let runtime = || Runtime::new(&unskew::Pack::from_toml("inline.toml", &inline).unwrap()).unwrap();
    let error = Gateway::start(config("record.body = { request = \"\" }", &[]), runtime(), None).map(drop).unwrap_err();
    assert!(error.to_string().contains("[seal] keys = [{ file"), "{error}");
    Gateway::start(config("record.store = {}\nstore = {}", &[]), runtime(), None).unwrap().stop().await;
}
