//! What a surface can't do is refused at its start, with a sentence.

use crate::scenarios::{PLAIN_BODY, RULES};
use crate::stage::Stage;
use crate::surfaces::Kind;

const ADMIN: &str = "[admin]\ntoken = { env = \"PATH\" }\n";
const STORE: &str = "[record.store]\nkey = \"session:{id}\"\n[store]\nkind = \"memory\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_surface_can_not_do_is_refused_at_its_start_with_a_sentence() {
    let admin = format!("{RULES}{PLAIN_BODY}{ADMIN}");
    let listener = "can't do [admin]: it has no listener of its own; leave it out, or run `unskew serve` for it";
    let cases = [
        (Kind::Tower, &admin, format!("this server {listener}")),
        (Kind::Pingora, &admin, format!("this proxy {listener}")),
        (Kind::Nginx, &admin, format!("nginx {listener}")),
        (Kind::Haproxy, &admin, format!("HAProxy {listener}")),
        (Kind::Envoy, &admin, format!("Envoy {listener}")),
        (
            Kind::Nginx,
            &format!("{RULES}{STORE}"),
            "nginx can't do [store] in memory: each of its processes would have one of its own".to_string(),
        ),
    ];
    for (kind, rules, sentence) in cases {
        if !kind.is_absent() {
            let said = Stage::refused(kind, rules).await;
            assert!(said.contains(&sentence), "{kind:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_surface_reads_the_same_file_and_tells_all_that_is_wrong_with_it() {
    let rules = format!("{RULES}{PLAIN_BODY}nothing = 1\n[policy]\nretires = 1\n[directory]\nredis = \"rediss://h\"\n");
    for kind in Kind::present().into_iter().filter(|kind| *kind != Kind::EnvoyWasm) {
        let said = Stage::refused(kind, &rules).await;
        for problem in ["unknown key \"nothing\"", "did you mean \"retries\"?"] {
            assert!(said.contains(problem), "{kind:?}: {said}");
        }
    }
    let rules = format!("{RULES}{PLAIN_BODY}[policy]\nspill = 7.0\n[directory]\nredis = \"rediss://h\"\n");
    for kind in Kind::present().into_iter().filter(|kind| *kind != Kind::EnvoyWasm) {
        let said = Stage::refused(kind, &rules).await;
        for problem in ["expected a part of the server limit, 0 to 1", "a directory is reached without TLS"] {
            assert!(said.contains(problem), "{kind:?}: {said}");
        }
    }
}
