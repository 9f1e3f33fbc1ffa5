//! Packs swapped while it serves.

use std::path::PathBuf;

use unskew::Runtime;
use unskew::gateway::Gateway;

use crate::support::*;

pub(crate) const TEXT: &str = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record.body]\nrequest = \"\"\n";
pub(crate) const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":3000,\"schema\":2}";
pub(crate) const OLD: &str = "{\"sid\":\"s\",\"legacy\":\"\"}";

/// A folder of this test's own that goes with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("unskew-gateway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn pack(&self) -> PathBuf {
        self.0.join("pack.toml")
    }

    /// As deploy tools do: written beside, then renamed over.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.0.join("beside"), text).unwrap();
        std::fs::rename(self.0.join("beside"), self.pack()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn revised(revision: u32, restore: &str) -> String {
    PACK.replace("revision = 1", &format!("revision = {revision}"))
        .replace("restore = \"\"", &format!("restore = \"{restore}\""))
}

fn start(folder: &Folder, server: &Upstream, extra: &str) -> Result<Gateway, unskew::gateway::StartError> {
    let mut config = config(&format!("{TEXT}{extra}"), &[server.entry("1")]);
    config.pack = Some(folder.pack());
    Gateway::start(config, Runtime::empty().unwrap(), None)
}

#[tokio::test]
async fn a_changed_pack_is_swapped_in_and_no_request_fails() {
    let folder = Folder::new("swap");
    folder.write(&revised(1, ""));
    let server = Upstream::echo().await;
    let gateway = start(&folder, &server, "").unwrap();
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
    for revision in 2..6 {
        folder.write(&revised(revision, &format!("r{revision}")));
        let wanted = OLD.replace("\"legacy\":\"\"", &format!("\"legacy\":\"r{revision}\""));
        let before = OLD.replace("\"legacy\":\"\"", &format!("\"legacy\":\"r{}\"", revision - 1)).replace("r1", "");
        let mut tries = 0;
        loop {
            // Another session each time: what one session's carry holds is restored, and hides the new default.
            tries += 1;
            let reply = post(&gateway, &format!("/sessions/s{revision}-{tries}/join"), NEW).await.ok();
            if reply.text() == wanted {
                break;
            }
            assert_eq!(reply.text(), before, "either the old pack or the new one");
            assert!(tries < 5000, "revision {revision} is never active");
        }
    }
    until("every swap is counted", || gateway.counts().swaps == 5).await; // counted once active
    assert_eq!(gateway.counts().bad_packs, 0);
    assert_eq!((gateway.counts().refused, gateway.counts().failed), (0, 0));
}

#[tokio::test]
async fn no_request_fails_or_mixes_packs_while_packs_are_swapped_under_load() {
    let server = Upstream::echo().await;
    let runtime = Runtime::empty().unwrap();
    runtime.swap(&unskew::Pack::from_toml("0.toml", &revised(1, "")).unwrap()).unwrap();
    let held = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record]\nclient_version = \"2\"\nbody = { request = \"\", response = \"\" }\n";
    let gateway =
        std::sync::Arc::new(Gateway::start(config(held, &[server.entry("1")]), runtime.clone(), None).unwrap());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (address, stop) = (gateway.address(), stop.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let ballast = if sent % 10 == 9 { "x".repeat(100 << 10) } else { String::new() };
                    let record = format!("{{\"session_id\":\"s\",\"b\":\"{ballast}\",\"bitrate\":9000,\"schema\":2}}");
                    let request =
                        http::Request::builder().method("POST").uri(format!("/sessions/s{number}-{sent}/join"));
                    let body = if sent % 2 == 0 { sized(record.clone()) } else { chunked(record.clone(), 4000) };
                    let reply = client.send(request, body).await.ok();
                    let after: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                    assert!(
                        after == serde_json::from_str::<serde_json::Value>(&record).unwrap(),
                        "came back otherwise"
                    );
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for revision in 2..42 {
        let pack = unskew::Pack::from_toml("n.toml", &revised(revision, &format!("r{revision}"))).unwrap();
        let swapped = runtime.clone();
        tokio::task::spawn_blocking(move || swapped.swap(&pack).map(drop).unwrap()).await.unwrap();
    }
    until("requests went through", || gateway.counts().requests > 40).await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert!(sent > 40, "{sent} requests went through 40 swaps");
    let counts = gateway.counts();
    assert_eq!((counts.refused, counts.failed, counts.requests), (0, 0, sent));
    // Every record was written by one pack: what it put in is what its own number says.
    assert!(server.seen().iter().all(|seen| seen.text().contains("\"sid\":\"s\"")));
}

#[tokio::test]
async fn a_bad_pack_is_refused_and_the_old_one_serves_on() {
    let folder = Folder::new("bad");
    folder.write(&revised(5, ""));
    let server = Upstream::echo().await;
    let gateway = start(&folder, &server, "").unwrap();
    folder.write("name = \"test\"\nrevision = 6\nthis is no pack");
    until("the bad pack is refused", || gateway.counts().bad_packs >= 1).await;
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
    let error = gateway.reload().map(drop).unwrap_err().to_string();
    assert!(error.contains("pack.toml:"), "{error}");
    folder.write(&revised(6, "").replace("rename = \"/sid\"", "renam = \"/sid\""));
    until("the one with a wrong op as well", || gateway.counts().bad_packs >= 3).await;
    folder.write(&revised(4, "older"));
    until("an older revision as well", || gateway.counts().bad_packs >= 4).await;
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
    assert_eq!(gateway.counts().swaps, 1);
}

#[tokio::test]
async fn a_pack_that_is_being_written_waits_until_it_is_whole() {
    use std::io::Write as _;
    let folder = Folder::new("half");
    folder.write(&revised(1, ""));
    let server = Upstream::echo().await;
    let gateway = start(&folder, &server, "").unwrap();
    folder.write(&revised(2, "two"));
    until("it watches", || gateway.counts().swaps == 2).await;
    let next = revised(3, "three");
    // What stands before the policy is a pack by itself.
    let (head, rest) = next.split_at(next.find("[policy]").unwrap());
    let mut file = std::fs::File::create(folder.pack()).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    file.sync_all().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await; // the writer's own pause
    assert_eq!((gateway.counts().swaps, gateway.counts().bad_packs), (2, 0));
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    until("the whole pack is active", || gateway.counts().swaps == 3).await;
    assert_eq!(gateway.counts().bad_packs, 0);
}

#[tokio::test]
async fn what_is_no_regular_file_is_passed_over_and_the_next_pack_is_taken() {
    let folder = Folder::new("pipe");
    folder.write(&revised(1, ""));
    let server = Upstream::echo().await;
    let gateway = start(&folder, &server, "").unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.0.join("beside")).status().unwrap();
    assert!(made.success());
    std::fs::rename(folder.0.join("beside"), folder.pack()).unwrap();
    let error = gateway.reload().map(drop).unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
    folder.write(&revised(2, "two"));
    until("the next pack is active", || gateway.counts().swaps == 2).await;
}

#[tokio::test]
async fn a_pack_of_bottomless_depth_is_refused_and_it_serves_on() {
    let folder = Folder::new("deep");
    std::fs::write(folder.pack().with_extension("json"), {
        let pack = unskew::Pack::from_toml("test.toml", PACK).unwrap();
        pack.json().to_vec()
    })
    .unwrap();
    let server = Upstream::echo().await;
    let mut config = config(TEXT, &[server.entry("1")]);
    config.pack = Some(folder.pack().with_extension("json"));
    let gateway = Gateway::start(config, Runtime::empty().unwrap(), None).unwrap();
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    std::fs::write(folder.0.join("beside"), deep).unwrap();
    std::fs::rename(folder.0.join("beside"), folder.pack().with_extension("json")).unwrap();
    until("it is refused", || gateway.counts().bad_packs == 1).await;
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
}

#[tokio::test]
async fn a_pack_that_lays_carries_before_clients_is_refused_when_it_comes_later() {
    let folder = Folder::new("inline");
    folder.write(&revised(1, ""));
    let server = Upstream::echo().await;
    let gateway = start(&folder, &server, "").unwrap();
    folder.write(&revised(2, "").replace("[policy]", "[policy]\ncarry = \"inline\""));
    until("it is refused", || gateway.counts().bad_packs == 1).await;
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
    let error = gateway.reload().map(drop).unwrap_err().to_string();
    assert!(error.contains("[seal] keys ="), "{error}");
}

#[tokio::test]
async fn a_gateway_that_may_starts_without_a_pack_and_takes_it_when_it_comes() {
    let folder = Folder::new("late");
    folder.write("no pack at all");
    let server = Upstream::echo().await;
    let error = start(&folder, &server, "").map(drop).unwrap_err();
    assert!(error.to_string().contains("pack.toml"), "{error}");
    let gateway = start(&folder, &server, "[policy]\non_load_failure = \"open\"\n").unwrap();
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), NEW);
    folder.write(&revised(1, ""));
    until("the good pack is active", || gateway.counts().swaps == 1).await;
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
}

#[tokio::test]
async fn a_pack_swapped_into_the_runtime_is_seen_at_once() {
    let server = Upstream::echo().await;
    let runtime = Runtime::empty().unwrap();
    let gateway = Gateway::start(config(TEXT, &[server.entry("1")]), runtime.clone(), None).unwrap();
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), NEW);
    runtime.swap(&unskew::Pack::from_toml("test.toml", PACK).unwrap()).unwrap();
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), OLD);
}
