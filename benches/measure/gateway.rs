//! Gateways side by side: CPU time of a request, and how long it takes under a load that leaves half the machine idle.
//!
//! `cargo bench --bench gateway [-- smoke | trace] [<rounds>]`. Every gateway has one thread and the same request: a join
//! whose body is a record of version 1, for a server of version 2. In each round every gateway gets a turn; ratios are of
//! turns of the same round. The origin checks each body byte for byte, and a wrong one fails the run. What isn't
//! installed is left out with a line. `trace` counts system calls by strace instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use unskew::Runtime;
use unskew_benches::contest::quantile;
use unskew_benches::grid::{Grid, time};
use unskew_benches::hand::Shape;
use unskew_benches::ledger::Ledger;
use unskew_benches::load::{Expected, Load, Origin};
use unskew_benches::machine::Machine;
use unskew_benches::process::{Cpu, Process, free_port, idle};
use unskew_benches::record::{self, Record, SESSIONS, tree};

/// Requests a second.
const RATE: f64 = 3000.0;

/// Requests in a turn.
const TURN: usize = 1200;

/// The gateways. Those that come first are what others are held against.
const GATEWAYS: [Kind; 8] = [
    Kind::Bare,
    Kind::Unskew("enforce"),
    Kind::Unskew("observe"),
    Kind::Unskew("off"),
    Kind::Nginx,
    Kind::Haproxy,
    Kind::Envoy("plain"),
    Kind::Envoy("lua"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Pingora with nothing in it: `src/bin/bare.rs`.
    Bare,
    /// `unskew serve` in this mode.
    Unskew(&'static str),
    Nginx,
    Haproxy,
    /// Plain, or with a Lua filter that does the edit.
    Envoy(&'static str),
}

/// A gateway that runs, its origin, and what it has shown so far.
struct Gateway {
    name: String,
    process: Process,
    load: Load,
    _origin: Origin,
    turns: Vec<f64>,
    latencies: Vec<f64>,
    ticks: [u64; 2],
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let said = |word: &str| arguments.iter().any(|argument| argument == word);
    let rounds =
        if said("smoke") { 1 } else { arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(20) };
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let machine = Machine::here();
    println!("{machine}");
    let mut ledger = Ledger::new("gateway", machine);
    let folder = std::env::temp_dir().join(format!("unskew-bench-gateway-{}", std::process::id()));
    for record in [SESSIONS[1], SESSIONS[2]] {
        fs::create_dir_all(&folder)?;
        let mut gateways = threads.block_on(start(record, &folder))?;
        match said("trace") {
            true => traced(&threads, record, &mut gateways)?,
            false => measured(&threads, record, &mut gateways, rounds, &mut ledger)?,
        }
        drop(gateways);
        fs::remove_dir_all(&folder)?;
    }
    if !said("smoke") && !said("trace") {
        println!("written to {}", ledger.write()?.display());
    }
    Ok(())
}

async fn start(record: Record, folder: &Path) -> Result<Vec<Gateway>> {
    let runtime = Runtime::new(&record::pack(Shape::Session))?;
    let translated = runtime.translate(record.text, b"", "1", "2")?.record;
    let mut gateways = Vec::new();
    for kind in GATEWAYS {
        let origin = Origin::start(expected(kind, record, &translated)).await?;
        let (port, name) = (free_port()?, kind.name());
        let place = folder.join(&name);
        fs::create_dir_all(&place)?;
        let Some(mut command) = kind.command(port, origin.port, &place)? else {
            println!("{name} is left out: it isn't installed");
            continue;
        };
        // What they say when all is well is of no interest.
        let log = fs::File::create(place.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let said = || fs::read_to_string(place.join("log")).unwrap_or_default();
        let process = Process::listening(&mut command, port).with_context(said)?;
        let load = Load::connect(port, record.text).await.with_context(|| format!("{name}: {}", said()))?;
        gateways.push(Gateway {
            name,
            process,
            load,
            _origin: origin,
            turns: vec![],
            latencies: vec![],
            ticks: [0; 2],
        });
    }
    Ok(gateways)
}

/// What the origin behind a gateway is to get.
fn expected(kind: Kind, record: Record, translated: &[u8]) -> Expected {
    let translated = translated.to_vec();
    match kind {
        Kind::Bare | Kind::Unskew("off" | "observe") | Kind::Nginx | Kind::Haproxy | Kind::Envoy("plain") => {
            Arc::new(move |body| body == record.text)
        }
        Kind::Unskew(_) => Arc::new(move |body| body == translated),
        // Lua's tables have no order: what is the same JSON once is known by its bytes from then on.
        Kind::Envoy(_) => {
            let (wanted, known) = (tree(&translated), Mutex::new(Vec::<Vec<u8>>::new()));
            Arc::new(move |body| {
                let mut known = known.lock().expect("nobody panics while holding it");
                if known.iter().any(|known| known == body) {
                    return true;
                }
                let right = serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body == wanted);
                if right {
                    known.push(body.to_vec());
                }
                right
            })
        }
    }
}

impl Kind {
    fn name(self) -> String {
        match self {
            Kind::Bare => "bare-pingora".to_owned(),
            Kind::Unskew("enforce") => "unskew".to_owned(),
            Kind::Unskew(mode) => format!("unskew-{mode}"),
            Kind::Nginx => "nginx".to_owned(),
            Kind::Haproxy => "haproxy".to_owned(),
            Kind::Envoy("plain") => "envoy".to_owned(),
            Kind::Envoy(filter) => format!("envoy-{filter}"),
        }
    }

    /// How it is started; none where it isn't installed.
    fn command(self, listen: u16, origin: u16, folder: &Path) -> Result<Option<Command>> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let configured = |file: &str, more: &[(&str, &str)]| -> Result<PathBuf> {
            let text = fs::read_to_string(here.join("proxies").join(file))?;
            let text = text.replace("LISTEN", &listen.to_string()).replace("ORIGIN", &origin.to_string());
            let text = more.iter().fold(text, |text, (word, value)| text.replace(word, value));
            fs::write(folder.join(file), text)?;
            Ok(folder.join(file))
        };
        let directory = folder.to_string_lossy();
        let command = match self {
            Kind::Bare => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bare"));
                command.args([format!("127.0.0.1:{listen}"), format!("127.0.0.1:{origin}")]);
                command
            }
            Kind::Unskew(mode) => {
                // As the incident's pack, but that servers of version 2 read version 2 alone.
                let pack = fs::read_to_string(here.join("../testdata/packs/opentok.toml"))?;
                fs::write(folder.join("pack.toml"), pack.replace("reads = [\"1\", \"2\"]", ""))?;
                let config = configured("unskew.toml", &[("MODE", mode)])?;
                let program = Path::new(env!("CARGO_BIN_EXE_bare")).with_file_name("unskew");
                ensure!(program.exists(), "{}: build it by `cargo build --release -p unskew`", program.display());
                let mut command = Command::new(program);
                command.args(["serve", "--config"]).arg(config).env("RUST_LOG", "error");
                command
            }
            Kind::Nginx => {
                let Some(program) = installed("nginx") else { return Ok(None) };
                let mut command = Command::new(program);
                command.arg("-p").arg(folder).arg("-c").arg(configured("nginx.conf", &[("DIR", &directory)])?);
                command
            }
            Kind::Haproxy => {
                let Some(program) = installed("haproxy") else { return Ok(None) };
                let mut command = Command::new(program);
                command.args(["-db", "-f"]).arg(configured("haproxy.cfg", &[])?);
                command
            }
            Kind::Envoy(filter) => {
                let Some(program) = envoy() else { return Ok(None) };
                let lua = match filter {
                    "lua" => lua_filter(&fs::read_to_string(here.join("proxies/edit.lua"))?),
                    _ => String::new(),
                };
                let mut command = Command::new(program);
                command.arg("-c").arg(configured("envoy.yaml", &[("FILTER", &lua)])?);
                command.args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]);
                command
            }
        };
        Ok(Some(command))
    }
}

/// A program of the system's.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.exists())
}

/// Where `tools/setup` puts it, or where the caller says.
fn envoy() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/envoy");
    std::env::var_os("UNSKEW_ENVOY").map(PathBuf::from).or(Some(ours)).filter(|program| program.exists())
}

fn lua_filter(code: &str) -> String {
    let code: String = code.lines().map(|line| format!("              {line}\n")).collect();
    format!(
        "          - name: envoy.filters.http.lua\n            typed_config:\n              \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\n              \
         default_source_code:\n                inline_string: |\n{}",
        code.replace("              ", "                  ")
    )
}

/// All of them in turns, round after round.
fn measured(
    threads: &tokio::runtime::Runtime,
    record: Record,
    gateways: &mut [Gateway],
    rounds: usize,
    ledger: &mut Ledger,
) -> Result<()> {
    let before = idle()?;
    for _ in 0..rounds {
        for gateway in gateways.iter_mut() {
            let Cpu { nanoseconds, system_ticks, user_ticks } = gateway.process.cpu()?;
            let took = threads.block_on(gateway.load.run(TURN, RATE)).with_context(|| gateway.name.clone())?;
            let after = gateway.process.cpu()?;
            gateway.turns.push((after.nanoseconds - nanoseconds) as f64 / TURN as f64);
            gateway.ticks[0] += after.user_ticks - user_ticks;
            gateway.ticks[1] += after.system_ticks - system_ticks;
            gateway.latencies.extend(took.iter().map(Duration::as_secs_f64).map(|seconds| seconds * 1e9));
        }
    }
    let after = idle()?;
    let idle = (after.0 - before.0) as f64 / (after.1 - before.1) as f64;
    let name = record.name();
    println!(
        "\n{name}: {} rounds of {TURN} requests, {RATE} a second; the machine was {:.0} % idle\n",
        rounds,
        idle * 100.0
    );
    let columns =
        ["a request", "CPU p10", "CPU median", "÷ bare p10", "÷ bare median", "system", "p50", "p99", "p99.9"];
    let mut grid = Grid::new(columns);
    let bare = gateways.first().context("the bare proxy comes first")?.turns.clone();
    for Gateway { name: gateway, turns, latencies, ticks, .. } in gateways.iter() {
        let pairs: Vec<f64> = turns.iter().zip(&bare).map(|(one, other)| one / other).collect();
        let [p10, median] = [0.1, 0.5].map(|share| quantile(turns, share));
        let ratio = [p10 / quantile(&bare, 0.1), quantile(&pairs, 0.5)];
        let latency = [0.5, 0.99, 0.999].map(|share| quantile(latencies, share));
        let system = ticks[1] as f64 / (ticks[0] + ticks[1]).max(1) as f64;
        let figures =
            [("cpu p10", p10), ("cpu median", median), ("p50", latency[0]), ("p99", latency[1]), ("p99.9", latency[2])];
        let subject = format!("{name}/request/{gateway}");
        figures.iter().for_each(|(statistic, value)| ledger.note(&subject, statistic, *value, "ns", None));
        let goal = (gateway == "unskew").then_some(1.10);
        ledger.note(&format!("{subject} ÷ bare-pingora"), "p10", ratio[0], "ratio", goal);
        ledger.note(&format!("{subject} ÷ bare-pingora"), "median", ratio[1], "ratio", goal);
        let times = [p10, median].map(time);
        let ratios = ratio.map(|ratio| format!("{ratio:.2}"));
        let cells = std::iter::once(gateway.clone()).chain(times).chain(ratios);
        grid.row(cells.chain([format!("{:.0} %", system * 100.0)]).chain(latency.map(time)));
    }
    println!("{grid}");
    Ok(())
}

/// System calls of a request, by strace, and how often each.
fn traced(threads: &tokio::runtime::Runtime, record: Record, gateways: &mut [Gateway]) -> Result<()> {
    let strace = installed("strace").context("strace isn't installed")?;
    for gateway in gateways {
        let summary = std::env::temp_dir().join(format!("unskew-bench-strace-{}", gateway.process.id()));
        let mut command = Command::new(&strace);
        command.args(["-f", "-c", "-p", &gateway.process.id().to_string(), "-o"]).arg(&summary).stderr(Stdio::null());
        let mut strace = command.spawn()?;
        std::thread::sleep(Duration::from_millis(500)); // until it is attached
        threads.block_on(gateway.load.run(TURN, RATE / 10.0))?;
        Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
        strace.wait()?;
        println!("\n{}, {}: system calls of {TURN} requests", record.name(), gateway.name);
        for line in fs::read_to_string(&summary)?.lines().filter(|line| !line.contains("----")) {
            println!("  {line}");
        }
        fs::remove_file(&summary)?;
    }
    Ok(())
}
