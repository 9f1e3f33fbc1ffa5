//! The decision log, and what another pack would have made of it.

use std::process::Command;

use http::Request;
use serde_json::Value;
use unskew::gateway::Gateway;

use crate::reload::{Folder, NEW, TEXT};
use crate::support::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn each_decision_is_a_line_without_what_the_mask_covers_and_replay_says_what_would_change() {
    let folder = Folder::new("decisions");
    let (log, server) = (folder.0.join("log"), Upstream::echo().await);
    let text = format!("{TEXT}[decisions]\nfile = {log:?}\nrecords = true\nmask = [\"/session_id\"]\n");
    let gateway = Gateway::start(config(&text, &[server.entry("1")]), runtime(), None).unwrap();
    let parents = [format!("00-{TRACE}-00f067aa0ba902b7-01"), "00-0-0-0".to_owned(), String::new()];
    for (number, parent) in parents.iter().enumerate() {
        let request = Request::builder().method("POST").uri(format!("/sessions/private{number}/join"));
        let request = if parent.is_empty() { request } else { request.header("traceparent", parent) };
        let record = NEW.replace("\"s\"", "\"a-secret\"");
        Client::connect(gateway.address()).await.send(request, sized(record)).await.ok();
        assert_eq!(server.last().header("traceparent").unwrap_or_default(), parent, "it passes on as it came");
    }
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    until("all are written", || lines().lines().count() == 3).await;
    let said = lines();
    assert!(!said.contains("a-secret") && !said.contains("private"), "{said}");
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["trace"], &first["tier"], &first["record_version"], &first["server_version"], &first["revision"]),
        (&TRACE.into(), &"carried".into(), &"2".into(), &"1".into(), &1.into())
    );
    assert!(said.lines().skip(1).all(|line| line.contains("\"trace\":null")), "{said}");

    let replay = |pack: &str| {
        std::fs::write(folder.0.join("next.toml"), pack).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_unskew"));
        let run = program.args(["replay", "--pack"]).arg(folder.0.join("next.toml")).arg(&log).output().unwrap();
        (run.status.code().unwrap(), String::from_utf8(run.stdout).unwrap())
    };
    let (code, text) = replay(PACK);
    assert_eq!((code, text.contains("nothing would change")), (0, true), "{text}");
    let (code, text) = replay(&PACK.replace("[policy]", "[policy]\ncarry = \"none\""));
    assert_eq!(
        (code, text.contains("3 requests, record of version 2 on a server of 1: carried before, lossy now")),
        (1, true),
        "{text}"
    );
    let refusing = PACK
        .replace("{ add =", "{ map = \"/session_id\", values = [[\"x\", \"y\"]], otherwise = \"refuse\" }, { add =");
    let (code, text) = replay(&refusing);
    assert_eq!(
        (code, text.contains("3 records would be refused to version 1: unmapped, step 1→2")),
        (1, true),
        "{text}"
    );
}

#[tokio::test]
async fn one_of_so_many_is_logged_and_no_record_unasked() {
    let folder = Folder::new("sampled");
    let (log, server) = (folder.0.join("log"), Upstream::echo().await);
    let text = format!("{TEXT}[decisions]\nfile = {log:?}\none_of = 5\n");
    let gateway = Gateway::start(config(&text, &[server.entry("1")]), runtime(), None).unwrap();
    for number in 0..20 {
        post(&gateway, &format!("/sessions/s{number}/join"), NEW).await.ok();
    }
    gateway.stop().await;
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    until("four are written", || lines().lines().count() == 4).await;
    assert!(lines().lines().all(|line| line.contains("\"record\":null")), "{}", lines());
}
