//! What each surface costs against the bare balancer: `make overhead` prints the table of docs/performance.md.
//!
//! Every surface stands beside its bare twin, which balances over the same server and nothing else. The two take turns,
//! so that what else the machine does hits both. CPU time is that of the balancer's processes alone.
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]
#![allow(dead_code, unused_imports, reason = "shared with the tests, which are left out here")]

extern crate host as unskew;

#[path = "../../../host/tests/sandbox/guest.rs"]
mod guest;
#[path = "../../../host/tests/gateway/redis.rs"]
mod redis;
#[path = "../../../host/tests/gateway/support.rs"]
mod support;

mod bare;
mod envoy;
mod load;
mod scenarios;
mod stage;
mod surfaces;
mod table;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use crate::support::{Client, PACK, sized};
use crate::surfaces::{Kind, Running, free_port, process};

/// A surface and its bare twin.
struct Pair {
    kind: Kind,
    bare: Side,
    with: Side,
}

/// One of them, with what its requests took.
struct Side {
    running: Running,
    /// CPU microseconds a request, of each round.
    cpu: Vec<f64>,
    /// Requests a second, of each round.
    rate: Vec<f64>,
    latencies: Vec<Duration>,
}

const ROUNDS: usize = 20;
const REQUESTS: usize = 1500;
const CLIENTS: usize = 4;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("pingora"), Some(listen), Some(server)) => bare::pingora(&listen, &server, 1), // as Pingora does by itself
        (Some("pingora-2"), Some(listen), Some(server)) => bare::pingora(&listen, &server, 2),
        (Some("tower"), Some(listen), Some(server)) => bare::tower(&listen, &server),
        (Some("serve"), Some(config), None) => {
            let config = unskew::config::Config::from_file(config).unwrap();
            unskew::gateway::serve(config, unskew::Compiler::default()).unwrap();
        }
        _ => tokio::runtime::Runtime::new().unwrap().block_on(measure()),
    }
}

async fn measure() {
    let server = bare::server().await;
    let mut pairs = Vec::new();
    for kind in Kind::present() {
        let folder = std::env::temp_dir().join(format!("unskew-overhead-{}-{kind:?}", std::process::id()));
        let (bare, with) = (folder.join("bare"), folder.join("with"));
        [&bare, &with].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        let Some(bare) = start_bare(kind, &bare, server).await else { continue };
        pairs.push(Pair { kind, bare: Side::new(bare), with: Side::new(start(kind, &with, server).await) });
    }
    let record = Bytes::from(record());
    for round in 0..=ROUNDS {
        for pair in &mut pairs {
            // Who is first takes turns as well; the first round warms up.
            let [first, second] =
                if round % 2 == 0 { [&mut pair.bare, &mut pair.with] } else { [&mut pair.with, &mut pair.bare] };
            first.run(&record, round > 0).await;
            second.run(&record, round > 0).await;
        }
    }
    println!(
        "each side: joins with a record of {} bytes over {CLIENTS} connections, {ROUNDS} rounds of {REQUESTS}",
        record.len()
    );
    println!(
        "| surface | CPU µs a request, bare | with | added | ratio | requests/s, bare | with | p50 ms, bare | with | p99 ms, bare | with |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for Pair { kind, bare, with } in &mut pairs {
        let ratio = median(with.cpu.iter().zip(&bare.cpu).map(|(with, bare)| with / bare).collect());
        let (of, to) = (median(bare.cpu.clone()), median(with.cpu.clone()));
        let (slow, fast) = (median(with.rate.clone()), median(bare.rate.clone()));
        let [p50, p99] = [0.50, 0.99].map(|part| [bare.percentile(part), with.percentile(part)]);
        println!(
            "| {} | {of:.0} | {to:.0} | {:.0} | {ratio:.2} | {fast:.0} | {slow:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            kind.label(),
            to - of,
            p50[0],
            p50[1],
            p99[0],
            p99[1],
        );
    }
}

/// The surface with rules: each request's record is translated for a server of the version before.
async fn start(kind: Kind, folder: &Path, server: SocketAddr) -> Running {
    let listen = free_port();
    let text = format!(
        "listen = \"127.0.0.1:{listen}\"\nthreads = 2\npack = \"pack.toml\"\njoin = [{{ match = \"POST /sessions/{{id}}/join\" }}]\n\
         server = [{{ address = \"{server}\", version = \"1\" }}]\nhealth.interval_ms = 0\nrecord.body = {{ request = \"\" }}\n"
    );
    std::fs::write(folder.join("unskew.toml"), text).unwrap();
    std::fs::write(folder.join("pack.toml"), PACK).unwrap();
    match kind {
        Kind::Serve => {
            let mut command = itself();
            command.arg("serve").arg(folder.join("unskew.toml"));
            process(command, folder, listen).await
        }
        other => other.start(folder).await,
    }
}

/// The same balancer without the surface.
async fn start_bare(kind: Kind, folder: &Path, server: SocketAddr) -> Option<Running> {
    let listen = free_port();
    let command = match kind {
        Kind::Serve | Kind::Pingora => {
            let mut command = itself();
            command.arg(if kind == Kind::Serve { "pingora-2" } else { "pingora" });
            command.arg(format!("127.0.0.1:{listen}")).arg(server.to_string());
            command
        }
        Kind::Tower => {
            let mut command = itself();
            command.arg("tower").arg(format!("127.0.0.1:{listen}")).arg(server.to_string());
            command
        }
        Kind::Nginx | Kind::Workers => bare::nginx(folder, listen, server),
        Kind::Haproxy | Kind::Cramped => bare::haproxy(folder, listen, server),
        Kind::Envoy | Kind::EnvoyWasm => bare::envoy(folder, listen, server),
    };
    Some(process(command, folder, listen).await)
}

fn itself() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// 0.7 KiB, as most records.
fn record() -> String {
    format!(r#"{{"session_id":"s","bitrate":9000,"pad":"{}","schema":2}}"#, "x".repeat(650))
}

impl Side {
    fn new(running: Running) -> Side {
        Side { running, cpu: Vec::new(), rate: Vec::new(), latencies: Vec::new() }
    }

    async fn run(&mut self, record: &Bytes, counts: bool) {
        let (address, before, began) = (self.running.address(), self.cpu_seconds(), Instant::now());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let record = record.clone();
                tokio::spawn(async move {
                    let (mut client, mut took) = (Client::connect(address).await, Vec::new());
                    for _ in 0..REQUESTS / CLIENTS {
                        let began = Instant::now();
                        let request = Request::builder().method("POST").uri("/sessions/s/join");
                        let reply = client.send(request, sized(record.clone())).await;
                        took.push(began.elapsed());
                        assert_eq!(reply.status, 200);
                        if reply.header("connection").eq_ignore_ascii_case("close") {
                            client = Client::connect(address).await;
                        }
                    }
                    took
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        if counts {
            let requests = latencies.len() as f64;
            self.rate.push(requests / began.elapsed().as_secs_f64());
            self.cpu.push((self.cpu_seconds() - before) * 1e6 / requests);
            self.latencies.extend(latencies);
        }
    }

    /// CPU time of the process and of those that it has started, so far.
    fn cpu_seconds(&self) -> f64 {
        let Running::Process(_, process) = &self.running else { panic!("it runs in this process") };
        family(process.child.id()).into_iter().map(cpu_seconds).sum()
    }

    fn percentile(&mut self, part: f64) -> f64 {
        self.latencies.sort();
        let at = ((self.latencies.len() - 1) as f64 * part) as usize;
        self.latencies[at].as_secs_f64() * 1e3
    }
}

fn family(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    for task in tasks {
        let children: PathBuf = task.unwrap().path().join("children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        found.extend(children.split_whitespace().flat_map(|child| family(child.parse().unwrap())));
    }
    found
}

/// By the scheduler's own clock, in nanoseconds, of all threads.
fn cpu_seconds(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let nanoseconds = tasks.map(|task| {
        let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
