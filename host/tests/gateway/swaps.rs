//! Packs are pushed ten times a second while two thousand requests a second arrive, half of them on connections of their
//! own: none fails, none sees two packs, none that begins after a push was answered sees an older one, nothing grows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use unskew::gateway::Gateway;

use crate::admin::TOKEN;
use crate::reload::{Folder, TEXT};
use crate::support::*;

/// Requests a second that are begun, whether or not those before are answered.
const RATE: u64 = 2000;

/// A pack that says its revision in two places of each record.
fn pack(revision: u64) -> String {
    let adds = format!("{{ add = \"/first\", value = {revision} }},\n  {{ add = \"/second\", value = {revision} }},\n");
    let text = PACK.replace("revision = 1", &format!("revision = {revision}"));
    text.replace("  { add = \"/bitrate\", value = 3000 },\n", &format!("  {adds}"))
}

/// How long; `make soak` says more.
fn seconds() -> u64 {
    std::env::var("UNSKEW_SWAP_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10)
}

#[derive(Default)]
struct Tally {
    begun: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    mixed: AtomicU64,
    /// Answered by an older pack than one that was acknowledged before it began.
    stale: AtomicU64,
    /// The newest revision whose push was answered.
    acknowledged: AtomicU64,
    slowest_us: AtomicU64,
    /// What the first one got that failed.
    first_failure: Mutex<Option<String>>,
}

/// The load, and connections that wait for their next request.
struct Load {
    address: SocketAddr,
    tally: Tally,
    kept: Mutex<VecDeque<Client>>,
}

impl Load {
    /// One request, on a connection that is kept or on one of its own.
    async fn request(&self, number: u64) {
        let acknowledged = self.tally.acknowledged.load(Ordering::SeqCst);
        let began = Instant::now();
        self.tally.begun.fetch_add(1, Ordering::Relaxed);
        let kept = number.is_multiple_of(2).then(|| self.kept.lock().unwrap().pop_front()).flatten();
        let mut client = match kept {
            Some(client) => client,
            None => Client::connect(self.address).await,
        };
        let request = Request::builder().method("POST").uri(format!("/sessions/s{}/join", number % 5000));
        let reply = client.try_send(request, sized("{\"sid\":\"s\"}")).await;
        if number.is_multiple_of(2) && reply.is_ok() {
            self.kept.lock().unwrap().push_back(client);
        }
        let record: Option<Value> = match reply {
            Ok(reply) if reply.status == 200 => serde_json::from_slice(&reply.body).ok(),
            other => {
                self.tally.first_failure.lock().unwrap().get_or_insert(format!("{other:?}"));
                None
            }
        };
        let revisions = record.and_then(|record| Some([record["first"].as_u64()?, record["second"].as_u64()?]));
        let tally = &self.tally;
        match revisions {
            None => _ = tally.failed.fetch_add(1, Ordering::Relaxed),
            Some([first, second]) if first != second => _ = tally.mixed.fetch_add(1, Ordering::Relaxed),
            Some([first, _]) if first < acknowledged => _ = tally.stale.fetch_add(1, Ordering::Relaxed),
            Some(_) => _ = tally.answered.fetch_add(1, Ordering::Relaxed),
        }
        tally.slowest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Begins requests at the rate for so long, then waits for all of them.
    async fn run(self: &Arc<Self>, lasting: Duration) {
        const TICK: Duration = Duration::from_millis(5);
        let (began, mut open, mut number) = (Instant::now(), tokio::task::JoinSet::new(), 0);
        while began.elapsed() < lasting {
            let due = began.elapsed().as_micros() as u64 * RATE / 1_000_000;
            while number < due {
                let load = self.clone();
                number += 1;
                open.spawn(async move { load.request(number).await });
            }
            while open.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
        while open.join_next().await.is_some() {}
    }
}

/// CPU time of this process: gateway, servers and load together.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn gateway(folder: &Folder, servers: &[&Upstream]) -> Gateway {
    std::fs::write(folder.0.join("token"), TOKEN).unwrap();
    folder.write(&pack(1));
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ file = {:?} }}\n", folder.0.join("token"));
    let entries: Vec<_> = servers.iter().map(|server| server.entry("2")).collect();
    // On a crowded machine a server may take long to answer a health check; here it is not to be put aside for that.
    let patient = "[health]\ninterval_ms = 0\n[timeouts]\nconnect_ms = 20000\n";
    let mut config = config(&format!("{TEXT}{patient}{admin}"), &entries);
    (config.pack, config.explain) = (Some(folder.pack()), false);
    Gateway::start(config, unskew::Runtime::empty().unwrap(), None).unwrap()
}

/// Pushes a pack, as `unskew pack push` does.
async fn push(address: SocketAddr, revision: u64) {
    let body = json!({"name": "pushed.toml", "pack": pack(revision)}).to_string();
    let request = Request::builder().method("POST").uri("/v1/generations");
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    Client::connect(address).await.send(request, sized(body)).await.ok();
}

const ALONE: &str = "UNSKEW_TEST_ALONE";

#[test]
fn packs_pushed_while_thousands_of_requests_arrive_fail_none_of_them() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(pushed_under_load());
    }
    // In a process of its own, whose memory, files and CPU time are nobody else's.
    let name = "swaps::packs_pushed_while_thousands_of_requests_arrive_fail_none_of_them";
    let child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = { child }.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn pushed_under_load() {
    let (folder, server) = (Folder::new("swaps"), Upstream::forgetful().await);
    let gateway = gateway(&folder, &[&server]).await;
    let admin = gateway.admin_address().unwrap();
    let load = Arc::new(Load { address: gateway.address(), tally: Tally::default(), kept: Mutex::default() });
    let lasting = Duration::from_secs(seconds());
    // Without swaps first: what a request costs by itself, and memory and files once everything is warm.
    let before = cpu();
    load.run((lasting / 5).max(Duration::from_secs(2))).await;
    let quiet = (load.tally.begun.load(Ordering::SeqCst), cpu() - before);
    load.kept.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let open = files();
    let mut warm = 0;

    let (before, swapped) = (cpu(), Arc::new(AtomicU64::new(0)));
    let (tally, swaps) = (load.clone(), swapped.clone());
    let pushing = tokio::spawn(async move {
        let began = Instant::now();
        let wanted = lasting.as_secs() * 10;
        // A crowded machine takes longer for as many.
        while swaps.load(Ordering::SeqCst) < wanted && began.elapsed() < lasting * 3 {
            let (next, pushed) = (swaps.load(Ordering::SeqCst) + 2, Instant::now());
            push(admin, next).await;
            tally.tally.acknowledged.store(next, Ordering::SeqCst);
            swaps.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100).saturating_sub(pushed.elapsed())).await;
        }
    });
    while !pushing.is_finished() {
        load.run(Duration::from_secs(1)).await;
        if warm == 0 && swapped.load(Ordering::SeqCst) > lasting.as_secs() * 2 {
            warm = resident(); // a burst after a stall has its buffers by now
        }
    }
    pushing.await.unwrap();
    let tally = &load.tally;
    let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let (begun, busy) = (read(&tally.begun) - quiet.0, cpu() - before);
    let each = |(requests, took): (u64, Duration)| took.as_micros() as u64 / requests.max(1);
    let swaps = read(&swapped);
    println!(
        "{begun} requests, {swaps} swaps, slowest answer {} ms; CPU time of a request, its client and server: {} µs, {} µs without swaps; resident {warm} to {} bytes",
        read(&tally.slowest_us) / 1000,
        each((begun, busy)),
        each(quiet),
        resident(),
    );
    let failure = tally.first_failure.lock().unwrap().take();
    assert_eq!((read(&tally.failed), read(&tally.mixed), read(&tally.stale)), (0, 0, 0), "{failure:?}");
    assert_eq!(read(&tally.begun), read(&tally.answered), "each is answered once");
    assert!(swaps > 20 && begun > 2000, "{swaps} swaps, {begun} requests");
    assert_eq!(gateway.counts().swaps, swaps + 1);
    assert!(resident() < warm + warm / 5 + (16 << 20), "{warm} to {} bytes", resident());
    load.kept.lock().unwrap().clear();
    until("no more files are open than before", || files() <= open + 8).await;

    // The checker isn't blind: a gateway that lags behind what was acknowledged, and one that fails some.
    tally.acknowledged.store(swaps + 100, Ordering::SeqCst);
    load.run(Duration::from_millis(200)).await;
    assert!(read(&tally.stale) > 0);
    drop(server);
    load.run(Duration::from_millis(200)).await;
    assert!(read(&tally.failed) > 0);
}
