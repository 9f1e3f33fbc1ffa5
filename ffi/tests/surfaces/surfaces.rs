//! The surfaces: each is started from the same `unskew.toml`, on a free port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use unskew::config::Config;
use unskew::gateway::{self, Gateway};

use crate::envoy;
use crate::redis::Redis;

/// What stands before the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `unskew serve`.
    Serve,
    /// The tower layer in an axum server: `examples/tower.rs`.
    Tower,
    /// The phases in a Pingora proxy of one's own: `examples/pingora.rs`.
    Pingora,
    /// nginx with the Lua module.
    Nginx,
    /// HAProxy with the Lua actions.
    Haproxy,
    /// nginx with two workers; it and `Cramped` take no part in what is played everywhere.
    Workers,
    /// HAProxy with buffers of 32 KiB.
    Cramped,
    /// Envoy with the library as a dynamic module.
    Envoy,
    /// Envoy with the proxy-wasm filter.
    EnvoyWasm,
}

/// A surface that runs; it stops when it is dropped.
pub(crate) enum Running {
    Serve(Box<Gateway>),
    Process(SocketAddr, Process),
}

/// A server's process in a folder of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] =
        [Kind::Serve, Kind::Tower, Kind::Pingora, Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::EnvoyWasm];

    /// The surfaces that this machine has; in CI it must have all.
    pub(crate) fn present() -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| !kind.is_absent()).collect()
    }

    /// Whether this machine lacks it.
    pub(crate) fn is_absent(self) -> bool {
        let why = match self {
            Kind::Serve | Kind::Tower | Kind::Pingora => None,
            Kind::Nginx | Kind::Workers if Path::new("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists() => None,
            Kind::Nginx | Kind::Workers => Some("nginx with lua-nginx-module isn't installed"),
            Kind::Haproxy | Kind::Cramped if Command::new("haproxy").arg("-v").output().is_ok() => None,
            Kind::Haproxy | Kind::Cramped => Some("HAProxy isn't installed"),
            Kind::Envoy | Kind::EnvoyWasm if envoy::program().is_some() => None,
            Kind::Envoy | Kind::EnvoyWasm => Some("Envoy isn't here, and UNSKEW_ENVOY names none"),
        };
        why.is_some_and(|why| skipped(&format!("{self:?}"), why))
    }

    /// Its name in the docs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Serve => "`unskew serve`",
            Kind::Tower => "tower",
            Kind::Pingora => "Pingora",
            Kind::Nginx | Kind::Workers => "nginx",
            Kind::Haproxy | Kind::Cramped => "HAProxy",
            Kind::Envoy => "Envoy",
            Kind::EnvoyWasm => "Envoy, Wasm",
        }
    }

    /// Starts it on the configuration in this folder.
    pub(crate) async fn start(self, folder: &Path) -> Running {
        let config = folder.join("unskew.toml");
        match self {
            Kind::Serve => {
                let config = Config { listen: "127.0.0.1:0".into(), threads: 2, ..Config::from_file(config).unwrap() };
                Running::Serve(Box::new(
                    Gateway::start(config.clone(), gateway::runtime(&config).unwrap(), None).unwrap(),
                ))
            }
            Kind::Tower
            | Kind::Pingora
            | Kind::Nginx
            | Kind::Workers
            | Kind::Haproxy
            | Kind::Cramped
            | Kind::Envoy
            | Kind::EnvoyWasm => {
                let port = free_port();
                process(self.command(folder, port), folder, port).await
            }
        }
    }

    /// What it says when it refuses the configuration in this folder.
    pub(crate) async fn refused(self, folder: &Path) -> String {
        if self == Kind::Serve {
            return match Config::from_file(folder.join("unskew.toml")) {
                Ok(config) => {
                    let started = gateway::runtime(&config).and_then(|runtime| Gateway::start(config, runtime, None));
                    started.map(drop).expect_err("it is refused").to_string()
                }
                Err(error) => error.to_string(),
            };
        }
        let port = free_port();
        let mut process = spawn(self.command(folder, port), folder);
        for _ in 0..2000 {
            if let Some(status) = process.child.try_wait().unwrap() {
                assert!(!status.success(), "{self:?} is content");
                let log = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
                return log("out.log") + &log("error.log");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(Running::Process(SocketAddr::from(([127, 0, 0, 1], port)), process));
        panic!("{self:?} doesn't end");
    }

    /// What starts it in a process of its own.
    fn command(self, folder: &Path, port: u16) -> Command {
        match self {
            Kind::Serve => panic!("it runs in this process"),
            Kind::Tower => example("tower", folder, port),
            Kind::Pingora => example("pingora", folder, port),
            Kind::Nginx => nginx(folder, port, ("worker_processes 1;", "")),
            Kind::Workers => {
                nginx(folder, port, ("worker_processes 2;", " reuseport; add_header X-Worker $pid always"))
            }
            Kind::Haproxy => haproxy(folder, port, "tune.bufsize 1100000"),
            Kind::Cramped => haproxy(folder, port, "tune.bufsize 32768"),
            Kind::Envoy => envoy::command(folder, port),
            Kind::EnvoyWasm => envoy::wasm::command(folder, port),
        }
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Running::Serve(gateway) => gateway.address(),
            Running::Process(address, _) => *address,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Running::Serve(_) => {}
            Running::Process(_, process) => {
                // SIGINT, because SIGTERM makes Pingora wait for minutes.
                let _ = Command::new("kill").arg("-INT").arg(process.child.id().to_string()).status();
                for _ in 0..300 {
                    if !matches!(process.child.try_wait(), Ok(None)) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = process.child.kill();
                let _ = process.child.wait();
                if std::thread::panicking() {
                    for log in ["error.log", "out.log"] {
                        let log = std::fs::read_to_string(process.folder.join(log)).unwrap_or_default();
                        eprintln!("{}", log.lines().rev().take(40).collect::<Vec<_>>().join("\n"));
                    }
                }
            }
        }
    }
}

/// The shared library that this test's package is.
pub(crate) fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = folder.join("libunskew.so");
    assert!(library.exists(), "{} isn't built", library.display());
    library
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// One of the examples, built as the documents say.
pub(crate) fn example(name: &str, folder: &Path, port: u16) -> Command {
    static BUILT: Mutex<()> = Mutex::new(());
    let line = BUILT.lock().unwrap();
    let cargo = ["build", "--release", "--locked", "--offline", "--workspace", "--example", name];
    let built = Command::new(env!("CARGO")).args(cargo).current_dir(repository()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    drop(line);
    let config = folder.join("unskew.toml");
    let program = library().parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(program);
    command.arg(config).arg(format!("127.0.0.1:{port}"));
    command
}

fn nginx(folder: &Path, port: u16, (workers, listen): (&str, &str)) -> Command {
    // Its workers run as another user than root, and must reach what they read.
    let conf = std::fs::read_to_string(repository().join("plugins/nginx/nginx.conf")).unwrap();
    let conf = conf
        .replace("/etc/unskew/unskew.toml", folder.join("unskew.toml").to_str().unwrap())
        .replace("/usr/lib/unskew/libunskew.so", library().to_str().unwrap())
        .replace("/usr/share/unskew/nginx", repository().join("plugins/nginx").to_str().unwrap())
        .replace("worker_processes 1;", workers)
        .replace("listen 8080", &format!("listen 127.0.0.1:{port}{listen}"))
        .replace("user www-data;", &format!("user {};", user()));
    for name in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        std::fs::create_dir_all(folder.join("tmp").join(name)).unwrap();
    }
    let temp = |name: &str| folder.join("tmp").join(name).display().to_string();
    let paths = format!(
        "http {{\n  client_body_temp_path {}; proxy_temp_path {}; fastcgi_temp_path {}; uwsgi_temp_path {}; scgi_temp_path {};\n",
        temp("body"),
        temp("proxy"),
        temp("fastcgi"),
        temp("uwsgi"),
        temp("scgi"),
    );
    let conf = conf.replacen("http {\n", &paths, 1);
    let head = format!(
        "daemon off;\npid {};\nerror_log {} info;\n",
        folder.join("nginx.pid").display(),
        folder.join("error.log").display()
    );
    std::fs::write(folder.join("nginx.conf"), head + &conf).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

/// HAProxy as Debian runs it: a master, and a worker that a reload replaces.
fn haproxy(folder: &Path, port: u16, buffer: &str) -> Command {
    let conf = std::fs::read_to_string(repository().join("plugins/haproxy/haproxy.cfg")).unwrap();
    let conf = conf
        .replace("/etc/unskew/unskew.toml", folder.join("unskew.toml").to_str().unwrap())
        .replace("/usr/lib/unskew/libunskew.so", library().to_str().unwrap())
        .replace("/usr/share/unskew/haproxy", repository().join("plugins/haproxy").to_str().unwrap())
        .replace("tune.bufsize 1100000", buffer)
        .replace("bind :8080", &format!("bind 127.0.0.1:{port}"));
    std::fs::write(folder.join("haproxy.cfg"), conf).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-W").arg("-f").arg(folder.join("haproxy.cfg"));
    command
}

/// Starts a server and waits until it listens.
pub(crate) async fn process(command: Command, folder: &Path, port: u16) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut running = Running::Process(address, spawn(command, folder));
    for _ in 0..1000 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return running;
        }
        if let Running::Process(_, process) = &mut running {
            assert!(process.child.try_wait().unwrap().is_none(), "it has ended: {}", folder.display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it doesn't listen");
}

fn spawn(mut command: Command, folder: &Path) -> Process {
    let out = std::fs::File::create(folder.join("out.log")).unwrap();
    let child = command.stdout(out.try_clone().unwrap()).stderr(out).stdin(Stdio::null()).spawn().unwrap();
    Process { child, folder: folder.to_owned() }
}

/// Whether there is no Redis for processes to share.
pub(crate) fn lacks_redis() -> bool {
    !Redis::is_here() && skipped("what processes share", "Redis isn't installed")
}

/// A line for what this machine lacks; in CI it is a failure.
pub(crate) fn skipped(what: &str, why: &str) -> bool {
    eprintln!("{}", line(what, why, std::env::var_os("CI").is_some()));
    true
}

/// # Panics
/// In CI.
fn line(what: &str, why: &str, in_ci: bool) -> String {
    let line = format!("{what} is skipped: {why}: run `tools/setup tests`");
    assert!(!in_ci, "{line}");
    line
}

#[test]
fn what_a_machine_lacks_is_skipped_with_a_line() {
    assert_eq!(line("HAProxy", "it isn't there", false), "HAProxy is skipped: it isn't there: run `tools/setup tests`");
}

#[test]
#[should_panic(expected = "HAProxy is skipped: it isn't there")]
fn in_ci_what_a_machine_lacks_is_a_failure() {
    line("HAProxy", "it isn't there", true);
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_string()
}
