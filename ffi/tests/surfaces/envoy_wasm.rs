//! Envoy with the proxy-wasm filter: how it is started, and what is played on it alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use http::Request;
use unskew::config::Config;
use unskew::gateway::{filter_configuration, filter_discovery};

use super::{configured, here, replaced};
use crate::load::{Connections, Load};
use crate::scenarios::{BITRATE, BODY, NEW, PLAIN_BODY, RULES, pack};
use crate::stage::{Cast, Stage};
use crate::support::{Client, sized};
use crate::surfaces::{Kind, Running, library, repository};

/// What starts it on the configuration of the docs, with a cluster for each server of `unskew.toml`.
pub(crate) fn command(folder: &Path, port: u16) -> Command {
    discover(folder);
    let text = std::fs::read_to_string(repository().join("plugins/envoy/wasm.yaml")).unwrap();
    let text = text
        .replace("/etc/unskew/envoy", folder.to_str().unwrap())
        .replace("address: 0.0.0.0, port_value: 8080", &format!("address: 127.0.0.1, port_value: {port}"));
    let (before, clusters) = text.split_once("  - {name: v1").unwrap();
    let example = format!("  - {{name: v1{}", clusters.lines().next().unwrap());
    let cluster = |server: &unskew::config::ServerEntry| {
        let (host, server_port) = server.address.rsplit_once(':').unwrap();
        let text = replaced(example.clone(), "v1", &server.name);
        let text = replaced(text, "9001", server_port);
        replaced(text, "127.0.0.1", host) + "\n"
    };
    let clusters: String = config(folder).servers.iter().map(cluster).collect();
    configured(&format!("{before}{clusters}"), folder)
}

/// Writes the filter's configuration where Envoy looks for it, as `unskew wasm` does.
pub(crate) fn discover(folder: &Path) {
    let text = filter_discovery(&config(folder), &filter()).unwrap();
    std::fs::write(folder.join("ecds.new"), text).unwrap();
    std::fs::rename(folder.join("ecds.new"), folder.join("ecds.yaml")).unwrap();
}

/// The scenarios' configuration without what the filter refuses: it learns no ids, for want of a directory.
fn config(folder: &Path) -> Config {
    let text = std::fs::read_to_string(folder.join("unskew.toml")).unwrap();
    let text = text.replace("id = { response-body = \"/session_id\" }\n", "");
    let path = folder.join("wasm.toml");
    std::fs::write(&path, text).unwrap();
    Config::from_file(path).unwrap()
}

/// The filter, built as the documents say.
fn filter() -> PathBuf {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap();
    if !*built {
        let cargo =
            ["build", "--locked", "--profile", "guest", "-p", "unskew-filter", "--target", "wasm32-unknown-unknown"];
        let done = Command::new(env!("CARGO")).args(cargo).current_dir(repository()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        *built = true;
    }
    let target = library().ancestors().nth(3).unwrap().to_owned();
    target.join("wasm32-unknown-unknown/guest/unskew_filter.wasm")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_no_say_in_the_cluster() {
    if !here() {
        return;
    }
    let cast = [Cast::Echo("1"), Cast::Echo("2")];
    let mut stage = Stage::set(Kind::EnvoyWasm, &format!("{RULES}{PLAIN_BODY}"), &cast, None).await;
    for (name, value) in [("x-unskew-server", "v1"), ("x-unskew-address", "127.0.0.1:1"), ("x-unskew-other", "v1")] {
        let request = Request::builder().method("POST").uri("/sessions/s/join").header(name, value);
        stage.send(request, sized(NEW)).await.ok();
        let got = stage.last("2");
        assert_eq!((stage.got("1"), got.headers.keys().any(|key| key.as_str().starts_with("x-unskew"))), (0, false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_bad_is_refused_and_the_old_one_serves_on() {
    if !here() {
        return;
    }
    let mut stage = Stage::set(Kind::EnvoyWasm, &format!("{RULES}{PLAIN_BODY}"), &[Cast::Echo("1")], None).await;
    stage.post("/sessions/s/join", NEW).await.ok();
    let good = std::fs::read_to_string(stage.folder().join("ecds.yaml")).unwrap();
    for bad in [replaced(good.clone(), "rename", "renamed"), replaced(good, "unskew_filter.wasm", "none.wasm")] {
        std::fs::write(stage.folder().join("ecds.new"), bad).unwrap();
        std::fs::rename(stage.folder().join("ecds.new"), stage.folder().join("ecds.yaml")).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        stage.post("/sessions/s/join", NEW).await.ok();
        assert_eq!(stage.last("1").text(), crate::scenarios::DOWN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_envoy_discovers_are_swapped_under_load_and_no_request_fails() {
    if !here() {
        return;
    }
    let stage = Stage::set(Kind::EnvoyWasm, &format!("{RULES}{BODY}"), &[Cast::Echo("1")], None).await;
    let load = Load::begin(stage.address(), 3, Connections::Kept);
    for revision in 2..52 {
        stage.push(&pack(revision));
        load.reaches(BITRATE + revision).await; // each of them has served
    }
    load.end().await.expect("no request fails");
}

/// Answers every request with a loop without end: what no guest of ours does, and what Envoy doesn't stop.
const ENDLESS: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop (br 0)) i32.const 0))"#;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stops_a_filter_of_envoys_that_never_ends() {
    if !here() {
        return;
    }
    let start = async |folder: &Path| {
        let endless = folder.join("endless.wasm");
        std::fs::write(&endless, wat::parse_str(ENDLESS).unwrap()).unwrap();
        start_with(folder, &endless).await
    };
    let stage = Stage::on(&format!("{RULES}{PLAIN_BODY}"), &[Cast::Echo("1")], None, start).await;
    let served = async |stage: &Stage| {
        let mut client = Client::connect(stage.address()).await;
        let request = Request::builder().uri("/other");
        tokio::time::timeout(Duration::from_secs(2), client.send(request, sized(""))).await.is_ok()
    };
    // Both workers are caught, one by one; after that nobody is served, and only SIGKILL ends it.
    for _ in 0..3 {
        assert!(!served(&stage).await);
    }
    stage.signal("-TERM");
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.signal("-KILL"); // which succeeds, as it is still there
}

async fn start_with(folder: &Path, filter: &Path) -> Running {
    let running = Kind::EnvoyWasm.start(folder).await;
    let text = filter_discovery(&config(folder), filter).unwrap();
    std::fs::write(folder.join("ecds.new"), text).unwrap();
    std::fs::rename(folder.join("ecds.new"), folder.join("ecds.yaml")).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    running
}

#[test]
fn what_the_filter_can_not_do_is_refused_with_a_sentence() {
    let folder = crate::stage::folder();
    std::fs::write(folder.join("pack.toml"), crate::support::PACK).unwrap();
    std::fs::write(folder.join("key"), "0123456789012345678901234567890123456789").unwrap();
    let good = "pack = \"pack.toml\"\nrecord.body = { request = \"\" }\n[[server]]\nname = \"a\"\naddress = \"127.0.0.1:9\"\nversion = \"1\"\n";
    let said = |text: &str| {
        std::fs::write(folder.join("unskew.toml"), text).unwrap();
        let config = Config::from_file(folder.join("unskew.toml")).unwrap();
        filter_configuration(&config).map_err(|error| error.to_string())
    };
    assert!(said(good).unwrap().starts_with(r#"{"pack":{"name":"test","revision":1,"#));
    for (what, why) in [
        ("[admin]\ntoken = { file = \"key\" }\n", "[admin]: it has no listener"),
        (
            "[[create]]\nmatch = \"POST /s\"\nid = { response-body = \"/id\" }\n",
            "an id in a body or in an answer: it keeps no directory",
        ),
        ("[policy]\non_call_failure = \"open\"\n", "a policy that is \"open\""),
        ("[policy]\nserver_limit = 3\n", "policy.server_limit: it counts no requests"),
        ("[decisions]\nfile = \"log\"\n", "[decisions]: it writes no files"),
        ("[guest]\nfile = \"guest.wasm\"\n", "guest.file: it is the standard guest itself"),
    ] {
        let refused = said(&format!("{good}{what}")).unwrap_err();
        assert!(refused.starts_with("the proxy-wasm filter can't do ") && refused.contains(why), "{what}: {refused}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
