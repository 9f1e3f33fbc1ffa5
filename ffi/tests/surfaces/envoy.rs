//! Envoy with the dynamic module: how it is started, and what is played on it alone.

#[path = "envoy_wasm.rs"]
pub(crate) mod wasm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::scenarios::{BODY, DOWN, NEW, PLAIN_BODY, RULES};
use crate::stage::{Cast, Stage};
use crate::support::{Client, PACK, sized, until};
use crate::surfaces::{Kind, Running, free_port, library, process, repository};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Envoy's program: the one that `UNSKEW_ENVOY` names, or the one that `tools/setup tests` has brought.
pub(crate) fn program() -> Option<PathBuf> {
    let brought = repository().join("target/tools/envoy");
    std::env::var_os("UNSKEW_ENVOY").map(PathBuf::from).or(brought.exists().then_some(brought))
}

/// What starts it on the configuration of the docs.
pub(crate) fn command(folder: &Path, port: u16) -> Command {
    configured(&example(folder, port), folder)
}

/// It runs on the same with changes.
async fn changed(folder: &Path, change: impl FnOnce(String) -> String) -> Running {
    let port = free_port();
    process(configured(&change(example(folder, port)), folder), folder, port).await
}

fn example(folder: &Path, port: u16) -> String {
    let text = std::fs::read_to_string(repository().join("plugins/envoy/envoy.yaml")).unwrap();
    let text = text
        .replace("/etc/unskew/unskew.toml", folder.join("unskew.toml").to_str().unwrap())
        .replace("/usr/lib/unskew/libunskew.so", library().to_str().unwrap())
        .replace("address: 0.0.0.0, port_value: 8080", &format!("address: 127.0.0.1, port_value: {port}"));
    with_servers(&text, folder)
}

/// What starts it with this configuration.
pub(crate) fn configured(text: &str, folder: &Path) -> Command {
    let path = folder.join("envoy.yaml");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(program().unwrap());
    command.args(["--concurrency", "2", "--use-dynamic-base-id", "--log-level", "warn", "-c"]).arg(path);
    command
}

/// The endpoints of the example's cluster are those of `unskew.toml`.
fn with_servers(text: &str, folder: &Path) -> String {
    let rules = std::fs::read_to_string(folder.join("unskew.toml")).unwrap();
    let rules: toml::Table = toml::from_str(&rules).unwrap();
    let (before, rest) = text.split_once("      - lb_endpoints:\n").unwrap();
    let after: String =
        rest.lines().skip_while(|line| line.starts_with("        - ")).map(|line| format!("{line}\n")).collect();
    let endpoint = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        format!("        - {{endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}}}\n")
    };
    let servers = rules["server"].as_array().unwrap().iter();
    let endpoints: String = servers.map(|server| endpoint(server["address"].as_str().unwrap())).collect();
    format!("{before}      - lb_endpoints:\n{endpoints}{after}")
}

pub(crate) fn here() -> bool {
    !Kind::Envoy.is_absent()
}

/// The same text with one thing in it replaced, which must be there.
pub(crate) fn replaced(text: String, what: &str, by: &str) -> String {
    assert!(text.contains(what), "{what}");
    text.replace(what, by)
}

/// A server that answers each request with these bytes and hangs up; and how many came.
async fn rude(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counts = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {
                counts.fetch_add(1, Ordering::SeqCst);
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, count)
}

fn server_of_2(address: SocketAddr) -> String {
    format!("[[server]]\nname = \"v2\"\naddress = \"{address}\"\nversion = \"2\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_no_say_in_where_a_request_goes() {
    if !here() {
        return;
    }
    let rules = format!("{RULES}{PLAIN_BODY}");
    let mut stage = Stage::set(Kind::Envoy, &rules, &[Cast::Echo("1"), Cast::Echo("2")], None).await;
    let old = stage.server("1");
    let forged = ["x-envoy-original-dst-host", "x-unskew-again", "x-unskew-server", "x-host", "x-envoy-retry-on"];
    for name in forged {
        for value in [&*old, "v1", "5xx", "0000000000000000"] {
            let request = Request::builder().method("POST").uri("/sessions/s/join").header(name, value);
            stage.send(request, sized(NEW)).await.ok();
            assert_eq!((stage.got("1"), stage.last("2").header("x-unskew-again")), (0, None), "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_the_route_takes_no_record_to_another_server() {
    if !here() {
        return;
    }
    let (address, came) = rude("").await;
    let rules = format!("{RULES}{PLAIN_BODY}{}", server_of_2(address));
    let retries = "retry_policy: {retry_on: \"5xx,reset,connect-failure\", num_retries: 5}";
    let retrying = |text| replaced(text, "timeout: 60s}", &format!("timeout: 60s, {retries}}}"));
    let start = async |folder: &Path| changed(folder, retrying).await;
    let mut stage = Stage::on(&rules, &[Cast::Echo("1")], None, start).await;
    let reply = stage.post("/sessions/s/join", NEW).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("broken-answer")));
    assert_eq!((came.load(Ordering::SeqCst), stage.got("1")), (1, 0), "once, and to nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_envoy_does_not_know_is_taken_by_nobody_whose_record_it_is_not() {
    if !here() {
        return;
    }
    let rules = format!("{RULES}{PLAIN_BODY}");
    let cast = [Cast::Echo("1"), Cast::Echo("2")];
    // The last endpoint, which is that of version 2, is missing in the cluster.
    let start = async |folder: &Path| {
        changed(folder, |text| {
            let at = text.rfind("        - {endpoint").unwrap();
            let end = at + text[at..].find('\n').unwrap() + 1;
            format!("{}{}", &text[..at], &text[end..])
        })
        .await
    };
    let mut stage = Stage::on(&rules, &cast, None, start).await;
    stage.post("/sessions/s/join", NEW).await.ok();
    assert_eq!((stage.last("1").text(), stage.got("2")), (DOWN, 0), "another server, and its record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_before_trailers_arrives_translated() {
    if !here() {
        return;
    }
    let trailers = |text| {
        let prefix = "stat_prefix: sessions\n";
        replaced(text, prefix, &format!("{prefix}          http_protocol_options: {{enable_trailers: true}}\n"))
    };
    let start = async |folder: &Path| changed(folder, trailers).await;
    let stage = Stage::on(&format!("{RULES}{BODY}"), &[Cast::Echo("1")], None, start).await;
    for length in [10, 400 << 10] {
        let record = format!(r#"{{"session_id":"s","bitrate":9000,"pad":"{}","schema":2}}"#, "x".repeat(length));
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        let head = "POST /sessions/s/join HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n";
        let body = format!("{:x}\r\n{record}\r\n0\r\nx-t: 1\r\n\r\n", record.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200");
        let got: serde_json::Value = serde_json::from_str(stage.last("1").text()).unwrap();
        assert_eq!((&got["sid"], got["pad"].as_str().map(str::len)), (&"s".into(), Some(length)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_never_passed_as_whole() {
    if !here() {
        return;
    }
    let (address, _) = rude("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"session_id\":").await;
    let rules = format!("{RULES}{BODY}{}", server_of_2(address));
    let stage = Stage::set(Kind::Envoy, &rules, &[], None).await;
    let request = Request::builder().method("POST").uri("/sessions/s/join");
    match stage.client().await.try_send(request, sized(NEW)).await {
        Ok(reply) => assert_eq!(reply.status, 502),
        Err(error) => assert!(error.is_incomplete_message() || error.is_closed(), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_of_the_filter_loses_no_request() {
    if !here() {
        return;
    }
    let start = async |folder: &Path| {
        std::fs::copy(folder.join("unskew.toml"), folder.join("other.toml")).unwrap();
        changed(folder, |text| {
            let (before, rest) = text.split_once("            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.http.dynamic").unwrap();
            let (filter, after) = rest.split_once("          - name: envoy.filters.http.router\n").unwrap();
            let filter = format!("              \"@type\": type.googleapis.com/envoy.extensions.filters.http.dynamic{filter}");
            std::fs::write(folder.join("filter.yaml"), filter).unwrap();
            discover(folder, "unskew.toml");
            let discovery = DISCOVERY.replace("FOLDER", folder.to_str().unwrap());
            format!("node: {{id: test, cluster: test}}\n{before}{discovery}          - name: envoy.filters.http.router\n{after}")
        })
        .await
    };
    let mut stage = Stage::on(&format!("{RULES}{PLAIN_BODY}"), &[Cast::Echo("1")], None, start).await;
    let (address, served) = (stage.address(), Arc::new(AtomicUsize::new(0)));
    let count = served.clone();
    let load = tokio::spawn(async move {
        loop {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let reply = Client::connect(address).await.send(request, sized(NEW)).await.ok();
            assert_eq!(reply.text(), DOWN);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for round in 1..=10 {
        let before = served.load(Ordering::SeqCst);
        let enough = || served.load(Ordering::SeqCst) >= before + 100 || load.is_finished();
        until("requests are served", enough).await;
        discover(stage.folder(), if round % 2 == 0 { "unskew.toml" } else { "other.toml" });
    }
    assert!(!load.is_finished(), "a request failed");
    load.abort();
    stage.post("/sessions/s/join", NEW).await.ok();
}

const DISCOVERY: &str = r#"            config_discovery:
              type_urls: [type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter]
              config_source:
                resource_api_version: V3
                path_config_source: {path: FOLDER/filters.yaml, watched_directory: {path: FOLDER}}
"#;

/// Writes the filter's configuration where Envoy looks for it.
fn discover(folder: &Path, config: &str) {
    let filter = std::fs::read_to_string(folder.join("filter.yaml")).unwrap().replace("unskew.toml", config);
    let text = format!(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\n  name: unskew\n  typed_config:\n{filter}"
    );
    std::fs::write(folder.join("ecds.new"), text).unwrap();
    std::fs::rename(folder.join("ecds.new"), folder.join("filters.yaml")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_used_is_refused_with_a_sentence_before_envoy_listens() {
    if !here() {
        return;
    }
    let folder = crate::stage::folder();
    std::fs::write(folder.join("pack.toml"), PACK).unwrap();
    let good = "pack = \"pack.toml\"\n[[server]]\nname = \"a\"\naddress = \"127.0.0.1:9\"\nversion = \"1\"\n";
    let validated = |config: &str, release: Option<&str>| {
        std::fs::write(folder.join("unskew.toml"), good).unwrap();
        let text = example(&folder, 1);
        std::fs::write(folder.join("unskew.toml"), config).unwrap();
        std::fs::write(folder.join("envoy.yaml"), text).unwrap();
        let mut command = Command::new(program().unwrap());
        command.args(["--mode", "validate", "-c"]).arg(folder.join("envoy.yaml"));
        command.envs(release.map(|release| ("UNSKEW_ENVOY_RELEASE", release)));
        let out = command.output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (fine, told) = validated(good, None);
    assert!(fine, "{told}");
    let (fine, told) = validated(good, Some("1.41.0"));
    assert!(
        !fine && told.contains("this is Envoy 1.41.0, and the library is made for the ABI v0.2.0 of Envoy 1.40"),
        "{told}"
    );
    let (fine, told) = validated(&format!("{good}[admin]\ntoken = {{ file = \"token\" }}\n"), None);
    assert!(!fine && told.contains("Envoy can't do [admin]"), "{told}");
    let (fine, told) = validated(&good.replace("pack.toml", "none.toml"), None);
    assert!(!fine && told.contains("none.toml"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}
